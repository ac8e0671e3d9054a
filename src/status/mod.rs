//! What the agent knows, published: written by the tasks, read by the API, never changed by it.

mod explain;
mod history;
mod redis;
mod snapshot;
mod when;

use std::borrow::Cow;
use std::hash::Hash;
use std::time::Duration;

use tokio::sync::watch;

pub use explain::explain;
pub use history::{History, HistoryShown, Reading, ReadingShown, TransitionShown};
pub use redis::{MemoryStatus, RedisStatus};
pub use snapshot::{LeadershipShown, MemoryShown, RedisShown, Snapshot, TakeoverShown};
pub use when::{clock_time, length};

use crate::election::{CampaignId, Leadership, Listed, Liveness, Reason, Token};
use crate::fault::StoreError;
use crate::time::Instant;

/// A loop that is late by this much makes no progress.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// Everything that is shown of an agent.
#[derive(Debug, Clone)]
pub struct Status {
    pub identity: Identity,
    pub election: ElectionStatus,
    pub redis: RedisStatus,
    pub history: History,
    /// [`Self::explain`] makes it.
    explanation: String,
    /// `None` before the first rehearsal, and while this agent leads.
    pub takeover: Option<Takeover>,
    /// When each loop is to turn next, at the latest.
    pub elect_due: Instant,
    pub watch_due: Instant,
    /// The agent is shutting down.
    pub stopping: bool,
}

/// What never changes while the process runs.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The value of `--instance`.
    pub instance: String,
    /// What this process writes into the lock.
    pub holder: String,
    pub lock_key: String,
    pub liveness: Liveness,
    /// A third of `--miner-timeout`.
    pub heartbeat_every: Duration,
    pub started: Instant,
    /// The same in seconds since 1970.
    pub started_unix: f64,
}

/// The election's part, written by `tasks::elect`.
#[derive(Debug, Clone, PartialEq)]
pub struct ElectionStatus {
    pub leadership: Leadership,
    /// The campaign that counts at present, and the label that its miner gave itself.
    pub campaign: Option<CampaignId>,
    /// A live miner is here, or none is needed.
    pub candidate: bool,
    pub miner: String,
    /// Who could take over, as a leader sees it; empty elsewhere.
    pub candidates: Vec<Listed>,
    /// Heartbeats received: a change asks for an answer.
    pub heartbeats: u64,
    pub elections: u64,
    /// The greatest token that this agent knows of.
    pub highest_token: Token,
    pub consecutive_failures: u32,
    pub last_error: Option<StoreError>,
    /// Which way past out-of-memory the scripts take.
    pub oom_rung: &'static str,
    /// The events channel is heard.
    pub hears: bool,
    pub leaderless: Stopwatch,
}

/// Adds up the time during which something was so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stopwatch {
    total: Duration,
    since: Option<Instant>,
}

/// What the last rehearsal found, written by `tasks::rehearse`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Takeover {
    pub rehearsed_at: Instant,
    /// Why this agent could not take the lock, if it could not.
    pub fault: Option<(Reason, String)>,
}

/// Where the status is read.
pub type StatusWatch = watch::Receiver<Status>;

// === impl Status ===

impl Status {
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        let started = identity.started;
        Self {
            identity,
            election: ElectionStatus {
                leadership: Leadership::starting(),
                campaign: None,
                candidate: false,
                miner: String::new(),
                candidates: Vec::new(),
                heartbeats: 0,
                elections: 0,
                highest_token: 0,
                consecutive_failures: 0,
                last_error: None,
                oom_rung: "",
                hears: false,
                leaderless: Stopwatch::default(),
            },
            redis: RedisStatus::default(),
            history: History::default(),
            explanation: explain(&Leadership::starting(), None),
            takeover: None,
            elect_due: started,
            watch_due: started,
            stopping: false,
        }
    }

    /// Who leads, as of `now`.
    #[must_use]
    pub fn leadership(&self, now: Instant) -> Cow<'_, Leadership> {
        self.election.leadership.as_of(now)
    }

    /// Why this agent is not ready; empty if it is. Leadership has no part in it.
    #[must_use]
    pub fn not_ready(&self, now: Instant) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if self.stopping {
            reasons.push(Reason::Draining);
        }
        reasons.extend(self.redis.not_ready(now));
        reasons
    }

    /// Could this agent take the lock now, and if not, why? A leader has it. `None`: not tried yet.
    ///
    /// The rehearsal tries everything but the lock and the record themselves; these the election looks at.
    #[must_use]
    pub fn takeover(&self, now: Instant) -> Option<Result<(), (Reason, String)>> {
        if self.leadership(now).leads() {
            return Some(Ok(()));
        }
        let rehearsed = self.takeover.as_ref()?;
        let looked = self.election.last_error.as_ref();
        let looked = looked.map(|error| (Reason::from(error.fault), error.to_string()));
        Some(rehearsed.fault.clone().or(looked).map_or(Ok(()), Err))
    }

    /// Changes whenever something that is shown does, but for what runs down by the clock.
    #[must_use]
    pub fn mark(&self, now: Instant) -> impl PartialEq + Hash + use<> {
        let (election, redis) = (&self.election, &self.redis);
        let miner = (election.candidate, election.miner.clone());
        let candidates = election.candidates.iter().map(|it| it.member.clone());
        let candidates: Vec<_> = candidates.collect();
        let read_at = redis.memory().map(|memory| memory.read_at);
        let readings = (redis.reachable(), redis.writable(), redis.oom(), read_at);
        let version = self.leadership(now).version;
        (
            version,
            self.takeover(now),
            miner,
            candidates,
            readings,
            self.not_ready(now),
        )
    }

    /// Names the present state of leadership, of this process alone: `wait` and `since` of `/leader`.
    #[must_use]
    pub fn leadership_id(&self, now: Instant) -> String {
        let process = self.identity.started.as_nanos();
        format!("{process:x}.{}", self.leadership(now).version)
    }

    /// The agent's own loops make progress. Never depends on Redis.
    #[must_use]
    pub fn live(&self, now: Instant) -> bool {
        let due = self.elect_due.min(self.watch_due);
        now.since(due) < STUCK_AFTER
    }
}

// === impl Stopwatch ===

impl Stopwatch {
    /// From `now` on it is so, or is not.
    pub fn set(&mut self, so: bool, now: Instant) {
        match (so, self.since) {
            (true, None) => self.since = Some(now),
            (false, Some(since)) => {
                self.total += now.since(since);
                self.since = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    #[must_use]
    pub fn total(&self, now: Instant) -> Duration {
        self.total + self.since.map_or(Duration::ZERO, |since| now.since(since))
    }
}
