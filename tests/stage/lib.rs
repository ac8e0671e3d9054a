//! Real processes for the tests, the demo and the benchmark: a Redis, agents, miners, and what they did.

mod agent;
pub mod cost;
mod miner;
pub mod proxy;
mod redis;
mod session;
mod topology;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Child;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub use agent::Agent;
pub use miner::{Miner, check_acts, samples};
pub use redis::{Redis, engine, engines, is_6, version};
pub use session::Session;
pub use topology::{Cluster, PASSWORDS, Sentinels, cut};

/// Waits until `done` returns something, at most `deadline`; then fails with `what`.
pub fn wait_for<T>(what: &str, deadline: Duration, mut done: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        // Look once more after the deadline, because a busy machine may have slept through it.
        let late = start.elapsed() >= deadline;
        if let Some(found) = done() {
            return found;
        }
        assert!(!late, "waited {deadline:?} for: {what}");
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

/// A loopback port that was free a moment ago, below the kernel's range for outgoing connections: a client that
/// redials a port of that range while its server is down can be given the very same port, and then talks to itself.
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Each process starts at a different port.
    let start = (std::process::id().wrapping_mul(101) % u32::from(COUNT)) as u16;
    let mut ports = (0..COUNT).map(|_| {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        FIRST + (start + next) % COUNT
    });
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(free).expect("a loopback port")
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

/// `exec`, its guardian, the program: each the first child of the one before.
pub fn generations(child: &Child) -> Vec<Pid> {
    let parent = |pid: i32| -> Option<i32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let first_child = |of: &i32| {
        let processes = std::fs::read_dir("/proc").ok()?;
        let mut pids = processes.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
        pids.find(|pid| parent(*pid) == Some(*of))
    };
    let pids = std::iter::successors(Some(child.id() as i32), first_child);
    pids.filter_map(Pid::from_raw).collect()
}

/// SIGSTOP: it runs no instruction more when this returns.
pub fn pause(child: &Child) {
    send(child, Signal::STOP);
    let threads = PathBuf::from(format!("/proc/{}/task", child.id()));
    wait_for("SIGSTOP takes effect", Duration::from_secs(5), || {
        let mut threads = threads.read_dir().ok()?;
        let stopped = |path: PathBuf| {
            // `pid (name) state …`, and the name may hold anything.
            let stat = std::fs::read_to_string(path.join("stat")).ok()?;
            stat.rsplit_once(") ")?.1.starts_with('T').then_some(())
        };
        threads.try_for_each(|thread| stopped(thread.ok()?.path()))
    });
}

/// A program that checks deploy/, as fetched by `scripts/tools`. `None`, with a message, if it is not there.
pub fn tool(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("UNDERSTUDY_TEST_TOOLS") else {
        println!(
            "skipped: {name}, since UNDERSTUDY_TEST_TOOLS does not name the folder of scripts/tools"
        );
        return None;
    };
    let found = PathBuf::from(folder).join(name);
    assert!(found.is_file(), "{} is missing", found.display());
    Some(found)
}

/// A log line without the script's hash and position, which Redis adds to an error.
pub fn without_script_place(line: &str) -> String {
    match (
        line.split_once(" script: "),
        line.split_once("@user_script:"),
    ) {
        (Some((before, _)), Some((_, after))) => {
            let after = after.split_once(' ').map_or("", |(_, after)| after);
            format!("{before} {after}")
        }
        _ => line.to_owned(),
    }
}

/// A program of this project, built beside the running one.
pub fn program(variable: &str, name: &str) -> PathBuf {
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
