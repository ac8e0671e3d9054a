//! The share of writes that were refused lately. Near its limit Redis refuses only some writes, so one reading says
//! little.

use std::collections::VecDeque;
use std::time::Duration;

/// How far back the window goes.
const WINDOW: Duration = Duration::from_secs(60);
/// More write probes than this in a window displace the oldest. One agent sends far fewer.
const MAX_WRITE_PROBES: usize = 1024;

/// The write probes of the last 60 s.
#[derive(Debug, Clone, Default)]
pub struct RefusalWindow {
    /// When each was sent, as a time since boot, and whether it was refused. Oldest first.
    probes: VecDeque<(Duration, bool)>,
}

// === impl RefusalWindow ===

impl RefusalWindow {
    /// Records the outcome of a write probe; `now` is the time since boot.
    pub fn record(&mut self, now: Duration, refused: bool) {
        while self.probes.len() >= MAX_WRITE_PROBES
            || self.probes.front().is_some_and(|probe| !recent(probe, now))
        {
            self.probes.pop_front();
        }
        self.probes.push_back((now, refused));
    }

    /// The share of write probes that were refused in the 60 s before `now`, between 0 and 1; 0 without a probe.
    #[must_use]
    pub fn ratio(&self, now: Duration) -> f64 {
        let (mut refused, mut all) = (0_u32, 0_u32);
        for probe in self.probes.iter().filter(|probe| recent(probe, now)) {
            all += 1;
            refused += u32::from(probe.1);
        }
        if all == 0 {
            0.0
        } else {
            f64::from(refused) / f64::from(all)
        }
    }
}

fn recent(probe: &(Duration, bool), now: Duration) -> bool {
    now.saturating_sub(probe.0) < WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn only_the_last_minute_counts() {
        let mut window = RefusalWindow::default();
        assert!(window.ratio(at(0)) < f64::EPSILON);
        window.record(at(0), true);
        window.record(at(30), false);
        assert!((window.ratio(at(59)) - 0.5).abs() < 1e-9);
        assert!(window.ratio(at(60)) < f64::EPSILON);
        assert!(window.ratio(at(1000)) < f64::EPSILON);
    }

    #[test]
    fn it_is_bounded() {
        let mut window = RefusalWindow::default();
        for _ in 0..10_000 {
            window.record(at(1), true);
        }
        assert!(window.probes.len() <= MAX_WRITE_PROBES);
        assert!((window.ratio(at(1)) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_old_is_dropped() {
        let mut window = RefusalWindow::default();
        for second in 0..10_000 {
            window.record(at(second), second % 4 == 0);
        }
        assert!(window.probes.len() <= 60);
        assert!((window.ratio(at(9_999)) - 0.25).abs() < 1e-9);
    }

    /// Times that run backwards, or to the end of time, must not cause a panic or a share outside 0..=1.
    #[test]
    fn any_times_give_a_share() {
        let mut window = RefusalWindow::default();
        let times = [
            at(100),
            at(0),
            Duration::MAX,
            at(7),
            Duration::ZERO,
            at(1 << 40),
        ];
        for (index, now) in times.into_iter().cycle().take(5_000).enumerate() {
            window.record(now, index % 3 == 0);
            for then in times {
                assert!((0.0..=1.0).contains(&window.ratio(then)));
            }
        }
    }
}
