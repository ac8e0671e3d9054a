//! The right to act, and the clock that ends it.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

/// The right to act as leader, until it ends by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Grant {
    /// Grows from term to term. Send it with every write to a store that can refuse a smaller one than it
    /// has seen.
    pub token: u64,
    /// When it ends, on CLOCK_BOOTTIME in nanoseconds.
    pub until: u64,
}

/// Until when the grants of a [`crate::Fake`] are: no clock ends them.
pub(crate) const ENDLESS: u64 = u64::MAX;

impl Grant {
    /// The clock is still below its end. Ask before every effect.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.until != 0 && (self.until == ENDLESS || boottime_ns() < self.until)
    }

    pub(crate) fn left(self) -> Duration {
        let left = self.until.saturating_sub(boottime_ns());
        Duration::from_nanos(left).min(Duration::from_secs(3600))
    }
}

/// CLOCK_BOOTTIME in nanoseconds: the clock that miner and agent share.
#[cfg(target_os = "linux")]
#[must_use]
pub fn boottime_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Later than every grant here: a deadline of the agent's means nothing without the clock that it shares.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn boottime_ns() -> u64 {
    u64::MAX
}

/// The present grant, to be read without a lock: a sequence lock, whose one writer holds the state's lock.
#[derive(Default)]
pub(crate) struct Now {
    /// Odd while it is written.
    turn: AtomicU64,
    token: AtomicU64,
    until: AtomicU64,
}

impl Now {
    pub fn set(&self, grant: Option<Grant>) {
        let Grant { token, until } = grant.unwrap_or_default();
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.token.store(token, Ordering::Relaxed);
        self.until.store(until, Ordering::Relaxed);
        self.turn.store(turn + 2, Ordering::Release);
    }

    /// Its end alone says whether there is one.
    pub fn holds(&self) -> bool {
        let until = self.until.load(Ordering::Acquire);
        Grant { token: 0, until }.holds()
    }

    pub fn get(&self) -> Option<Grant> {
        loop {
            let before = self.turn.load(Ordering::Acquire);
            let grant = Grant {
                token: self.token.load(Ordering::Relaxed),
                until: self.until.load(Ordering::Relaxed),
            };
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.turn.load(Ordering::Relaxed) == before {
                return (grant.token != 0 && grant.holds()).then_some(grant);
            }
            std::hint::spin_loop();
        }
    }
}
