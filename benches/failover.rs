//! How long a failover takes: real agents and miners on a real Redis, each fault many times, calm and
//! out of memory. Prints what it measured; asserts no time.
//!
//! `ROWS=exec` prints only the rows of programs under `understudy exec`; the other groups are `calm`, `oom`, `crowd` and
//! `idle`.
//!
//! In the last row miners are killed after an idle minute (`IDLE=60`), on a Redis that closes connections after five idle
//! seconds. It uses many pairs, each with its own lock, so that they are idle at the same time.
//!
//! The rows of `crowd` are resignations beside 1, 3 and 10 standbys: by Redis' clock, from the script that releases the lock
//! to the first that begins a term.
//!
//! `make bench-failover RUNS=100`: the time from the signal to the moment at which the other miner is
//! told that it leads. If an agent is killed, its lock must run out first; the time after that is
//! printed as well.

mod programs;

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use stage::cost::{Monitor, Sent};
use stage::{Agent, Miner, Redis, boottime_ns, wait_for};

use programs::{Programs, Struck};

/// What `ROWS` may name, in this order unless it does.
const GROUPS: [&str; 5] = ["calm", "oom", "exec", "crowd", "idle"];
const TTL: Duration = Duration::from_secs(3);
const FLAGS: [&str; 2] = ["--lease-ttl", "3s"];
const SOON: Duration = Duration::from_secs(20);

/// How many pairs are idle at the same time.
const IDLE_PAIRS: u32 = 20;

/// Two pods on one Redis; the first leads.
struct Pair {
    /// The Redis that the miners write to.
    register: String,
    /// The pair's own Redis, if any, which ends with the pair.
    redis: Option<Redis>,
    flags: Vec<String>,
    pods: Vec<(Agent, Miner)>,
}

fn main() {
    let runs = number("RUNS").unwrap_or(100);
    let rows = std::env::var("ROWS").unwrap_or_else(|_| GROUPS.join(","));
    let rows: Vec<_> = rows.split(',').collect();
    if let Some(unknown) = rows.iter().find(|it| !GROUPS.contains(it)) {
        eprintln!("ROWS: expected some of {GROUPS:?}, not {unknown:?}");
        std::process::exit(64);
    }
    println!(
        "TTL {TTL:?}; milliseconds from the signal until the other miner is told that it leads"
    );
    println!(
        "{:<44} {:>5} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "", "runs", "min", "p50", "p90", "p99", "max"
    );
    for group in rows {
        match group {
            "exec" => programs(runs),
            "crowd" => crowds(runs),
            "idle" => idle(runs),
            "oom" => miners("out of memory", Pair::start(true), runs),
            _ => miners(group, Pair::start(false), runs),
        }
    }
}

fn miners(when: &str, mut pair: Pair, runs: u32) {
    print(
        when,
        "miner killed",
        (0..runs).map(|_| pair.kill_miner()).collect(),
    );
    print(
        when,
        "miner ends in order",
        (0..runs).map(|_| pair.end_miner()).collect(),
    );
    print(
        when,
        "understudy resign",
        (0..runs).map(|_| pair.resign()).collect(),
    );
    let (all, after): (Vec<_>, Vec<_>) = (0..few(runs)).map(|_| pair.kill_pod()).unzip();
    print(when, "pod killed", all);
    print(when, "pod killed, after its lock had run out", after);
}

/// Until the other program's first line: its own start is a part of that, and has a row of its own.
fn programs(runs: u32) {
    let mut pair = Programs::beside_agents();
    for (fault, whom) in [
        ("program killed", Struck::Program),
        ("guardian killed", Struck::Guardian),
        ("exec killed", Struck::Exec),
    ] {
        let took = (0..runs).map(|_| pair.kill(whom)).collect();
        print("exec --agent", fault, took);
    }
    drop(pair);
    let mut pair = Programs::alone();
    for (fault, whom) in [
        ("program killed", Struck::Program),
        ("guardian killed", Struck::Guardian),
    ] {
        let took = (0..runs).map(|_| pair.kill(whom)).collect();
        print("exec", fault, took);
    }
    let (all, after): (Vec<_>, Vec<_>) = (0..few(runs))
        .map(|_| pair.kill_exec_and_its_agent())
        .unzip();
    print("exec", "exec killed", all);
    print("exec", "exec killed, after its lock had run out", after);
    let own = (0..runs).map(|_| pair.start_alone()).collect();
    print("without exec", "the program's own start", own);
}

/// By Redis' clock: see [`release_to_begin`].
fn crowds(runs: u32) {
    for standbys in [1, 3, 10] {
        let took = release_to_begin(standbys, runs);
        let what = format!("resign, {standbys} standbys");
        print(&what, "release to begin", took);
    }
}

fn idle(runs: u32) {
    let idle = Duration::from_secs(number("IDLE").unwrap_or(60).into());
    let redis = Redis::with(&["--timeout", "5"]);
    let mut pairs: Vec<_> = (0..runs.min(IDLE_PAIRS))
        .map(|it| Pair::idle(&redis, it))
        .collect();
    let mut took = Vec::new();
    while took.len() < runs as usize {
        std::thread::sleep(idle);
        took.extend(pairs.iter_mut().map(Pair::kill_miner));
    }
    print(&format!("{idle:?} idle, timeout 5"), "miner killed", took);
}

/// A fault that costs a TTL is tried less often.
fn few(runs: u32) -> u32 {
    (runs / 5).max(1)
}

fn number(name: &str) -> Option<u32> {
    std::env::var(name).ok()?.parse().ok()
}

fn print(when: &str, fault: &str, mut took: Vec<Duration>) {
    took.sort();
    let millis = |took: Duration| took.as_secs_f64() * 1000.0;
    // The nearest rank: of 100 runs, p99 is the 99th.
    let rank = |percent: usize| took[(took.len() * percent).div_ceil(100).max(1) - 1];
    let [min, max] = [took[0], took[took.len() - 1]].map(millis);
    let [p50, p90, p99] = [50, 90, 99].map(|it| millis(rank(it)));
    let runs = took.len();
    println!(
        "{:<44} {runs:>5} {min:>8.1} {p50:>8.1} {p90:>8.1} {p99:>8.1} {max:>8.1}",
        format!("{when}: {fault}")
    );
}

/// By Redis' clock, as MONITOR shows it.
fn release_to_begin(standbys: usize, runs: u32) -> Vec<Duration> {
    let redis = Redis::start();
    let flags = [&FLAGS[..], &["--miner-liveness", "always"]].concat();
    let agents: Vec<_> = (0..=standbys)
        .map(|it| Agent::start(&format!("a{it}"), &redis, &flags))
        .collect();
    let leader = || {
        wait_for("one leads, the others wait", 2 * SOON, || {
            let leader = agents.iter().position(Agent::leads)?;
            let mut others = agents.iter().enumerate().filter(|(it, _)| *it != leader);
            let wait = others.all(|(_, it)| it.reason() == "held_by_other");
            wait.then_some(&agents[leader])
        })
    };
    agents.iter().for_each(Agent::wait_until_up);
    let monitor = Monitor::start(&redis);
    let resignation = |_| {
        let leader = leader();
        monitor.take();
        resign(leader);
        let mut sent = Vec::new();
        wait_for("a release and a begin", SOON, || {
            sent.extend(monitor.take());
            let mut rest = sent
                .iter()
                .skip_while(|it| operation(it) != Some("release"));
            let release = rest.next()?;
            let begin = rest.find(|it| operation(it) == Some("begin"))?;
            Some(Duration::from_micros(begin.at - release.at))
        })
    };
    (0..runs).map(resignation).collect()
}

/// What a script on the lock does, told by its first argument; not those of a rehearsal, which are on a shadow of it.
fn operation(sent: &Sent) -> Option<&'static str> {
    let real = sent.command.starts_with("EVAL") && !sent.arguments.contains(":shadow:");
    match *sent.words().get(4).filter(|_| real)? {
        "begin" => Some("begin"),
        "renew" => Some("renew"),
        members if members.ends_with(":members") => Some("look"),
        _ => Some("release"),
    }
}

fn resign(agent: &Agent) {
    let command = Command::new(agent.program())
        .args(["resign", "--hold-off", "100ms", "--agent"])
        .arg(agent.address())
        .output()
        .expect("the command runs");
    assert!(command.status.success(), "{command:?}");
}

impl Pair {
    fn start(oom: bool) -> Self {
        let redis = Redis::start();
        let pair = Self::on(&redis, &FLAGS);
        if oom {
            redis.fill();
        }
        Self {
            redis: Some(redis),
            ..pair
        }
    }

    /// A pair with the default timing and its own lock.
    fn idle(redis: &Redis, number: u32) -> Self {
        let key = format!("miner-{number}");
        Self::on(redis, &["--lock-key", &key, "--lease-ttl", "30s"])
    }

    fn on(redis: &Redis, flags: &[&str]) -> Self {
        let url = redis.url();
        let flags = [&["--redis-url", &url], flags].concat();
        let mut pair = Self {
            register: redis.url(),
            redis: None,
            flags: flags.iter().map(ToString::to_string).collect(),
            pods: Vec::new(),
        };
        for name in ["a", "b"] {
            let pod = pair.pod(name);
            if name == "a" {
                pod.0.wait_until_leading(2 * SOON);
            }
            pair.pods.push(pod);
        }
        pair.pods[1].0.wait_for_reason("held_by_other", SOON);
        pair
    }

    fn pod(&self, name: &str) -> (Agent, Miner) {
        let flags: Vec<_> = self.flags.iter().map(String::as_str).collect();
        let agent = Agent::spawn(name, &flags);
        agent.wait_until_up();
        let miner = self.miner(&agent);
        (agent, miner)
    }

    fn miner(&self, agent: &Agent) -> Miner {
        let flags = ["--redis-url", &self.register, "--work-every-ms", "50"];
        Miner::spawn(&agent.name, &agent.address(), &flags)
    }

    /// Waits for the other miner, and swaps the roles.
    fn succeeded(&mut self, since: u64) -> Duration {
        let told = self.pods[1].1.wait_until_told_to_lead(since, SOON);
        self.pods.swap(0, 1);
        Duration::from_nanos(told - since)
    }

    fn kill_miner(&mut self) -> Duration {
        let since = boottime_ns();
        self.pods[0].1.kill();
        self.miner_gone(since)
    }

    fn end_miner(&mut self) -> Duration {
        let since = boottime_ns();
        self.pods[0].1.signal(Signal::TERM);
        self.miner_gone(since)
    }

    fn miner_gone(&mut self, since: u64) -> Duration {
        let took = self.succeeded(since);
        self.pods[1].1 = self.miner(&self.pods[1].0);
        self.pods[1].0.wait_for_reason("held_by_other", SOON);
        took
    }

    fn resign(&mut self) -> Duration {
        let since = boottime_ns();
        resign(&self.pods[0].0);
        let took = self.succeeded(since);
        self.pods[1].0.wait_for_reason("held_by_other", SOON);
        took
    }

    /// Agent and miner die together, so nobody releases the lock. Also returns the time after the lock's end in Redis.
    fn kill_pod(&mut self) -> (Duration, Duration) {
        let redis = self.redis.as_ref().expect("a Redis of its own");
        let left = redis.tell(&["PTTL", "ha:miner:global_leader"]);
        let left = left
            .trim_start_matches(':')
            .parse()
            .map(Duration::from_millis)
            .unwrap_or_default();
        let since = boottime_ns();
        self.pods[0].0.kill();
        self.pods[0].1.kill();
        let took = self.succeeded(since);
        let name = self.pods[1].0.name.clone();
        self.pods[1] = self.pod(&name);
        self.pods[1].0.wait_for_reason("held_by_other", SOON);
        (took, took.saturating_sub(left))
    }
}
