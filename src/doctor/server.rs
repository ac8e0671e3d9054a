//! Will the server keep what is written to it? One function per check.

use std::time::Duration;

use super::checks::refused;
use super::{Finding, time};
use crate::config::Config;
use crate::fault::StoreError;
use crate::health::{MemoryReading, field};
use crate::store::{CONNECTIONS_PER_AGENT, Survey};

pub(super) fn eviction(survey: &Survey, config: &Config) -> Finding {
    const CHECK: &str = "eviction";
    let memory = match reading(survey) {
        Ok(memory) => memory,
        Err(error) => return refused(CHECK, "INFO", &error),
    };
    let policy = &memory.policy;
    if policy == "noeviction" {
        return Finding::ok(
            CHECK,
            "maxmemory-policy is noeviction: the lock is safe from it",
        );
    }
    let says = format!("maxmemory-policy is {policy}: Redis may throw the lock away");
    if !memory.evicting() {
        return Finding::warn(
            CHECK,
            format!("{says} once a maxmemory is set"),
            "set maxmemory-policy noeviction before anybody sets a limit",
        );
    }
    if config.allow_eviction {
        return Finding::warn(CHECK, format!("{says}, which --allow-eviction accepts"), "");
    }
    Finding::fail(
        CHECK,
        format!("{says}, so nobody leads"),
        "set maxmemory-policy noeviction, or accept the risk with --allow-eviction",
    )
}

pub(super) fn memory(survey: &Survey, config: &Config, local_memory: Option<u64>) -> Finding {
    const CHECK: &str = "memory";
    let memory = match reading(survey) {
        Ok(memory) => memory,
        Err(error) => return refused(CHECK, "INFO", &error),
    };
    let info = survey.info.as_deref().unwrap_or_default();
    let told = field(info, "total_system_memory").and_then(|it| it.parse().ok());
    let host: Option<u64> = told.or(local_memory).filter(|bytes| *bytes > 0);
    let (used, max) = (memory.used_bytes, memory.max_bytes);
    let of_host = host.map_or_else(String::new, |host| format!("; the host has {}", mib(host)));
    if max == 0 {
        return Finding::warn(
            CHECK,
            format!(
                "{} used, no maxmemory{of_host}: the kernel's limit ends it with SIGKILL",
                mib(used)
            ),
            "set maxmemory below what the host or the container has",
        );
    }
    let says = format!(
        "{} of {} used ({:.0} %){of_host}",
        mib(used),
        mib(max),
        memory.usage_ratio() * 100.0
    );
    if memory.out_of_memory() {
        return Finding::warn(
            CHECK,
            format!("{says}: out of memory now, and the miners' own writes are refused"),
            "raise maxmemory, or free keys",
        );
    }
    if memory.above(config.memory_warn_ratio) {
        return Finding::warn(
            CHECK,
            says,
            "raise maxmemory, or free keys, before it refuses writes",
        );
    }
    if host.is_some_and(|host| max > host) {
        return Finding::warn(CHECK, says, "maxmemory is more than the host has: lower it");
    }
    Finding::ok(CHECK, says)
}

pub(super) fn persistence(survey: &Survey, config: &Config) -> Finding {
    const CHECK: &str = "persistence";
    let info = match &survey.info {
        Ok(info) => info,
        Err(error) => return refused(CHECK, "INFO", error),
    };
    let failed = |name| field(info, name).is_some_and(|it| it != "ok");
    if failed("rdb_last_bgsave_status") || failed("aof_last_write_status") {
        return Finding::warn(
            CHECK,
            "the last save to disk has failed: writes are refused (MISCONF) unless stop-writes-on-bgsave-error is off",
            "look at the disk of the Redis host",
        );
    }
    let settles = time(config.rules.takeover_after());
    let lost = if field(info, "aof_enabled") == Some("1") {
        "append-only file: with appendfsync everysec a restart loses at most the last second"
            .to_owned()
    } else {
        let unsaved = field(info, "rdb_changes_since_last_save").unwrap_or("unknown");
        format!(
            "no append-only file: a restart loses what no snapshot holds, {unsaved} changes since the last"
        )
    };
    Finding::ok(
        CHECK,
        format!(
            "{lost}; a live leader writes its term again, without one it takes {settles} to elect"
        ),
    )
}

pub(super) fn replicas(survey: &Survey) -> Finding {
    const CHECK: &str = "replicas";
    let info = match &survey.info {
        Ok(info) => info,
        Err(error) => return refused(CHECK, "INFO", error),
    };
    let connected = field(info, "connected_slaves").unwrap_or("0");
    if connected == "0" {
        return Finding::ok(CHECK, "none: this server is the only one");
    }
    match &survey.min_replicas {
        Ok(0) => Finding::warn(
            CHECK,
            format!(
                "{connected}, and min-replicas-to-write is 0: a primary that is cut off goes on taking writes"
            ),
            "set min-replicas-to-write 1 and min-replicas-max-lag below the TTL",
        ),
        Ok(least) => Finding::ok(
            CHECK,
            format!("{connected}, and min-replicas-to-write is {least}"),
        ),
        Err(_) => Finding::ok(
            CHECK,
            format!("{connected}; CONFIG is refused here, so min-replicas-to-write is not known"),
        ),
    }
}

/// With room for fewer agents than this, a rollout may reach the limit.
const FEW_AGENTS: u64 = 10;

pub(super) fn clients(survey: &Survey, config: &Config) -> Finding {
    const CHECK: &str = "clients";
    let info = match &survey.info {
        Ok(info) => info,
        Err(error) => return refused(CHECK, "INFO", error),
    };
    let number = |name| field(info, name).and_then(|it| it.parse::<u64>().ok());
    let room = number("maxclients")
        .zip(number("connected_clients"))
        .map(|(most, now)| (most, now, most.saturating_sub(now) / CONNECTIONS_PER_AGENT));
    let room_says = match room {
        Some((most, now, agents)) => format!(
            "{now} of {most} connections (maxclients): room for {agents} more agents, {CONNECTIONS_PER_AGENT} connections each"
        ),
        None => "INFO tells no maxclients here".into(),
    };
    let renewals = config.rules.renew_every();
    let (idle_says, hasty) = match survey.idle_timeout {
        Ok(0) => ("idle ones are kept (timeout 0)".into(), false),
        Ok(seconds) => (
            format!(
                "idle ones are closed after {seconds} s (timeout): the agent dials again at once, and no term is lost"
            ),
            Duration::from_secs(seconds) <= renewals,
        ),
        Err(_) => (
            "CONFIG is refused here, so an idle timeout is not known".into(),
            false,
        ),
    };
    let says = format!("{room_says}; {idle_says}");
    if room.is_some_and(|(_, _, agents)| agents < FEW_AGENTS) {
        return Finding::warn(
            CHECK,
            says,
            "raise maxclients: an agent that finds no place cannot be elected",
        );
    }
    if hasty {
        let advice = format!(
            "set timeout 0, or above --renew-every ({}): else Redis is dialled for every renewal",
            time(renewals)
        );
        return Finding::warn(CHECK, says, advice);
    }
    Finding::ok(CHECK, says)
}

fn reading(survey: &Survey) -> Result<MemoryReading, StoreError> {
    let info = survey.info.as_ref().map_err(Clone::clone)?;
    MemoryReading::parse(info).map_err(|error| StoreError::nonsense(error.to_string()))
}

#[allow(clippy::cast_precision_loss, reason = "shown with one digit")]
fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
