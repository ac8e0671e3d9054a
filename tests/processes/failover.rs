//! Who leads when something dies, stops or is cut off: real processes, real signals, a real Redis. Everything
//! also while Redis is out of memory.

use std::time::Duration;

use rustix::process::Signal;
use stage::{Agent, Miner, Redis, boottime_ns, check_acts, engine, never, wait_for};

const TTL: Duration = Duration::from_secs(3);
const FLAGS: [&str; 4] = ["--lease-ttl", "3s", "--redis-timeout", "1s"];
const SOON: Duration = Duration::from_secs(5);
/// How long a fast hand-over may take on a busy machine; the benchmark measures how long it does take.
const FAST: Duration = Duration::from_millis(1000);

/// Two agents with a miner each, the first of which leads.
struct Pair {
    /// Kept alive as long as the pair.
    _redis: Redis,
    agents: [Agent; 2],
    miners: [Miner; 2],
}

impl Pair {
    fn start(under_oom: bool) -> Self {
        let redis = Redis::start();
        let agents = ["a", "b"].map(|name| Agent::start(name, &redis, &FLAGS));
        agents.iter().for_each(Agent::wait_until_up);
        let first = Miner::start("first", &agents[0], &redis);
        first.wait_until_acting(0, 3 * TTL);
        let second = Miner::start("second", &agents[1], &redis);
        agents[1].wait_for_reason("held_by_other", SOON);
        if under_oom {
            redis.fill();
        }
        Self {
            _redis: redis,
            agents,
            miners: [first, second],
        }
    }

    fn second_leads_within(&self, since: u64, deadline: Duration) -> Duration {
        let told = self.miners[1].wait_until_told_to_lead(since, deadline + SOON);
        let took = Duration::from_nanos(told - since);
        assert!(
            took < deadline,
            "the other miner was told after {took:?}, allowed are {deadline:?}"
        );
        self.miners[1].wait_until_acting(since, SOON);
        took
    }

    fn check(&self) {
        let terms = check_acts(&[&self.miners[0], &self.miners[1]]);
        assert!(terms >= 2, "both miners should have led: {terms} terms");
    }
}

fn for_calm_and_oom(test: impl Fn(Pair)) {
    test(Pair::start(false));
    test(Pair::start(true));
}

#[test]
fn a_killed_miner_is_succeeded_at_once() {
    for_calm_and_oom(|mut pair| {
        let token = pair.agents[0].token();
        let since = boottime_ns();
        pair.miners[0].kill();
        pair.second_leads_within(since, FAST);
        pair.check();
        assert!(pair.agents[1].token() > token);
        wait_for("the first agent is idle", SOON, || {
            (pair.agents[0].reason() == "no_miner").then_some(())
        });
        pair.agents[0].wait_for_log(&[
            "WARN",
            "lost",
            "instance=a",
            "token=",
            "reason=\"no_miner\"",
        ]);
        // Elections less losses is 1 if it leads, else 0.
        for (agent, [status, elections, losses]) in
            pair.agents.iter().zip([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
        {
            let metric = |name: &str| {
                agent.metric(&format!(
                    "ha_miner_leader_{name}{{instance=\"{}\"}}",
                    agent.name
                ))
            };
            assert_eq!(metric("status"), Some(status));
            assert_eq!(metric("elections_total"), Some(elections));
            assert_eq!(metric("losses_total"), Some(losses));
            let token = agent.token().map_or(0.0, |token| token as f64);
            assert_eq!(metric("fencing_token"), Some(token));
            assert_eq!(metric("lease_remaining_seconds") > Some(0.0), status > 0.0);
        }
    });
}

#[test]
fn a_miner_that_ends_in_order_is_succeeded_at_once() {
    for_calm_and_oom(|pair| {
        let since = boottime_ns();
        pair.miners[0].signal(Signal::TERM);
        pair.second_leads_within(since, FAST);
        pair.check();
    });
}

#[test]
fn an_agent_that_is_asked_to_stop_hands_over_at_once() {
    for_calm_and_oom(|mut pair| {
        let since = boottime_ns();
        pair.agents[0].signal(Signal::TERM);
        pair.second_leads_within(since, FAST);
        assert!(pair.agents[0].wait_until_gone(SOON).success());
        pair.check();
    });
}

#[test]
fn a_resignation_hands_over_at_once_and_holds_off() {
    for_calm_and_oom(|mut pair| {
        let since = boottime_ns();
        let resign = std::process::Command::new(env!("CARGO_BIN_EXE_understudy"))
            .args([
                "resign",
                "--agent",
                &pair.agents[0].address(),
                "--hold-off",
                "2s",
            ])
            .output()
            .expect("the command runs");
        assert!(resign.status.success(), "{resign:?}");
        pair.second_leads_within(since, FAST);
        pair.agents[0].wait_for_reason("hold_off", SOON);
        pair.agents[0].wait_for_log(&["resigned", "reason=\"resigned\""]);
        // It holds off even when the other miner is gone.
        pair.miners[1].kill();
        never(
            "it leads while it holds off",
            Duration::from_millis(500),
            || pair.agents[0].leads(),
        );
        pair.agents[0].wait_until_leading(SOON);
        pair.check();
    });
}

#[test]
fn a_killed_agents_miner_stops_before_the_other_leads() {
    for_calm_and_oom(|mut pair| {
        let since = boottime_ns();
        pair.agents[0].kill();
        let took = pair.second_leads_within(since, TTL + Duration::from_secs(1));
        assert!(
            took > Duration::from_millis(500),
            "a lease that was not waited out: {took:?}"
        );
        pair.check();
    });
}

#[test]
fn an_agent_that_remembers_takes_its_own_lock_back_at_once() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("UTF-8");
    let flags = ["--lease-ttl", "9s", "--miner-timeout", "1s"];
    let mut first = Agent::start("a", &redis, &[&flags[..], &["--state-dir", path]].concat());
    let second = Agent::start("b", &redis, &flags);
    first.wait_until_up();
    second.wait_until_up();
    let miner = Miner::start("first", &first, &redis);
    miner.wait_until_acting(0, 3 * 3 * TTL);
    let other = Miner::start("second", &second, &redis);
    second.wait_for_reason("held_by_other", SOON);
    let (token, holder) = (first.token(), first.status()["instance_id"].clone());
    let since = boottime_ns();
    first.start_again();
    let act = miner.wait_until_acting(since + 1_000_000_000, SOON);
    let took = Duration::from_nanos(act.at - since);
    // Not before the grant has run out, and long before the lock has.
    assert!(took > Duration::from_millis(900), "{took:?}");
    assert!(took < SOON, "{took:?}");
    assert_eq!(first.status()["instance_id"], holder);
    assert!(first.token() > token);
    let told = other.told_to_lead(0);
    assert!(told.is_none(), "the other led meanwhile");
    check_acts(&[&miner, &other]);
    // No other agent may use the folder.
    let mut third = Agent::start("c", &redis, &["--state-dir", path]);
    assert!(!third.wait_until_gone(SOON).success());
    third.wait_for_log(&["--state-dir=", "another agent uses it"]);
}

#[test]
fn a_stopped_miner_is_succeeded_and_does_not_act_when_it_continues() {
    for_calm_and_oom(|pair| {
        let since = boottime_ns();
        pair.miners[0].signal(Signal::STOP);
        // The timeout is a third of the TTL.
        pair.second_leads_within(since, TTL / 3 + FAST);
        let continued = boottime_ns();
        pair.miners[0].signal(Signal::CONT);
        std::thread::sleep(Duration::from_millis(500));
        let stale = pair.miners[0]
            .acts()
            .into_iter()
            .find(|act| act.at > continued);
        assert!(stale.is_none(), "it acted after it continued: {stale:?}");
        pair.check();
    });
}

#[test]
fn a_stopped_agent_says_leader_no_more_when_it_continues() {
    for_calm_and_oom(|pair| {
        let since = boottime_ns();
        pair.agents[0].signal(Signal::STOP);
        pair.second_leads_within(since, TTL + Duration::from_secs(1));
        let continued = boottime_ns();
        pair.agents[0].signal(Signal::CONT);
        never("it says leader after SIGCONT", FAST, || {
            pair.agents[0].leads()
        });
        let stale = pair.miners[0]
            .acts()
            .into_iter()
            .find(|act| act.at > continued);
        assert!(
            stale.is_none(),
            "its miner acted after it continued: {stale:?}"
        );
        pair.check();
    });
}

#[test]
fn a_failed_renewal_costs_no_leadership() {
    let redis = Redis::start();
    let agent = Agent::start(
        "a",
        &redis,
        &["--lease-ttl", "9s", "--redis-timeout", "500ms"],
    );
    agent.wait_until_up();
    let miner = Miner::spawn("m", &agent.address(), &["--work-every-ms", "5"]);
    miner.wait_until_acting(0, Duration::from_secs(20));
    let token = agent.token();
    redis.pause();
    wait_for("a renewal fails", Duration::from_secs(6), || {
        (!agent
            .logged(&["renewal failed", "lease_remaining"])
            .is_empty())
        .then_some(())
    });
    assert!(agent.leads(), "one failed renewal demotes nobody");
    redis.resume();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(agent.token(), token);
    assert_eq!(
        agent.metric("ha_miner_leader_losses_total{instance=\"a\"}"),
        Some(0.0)
    );
    let failures = agent
        .metric("ha_miner_leader_renewal_failures_total{instance=\"a\",reason=\"redis_error\"}");
    assert!(failures > Some(0.0));
    let acts = miner.acts();
    let gap = acts.windows(2).map(|pair| pair[1].at - pair[0].at).max();
    assert!(gap < Some(500_000_000), "the miner paused for {gap:?} ns");
}

#[test]
fn a_redis_that_lost_everything_keeps_its_leader() {
    let mut redis = Redis::start();
    let agents = ["a", "b"].map(|name| Agent::start(name, &redis, &FLAGS));
    agents.iter().for_each(Agent::wait_until_up);
    let first = Miner::spawn("first", &agents[0].address(), &["--work-every-ms", "5"]);
    first.wait_until_acting(0, 3 * TTL);
    let second = Miner::spawn("second", &agents[1].address(), &["--work-every-ms", "5"]);
    agents[1].wait_for_reason("held_by_other", SOON);
    let token = agents[0].token();
    redis.kill();
    redis.start_again();
    never("somebody else leads", 2 * TTL, || {
        agents[1].leads() || !agents[0].leads()
    });
    assert_eq!(agents[0].token(), token);
    assert_eq!(check_acts(&[&first, &second]), 1);
    let holder = agents[0].status()["instance_id"]
        .as_str()
        .map(ToOwned::to_owned);
    assert_eq!(Some(redis.tell(&["GET", "ha:miner:global_leader"])), holder);
}

#[test]
fn a_go_miners_lock_is_respected_and_taken_after_it_ends() {
    let redis = Redis::start();
    let lock = "ha:miner:global_leader";
    assert_eq!(redis.tell(&["SET", lock, "host-1", "EX", "4", "NX"]), "+OK");
    let agent = Agent::start("a", &redis, &FLAGS);
    agent.wait_until_up();
    let miner = Miner::start("m", &agent, &redis);
    agent.wait_for_reason("held_by_other", SOON);
    assert_eq!(agent.status()["leader_id"], "host-1");
    // The Go miner's heartbeat: GET, and EXPIRE if it is its own.
    for _ in 0..3 {
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(redis.tell(&["GET", lock]), "host-1");
        assert_eq!(redis.tell(&["EXPIRE", lock, "4"]), ":1");
        assert!(!agent.leads());
    }
    // It dies, and its lock expires by itself.
    never(
        "the lock is taken while it lives",
        Duration::from_millis(3500),
        || agent.leads(),
    );
    miner.wait_until_acting(0, SOON);
    assert_ne!(redis.tell(&["GET", lock]), "host-1");
}

#[test]
fn an_agent_that_starts_before_redis_serves_and_joins() {
    let mut redis = Redis::start();
    redis.kill();
    let agent = Agent::start("a", &redis, &FLAGS);
    agent.wait_until_up();
    let miner = Miner::start("m", &agent, &redis);
    agent.wait_for_reason("redis_unreachable", SOON);
    assert_eq!(agent.get("/live").expect("an answer").0, 200);
    assert_eq!(agent.get("/ready").expect("an answer").0, 503);
    assert_eq!(
        agent.metric("ha_miner_redis_used_memory_bytes"),
        None,
        "absent until it was read"
    );
    assert_eq!(agent.metric("ha_miner_redis_up"), Some(0.0));
    redis.start_again();
    miner.wait_until_acting(0, 3 * TTL);
    // A check of a moment ago, before Redis was there, still counts as fresh.
    wait_for("ready", SOON, || {
        (agent.get("/ready").ok()?.0 == 200).then_some(())
    });
}

/// By then its looks have failed for so long that the next one would come seconds later.
#[test]
fn a_redis_that_was_slow_to_load_is_seen_at_once() {
    let options = Redis::slow_to_load(&engine(), 30);
    let mut redis = Redis::with(&options.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(redis.burden(270));
    redis.kill();
    let agent = Agent::start("a", &redis, &["--miner-liveness", "always"]);
    agent.wait_until_up();
    redis.launch_again();
    agent.wait_for_reason("redis_loading", SOON);
    redis.wait_until_up_for(Duration::from_secs(60));
    agent.wait_for_reason("store_settling", Duration::from_secs(4));
}

/// The same for a replica that is promoted in place, which closes no connection.
#[test]
fn a_replica_that_was_promoted_is_seen_at_once() {
    let redis = Redis::with(&["--replicaof", "127.0.0.1", "1"]);
    let flags = ["--lease-ttl", "90s", "--renew-every", "30s"];
    let agent = Agent::start(
        "a",
        &redis,
        &[&flags[..], &["--miner-liveness", "always"]].concat(),
    );
    agent.wait_until_up();
    // The next look is 8 s away.
    wait_for("four looks have failed", 3 * SOON, || {
        let failed = agent.logged(&["WARN", "acquisition failed", "READONLY"]);
        (failed.len() >= 4).then_some(())
    });
    assert_eq!(agent.reason(), "redis_read_only");
    redis.tell(&["REPLICAOF", "NO", "ONE"]);
    agent.wait_for_reason("store_settling", Duration::from_secs(4));
}

/// A standby that stayed connected to the old primary would see the same lock there, and judge it by another generation.
#[test]
fn standbys_follow_a_name_to_the_next_primary() {
    let [old, new] = [Redis::start(), Redis::start()];
    new.tell(&["REPLICAOF", "127.0.0.1", &old.port.to_string()]);
    let folder = tempfile::tempdir().expect("a folder");
    let name = folder.path().join("redis.sock");
    let leads_to = |server: &Redis| {
        let next = folder.path().join("next");
        std::os::unix::fs::symlink(server.socket(), &next).expect("a link");
        std::fs::rename(&next, &name).expect("the link is moved");
    };
    leads_to(&old);
    let url = format!("redis+unix://{}", name.display());
    let flags = [
        "--redis-url",
        &url,
        "--miner-liveness",
        "always",
        "--miner-timeout",
        "500ms",
    ];
    let flags = [&flags[..], &FLAGS].concat();
    let leader = Agent::spawn("a", &flags);
    leader.wait_until_leading(3 * TTL);
    let standby = Agent::spawn("b", &flags);
    standby.wait_until_up();
    standby.wait_for_reason("held_by_other", SOON);
    wait_for("the replica has it all", SOON, || {
        let told = new.ask(&["INFO", "replication"]).ok()?;
        told.contains("master_link_status:up").then_some(())
    });
    leads_to(&new);
    new.tell(&["REPLICAOF", "NO", "ONE"]);
    old.tell(&["REPLICAOF", "127.0.0.1", &new.port.to_string()]);
    std::thread::sleep(2 * TTL);
    leader.wait_until_leading(SOON);
    leader.signal(Signal::TERM);
    let told = std::time::Instant::now();
    standby.wait_until_leading(SOON);
    // When it judged the old primary, a TTL passed first, and then the script refused to begin.
    assert!(told.elapsed() < TTL, "after {:?}", told.elapsed());
}

/// From 2^53 on, Redis' scripts cannot tell a number from the next one.
#[test]
fn no_fencing_token_is_given_twice_at_the_end_of_the_numbers() {
    let redis = Redis::start();
    let last = ((1_u64 << 53) - 1).to_string();
    let record = ["HSET", "{ha:miner:global_leader}:record", "schema", "1"];
    let of = ["holder", "x", "token", &last, "ttl", "3000"];
    let rest = ["released", "1", "gen", "none"];
    redis.tell(&[&record[..], &of, &rest].concat());
    let agent = Agent::start(
        "a",
        &redis,
        &[&FLAGS[..], &["--miner-liveness", "always"]].concat(),
    );
    agent.wait_until_up();
    wait_for("it says why it cannot lead", 4 * SOON, || {
        let said = agent.logged(&["WARN", "acquisition failed", "the last fencing token"]);
        (!said.is_empty()).then_some(())
    });
    assert_eq!(redis.tell(&["EXISTS", "ha:miner:global_leader"]), ":0");
}

#[test]
fn the_agent_that_is_the_candidate_itself_leads_without_a_miner() {
    let redis = Redis::start();
    let agent = Agent::start(
        "a",
        &redis,
        &[&FLAGS[..], &["--miner-liveness", "always"]].concat(),
    );
    agent.wait_until_up();
    agent.wait_until_leading(3 * TTL);
    let token = agent.token();
    std::thread::sleep(TTL);
    assert_eq!(agent.token(), token, "it renews by itself");
}

/// Found by chaos: a miner that dials a stopped agent must still end when it is told to.
#[test]
fn a_miner_ends_although_its_agent_hangs() {
    let redis = Redis::start();
    let agent = Agent::start("a", &redis, &FLAGS);
    agent.wait_until_up();
    agent.signal(Signal::STOP);
    let mut miner = Miner::start("first", &agent, &redis);
    std::thread::sleep(Duration::from_millis(300));
    miner.signal(Signal::TERM);
    miner.wait_until_gone(SOON);
}

#[test]
fn a_blocked_standard_output_stalls_nobody() {
    use std::process::{Command, Stdio};
    let redis = Redis::start();
    let http = format!("127.0.0.1:{}", stage::free_port());
    // A full pipe that nobody reads.
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    let mut filling = writer.try_clone().expect("another handle");
    std::thread::spawn(move || std::io::Write::write_all(&mut filling, &[b'x'; 1 << 20]));
    let mut agent = Command::new(env!("CARGO_BIN_EXE_understudy"))
        .args([
            "run",
            "--instance",
            "a",
            "--miner-liveness",
            "always",
            "--lease-ttl",
            "3s",
        ])
        .args(["--redis-url", &redis.url(), "--http-listen", &http])
        .args([
            "--grpc-listen",
            &format!("127.0.0.1:{}", stage::free_port()),
        ])
        .env("RUST_LOG", "trace")
        .stdout(Stdio::from(writer))
        .spawn()
        .expect("the agent starts");
    let leads = || {
        let probe = Command::new(env!("CARGO_BIN_EXE_understudy"))
            .args(["probe", "leader", "--http-listen", &http])
            .output()
            .expect("the command runs");
        probe
            .status
            .success()
            .then(|| String::from_utf8_lossy(&probe.stdout).into_owned())
    };
    let token = |answer: &str| {
        let answer: serde_json::Value = serde_json::from_str(answer).expect("JSON");
        answer["fencing_token"].as_u64()
    };
    let first = wait_for("it leads", 3 * TTL, leads);
    std::thread::sleep(Duration::from_secs(5));
    let later = leads().expect("it leads on");
    assert_eq!(token(&first), token(&later), "no renewal was late");
    let _ = agent.kill();
    let _ = agent.wait();
}
