//! What the agent says, and how far it is believed.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::rules::SHORTEST_MINER_TIMEOUT;
use crate::clock;
use crate::proto::Leadership;
use crate::time::Instant;

/// Until the agent has said how often it wants to hear.
pub const FIRST_BEAT_EVERY: Duration = Duration::from_millis(300);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// A grant takes less time than this to arrive, and is rounded by less.
const SLACK: Duration = Duration::from_secs(1);

/// Twice as often as the agent asks for, so that one that is late costs nothing.
pub fn beats(leadership: &Leadership) -> anyhow::Result<Duration> {
    let every = duration(leadership.heartbeat_every).unwrap_or(FIRST_BEAT_EVERY * 2);
    // As it arrives, rounded.
    if every * 3 + Duration::from_millis(1) < SHORTEST_MINER_TIMEOUT {
        bail!("the agent's --miner-timeout is too short for a program: expected at least 1s");
    }
    Ok(every / 2)
}

/// Until when the agent lets it act.
pub fn end(leadership: &Leadership) -> anyhow::Result<Instant> {
    believed(leadership, clock::boottime())
}

fn believed(leadership: &Leadership, now: Instant) -> anyhow::Result<Instant> {
    let until = Instant::from_nanos(leadership.valid_until_boottime_ns);
    let left = duration(leadership.valid_for).unwrap_or_default();
    if until > now + left + SLACK {
        bail!("the agent's clock is not this machine's: expected an agent on this machine");
    }
    Ok(until)
}

/// Ticks at once and then each `period`, whatever else happens.
pub fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn duration(sent: Option<prost_types::Duration>) -> Option<Duration> {
    let sent = sent?;
    // Its own conversion overflows on what nobody sends in earnest.
    let seconds = Duration::from_secs(sent.seconds.try_into().ok()?);
    let rest = Duration::from_nanos(sent.nanos.try_into().ok()?);
    Some(seconds.saturating_add(rest).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::PAST + Duration::from_millis(millis)
    }

    #[test]
    fn nonsense_of_an_agent_is_no_panic() {
        for seconds in [i64::MIN, -1, 0, i64::MAX] {
            let said = Leadership {
                heartbeat_every: Some(prost_types::Duration { seconds, nanos: 0 }),
                ..Leadership::default()
            };
            assert!(beats(&said).is_ok_and(|it| it <= LONGEST) || seconds == 0);
        }
    }

    #[test]
    fn a_grant_by_another_machines_clock_is_not_believed() {
        let mut said = Leadership {
            valid_until_boottime_ns: at(10_000).as_nanos(),
            valid_for: Duration::from_secs(3).try_into().ok(),
            ..Leadership::default()
        };
        assert_eq!(believed(&said, at(7001)).ok(), Some(at(10_000)));
        // It came late.
        assert_eq!(believed(&said, at(20_000)).ok(), Some(at(10_000)));
        assert!(believed(&said, at(5000)).is_err());
        said.valid_until_boottime_ns = u64::MAX;
        assert!(believed(&said, at(7000)).is_err());
    }
}
