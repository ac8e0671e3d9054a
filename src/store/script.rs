//! The scripts, and their replies in the core's language.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};

use super::OomRung;
use super::dial::Try;
use crate::election::{
    Answer, Command, Lock, Outcome, RecordFields, RecordSeen, Refusal, Stamp, View,
};
use crate::endpoint::Keys;
use crate::fault::StoreError;
use crate::health::MemoryReading;

/// A script, known to the server by its hash.
pub(super) struct Script {
    text: String,
    hash: String,
}

/// The scripts of the election, and what one holder hands to them every time.
pub(super) struct Scripts {
    keys: Keys,
    holder: String,
    ttl_millis: String,
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
        let text = format!("{header}{}{body}", include_str!("view.lua"));
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
    pub fn new(keys: Keys, holder: &str, ttl: Duration) -> Self {
        const ALLOW_OOM: &str = "#!lua flags=allow-oom\n";
        let rungs = |body| ["", ALLOW_OOM].map(|header| Script::new(body, header));
        Self {
            keys,
            holder: holder.to_owned(),
            ttl_millis: ttl.as_millis().to_string(),
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
        let holder = || self.holder.clone();
        let ttl = || self.ttl_millis.clone();
        let stamped = |stamp: &Stamp| {
            // No two sends bear the same, not even those of one attempt: each of them may run, and however late.
            let number = match (rung, nth) {
                (OomRung::FirstWrite, Try::First) => stamp.attempt.to_string(),
                (OomRung::FirstWrite, Try::Again) => format!("{}.1", stamp.attempt),
                (OomRung::AllowOom, Try::First) => format!("{}.2", stamp.attempt),
                (OomRung::AllowOom, Try::Again) => format!("{}.3", stamp.attempt),
            };
            [format!("{:016x}", stamp.process), number]
        };
        let rest = |stamp| {
            let [process, attempt] = stamped(stamp);
            [
                self.keys.events(),
                self.record_millis.clone(),
                process,
                attempt,
            ]
        };
        let flag = |yes: bool| u8::from(yes).to_string();
        match command {
            Command::Look => (&self.look, vec![]),
            Command::Begin {
                judged,
                stale_lock,
                above,
                not_after,
                under_oom,
                stamp,
            } => {
                let (not_after, above) = (not_after.to_string(), above.to_string());
                let head = ["begin".into(), holder(), ttl(), not_after, flag(*under_oom)];
                let tail = [judged.clone(), flag(*stale_lock), above];
                (claim, [&head[..], &tail[..], &rest(stamp)].concat())
            }
            Command::Renew {
                token,
                not_after,
                stamp,
            } => {
                let (not_after, token) = (not_after.to_string(), token.to_string());
                let head = ["renew".into(), holder(), ttl(), not_after, flag(true)];
                let tail = [token, String::new(), String::new()];
                (claim, [&head[..], &tail[..], &rest(stamp)].concat())
            }
            Command::Release {
                token,
                not_after,
                hold_off,
                stamp,
            } => {
                let (not_after, hold_off) =
                    (not_after.to_string(), hold_off.as_millis().to_string());
                let head = [
                    holder(),
                    token.to_string(),
                    not_after,
                    hold_off,
                    self.keys.events(),
                ];
                (release, [&head[..], &stamped(stamp)].concat())
            }
        }
    }
}

/// Reads the reply of `answer()` in `view.lua`.
///
/// # Errors
/// It is not such a reply: then something else than our script has answered.
pub fn answer(reply: &Value) -> Result<Answer, StoreError> {
    read(reply).ok_or_else(|| {
        let shown: String = format!("{reply:?}").chars().take(200).collect();
        StoreError::nonsense(format!(
            "Redis answered a script with something that makes no sense: {shown}"
        ))
    })?
}

fn read(reply: &Value) -> Option<Result<Answer, StoreError>> {
    let Value::Array(items) = reply else {
        return None;
    };
    let [
        outcome,
        token,
        time,
        lock,
        pttl,
        judged,
        record,
        generation,
        uptime,
        replid2,
        memory,
    ] = items.as_slice()
    else {
        return None;
    };
    let outcome = match text(outcome)? {
        "looked" => Outcome::Looked,
        "begun" => Outcome::Begun(text(token)?.parse().ok()?),
        "renewed" => Outcome::Renewed,
        "released" => Outcome::Released,
        "too_late" => Outcome::Refused(Refusal::TooLate),
        "held" => Outcome::Refused(Refusal::Held),
        "changed" => Outcome::Refused(Refusal::Changed),
        "superseded" => Outcome::Refused(Refusal::Superseded),
        _ => return None,
    };
    let lock = match lock {
        Value::Nil => None,
        lock => Some(Lock {
            holder: lossy(lock)?,
            remaining: match pttl {
                // −1: it never expires.
                Value::Int(millis) => u64::try_from(*millis).ok().map(Duration::from_millis),
                _ => return None,
            },
        }),
    };
    let memory = match MemoryReading::parse(text(memory)?) {
        Ok(memory) => memory,
        Err(error) => return Some(Err(StoreError::nonsense(error.to_string()))),
    };
    Some(Ok(Answer {
        outcome,
        view: View {
            lock,
            record: record_seen(record)?,
            generation: text(generation)?.to_owned(),
            judged: lossy(judged)?,
            // Below zero on a server whose clock was set back to before its start.
            uptime: Duration::from_secs(text(uptime)?.parse::<i64>().ok()?.try_into().unwrap_or(0)),
            promoted: text(replid2)?.bytes().any(|byte| byte != b'0'),
            store_micros: text(time)?.parse().ok()?,
            memory,
        },
    }))
}

/// The fields in the order of `FIELDS` in `view.lua`.
fn record_seen(record: &Value) -> Option<RecordSeen> {
    let Value::Array(fields) = record else {
        return None;
    };
    let [
        schema,
        holder,
        token,
        _deadline,
        ttl,
        released,
        generation,
        _successor,
        _hold_off,
        _process,
        _attempt,
    ] = fields.as_slice()
    else {
        return None;
    };
    // Nor could it be judged: `judged` shows bytes that are no text as something else.
    if fields
        .iter()
        .any(|it| *it != Value::Nil && text(it).is_none())
    {
        return Some(RecordSeen::Unknown("a field of it is no text".into()));
    }
    Some(RecordSeen::parse(RecordFields {
        schema: text(schema),
        holder: text(holder),
        token: text(token),
        ttl: text(ttl),
        released: text(released),
        generation: text(generation),
    }))
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// A foreign value in the lock may hold any bytes.
fn lossy(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reply(uptime: &str) -> Value {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let memory = "used_memory:1\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n";
        Value::Array(vec![
            text("looked"),
            text("0"),
            text("1700000000000000"),
            Value::Nil,
            Value::Int(-2),
            text("g - - - - - - - - - - -"),
            Value::Array(vec![Value::Nil; 11]),
            text("g"),
            text(uptime),
            text("0000"),
            text(memory),
        ])
    }

    #[test]
    fn a_server_whose_clock_was_set_back_before_its_start_is_understood() {
        let view = answer(&reply("-29")).unwrap().view;
        assert_eq!(
            (view.uptime, view.record),
            (Duration::ZERO, RecordSeen::Missing)
        );
        assert_eq!(answer(&reply("7")).unwrap().view.uptime.as_secs(), 7);
    }

    #[test]
    fn what_is_no_answer_of_ours_is_an_error_and_nothing_else() {
        let nonsense = [
            Value::Nil,
            Value::Okay,
            Value::Int(7),
            Value::Array(vec![]),
            Value::Array(vec![Value::Nil; 11]),
            reply("soon"),
        ];
        for value in nonsense {
            let error = answer(&value).unwrap_err();
            assert!(error.to_string().contains("no sense"), "{error}");
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            Just(Value::Okay),
            any::<i64>().prop_map(Value::Int),
            any::<Vec<u8>>().prop_map(Value::BulkString),
            "looked|begun|too_late|-?[0-9]{1,20}|.{0,10}".prop_map(Value::SimpleString),
            "looked|begun|too_late|1|0|-?[0-9]{1,20}"
                .prop_map(|text| Value::BulkString(text.into_bytes())),
        ];
        leaf.prop_recursive(3, 64, 12, |inner| {
            prop::collection::vec(inner, 0..12).prop_map(Value::Array)
        })
    }

    proptest! {
        #[test]
        fn no_reply_makes_it_panic(value in any_value(), parts in prop::collection::vec(any_value(), 11)) {
            let _ = answer(&value);
            let _ = answer(&Value::Array(parts));
        }

        #[test]
        fn no_record_makes_it_panic(parts in prop::collection::vec(any_value(), 11)) {
            let Value::Array(mut whole) = reply("7") else { unreachable!() };
            whole[6] = Value::Array(parts);
            let _ = answer(&Value::Array(whole));
        }
    }
}
