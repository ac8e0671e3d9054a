//! The settings: strings in, checked values out, every mistake at once.

mod args;
mod redis;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::election::{LONGEST_TTL, LeaseRules, Liveness, SHORTEST_TTL, UnsafeRules};

pub use args::{RedisArgs, RunArgs};
pub use redis::{Keys, RedisAddress, RedisEndpoint, RedisSettings, Secret};

/// Where a miner finds the agent unless told otherwise.
pub const DEFAULT_GRPC_LISTEN: &str = "127.0.0.1:50051";
pub const DEFAULT_HTTP_LISTEN: &str = "0.0.0.0:9090";
const DEFAULT_REDIS_URL: &str = "redis://127.0.0.1:6379";
const DEFAULT_LOCK_KEY: &str = "ha:miner:global_leader";
const LONGEST_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// The agent's settings, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub redis: RedisSettings,
    pub instance: String,
    pub rules: LeaseRules,
    pub liveness: Liveness,
    pub acquire_under_oom: bool,
    pub allow_eviction: bool,
    pub memory_every: Duration,
    pub memory_warn_ratio: f64,
    pub grpc_listen: Option<SocketAddr>,
    pub grpc_socket: Option<PathBuf>,
    pub http_listen: SocketAddr,
    pub log_format: LogFormat,
    pub drain_timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Everything that is wrong with the settings. Its text is one line a mistake.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BadSettings(Vec<String>);

/// Collects the mistakes of one reading.
#[derive(Debug, Default)]
struct Reader {
    bad: BadSettings,
}

// === impl Config ===

impl Config {
    /// # Errors
    /// Every mistake, each with its flag, the value and what is allowed.
    pub fn check(args: &RunArgs) -> Result<Self, BadSettings> {
        let mut reader = Reader::default();
        let redis = RedisSettings::read(&args.redis, &mut reader);
        let ttl = reader.duration("lease-ttl", &args.lease_ttl, Duration::from_secs(30));
        let third = ttl / 3;
        let rules = LeaseRules::new(
            ttl,
            reader.duration(
                "renew-every",
                &args.renew_every,
                third.min(Duration::from_secs(10)),
            ),
            reader.duration(
                "miner-timeout",
                &args.miner_timeout,
                third.min(Duration::from_secs(3)),
            ),
            redis
                .as_ref()
                .map_or(Duration::from_secs(2), |redis| redis.timeout),
        );
        let rules = rules
            .map_err(|broken| reader.unsafe_rules(args, broken))
            .ok();
        let miner_timeout = rules
            .as_ref()
            .map_or(Duration::ZERO, LeaseRules::miner_timeout);
        let (grpc_listen, grpc_socket) = reader.grpc(args);
        // Each is read before any is asked for, so that one mistake hides no other.
        let instance = reader.instance(&args.instance);
        let liveness = reader.choice(
            "miner-liveness",
            &args.miner_liveness,
            &[
                ("campaign", Liveness::Campaign),
                ("always", Liveness::Always),
            ],
        );
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
            Some(Self {
                redis: redis?,
                instance: instance?,
                rules: rules?,
                liveness: liveness?,
                acquire_under_oom: acquire_under_oom?,
                allow_eviction: allow_eviction?,
                memory_every: memory_every?,
                memory_warn_ratio: memory_warn_ratio?,
                grpc_listen,
                grpc_socket,
                http_listen: http_listen?,
                log_format: log_format?,
                drain_timeout: drain_timeout?,
            })
        })();
        reader.finish(config)
    }
}

impl RedisSettings {
    /// The settings of a command that asks Redis directly.
    ///
    /// # Errors
    /// Every mistake, each with its flag, the value and what is allowed.
    pub fn check(args: &RedisArgs) -> Result<Self, BadSettings> {
        let mut reader = Reader::default();
        let settings = Self::read(args, &mut reader);
        reader.finish(settings)
    }

    fn read(args: &RedisArgs, reader: &mut Reader) -> Option<Self> {
        let url = given(&args.redis_url).unwrap_or(DEFAULT_REDIS_URL);
        let endpoint = reader.keep("redis-url", &redis::shown(url), RedisEndpoint::parse(url));
        let password = reader.password(args);
        let key = given(&args.lock_key).unwrap_or(DEFAULT_LOCK_KEY);
        let keys = reader.keep("lock-key", key, Keys::new(key));
        let timeout = reader.at_least(
            "redis-timeout",
            &args.redis_timeout,
            Duration::from_secs(2),
            Duration::from_millis(50),
        );
        let mut endpoint = endpoint?;
        if let Some(username) = given(&args.redis_username) {
            endpoint.username = Some(username.into());
        }
        endpoint.password = password?.or(endpoint.password);
        Some(Self {
            endpoint,
            timeout: timeout?,
            keys: keys?,
        })
    }
}

// === impl Reader ===

impl Reader {
    fn finish<T>(self, value: Option<T>) -> Result<T, BadSettings> {
        value.filter(|_| self.bad.0.is_empty()).ok_or(self.bad)
    }

    fn bad(&mut self, flag: &str, value: &str, allowed: impl fmt::Display) {
        self.bad
            .0
            .push(format!("--{flag}={value}: allowed is {allowed}"));
    }

    fn keep<T>(
        &mut self,
        flag: &str,
        value: &str,
        read: Result<T, impl fmt::Display>,
    ) -> Option<T> {
        read.map_err(|allowed| self.bad(flag, value, allowed)).ok()
    }

    /// The value or the default; a value that is none is reported, and the default stands in for it so
    /// that the other settings can be checked too.
    fn duration(&mut self, flag: &str, value: &Option<String>, default: Duration) -> Duration {
        let Some(text) = given(value) else {
            return default;
        };
        match humantime::parse_duration(text) {
            Ok(duration) if duration <= LONGEST_DURATION => duration,
            _ => {
                self.bad(
                    flag,
                    text,
                    "a duration such as 500ms, 30s or 1m30s, up to 24h",
                );
                default
            }
        }
    }

    fn at_least(
        &mut self,
        flag: &str,
        value: &Option<String>,
        default: Duration,
        least: Duration,
    ) -> Option<Duration> {
        let duration = self.duration(flag, value, default);
        if duration < least {
            let least = humantime::format_duration(least);
            self.bad(
                flag,
                given(value).unwrap_or_default(),
                format_args!("at least {least}"),
            );
            return None;
        }
        Some(duration)
    }

    fn boolean(&mut self, flag: &str, value: &Option<String>, default: bool) -> Option<bool> {
        let choices: &[_] = if default {
            &[("true", true), ("false", false)]
        } else {
            &[("false", false), ("true", true)]
        };
        self.choice(flag, value, choices)
    }

    /// The first choice is the default.
    fn choice<T: Copy>(
        &mut self,
        flag: &str,
        value: &Option<String>,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let Some(text) = given(value) else {
            return choices.first().map(|(_, choice)| *choice);
        };
        let found = choices.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            self.bad(flag, text, names.join(" or "));
        }
        found.map(|(_, choice)| *choice)
    }

    fn ratio(&mut self, flag: &str, value: &Option<String>, default: f64) -> Option<f64> {
        let Some(text) = given(value) else {
            return Some(default);
        };
        let ratio = text
            .parse()
            .ok()
            .filter(|ratio| *ratio > 0.0 && *ratio <= 1.0);
        self.keep(flag, text, ratio.ok_or("a number above 0 and up to 1"))
    }

    fn address(&mut self, flag: &str, value: &Option<String>, default: &str) -> Option<SocketAddr> {
        let text = given(value).unwrap_or(default);
        self.keep(
            flag,
            text,
            text.parse()
                .map_err(|_| "an address such as 127.0.0.1:9095 or [::]:9095"),
        )
    }

    fn grpc(&mut self, args: &RunArgs) -> (Option<SocketAddr>, Option<PathBuf>) {
        const FLAG: &str = "grpc-listen";
        let socket = given(&args.grpc_socket).map(PathBuf::from);
        if given(&args.grpc_listen) == Some("off") {
            if socket.is_none() {
                self.bad(FLAG, "off", "off only together with --grpc-socket");
            }
            return (None, socket);
        }
        let address = self.address(FLAG, &args.grpc_listen, DEFAULT_GRPC_LISTEN);
        if let Some(address) = address.filter(|address| !address.ip().is_loopback()) {
            self.bad(
                FLAG,
                &address.to_string(),
                "a loopback address such as 127.0.0.1:50051: whoever can reach it can lead",
            );
        }
        (address, socket)
    }

    fn instance(&mut self, value: &Option<String>) -> Option<String> {
        let host = || {
            rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned()
        };
        let pod = std::env::var("POD_NAME")
            .ok()
            .filter(|name| !name.is_empty());
        let name = given(value).map_or_else(|| pod.unwrap_or_else(host), Into::into);
        let fits = (1..=63).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        let fits = fits.then_some(name.clone());
        self.keep(
            "instance",
            &name,
            fits.ok_or("1 to 63 of A-Z a-z 0-9 . _ -"),
        )
    }

    /// `None`: it could not be read. `Some(None)`: none is set here.
    #[allow(
        clippy::option_option,
        reason = "not set and not readable are different things"
    )]
    fn password(&mut self, args: &RedisArgs) -> Option<Option<Secret>> {
        let Some(path) = given(&args.redis_password_file) else {
            let set = std::env::var("UNDERSTUDY_REDIS_PASSWORD").ok();
            return Some(set.filter(|text| !text.is_empty()).map(Secret::new));
        };
        let read = match std::fs::read_to_string(path) {
            Ok(text) if !text.trim_end_matches(['\r', '\n']).is_empty() => {
                Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n']))))
            }
            Ok(_) => Err("a file that is not empty".to_owned()),
            Err(error) => Err(format!("a file that can be read ({error})")),
        };
        self.keep("redis-password-file", path, read)
    }

    /// Names the flags behind a combination that the rules of the lease refuse.
    fn unsafe_rules(&mut self, args: &RunArgs, broken: UnsafeRules) {
        let (flag, value) = match broken {
            UnsafeRules::Ttl => ("lease-ttl", &args.lease_ttl),
            UnsafeRules::RenewEvery(_) => ("renew-every", &args.renew_every),
            UnsafeRules::MinerTimeout(_) => ("miner-timeout", &args.miner_timeout),
            UnsafeRules::RedisTimeout => ("redis-timeout", &args.redis.redis_timeout),
        };
        let value = given(value).unwrap_or("default");
        let time = humantime::format_duration;
        match broken {
            UnsafeRules::Ttl => {
                let (from, to) = (time(SHORTEST_TTL), time(LONGEST_TTL));
                self.bad(flag, value, format_args!("{from} to {to}"));
            }
            UnsafeRules::RenewEvery(most) => {
                let most = time(most);
                self.bad(
                    flag,
                    value,
                    format_args!("100ms to a third of --lease-ttl, {most}"),
                );
            }
            UnsafeRules::MinerTimeout(below) => {
                let below = time(below);
                self.bad(
                    flag,
                    value,
                    format_args!("100ms to less than the lease, {below}"),
                );
            }
            UnsafeRules::RedisTimeout => self.bad(flag, value, "50ms to 60s"),
        }
    }
}

/// A flag that is set. An empty value counts as not set, as manifests often leave one.
fn given(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|text| !text.is_empty())
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
                redis_password_file: set("/does/not/exist"),
                ..RedisArgs::default()
            },
            instance: set("no spaces"),
            lease_ttl: set("10s"),
            renew_every: set("4s"),
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
            "redis-password-file",
            "instance",
            "renew-every",
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
