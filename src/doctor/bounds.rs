//! How long nobody leads, at worst, after each kind of failure: from the settings alone.

use std::time::Duration;

use crate::config::Config;
use crate::election::Liveness;
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
/// A standby that cannot hear the events channel looks this often.
const LOOKS: Duration = Duration::from_millis(500);
/// Redis is checked this often, and whoever waits is told when it is back.
const CHECKS: Duration = Duration::from_secs(1);

/// How often standbys look, where they are not told of a change: often, if they cannot hear; rarely, if they
/// can, and whoever changes something may not publish.
#[must_use]
pub fn untold(survey: &Survey, config: &Config) -> Option<Duration> {
    match (&survey.subscribe, &survey.publish) {
        (Ok(()), Ok(())) => None,
        (Err(_), _) => Some(LOOKS),
        (Ok(()), Err(_)) => Some(config.rules.renew_every()),
    }
}

/// `untold`: see there.
#[must_use]
pub fn bounds(config: &Config, untold: Option<Duration>) -> Vec<Bound> {
    let rules = &config.rules;
    let notice = HEARS + untold.unwrap_or_default();
    let unreleased = rules.takeover_after() + untold.unwrap_or(LOOKS) + HEARS;
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
            Some(rules.takeover_after().saturating_sub(rules.lease()) + LOOKS + HEARS),
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
            "nobody releases: TTL and 1 % and 100 ms since the last renewal",
        ),
        bound("Redis is out of memory", oom.0, oom.1),
        bound("Redis is away for less than the lease", away.0, away.1),
        bound(
            "Redis is away for longer",
            None,
            "while it is away nobody leads; after it, TTL and 1 % and 100 ms",
        ),
        bound(
            "Redis restarts without its data, the leader alive",
            Some(Duration::ZERO),
            "the leader writes its term again",
        ),
        bound(
            "Redis restarts, or another primary is promoted, and the leader dies too",
            Some(unreleased + CHECKS),
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
