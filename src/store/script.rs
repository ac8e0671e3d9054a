//! The scripts, and what they are called with.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};

use super::OomRung;
use super::dial::Try;
use crate::election::{Claimant, Command, Entry, Successor};
use crate::endpoint::Keys;

/// A script, known to the server by its hash.
pub(super) struct Script {
    text: String,
    hash: String,
}

/// The scripts of the election.
pub(super) struct Scripts {
    keys: Keys,
    /// How long the record lasts; empty: for ever.
    record_millis: String,
    look: Script,
    /// By rung.
    claim: [Script; 2],
    release: [Script; 2],
}

// === impl Script ===

impl Script {
    /// `header` goes before the first line: `#!lua flags=…`, or nothing.
    fn new(body: &str, header: &str) -> Self {
        let prelude = [
            include_str!("view.lua"),
            include_str!("members.lua"),
            include_str!("answer.lua"),
        ];
        let text = format!("{header}{}{body}", prelude.concat());
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    /// Runs it by its hash; by its text where the server does not know the hash, which teaches it.
    pub async fn run(
        &self,
        mut connection: MultiplexedConnection,
        keys: &[String],
        args: &[String],
    ) -> RedisResult<Value> {
        let call = |command: &str, script: &str| {
            let mut call = redis::cmd(command);
            call.arg(script).arg(keys.len()).arg(keys).arg(args);
            call
        };
        let known = call("EVALSHA", &self.hash);
        match known.query_async(&mut connection).await {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                call("EVAL", &self.text).query_async(&mut connection).await
            }
            reply => reply,
        }
    }
}

// === impl Scripts ===

impl Scripts {
    pub fn new(keys: Keys) -> Self {
        const ALLOW_OOM: &str = "#!lua flags=allow-oom\n";
        let rungs = |body| ["", ALLOW_OOM].map(|header| Script::new(body, header));
        Self {
            keys,
            record_millis: String::new(),
            look: Script::new(include_str!("look.lua"), ""),
            claim: rungs(include_str!("claim.lua")),
            release: rungs(include_str!("release.lua")),
        }
    }

    /// From now on a record is gone when nothing has been claimed for `ttl`.
    pub fn fleeting(&mut self, ttl: Duration) {
        self.record_millis = ttl.as_millis().to_string();
    }

    /// KEYS of every script.
    pub fn keys(&self) -> [String; 2] {
        [self.keys.lock.clone(), self.keys.record()]
    }

    /// The script behind a command, and its ARGV as its head describes it.
    pub fn call(&self, command: &Command, rung: OomRung, nth: Try) -> (&Script, Vec<String>) {
        let [claim, release] = [&self.claim, &self.release].map(|rungs| match rung {
            OomRung::FirstWrite => &rungs[0],
            OomRung::AllowOom => &rungs[1],
        });
        match command {
            Command::Look { entry } => {
                let holder = entry.as_ref().map_or("", |it| &it.member.holder);
                let head = [self.keys.members(), holder.to_owned()];
                (&self.look, [&head[..], &words(entry.as_ref())].concat())
            }
            Command::Begin {
                by,
                judged,
                stale_lock,
                above,
                not_after,
                under_oom,
                allow_eviction,
                entry,
            } => {
                let head = claims("begin", by, *not_after, *under_oom);
                let judged = [judged.clone(), flag(*stale_lock), above.to_string()];
                let rest = self.rest_of_claim(by, (rung, nth), entry.as_ref());
                let last = [flag(*allow_eviction)];
                (claim, [&head[..], &judged[..], &rest, &last].concat())
            }
            Command::Renew {
                by,
                token,
                kept,
                not_after,
                entry,
            } => {
                let head = claims("renew", by, *not_after, true);
                let kept = kept.clone().unwrap_or_default();
                let token = [token.to_string(), kept, String::new()];
                let rest = self.rest_of_claim(by, (rung, nth), entry.as_ref());
                (claim, [&head[..], &token[..], &rest].concat())
            }
            Command::Release {
                by,
                token,
                not_after,
                hold_off,
                successor,
            } => {
                let head = [
                    by.holder.clone(),
                    token.to_string(),
                    not_after.to_string(),
                    hold_off.as_millis().to_string(),
                    self.keys.events(),
                ];
                let successor = match successor {
                    Successor::Anyone => "",
                    Successor::Named(holder) => holder,
                    Successor::Youngest => "*",
                };
                let tail = [self.keys.members(), successor.to_owned()];
                (
                    release,
                    [&head[..], &stamped(by, (rung, nth)), &tail].concat(),
                )
            }
        }
    }

    /// From `ARGV[9]` on.
    fn rest_of_claim(
        &self,
        by: &Claimant,
        send: (OomRung, Try),
        entry: Option<&Entry>,
    ) -> Vec<String> {
        let record = [self.keys.events(), self.record_millis.clone()];
        let members = [self.keys.members()];
        [&record[..], &stamped(by, send), &members[..], &words(entry)].concat()
    }
}

/// Up to `ARGV[5]` of a claim.
fn claims(operation: &str, by: &Claimant, not_after: u64, under_oom: bool) -> [String; 5] {
    [
        operation.to_owned(),
        by.holder.clone(),
        by.ttl.as_millis().to_string(),
        not_after.to_string(),
        flag(under_oom),
    ]
}

fn flag(yes: bool) -> String {
    u8::from(yes).to_string()
}

/// The writer's process and the number of its attempt. No two sends bear the same, not even those of one attempt: each
/// of them may run, and however late.
fn stamped(by: &Claimant, send: (OomRung, Try)) -> [String; 2] {
    let attempt = by.stamp.attempt;
    let number = match send {
        (OomRung::FirstWrite, Try::First) => attempt.to_string(),
        (OomRung::FirstWrite, Try::Again) => format!("{attempt}.1"),
        (OomRung::AllowOom, Try::First) => format!("{attempt}.2"),
        (OomRung::AllowOom, Try::Again) => format!("{attempt}.3"),
    };
    [format!("{:016x}", by.stamp.process), number]
}

/// For how long an entry counts, and its words.
fn words(entry: Option<&Entry>) -> [String; 2] {
    entry.map_or_else(Default::default, |entry| {
        [entry.lives.as_millis().to_string(), entry.member.words()]
    })
}
