//! What a planned change costs: rolling updates of two and of five replicas, calm and out of memory, and resignations to a
//! named instance. Real agents and miners with the default settings. Prints what it measured; asserts no time.
//!
//! `make bench-rollout RUNS=50 RESIGNATIONS=100`. In an update each old pod is ended as soon as the new one beside it is
//! ready to take over, its miner before its agent, as with a native sidecar; the leader first, which is the hardest order: all
//! others could follow it. A gap is the time from the last act of one term to the first of the next; miners act every 5 ms.

use std::process::{Command, Output};
use std::time::Duration;

use benches::figures::{Figure, load};
use benches::setting;
use rustix::process::Signal;
use serde_json::Value;
use stage::{Agent, Miner, Redis, boottime_ns, check_acts, wait_for};

const SOON: Duration = Duration::from_secs(60);

/// An agent with its miner.
type Pod = (Agent, Miner);

/// The first leads.
struct Fleet {
    redis: Redis,
    pods: Vec<Pod>,
    /// So many pods were started: each has a name of its own.
    started: usize,
}

/// What the rows of one setting have measured.
#[derive(Default)]
struct Measured {
    hand_overs: Vec<f64>,
    /// In milliseconds, as the next two.
    gaps: Vec<f64>,
    longest: Vec<f64>,
    /// From the start of a new pod until it is ready to take over.
    ready: Vec<f64>,
}

fn main() {
    let (runs, resignations) = (setting("RUNS", 50), setting("RESIGNATIONS", 100));
    println!(
        "load average {:.2}; lengths in ms, least / p50 / p99 / most",
        load()
    );
    for oom in [false, true] {
        let when = if oom { "out of memory" } else { "calm" };
        for replicas in [2, 5] {
            let mut fleet = Fleet::start(replicas, oom);
            let mut all = Measured::default();
            (0..runs).for_each(|_| fleet.update(&mut all));
            println!("{when}: {runs} rolling updates of {replicas}");
            row("  hand-overs for each", all.hand_overs);
            row("  gap between two terms", all.gaps);
            row("  longest time without an act", all.longest);
            row("  start of a pod until it is a candidate", all.ready);
        }
        let mut fleet = Fleet::start(3, oom);
        let drained = (0..resignations).map(|_| fleet.resign()).collect();
        println!(
            "{when}: {resignations} times `understudy resign --to`, the named one led each time"
        );
        row("  end of the drain until the named one is told", drained);
    }
    println!("load average {:.2} in the end", load());
}

fn row(name: &str, measured: Vec<f64>) {
    let figure = Figure::of(measured);
    let [least, p50, p99, most] = [0, 50, 99, 100].map(|it| figure.at(it));
    println!("{name:<48} {least:>8.1} {p50:>8.1} {p99:>8.1} {most:>8.1}");
}

fn millis(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64() * 1000.0
}

impl Fleet {
    fn start(replicas: usize, oom: bool) -> Self {
        let mut fleet = Self {
            redis: Redis::start(),
            pods: Vec::new(),
            started: 0,
        };
        while fleet.pods.len() < replicas {
            let pod = fleet.pod();
            fleet.pods.push(pod);
            fleet.pods[0].0.wait_until_leading(SOON);
        }
        if oom {
            fleet.redis.fill();
        }
        fleet
    }

    /// A new one, as soon as it is ready.
    fn pod(&mut self) -> Pod {
        self.started += 1;
        let name = format!("miner-{}", self.started);
        let agent = Agent::start(&name, &self.redis, &[]);
        agent.wait_until_up();
        let miner = Miner::start(&name, &agent, &self.redis);
        self.wait_until_candidate(&name);
        (agent, miner)
    }

    fn wait_until_candidate(&self, name: &str) {
        let url = self.redis.url();
        wait_for("it is a candidate", SOON, || {
            let said = understudy(&["leader", "--json", "--redis-url", &url]);
            let said: Value = serde_json::from_slice(&said.stdout).ok()?;
            let all = said["candidates"].as_array()?;
            let found = all.iter().find(|it| it["instance"] == name)?;
            (found["ready"] == true).then_some(())
        });
    }

    fn update(&mut self, all: &mut Measured) {
        // The age of a pod is known to the second.
        std::thread::sleep(Duration::from_secs(1));
        let (from, replicas) = (boottime_ns(), self.pods.len());
        let mut old: Vec<Pod> = std::mem::take(&mut self.pods);
        for (agent, miner) in &mut old {
            let started = boottime_ns();
            let new = self.pod();
            all.ready.push(millis(boottime_ns() - started));
            self.pods.push(new);
            miner.signal(Signal::TERM);
            miner.wait_until_gone(SOON);
            agent.signal(Signal::TERM);
            agent.wait_until_gone(SOON);
        }
        assert_eq!(self.pods.len(), replicas);
        wait_for("a new pod leads", SOON, || {
            self.pods.iter().position(|(agent, _)| agent.leads())
        });
        let now = boottime_ns();
        wait_for("its miner acts", SOON, || {
            let acted = |(_, miner): &Pod| miner.acts().last().is_some_and(|it| it.at >= now);
            self.pods.iter().position(acted)
        });
        let miners: Vec<_> = old.iter().chain(&self.pods).map(|(_, it)| it).collect();
        check_acts(&miners);
        let mut acts: Vec<_> = miners.iter().flat_map(|it| it.acts()).collect();
        acts.retain(|it| it.at >= from);
        acts.sort_by_key(|it| it.at);
        let pairs = || acts.windows(2).map(|it| (&it[0], &it[1]));
        let gaps = pairs().filter(|(last, next)| last.token != next.token);
        let gaps: Vec<_> = gaps.map(|(last, next)| millis(next.at - last.at)).collect();
        let longest = pairs().map(|(last, next)| next.at - last.at).max();
        all.hand_overs.push(gaps.len() as f64);
        all.gaps.extend(gaps);
        all.longest.push(millis(longest.expect("two acts")));
        // The leader of the next update is stopped first, too.
        let leader = self.pods.iter().position(|(agent, _)| agent.leads());
        self.pods.swap(0, leader.expect("one leads"));
    }

    /// To the next in turn. From the old miner's last word until the new one is told, in milliseconds.
    fn resign(&mut self) -> f64 {
        self.pods.rotate_left(1);
        let [(named, heir), .., (agent, miner)] = &self.pods[..] else {
            panic!("at least two pods");
        };
        self.wait_until_candidate(&named.name);
        let asked = boottime_ns();
        let address = agent.address();
        let words = ["resign", "--hold-off", "0s", "--agent", &address, "--to"];
        let said = understudy(&[&words[..], &[&named.name]].concat());
        assert!(said.status.success(), "{said:?}");
        let told = heir.wait_until_told_to_lead(asked, SOON);
        let drained = wait_for("the old miner has stopped", SOON, || {
            let lines = miner.lines().into_iter();
            let mut stopped = lines.filter(|(at, event, fields)| {
                *at >= asked && event == "role" && fields.contains("ROLE_STANDBY")
            });
            stopped.next().map(|(at, _, _)| at)
        });
        millis(told.saturating_sub(drained))
    }
}

fn understudy(words: &[&str]) -> Output {
    let program = stage::program("UNDERSTUDY_BIN", "understudy");
    let output = Command::new(program).args(words).output();
    output.expect("the command runs")
}
