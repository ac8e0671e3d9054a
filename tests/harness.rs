//! The faults that the other tests inject are real.

mod support;

use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

use support::miner::Event;
use support::process::{Process, Signal};
use support::redis::{Redis, RedisOptions};
use support::resp::Reply;

const MIB: u64 = 1024 * 1024;

fn refused_for_oom(reply: &Reply) -> bool {
    reply.error().is_some_and(|it| it.starts_with("OOM "))
}

#[test]
fn in_hard_oom_redis_refuses_a_set_and_answers_a_ping() {
    let redis = Redis::start();
    redis.fill_to_oom();
    for _ in 0..100 {
        assert!(refused_for_oom(&redis.cli(&["SET", "k", "v"])));
    }
    assert_eq!(redis.cli(&["PING"]).text(), Some("PONG"));
    redis.relieve();
    assert!(redis.cli(&["SET", "k", "v"]).is_ok());
    assert_eq!(redis.cli(&["GET", "k"]), Reply::Text("v".into()));
}

#[test]
fn a_full_redis_refuses_a_large_write() {
    let redis = Redis::start_with(RedisOptions {
        maxmemory: 8 * MIB,
        ..RedisOptions::default()
    });
    redis.fill();
    assert!(refused_for_oom(&redis.cli(&[
        "SET",
        "k",
        &"v".repeat(100_000)
    ])));
    redis.fill_to_oom();
    assert!(refused_for_oom(&redis.cli(&["SET", "k", "v"])));
    redis.relieve();
    assert_eq!(redis.info("maxmemory"), (8 * MIB).to_string());
}

#[test]
fn a_paused_redis_accepts_connections_and_answers_nothing() {
    let redis = Redis::start();
    redis.pause();
    let error = redis.try_cli(&["SET", "k", "v"]).expect_err("no answer");
    assert!(
        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{error}"
    );
    redis.resume();
    // The write that timed out ran all the same.
    support::wait::wait_until("the late write", Duration::from_secs(2), || {
        redis.cli(&["GET", "k"]) == Reply::Text("v".into())
    });
}

#[test]
fn a_killed_redis_comes_back_empty_unless_persistent() {
    for persistent in [false, true] {
        let mut redis = Redis::start_with(RedisOptions {
            persistent,
            ..RedisOptions::default()
        });
        let (address, run_id) = (redis.address(), redis.info("run_id"));
        redis.cli(&["SET", "k", "v"]);
        redis.kill();
        let error = redis.try_cli(&["PING"]).expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        redis.restart();
        assert_eq!(redis.address(), address);
        assert_ne!(redis.info("run_id"), run_id);
        assert_eq!(redis.cli(&["GET", "k"]) != Reply::Nil, persistent);
    }
}

#[test]
fn a_password_is_asked_for() {
    let redis = Redis::start_with(RedisOptions {
        password: Some("opensesame"),
        ..RedisOptions::default()
    });
    assert_eq!(redis.cli(&["PING"]).text(), Some("PONG"));
    assert_eq!(
        redis.url(),
        format!("redis://:opensesame@{}", redis.address())
    );
    let mut stream =
        std::io::BufReader::new(std::net::TcpStream::connect(redis.address()).unwrap());
    let stranger = support::resp::ask(&mut stream, &["PING"]).unwrap();
    assert!(
        stranger.error().unwrap().starts_with("NOAUTH"),
        "{stranger:?}"
    );
}

#[test]
fn a_dropped_redis_is_gone_with_its_directory() {
    let redis = Redis::start();
    let (address, dir) = (redis.address(), redis.dir().to_owned());
    assert!(dir.join("redis.sock").exists());
    drop(redis);
    assert!(std::net::TcpStream::connect(address).is_err());
    assert!(!dir.exists());
}

#[test]
fn a_process_is_read_to_its_end_and_its_signals_arrive() {
    let mut ended = Process::start(
        "sh",
        Command::new("sh").args(["-c", "echo one; echo two >&2; exit 3"]),
    );
    assert_eq!(ended.wait_exit(Duration::from_secs(5)).code(), Some(3));
    assert!(ended.said("one").is_some() && ended.said("two").is_some());
    let mut stopped = Process::start("sleep", Command::new("sleep").arg("60"));
    stopped.pause();
    stopped.signal(Signal::TERM);
    assert!(
        stopped.exited().is_none(),
        "a stopped process takes no SIGTERM"
    );
    stopped.resume();
    assert!(!stopped.wait_exit(Duration::from_secs(5)).success());
}

#[test]
fn a_line_of_the_miners_log_is_understood() {
    let event = Event::parse("12 act token=7 accepted=yes").unwrap();
    assert_eq!(
        (event.at_ns, event.name.as_str(), event.number("token")),
        (12, "act", 7)
    );
    let event = Event::parse(r#"13 no_agent error="transport error: a=b" tries=2"#).unwrap();
    assert_eq!(
        (event.field("error"), event.number("tries")),
        ("transport error: a=b", 2)
    );
    assert_eq!(Event::parse("14 disconnected ").unwrap().fields.len(), 0);
    assert_eq!(Event::parse("half a line"), None);
}
