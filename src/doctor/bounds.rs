//! How long nobody leads, at worst, after each kind of failure: from the settings alone.

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
    /// `None`: as long as it lasts.
    pub worst: Option<Duration>,
    pub why: String,
}

/// What is needed to hear, to look and to begin, on a machine that is not overloaded.
const HEARS: Duration = Duration::from_millis(100);

/// How often standbys look, where they are not told of a change: often, if they cannot hear; rarely, if they
/// can, and whoever changes something may not publish.
#[must_use]
pub fn untold(survey: &Survey, config: &Config) -> Option<Duration> {
    match (&survey.subscribe, &survey.publish) {
        (Ok(()), Ok(())) => None,
        (Err(_), _) => Some(config.rules.look_every(false)),
        (Ok(()), Err(_)) => Some(config.rules.look_every(true)),
    }
}

/// `untold`: see there.
#[must_use]
pub fn bounds(config: &Config, untold: Option<Duration>) -> Vec<Bound> {
    let rules = &config.rules;
    let notice = HEARS + untold.unwrap_or_default();
    let looks = rules.look_every(false);
    let takeover = time(rules.takeover_after());
    let unreleased = rules.takeover_after() + untold.unwrap_or(looks) + HEARS;
    let bound = |failure, worst: Option<Duration>, why: &str| Bound {
        failure,
        worst,
        why: why.to_owned(),
    };
    let miner = match config.liveness {
        Liveness::Campaign => vec![
            bound(
                "the miner's process ends",
                Some(notice),
                "its agent sees the stream end and releases the lock",
            ),
            bound(
                "the miner hangs",
                Some(rules.miner_timeout() + notice),
                "--miner-timeout, then as if it had ended",
            ),
        ],
        Liveness::Probe => vec![bound(
            "the miner ends or hangs",
            Some(rules.miner_timeout() * 2 + notice),
            "--miner-timeout after its last healthy answer, and once more for whoever has just asked `/leader`",
        )],
        Liveness::Always => vec![bound(
            "the miner dies or hangs",
            None,
            "--miner-liveness=always: the agent leads on",
        )],
    };
    let oom = if config.acquire_under_oom {
        (Some(Duration::ZERO), "renewed and taken over as otherwise")
    } else {
        (
            None,
            "--acquire-under-oom=false: nobody is elected until memory is freed",
        )
    };
    let away = if rules.outlasts_a_hang() {
        (
            Some(Duration::ZERO),
            "the leader stays, and tries again until its lease ends",
        )
    } else {
        (
            Some(rules.takeover_after().saturating_sub(rules.lease()) + looks + HEARS),
            "one command that hangs for --redis-timeout may outlast the lease: make that shorter, or the lease longer",
        )
    };
    let others = [
        bound(
            "planned: resign, SIGTERM of the agent",
            Some(rules.miner_timeout() + notice),
            "until the miner acknowledges, at most until its grant ends",
        ),
        bound(
            "the pod or the node dies, agent and miner",
            Some(unreleased),
            &format!("nobody releases: others wait for {takeover} after the last renewal"),
        ),
        bound("Redis is out of memory", oom.0, oom.1),
        bound("Redis is away for less than the lease", away.0, away.1),
        bound(
            "Redis is away for longer",
            None,
            &format!("while it is away nobody leads; after it, {takeover}"),
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
    ];
    miner.into_iter().chain(others).collect()
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

    /// Standbys look every 500 ms, or every `--renew-every` where that is more often.
    #[test]
    fn they_follow_the_elections_own_rules() {
        let (look, margin) = (Duration::from_millis(500), Duration::from_millis(400));
        let expected = Duration::from_secs(30) + margin + look + HEARS;
        assert_eq!(worst(["30s", "10s"], "the pod or the node"), expected);
        let (look, margin) = (Duration::from_millis(200), Duration::from_millis(110));
        let expected = Duration::from_secs(1) + margin + look + HEARS;
        assert_eq!(worst(["1s", "200ms"], "the pod or the node"), expected);
    }
}
