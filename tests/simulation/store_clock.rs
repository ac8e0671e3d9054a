//! Faults of Redis' own clock. Exclusion does not depend on it. The order of tokens does, if data is lost while the
//! clock stands still or after it was set back: a limit.

use understudy::election::Command;

use super::agenda::Step;
use super::world::World;

impl World {
    pub fn clock_jumps(&mut self) -> Option<&'static str> {
        let jump = self.dice.below(120_000_000) as i64 - 60_000_000;
        if self.newly_empty() {
            return None;
        }
        self.say(|| format!("redis' clock jumps {jump} µs"));
        self.redis.ahead += jump;
        self.lock_lost_at = Some(self.now);
        self.checks.set_back |= jump < 0;
        Some("clock jump")
    }

    /// A clock that jumps then is a limit.
    fn newly_empty(&self) -> bool {
        let clock = self.redis.clock(self.now);
        let up = clock.saturating_sub(self.redis.started);
        up <= 20_000_000 || self.redis.data.stored.is_none()
    }

    pub fn clock_stands(&mut self, until: u64) -> Option<&'static str> {
        let shown = self.redis.clock(self.now);
        self.say(|| format!("redis' clock stands still until {:.3}", until as f64 / 1e9));
        self.redis.stands = Some(shown);
        self.checks.set_back = true;
        self.after(until, Step::ClockRuns);
        Some("clock stands still")
    }

    /// The clock continues from where it stood, or from where it would have been.
    pub fn clock_runs(&mut self) {
        let Some(shown) = self.redis.stands.take() else {
            return;
        };
        if self.dice.chance(50) || self.newly_empty() {
            self.redis.set_clock(self.now, shown);
        } else {
            self.lock_lost_at = Some(self.now);
        }
    }

    pub fn clock_is_set_back(&mut self, until: u64) -> Option<&'static str> {
        self.say(|| format!("redis' clock is set back until {:.3}", until as f64 / 1e9));
        self.set_back_until = until;
        self.checks.set_back = true;
        Some("clock set back again and again")
    }

    /// Before a renewal runs, the clock is set back just enough for the same deadline to be written again.
    pub fn set_back(&mut self, command: &Command) {
        if self.now < self.set_back_until
            && let Command::Renew { .. } = command
            && let Some(stored) = &self.redis.data.stored
        {
            let written = stored.deadline - stored.record.ttl.as_micros() as u64;
            if written < self.redis.clock(self.now) {
                self.redis.set_clock(self.now, written);
            }
        }
    }
}
