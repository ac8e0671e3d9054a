//! Explains the state in words: who leads, since when, why this instance does not, and what to do. One text for gRPC,
//! HTTP, the command line, the log and the page.

use std::borrow::Cow;

use super::Status;
use super::when::clock_time;
use crate::election::{Leadership, Reason};
use crate::fault::{RedisFault, StoreFault};
use crate::time::Instant;

/// The advice if there is nothing to do.
const NOTHING: &str = "nothing";

impl Status {
    /// Stays the same text for as long as role, reason, leader and token do.
    #[must_use]
    pub fn explanation(&self, now: Instant) -> Cow<'_, str> {
        match self.leadership(now) {
            Cow::Borrowed(_) => Cow::Borrowed(&self.explanation),
            // The history learns of a lapse a moment later.
            Cow::Owned(lapsed) => Cow::Owned(explain(&lapsed, None)),
        }
    }

    /// Makes the text anew, once another leadership is in the status and in the history.
    pub fn explain(&mut self) {
        self.explanation = explain(&self.election.leadership, self.history.leader_since());
    }
}

/// `since`: when it was first seen that this leader leads, or that nobody does, in seconds since 1970.
#[must_use]
pub fn explain(leadership: &Leadership, since: Option<f64>) -> String {
    let since = since.map_or_else(String::new, |it| format!(" since {}", clock_time(it)));
    let reason = leadership.reason;
    let (why, to_do) = words(reason);
    match &leadership.leader {
        Some(_) if leadership.leads() => {
            let token = leadership.token.unwrap_or_default();
            format!("This instance has led{since}, with fencing token {token}.")
        }
        Some(leader) if reason == Reason::HeldByOther => {
            format!("{leader} has led{since}, and this instance stands by.")
        }
        Some(leader) => format!(
            "{leader} has led{since}; this instance could not take over, because {why}. To do: {to_do}."
        ),
        None if is_blind(reason) => {
            format!("This instance has seen no leader{since}, because {why}. To do: {to_do}.")
        }
        None => {
            format!("Nobody has led{since}; this instance does not, because {why}. To do: {to_do}.")
        }
    }
}

/// Without an answer from Redis this agent does not know whether another instance leads.
fn is_blind(reason: Reason) -> bool {
    match reason {
        Reason::Starting => true,
        Reason::Redis(fault) => !matches!(
            fault,
            RedisFault::Oom | RedisFault::ReadOnly | RedisFault::Misconf | RedisFault::NoReplicas
        ),
        _ => false,
    }
}

/// Why this instance does not lead, as a clause, and what to do about it.
fn words(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::Elected => ("it holds the lock", NOTHING),
        Reason::HeldByOther => (
            "another instance holds the lock",
            "nothing; this instance takes over when that lock ends",
        ),
        Reason::WaitingOutLease => (
            "the last leader is gone without having released the lock, and its lease is being waited out",
            "nothing; the next term begins within --lease-ttl and a margin",
        ),
        Reason::StoreSettling => (
            "Redis was restarted or has lost its data, and a leader that outlived its lock may still come back",
            "nothing; the next term begins within --lease-ttl and a margin",
        ),
        Reason::NoMiner => (
            "no miner campaigns here",
            "start the miner beside this agent, or read its log: it must open a Campaign stream",
        ),
        Reason::MinerSilent => (
            "the miner beside this agent is connected and has sent nothing for --miner-timeout",
            "look into the miner: it hangs, or the loop that sends its heartbeats does",
        ),
        Reason::NotCandidate => (
            "it is no candidate: it runs with --candidate=false, or its miner says so, which is cleaning up or about to leave",
            "nothing if it only watches, or while its miner cleans up; if that lasts, read the miner's log",
        ),
        Reason::LeaseExpired => (
            "its lease ran out before Redis took a renewal",
            "look at Redis and the way to it with `understudy doctor`",
        ),
        Reason::LockLost => (
            "the lock or its record has vanished or belongs to somebody else",
            "find what removed it: FLUSHALL, an eviction, a failover of Redis, or another program with the same key",
        ),
        Reason::Resigned => (
            "it has just handed leadership over",
            "nothing, if another instance is a candidate",
        ),
        Reason::Draining => (
            "it is giving leadership up or shutting down",
            "nothing; the next leader begins as soon as this one's miner has stopped acting",
        ),
        Reason::HoldOff => (
            "it has resigned and stays out of the election for a while",
            "nothing, if another instance is a candidate; this one becomes one again when its hold-off has passed",
        ),
        Reason::HeldForSuccessor => (
            "the last leader named another instance as its successor, which has one second to begin",
            "nothing; if that instance does not begin, another does",
        ),
        Reason::EvictionPolicy => (
            "Redis has a memory limit and a maxmemory-policy that may evict the lock",
            "set maxmemory-policy noeviction, or accept the risk with --allow-eviction",
        ),
        Reason::Starting => (
            "it has not seen Redis yet",
            "wait a moment; if that lasts, read the agent's log",
        ),
        Reason::Redis(fault) => redis_words(fault),
    }
}

fn redis_words(fault: RedisFault) -> (&'static str, &'static str) {
    let (why, same_hint) = match fault {
        RedisFault::Unreachable => (
            "Redis refuses connections or cannot be reached",
            StoreFault::Unreachable,
        ),
        RedisFault::Timeout => (
            "Redis did not answer within --redis-timeout",
            StoreFault::TimedOut,
        ),
        RedisFault::Oom => (
            "Redis is out of memory and refuses writes",
            StoreFault::OutOfMemory,
        ),
        RedisFault::ReadOnly => (
            "this Redis is a replica and takes no writes",
            StoreFault::ReadOnly,
        ),
        RedisFault::Loading => ("Redis is loading its data", StoreFault::Loading),
        RedisFault::Busy => ("a slow script holds Redis", StoreFault::Busy),
        RedisFault::Misconf => (
            "Redis cannot save to disk and refuses writes",
            StoreFault::Misconf,
        ),
        RedisFault::NoReplicas => (
            "Redis has too few replicas in sync and refuses writes",
            StoreFault::NoReplicas,
        ),
        RedisFault::Auth => (
            "Redis does not accept the credentials, or their file cannot be read yet",
            StoreFault::Auth,
        ),
        RedisFault::Tls => (
            "Redis and this agent do not accept each other's certificates, or a TLS file cannot be used yet",
            StoreFault::Tls,
        ),
        RedisFault::NoPermission => (
            "the Redis user lacks a permission",
            StoreFault::NoPermission,
        ),
        RedisFault::WrongType => (
            "a key of another type stands under the lock's or the record's name",
            StoreFault::WrongType,
        ),
        RedisFault::ClusterDown => (
            "the cluster does not serve the lock's slot",
            StoreFault::Topology,
        ),
        RedisFault::Error => (
            "Redis gave an answer that this version does not know, or a record that it does not understand",
            StoreFault::Other,
        ),
    };
    (why, same_hint.hint())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_the_leader_the_reason_the_time_and_what_to_do() {
        let at = Some(1_000_000_000.0);
        let mut it = Leadership::starting();
        let said = explain(&it, None);
        assert!(
            said.starts_with("This instance has seen no leader, because it has not"),
            "{said}"
        );
        it.reason = Reason::Redis(RedisFault::Oom);
        assert_eq!(
            explain(&it, at),
            "Nobody has led since 2001-09-09 01:46:40 UTC; this instance does not, because Redis is out of memory and \
             refuses writes. To do: raise maxmemory, or free keys: used memory is above the limit."
        );
        it.leader = Some("m-1".into());
        it.reason = Reason::NoMiner;
        let said = explain(&it, at);
        assert!(said.starts_with("m-1 has led since 2001"), "{said}");
        assert!(
            said.contains("could not take over, because no miner"),
            "{said}"
        );
        // The agent's own doing, or its miner's.
        it.reason = Reason::NotCandidate;
        let said = explain(&it, at);
        assert!(said.contains("--candidate=false, or its miner"), "{said}");
        it.reason = Reason::HeldByOther;
        let said = explain(&it, at);
        assert!(
            said.ends_with("UTC, and this instance stands by."),
            "{said}"
        );
    }
}
