//! The same scenario on every engine, behind Sentinel, and in a cluster: elected, the miner dies, it dies out of
//! memory, Redis restarts without its data.

use std::path::{Path, PathBuf};
use std::time::Duration;

use stage::{
    Agent, Cluster, Miner, Redis, Sentinels, boottime_ns, check_acts, engines, version, wait_for,
};

const TTL: Duration = Duration::from_secs(3);
const FLAGS: [&str; 4] = ["--lease-ttl", "3s", "--redis-timeout", "1s"];
const SOON: Duration = Duration::from_secs(8);
/// How long a hand-over may take on a busy machine; the benchmark measures how long it does take.
const FAST: Duration = Duration::from_millis(1000);

/// `primary` is the server that holds the lock under `url`.
fn tell_the_story(what: &str, url: &str, primary: &mut Redis) {
    let register = Redis::start();
    let flags = [&["--redis-url", url], &FLAGS[..]].concat();
    let agents = ["a", "b"].map(|name| Agent::spawn(name, &flags));
    agents.iter().for_each(Agent::wait_until_up);
    let mut first = Miner::start("first", &agents[0], &register);
    first.wait_until_acting(0, 3 * TTL);
    let mut second = Miner::start("second", &agents[1], &register);
    agents[1].wait_for_reason("held_by_other", SOON);

    let killed = boottime_ns();
    first.kill();
    handed_over(what, &second, killed);

    let third = Miner::start("third", &agents[0], &register);
    agents[0].wait_for_reason("held_by_other", SOON);
    primary.fill();
    let killed = boottime_ns();
    second.kill();
    handed_over(&format!("{what}, out of memory"), &third, killed);
    primary.relieve();

    let token = agents[0].token();
    primary.kill();
    let restarted = boottime_ns();
    primary.start_again();
    // It renews at its next turn at the latest.
    wait_for("the term is written again", SOON, || {
        let holder = primary.tell(&["GET", "ha:miner:global_leader"]);
        holder.starts_with("a-").then_some(())
    });
    third.wait_until_acting(restarted, SOON);
    assert_eq!(agents[0].token(), token, "{what}: the same term");
    assert_eq!(check_acts(&[&first, &second, &third]), 3, "{what}");
}

fn handed_over(what: &str, to: &Miner, since: u64) {
    let told = to.wait_until_told_to_lead(since, SOON);
    let took = Duration::from_nanos(told - since);
    assert!(took < FAST, "{what}: {took:?}");
    to.wait_until_acting(since, SOON);
}

#[test]
fn on_every_engine() {
    for engine in engines() {
        let mut redis = Redis::of(&engine, &[]);
        let url = redis.url();
        tell_the_story(&name(&engine), &url, &mut redis);
    }
}

/// Redis 8 with I/O threads, which change when it sees which command.
#[test]
fn with_io_threads() {
    let mut redis = Redis::of(&newest(engines()), &["--io-threads", "3"]);
    let url = redis.url();
    tell_the_story("io-threads 3", &url, &mut redis);
}

/// Redis 8, if it is among the engines; `make test` provides it.
fn newest(engines: Vec<PathBuf>) -> PathBuf {
    let newest = engines
        .iter()
        .find(|it| version(it).contains("Redis server v=8."));
    newest.or(engines.last()).expect("an engine").clone()
}

fn name(engine: &Path) -> String {
    engine.display().to_string()
}

#[test]
fn behind_sentinel() {
    let mut set = Sentinels::start();
    let url = set.url();
    tell_the_story("Sentinel", &url, &mut set.primary);
}

#[test]
fn in_a_cluster() {
    let mut cluster = Cluster::start();
    let url = cluster.url();
    let (owner, _) = cluster.owner("ha:miner:global_leader");
    tell_the_story("Cluster", &url, &mut cluster.nodes[owner]);
}

#[test]
fn in_a_cluster_by_ipv6() {
    let Some(mut cluster) = Cluster::by_ipv6() else {
        println!("skipped: this machine has no IPv6");
        return;
    };
    let url = cluster.url();
    let (owner, _) = cluster.owner("ha:miner:global_leader");
    tell_the_story("Cluster, IPv6", &url, &mut cluster.nodes[owner]);
}
