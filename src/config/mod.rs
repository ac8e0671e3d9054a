//! The settings: strings in, checked values out, every mistake at once.

mod args;
mod exec;
mod instance;
mod read;
mod redis;
mod unknown;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tracing::Level;

use crate::election::{LeaseRules, Liveness};
use crate::endpoint::{MinerProbe, RedisPlace, RedisSettings};
use read::{Reader, non_empty};

pub use args::{RedisArgs, RunArgs};
pub use exec::{ExecArgs, ExecConfig};
pub use unknown::{Unknown, must_be_read, unknown_settings};

/// Where a miner finds the agent unless told otherwise.
pub const DEFAULT_GRPC_LISTEN: &str = "127.0.0.1:50051";
/// IPv4 too; where the kernel has no IPv6, `0.0.0.0`.
pub const DEFAULT_HTTP_LISTEN: &str = "[::]:9090";
const DEFAULT_TTL: Duration = Duration::from_secs(30);
/// This and the next: a third of the TTL, if the TTL is shorter than three of them.
const DEFAULT_RENEW_EVERY: Duration = Duration::from_secs(10);
const DEFAULT_MINER_TIMEOUT: Duration = Duration::from_secs(3);
const DEFAULT_REDIS_TIMEOUT: Duration = Duration::from_secs(2);
const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_MEMORY_EVERY: Duration = Duration::from_secs(30);
const SHORTEST_MEMORY_EVERY: Duration = Duration::from_millis(100);

/// The agent's settings, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub redis: RedisSettings,
    pub instance: String,
    /// The full name, if `instance` was too long and was shortened.
    pub long_instance: Option<String>,
    pub rules: LeaseRules,
    pub liveness: Liveness,
    /// Set if and only if the miner's liveness is `probe`.
    pub miner_probe: Option<MinerProbe>,
    /// Whether this agent may lead.
    pub candidate: bool,
    pub acquire_under_oom: bool,
    pub allow_eviction: bool,
    pub memory_every: Duration,
    pub memory_warn_ratio: f64,
    pub grpc_listen: Option<SocketAddr>,
    pub grpc_socket: Option<PathBuf>,
    pub http_listen: Option<SocketAddr>,
    pub log_format: LogFormat,
    pub log_level: Level,
    pub drain_timeout: Duration,
    pub state_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Where to serve gRPC: the miner of `run` must find it; the miner of `exec` is in the same process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listens {
    Always,
    WhereAsked,
}

/// Everything that is wrong with the settings, as text with one line per mistake.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BadSettings(Vec<String>);

// === impl Config ===

impl Config {
    /// # Errors
    /// Every mistake, each with its flag, the value and what is expected.
    pub fn check(args: &RunArgs) -> Result<Self, BadSettings> {
        let mut reader = Reader::default();
        let config = Self::read(args, Listens::Always, &mut reader);
        reader.finish(config)
    }

    /// Reads every setting before it uses any, so that one mistake hides no other.
    fn read(args: &RunArgs, listens: Listens, reader: &mut Reader) -> Option<Self> {
        let redis = args.redis.read(reader);
        let ttl = reader.duration("lease-ttl", &args.lease_ttl, DEFAULT_TTL);
        let miner_timeout = reader.duration(
            "miner-timeout",
            &args.miner_timeout,
            (ttl / 3).min(DEFAULT_MINER_TIMEOUT),
        );
        let rules = lease_rules(args, ttl, miner_timeout, redis.as_ref(), reader);
        let instance = reader.instance(&args.instance);
        let liveness = reader.choice(
            "miner-liveness",
            &args.miner_liveness,
            &[
                ("campaign", Liveness::Campaign),
                ("probe", Liveness::Probe),
                ("always", Liveness::Always),
            ],
        );
        let miner_probe = reader.miner_probe(args, liveness);
        let candidate = reader.boolean("candidate", &args.candidate, true);
        let acquire_under_oom = reader.boolean("acquire-under-oom", &args.acquire_under_oom, true);
        let allow_eviction = reader.boolean("allow-eviction", &args.allow_eviction, false);
        let memory_every = reader.at_least(
            "memory-every",
            &args.memory_every,
            DEFAULT_MEMORY_EVERY,
            SHORTEST_MEMORY_EVERY,
        );
        let memory_warn_ratio = reader.ratio("memory-warn-ratio", &args.memory_warn_ratio, 0.9);
        let (grpc_listen, grpc_socket) = reader.grpc(args, listens);
        let http_listen = reader.http(args);
        let log_format = reader.choice(
            "log-format",
            &args.log_format,
            &[("text", LogFormat::Text), ("json", LogFormat::Json)],
        );
        let log_level = reader.choice(
            "log-level",
            &args.log_level,
            &[
                ("info", Level::INFO),
                ("error", Level::ERROR),
                ("warn", Level::WARN),
                ("debug", Level::DEBUG),
                ("trace", Level::TRACE),
            ],
        );
        let drain_timeout = reader.at_least(
            "drain-timeout",
            &args.drain_timeout,
            miner_timeout.max(DEFAULT_DRAIN_TIMEOUT),
            miner_timeout,
        );
        let (instance, long_instance) = instance?;
        Some(Self {
            redis: redis?,
            instance,
            long_instance,
            rules: rules?,
            liveness: liveness?,
            miner_probe,
            candidate: candidate?,
            acquire_under_oom: acquire_under_oom?,
            allow_eviction: allow_eviction?,
            memory_every: memory_every?,
            memory_warn_ratio: memory_warn_ratio?,
            grpc_listen,
            grpc_socket,
            http_listen,
            log_format: log_format?,
            log_level: log_level?,
            drain_timeout: drain_timeout?,
            state_dir: non_empty(&args.state_dir).map(PathBuf::from),
        })
    }
}

/// The times of the lease. Those that are not set follow from the TTL.
fn lease_rules(
    args: &RunArgs,
    ttl: Duration,
    miner_timeout: Duration,
    redis: Option<&RedisSettings>,
    reader: &mut Reader,
) -> Option<LeaseRules> {
    let renew_every = (ttl / 3).min(DEFAULT_RENEW_EVERY);
    let renew_every = reader.duration("renew-every", &args.renew_every, renew_every);
    let redis_timeout = redis.map_or(DEFAULT_REDIS_TIMEOUT, |redis| redis.timeout);
    let rules = LeaseRules::new(ttl, renew_every, miner_timeout, redis_timeout)
        .map_err(|broken| reader.unsafe_rules(args, &broken))
        .ok()?;
    let one_server =
        redis.is_none_or(|redis| matches!(redis.endpoint.place, RedisPlace::Server(_)));
    Some(if one_server {
        rules
    } else {
        rules.with_failover()
    })
}

// === impl BadSettings ===

impl fmt::Display for BadSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for BadSettings {}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::unnecessary_wraps, reason = "as clap hands a flag on")]
    fn set(text: &str) -> Option<String> {
        Some(text.into())
    }

    #[test]
    fn the_defaults_are_the_contracts() {
        let config = Config::check(&RunArgs {
            instance: set("a"),
            ..RunArgs::default()
        })
        .unwrap();
        assert_eq!(config.rules.ttl(), Duration::from_secs(30));
        assert_eq!(config.rules.renew_every(), Duration::from_secs(10));
        assert_eq!(config.rules.miner_timeout(), Duration::from_secs(3));
        assert_eq!(config.rules.heartbeat_every(), Duration::from_secs(1));
        assert_eq!(config.drain_timeout, Duration::from_secs(5));
        assert_eq!(config.redis.timeout, Duration::from_secs(2));
        assert_eq!(config.redis.endpoint.place.to_string(), "127.0.0.1:6379");
        assert_eq!(config.redis.keys.lock, "ha:miner:global_leader");
        assert_eq!(config.liveness, Liveness::Campaign);
        assert_eq!(config.memory_every, Duration::from_secs(30));
        assert!((config.memory_warn_ratio - 0.9).abs() < f64::EPSILON);
        assert_eq!(config.grpc_listen, "127.0.0.1:50051".parse().ok());
        assert_eq!(config.http_listen, "[::]:9090".parse().ok());
        assert_eq!(config.log_format, LogFormat::Text);
        assert_eq!(config.log_level, Level::INFO);
        assert_eq!((config.grpc_socket, config.state_dir), (None, None));
        assert!(config.candidate && config.acquire_under_oom && !config.allow_eviction);
    }

    #[test]
    fn a_short_ttl_shortens_what_follows_from_it() {
        let config = Config::check(&RunArgs {
            instance: set("a"),
            lease_ttl: set("3s"),
            ..RunArgs::default()
        })
        .unwrap();
        assert_eq!(config.rules.renew_every(), Duration::from_secs(1));
        assert_eq!(config.rules.miner_timeout(), Duration::from_secs(1));
    }

    #[test]
    fn http_can_be_off() {
        let config = Config::check(&RunArgs {
            instance: set("a"),
            http_listen: set("off"),
            ..RunArgs::default()
        });
        assert_eq!(config.unwrap().http_listen, None);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let bad = Config::check(&RunArgs {
            redis: RedisArgs {
                redis_url: set("http://u:hunter2@r"),
                redis_timeout: set("soon"),
                lock_key: set("a}b"),
                redis_cert_file: set("cert.pem"),
                ..RedisArgs::default()
            },
            instance: set("no spaces"),
            lease_ttl: set("10s"),
            renew_every: set("4s"),
            miner_timeout: set("20s"),
            drain_timeout: set("1ms"),
            miner_liveness: set("maybe"),
            candidate: set("no"),
            acquire_under_oom: set("yes"),
            memory_warn_ratio: set("90"),
            grpc_listen: set("0.0.0.0:50051"),
            http_listen: set("9090"),
            log_format: set("xml"),
            log_level: set("loud"),
            ..RunArgs::default()
        })
        .unwrap_err()
        .to_string();
        for flag in [
            "redis-url",
            "redis-timeout",
            "lock-key",
            "redis-cert-file",
            "instance",
            "renew-every",
            "miner-timeout",
            "drain-timeout",
            "miner-liveness",
            "candidate",
            "acquire-under-oom",
            "memory-warn-ratio",
            "grpc-listen",
            "http-listen",
            "log-format",
            "log-level",
        ] {
            assert!(
                bad.contains(&format!("--{flag}=")),
                "{flag} is missing in:\n{bad}"
            );
        }
        assert!(!bad.contains("hunter2"), "{bad}");
    }
}
