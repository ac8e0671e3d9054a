//! What the agent knows, published: written by the tasks, read by the API, never changed by it.

use std::time::Duration;

use tokio::sync::watch;

use crate::election::{CampaignId, Leadership, Reason, Token};
use crate::fault::{StoreError, StoreFault};
use crate::health::{EngineInfo, Health, MemoryReading, RefusalWindow};
use crate::time::Instant;

/// How long one refused write keeps the agent unready, so that a Redis at its limit does not make it flap.
const REFUSED_FOR: Duration = Duration::from_secs(5);
/// A loop that is late by this much makes no progress.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// Everything that is shown of an agent.
#[derive(Debug, Clone)]
pub struct Status {
    pub identity: Identity,
    pub election: ElectionStatus,
    pub redis: RedisStatus,
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
    pub heartbeat_every: Duration,
    pub started: Instant,
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

/// Redis' part, written by `tasks::watch_redis`.
#[derive(Debug, Clone, Default)]
pub struct RedisStatus {
    checked: Option<(Instant, Health)>,
    refused: Option<(Instant, Reason)>,
    window: RefusalWindow,
    memory: Option<MemoryStatus>,
}

/// The last reading of Redis' memory.
#[derive(Debug, Clone)]
pub struct MemoryStatus {
    pub reading: MemoryReading,
    pub engine: EngineInfo,
    pub read_at: Instant,
    /// Seconds since 1970.
    pub read_at_unix: f64,
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
            takeover: None,
            elect_due: started,
            watch_due: started,
            stopping: false,
        }
    }

    /// Who leads, as of `now`.
    #[must_use]
    pub fn leadership(&self, now: Instant) -> Leadership {
        self.election.leadership.at(now)
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

// === impl RedisStatus ===

impl RedisStatus {
    /// Tells whether anything that is shown has changed; that a refusal has passed, too.
    pub fn checked(&mut self, health: Health, now: Instant) -> bool {
        let before = self.shown(self.checked.as_ref().map_or(now, |(at, _)| *at));
        if let Health::Refusing(error) = &health {
            self.refused = Some((now, Reason::from(error.fault)));
        }
        if !matches!(health, Health::Away(_)) {
            self.window
                .record(age(now), matches!(health, Health::Refusing(_)));
        }
        self.checked = Some((now, health));
        before != self.shown(now)
    }

    fn shown(&self, now: Instant) -> impl PartialEq + use<> {
        let readings = (self.reachable(), self.writable(), self.oom());
        (readings, self.not_ready(now))
    }

    pub fn read(&mut self, memory: MemoryStatus) {
        self.memory = Some(memory);
    }

    #[must_use]
    pub fn memory(&self) -> Option<&MemoryStatus> {
        self.memory.as_ref()
    }

    /// Redis answered the last check; `None` before the first.
    #[must_use]
    pub fn reachable(&self) -> Option<bool> {
        let (_, health) = self.checked.as_ref()?;
        Some(!matches!(health, Health::Away(_)))
    }

    /// Redis took the last write probe.
    #[must_use]
    pub fn writable(&self) -> Option<bool> {
        let (_, health) = self.checked.as_ref()?;
        Some(*health == Health::Writable)
    }

    /// Redis refused the last write probe for lack of memory.
    #[must_use]
    pub fn oom(&self) -> bool {
        self.error()
            .is_some_and(|error| error.fault == StoreFault::OutOfMemory)
    }

    /// What was wrong at the last check.
    #[must_use]
    pub fn error(&self) -> Option<&StoreError> {
        match &self.checked.as_ref()?.1 {
            Health::Writable => None,
            Health::Refusing(error) | Health::Away(error) => Some(error),
        }
    }

    /// How long ago Redis was last asked.
    #[must_use]
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.checked.as_ref().map(|(at, _)| now.since(*at))
    }

    /// The share of write probes refused in the last minute.
    #[must_use]
    pub fn refused_ratio(&self, now: Instant) -> f64 {
        self.window.ratio(age(now))
    }

    /// Why an agent is not ready for what Redis is.
    #[must_use]
    pub fn not_ready(&self, now: Instant) -> Option<Reason> {
        let Some((_, health)) = &self.checked else {
            return Some(Reason::Starting);
        };
        match (health, self.refused) {
            (Health::Refusing(error) | Health::Away(error), _) => Some(Reason::from(error.fault)),
            (Health::Writable, Some((at, reason))) if now.since(at) < REFUSED_FOR => Some(reason),
            (Health::Writable, _) => None,
        }
    }
}

fn age(now: Instant) -> Duration {
    now.since(Instant::PAST)
}
