//! Can the lock be taken and kept from here? One function per check.

use std::time::Duration;

use super::{Finding, acl_line, time};
use crate::config::Config;
use crate::election::RecordSeen;
use crate::endpoint::RedisPlace;
use crate::fault::{StoreError, StoreFault};
use crate::health::{EngineInfo, Health, field};
use crate::store::Survey;

/// A longer round trip is worth a warning.
const SLOW_ROUND_TRIP: Duration = Duration::from_millis(50);

pub(super) fn reach(survey: &Survey, config: &Config) -> Finding {
    const CHECK: &str = "reach";
    let place = &config.redis.endpoint.place;
    let pings = match &survey.pings {
        Ok(pings) => pings,
        Err(error) => {
            let advice = survey.guess.unwrap_or(error.fault.hint());
            return Finding::fail(CHECK, format!("{error}"), advice);
        }
    };
    let first = pings.first().copied().unwrap_or_default();
    let mut rest: Vec<_> = pings.iter().skip(1).copied().collect();
    rest.sort_unstable();
    let median = rest.get(rest.len() / 2).copied().unwrap_or_default();
    let says = format!(
        "{place} answers in {}, {} with dialling",
        time(median),
        time(first)
    );
    let limit = config.redis.timeout;
    if median > SLOW_ROUND_TRIP || first > limit / 2 {
        let advice = format!(
            "bring the agents nearer to Redis, or raise --redis-timeout ({})",
            time(limit)
        );
        return Finding::warn(CHECK, says, advice);
    }
    Finding::ok(CHECK, says)
}

pub(super) fn engine(survey: &Survey) -> Finding {
    const CHECK: &str = "engine";
    let info = match &survey.info {
        Ok(info) => info,
        Err(error) => return refused(CHECK, "INFO", error),
    };
    let engine = EngineInfo::parse(info);
    let says = format!("{} {}", engine.engine, engine.version);
    if engine.tried() {
        return Finding::ok(CHECK, says);
    }
    Finding::warn(
        CHECK,
        format!("{says}: not among those that this version is tested with"),
        "see the table in docs/redis.md, and rehearse a takeover before you rely on it",
    )
}

/// The survey tried every command that the agent needs: the scripts, the write probe, the channel.
pub(super) fn permissions(survey: &Survey, config: &Config) -> Finding {
    const CHECK: &str = "permissions";
    const HINTS: [&str; 3] = ["PUBLISH", "SUBSCRIBE", "the list of candidates"];
    let write = match &survey.write {
        Health::Writable => None,
        Health::Refusing(error) | Health::Away(error) => Some(error),
    };
    let tried = [
        ("INFO", survey.info.as_ref().err()),
        ("the write probe", write),
        ("the look", survey.view.as_ref().err()),
        ("TIME", survey.clock.as_ref().err()),
        ("the takeover", survey.rehearsed.as_ref().err()),
        ("PUBLISH", survey.publish.as_ref().err()),
        ("SUBSCRIBE", survey.subscribe.as_ref().err()),
        ("the list of candidates", survey.members.as_ref().err()),
    ];
    let refused: Vec<_> = tried
        .into_iter()
        .filter_map(|(what, error)| Some((what, error?)))
        .filter(|(_, error)| error.fault == StoreFault::NoPermission)
        .collect();
    let Some((_, error)) = refused.first() else {
        let user = config.redis.endpoint.login.username.as_deref();
        let says = format!(
            "{} may do all that is needed",
            user.unwrap_or("the default user")
        );
        return Finding::ok(CHECK, says);
    };
    let names: Vec<_> = refused.iter().map(|(what, _)| *what).collect();
    let says = format!("refused: {} ({error})", names.join(", "));
    let advice = acl_line(&config.redis);
    // Events and members are only hints; the rest is required.
    if names.iter().all(|name| HINTS.contains(name)) {
        Finding::warn(CHECK, says, advice)
    } else {
        Finding::fail(CHECK, says, advice)
    }
}

pub(super) fn role(survey: &Survey, config: &Config) -> Finding {
    const CHECK: &str = "role";
    let info = match &survey.info {
        Ok(info) => info,
        Err(error) => return refused(CHECK, "INFO", error),
    };
    let clustered = field(info, "cluster_enabled") == Some("1");
    let place = &config.redis.endpoint.place;
    match (field(info, "role"), place) {
        (Some("slave"), RedisPlace::Server(_)) => Finding::fail(
            CHECK,
            "this server is a replica: it takes no writes",
            "point --redis-url at the primary, or at its sentinels with redis-sentinel://",
        ),
        (_, RedisPlace::Server(_)) if clustered => Finding::fail(
            CHECK,
            "this server is a node of a cluster: the lock's slot may move away from it",
            "write redis-cluster:// and list its nodes",
        ),
        (_, RedisPlace::Server(_)) => Finding::ok(CHECK, "a primary, found at its address"),
        (_, RedisPlace::Sentinel { sentinels, .. }) if sentinels.len() < 3 => Finding::warn(
            CHECK,
            format!(
                "the URL names {} of the sentinels: one that has just been born may be believed alone",
                sentinels.len()
            ),
            "list all of them in --redis-url, at least three",
        ),
        (_, RedisPlace::Sentinel { master, .. }) => Finding::ok(
            CHECK,
            format!(
                "{} is {master}, by a majority of its sentinels",
                survey.server
            ),
        ),
        (_, RedisPlace::Cluster { .. }) => {
            let slot = survey
                .slot
                .map_or_else(String::new, |slot| format!(" {slot}"));
            Finding::ok(
                CHECK,
                format!(
                    "{} owns the lock's slot{slot}, by a majority of the cluster's nodes",
                    survey.server
                ),
            )
        }
    }
}

pub(super) fn clock(survey: &Survey, config: &Config) -> Finding {
    const CHECK: &str = "clock";
    let (ahead, took) = match &survey.clock {
        Ok(clock) => clock,
        Err(error) => return refused(CHECK, "TIME", error),
    };
    let apart = Duration::from_micros(ahead.unsigned_abs());
    let way = if *ahead < 0 { "behind" } else { "ahead of" };
    let says = format!(
        "Redis' is {} {way} this host's, give or take {}",
        time(apart),
        time(*took)
    );
    if apart > config.rules.ttl() {
        return Finding::warn(
            CHECK,
            format!(
                "{says}; who leads does not depend on it, the order of tokens after a loss of data does"
            ),
            "synchronise both hosts with NTP",
        );
    }
    Finding::ok(CHECK, says)
}

pub(super) fn acquire(survey: &Survey) -> Finding {
    const CHECK: &str = "acquire";
    match &survey.rehearsed {
        Ok(rehearsed) => Finding::ok(
            CHECK,
            format!(
                "a shadow of the lock was taken in {} and given back, by way of {}",
                time(rehearsed.took),
                rehearsed.rung.name()
            ),
        ),
        Err(error) => Finding::fail(
            CHECK,
            format!("a shadow of the lock could not be taken: {error}"),
            error.fault.hint(),
        ),
    }
}

/// The doctor cannot fill Redis without harm. If Redis is out of memory now, the rehearsal is the proof.
pub(super) fn acquire_under_oom(survey: &Survey, config: &Config) -> Finding {
    const CHECK: &str = "acquire in OOM";
    if !config.acquire_under_oom {
        return Finding::warn(
            CHECK,
            "--acquire-under-oom=false: out of memory nobody can be elected, as before",
            "leave the flag at its default",
        );
    }
    let oom_now =
        matches!(&survey.write, Health::Refusing(error) if error.fault == StoreFault::OutOfMemory);
    match (&survey.rehearsed, &survey.way_past_oom) {
        (Ok(rehearsed), _) if oom_now => Finding::ok(
            CHECK,
            format!(
                "Redis is out of memory now, and the shadow was taken all the same ({})",
                rehearsed.rung.name()
            ),
        ),
        (Err(error), _) if oom_now => Finding::fail(
            CHECK,
            format!("Redis is out of memory now, and the shadow could not be taken: {error}"),
            error.fault.hint(),
        ),
        (_, Ok(true)) => Finding::ok(
            CHECK,
            "by evidence: PEXPIRE is not among the commands that this server refuses then, and it opens the script",
        ),
        (_, Ok(false)) => Finding::warn(
            CHECK,
            "this server counts PEXPIRE among the commands that it refuses then",
            "the second way (#!lua flags=allow-oom) may still work: try it on a copy of this server",
        ),
        (_, Err(error)) => Finding::warn(
            CHECK,
            format!("not known: COMMAND is refused here ({error})"),
            "see the table in docs/redis.md for this engine",
        ),
    }
}

pub(super) fn events(survey: &Survey, config: &Config) -> Finding {
    const CHECK: &str = "events";
    match (&survey.subscribe, &survey.publish) {
        (Ok(()), Ok(())) => Finding::ok(CHECK, "standbys hear of a release at once"),
        (Ok(()), Err(error)) => Finding::warn(
            CHECK,
            format!(
                "PUBLISH does not work ({error}): standbys notice what happened when they next look, up to {} later",
                time(config.rules.look_every(true))
            ),
            error.fault.hint(),
        ),
        (Err(error), _) => Finding::warn(
            CHECK,
            format!(
                "SUBSCRIBE does not work ({error}): standbys look every {} instead",
                time(config.rules.look_every(false))
            ),
            error.fault.hint(),
        ),
    }
}

pub(super) fn lock(survey: &Survey) -> Finding {
    const CHECK: &str = "lock";
    let view = match &survey.view {
        Ok(view) => view,
        Err(error) => {
            return Finding::fail(
                CHECK,
                format!("cannot be read: {error}"),
                error.fault.hint(),
            );
        }
    };
    if let RecordSeen::Unknown(why) = &view.record {
        return Finding::fail(
            CHECK,
            format!("the record beside it is of another version ({why}): nobody is elected"),
            "run one version of the agent, or remove the record",
        );
    }
    let Some(lock) = &view.lock else {
        return Finding::ok(CHECK, "nobody holds it");
    };
    let holder = &lock.holder;
    let recorded = view
        .record
        .known()
        .is_some_and(|it| it.holder == *holder && !it.released);
    match (recorded, lock.remaining) {
        (_, None) => Finding::warn(
            CHECK,
            format!("{holder} holds it without a TTL: it never ends"),
            "if its holder is gone, delete the key",
        ),
        (true, Some(left)) => Finding::ok(
            CHECK,
            format!(
                "{holder} holds it for another {}, behind understudy",
                time(left)
            ),
        ),
        (false, Some(left)) => Finding::warn(
            CHECK,
            format!(
                "{holder} holds it for another {} and writes no record: a miner with an election of its own",
                time(left)
            ),
            "it is respected; exclusion is no better than its own until every miner is behind understudy",
        ),
    }
}

pub(super) fn refused(check: &'static str, what: &str, error: &StoreError) -> Finding {
    Finding::fail(
        check,
        format!("{what} does not work: {error}"),
        error.fault.hint(),
    )
}
