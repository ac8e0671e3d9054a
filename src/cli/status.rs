//! `understudy status`

use std::time::Duration;

use anyhow::anyhow;
use serde_json::{Value, json};
use tonic::transport::Channel;

use super::local::{ANSWER_TIMEOUT, LocalArgs, refusal};
use super::{Exit, fail, say};
use crate::proto::election_service_client::ElectionServiceClient;
use crate::proto::redis_health_service_client::RedisHealthServiceClient;
use crate::proto::{
    GetLeadershipRequest, GetRedisHealthRequest, Leadership, ObserveRequest, RedisHealth, Role,
    Takeover,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    local: LocalArgs,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
    /// Print again at every change and at each reading of Redis' memory, until interrupted
    #[arg(long)]
    watch: bool,
}

pub(super) async fn run(args: Args) -> Exit {
    let channel = match args.local.connect(ANSWER_TIMEOUT).await {
        Ok(channel) => channel,
        Err(exit) => return exit,
    };
    match ask(&args, channel).await {
        Ok(()) => Exit::Yes,
        Err(error) => fail(Exit::CouldNotAsk, format_args!("{error:#}")),
    }
}

async fn ask(args: &Args, channel: Channel) -> anyhow::Result<()> {
    let asked = |status: tonic::Status| anyhow!(refusal(&status));
    if !args.watch {
        show(args, &Seen::ask(&channel, None).await.map_err(asked)?);
        return Ok(());
    }
    let mut changes = ElectionServiceClient::new(channel.clone())
        .observe(ObserveRequest { everything: true })
        .await
        .map_err(asked)?
        .into_inner();
    while let Some(change) = changes.message().await.map_err(asked)? {
        let seen = if let Some(redis) = change.redis {
            Seen {
                leadership: change.leadership.unwrap_or_default(),
                takeover: change.takeover,
                lease_remaining: change.lease_remaining,
                redis,
            }
        } else {
            // An agent of version 0.1 sends leadership alone.
            let seen = Seen::ask(&channel, change.leadership).await;
            seen.map_err(asked)?
        };
        show(args, &seen);
    }
    Err(anyhow!("the agent has ended the stream"))
}

/// What the agent says, each part as of when it was asked.
struct Seen {
    leadership: Leadership,
    takeover: Option<Takeover>,
    lease_remaining: Option<prost_types::Duration>,
    redis: RedisHealth,
}

impl Seen {
    /// `change`: the leadership that was pushed, if it was.
    async fn ask(channel: &Channel, change: Option<Leadership>) -> Result<Self, tonic::Status> {
        let mut elections = ElectionServiceClient::new(channel.clone());
        let answer = elections.get_leadership(GetLeadershipRequest::default());
        let answer = answer.await?.into_inner();
        let mut client = RedisHealthServiceClient::new(channel.clone());
        let redis = client.get_redis_health(GetRedisHealthRequest {}).await?;
        Ok(Self {
            leadership: change.or(answer.leadership).unwrap_or_default(),
            takeover: answer.takeover,
            lease_remaining: answer.lease_remaining,
            redis: redis.into_inner().health.unwrap_or_default(),
        })
    }
}

fn show(args: &Args, seen: &Seen) {
    if args.json {
        say(as_json(seen));
    } else {
        say(as_text(seen));
        if args.watch {
            say("");
        }
    }
}

fn as_json(seen: &Seen) -> Value {
    let Seen {
        leadership,
        takeover,
        lease_remaining,
        redis,
    } = seen;
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let read = |number: u64| Some(number).filter(|_| !redis.engine.is_empty());
    json!({
        "role": word(leadership.role().as_str_name(), "ROLE_"),
        "reason": word(leadership.reason().as_str_name(), "REASON_"),
        "instance_id": leadership.instance_id,
        "leader_id": some(&leadership.leader_id),
        "fencing_token": Some(leadership.fencing_token).filter(|token| *token != 0),
        "lease_remaining_seconds": seconds(*lease_remaining),
        "valid_for_seconds": seconds(leadership.valid_for),
        "version": leadership.version,
        "takeover": takeover.as_ref().map(|it| json!({
            "ready": it.ready,
            "reason": (!it.ready).then(|| word(it.reason().as_str_name(), "REASON_")),
            "error": some(&it.error),
            "rehearsed_seconds_ago": seconds(it.age),
        })),
        "redis": {
            "reachable": redis.reachable,
            "writable": redis.writable,
            "oom": redis.oom,
            "checked_seconds_ago": seconds(redis.age),
            "used_memory_bytes": read(redis.used_memory_bytes),
            "max_memory_bytes": read(redis.max_memory_bytes),
            "usage_ratio": redis.usage_ratio,
            "maxmemory_policy": some(&redis.maxmemory_policy),
            "engine": some(&redis.engine),
            "version": some(&redis.version),
        },
    })
}

fn as_text(seen: &Seen) -> String {
    let leadership = &seen.leadership;
    let role = word(leadership.role().as_str_name(), "ROLE_");
    let reason = word(leadership.reason().as_str_name(), "REASON_");
    let leader = match leadership.leader_id.as_str() {
        "" => "nobody",
        leader => leader,
    };
    let mut lines = vec![
        format!("role      {role} ({reason})"),
        format!("instance  {}", leadership.instance_id),
        format!("leader    {leader}"),
    ];
    if leadership.role() == Role::Leader {
        lines.push(format!("token     {}", leadership.fencing_token));
        let left = |said| match seconds(said).filter(|left| *left > 0.0) {
            Some(left) => format!("{left:.1} s left"),
            None => "none".into(),
        };
        lines.push(format!("lease     {}", left(seen.lease_remaining)));
        // Under `always` and `probe` there is one only while somebody asks for it.
        lines.push(format!("grant     {}", left(leadership.valid_for)));
    } else if let Some(takeover) = &seen.takeover {
        lines.push(format!("takeover  {}", takeover_line(takeover)));
    }
    lines.push(format!("redis     {}", redis_line(&seen.redis)));
    lines.join("\n")
}

fn takeover_line(takeover: &Takeover) -> String {
    let ago = seconds(takeover.age).unwrap_or(0.0);
    if takeover.ready {
        return format!("ready, rehearsed {ago:.1} s ago");
    }
    let reason = word(takeover.reason().as_str_name(), "REASON_");
    format!("NOT ready ({reason}): {}", takeover.error)
}

#[allow(clippy::cast_precision_loss, reason = "shown with one digit")]
fn redis_line(redis: &RedisHealth) -> String {
    let state = match (redis.reachable, redis.writable, redis.oom) {
        // Or it answers and lets nobody in: the reason above says which.
        (false, _, _) => "cannot be used",
        (true, _, true) => "refuses writes: out of memory",
        (true, false, false) => "refuses writes",
        (true, true, false) => "takes writes",
    };
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let used = mib(redis.used_memory_bytes);
    let memory = match redis.max_memory_bytes {
        0 => format!("{used:.1} MiB used, no limit"),
        max => format!(
            "{used:.1} of {:.1} MiB used, {}",
            mib(max),
            redis.maxmemory_policy
        ),
    };
    let asked = seconds(redis.age).map_or_else(
        || "not asked yet".into(),
        |ago| format!("asked {ago:.1} s ago"),
    );
    if redis.engine.is_empty() {
        return format!("{state}; {asked}");
    }
    format!(
        "{state}; {asked}; {} {}, {memory}",
        redis.engine, redis.version
    )
}

/// `None`: it was not said.
fn seconds(said: Option<prost_types::Duration>) -> Option<f64> {
    let length: Duration = said?.try_into().ok()?;
    Some(length.as_secs_f64())
}

/// The word that the contract uses for a value of an enum.
fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Reason;

    #[test]
    fn the_words_are_the_contracts() {
        assert_eq!(
            word(Reason::WaitingOutLease.as_str_name(), "REASON_"),
            "waiting_out_lease"
        );
        assert_eq!(word(Role::Standby.as_str_name(), "ROLE_"), "standby");
    }
}
