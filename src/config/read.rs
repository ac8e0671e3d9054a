//! Reads settings one by one, and collects every mistake.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{
    BadSettings, DEFAULT_GRPC_LISTEN, DEFAULT_HTTP_LISTEN, Listens, RedisArgs, RunArgs, instance,
};
use crate::election::{LONGEST_TTL, Liveness, SHORTEST_TTL, UnsafeRules};
use crate::endpoint::{
    MinerProbe, Password, RedisEndpoint, RedisPlace, Secret, TlsFiles, redacted, redacted_path,
    redacted_value,
};

const LONGEST_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// Collects the mistakes of one reading.
#[derive(Debug, Default)]
pub(super) struct Reader {
    bad: BadSettings,
}

impl Reader {
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, BadSettings> {
        value.filter(|_| self.bad.0.is_empty()).ok_or(self.bad)
    }

    pub(super) fn bad(&mut self, flag: &str, value: &str, expected: impl fmt::Display) {
        let value = redacted_value(value);
        self.bad
            .0
            .push(format!("--{flag}={value}: expected {expected}"));
    }

    pub(super) fn keep<T>(
        &mut self,
        flag: &str,
        value: &str,
        read: Result<T, impl fmt::Display>,
    ) -> Option<T> {
        read.map_err(|expected| self.bad(flag, value, expected))
            .ok()
    }

    /// The value or the default. A malformed value is reported, and the default replaces it so that the other settings
    /// can be checked too.
    pub(super) fn duration(
        &mut self,
        flag: &str,
        value: &Option<String>,
        default: Duration,
    ) -> Duration {
        let Some(text) = non_empty(value) else {
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

    pub(super) fn at_least(
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
                non_empty(value).unwrap_or_default(),
                format_args!("at least {least}"),
            );
            return None;
        }
        Some(duration)
    }

    pub(super) fn boolean(
        &mut self,
        flag: &str,
        value: &Option<String>,
        default: bool,
    ) -> Option<bool> {
        let choices: &[_] = if default {
            &[("true", true), ("false", false)]
        } else {
            &[("false", false), ("true", true)]
        };
        self.choice(flag, value, choices)
    }

    /// One of the choices; the first is the default.
    pub(super) fn choice<T: Copy>(
        &mut self,
        flag: &str,
        value: &Option<String>,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let Some(text) = non_empty(value) else {
            return choices.first().map(|(_, choice)| *choice);
        };
        let found = choices.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            self.bad(flag, text, names.join(" or "));
        }
        found.map(|(_, choice)| *choice)
    }

    pub(super) fn ratio(
        &mut self,
        flag: &str,
        value: &Option<String>,
        default: f64,
    ) -> Option<f64> {
        let Some(text) = non_empty(value) else {
            return Some(default);
        };
        let ratio = text
            .parse()
            .ok()
            .filter(|ratio| *ratio > 0.0 && *ratio <= 1.0);
        self.keep(flag, text, ratio.ok_or("a number above 0 and up to 1"))
    }

    pub(super) fn address(
        &mut self,
        flag: &str,
        value: &Option<String>,
        default: &str,
    ) -> Option<SocketAddr> {
        let text = non_empty(value).unwrap_or(default);
        self.keep(
            flag,
            text,
            text.parse()
                .map_err(|_| format!("an address and a port, such as {default}")),
        )
    }

    pub(super) fn grpc(
        &mut self,
        args: &RunArgs,
        listens: Listens,
    ) -> (Option<SocketAddr>, Option<PathBuf>) {
        const FLAG: &str = "grpc-listen";
        let socket = non_empty(&args.grpc_socket).map(PathBuf::from);
        let given = non_empty(&args.grpc_listen);
        if given == Some("off") || given.is_none() && listens == Listens::WhereAsked {
            if socket.is_none() && listens == Listens::Always {
                self.bad(FLAG, "off", "--grpc-socket beside off");
            }
            return (None, socket);
        }
        let address = self.address(FLAG, &args.grpc_listen, DEFAULT_GRPC_LISTEN);
        if let Some(address) = address.filter(|address| !address.ip().is_loopback()) {
            self.bad(
                FLAG,
                &address.to_string(),
                "a loopback address such as 127.0.0.1:50051: anyone who can reach it can lead",
            );
        }
        (address, socket)
    }

    pub(super) fn http(&mut self, args: &RunArgs) -> Option<SocketAddr> {
        if non_empty(&args.http_listen) == Some("off") {
            return None;
        }
        self.address("http-listen", &args.http_listen, DEFAULT_HTTP_LISTEN)
    }

    /// The probe is required with `--miner-liveness=probe`, and an error with the other kinds of liveness.
    pub(super) fn miner_probe(
        &mut self,
        args: &RunArgs,
        liveness: Option<Liveness>,
    ) -> Option<MinerProbe> {
        const FLAG: &str = "miner-probe";
        let text = non_empty(&args.miner_probe);
        // The text may hold a secret that does not belong there.
        let shown = text.map(redacted);
        let probe = text.map(MinerProbe::parse);
        let probe =
            probe.and_then(|read| self.keep(FLAG, shown.as_deref().unwrap_or_default(), read));
        match (liveness?, shown) {
            (Liveness::Probe, None) => self.bad(
                FLAG,
                "",
                "an address with --miner-liveness=probe, such as tcp://127.0.0.1:8545",
            ),
            (Liveness::Campaign | Liveness::Always, Some(text)) => {
                self.bad(FLAG, &text, "only with --miner-liveness=probe");
            }
            (_, _) => {}
        }
        probe
    }

    /// The name to use, and the full name if it was shortened.
    pub(super) fn instance(&mut self, value: &Option<String>) -> Option<(String, Option<String>)> {
        let host = || {
            rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned()
        };
        let pod = std::env::var("POD_NAME")
            .ok()
            .filter(|name| !name.is_empty());
        let name = non_empty(value).map_or_else(|| pod.unwrap_or_else(host), Into::into);
        let short = self.keep(
            "instance",
            &name,
            instance::short(&name).ok_or(instance::EXPECTED),
        )?;
        let long = (name != short).then_some(name);
        Some((short, long))
    }

    /// The TLS files. They are read when they are needed, and need not exist before.
    pub(super) fn tls(&mut self, args: &RedisArgs) -> TlsFiles {
        let file = |value| non_empty(value).map(PathBuf::from);
        let pair = (file(&args.redis_cert_file), file(&args.redis_key_file));
        let client = match pair {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (cert, _) => {
                let (set, missing) = match cert {
                    Some(_) => ("redis-cert-file", "redis-key-file"),
                    None => ("redis-key-file", "redis-cert-file"),
                };
                self.bad(set, "…", format_args!("--{missing} beside it"));
                None
            }
        };
        TlsFiles {
            ca: file(&args.redis_ca_file),
            client,
        }
    }

    /// A flag that would have no effect is a mistake: its user believes that it works.
    pub(super) fn only_where_used(&mut self, args: &RedisArgs, endpoint: &RedisEndpoint) {
        let tls = [
            ("redis-ca-file", &args.redis_ca_file),
            ("redis-cert-file", &args.redis_cert_file),
            ("redis-key-file", &args.redis_key_file),
        ];
        let sentinel = [
            ("sentinel-username", &args.sentinel_username),
            ("sentinel-password-file", &args.sentinel_password_file),
        ];
        let sentinels = matches!(endpoint.place, RedisPlace::Sentinel { .. });
        let unused = [
            (&tls[..], endpoint.tls.is_some(), "rediss://"),
            (&sentinel[..], sentinels, "redis-sentinel://"),
        ];
        for (flags, used, scheme) in unused {
            for (flag, value) in flags {
                if let (Some(value), false) = (non_empty(value), used) {
                    self.bad(
                        flag,
                        &redacted_path(Path::new(value)),
                        format_args!("only with a {scheme} URL"),
                    );
                }
            }
        }
    }

    /// Names the flags of a combination that the lease rules refuse.
    pub(super) fn unsafe_rules(&mut self, args: &RunArgs, broken: &[UnsafeRules]) {
        for rule in broken {
            let (flag, value, expected) = match rule {
                UnsafeRules::Ttl => {
                    let (from, to) = (time(SHORTEST_TTL), time(LONGEST_TTL));
                    ("lease-ttl", &args.lease_ttl, format!("{from} to {to}"))
                }
                UnsafeRules::RenewEvery(most) => {
                    let expected = format!("100ms to a third of --lease-ttl, {}", time(*most));
                    ("renew-every", &args.renew_every, expected)
                }
                UnsafeRules::MinerTimeout(below) => {
                    let expected = format!("100ms to less than the lease, {}", time(*below));
                    ("miner-timeout", &args.miner_timeout, expected)
                }
                UnsafeRules::RedisTimeout => {
                    let value = &args.redis.redis_timeout;
                    ("redis-timeout", value, "50ms to 60s".into())
                }
            };
            self.bad(flag, non_empty(value).unwrap_or("default"), expected);
        }
    }
}

/// In whole milliseconds; a day is written 24h, as `--help` does.
fn time(length: Duration) -> String {
    let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    if millis == 24 * 60 * 60 * 1000 {
        return "24h".into();
    }
    humantime::format_duration(Duration::from_millis(millis)).to_string()
}

/// The password, if set: the file wins over the variable. The file is read when it is needed, and need not exist before.
pub(super) fn password(file: &Option<String>, variable: &str) -> Option<Password> {
    if let Some(path) = non_empty(file) {
        return Some(Password::File(path.into()));
    }
    let set = std::env::var(variable).ok().map(Secret::new);
    set.filter(|secret| !secret.is_empty()).map(Password::Given)
}

/// The value of a flag. An empty value counts as not set, because manifests often leave one.
pub(super) fn non_empty(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|text| !text.is_empty())
}
