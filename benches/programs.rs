//! Two programs under `understudy exec`, on a Redis of their own; the first one runs.

use std::time::Duration;

use rustix::process::{Signal, kill_process};
use stage::{Agent, Miner, Redis, boottime_ns, program, wait_for};

const FLAGS: [&str; 2] = ["--lease-ttl", "3s"];
const SOON: Duration = Duration::from_secs(20);
const KEY: &str = "jobs:work";

/// Of the three processes: `exec`, its guardian, the program.
#[derive(Clone, Copy)]
pub enum Struck {
    Exec,
    Guardian,
    Program,
}

pub struct Programs {
    execs: Vec<Miner>,
    /// None: each `exec` is an agent itself.
    agents: Vec<Agent>,
    redis: Redis,
}

impl Programs {
    pub fn beside_agents() -> Self {
        let redis = Redis::start();
        let agents = ["a", "b"].map(|name| {
            let agent = Agent::start(name, &redis, &FLAGS);
            agent.wait_until_up();
            agent
        });
        Self::on(redis, agents.into())
    }

    pub fn alone() -> Self {
        Self::on(Redis::start(), Vec::new())
    }

    fn on(redis: Redis, agents: Vec<Agent>) -> Self {
        let mut pair = Self {
            execs: Vec::new(),
            agents,
            redis,
        };
        pair.execs.push(pair.exec("a"));
        pair.execs[0].wait_until_told_to_lead(0, 2 * SOON);
        pair.execs.push(pair.exec("b"));
        wait_until_waiting(&pair.execs[1]);
        pair
    }

    fn exec(&self, name: &str) -> Miner {
        let url = self.redis.url();
        let agent = self.agents.iter().find(|it| it.name == name);
        let address = agent.map(Agent::address);
        let flags = match &address {
            Some(address) => vec!["--agent", address],
            None => {
                let own = ["--instance", name, "--lock-key", KEY, "--redis-url", &url];
                [&FLAGS[..], &own].concat()
            }
        };
        let work = ["--redis-url", &url, "--work-every-ms", "50"];
        Miner::under_exec(name, &flags, &work)
    }

    /// Kills one of the three. Returns the time until the other program's first line.
    pub fn kill(&mut self, whom: Struck) -> Duration {
        let first = &mut self.execs[0];
        let victim = first.generations()[whom as usize];
        let since = boottime_ns();
        kill_process(victim, Signal::KILL).expect("it lives");
        first.wait_until_gone(SOON);
        let told = self.execs[1].wait_until_told_to_lead(since, SOON);
        self.execs[0] = self.exec(&self.execs[0].name);
        wait_until_waiting(&self.execs[0]);
        self.execs.swap(0, 1);
        Duration::from_nanos(told - since)
    }

    /// Nobody releases the lock. Also returns the time after its end in Redis.
    pub fn kill_exec_and_its_agent(&mut self) -> (Duration, Duration) {
        let left = self.redis.tell(&["PTTL", KEY]);
        let left = left.trim_start_matches(':').parse();
        let took = self.kill(Struck::Exec);
        let after = left.map(|left| took.saturating_sub(Duration::from_millis(left)));
        (took, after.unwrap_or_default())
    }

    /// The program's own start: without `exec`, until its first line.
    pub fn start_alone(&self) -> Duration {
        let since = boottime_ns();
        let url = self.redis.url();
        let worker = program("UNDERSTUDY_WORKER", "examples/worker");
        let alone = Miner::alone(&worker, "alone", &["--token", "0", "--redis-url", &url]);
        let told = alone.wait_until_told_to_lead(since, SOON);
        Duration::from_nanos(told - since)
    }
}

fn wait_until_waiting(exec: &Miner) {
    let what = format!("{} waits for the other", exec.name);
    wait_for(&what, SOON, || {
        exec.told().contains("held_by_other").then_some(())
    });
}
