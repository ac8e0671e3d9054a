use super::*;
use crate::endpoint::redacted;

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
        "redis-sentinel://u:p@a,u:p@b/m",
        "redis-cluster://a,u:p@b",
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
fn what_is_not_known_to_be_an_option_is_not_named() {
    let endpoint = RedisEndpoint::parse("redis://h?pool_size=9&hunter=x").unwrap();
    assert_eq!(endpoint.ignored, ["pool_size", "…"]);
}

/// Nothing of a malformed URL is shown, and no secret of a valid one.
#[track_caller]
fn tells_nothing(url: &str, secret: &str) {
    let parsed = RedisEndpoint::parse(url).map(|mut endpoint| {
        // A secret in place of the user name would be shown.
        endpoint.login.username = None;
        endpoint
    });
    let told = match &parsed {
        Ok(endpoint) => format!("{endpoint:?} {}", endpoint.place),
        Err(expected) => expected.clone(),
    };
    let told = format!("{told} {}", redacted(url));
    assert!(!told.contains(secret), "{url}: {told}");
}

#[test]
fn no_secret_is_shown() {
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
        "h:6380,password=hunter2,ssl=True",
        "redis://h:1,password=hunter2",
        "host=h password=hunter2",
        "redis-cluster://h:1,password=hunter2",
        "redis-sentinel://a,password=hunter2/m",
        "redis-sentinel://a/m,password=hunter2",
        "redis+unix:///r.sock,password=hunter2",
        "redis+unix:///r.sock password=hunter2",
        "redis://h;password=hunter2",
        "redis://h:6379/password=hunter2",
        "redis://h:hunter2",
        "redis://h:hunter2/0@x",
        "redis://h%2Chunter2%3Dx",
        "redis://u:63#hunter2@h",
        "redis:hunter2",
        "hunter2://h",
        "redis://h?hunter2",
        "redis://h/0?db=hunter2",
        "redis://h?skip_verify=hunter2",
    ] {
        tells_nothing(url, "hunter2");
    }
}

#[test]
fn what_would_be_another_secret_is_refused() {
    assert!(RedisEndpoint::parse("redis://:a\nb@h").is_err());
    assert!(RedisEndpoint::parse("redis://u:63#rest@h").is_err());
    let endpoint = RedisEndpoint::parse(" redis://:a@h\n").unwrap();
    let password = Password::Given(Secret::new("a"));
    assert_eq!(endpoint.login.password, Some(password));
}

const SCHEME: &str =
    "(redis|rediss|redis\\+unix|unix|redis-sentinel|redis-cluster|http|.{0,3})(://|:|//|)";

proptest::proptest! {
    #[test]
    fn no_url_makes_it_panic_and_no_password_is_shown(
        scheme in SCHEME,
        user in "[^@:/]{0,5}",
        rest in ".{0,30}",
        any in ".{0,40}",
    ) {
        let _ = RedisEndpoint::parse(&any);
        tells_nothing(&format!("{scheme}{user}:hunter2@{rest}"), "hunter2");
    }

    #[test]
    fn no_setting_with_a_secret_is_shown_wherever_it_stands(
        scheme in SCHEME,
        before in "([a-z0-9.:,/?@=&%#\\[\\] ]|:6379|/0|%40|h,){0,12}",
        key in "[,; /?&]{0,2}(password|pass|pwd|auth|Password)=",
        after in "([a-z0-9.:,/?@=&%#\\[\\] ]|,ssl=True|/0|@h){0,8}",
    ) {
        tells_nothing(&format!("{scheme}{before}{key}hunter2{after}"), "hunter2");
    }
}
