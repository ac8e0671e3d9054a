//! Where Redis is and how to speak to it, checked. No secret leaves here by accident.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use url::Url;

/// How to reach Redis, and under which keys the election stands.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    pub endpoint: RedisEndpoint,
    /// One command, connecting included.
    pub timeout: Duration,
    pub keys: Keys,
}

/// One Redis server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisEndpoint {
    pub address: RedisAddress,
    pub database: i64,
    pub username: Option<String>,
    pub password: Option<Secret>,
    /// Query options of the URL that mean nothing here.
    pub ignored: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisAddress {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The names of everything that the election keeps in Redis, all in one cluster slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    pub lock: String,
}

/// A text that no log, error or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

// === impl Secret ===

impl Secret {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the connection that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

// === impl Keys ===

impl Keys {
    /// # Errors
    /// The key would put its companions into another cluster slot.
    pub fn new(lock: &str) -> Result<Self, &'static str> {
        if lock.is_empty() {
            return Err("a key that is not empty");
        }
        if lock.contains('}') && !has_hash_tag(lock) {
            return Err("a key without `}`, or with a hash tag such as `{miner}:leader`");
        }
        Ok(Self { lock: lock.into() })
    }

    #[must_use]
    pub fn record(&self) -> String {
        self.companion("record")
    }

    #[must_use]
    pub fn events(&self) -> String {
        self.companion("events")
    }

    #[must_use]
    pub fn probe(&self) -> String {
        self.companion("probe")
    }

    fn companion(&self, suffix: &str) -> String {
        if has_hash_tag(&self.lock) {
            format!("{}:{suffix}", self.lock)
        } else {
            format!("{{{}}}:{suffix}", self.lock)
        }
    }
}

/// Redis hashes what stands between the first `{` and the first `}` after it, if that is not empty.
/// <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags>
fn has_hash_tag(key: &str) -> bool {
    key.split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .is_some_and(|(tag, _)| !tag.is_empty())
}

// === impl RedisEndpoint ===

/// Why a URL is refused: what is allowed instead. It never holds a part of the URL that may be secret.
pub type Allowed = String;

impl RedisEndpoint {
    /// # Errors
    /// What is allowed instead.
    pub fn parse(text: &str) -> Result<Self, Allowed> {
        let url = Url::parse(&with_host(text))
            .map_err(|error| format!("redis://[user:password@]host[:port][/db] ({error})"))?;
        match url.scheme() {
            "redis" => Self::tcp(&url),
            "redis+unix" | "unix" => Self::unix(&url),
            scheme @ ("rediss" | "redis-sentinel" | "redis-cluster") => Err(format!(
                "redis:// or redis+unix:// ({scheme}:// is not supported by this version)"
            )),
            _ => Err("a URL that starts with redis:// or redis+unix://".into()),
        }
    }

    fn tcp(url: &Url) -> Result<Self, Allowed> {
        let host = url.host_str().filter(|host| !host.is_empty());
        let mut endpoint = Self::of(
            url,
            RedisAddress::Tcp {
                host: host.unwrap_or(LOCAL).trim_matches(['[', ']']).into(),
                port: url.port().unwrap_or(6379),
            },
        )?;
        let path = url.path().trim_matches('/');
        if !path.is_empty() {
            endpoint.database = database(path)?;
        }
        Ok(endpoint)
    }

    fn unix(url: &Url) -> Result<Self, Allowed> {
        let path = decoded(url.path())?;
        let host = url.host_str().unwrap_or_default();
        if path.is_empty() || path == "/" || !["", LOCAL].contains(&host) {
            return Err("redis+unix:///absolute/path/to/socket (three slashes)".into());
        }
        Self::of(url, RedisAddress::Unix(path.into()))
    }

    fn of(url: &Url, address: RedisAddress) -> Result<Self, Allowed> {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let mut endpoint = Self {
            address,
            database: 0,
            username: some(decoded(url.username())?),
            password: some(decoded(url.password().unwrap_or(""))?).map(Secret::new),
            ignored: Vec::new(),
        };
        for (name, value) in url.query_pairs() {
            match &*name {
                "db" => endpoint.database = database(&value)?,
                "user" | "username" => endpoint.username = Some(value.into()),
                "pass" | "password" => endpoint.password = Some(Secret::new(value)),
                "skip_verify" => {
                    return Err(
                        "a URL without skip_verify: certificates are always verified".into(),
                    );
                }
                name if is_option(name) => endpoint.ignored.push(name.into()),
                // It may be the rest of a password: it is neither kept nor shown.
                _ => {
                    return Err(
                        "a URL with options such as ?db=0 behind the host (a `?` in a password is \
                         written %3F)"
                            .into(),
                    );
                }
            }
        }
        Ok(endpoint)
    }
}

/// As the options of go-redis are named.
fn is_option(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    (1..=40).contains(&name.len()) && name.bytes().all(plain)
}

/// The host of a URL that names none.
const LOCAL: &str = "127.0.0.1";

/// go-redis lets a URL leave out the host beside a port or a user (`redis://:6379`,
/// `unix://user:password@/path`); the URL standard does not.
fn with_host(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.into();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (user, host) = authority
        .rfind('@')
        .map_or(("", authority), |at| authority.split_at(at + 1));
    if authority.is_empty() || !(host.is_empty() || host.starts_with(':')) {
        return text.into();
    }
    format!("{scheme}://{user}{LOCAL}{host}{rest}")
}

fn database(text: &str) -> Result<i64, Allowed> {
    text.parse()
        .ok()
        .filter(|number| (0..=1_000_000).contains(number))
        .ok_or_else(|| "a database that is a number, as in redis://host:6379/0".into())
}

fn decoded(text: &str) -> Result<String, Allowed> {
    percent_decode_str(text)
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| "a URL whose percent-encoded parts are UTF-8".into())
}

/// A URL as it may be shown: everything between `//` and the last `@` is left out, and so is the query.
#[must_use]
pub fn shown(url: &str) -> String {
    let (url, query) = url.split_once('?').unwrap_or((url, ""));
    let scheme = url.split_once("//").map_or("", |(scheme, _)| scheme);
    if query.contains('@') {
        // A password with a question mark in it, most likely.
        return format!("{scheme}//***");
    }
    match (scheme, url.rsplit_once('@')) {
        ("", Some((_, place))) => format!("***@{place}"),
        (scheme, Some((_, place))) => format!("{scheme}//***@{place}"),
        (_, None) => url.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(url: &str) -> (String, u16, i64) {
        let endpoint = RedisEndpoint::parse(url).unwrap();
        let RedisAddress::Tcp { host, port } = endpoint.address else {
            panic!("{url} is not TCP");
        };
        (host, port, endpoint.database)
    }

    #[test]
    fn a_miners_own_urls_work() {
        assert_eq!(tcp("redis://r:6380/2"), ("r".into(), 6380, 2));
        assert_eq!(tcp("redis://r"), ("r".into(), 6379, 0));
        assert_eq!(tcp("redis://[::1]:7/?db=3"), ("::1".into(), 7, 3));
        assert_eq!(tcp("redis://:6380/1"), (LOCAL.into(), 6380, 1));
        assert_eq!(tcp("redis://u:p@/1"), (LOCAL.into(), 6379, 1));
        let endpoint =
            RedisEndpoint::parse("redis://u%40x:p%2Fw@h/1?dial_timeout=5s&pool_size=9").unwrap();
        assert_eq!(endpoint.username.as_deref(), Some("u@x"));
        assert_eq!(endpoint.password, Some(Secret::new("p/w")));
        assert_eq!(endpoint.ignored, ["dial_timeout", "pool_size"]);
        for url in [
            "redis+unix:///run/r.sock?db=4",
            "unix://u:p@/run/r.sock?db=4",
        ] {
            let endpoint = RedisEndpoint::parse(url).unwrap();
            assert_eq!(endpoint.address, RedisAddress::Unix("/run/r.sock".into()));
            assert_eq!(endpoint.database, 4);
        }
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for url in [
            "http://r",
            "r:6379",
            "",
            "redis://r:notaport",
            "redis://r/zero",
            "redis://r/-1",
            "redis://r?db=x",
            "rediss://r",
            "redis-sentinel://a,b/m",
            "redis://r?skip_verify=true",
            "redis+unix://host/p",
            "redis+unix://",
            "redis://%ff@r",
            "redis://u:%ff@r",
        ] {
            assert!(RedisEndpoint::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let secret = "hunter2";
        for url in [
            "redis://u:hunter2@h:1/0",
            "redis://:hunter2@h",
            "redis://u:x@hunter2@h:notaport",
            "u:hunter2@h",
            "redis://h?password=hunter2",
            "redis://u:hunter2?x@h",
            "redis://u:x?hunter2@h",
            "redis://?hunter2@h",
        ] {
            assert!(!shown(url).contains(secret), "{}", shown(url));
            let parsed = format!("{:?}", RedisEndpoint::parse(url));
            assert!(!parsed.contains(secret), "{parsed}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_url_makes_it_panic_and_no_password_is_shown(
            scheme in "redis|rediss|redis\\+unix|unix|http|.{0,3}",
            user in "[^@:/]{0,5}",
            rest in ".{0,30}",
            any in ".{0,40}",
        ) {
            let _ = RedisEndpoint::parse(&any);
            let url = format!("{scheme}://{user}:hunter2@{rest}");
            let parsed = format!("{:?}", RedisEndpoint::parse(&url));
            proptest::prop_assert!(!parsed.contains("hunter2"), "{}", parsed);
            proptest::prop_assert!(!shown(&url).contains("hunter2"), "{}", shown(&url));
        }
    }

    #[test]
    fn companions_share_the_locks_slot() {
        let keys = Keys::new("ha:miner:global_leader").unwrap();
        assert_eq!(keys.record(), "{ha:miner:global_leader}:record");
        assert_eq!(Keys::new("{m}:lock").unwrap().record(), "{m}:lock:record");
        assert_eq!(Keys::new("a{b").unwrap().events(), "{a{b}:events");
        for bad in ["", "a}b", "a{}b", "}{"] {
            assert!(Keys::new(bad).is_err(), "{bad}");
        }
    }
}
