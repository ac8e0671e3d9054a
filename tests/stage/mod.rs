//! Real processes for the tests, the demo and the benchmark: a Redis, agents, miners, and what they did.

#![allow(
    dead_code,
    reason = "each program that includes this uses a part of it"
)]
#![allow(clippy::disallowed_methods, reason = "real processes run on real time")]

mod agent;
mod miner;
mod redis;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub use agent::Agent;
#[allow(unused_imports, reason = "as above")]
pub use miner::{Miner, check_acts};
pub use redis::Redis;

/// Waits until `done` gives something, at most `deadline`; then fails with `what`.
pub fn wait_for<T>(what: &str, deadline: Duration, mut done: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(
            start.elapsed() < deadline,
            "waited {deadline:?} in vain for: {what}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Fails if `wrong` turns true within `duration`.
pub fn never(what: &str, duration: Duration, mut wrong: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < duration {
        assert!(!wrong(), "this must not happen: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    listener.local_addr().expect("its address").port()
}

/// CLOCK_BOOTTIME in nanoseconds: the clock of every log.
pub fn boottime_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

pub fn send(child: &Child, signal: Signal) {
    if let Some(pid) = Pid::from_raw(child.id() as i32) {
        // A process that has ended needs no signal.
        let _ = kill_process(pid, signal);
    }
}

/// A program of this project, built beside the running one.
fn program(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let mut at = std::env::current_exe().expect("the running program");
    while at.pop() {
        let found = at.join(name);
        if found.is_file() {
            return found;
        }
    }
    panic!("{name} is not built: run `cargo build --all-targets` first, or set {variable}");
}
