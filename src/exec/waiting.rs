//! Logs why `exec` waits.

use std::time::Duration;

use crate::proto::{Leadership, Reason};
use crate::time::Instant;

const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(60);

/// Logs each reason once, and again after 2 s, 4 s, …
pub struct Waiting {
    reason: Reason,
    leader: String,
    since: Instant,
    again: Duration,
}

impl Waiting {
    pub fn new(now: Instant) -> Self {
        Self {
            reason: Reason::Unspecified,
            leader: String::new(),
            since: now,
            again: FIRST,
        }
    }

    pub fn say(&mut self, leadership: &Leadership, now: Instant) {
        let reason = leadership.reason();
        let waited = now.since(self.since);
        if (self.reason, &self.leader) != (reason, &leadership.leader_id) {
            self.reason = reason;
            self.leader.clone_from(&leadership.leader_id);
            (self.since, self.again) = (now, FIRST);
        } else if waited < self.again {
            return;
        } else {
            self.again = waited + waited.clamp(FIRST, LONGEST);
        }
        let name = reason
            .as_str_name()
            .trim_start_matches("REASON_")
            .to_lowercase();
        let what = what(reason, &self.leader);
        match now.since(self.since).as_secs_f64() {
            0.0 => tracing::info!("{name}: {what}"),
            waited => tracing::info!("{name}: {what}, for {waited:.1} s so far"),
        }
    }
}

fn what(reason: Reason, leader: &str) -> String {
    let text = match reason {
        Reason::HeldByOther if leader.is_empty() => "another instance leads",
        Reason::HeldByOther => return format!("{leader} leads"),
        Reason::WaitingOutLease => {
            "the last leader is gone and has not released the lock; its lease is being waited out (--lease-ttl and a margin)"
        }
        Reason::StoreSettling => {
            "Redis is empty or was restarted: a leader that outlived its lock may come back within --lease-ttl and a margin"
        }
        Reason::Draining => "the agent gives leadership up, or stops",
        Reason::Resigned | Reason::HoldOff => "this instance stays out of the election for a while",
        Reason::HeldForSuccessor => {
            "the last leader named another instance, which has a second to begin"
        }
        Reason::EvictionPolicy => "Redis may evict the lock (maxmemory-policy): nobody may lead",
        Reason::Starting => "this instance has not seen Redis yet",
        Reason::Elected | Reason::NoMiner => "this instance has only just begun to campaign",
        Reason::MinerSilent => "it was silent for too long",
        Reason::LeaseExpired => "the lease ran out before it could be renewed",
        Reason::LockLost => "the lock belongs to somebody else",
        _ => "Redis refuses, or does not answer; `understudy doctor` says more",
    };
    text.to_owned()
}
