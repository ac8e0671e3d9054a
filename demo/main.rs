//! Plays the incident in a terminal, with two agents, two miners and a real Redis. It measures every time that it prints, and
//! exits with 0 only if every step happened.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use stage::{Agent, Miner, Redis, boottime_ns, check_acts, wait_for, without_script_place};

const TTL: Duration = Duration::from_secs(3);
const FLAGS: [&str; 4] = ["--lease-ttl", "3s", "--memory-every", "1s"];
const SOON: Duration = Duration::from_secs(10);
/// A small Redis, soon full.
const MAXMEMORY: &str = "8mb";

struct Teller {
    colours: bool,
    steps: usize,
}

/// An agent and its miner, as a pod would hold them.
struct Pod {
    agent: Agent,
    miner: Miner,
    /// The miners before this one: the check covers their records too.
    killed: Vec<Miner>,
}

fn main() {
    let declined = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let mut teller = Teller {
        colours: std::io::stdout().is_terminal() && !declined,
        steps: 0,
    };
    let began = Instant::now();

    let redis = Redis::with(&["--maxmemory", MAXMEMORY]);
    let info = redis.tell(&["INFO", "server"]);
    let version = info
        .lines()
        .find(|line| line.starts_with("redis_version"))
        .unwrap_or_default();
    teller.chapter("Two pods, each a miner with its agent, and one Redis");
    teller.say(&format!(
        "a fresh Redis ({version}) with maxmemory {MAXMEMORY}; the lock's TTL is {TTL:?}"
    ));

    if let Some(miner) = std::env::var_os("UNDERSTUDY_MINER") {
        let language = PathBuf::from(miner);
        let language = language.file_name().unwrap_or_default().display();
        teller.say(&format!("the miners are those of examples/{language}"));
    }

    let mut pods = first_election(&mut teller, &redis);
    miner_dies(&mut teller, &redis, &mut pods);
    redis_fills(&mut teller, &redis, &pods);
    leader_dies_in_oom(&mut teller, &redis, &mut pods);
    teller.say("reading what every miner recorded …");
    let miners = pods
        .iter()
        .flat_map(|pod| pod.killed.iter().chain([&pod.miner]));
    let terms = check_acts(&miners.collect::<Vec<_>>());
    teller.done(&format!("no two of them ever acted at the same time ({terms} terms), and every token is greater than the last"));
    drop(pods);
    as_it_was(&mut teller, &redis);

    let (steps, took) = (teller.steps, began.elapsed().as_secs());
    teller.chapter(&format!(
        "All {steps} steps happened, in {took} s. Everything is stopped again."
    ));
}

fn start(redis: &Redis, name: &str, flags: &[&str]) -> Pod {
    let agent = Agent::start(name, redis, &[&FLAGS[..], flags].concat());
    agent.wait_until_up();
    let miner = Miner::start(&format!("miner-{name}"), &agent, redis);
    Pod {
        agent,
        miner,
        killed: Vec::new(),
    }
}

fn first_election(teller: &mut Teller, redis: &Redis) -> Vec<Pod> {
    let since = boottime_ns();
    let alpha = start(redis, "alpha", &[]);
    let mut seen: Vec<String> = Vec::new();
    wait_for("alpha leads", SOON, || {
        let reason = alpha.agent.reason();
        if seen.last() != Some(&reason) {
            teller.say(&format!("alpha says: {reason}{}", explained(&reason)));
            seen.push(reason);
        }
        alpha.agent.leads().then_some(())
    });
    assert!(
        seen.iter().any(|reason| reason == "store_settling"),
        "a fresh Redis settles first: {seen:?}"
    );
    let told = alpha.miner.wait_until_told_to_lead(since, SOON);
    let token = alpha.agent.token().unwrap_or_default();
    teller.done(&format!(
        "alpha elected after {}, fencing token {token}",
        since_then(since, told)
    ));
    let beta = start(redis, "beta", &[]);
    beta.agent.wait_for_reason("held_by_other", SOON);
    teller.done(&format!("beta stands by: {}", beta.agent.reason()));
    vec![alpha, beta]
}

fn explained(reason: &str) -> &'static str {
    match reason {
        "store_settling" => {
            "   (Redis has just started: a leader that outlived its lock may still come back)"
        }
        "no_miner" => "   (no miner campaigns yet)",
        _ => "",
    }
}

/// The first pod's miner is killed; the second leads.
fn succeed(redis: &Redis, pods: &mut [Pod]) -> String {
    let since = boottime_ns();
    pods[0].miner.kill();
    let told = pods[1].miner.wait_until_told_to_lead(since, SOON);
    pods[1].miner.wait_until_acting(since, SOON);
    let took = since_then(since, told);
    // The container restarts, as the kubelet would restart it, and the pods swap roles.
    let restarted = Miner::start(
        &format!("miner-{}", pods[0].agent.name),
        &pods[0].agent,
        redis,
    );
    let killed = std::mem::replace(&mut pods[0].miner, restarted);
    pods[0].killed.push(killed);
    pods[0].agent.wait_for_reason("held_by_other", SOON);
    pods.swap(0, 1);
    took
}

fn miner_dies(teller: &mut Teller, redis: &Redis, pods: &mut [Pod]) {
    teller.chapter("The leader's miner is killed");
    let token = pods[0].agent.token();
    teller.say("kill -9 miner-alpha");
    let took = succeed(redis, pods);
    assert!(pods[0].agent.token() > token, "the token grows");
    teller.done(&format!("beta's miner was told that it leads after {took}"));
}

fn redis_fills(teller: &mut Teller, redis: &Redis, pods: &[Pod]) {
    teller.chapter("Heavy traffic fills Redis");
    let refused = fill(redis);
    teller.say(&format!("SET traffic:… {refused}"));
    let leader = &pods[0].agent;
    let (code, body) = wait_for("/ready says so", SOON, || {
        leader.get("/ready").ok().filter(|it| it.0 == 503)
    });
    teller.say(&format!("GET /ready → {code} {}", body.trim()));
    assert!(body.contains("redis_oom"));
    let warned = wait_for("the memory warning", SOON, || {
        leader
            .logged(&["WARN", "used_memory_bytes", "usage_ratio"])
            .into_iter()
            .next()
    });
    teller.say(&shorten(&warned));
    show_metric(teller, leader, "ha_miner_redis_memory_usage_ratio");
    show_metric(teller, leader, "ha_miner_redis_writable");
    teller.done(&format!("{} still leads: {}", leader.name, leader.reason()));
    assert!(leader.leads());
}

/// Writes until Redis refuses, and returns its error. The last value is large, so that Redis is well above its limit and
/// stays there.
fn fill(redis: &Redis) -> String {
    let value = "x".repeat(100_000);
    for number in 0..50 {
        redis.tell(&["SET", &format!("traffic:{number}"), &value]);
    }
    redis.tell(&["SETRANGE", "traffic:large", "6000000", "x"]);
    let refused = redis.tell(&["SET", "traffic:next", "x"]);
    assert!(
        refused.starts_with("-OOM"),
        "Redis should refuse writes: {refused}"
    );
    refused
}

fn leader_dies_in_oom(teller: &mut Teller, redis: &Redis, pods: &mut [Pod]) {
    teller.chapter("Redis is out of memory, and the leader dies");
    let (leader, other) = (pods[0].agent.name.clone(), pods[1].agent.name.clone());
    teller.say(&format!("kill -9 miner-{leader}"));
    let took = succeed(redis, pods);
    teller.done(&format!(
        "{other} elected out of memory; its miner was told after {took}"
    ));
    let elected = pods[0].agent.logged(&["WARN", "elected, although"]);
    teller.say(&shorten(elected.last().map_or("", String::as_str)));

    let (leader, other) = (pods[0].agent.name.clone(), pods[1].agent.name.clone());
    teller.say(&format!(
        "kill -9 the whole pod {leader}, agent and miner: nobody is left to release the lock"
    ));
    let since = boottime_ns();
    pods[0].agent.kill();
    pods[0].miner.kill();
    let told = pods[1].miner.wait_until_told_to_lead(since, SOON);
    pods[1].miner.wait_until_acting(since, SOON);
    teller.done(&format!(
        "{other} elected out of memory after {}, once the lease of {TTL:?} had run out",
        since_then(since, told)
    ));
    show_metric(
        teller,
        &pods[1].agent,
        "ha_miner_leader_elections_under_oom_total",
    );
}

/// The same failure without the way around OOM: what happened in the incident.
fn as_it_was(teller: &mut Teller, redis: &Redis) {
    teller.chapter("As it was before: the same failure with --acquire-under-oom=false");
    redis.tell(&["FLUSHALL"]);
    let mut pods = ["gamma", "delta"].map(|name| {
        let pod = start(redis, name, &["--acquire-under-oom=false"]);
        if name == "gamma" {
            pod.agent.wait_until_leading(SOON);
        }
        pod
    });
    pods[1].agent.wait_for_reason("held_by_other", SOON);
    teller.say("gamma leads, delta stands by; Redis is filled again");
    fill(redis);
    teller.say("kill -9 miner-gamma");
    let since = Instant::now();
    pods[0].miner.kill();
    let refused =
        "ha_miner_leader_acquisition_failures_total{instance=\"delta\",reason=\"redis_oom\"}";
    wait_for("three refusals", SOON, || {
        (pods[1].agent.metric(refused) >= Some(3.0)).then_some(())
    });
    for line in pods[1].agent.logged(&["ERROR", "acquisition refused"]) {
        teller.say(&shorten(&line));
    }
    let refusals = pods[1].agent.metric(refused).unwrap_or_default();
    teller.say(&format!("{refused} {refusals}"));
    assert!(pods.iter().all(|pod| !pod.agent.leads()), "nobody leads");
    assert!(pods[1].miner.acts().is_empty(), "nobody acts");
    teller.done(&format!(
        "no leader for {:.1} s and counting: the incident again, but visible this time",
        since.elapsed().as_secs_f64()
    ));
    redis.tell(&["FLUSHALL"]);
    pods[1].agent.wait_until_leading(SOON);
    teller.done("memory was freed: delta leads");
}

/// The time between two moments on CLOCK_BOOTTIME.
fn since_then(since: u64, then: u64) -> String {
    let took = Duration::from_nanos(then.saturating_sub(since));
    if took < Duration::from_secs(1) {
        format!("{:.1} ms", took.as_secs_f64() * 1000.0)
    } else {
        format!("{:.2} s", took.as_secs_f64())
    }
}

fn show_metric(teller: &Teller, agent: &Agent, name: &str) {
    let (_, body) = agent.get("/metrics").expect("the agent answers");
    let line = body
        .lines()
        .find(|line| line.starts_with(name))
        .expect("the metric is there");
    teller.say(line);
}

/// A log line without its timestamp, its hint and the place in the script.
fn shorten(line: &str) -> String {
    let line = line.split_once(' ').map_or(line, |(_, rest)| rest).trim();
    without_script_place(line.split(" hint=").next().unwrap_or(line))
}

impl Teller {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.into()
        }
    }

    fn chapter(&self, title: &str) {
        println!("\n{}", self.paint("1", title));
    }

    fn say(&self, text: &str) {
        println!("    {}", self.paint("2", text));
    }

    /// Reports a step that has happened.
    fn done(&mut self, text: &str) {
        self.steps += 1;
        println!("  {} {text}", self.paint("32", "ok"));
    }
}
