//! The faults that the other tests inject are real.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use stage::{Redis, Session, wait_for};

#[test]
fn in_hard_oom_redis_refuses_a_set_and_answers_a_ping() {
    let redis = Redis::start();
    redis.fill();
    for _ in 0..100 {
        let refused = redis.tell(&["SET", "k", "v"]);
        assert!(refused.starts_with("-OOM "), "{refused}");
    }
    assert_eq!(redis.tell(&["PING"]), "+PONG");
    redis.relieve();
    assert_eq!(redis.tell(&["SET", "k", "v"]), "+OK");
    assert_eq!(redis.tell(&["GET", "k"]), "v");
}

#[test]
fn a_paused_redis_accepts_connections_and_answers_nothing() {
    let redis = Redis::start();
    redis.pause();
    TcpStream::connect(("127.0.0.1", redis.port)).expect("the kernel accepts");
    let error = redis.ask(&["SET", "k", "v"]).expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    redis.resume();
    wait_for(
        "the write that timed out ran",
        Duration::from_secs(5),
        || (redis.tell(&["GET", "k"]) == "v").then_some(()),
    );
}

#[test]
fn a_killed_redis_comes_back_empty_at_the_same_port() {
    let mut redis = Redis::start();
    redis.tell(&["SET", "k", "v"]);
    redis.kill();
    let error = redis.ask(&["PING"]).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    redis.start_again();
    assert_eq!(redis.tell(&["DBSIZE"]), ":0");
}

#[test]
fn a_kept_connection_reads_each_reply_to_its_end() {
    let redis = Redis::start();
    let mut session = Session::open(redis.port, Duration::from_secs(5)).expect("Redis answers");
    let nested = "return {1, {'two', {}}, false, 'three'}";
    let mut ask = |words: &[&str]| session.ask(words).expect("Redis answers");
    assert_eq!(ask(&["EVAL", nested, "0"]), "*4");
    assert_eq!(ask(&["PING"]), "+PONG");
}

#[test]
fn a_redis_that_is_dropped_leaves_nothing() {
    let redis = Redis::start();
    let (port, directory) = (redis.port, redis.directory().to_owned());
    assert!(redis.socket().exists());
    drop(redis);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(!directory.exists());
}
