//! The one place that reads a clock.

use rustix::time::{ClockId, clock_gettime};

use crate::time::Instant;

/// CLOCK_BOOTTIME: also runs while the machine is suspended. Every deadline of the election is on it.
#[must_use]
pub fn boottime() -> Instant {
    read(ClockId::Boottime)
}

/// `deadline`, which is on CLOCK_BOOTTIME, as a moment on CLOCK_MONOTONIC in nanoseconds: never too late, unless the
/// machine is suspended before then.
#[must_use]
pub fn monotonic_nanos(deadline: Instant) -> u64 {
    // In this order: time that passes between the two readings makes the result earlier, not later.
    let monotonic = read(ClockId::Monotonic);
    (monotonic + deadline.since(boottime())).as_nanos()
}

/// Seconds since 1970, for a timestamp that a human or Prometheus reads.
#[must_use]
pub fn unix_seconds() -> f64 {
    let time = clock_gettime(ClockId::Realtime);
    #[allow(
        clippy::cast_precision_loss,
        reason = "seconds since 1970 fit for millions of years"
    )]
    let seconds = time.tv_sec as f64;
    #[allow(clippy::cast_precision_loss, reason = "below 10^9")]
    let fraction = time.tv_nsec as f64 / 1e9;
    seconds + fraction
}

/// The same, whole.
#[must_use]
pub fn unix_time() -> u64 {
    u64::try_from(clock_gettime(ClockId::Realtime).tv_sec).unwrap_or(0)
}

fn read(clock: ClockId) -> Instant {
    let time = clock_gettime(clock);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    Instant::from_nanos(part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec))
}
