//! Redis' URL, as a miner's own configuration has it.

use percent_encoding::percent_decode_str;
use url::Url;

use super::redis::{RedisAddress, RedisEndpoint, RedisPlace, TlsFiles};
use super::secret::{Login, Password, Secret};

/// Why a URL is refused: what is allowed instead. It never holds a part of the URL that may be secret.
pub type Allowed = String;

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

impl RedisEndpoint {
    /// # Errors
    /// What is allowed instead.
    pub fn parse(text: &str) -> Result<Self, Allowed> {
        let (text, hosts) = one_host(text);
        let url = Url::parse(&with_host(&text))
            .map_err(|error| format!("redis://[user:password@]host[:port][/db] ({error})"))?;
        // It may be the rest of a password: it is neither kept nor shown.
        if url.path().contains('@') {
            return Err(UNESCAPED.into());
        }
        let plain = url.scheme().replacen("rediss", "redis", 1);
        let tls = (plain != url.scheme()).then(TlsFiles::default);
        let one = || -> Result<_, Allowed> {
            match hosts.as_slice() {
                [_, _, ..] => {
                    Err("one host, or redis-sentinel:// or redis-cluster:// for several".into())
                }
                _ => Ok(RedisPlace::Server(address(&url, REDIS_PORT))),
            }
        };
        let mut endpoint = match plain.as_str() {
            "redis" => Self::tcp(&url, one()?),
            "redis+unix" | "unix" if tls.is_none() => Self::unix(&url),
            "redis-sentinel" => Self::sentinel(&url, servers(&hosts, SENTINEL_PORT)?),
            "redis-cluster" => Self::cluster(&url, servers(&hosts, REDIS_PORT)?),
            _ => Err(
                "a URL that starts with redis://, rediss://, redis+unix://, redis-sentinel:// or redis-cluster://"
                    .into(),
            ),
        }?;
        endpoint.tls = tls;
        Ok(endpoint)
    }

    fn tcp(url: &Url, place: RedisPlace) -> Result<Self, Allowed> {
        let mut endpoint = Self::of(url, place)?;
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
        Self::of(url, RedisPlace::Server(RedisAddress::Unix(path.into())))
    }

    fn sentinel(url: &Url, sentinels: Vec<RedisAddress>) -> Result<Self, Allowed> {
        let master = decoded(url.path().trim_matches('/'))?;
        if master.is_empty() || master.contains('/') {
            return Err(
                "redis-sentinel://host[:26379][,host…]/NAME[?db=N], with the name of the primary as the \
                 sentinels know it"
                    .into(),
            );
        }
        Self::of(url, RedisPlace::Sentinel { sentinels, master })
    }

    fn cluster(url: &Url, seeds: Vec<RedisAddress>) -> Result<Self, Allowed> {
        let endpoint = Self::tcp(url, RedisPlace::Cluster { seeds })?;
        if endpoint.database != 0 {
            return Err(
                "redis-cluster://host[:6379][,host…] without a database: a cluster has only 0"
                    .into(),
            );
        }
        Ok(endpoint)
    }

    fn of(url: &Url, place: RedisPlace) -> Result<Self, Allowed> {
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
                    endpoint.ignored.push(name.into());
                }
                // As above.
                _ => return Err(UNESCAPED.into()),
            }
        }
        Ok(endpoint)
    }
}

const UNESCAPED: &str = "a URL with options such as ?db=0 behind the host (in a user or a password `/` is written \
                         %2F, `?` %3F, `#` %23 and `@` %40)";

/// The URL standard knows one host a URL: the URL with the first one, and all of them.
fn one_host(text: &str) -> (String, Vec<String>) {
    let Some((scheme, user, hosts, rest)) = parts(text) else {
        return (text.into(), Vec::new());
    };
    let all: Vec<String> = hosts.split(',').map(Into::into).collect();
    let first = all.first().map_or("", String::as_str);
    (format!("{scheme}://{user}{first}{rest}"), all)
}

/// Scheme, user with its `@`, hosts, and what follows.
fn parts(text: &str) -> Option<(&str, &str, &str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (user, hosts) = authority
        .rfind('@')
        .map_or(("", authority), |at| authority.split_at(at + 1));
    Some((scheme, user, hosts, rest))
}

fn servers(hosts: &[String], port: u16) -> Result<Vec<RedisAddress>, Allowed> {
    let read = |host: &String| {
        let url = Url::parse(&format!("redis://{host}")).ok();
        let url = url.filter(|url| {
            url.host_str().is_some_and(|host| !host.is_empty()) && url.username().is_empty()
        })?;
        Some(address(&url, port))
    };
    let all: Option<Vec<_>> = hosts.iter().map(read).collect();
    // Whoever is named twice has one vote.
    let once = |all: Vec<RedisAddress>| {
        let seen = |at: usize| all.iter().take(at).any(|it| all.get(at) == Some(it));
        (0..all.len()).all(|at| !seen(at)).then_some(all)
    };
    all.filter(|all| !all.is_empty())
        .and_then(once)
        .ok_or_else(|| "a list of different hosts such as a:6379,b:6379,[::1]:6379".into())
}

fn address(url: &Url, port: u16) -> RedisAddress {
    let host = url.host_str().filter(|host| !host.is_empty());
    RedisAddress::Tcp {
        host: host.unwrap_or(LOCAL).trim_matches(['[', ']']).into(),
        port: url.port().unwrap_or(port),
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
        let RedisPlace::Server(RedisAddress::Tcp { host, port }) = endpoint.place else {
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
        assert_eq!(endpoint.login.username.as_deref(), Some("u@x"));
        let password = Password::Given(Secret::new("p/w"));
        assert_eq!(endpoint.login.password, Some(password));
        assert_eq!(endpoint.ignored, ["dial_timeout", "pool_size"]);
        for url in [
            "redis+unix:///run/r.sock?db=4",
            "unix://u:p@/run/r.sock?db=4",
        ] {
            let endpoint = RedisEndpoint::parse(url).unwrap();
            let socket = RedisAddress::Unix("/run/r.sock".into());
            assert_eq!(endpoint.place, RedisPlace::Server(socket));
            assert_eq!(endpoint.database, 4);
        }
    }

    #[test]
    fn several_hosts_are_sentinels_or_the_nodes_of_a_cluster() {
        let at = |host: &str, port| RedisAddress::Tcp {
            host: host.into(),
            port,
        };
        let sentinel = RedisEndpoint::parse("redis-sentinel://u:p@s1:5,s2,[::1]:7/mymaster?db=3");
        let sentinel = sentinel.unwrap();
        let place = RedisPlace::Sentinel {
            sentinels: vec![at("s1", 5), at("s2", 26379), at("::1", 7)],
            master: "mymaster".into(),
        };
        assert_eq!((sentinel.place, sentinel.database), (place, 3));
        assert_eq!(sentinel.login.username.as_deref(), Some("u"));
        let cluster = RedisEndpoint::parse("rediss-cluster://n1:6380,n2").unwrap();
        let seeds = vec![at("n1", 6380), at("n2", 6379)];
        assert_eq!(cluster.place, RedisPlace::Cluster { seeds });
        assert!(cluster.tls.is_some());
        assert!(RedisEndpoint::parse("rediss://r").unwrap().tls.is_some());
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
            "redis://a,b",
            "rediss+unix:///p",
            "redis-sentinel://a,b",
            "redis-sentinel://a,,b/m",
            "redis-sentinel://a,b,a/m",
            "redis-sentinel://a:x/m",
            "redis-sentinel:///m",
            "redis-cluster://a/1",
            "redis-cluster://a?db=1",
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
            "redis://u:63?hunter2=x@h",
            "redis-sentinel://u:123/hunter2@h",
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
            scheme in "redis|rediss|redis\\+unix|unix|redis-sentinel|redis-cluster|http|.{0,3}",
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
}
