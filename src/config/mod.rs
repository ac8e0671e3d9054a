//! The settings: strings in, checked values out, every mistake at once.

mod args;
mod form;
mod instance;
mod miner_probe;
mod read;
mod redis;
mod redis_url;
mod secret;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::election::{LeaseRules, Liveness};
use read::{Reader, given, password};

pub use args::{RedisArgs, RunArgs};
pub use form::{shown, shown_path, shown_value};
pub use miner_probe::{MinerProbe, ProbeHow};
pub use redis::{Keys, RedisAddress, RedisEndpoint, RedisPlace, RedisSettings, TlsFiles};
pub use secret::{Login, Password, Secret};

/// Where a miner finds the agent unless told otherwise.
pub const DEFAULT_GRPC_LISTEN: &str = "127.0.0.1:50051";
/// IPv4 too; where the kernel has no IPv6, `0.0.0.0`.
pub const DEFAULT_HTTP_LISTEN: &str = "[::]:9090";
const DEFAULT_REDIS_URL: &str = "redis://127.0.0.1:6379";
const DEFAULT_LOCK_KEY: &str = "ha:miner:global_leader";

/// The agent's settings, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub redis: RedisSettings,
    pub instance: String,
    /// What `instance` is short for, where it was too long.
    pub long_instance: Option<String>,
    pub rules: LeaseRules,
    pub liveness: Liveness,
    /// Set exactly where the miner's liveness is found by it.
    pub miner_probe: Option<MinerProbe>,
    pub acquire_under_oom: bool,
    pub allow_eviction: bool,
    pub memory_every: Duration,
    pub memory_warn_ratio: f64,
    pub grpc_listen: Option<SocketAddr>,
    pub grpc_socket: Option<PathBuf>,
    pub http_listen: SocketAddr,
    pub log_format: LogFormat,
    pub drain_timeout: Duration,
    pub state_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Everything that is wrong with the settings. Its text is one line per mistake.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BadSettings(Vec<String>);

// === impl Config ===

impl Config {
    /// # Errors
    /// Every mistake, each with its flag, the value and what is expected.
    pub fn check(args: &RunArgs) -> Result<Self, BadSettings> {
        let mut reader = Reader::default();
        let redis = RedisSettings::read(&args.redis, &mut reader);
        let ttl = reader.duration("lease-ttl", &args.lease_ttl, Duration::from_secs(30));
        let third = ttl / 3;
        let renew_every = reader.duration(
            "renew-every",
            &args.renew_every,
            third.min(Duration::from_secs(10)),
        );
        let miner_timeout = reader.duration(
            "miner-timeout",
            &args.miner_timeout,
            third.min(Duration::from_secs(3)),
        );
        let redis_timeout = redis
            .as_ref()
            .map_or(Duration::from_secs(2), |redis| redis.timeout);
        let rules = LeaseRules::new(ttl, renew_every, miner_timeout, redis_timeout)
            .map_err(|broken| reader.unsafe_rules(args, &broken))
            .ok();
        let one_server = redis
            .as_ref()
            .is_none_or(|redis| matches!(redis.endpoint.place, RedisPlace::Server(_)));
        let rules = rules.map(|rules| {
            if one_server {
                rules
            } else {
                rules.with_failover()
            }
        });
        let (grpc_listen, grpc_socket) = reader.grpc(args);
        // Each is read before any is asked for, so that one mistake hides no other.
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
        let acquire_under_oom = reader.boolean("acquire-under-oom", &args.acquire_under_oom, true);
        let allow_eviction = reader.boolean("allow-eviction", &args.allow_eviction, false);
        let memory_every = reader.at_least(
            "memory-every",
            &args.memory_every,
            Duration::from_secs(30),
            Duration::from_millis(100),
        );
        let memory_warn_ratio = reader.ratio("memory-warn-ratio", &args.memory_warn_ratio, 0.9);
        let http_listen = reader.address("http-listen", &args.http_listen, DEFAULT_HTTP_LISTEN);
        let log_format = reader.choice(
            "log-format",
            &args.log_format,
            &[("text", LogFormat::Text), ("json", LogFormat::Json)],
        );
        let drain_timeout = reader.at_least(
            "drain-timeout",
            &args.drain_timeout,
            miner_timeout.max(Duration::from_secs(5)),
            miner_timeout,
        );
        let config = (|| {
            let (instance, long_instance) = instance?;
            Some(Self {
                redis: redis?,
                instance,
                long_instance,
                rules: rules?,
                liveness: liveness?,
                miner_probe,
                acquire_under_oom: acquire_under_oom?,
                allow_eviction: allow_eviction?,
                memory_every: memory_every?,
                memory_warn_ratio: memory_warn_ratio?,
                grpc_listen,
                grpc_socket,
                http_listen: http_listen?,
                log_format: log_format?,
                drain_timeout: drain_timeout?,
                state_dir: given(&args.state_dir).map(PathBuf::from),
            })
        })();
        reader.finish(config)
    }
}

impl RedisSettings {
    /// The settings of a command that asks Redis directly.
    ///
    /// # Errors
    /// Every mistake, each with its flag, the value and what is expected.
    pub fn check(args: &RedisArgs) -> Result<Self, BadSettings> {
        let mut reader = Reader::default();
        let settings = Self::read(args, &mut reader);
        reader.finish(settings)
    }

    fn read(args: &RedisArgs, reader: &mut Reader) -> Option<Self> {
        if args.redis_url.as_deref() == Some("") {
            // A variable that was never set, most likely: not a wish for the default.
            reader.bad(
                "redis-url",
                "",
                "a URL such as redis://host:6379/0; leave the flag out for the default",
            );
        }
        let url = given(&args.redis_url).unwrap_or(DEFAULT_REDIS_URL);
        let endpoint = reader.keep("redis-url", &shown(url), RedisEndpoint::parse(url));
        let tls = reader.tls(args);
        let key = given(&args.lock_key).unwrap_or(DEFAULT_LOCK_KEY);
        let keys = reader.keep("lock-key", key, Keys::new(key));
        let timeout = reader.at_least(
            "redis-timeout",
            &args.redis_timeout,
            Duration::from_secs(2),
            Duration::from_millis(50),
        );
        let mut endpoint = endpoint?;
        let name = |value| given(value).map(ToOwned::to_owned);
        let redis_password = password(&args.redis_password_file, "UNDERSTUDY_REDIS_PASSWORD");
        endpoint.login = Login {
            username: name(&args.redis_username).or(endpoint.login.username),
            password: redis_password.or(endpoint.login.password),
        };
        endpoint.sentinel_login = Login {
            username: name(&args.sentinel_username),
            password: password(&args.sentinel_password_file, "UNDERSTUDY_SENTINEL_PASSWORD"),
        };
        let keys = keys?.in_database(endpoint.database);
        reader.only_where_used(args, &endpoint);
        endpoint.tls = endpoint.tls.map(|_| tls);
        Some(Self {
            endpoint,
            timeout: timeout?,
            keys,
        })
    }
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
        assert_eq!(config.http_listen, "[::]:9090".parse().unwrap());
        assert_eq!(config.log_format, LogFormat::Text);
        assert_eq!((config.grpc_socket, config.state_dir), (None, None));
        assert!(config.acquire_under_oom && !config.allow_eviction);
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
            acquire_under_oom: set("yes"),
            memory_warn_ratio: set("90"),
            grpc_listen: set("0.0.0.0:50051"),
            http_listen: set("9090"),
            log_format: set("xml"),
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
            "acquire-under-oom",
            "memory-warn-ratio",
            "grpc-listen",
            "http-listen",
            "log-format",
        ] {
            assert!(
                bad.contains(&format!("--{flag}=")),
                "{flag} is missing in:\n{bad}"
            );
        }
        assert!(!bad.contains("hunter2"), "{bad}");
    }
}
