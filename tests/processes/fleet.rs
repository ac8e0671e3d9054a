//! A mixed fleet: half today's Go miners with their built-in elector, half miners beside understudy. What holds there, and
//! what does not. The Go miner is the double of tests/chaos/incumbent.rs.

use std::time::Duration;

use rustix::process::Signal;
use stage::{Agent, Miner, Redis, boottime_ns, never, program, wait_for};

const TTL: Duration = Duration::from_secs(3);
const HEARTBEAT: Duration = Duration::from_secs(1);
const FLAGS: [&str; 2] = ["--lease-ttl", "3s"];
const SOON: Duration = Duration::from_secs(10);
const LOCK: &str = "ha:miner:global_leader";

/// A Go miner, which has no agent.
fn old(redis: &Redis) -> Miner {
    let flags = ["--redis-url", &redis.url(), "--ttl-ms", "3000"];
    let flags = [&flags[..], &["--heartbeat-ms", "1000"]].concat();
    Miner::alone(
        &program("UNDERSTUDY_INCUMBENT", "examples/incumbent"),
        "old",
        &flags,
    )
}

fn new(redis: &Redis, flags: &[&str]) -> (Agent, Miner) {
    let agent = Agent::start("new", redis, flags);
    agent.wait_until_up();
    let miner = Miner::start("new", &agent, redis);
    (agent, miner)
}

fn leads(redis: &Redis, who: &str) -> bool {
    redis.tell(&["GET", LOCK]).starts_with(who)
}

/// Who acted, in order, and when each last acted before the other did.
fn overlaps(one: &Miner, other: &Miner) -> usize {
    let mut acts: Vec<(u64, bool)> = [(one, true), (other, false)]
        .into_iter()
        .flat_map(|(miner, which)| miner.moments().into_iter().map(move |at| (at, which)))
        .collect();
    acts.sort_unstable();
    let changes = acts.windows(2).filter(|pair| pair[0].1 != pair[1].1);
    changes.count()
}

#[test]
fn each_side_waits_for_the_other_and_takes_over_from_it() {
    let redis = Redis::start();
    // The old miner leads: the new one stands by, and says who leads.
    let mut go = old(&redis);
    wait_for("the old one acts", SOON, || {
        (!go.moments().is_empty()).then_some(())
    });
    let (agent, mut miner) = new(&redis, &FLAGS);
    agent.wait_for_reason("held_by_other", SOON);
    let leader = agent.status()["leader_id"].to_string();
    assert!(leader.starts_with("\"old"), "{leader}");
    never("the new one leads", 2 * TTL, || agent.leads());
    // The old miner dies while Redis is out of memory, and the new one is still elected.
    redis.fill();
    let killed = boottime_ns();
    go.kill();
    miner.wait_until_acting(killed, TTL + SOON);
    // The new miner leads: another old one finds the lock taken at every heartbeat.
    let again = old(&redis);
    never("the old one leads", 2 * TTL, || leads(&redis, "old"));
    assert!(again.moments().is_empty());
    redis.relieve();
    // The new miner dies, its agent releases the lock, and the old one finds it free at its next heartbeat.
    let released = boottime_ns();
    miner.kill();
    let act = wait_for("the old one leads", SOON, || {
        again.moments().into_iter().find(|at| *at > released)
    });
    // Without the release, the lock would have had at least two thirds of its TTL left.
    let took = Duration::from_nanos(act - released);
    assert!(took < TTL - HEARTBEAT, "only after {took:?}");
    // Two hand-overs, and neither acted before the other had ended.
    assert_eq!(overlaps(&go, &miner), 1);
    assert_eq!(overlaps(&again, &miner), 1);
}

/// The old release publishes nothing: the new side finds the lock free when it looks.
#[test]
fn an_old_leader_that_ends_in_order_is_succeeded_before_its_lock_would_have_ended() {
    let redis = Redis::start();
    let mut go = old(&redis);
    wait_for("the old one leads", SOON, || {
        leads(&redis, "old").then_some(())
    });
    let (agent, miner) = new(&redis, &FLAGS);
    agent.wait_for_reason("held_by_other", SOON);
    std::thread::sleep(2 * TTL);
    let ended = boottime_ns();
    go.signal(Signal::TERM);
    go.wait_until_gone(SOON);
    let act = miner.wait_until_acting(ended, SOON);
    let took = Duration::from_nanos(act.at - ended);
    assert!(took < TTL - HEARTBEAT, "only after {took:?}");
    assert_eq!(overlaps(&go, &miner), 1);
}

/// A limit: if Redis loses the lock, the old side takes it at its next heartbeat.
#[test]
fn a_lost_lock_brings_two_leaders_until_the_new_one_renews() {
    let redis = Redis::start();
    // The new leader renews so rarely that the old miner's heartbeat comes first.
    let (agent, miner) = new(&redis, &["--lease-ttl", "9s", "--renew-every", "3s"]);
    miner.wait_until_acting(0, 3 * TTL + SOON);
    let go = old(&redis);
    std::thread::sleep(2 * HEARTBEAT);
    assert!(go.moments().is_empty());
    wait_for("a renewal", SOON, || {
        let left = redis.tell(&["PTTL", LOCK]);
        let left: u64 = left.trim_start_matches(':').parse().ok()?;
        (left > 8_700).then_some(())
    });
    redis.tell(&["FLUSHALL"]);
    wait_for("the new one learns of it", SOON, || {
        (!agent.leads()).then_some(())
    });
    assert!(leads(&redis, "old"));
    assert!(overlaps(&go, &miner) > 1, "both acted");
}

/// A limit: after a pause an old leader continues as if nothing had happened.
#[test]
fn an_old_leader_that_was_paused_acts_beside_the_new_one() {
    let redis = Redis::start();
    let go = old(&redis);
    wait_for("the old one acts", SOON, || {
        (!go.moments().is_empty()).then_some(())
    });
    let (agent, miner) = new(&redis, &FLAGS);
    agent.wait_for_reason("held_by_other", SOON);
    let paused = boottime_ns();
    go.signal(Signal::STOP);
    miner.wait_until_acting(paused, TTL + SOON);
    // Its heartbeat would soon tell it, so make Redis slow: then it is sure to act first.
    redis.pause();
    let goes_on = boottime_ns();
    go.signal(Signal::CONT);
    let act = wait_for("the old one acts", SOON, || {
        go.moments().into_iter().find(|at| *at > goes_on)
    });
    redis.resume();
    miner.wait_until_acting(act, SOON);
    assert!(leads(&redis, "new"));
    assert!(overlaps(&go, &miner) > 1, "both acted");
}
