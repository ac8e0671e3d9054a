//! `understudy leader`

use std::cmp::Reverse;
use std::fmt::Write;
use std::time::Duration;

use serde_json::json;

use super::{Exit, fail, say};
use crate::clock;
use crate::config::RedisArgs;
use crate::election::{Command, Listed, RecordSeen, View};
use crate::status::length;
use crate::store::Store;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    redis: RedisArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Exit {
    let settings = match args.redis.check() {
        Ok(settings) => settings,
        Err(bad) => return fail(Exit::BadFlags, format_args!("bad settings\n{bad}")),
    };
    let deadline = clock::boottime() + settings.timeout;
    let mut store = Store::new(&settings);
    let view = match store
        .execute(&Command::Look { entry: None }, deadline)
        .await
    {
        Ok(answer) => answer.view,
        Err(error) => {
            let hint = error.fault.hint();
            return fail(
                Exit::CouldNotAsk,
                format_args!("cannot ask Redis: {error}\n{hint}"),
            );
        }
    };
    if args.json {
        say(as_json(&view));
    } else {
        say(as_text(&view));
    }
    if view.lock.is_some() {
        Exit::Yes
    } else {
        Exit::No
    }
}

fn as_json(view: &View) -> serde_json::Value {
    let remaining = view.lock.as_ref().and_then(|lock| lock.remaining);
    let record = view.record.known();
    json!({
        "leader_id": view.lock.as_ref().map(|lock| &lock.holder),
        "remaining_seconds": remaining.map(|left| left.as_secs_f64()),
        "record": match &view.record {
            RecordSeen::Missing => "missing",
            RecordSeen::Known(_) => "known",
            RecordSeen::Unknown(_) => "unknown",
        },
        "record_holder": record.map(|record| &record.holder),
        "fencing_token": record.map(|record| record.token),
        "released": record.map(|record| record.released),
        "candidates": candidates(view).map(|listed| json!({
            "instance": listed.member.instance,
            "holder": listed.member.holder,
            "leads": leads(view, listed),
            "ready": listed.member.ready,
            "version": listed.member.version,
            "started_at_seconds": listed.member.started,
            "heard_seconds_ago": heard(view, listed).as_secs_f64(),
        })).collect::<Vec<_>>(),
    })
}

fn as_text(view: &View) -> String {
    let held = match &view.lock {
        None => "nobody holds the lock".to_owned(),
        Some(lock) => format!("{} holds the lock, {}", lock.holder, left(lock.remaining)),
    };
    let record = match &view.record {
        RecordSeen::Missing => {
            "no record: nobody behind understudy has led in this Redis".to_owned()
        }
        RecordSeen::Unknown(why) => format!("the record beside it cannot be read: {why}"),
        RecordSeen::Known(record) => {
            let ended = if record.released { ", released" } else { "" };
            let other = view
                .lock
                .as_ref()
                .is_some_and(|lock| lock.holder != record.holder);
            let other = if other {
                "; the present holder writes no record"
            } else {
                ""
            };
            format!(
                "last recorded term: {} by {}{ended}{other}",
                record.token, record.holder
            )
        }
    };
    format!("{held}\n{record}\n{}", candidates_as_text(view))
}

/// Sorted by instance; of one instance, the process that started last comes first.
fn candidates(view: &View) -> impl Iterator<Item = &Listed> {
    let mut all: Vec<_> = view.members.iter().collect();
    let order = |it: &Listed| (it.member.instance.clone(), Reverse(it.member.started));
    all.sort_by_key(|it| order(it));
    all.into_iter()
}

fn candidates_as_text(view: &View) -> String {
    if view.members.is_empty() {
        return "no candidates are known: no agent has a live miner, or none may write {KEY}:members (`understudy \
                doctor` tells)"
            .into();
    }
    let mut text = String::from("candidates:");
    for listed in candidates(view) {
        let member = &listed.member;
        let state = match member.ready {
            _ if leads(view, listed) => "leads",
            true => "ready",
            false => "not ready",
        };
        let since = Duration::from_secs(view.store_micros / 1_000_000);
        let up = since.saturating_sub(Duration::from_secs(member.started));
        let _ = write!(
            text,
            "\n  {}  {state}, version {}, up {}, heard {} ago",
            member.instance,
            member.version,
            length(up.as_secs_f64()),
            length(heard(view, listed).as_secs_f64()),
        );
    }
    text
}

fn leads(view: &View, listed: &Listed) -> bool {
    let lock = view.lock.as_ref();
    lock.is_some_and(|lock| lock.holder == listed.member.holder)
}

/// How long ago the instance was last heard of, by Redis' clock.
fn heard(view: &View, listed: &Listed) -> Duration {
    Duration::from_micros(view.store_micros.saturating_sub(listed.heard))
}

fn left(remaining: Option<Duration>) -> String {
    remaining.map_or(
        "without a TTL: it never ends (if its holder is gone, delete the key)".into(),
        |left| format!("{:.1} s left", left.as_secs_f64()),
    )
}
