//! Converts what the agent knows into the API's messages.

use std::time::Duration;

use crate::clock;
use crate::election::{Liveness, Reason, Role};
use crate::fault::{RedisFault, StoreFault};
use crate::proto;
use crate::status::Status;
use crate::time::Instant;

pub(super) fn leadership(status: &Status, now: Instant) -> proto::Leadership {
    let leadership = status.leadership(now);
    // A grant that has run out no longer counts.
    let valid_until = leadership.valid_until.filter(|until| now < *until);
    proto::Leadership {
        role: role(leadership.role).into(),
        reason: reason(leadership.reason).into(),
        instance_id: status.identity.holder.clone(),
        leader_id: leadership.leader.clone().unwrap_or_default(),
        fencing_token: leadership.token.unwrap_or_default(),
        valid_until_boottime_ns: valid_until.map_or(0, Instant::as_nanos),
        valid_until_monotonic_ns: valid_until.map_or(0, clock::monotonic_nanos),
        valid_for: duration(valid_until.map_or(Duration::ZERO, |until| until.since(now))),
        version: leadership.version,
        heartbeat_every: duration(status.identity.heartbeat_every),
        explanation: status.explanation(now).into_owned(),
    }
}

/// The answer for a client without a grant of its own. Under `campaign` the grant belongs to one stream and ends with
/// it, so others must not act on its deadline.
pub(super) fn observed(status: &Status, liveness: Liveness, now: Instant) -> proto::Leadership {
    let mut observed = leadership(status, now);
    if liveness == Liveness::Campaign {
        observed.valid_until_boottime_ns = 0;
        observed.valid_until_monotonic_ns = 0;
    }
    observed
}

pub(super) fn lease_remaining(status: &Status, now: Instant) -> Option<prost_types::Duration> {
    let until = status.leadership(now).lease_until?;
    duration(until.since(now))
}

pub(super) fn takeover(status: &Status, now: Instant) -> Option<proto::Takeover> {
    let takeover = status.takeover(now)?;
    let fault = takeover.as_ref().err();
    let rehearsed = status.takeover.as_ref();
    Some(proto::Takeover {
        ready: takeover.is_ok(),
        reason: fault
            .map_or(proto::Reason::Unspecified, |(why, _)| reason(*why))
            .into(),
        error: fault.map_or_else(String::new, |(_, error)| error.clone()),
        age: rehearsed.and_then(|it| duration(now.since(it.rehearsed_at))),
    })
}

pub(super) fn redis_health(status: &Status, now: Instant) -> proto::RedisHealth {
    let redis = &status.redis;
    let memory = redis.memory();
    proto::RedisHealth {
        reachable: redis.reachable().unwrap_or(false),
        writable: redis.writable().unwrap_or(false),
        oom: redis.oom(),
        used_memory_bytes: memory.map_or(0, |it| it.reading.used_bytes),
        max_memory_bytes: memory.map_or(0, |it| it.reading.max_bytes),
        usage_ratio: memory.map_or(-1.0, |it| it.reading.usage_ratio()),
        maxmemory_policy: memory.map_or_else(String::new, |it| it.reading.policy.clone()),
        engine: memory.map_or_else(String::new, |it| it.engine.engine.clone()),
        version: memory.map_or_else(String::new, |it| it.engine.version.clone()),
        age: redis.age(now).and_then(duration),
    }
}

/// The JSON of HTTP's `/status`.
pub(super) fn status_json(
    status: &Status,
    now: Instant,
    history: bool,
) -> Result<String, serde_json::Error> {
    let at = clock::unix_seconds();
    serde_json::to_string(&if history {
        status.snapshot_with_history(now, at)
    } else {
        status.snapshot(now, at)
    })
}

pub(super) fn duration(duration: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(duration).ok()
}

fn role(role: Role) -> proto::Role {
    match role {
        Role::Leader => proto::Role::Leader,
        Role::Standby => proto::Role::Standby,
        Role::Idle => proto::Role::Idle,
    }
}

fn reason(reason: Reason) -> proto::Reason {
    match reason {
        Reason::Elected => proto::Reason::Elected,
        Reason::HeldByOther => proto::Reason::HeldByOther,
        Reason::WaitingOutLease => proto::Reason::WaitingOutLease,
        Reason::StoreSettling => proto::Reason::StoreSettling,
        Reason::NoMiner => proto::Reason::NoMiner,
        Reason::MinerSilent => proto::Reason::MinerSilent,
        Reason::NotCandidate => proto::Reason::NotCandidate,
        Reason::LeaseExpired => proto::Reason::LeaseExpired,
        Reason::LockLost => proto::Reason::LockLost,
        Reason::Resigned => proto::Reason::Resigned,
        Reason::Draining => proto::Reason::Draining,
        Reason::HoldOff => proto::Reason::HoldOff,
        Reason::HeldForSuccessor => proto::Reason::HeldForSuccessor,
        Reason::EvictionPolicy => proto::Reason::EvictionPolicy,
        Reason::Starting => proto::Reason::Starting,
        Reason::Redis(fault) => redis_fault(fault),
    }
}

/// The API's values are the contract's words in capitals.
fn redis_fault(fault: RedisFault) -> proto::Reason {
    let name = format!("REASON_{}", fault.name().to_uppercase());
    proto::Reason::from_str_name(&name).unwrap_or(proto::Reason::RedisError)
}

pub(super) fn error_class(fault: StoreFault) -> proto::ErrorClass {
    match fault {
        StoreFault::OutOfMemory => proto::ErrorClass::Oom,
        StoreFault::Misconf => proto::ErrorClass::Misconf,
        StoreFault::ReadOnly => proto::ErrorClass::ReadOnly,
        StoreFault::NoReplicas => proto::ErrorClass::NoReplicas,
        StoreFault::Loading => proto::ErrorClass::Loading,
        StoreFault::Topology => proto::ErrorClass::Topology,
        StoreFault::Busy => proto::ErrorClass::Busy,
        StoreFault::Unkillable => proto::ErrorClass::Unkillable,
        StoreFault::Auth | StoreFault::PasswordFile => proto::ErrorClass::Auth,
        StoreFault::NoPermission => proto::ErrorClass::NoPermission,
        StoreFault::NoScript => proto::ErrorClass::NoScript,
        StoreFault::WrongType => proto::ErrorClass::WrongType,
        StoreFault::ClientBug => proto::ErrorClass::ClientBug,
        StoreFault::TimedOut => proto::ErrorClass::Timeout,
        StoreFault::Unreachable => proto::ErrorClass::Unreachable,
        StoreFault::Tls | StoreFault::TlsFile => proto::ErrorClass::Tls,
        StoreFault::Other => proto::ErrorClass::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::election::Leadership;
    use crate::status::explain;

    fn every_reason() -> Vec<Reason> {
        use RedisFault as It;
        let faults = [
            It::Unreachable,
            It::Timeout,
            It::Oom,
            It::ReadOnly,
            It::Loading,
            It::Busy,
            It::Misconf,
            It::NoReplicas,
            It::Auth,
            It::Tls,
            It::NoPermission,
            It::WrongType,
            It::ClusterDown,
            It::Error,
        ];
        let reasons = [
            Reason::Elected,
            Reason::HeldByOther,
            Reason::WaitingOutLease,
            Reason::StoreSettling,
            Reason::NoMiner,
            Reason::MinerSilent,
            Reason::NotCandidate,
            Reason::LeaseExpired,
            Reason::LockLost,
            Reason::Resigned,
            Reason::Draining,
            Reason::HoldOff,
            Reason::HeldForSuccessor,
            Reason::EvictionPolicy,
            Reason::Starting,
        ];
        let faults = faults.into_iter().map(Reason::Redis);
        reasons.into_iter().chain(faults).collect()
    }

    /// Every word of the contract has a value, and no two share one.
    #[test]
    fn every_reason_of_the_contract_has_its_own() {
        let known: BTreeMap<i32, Reason> = every_reason()
            .into_iter()
            .map(|it| (reason(it).into(), it))
            .collect();
        assert_eq!(known.len(), every_reason().len());
        for number in 1..200 {
            let Ok(said) = proto::Reason::try_from(number) else {
                continue;
            };
            let why = known.get(&number);
            let why = why.unwrap_or_else(|| panic!("{said:?} is said for no reason"));
            assert_eq!(
                format!("REASON_{}", why.name().to_uppercase()),
                said.as_str_name()
            );
        }
    }

    #[test]
    fn every_reason_of_the_contract_is_explained() {
        let mut texts = BTreeSet::new();
        for why in every_reason() {
            let mut leadership = Leadership::starting();
            leadership.reason = why;
            let text = explain(&leadership, Some(0.0));
            let (because, to_do) = text.split_once(". To do: ").expect("what to do");
            assert!(because.contains("1970-01-01 00:00:00 UTC"), "{text}");
            assert!(to_do.len() > 5 && to_do.ends_with('.'), "{text}");
            assert!(!text.contains("..") && !text.contains("  "), "{text}");
            assert!(texts.insert(text.clone()), "two reasons, one text: {text}");
        }
    }
}
