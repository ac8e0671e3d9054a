//! Redis, as the last checks and the last reading found it.

use std::time::Duration;

use super::Reading;
use crate::election::Reason;
use crate::fault::{StoreError, StoreFault};
use crate::health::{EngineInfo, Health, MemoryReading, RefusalWindow};
use crate::time::Instant;

/// How long one refused write keeps the agent unready, so that a Redis at its limit does not make it flap.
const REFUSED_FOR: Duration = Duration::from_secs(5);

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
    /// To how many channels of Redis somebody subscribed, some minutes ago perhaps; 0 if it does not say.
    pub channels: u64,
    pub read_at: Instant,
    /// Seconds since 1970.
    pub read_at_unix: f64,
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

    /// What is kept of it in the history. `at`: now, in seconds since 1970.
    #[must_use]
    pub fn reading(&self, at: f64) -> Reading {
        let memory = self.memory.as_ref().map(|it| &it.reading);
        Reading {
            at,
            memory: memory.map(|it| (it.used_bytes, it.max_bytes)),
            reachable: self.reachable().unwrap_or(false),
            writable: self.writable().unwrap_or(false),
            oom: self.oom(),
        }
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
