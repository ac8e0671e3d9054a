#![no_main]
//! A Redis URL, as an operator may type it. Its password is never shown.

use libfuzzer_sys::fuzz_target;
use understudy::endpoint::{RedisEndpoint, redacted};

const SECRET: &str = "hunter2";

fuzz_target!(|parts: (&str, &str, &str)| {
    let (scheme, user, rest) = parts;
    let _ = (RedisEndpoint::parse(rest).is_ok(), redacted(rest));
    // Where the secret stands at a password's place it is one.
    let said_elsewhere = [scheme, user, rest].iter().any(|it| it.contains(SECRET));
    let another_place = scheme.contains(':') || user.contains(['@', '/', '?', '#', ':']);
    if another_place || said_elsewhere {
        return;
    }
    let url = format!("{scheme}://{user}:{SECRET}@{rest}");
    assert!(!format!("{:?}", RedisEndpoint::parse(&url)).contains(SECRET));
    assert!(!redacted(&url).contains(SECRET), "{}", redacted(&url));
});
