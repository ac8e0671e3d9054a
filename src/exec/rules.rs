//! When a program must end, and when it is restarted. Pure: the caller reads the clock.

use std::time::Duration;

use crate::time::Instant;

/// The guardian kills this long before the grant ends, so that everything is dead by then.
const KILL_EARLY: Duration = Duration::from_millis(200);
/// `exec` itself kills this long before the grant ends, if the guardian has not done it.
const BACKSTOP_EARLY: Duration = Duration::from_millis(100);
/// A program that ends sooner than this has ended quickly.
const QUICK: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// After this many quick ends in a row, another instance should try.
const QUICK_ENDS: u32 = 5;

/// With a shorter timeout there is no time to notice a silence and to kill.
pub const SHORTEST_MINER_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest `--grace` under a miner-timeout of which a heartbeat is a third.
#[must_use]
pub fn longest_grace(miner_timeout: Duration) -> Duration {
    (miner_timeout * 2 / 3).saturating_sub(KILL_EARLY)
}

#[must_use]
pub fn default_grace(miner_timeout: Duration) -> Duration {
    (miner_timeout / 2).min(longest_grace(miner_timeout))
}

/// From then on nothing is started: it would be killed.
#[must_use]
pub fn latest_start(until: Instant) -> Instant {
    until - KILL_EARLY
}

/// When `exec` kills what the guardian has not killed.
#[must_use]
pub fn backstop(until: Instant) -> Instant {
    until - BACKSTOP_EARLY
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Running,
    /// SIGTERM is due.
    Stopping,
    /// SIGKILL, repeatedly, until nothing is left.
    Killing,
}

/// How long a program may run. Once it is told to stop, nothing prolongs it.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    until: Instant,
    grace: Duration,
    told: Option<Instant>,
    kill: bool,
}

/// Counts how a program ends, for `--restart`.
#[derive(Debug, Default)]
pub struct Restarts {
    quick: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    After(Duration),
    HandOver,
}

// === impl Deadline ===

impl Deadline {
    #[must_use]
    pub fn new(until: Instant, grace: Duration) -> Self {
        Self {
            until,
            grace,
            told: None,
            kill: false,
        }
    }

    pub fn extend(&mut self, until: Instant) {
        if self.told.is_none() {
            self.until = self.until.max(until);
        }
    }

    pub fn stop(&mut self, now: Instant) {
        self.told.get_or_insert(now);
    }

    pub fn kill(&mut self, now: Instant) {
        self.stop(now);
        self.kill = true;
    }

    /// What is due at `now`. A grant that nobody extends in time is a reason to stop.
    pub fn phase(&mut self, now: Instant) -> Phase {
        if now >= self.until - KILL_EARLY - self.grace {
            self.stop(now);
        }
        match self.told {
            None => Phase::Running,
            Some(_) if self.kill || now >= self.kill_at() => Phase::Killing,
            Some(_) => Phase::Stopping,
        }
    }

    /// When the phase changes next, if nothing happens.
    #[must_use]
    pub fn next(&self) -> Instant {
        match self.told {
            None => self.until - KILL_EARLY - self.grace,
            Some(_) => self.kill_at(),
        }
    }

    fn kill_at(&self) -> Instant {
        let after_grace = self.told.map_or(Instant::NEVER, |told| told + self.grace);
        after_grace.min(self.until - KILL_EARLY)
    }
}

// === impl Restarts ===

impl Restarts {
    pub fn ended_after(&mut self, ran: Duration) -> Next {
        self.quick = if ran < QUICK { self.quick + 1 } else { 0 };
        if self.quick >= QUICK_ENDS {
            self.quick = 0;
            return Next::HandOver;
        }
        Next::After(FIRST_PAUSE * (1 << self.quick.saturating_sub(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::PAST + Duration::from_millis(millis)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_grant_that_nobody_extends_ends_with_everything_dead() {
        let mut deadline = Deadline::new(at(10_000), ms(5000));
        assert_eq!(deadline.next(), at(4800));
        assert_eq!(deadline.phase(at(4799)), Phase::Running);
        assert_eq!(deadline.phase(at(4800)), Phase::Stopping);
        // It is too late for more.
        deadline.extend(at(20_000));
        assert_eq!(deadline.next(), at(9800));
        assert_eq!(deadline.phase(at(9799)), Phase::Stopping);
        assert_eq!(deadline.phase(at(9800)), Phase::Killing);
        assert!(backstop(at(10_000)) > at(9800));
    }

    #[test]
    fn told_to_stop_it_has_its_grace_and_never_beyond_the_grant() {
        let mut deadline = Deadline::new(at(10_000), ms(5000));
        deadline.extend(at(12_000));
        deadline.extend(at(11_000));
        deadline.stop(at(1000));
        deadline.stop(at(2000));
        assert_eq!(deadline.phase(at(5999)), Phase::Stopping);
        assert_eq!(deadline.phase(at(6000)), Phase::Killing);
        let mut late = Deadline::new(at(10_000), ms(1000));
        late.stop(at(8500));
        assert_eq!(late.phase(at(9499)), Phase::Stopping);
        late.kill(at(9000));
        assert_eq!(late.phase(at(9000)), Phase::Killing);
        // Started too late.
        assert_eq!(Deadline::new(at(10), ms(5)).phase(at(10)), Phase::Killing);
    }

    #[test]
    fn a_lost_leader_has_the_longest_grace_left_a_heartbeat_after_it_was_heard() {
        let timeout = ms(3000);
        assert_eq!(longest_grace(timeout), ms(1800));
        let mut deadline = Deadline::new(at(3000), longest_grace(timeout));
        deadline.stop(at(999));
        assert_eq!(deadline.next(), at(2799));
        assert_eq!(default_grace(ms(10_000)), ms(5000));
        assert_eq!(default_grace(ms(1000)), longest_grace(ms(1000)));
        assert_eq!(longest_grace(ms(100)), Duration::ZERO);
    }

    #[test]
    fn five_quick_ends_hand_over() {
        let mut restarts = Restarts::default();
        let quick = ms(100);
        for pause in [1, 2, 4, 8] {
            let next = Next::After(Duration::from_secs(pause));
            assert_eq!(restarts.ended_after(quick), next);
        }
        assert_eq!(restarts.ended_after(quick), Next::HandOver);
        restarts.ended_after(quick);
        restarts.ended_after(quick);
        let first = Next::After(FIRST_PAUSE);
        assert_eq!(restarts.ended_after(QUICK), first);
        assert_eq!(restarts.ended_after(quick), first);
    }
}
