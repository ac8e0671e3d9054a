//! Redis' URL, as a miner's own configuration has it.

use percent_encoding::percent_decode_str;
use url::Url;

use super::redact::looks_like;
use super::redis::{RedisAddress, RedisEndpoint, RedisPlace, TlsFiles};
use super::secret::{Login, Password, Secret};

/// Why a URL is refused: what is expected instead, without any part of the URL.
pub type Expected = String;

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

impl RedisEndpoint {
    /// # Errors
    /// What is expected instead, without any part of the text.
    pub fn parse(text: &str) -> Result<Self, Expected> {
        let text = text.trim();
        Self::read(text).map_err(|expected| match looks_like(text) {
            Some(form) => format!("a Redis URL; this looks like {form}"),
            None => expected,
        })
    }

    fn read(text: &str) -> Result<Self, Expected> {
        // The library removes line ends and tabs from a URL, which would silently change a password.
        if text.chars().any(char::is_control) {
            return Err("a URL without line ends or other control characters".into());
        }
        let (text, hosts) = one_host(text).ok_or(SCHEMES)?;
        let url = Url::parse(&with_host(&text))
            .map_err(|error| format!("redis://[user:password@]host[:port][/db] ({error})"))?;
        // This may be the rest of a password.
        if url.path().contains('@') || url.fragment().is_some() {
            return Err(UNESCAPED.into());
        }
        let plain = url.scheme().replacen("rediss", "redis", 1);
        let tls = (plain != url.scheme()).then(TlsFiles::default);
        let one = || -> Result<_, Expected> {
            match hosts.as_slice() {
                [_, _, ..] => {
                    Err("one host, or redis-sentinel:// or redis-cluster:// for several".into())
                }
                _ => address(&url, REDIS_PORT)
                    .map(RedisPlace::Server)
                    .ok_or_else(|| HOST.into()),
            }
        };
        let mut endpoint = match plain.as_str() {
            "redis" => Self::tcp(&url, one()?),
            "redis+unix" | "unix" if tls.is_none() => Self::unix(&url),
            "redis-sentinel" => Self::sentinel(&url, servers(&text, &hosts, SENTINEL_PORT)?),
            "redis-cluster" => Self::cluster(&url, servers(&text, &hosts, REDIS_PORT)?),
            _ => Err(SCHEMES.into()),
        }?;
        endpoint.tls = tls;
        Ok(endpoint)
    }

    fn tcp(url: &Url, place: RedisPlace) -> Result<Self, Expected> {
        let mut endpoint = Self::of(url, place)?;
        let path = url.path().trim_matches('/');
        if !path.is_empty() {
            endpoint.database = database(path)?;
        }
        Ok(endpoint)
    }

    fn unix(url: &Url) -> Result<Self, Expected> {
        let path = decoded(url.path())?;
        let host = url.host_str().unwrap_or_default();
        if path == "/" || !is_name(&path) || !["", LOCAL].contains(&host) {
            return Err("redis+unix:///absolute/path/to/socket (three slashes)".into());
        }
        Self::of(url, RedisPlace::Server(RedisAddress::Unix(path.into())))
    }

    fn sentinel(url: &Url, sentinels: Vec<RedisAddress>) -> Result<Self, Expected> {
        let master = decoded(url.path().trim_matches('/'))?;
        if master.contains('/') || !is_name(&master) {
            return Err(
                "redis-sentinel://host[:26379][,host…]/NAME[?db=N], with the name of the primary as the \
                 sentinels know it"
                    .into(),
            );
        }
        Self::of(url, RedisPlace::Sentinel { sentinels, master })
    }

    fn cluster(url: &Url, seeds: Vec<RedisAddress>) -> Result<Self, Expected> {
        let endpoint = Self::tcp(url, RedisPlace::Cluster { seeds })?;
        if endpoint.database != 0 {
            return Err(
                "redis-cluster://host[:6379][,host…] without a database: a cluster has only 0"
                    .into(),
            );
        }
        Ok(endpoint)
    }

    fn of(url: &Url, place: RedisPlace) -> Result<Self, Expected> {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let given = |text: String| Password::Given(Secret::new(text));
        let mut endpoint = Self {
            place,
            database: 0,
            login: Login {
                username: some(decoded(url.username())?),
                password: some(decoded(url.password().unwrap_or(""))?).map(given),
            },
            sentinel_login: Login::default(),
            tls: None,
            ignored: Vec::new(),
        };
        for (name, value) in url.query_pairs() {
            match &*name {
                "db" => endpoint.database = database(&value)?,
                "user" | "username" => endpoint.login.username = Some(value.into()),
                "pass" | "password" => endpoint.login.password = Some(given(value.into())),
                "skip_verify" => {
                    return Err(
                        "a URL without skip_verify: certificates are always verified".into(),
                    );
                }
                name if is_option(name) && !value.contains('@') => {
                    let known = IGNORED.iter().find(|it| **it == name);
                    endpoint.ignored.push(known.unwrap_or(&"…"));
                }
                // As above.
                _ => return Err(UNESCAPED.into()),
            }
        }
        Ok(endpoint)
    }
}

const SCHEMES: &str = "a URL that starts with redis://, rediss://, redis+unix://, redis-sentinel:// or redis-cluster://";

const HOST: &str =
    "a host name or an IP address behind redis:// (in a user or a password `@` is written %40)";

const UNESCAPED: &str = "a URL with options such as ?db=0 behind the host (in a user or a password `/` is written \
                         %2F, `?` %3F, `#` %23 and `@` %40)";

/// The URL standard allows one host per URL: returns the URL with only the first host, and all hosts.
fn one_host(text: &str) -> Option<(String, Vec<String>)> {
    let (scheme, user, hosts, rest) = parts(text)?;
    let all: Vec<String> = hosts.split(',').map(Into::into).collect();
    let first = all.first().map_or("", String::as_str);
    Some((format!("{scheme}://{user}{first}{rest}"), all))
}

/// Splits a URL into scheme, login with its `@`, hosts, and the rest.
fn parts(text: &str) -> Option<(&str, &str, &str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (user, hosts) = authority
        .rfind('@')
        .map_or(("", authority), |at| authority.split_at(at + 1));
    Some((scheme, user, hosts, rest))
}

fn servers(url: &str, hosts: &[String], port: u16) -> Result<Vec<RedisAddress>, Expected> {
    // Everything before the last `@` is the login. With a login before each host, all of it would become one long password.
    let user = parts(url).map_or("", |(_, user, _, _)| user);
    let name = user.split(':').next().unwrap_or_default();
    if name.contains(',') || user.matches('@').count() > 1 {
        return Err(
            "one user and password in front of all hosts (`@` and `,` in them are written %40 and %2C)"
                .into(),
        );
    }
    let read = |host: &String| {
        let url = Url::parse(&format!("redis://{host}")).ok();
        let url = url.filter(|url| {
            url.host_str().is_some_and(|host| !host.is_empty()) && url.username().is_empty()
        })?;
        address(&url, port)
    };
    let all: Option<Vec<_>> = hosts.iter().map(read).collect();
    // A host named twice still has one vote.
    let once = |all: Vec<RedisAddress>| {
        let seen = |at: usize| all.iter().take(at).any(|it| all.get(at) == Some(it));
        (0..all.len()).all(|at| !seen(at)).then_some(all)
    };
    all.filter(|all| !all.is_empty())
        .and_then(once)
        .ok_or_else(|| "a list of different hosts such as a:6379,b:6379,[::1]:6379".into())
}

/// `None` if it is not a host. For an unknown scheme the URL standard accepts nearly anything as a host, even settings
/// with a password.
fn address(url: &Url, port: u16) -> Option<RedisAddress> {
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.unwrap_or(LOCAL).trim_matches(['[', ']']);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
    host.bytes().all(plain).then(|| RedisAddress::Tcp {
        host: host.into(),
        port: url.port().unwrap_or(port),
    })
}

/// The path of a socket, or the sentinels' name for a primary; refuses text that looks like settings.
fn is_name(text: &str) -> bool {
    let other = |it: char| it == '=' || it.is_whitespace() || it.is_control();
    !text.is_empty() && !text.contains(other)
}

/// Options whose names may be shown when they are ignored, go-redis' first. Any other name may be part of a secret.
#[rustfmt::skip]
const IGNORED: [&str; 46] = [
    "protocol", "client_name", "identity_suffix", "max_retries", "min_retry_backoff", "max_retry_backoff",
    "dial_timeout", "read_timeout", "write_timeout", "context_timeout_enabled", "pool_fifo", "pool_size",
    "pool_timeout", "min_idle_conns", "max_idle_conns", "max_active_conns", "conn_max_idle_time",
    "conn_max_lifetime", "idle_timeout", "idle_check_frequency", "max_conn_age", "max_redirects", "read_only",
    "route_by_latency", "route_randomly", "replica_only", "use_disconnected_replicas", "failing_timeout_seconds",
    "read_buffer_size", "write_buffer_size", "disable_indentity", "disable_identity", "addr", "master_name",
    "sentinel_username", "sentinel_password", "timeout", "socket_timeout", "socket_connect_timeout",
    "socket_keepalive", "health_check_interval", "retry_on_timeout", "max_connections", "decode_responses",
    "ssl_cert_reqs", "ssl_ca_certs",
];

/// Whether it is named like an option of go-redis.
fn is_option(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    (1..=40).contains(&name.len()) && name.bytes().all(plain)
}

/// The host, if the URL names none.
const LOCAL: &str = "127.0.0.1";

/// go-redis accepts a URL with a port or a user but no host (`redis://:6379`, `unix://user:password@/path`); the URL
/// standard does not.
fn with_host(text: &str) -> String {
    match parts(text) {
        Some((scheme, user, host, rest))
            if (host.is_empty() || host.starts_with(':'))
                && !(user.is_empty() && host.is_empty()) =>
        {
            format!("{scheme}://{user}{LOCAL}{host}{rest}")
        }
        _ => text.into(),
    }
}

fn database(text: &str) -> Result<i64, Expected> {
    text.parse()
        .ok()
        .filter(|number| (0..=1_000_000).contains(number))
        .ok_or_else(|| "a database that is a number, as in redis://host:6379/0".into())
}

fn decoded(text: &str) -> Result<String, Expected> {
    percent_decode_str(text)
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| "a URL whose percent-encoded parts are UTF-8".into())
}

#[cfg(test)]
mod tests;
