//! The longest time without a leader after each kind of failure, from the settings alone.

use std::time::Duration;

use super::time;
use crate::config::Config;
use crate::election::Liveness;
use crate::health::CHECK_EVERY;
use crate::store::Survey;

/// One kind of failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    pub failure: &'static str,
    /// `None`: as long as the failure lasts.
    pub worst: Option<Duration>,
    pub why: String,
}

/// The time to hear, to look and to begin, on a machine that is not overloaded.
const HEAR_AND_BEGIN: Duration = Duration::from_millis(100);

/// How often standbys look if no event tells them of a change: often if they cannot subscribe, rarely if they can
/// but the writers may not publish.
#[must_use]
pub fn poll_interval_without_events(survey: &Survey, config: &Config) -> Option<Duration> {
    match (&survey.subscribe, &survey.publish) {
        (Ok(()), Ok(())) => None,
        (Err(_), _) => Some(config.rules.look_every(false)),
        (Ok(()), Err(_)) => Some(config.rules.look_every(true)),
    }
}

/// `poll_interval`: what [`poll_interval_without_events`] says.
#[must_use]
pub fn bounds(config: &Config, poll_interval: Option<Duration>) -> Vec<Bound> {
    let notice = HEAR_AND_BEGIN + poll_interval.unwrap_or_default();
    let polled = poll_interval.unwrap_or(config.rules.look_every(false));
    let unreleased = config.rules.takeover_after() + polled + HEAR_AND_BEGIN;
    [
        of_the_miner(config, notice),
        of_the_pod(config, notice, unreleased),
        of_redis(config, unreleased),
    ]
    .concat()
}

fn bound(failure: &'static str, worst: Option<Duration>, why: impl Into<String>) -> Bound {
    Bound {
        failure,
        worst,
        why: why.into(),
    }
}

fn of_the_miner(config: &Config, notice: Duration) -> Vec<Bound> {
    let timeout = config.rules.miner_timeout();
    match config.liveness {
        Liveness::Campaign => vec![
            bound(
                "the miner's process ends",
                Some(notice),
                "its agent sees the stream end and releases the lock",
            ),
            bound(
                "the miner hangs",
                Some(timeout + notice),
                "--miner-timeout, then as if it had ended",
            ),
        ],
        Liveness::Probe => vec![bound(
            "the miner ends or hangs",
            Some(timeout * 2 + notice),
            "--miner-timeout after its last healthy answer, and once more for a client that has just asked `/leader`",
        )],
        Liveness::Always => vec![bound(
            "the miner dies or hangs",
            None,
            "--miner-liveness=always: the agent leads on",
        )],
    }
}

fn of_the_pod(config: &Config, notice: Duration, unreleased: Duration) -> Vec<Bound> {
    let takeover = time(config.rules.takeover_after());
    vec![
        bound(
            "planned: resign, SIGTERM of the agent",
            Some(config.rules.miner_timeout() + notice),
            "until the miner acknowledges, at most until its grant ends",
        ),
        bound(
            "the pod or the node dies, agent and miner",
            Some(unreleased),
            format!("nobody releases: others wait for {takeover} after the last renewal"),
        ),
    ]
}

fn of_redis(config: &Config, unreleased: Duration) -> Vec<Bound> {
    let takeover = time(config.rules.takeover_after());
    vec![
        out_of_memory(config),
        away_for_a_moment(config),
        bound(
            "Redis is away for longer",
            None,
            format!("while it is away nobody leads; after it, {takeover}"),
        ),
        bound(
            "Redis restarts without its data, the leader alive",
            Some(Duration::ZERO),
            "the leader writes its term again",
        ),
        bound(
            "Redis restarts, or another primary is promoted, and the leader dies too",
            Some(unreleased + CHECK_EVERY),
            "counted from when it answers again",
        ),
        bound(
            "Redis refuses all writes: MISCONF, NOREPLICAS, READONLY",
            None,
            "nobody can be elected; the leader stays until its lease ends",
        ),
    ]
}

fn out_of_memory(config: &Config) -> Bound {
    const FAILURE: &str = "Redis is out of memory";
    if config.acquire_under_oom {
        let as_ever = "renewed and taken over as otherwise";
        return bound(FAILURE, Some(Duration::ZERO), as_ever);
    }
    let nobody = "--acquire-under-oom=false: nobody is elected until memory is freed";
    bound(FAILURE, None, nobody)
}

fn away_for_a_moment(config: &Config) -> Bound {
    const FAILURE: &str = "Redis is away for less than the lease";
    let rules = &config.rules;
    if rules.outlasts_a_hang() {
        let stays = "the leader stays, and tries again until its lease ends";
        return bound(FAILURE, Some(Duration::ZERO), stays);
    }
    let unled = rules.takeover_after().saturating_sub(rules.lease());
    bound(
        FAILURE,
        Some(unled + rules.look_every(false) + HEAR_AND_BEGIN),
        "one command that hangs for --redis-timeout may outlast the lease: make that shorter, or the lease longer",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RunArgs;

    fn worst(flags: [&str; 2], failure: &str) -> Duration {
        let [ttl, renew] = flags.map(|it| Some(it.to_owned()));
        let config = Config::check(&RunArgs {
            instance: Some("a".into()),
            lease_ttl: ttl,
            renew_every: renew,
            ..RunArgs::default()
        });
        let mut found = bounds(&config.unwrap(), None).into_iter();
        let bound = found.find(|it| it.failure.starts_with(failure)).unwrap();
        bound.worst.unwrap()
    }

    /// Standbys look every 500 ms, or every `--renew-every` if that is shorter.
    #[test]
    fn they_follow_the_elections_own_rules() {
        let (look, margin) = (Duration::from_millis(500), Duration::from_millis(400));
        let expected = Duration::from_secs(30) + margin + look + HEAR_AND_BEGIN;
        assert_eq!(worst(["30s", "10s"], "the pod or the node"), expected);
        let (look, margin) = (Duration::from_millis(200), Duration::from_millis(110));
        let expected = Duration::from_secs(1) + margin + look + HEAR_AND_BEGIN;
        assert_eq!(worst(["1s", "200ms"], "the pod or the node"), expected);
    }
}
