//! How much memory an agent keeps: a leader and a standby with their miners, scraped and probed, for a
//! while. Prints the peak resident memory; asserts nothing.
//!
//! `make bench-memory MINUTES=60`

use std::time::{Duration, Instant};

use stage::cost::status;
use stage::{Agent, Miner, Redis};

fn main() {
    let minutes = std::env::var("MINUTES")
        .ok()
        .and_then(|it| it.parse().ok())
        .unwrap_or(1.0);
    let redis = Redis::start();
    let agents = ["a", "b"].map(|name| Agent::start(name, &redis, &[]));
    agents.iter().for_each(Agent::wait_until_up);
    let _miners = agents
        .each_ref()
        .map(|agent| Miner::start(&agent.name, agent, &redis));
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let (mut most, mut threads) = ([0; 2], [0; 2]);
    while Instant::now() < end {
        for (index, agent) in agents.iter().enumerate() {
            for path in ["/ready", "/metrics", "/status"] {
                // A machine that hangs for seconds must not end the hour of measuring.
                if let Err(error) = agent.get(path) {
                    eprintln!("{}{path}: {error}", agent.name);
                }
            }
            most[index] = most[index].max(status(agent.pid(), "VmRSS"));
            threads[index] = threads[index].max(status(agent.pid(), "Threads"));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let role = |agent: &Agent| if agent.leads() { "leader" } else { "standby" };
    for (index, agent) in agents.iter().enumerate() {
        let (most, threads) = (most[index], threads[index]);
        println!(
            "{:<8} {most} kB resident at most, {threads} threads, {minutes} min",
            role(agent)
        );
    }
}
