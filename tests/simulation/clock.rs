//! The hosts' clocks: each runs at its own rate, and stands still while its machine is frozen.

use std::ops::Range;

use understudy::time::Instant;

use super::dice::Dice;
use super::limit::Limit;

pub const MS: u64 = 1_000_000;
pub const S: u64 = 1000 * MS;

/// A host has been up for a while when the run begins.
const HOST_EPOCH: u64 = 1_000_000 * S;

#[derive(Debug, Clone)]
pub struct Clock {
    /// How fast it runs, in parts per million above true time.
    fast: i64,
    /// When it stood still together with its host, in true time.
    frozen: Vec<Range<u64>>,
}

impl Clock {
    /// Two clocks differ by up to 1 % in rate.
    pub fn drawn(dice: &mut Dice, beyond: Option<Limit>) -> Self {
        let mut fast = dice.below(10_001) as i64 - 5000;
        if beyond == Some(Limit::ClockRates) {
            fast *= 30;
        }
        Self {
            fast,
            frozen: Vec::new(),
        }
    }

    /// What it shows at the true time `now`.
    pub fn at(&self, now: u64) -> Instant {
        let stood = self.frozen.iter().filter(|it| it.start < now);
        let ran = now - stood.map(|it| it.end.min(now) - it.start).sum::<u64>();
        let rate = (1_000_000 + self.fast) as u128;
        Instant::from_nanos(HOST_EPOCH + (u128::from(ran) * rate / 1_000_000) as u64)
    }

    /// The first moment of true time at which it shows `shown`.
    pub fn true_time(&self, shown: Instant) -> u64 {
        let rate = (1_000_000 + self.fast) as u128;
        let shown = shown.as_nanos().saturating_sub(HOST_EPOCH);
        let ran = (u128::from(shown) * 1_000_000 / rate) as u64 + 1;
        let stood = |at: u64, frozen: &Range<u64>| match at >= frozen.start {
            true => at + (frozen.end - frozen.start),
            false => at,
        };
        self.frozen.iter().fold(ran, stood)
    }

    pub fn freeze(&mut self, stands: Range<u64>) {
        self.frozen.push(stands);
    }

    pub fn frozen_until(&self) -> u64 {
        self.frozen.last().map_or(0, |it| it.end)
    }
}
