//! A double of today's built-in elector, and understudy, side by side under one fault at a time.
//! Prints for each how long nobody acted, and whether two acted at once. `make compare RUNS=8 FAULT=OOM`

#[path = "../tests/chaos/checker.rs"]
mod checker;
#[allow(dead_code, reason = "the chaos uses more of it")]
#[path = "../tests/chaos/names.rs"]
mod names;
#[allow(dead_code, reason = "the chaos uses more of it")]
#[path = "../tests/chaos/pods.rs"]
mod pods;

use std::path::Path;
use std::thread::{self, sleep};
use std::time::Duration;

use pods::{Pod, Setting, Subject};
use rustix::process::Signal;
use stage::proxy::Mode;
use stage::{Redis, boottime_ns, send, wait_for};

const TTL: Duration = Duration::from_secs(3);
/// The interval of both: a third of the TTL.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// The longest wait for a leader, in proportion to the TTL: with a TTL of 30 s it would be two minutes.
const PATIENCE: Duration = Duration::from_secs(12);

/// How many runs to make at a time.
const LANES: usize = 8;

/// One fault, at the pod that leads.
struct Fault {
    name: &'static str,
    strike: fn(&mut Scene),
    /// How long to watch after it.
    watch: Duration,
}

struct Scene {
    redis: Redis,
    leader: Pod,
    standby: Pod,
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "leader's miner SIGKILLed",
        strike: |scene| scene.leader.kill_miner(),
        watch: Duration::from_secs(7),
    },
    Fault {
        name: "leader's pod SIGKILLed",
        strike: kill_pod,
        watch: Duration::from_secs(7),
    },
    Fault {
        name: "leader's miner shut down cleanly",
        strike: |scene| scene.leader.stop_miner(),
        watch: Duration::from_secs(7),
    },
    Fault {
        name: "leader's miner SIGKILLed in hard OOM",
        strike: |scene| {
            scene.redis.fill();
            scene.leader.kill_miner();
        },
        watch: PATIENCE,
    },
    Fault {
        name: "leader's pod SIGKILLed in hard OOM",
        strike: |scene| {
            scene.redis.fill();
            kill_pod(scene);
        },
        watch: PATIENCE,
    },
    Fault {
        name: "one renewal answered by an error",
        strike: |scene| {
            let rights = |change| {
                scene
                    .redis
                    .tell(&["ACL", "SETUSER", "default", change, "-eval"])
            };
            rights("-evalsha");
            sleep(HEARTBEAT);
            scene.redis.tell(&["ACL", "SETUSER", "default", "+@all"]);
        },
        watch: Duration::from_secs(7),
    },
    Fault {
        name: "Redis silent for 0.1 TTL",
        strike: |scene| silent(scene, TTL / 10),
        watch: Duration::from_secs(7),
    },
    Fault {
        name: "Redis silent for 0.5 TTL",
        strike: |scene| silent(scene, TTL / 2),
        watch: Duration::from_secs(8),
    },
    Fault {
        name: "leader's pod SIGSTOPped past the TTL, continued",
        strike: |scene| {
            send(scene.leader.elector(), Signal::STOP);
            scene.leader.suspend_miner();
            sleep(2 * TTL);
            scene.leader.let_miner_continue();
            send(scene.leader.elector(), Signal::CONT);
        },
        watch: Duration::from_secs(3),
    },
    Fault {
        name: "Redis restarted without its data",
        strike: |scene| {
            scene.redis.kill();
            scene.redis.start_again();
        },
        watch: Duration::from_secs(7),
    },
    Fault {
        name: "packets to Redis dropped, for the leader",
        strike: |scene| scene.leader.proxy.set(Mode::BlackHole),
        watch: Duration::from_secs(10),
    },
];

fn kill_pod(scene: &mut Scene) {
    // Killing the miner first would be a hand-over, so kill both at once.
    send(scene.leader.elector(), Signal::KILL);
    scene.leader.kill_miner();
}

fn silent(scene: &Scene, time: Duration) {
    scene.redis.pause();
    sleep(time);
    scene.redis.resume();
}

/// One run: how long nobody acted after the fault, and how often two did.
fn run(subject: Subject, fault: &Fault, number: u32) -> (f64, usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let register = Redis::start();
    let redis = Redis::start();
    let flags: &[&str] = match subject {
        Subject::Incumbent => &["--ttl-ms", "3000", "--heartbeat-ms", "1000"],
        Subject::Understudy => &["--lease-ttl", "3s", "--redis-timeout", "1s"],
    };
    let setting = Setting {
        subject,
        redis: redis.port,
        register: &register,
        folder: folder.path(),
    };
    let acts = setting.acts();
    let leader = setting.pod("leader", flags);
    wait_for("somebody acts", 5 * TTL, || acted(&leader.log()));
    // Start each run at another phase of the heartbeats.
    sleep(HEARTBEAT * (number * 37 % 100) / 100);
    let standby = setting.pod("standby", flags);
    sleep(HEARTBEAT * 2 + HEARTBEAT * (number * 61 % 100) / 100);
    let mut scene = Scene {
        redis,
        leader,
        standby,
    };
    let from = boottime_ns();
    (fault.strike)(&mut scene);
    sleep(fault.watch);
    let to = boottime_ns();
    drop(scene.leader);
    drop(scene.standby);
    let report = checker::check(&acts, from, to);
    (
        report.longest_gap,
        report.overlaps + report.violations.len(),
    )
}

fn acted(log: &Path) -> Option<()> {
    let text = std::fs::read_to_string(log).ok()?;
    text.contains(" act ").then_some(())
}

fn main() {
    let runs = std::env::var("RUNS")
        .ok()
        .and_then(|it| it.parse().ok())
        .unwrap_or(8);
    println!("TTL {TTL:?}, heartbeat and renewal every {HEARTBEAT:?}, {runs} runs each");
    println!("longest time without a leader, in TTLs: p50, p99, most; runs with two at once\n");
    println!(
        "{:<48} {:>26} {:>26}",
        "fault", "today's elector", "understudy"
    );
    let only = std::env::var("FAULT").unwrap_or_default();
    for fault in FAULTS.iter().filter(|fault| fault.name.contains(&only)) {
        let cells = [Subject::Incumbent, Subject::Understudy]
            .map(|subject| cell(runs_of(subject, fault, runs), fault));
        println!("{:<48} {:>26} {:>26}", fault.name, cells[0], cells[1]);
    }
}

/// Makes several runs at a time, because each mostly waits.
fn runs_of(subject: Subject, fault: &Fault, runs: u32) -> Vec<(f64, usize)> {
    let numbers: Vec<u32> = (0..runs).collect();
    let lanes = numbers.chunks(numbers.len().div_ceil(LANES).max(1));
    thread::scope(|scope| {
        let lanes: Vec<_> = lanes
            .map(|lane| {
                let run = |number: &u32| run(subject, fault, *number);
                scope.spawn(move || lane.iter().map(run).collect::<Vec<_>>())
            })
            .collect();
        let done = lanes.into_iter().map(|lane| lane.join().expect("no panic"));
        done.flatten().collect()
    })
}

fn cell(mut runs: Vec<(f64, usize)>, fault: &Fault) -> String {
    runs.sort_by(|(gap, _), (other, _)| gap.total_cmp(other));
    let ttls = |percent: usize| {
        let (gap, _) = runs[(runs.len() * percent).div_ceil(100).max(1) - 1];
        let nobody = gap > fault.watch.as_secs_f64() - 0.5;
        if nobody && fault.watch == PATIENCE {
            "never".into()
        } else {
            format!("{:.3}", gap / TTL.as_secs_f64())
        }
    };
    let twice = match runs.iter().filter(|(_, two)| *two > 0).count() {
        0 => String::new(),
        twice => format!(" two: {twice}"),
    };
    format!("{} {} {}{twice}", ttls(50), ttls(99), ttls(100))
}
