//! Waiting for real processes: for a condition, with a deadline, never for a fixed time.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

const POLL: Duration = Duration::from_millis(5);

/// Asks `probe` until it has an answer.
///
/// # Panics
/// There is none within `within`. `what` completes the sentence "waited … for".
#[track_caller]
pub fn wait_for<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        // One more look after the deadline: a busy machine may have slept through it.
        let late = started.elapsed() >= within;
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(!late, "waited {within:?} for {what}");
        sleep(POLL);
    }
}

/// Asks `holds` until it does.
///
/// # Panics
/// It does not within `within`.
#[track_caller]
pub fn wait_until(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    wait_for(what, within, || holds().then_some(()));
}

/// Looks again and again for the whole of `during`.
///
/// # Panics
/// `holds` did not at one of the looks.
#[track_caller]
pub fn holds_throughout(what: &str, during: Duration, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while started.elapsed() < during {
        assert!(holds(), "after {:?} no longer: {what}", started.elapsed());
        sleep(POLL);
    }
}

/// CLOCK_BOOTTIME in nanoseconds: the clock of grants and of every log that the harness reads.
pub fn boottime_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let part = |number: i64| u64::try_from(number).expect("this clock starts at zero");
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}
