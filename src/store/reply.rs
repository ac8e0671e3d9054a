//! The replies of the scripts, in the core's language.

use std::time::Duration;

use redis::Value;

use super::judged;
use crate::election::{Answer, Listed, Lock, Outcome, RecordSeen, Refusal, View};
use crate::fault::StoreError;
use crate::health::MemoryReading;

/// Reads the reply of `answer()` in `answer.lua`.
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

/// By position, as `answer.lua` writes it.
struct Reply<'a> {
    outcome: &'a str,
    token: &'a str,
    time: &'a str,
    lock: &'a Value,
    pttl: &'a Value,
    record: &'a Value,
    generation: &'a str,
    uptime: &'a str,
    replid2: &'a str,
    memory: &'a str,
    members: &'a Value,
}

impl<'a> Reply<'a> {
    fn of(reply: &'a Value) -> Option<Self> {
        let Value::Array(items) = reply else {
            return None;
        };
        #[rustfmt::skip]
        let [
            outcome, token, time, lock, pttl, record, generation, uptime, replid2, memory, members,
        ] = items.as_slice() else {
            return None;
        };
        Some(Self {
            outcome: text(outcome)?,
            token: text(token)?,
            time: text(time)?,
            lock,
            pttl,
            record,
            generation: text(generation)?,
            uptime: text(uptime)?,
            replid2: text(replid2)?,
            memory: text(memory)?,
            members,
        })
    }
}

fn read(reply: &Value) -> Option<Result<Answer, StoreError>> {
    let reply = Reply::of(reply)?;
    let outcome = match reply.outcome {
        "looked" => Outcome::Looked,
        "begun" => Outcome::Begun(reply.token.parse().ok()?),
        "renewed" => Outcome::Renewed,
        "released" => Outcome::Released,
        "too_late" => Outcome::Refused(Refusal::TooLate),
        "held" => Outcome::Refused(Refusal::Held),
        "changed" => Outcome::Refused(Refusal::Changed),
        "superseded" => Outcome::Refused(Refusal::Superseded),
        "evicting" => Outcome::Refused(Refusal::Evicting),
        _ => return None,
    };
    let lock = match reply.lock {
        Value::Nil => None,
        lock => Some(Lock {
            holder: lossy(lock)?,
            remaining: match reply.pttl {
                // −1: it never expires.
                Value::Int(millis) => u64::try_from(*millis).ok().map(Duration::from_millis),
                _ => return None,
            },
        }),
    };
    let Value::Array(record) = reply.record else {
        return None;
    };
    let record: &[Value; judged::FIELDS] = record.as_slice().try_into().ok()?;
    let memory = match reply.memory {
        "" => None,
        told => match MemoryReading::parse(told) {
            Ok(memory) => Some(memory),
            Err(error) => return Some(Err(StoreError::nonsense(error.to_string()))),
        },
    };
    Some(Ok(Answer {
        outcome,
        view: View {
            lock,
            record: record_seen(record),
            generation: reply.generation.to_owned(),
            judged: judged::write(reply.generation, record.iter().map(lossy)),
            // Below zero on a server whose clock was set back to before its start.
            uptime: Duration::from_secs(reply.uptime.parse::<i64>().ok()?.try_into().unwrap_or(0)),
            promoted: reply.replid2.bytes().any(|byte| byte != b'0'),
            store_micros: reply.time.parse().ok()?,
            memory,
            members: listed(reply.members)?,
        },
    }))
}

/// The fields in the order of `FIELDS` in `view.lua`.
fn record_seen(fields: &[Value; judged::FIELDS]) -> RecordSeen {
    // Nor could it be judged: `judged` shows bytes that are no text as something else.
    if fields
        .iter()
        .any(|it| *it != Value::Nil && text(it).is_none())
    {
        return RecordSeen::Unknown("a field of it is no text".into());
    }
    judged::record(fields.each_ref().map(text))
}

/// More entries than any fleet has candidates.
const MOST_MEMBERS: usize = 256;

/// Any client may have written there: malformed entries are skipped, and so are those beyond the limit.
fn listed(members: &Value) -> Option<Vec<Listed>> {
    let Value::Array(words) = members else {
        return None;
    };
    let entries = words.as_chunks().0.iter();
    let read = |[holder, entry]: &[Value; 2]| Listed::parse(text(holder)?, text(entry)?);
    Some(entries.filter_map(read).take(MOST_MEMBERS).collect())
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
            Value::Array(vec![Value::Nil; 11]),
            text("g"),
            text(uptime),
            text("0000"),
            text(memory),
            Value::Array(vec![]),
        ])
    }

    #[test]
    fn a_server_whose_clock_was_set_back_before_its_start_is_understood() {
        let view = answer(&reply("-29")).unwrap().view;
        assert_eq!(
            (view.uptime, view.record),
            (Duration::ZERO, RecordSeen::Missing)
        );
        let view = answer(&reply("7")).unwrap().view;
        assert_eq!(view.uptime.as_secs(), 7);
        assert_eq!(view.judged, "g - - - - - - - - - - -");
    }

    #[test]
    fn what_is_no_answer_of_ours_is_an_error_and_nothing_else() {
        let nonsense = [
            Value::Nil,
            Value::Okay,
            Value::Int(7),
            Value::Array(vec![]),
            Value::Array(vec![Value::Nil; 10]),
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
            whole[5] = Value::Array(parts);
            let _ = answer(&Value::Array(whole));
        }
    }
}
