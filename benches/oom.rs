//! One hour in which Redis refuses every write, and the leader is killed and restarted once a minute. How long does nobody
//! act? A double of today's elector, and understudy, each on its own Redis, side by side.
//! `make bench-oom MINUTES=60`

#[path = "../tests/chaos/checker.rs"]
mod checker;
#[allow(dead_code, reason = "the chaos uses more of it")]
#[path = "../tests/chaos/names.rs"]
mod names;
#[allow(dead_code, reason = "the chaos uses more of it")]
#[path = "../tests/chaos/pods.rs"]
mod pods;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use checker::Report;
use pods::{Setting, Subject};
use stage::{Redis, boottime_ns};

const KILL_EVERY: Duration = Duration::from_secs(60);

fn main() {
    let minutes = std::env::var("MINUTES")
        .ok()
        .and_then(|it| it.parse().ok())
        .unwrap_or(60.0);
    let time = Duration::from_secs_f64(minutes * 60.0);
    let reports = [Subject::Incumbent, Subject::Understudy]
        .map(|subject| thread::spawn(move || run(subject, time)))
        .map(|run| run.join().expect("no panic"));
    println!(
        "{minutes} minutes out of memory, the leader killed every {KILL_EVERY:.0?}; TTL 30 s, heartbeat 10 s"
    );
    for (name, report) in ["today's elector", "understudy"].iter().zip(reports) {
        println!("{name:<18} {report}");
    }
}

fn run(subject: Subject, time: Duration) -> Report {
    let folder = tempfile::tempdir().expect("a folder");
    let (redis, register) = (Redis::start(), Redis::start());
    // The defaults of both.
    let flags: &[&str] = match subject {
        Subject::Incumbent => &["--ttl-ms", "30000", "--heartbeat-ms", "10000"],
        Subject::Understudy => &[],
    };
    let setting = Setting {
        subject,
        redis: redis.port,
        register: &register,
        folder: folder.path(),
    };
    let mut pods = ["a", "b"].map(|name| setting.pod(name, flags));
    let acts = setting.acts();
    thread::sleep(Duration::from_secs(40));
    redis.fill();
    let (from, end) = (boottime_ns(), Instant::now() + time);
    while Instant::now() < end {
        thread::sleep(KILL_EVERY.min(end - Instant::now()));
        if let Some(leader) = pods.iter_mut().find(|pod| acted_lately(&pod.log())) {
            leader.kill_miner();
            thread::sleep(Duration::from_secs(1));
            leader.start_miner();
        }
    }
    let to = boottime_ns();
    drop(pods);
    checker::check(&acts, from, to)
}

/// Whether its last act is less than a second old.
fn acted_lately(log: &Path) -> bool {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let mut acts = text.lines().rev().filter(|line| line.contains(" act "));
    let last = acts
        .next()
        .and_then(|line| line.split(' ').next()?.parse::<u64>().ok());
    last.is_some_and(|at| boottime_ns() < at + 1_000_000_000)
}
