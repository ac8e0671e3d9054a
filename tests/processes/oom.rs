//! The incident: Redis is full, the leader dies. With Understudy, and as it was before.

use std::time::{Duration, Instant};

use stage::proxy::{Mode, Proxy};
use stage::{Agent, Miner, Redis, wait_for};

const SOON: Duration = Duration::from_secs(8);
const FLAGS: [&str; 6] = [
    "--lease-ttl",
    "3s",
    "--memory-every",
    "500ms",
    "--redis-timeout",
    "1s",
];

#[test]
fn out_of_memory_is_loud_and_readiness_falls() {
    let redis = Redis::start();
    let agent = Agent::start("a", &redis, &FLAGS);
    agent.wait_until_up();
    wait_for("ready", SOON, || {
        (agent.get("/ready").ok()?.0 == 200).then_some(())
    });
    wait_for("a ratio of -1: no limit", SOON, || {
        (agent.metric("ha_miner_redis_memory_usage_ratio") == Some(-1.0)).then_some(())
    });
    redis.fill();
    std::thread::sleep(Duration::from_secs(1));
    let asked = Instant::now();
    let (code, body) = agent.get("/ready").expect("an answer");
    assert!(asked.elapsed() < Duration::from_millis(900));
    assert_eq!(
        (code, body.trim()),
        (503, "{\"ready\":false,\"reasons\":[\"redis_oom\"]}")
    );
    wait_for("the memory warning", SOON, || {
        let parts = [
            "WARN",
            "used_memory_bytes=",
            "max_memory_bytes=",
            "usage_ratio=",
        ];
        (!agent.logged(&parts).is_empty()).then_some(())
    });
    assert_eq!(agent.metric("ha_miner_redis_max_memory_bytes"), Some(1.0));
    assert!(agent.metric("ha_miner_redis_memory_usage_ratio") > Some(0.9));
    assert_eq!(agent.metric("ha_miner_redis_writable"), Some(0.0));
    assert_eq!(agent.metric("ha_miner_redis_up"), Some(1.0));
    assert!(agent.metric("ha_miner_redis_write_refused_ratio") > Some(0.0));
    redis.relieve();
    // One refused write keeps the agent unready for 5 s.
    wait_for("ready again", SOON, || {
        (agent.get("/ready").ok()?.0 == 200).then_some(())
    });
}

#[test]
fn the_first_look_at_a_full_redis_shows_how_full_it_is() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.port);
    let url = format!("redis://127.0.0.1:{}", proxy.port);
    let agent = Agent::spawn("a", &["--redis-url", &url]);
    agent.wait_until_up();
    wait_for("ready", SOON, || {
        (agent.get("/ready").ok()?.0 == 200).then_some(())
    });
    // The answers to the check and to the reading are well apart.
    proxy.set(Mode::Slow(Duration::from_millis(60)));
    redis.fill();
    let shown = wait_for("out of memory", SOON, || {
        let (_, body) = agent.get("/status").ok()?;
        body.contains("\"oom\":true").then_some(body)
    });
    // Before, there was no limit, and the next reading is 30 s away.
    assert!(shown.contains("\"max_memory_bytes\":1,"), "{shown}");
}

#[test]
fn readiness_falls_when_redis_stops_or_goes() {
    let mut redis = Redis::start();
    let agent = Agent::start("a", &redis, &FLAGS);
    agent.wait_until_up();
    let ready = || agent.get("/ready").expect("an answer").0;
    let not_ready_in_time = |what: &str, reasons: &[&str]| {
        std::thread::sleep(Duration::from_secs(1));
        let asked = Instant::now();
        let (code, body) = agent.get("/ready").expect("an answer");
        assert!(
            asked.elapsed() < Duration::from_millis(900),
            "{what}: {:?}",
            asked.elapsed()
        );
        assert_eq!(code, 503, "{what}");
        assert!(
            reasons.iter().any(|reason| body.contains(reason)),
            "{what}: {body}"
        );
    };
    wait_for("ready", SOON, || (ready() == 200).then_some(()));
    redis.pause();
    not_ready_in_time("SIGSTOP", &["redis_timeout"]);
    redis.resume();
    wait_for("ready after SIGCONT", SOON, || {
        (ready() == 200).then_some(())
    });
    redis.kill();
    not_ready_in_time("SIGKILL", &["redis_unreachable"]);
    redis.start_again();
    wait_for("ready after the restart", SOON, || {
        (ready() == 200).then_some(())
    });
}

/// Redis runs full, and then the first agent's miner is killed, which led. Returns the agents and the second's miner.
fn leader_killed_out_of_memory(redis: &Redis, flags: &[&str]) -> ([Agent; 2], Miner) {
    let agents = ["a", "b"].map(|name| Agent::start(name, redis, flags));
    agents.iter().for_each(Agent::wait_until_up);
    let mut first = Miner::start("first", &agents[0], redis);
    first.wait_until_acting(0, SOON);
    let second = Miner::start("second", &agents[1], redis);
    agents[1].wait_for_reason("held_by_other", SOON);
    redis.fill();
    first.kill();
    (agents, second)
}

#[test]
fn a_leader_is_elected_out_of_memory_and_says_so() {
    let redis = Redis::start();
    let (agents, second) = leader_killed_out_of_memory(&redis, &FLAGS);
    agents[1].wait_until_leading(SOON);
    second.wait_until_acting(0, SOON);
    let counted = |name: &str| agents[1].metric(&format!("{name}{{instance=\"b\"}}"));
    assert_eq!(
        counted("ha_miner_leader_elections_under_oom_total"),
        Some(1.0)
    );
    assert_eq!(counted("ha_miner_leader_elections_total"), Some(1.0));
    assert_eq!(counted("ha_miner_leader_status"), Some(1.0));
    agents[1].wait_for_log(&["WARN", "elected", "after_failures=0"]);
    let refused = "ha_miner_leader_acquisition_failures_total{instance=\"b\",reason=\"redis_oom\"}";
    assert_eq!(agents[1].metric(refused), Some(0.0));
    // It also keeps the lock: renewals work too.
    std::thread::sleep(Duration::from_secs(4));
    assert!(agents[1].leads());
}

#[test]
fn without_it_the_incident_happens_and_is_loud() {
    let redis = Redis::start();
    let flags = [&FLAGS[..], &["--acquire-under-oom=false"]].concat();
    let (agents, second) = leader_killed_out_of_memory(&redis, &flags);
    let refused = "ha_miner_leader_acquisition_failures_total{instance=\"b\",reason=\"redis_oom\"}";
    wait_for("three refusals", SOON, || {
        (agents[1].metric(refused) >= Some(3.0)).then_some(())
    });
    for count in [
        "consecutive_failures=1",
        "consecutive_failures=2",
        "consecutive_failures=3",
    ] {
        agents[1].wait_for_log(&["ERROR", "acquisition refused", "error=OOM", count]);
    }
    assert!(
        agents[1].metric("ha_miner_leader_consecutive_acquire_failures{instance=\"b\"}")
            >= Some(3.0)
    );
    assert_eq!(agents[1].reason(), "redis_oom");
    assert!(agents.iter().all(|agent| !agent.leads()));
    assert!(second.acts().is_empty());
    let leaderless = agents[1].metric("ha_miner_leaderless_seconds_total{instance=\"b\"}");
    assert!(leaderless > Some(1.0), "{leaderless:?}");
    // Once memory is free, the next attempt succeeds and logs how many failed.
    redis.relieve();
    agents[1].wait_until_leading(SOON);
    let elected = agents[1].wait_for_log(&["INFO", "elected", "after_failures="]);
    assert!(!elected.contains("after_failures=0"), "{elected}");
    assert_eq!(
        agents[1].metric("ha_miner_leader_consecutive_acquire_failures{instance=\"b\"}"),
        Some(0.0)
    );
}

#[test]
fn an_evicting_policy_means_no_leadership_unless_it_is_allowed() {
    let redis = Redis::with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let agent = Agent::start("a", &redis, &FLAGS);
    agent.wait_until_up();
    let _miner = Miner::start("m", &agent, &redis);
    agent.wait_for_reason("eviction_policy", SOON);
    agent.wait_for_log(&["ERROR", "maxmemory-policy"]);
    wait_for("the policy is shown", SOON, || {
        (agent.metric("ha_miner_redis_evicting_policy") == Some(1.0)).then_some(())
    });
    let bold = Agent::start(
        "b",
        &redis,
        &[&FLAGS[..], &["--allow-eviction=true"]].concat(),
    );
    bold.wait_until_up();
    let _other = Miner::start("n", &bold, &redis);
    bold.wait_until_leading(SOON);
    assert!(!agent.leads());
}

/// It is told by the reading of the memory, and by nothing that the election sends.
#[test]
fn a_leader_steps_down_where_the_policy_comes_to_evict_and_leads_again_after() {
    let redis = Redis::with(&["--maxmemory", "100mb"]);
    let agent = Agent::start("a", &redis, &FLAGS);
    agent.wait_until_up();
    let _miner = Miner::start("m", &agent, &redis);
    agent.wait_until_leading(SOON);
    redis.tell(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    agent.wait_for_reason("eviction_policy", SOON);
    redis.tell(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    agent.wait_until_leading(SOON);
}

#[test]
fn another_holder_is_told_at_debug_and_is_no_failure() {
    let mut redis = Redis::start();
    let leader = Agent::start(
        "a",
        &redis,
        &[&FLAGS[..], &["--miner-liveness", "always"]].concat(),
    );
    leader.wait_until_up();
    leader.wait_until_leading(SOON);
    let standby = Agent::start(
        "b",
        &redis,
        &[&FLAGS[..], &["--miner-liveness", "always"]].concat(),
    );
    standby.wait_until_up();
    standby.wait_for_log(&["DEBUG", "another instance holds the lock", "leader=a-"]);
    let failures = "ha_miner_leader_consecutive_acquire_failures{instance=\"b\"}";
    let failed =
        "ha_miner_leader_acquisition_failures_total{instance=\"b\",reason=\"redis_error\"}";
    assert_eq!(standby.metric(failed), Some(0.0));
    redis.kill();
    wait_for("a failure", SOON, || {
        (standby.metric(failures) >= Some(1.0)).then_some(())
    });
    assert!(standby.metric(failed) >= Some(1.0));
    standby.wait_for_log(&["WARN", "acquisition failed", "consecutive_failures=1"]);
    // The leader is back in time and holds the lock again: Redis is healthy, and the count ends.
    redis.start_again();
    wait_for("the count ends", SOON, || {
        (standby.metric(failures) == Some(0.0)).then_some(())
    });
}
