//! The list of candidates, and planned hand-overs.

use std::process::{Command, Output};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use stage::{Agent, Miner, Redis, boottime_ns, check_acts, never, wait_for};

const SOON: Duration = Duration::from_secs(20);
const FLAGS: [&str; 2] = ["--lease-ttl", "10s"];
const MEMBERS: &str = "{ha:miner:global_leader}:members";

fn understudy(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_understudy"));
    command.args(words).output().expect("the command runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn candidates(redis: &Redis) -> Vec<Value> {
    let said = understudy(&["leader", "--json", "--redis-url", &redis.url()]);
    let said: Value = serde_json::from_slice(&said.stdout).expect("JSON");
    said["candidates"].as_array().expect("a list").clone()
}

/// Waits until this agent is a candidate and ready to take over.
fn wait_until_ready(redis: &Redis, name: &str) {
    wait_for(&format!("{name} is ready"), SOON, || {
        let all = candidates(redis);
        let ready = |it: &&Value| it["instance"] == name && it["ready"] == true;
        all.iter().find(ready).map(|_| ())
    });
}

fn pod(name: &str, redis: &Redis, flags: &[&str]) -> (Agent, Miner) {
    let agent = Agent::start(name, redis, &[&FLAGS, flags].concat());
    agent.wait_until_up();
    let miner = Miner::start(name, &agent, redis);
    (agent, miner)
}

/// Starts agents of which the first leads and all are ready.
fn pods(names: &[&str], redis: &Redis) -> Vec<(Agent, Miner)> {
    let mut pods: Vec<(Agent, Miner)> = Vec::new();
    for name in names {
        pods.push(pod(name, redis, &[]));
        pods[0].0.wait_until_leading(SOON);
    }
    for (name, _) in names.iter().zip(&pods) {
        wait_until_ready(redis, name);
    }
    pods
}

#[test]
fn the_candidates_are_listed_out_of_memory_too_and_those_that_ended_are_not() {
    let redis = Redis::start();
    redis.fill();
    let mut pods = pods(&["a", "b"], &redis);
    let all = candidates(&redis);
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(
        (&all[0]["leads"], &all[1]["leads"]),
        (&true.into(), &false.into())
    );
    assert_eq!(all[1]["version"], env!("CARGO_PKG_VERSION"));
    let said = text(&understudy(&["leader", "--redis-url", &redis.url()]));
    assert!(
        said.contains("\n  a  leads, version ") && said.contains("\n  b  ready, version "),
        "{said}"
    );
    // An agent without a miner is not a candidate, and one that is gone disappears.
    pods[1].1.kill();
    wait_for("its entry is gone", SOON, || {
        (candidates(&redis).len() == 1).then_some(())
    });
    pods[0].0.kill();
    wait_for("its entry counts no more", SOON, || {
        candidates(&redis).is_empty().then_some(())
    });
}

#[test]
fn a_resignation_goes_to_the_one_that_is_named_or_is_refused() {
    let redis = Redis::start();
    let pods = pods(&["a", "b", "c"], &redis);
    let resign = |leader: usize, to: &str| {
        let address = pods[leader].0.address();
        let said = understudy(&[
            "resign",
            "--hold-off",
            "0s",
            "--agent",
            &address,
            "--to",
            to,
        ]);
        (said.status.code(), text(&said))
    };
    let (code, said) = resign(0, "d");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("known are: b, c"), "{said}");
    let (code, said) = resign(0, "");
    assert!(code == Some(64) && said.contains("--to"), "{said}");
    let (code, said) = resign(1, "c");
    assert!(code == Some(1) && said.contains("does not lead"), "{said}");
    assert!(pods[0].0.leads(), "nothing was changed");
    let mut leader = 0;
    for next in [2, 1, 0, 1, 2] {
        let names = ["a", "b", "c"];
        wait_until_ready(&redis, names[next]);
        let (code, said) = resign(leader, names[next]);
        assert_eq!(code, Some(0), "{said}");
        assert!(
            said.contains(&format!("{}-", names[next])) && said.contains(" leads; nobody led for "),
            "{said}"
        );
        assert!(pods[next].0.leads());
        leader = next;
    }
    let miners: Vec<_> = pods.iter().map(|(_, miner)| miner).collect();
    check_acts(&miners);
}

/// A named successor is frozen: the others wait one second for it, and no longer.
#[test]
fn a_successor_that_cannot_is_succeeded_a_second_later() {
    let redis = Redis::start();
    let pods = pods(&["a", "b", "c"], &redis);
    pods[1].0.signal(Signal::STOP);
    let asked = boottime_ns();
    let said = understudy(&["resign", "--agent", &pods[0].0.address(), "--to", "b"]);
    assert_eq!(said.status.code(), Some(0), "{}", text(&said));
    let led = pods[2].1.wait_until_told_to_lead(asked, SOON);
    let took = Duration::from_nanos(led - asked);
    assert!(
        (Duration::from_secs(1)..Duration::from_millis(1500)).contains(&took),
        "{took:?}"
    );
    pods[1].0.signal(Signal::CONT);
}

/// If the user may not write the list, nothing else changes. This is the ACL line of the previous version.
#[test]
fn without_the_permission_only_the_candidates_are_missing() {
    let redis = Redis::start();
    let words = "ACL SETUSER miner on >word ~* &* +@all -hdel -hgetall";
    assert_eq!(redis.tell(&words.split(' ').collect::<Vec<_>>()), "+OK");
    let url = format!("redis://miner:word@127.0.0.1:{}", redis.port);
    works_without_members(&redis, &url);
    let doctor = understudy(&["doctor", "--redis-url", &url]);
    assert_eq!(doctor.status.code(), Some(0), "{}", text(&doctor));
    assert!(
        text(&doctor).contains("refused: the list of candidates"),
        "{}",
        text(&doctor)
    );
    assert_eq!(redis.tell(&["EXISTS", MEMBERS]), ":0");
}

#[test]
fn a_key_of_another_type_in_the_members_place_harms_nobody() {
    let redis = Redis::start();
    redis.tell(&["LPUSH", MEMBERS, "x"]);
    works_without_members(&redis, &redis.url());
}

/// Anybody may write there, and an operator reads it on a terminal.
#[test]
fn what_no_agent_has_written_among_the_members_is_not_shown() {
    let redis = Redis::start();
    let pods = pods(&["a", "b"], &redis);
    let later = format!("{}000000", u32::MAX);
    let names = ["\u{202e}evil", "\x1b[31mred", "字", &"long".repeat(1000)];
    for (number, name) in names.iter().enumerate() {
        let entry = format!("{later} 1 5 1.0 {name} 7");
        redis.tell(&["HSET", MEMBERS, &format!("f{number}"), &entry]);
    }
    for number in 0..1000 {
        let entry = format!("{later} 1 5 1.0 foreign-{number} 7");
        redis.tell(&["HSET", MEMBERS, &format!("g{number}"), &entry]);
    }
    redis.tell(&["HSET", MEMBERS, "empty", ""]);
    let said = text(&understudy(&["leader", "--redis-url", &redis.url()]));
    assert!(said.is_ascii(), "{said}");
    assert!(
        said.lines()
            .all(|it| it.len() < 200 && !it.contains('\x1b')),
        "{said}"
    );
    assert_eq!(candidates(&redis).len(), 256);
    let killed = boottime_ns();
    pods[0].1.signal(Signal::KILL);
    pods[1].1.wait_until_told_to_lead(killed, SOON);
}

fn works_without_members(redis: &Redis, url: &str) {
    let flags = [&["--redis-url", url], &FLAGS[..]].concat();
    let mut agents = ["a", "b"].map(|name| Agent::spawn(name, &flags));
    agents.iter().for_each(Agent::wait_until_up);
    let mut first = Miner::start("a", &agents[0], redis);
    first.wait_until_acting(0, SOON);
    let second = Miner::start("b", &agents[1], redis);
    agents[1].wait_for_reason("held_by_other", SOON);
    assert!(candidates(redis).is_empty());
    let killed = boottime_ns();
    first.kill();
    second.wait_until_told_to_lead(killed, SOON);
    let again = Miner::start("again", &agents[0], redis);
    agents[0].wait_for_reason("held_by_other", SOON);
    let stopped = boottime_ns();
    agents[1].signal(Signal::TERM);
    agents[1].wait_until_gone(SOON);
    again.wait_until_told_to_lead(stopped, SOON);
}

/// If Redis refuses writes, agents still look as usual.
#[test]
fn a_look_works_where_nobody_can_write() {
    let redis = Redis::start();
    let pods = pods(&["a", "b"], &redis);
    redis.tell(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    wait_for("the leader's lease is over", SOON, || {
        (!pods[0].0.leads()).then_some(())
    });
    pods[1].0.wait_for_reason("redis_no_replicas", SOON);
    redis.tell(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    wait_for("somebody leads again", SOON, || {
        pods.iter().any(|(agent, _)| agent.leads()).then_some(())
    });
}

#[test]
fn one_that_is_no_candidate_watches_and_never_leads() {
    let redis = Redis::start();
    let (watcher, _miner) = pod("watcher", &redis, &["--candidate=false"]);
    watcher.wait_for_reason("not_candidate", SOON);
    wait_for("its miner is let in", SOON, || {
        let label = watcher.status()["miner"]["label"].clone();
        label.as_str().filter(|it| !it.is_empty()).map(|_| ())
    });
    never("it leads", Duration::from_secs(2), || watcher.leads());
    let (leader, _alive) = pod("a", &redis, &[]);
    leader.wait_until_leading(SOON);
    wait_for("it tells who leads", SOON, || {
        let leads = watcher.status()["leader_id"].as_str()?.starts_with("a-");
        leads.then_some(())
    });
    assert_eq!(candidates(&redis).len(), 1);
}

/// One new pod is ready before an old one is stopped, the leader first: `maxSurge: 1, maxUnavailable: 0`. `sidecar`: the
/// miner has ended before its agent is told to, as with a native sidecar; else both are told at once.
fn rolling_update(replicas: usize, sidecar: bool, fill: bool) {
    let redis = Redis::start();
    let old: Vec<_> = (0..replicas).map(|it| format!("old{it}")).collect();
    let names: Vec<_> = old.iter().map(String::as_str).collect();
    let mut old = pods(&names, &redis);
    if fill {
        redis.fill();
    }
    let from = boottime_ns();
    let mut new = Vec::new();
    for (agent, miner) in &mut old {
        // Start in another second than the previous one.
        std::thread::sleep(Duration::from_secs(1));
        let name = format!("new{}", new.len());
        new.push(pod(&name, &redis, &[]));
        wait_until_ready(&redis, &name);
        miner.signal(Signal::TERM);
        if sidecar {
            miner.wait_until_gone(SOON);
        }
        agent.signal(Signal::TERM);
        agent.wait_until_gone(SOON);
        miner.wait_until_gone(SOON);
    }
    new[0].1.wait_until_acting(boottime_ns(), SOON);
    let miners: Vec<_> = old.iter().chain(&new).map(|(_, miner)| miner).collect();
    assert_eq!(check_acts(&miners), 2, "terms: one before, and one after");
    let mut acts: Vec<_> = miners.iter().flat_map(|it| it.moments()).collect();
    acts.retain(|at| *at >= from);
    acts.sort_unstable();
    let longest = acts.windows(2).map(|pair| pair[1] - pair[0]).max();
    let longest = Duration::from_nanos(longest.expect("two acts"));
    println!("{replicas} replicas: one hand-over, at most {longest:?} without an act");
    assert!(longest < Duration::from_millis(900), "{longest:?}");
}

#[test]
fn a_rolling_update_of_three_with_native_sidecars_hands_over_once() {
    rolling_update(3, true, false);
}

#[test]
fn a_rolling_update_of_five_hands_over_once_out_of_memory_too() {
    rolling_update(5, false, true);
}
