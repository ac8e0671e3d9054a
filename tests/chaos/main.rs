//! Real agents, real miners, a real Redis, and every fault of the design that one machine can make, drawn from
//! a seed, several at once. The miners record what they did; a checker reads only these records.
//!
//! `make chaos MINUTES=90 ENGINE=/path/to/redis-server SEED=7`; `SUBJECT=incumbent` runs the same schedule on a
//! double of today's built-in elector.

#[path = "../simulation/dice.rs"]
#[allow(dead_code, reason = "the simulation uses more of it")]
mod dice;

mod checker;
mod faults;
mod names;
mod pods;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use dice::Dice;
use faults::Undo;
use pods::{Pod, Setting, Subject};
use rustix::process::Signal;
use stage::proxy::Mode;
use stage::{Redis, boottime_ns, engines, is_6, send};

pub const TTL: Duration = Duration::from_secs(2);
const PODS: usize = 3;

pub struct Chaos {
    pub dice: Dice,
    pub redis: Redis,
    pub redis_up: bool,
    pub replica: Redis,
    /// Whether Redis' wall clock can be set.
    pub clock: bool,
    pub pods: Vec<Pod>,
    undos: Vec<(Instant, Undo)>,
    /// When an agent last started, when a command last emptied the store, and when a restart last lost it.
    pub born: Instant,
    pub flushed: Instant,
    pub emptied: Instant,
    pub no_newborn_until: Instant,
    counts: BTreeMap<&'static str, u64>,
    /// The faults so far, and when.
    story: Vec<(u64, &'static str)>,
}

impl Chaos {
    fn new(subject: Subject, engine: &Path, seed: u64, folder: &Path, register: &Redis) -> Self {
        let mut options = vec!["--lua-time-limit", "100", "--repl-diskless-sync-delay", "0"];
        let slow = Redis::slow_to_load(engine, 2);
        options.extend(slow.iter().map(String::as_str));
        if !is_6(engine) {
            options.extend(["--enable-protected-configs", "yes"]);
        }
        let with_clock = Redis::with_clock(engine, &options);
        let clock = with_clock.is_some();
        let redis = with_clock.unwrap_or_else(|| Redis::of(engine, &options));
        let replica = match clock {
            true => Redis::with_clock(engine, &options).expect("as before"),
            false => Redis::of(engine, &options),
        };
        let port = redis.port.to_string();
        replica.tell(&["REPLICAOF", "127.0.0.1", &port]);
        let setting = Setting {
            subject,
            redis: redis.port,
            register,
            folder,
        };
        let pods = (0..PODS)
            .map(|number| {
                let name = ["a", "b", "c"][number];
                let state = folder.join(format!("state-{name}"));
                let state = state.to_str().expect("UTF-8");
                let short: &[&str] = match subject {
                    Subject::Incumbent => &["--ttl-ms", "2000", "--heartbeat-ms", "666"],
                    Subject::Understudy => &["--lease-ttl", "2s", "--redis-timeout", "500ms"],
                };
                // One keeps its state, like a pod with a volume, and one is upgraded and rolled back.
                let remembers: &[&str] = match (subject, number) {
                    (Subject::Understudy, 0) => &["--state-dir", state],
                    _ => &[],
                };
                // One has longer grants: `exec` takes none shorter than a second.
                let longer: &[&str] = match (subject, number) {
                    (Subject::Understudy, 1) => &["--miner-timeout", "1s"],
                    _ => &[],
                };
                let mut pod = setting.pod(name, &[short, remembers, longer].concat());
                pod.mixed = number == 2;
                // Two of them have the same name, from their second start on.
                if number == 1 {
                    pod.instance = "a".into();
                    pod.exec = true;
                }
                pod
            })
            .collect();
        let now = Instant::now();
        Self {
            dice: Dice::new(seed),
            redis,
            redis_up: true,
            replica,
            clock,
            pods,
            undos: Vec::new(),
            born: now,
            flushed: now,
            emptied: now,
            no_newborn_until: now,
            counts: BTreeMap::new(),
            story: Vec::new(),
        }
    }

    /// `None` if Redis is away or refuses: then the fault is not possible.
    pub fn ask(&self, words: &[&str]) -> Option<String> {
        let answer = self.redis.ask(words).ok();
        answer.filter(|answer| !answer.starts_with('-'))
    }

    pub fn later(&mut self, pause: Duration, undo: Undo) {
        self.undos.push((Instant::now() + pause, undo));
    }

    fn undo_until(&mut self, now: Instant) {
        let due = self
            .undos
            .extract_if(.., |(at, _)| *at <= now)
            .collect::<Vec<_>>();
        for (_, undo) in due {
            self.undo(&undo);
        }
    }

    fn run(&mut self, end: Instant) {
        while Instant::now() < end {
            if let Some(name) = self.fault() {
                *self.counts.entry(name).or_default() += 1;
                self.story.push((boottime_ns(), name));
            }
            let pause = Duration::from_millis(self.dice.below(1200));
            let next = Instant::now() + pause;
            while Instant::now() < next {
                self.undo_until(Instant::now());
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Ends all faults.
    fn heal(&mut self) {
        // If Redis does not answer, tell it again: it may be paused for some more seconds.
        let patience = Instant::now() + 5 * TTL;
        while !self.undos.is_empty() && Instant::now() < patience {
            let rest = std::mem::take(&mut self.undos);
            for (_, undo) in rest {
                self.undo(&undo);
            }
        }
        self.redis.wait_until_up();
        // A command that timed out may have run after the one that undoes it.
        const WELL: [&[&str]; 6] = [
            &["REPLICAOF", "NO", "ONE"],
            &["ACL", "SETUSER", "default", "+@all"],
            &["CONFIG", "SET", "maxmemory-policy", "noeviction"],
            &["CONFIG", "SET", "maxmemory", "0"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
            &["CONFIG", "SET", "save", ""],
        ];
        for words in WELL {
            self.redis.tell(words);
        }
        for pod in &mut self.pods {
            pod.proxy.set(Mode::Pass);
            pod.names.tell(Duration::ZERO, Some(pod.proxy.house()));
            send(pod.elector(), Signal::CONT);
            pod.let_miner_continue();
        }
        // By then, processes that were told to stop have stopped.
        std::thread::sleep(2 * TTL);
        for pod in &mut self.pods {
            pod.complete(false);
        }
    }
}

fn number(name: &str) -> Option<f64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_two_miners_act_at_once_whatever_fails() {
    let minutes = number("MINUTES").unwrap_or(2.0);
    let seed = number("SEED").map_or_else(|| boottime_ns() % 1_000_000, |seed| seed as u64);
    let subject = match std::env::var("SUBJECT").as_deref() {
        Ok("incumbent") => Subject::Incumbent,
        _ => Subject::Understudy,
    };
    let engines = match std::env::var_os("ENGINE") {
        // Each server runs in a folder of its own.
        Some(engine) => vec![std::path::absolute(engine).expect("a path")],
        None => engines(),
    };
    let share = Duration::from_secs_f64(minutes * 60.0 / engines.len() as f64);
    // Each engine gets its own faults.
    for (seed, engine) in (seed..).zip(engines) {
        println!(
            "{} under {subject:?}, seed {seed}, {share:.0?}",
            engine.display()
        );
        try_engine(subject, &engine, seed, share);
    }
}

fn try_engine(subject: Subject, engine: &Path, seed: u64, share: Duration) {
    let folder = tempfile::tempdir().expect("a folder");
    // The Redis for the fenced writes has no faults.
    let register = Redis::start();
    let mut chaos = Chaos::new(subject, engine, seed, folder.path(), &register);
    if !chaos.clock {
        println!(
            "skipped: jumps of Redis' clock, for which libfaketime is missing or clashes with this engine"
        );
    }
    if subject == Subject::Understudy && std::env::var_os("UNDERSTUDY_PREVIOUS_BIN").is_none() {
        println!("skipped: agents of two versions, for which `scripts/previous` builds the other");
    }
    std::thread::sleep(3 * TTL);
    let from = boottime_ns();
    chaos.run(Instant::now() + share);
    let to = boottime_ns();
    chaos.heal();
    let healed = boottime_ns();
    std::thread::sleep(2 * TTL + Duration::from_secs(2));
    let end = boottime_ns();
    let faults: u64 = chaos.counts.values().sum();
    for (name, count) in &chaos.counts {
        println!("{count:>8} {name}");
    }
    let story = std::mem::take(&mut chaos.story);
    drop(chaos);
    let acts = folder.path().join("acts");
    let report = checker::check(&acts, from, to);
    println!("{faults} faults: {report}");
    let (gap_from, gap_to) = report.longest_at;
    let during = |at: u64| (gap_from.saturating_sub(5_000_000_000)..gap_to).contains(&at);
    let told: Vec<_> = story
        .iter()
        .filter(|(at, _)| during(*at))
        .map(|(at, name)| format!("{:+.1} {name}", (*at as f64 - gap_from as f64) / 1e9))
        .collect();
    println!("the longest gap: {}", told.join("; "));
    let after = checker::check(&acts, healed, end);
    // More than promised, because the machine may be busy.
    let led_again = after.longest_gap < (TTL + Duration::from_millis(3500)).as_secs_f64();
    if subject == Subject::Incumbent {
        return;
    }
    if !report.violations.is_empty() || !led_again {
        let kept = folder.keep();
        panic!(
            "{:?}\nleads again after the last fault: {led_again}\nlogs: {}\n\
             make chaos SEED={seed} ENGINE={}",
            report.violations.iter().take(5).collect::<Vec<_>>(),
            kept.display(),
            engine.display()
        );
    }
}
