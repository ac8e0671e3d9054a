//! Others on the same Redis: a fleet in another database, clients that may publish, agents of the previous version.

use std::path::Path;
use std::time::Duration;

use stage::{Agent, Miner, Redis, boottime_ns, check_acts, wait_for};

const FLAGS: [&str; 2] = ["--lease-ttl", "3s"];
const SOON: Duration = Duration::from_secs(10);
/// I7: there is a leader within the TTL and 2 s.
const SUCCEEDED: Duration = Duration::from_secs(5);

/// Two pods in this database; the first of them leads. Their miners write to `register`.
fn pair(redis: &Redis, database: u32, register: &Redis) -> [(Agent, Miner); 2] {
    let url = format!("{}/{database}", redis.url());
    let flags = [&["--redis-url", &url], &FLAGS[..]].concat();
    ["a", "b"].map(|name| {
        let agent = Agent::spawn(name, &flags);
        agent.wait_until_up();
        let miner = Miner::start(name, &agent, register);
        if name == "a" {
            miner.wait_until_acting(0, 3 * SOON);
        } else {
            agent.wait_for_reason("held_by_other", SOON);
        }
        (agent, miner)
    })
}

/// The leader's agent and miner die together, so the lock must run out.
fn kill_leader(pair: &mut [(Agent, Miner); 2]) {
    let since = boottime_ns();
    pair[0].0.kill();
    pair[0].1.kill();
    let told = pair[1].1.wait_until_told_to_lead(since, 3 * SOON);
    let took = Duration::from_nanos(told - since);
    assert!(took < SUCCEEDED, "the other leads only after {took:?}");
}

/// Pub/sub ignores databases.
#[test]
fn a_fleet_in_another_database_keeps_nobody_from_leading() {
    let redis = Redis::start();
    let registers = [Redis::start(), Redis::start()];
    let mut first = pair(&redis, 0, &registers[0]);
    let mut second = pair(&redis, 1, &registers[1]);
    kill_leader(&mut first);
    // That fleet continues, and now the other fleet's leader dies.
    kill_leader(&mut second);
    for pods in [first, second] {
        check_acts(&[&pods[0].1, &pods[1].1]);
    }
}

#[test]
fn forged_events_delay_nobody_while_a_record_stands() {
    let redis = Redis::start();
    let mut pods = pair(&redis, 0, &redis);
    let channel = "{ha:miner:global_leader}:events";
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let begun = boottime_ns();
            while boottime_ns() < begun + 8_000_000_000 {
                for message in [
                    "renewed a-0 7",
                    "released a-0 9007199254740991",
                    "nonsense",
                    "",
                ] {
                    redis.tell(&["PUBLISH", channel, message]);
                }
            }
        });
        let looks = || {
            pods[1]
                .0
                .metric("ha_miner_redis_command_duration_seconds_count{command=\"look\"}")
        };
        let before = looks().unwrap_or(0.0);
        std::thread::sleep(Duration::from_secs(2));
        let looks = looks().unwrap_or(0.0) - before;
        kill_leader(&mut pods);
        // Twenty in a burst, a hundred per second, and a standby's ordinary looks.
        assert!(looks < 400.0, "{looks} looks in two seconds");
    });
}

/// Both versions agree on who leads, and on which record a term may follow.
#[test]
fn two_versions_lead_in_turn_and_never_at_once() {
    let Some(previous) = std::env::var_os("UNDERSTUDY_PREVIOUS_BIN") else {
        println!("skipped: UNDERSTUDY_PREVIOUS_BIN does not name an agent of the version before");
        return;
    };
    let redis = Redis::start();
    let url = redis.url();
    let flags = [&["--redis-url", &url], &FLAGS[..]].concat();
    let older = Agent::of(Path::new(&previous), "older", &flags);
    let newer = Agent::spawn("newer", &flags);
    let agents = [older, newer];
    agents.iter().for_each(Agent::wait_until_up);
    let mut miners = Vec::new();
    let start = |it: usize| Miner::start(&agents[it].name, &agents[it], &redis);
    let mut present = [start(0), start(1)];
    // The leader's miner dies, first with memory free and then out of memory.
    for turn in 0..8 {
        wait_for("somebody leads", 3 * SOON, || {
            agents.iter().any(Agent::leads).then_some(())
        });
        let leader = usize::from(!agents[0].leads());
        agents[1 - leader].wait_for_reason("held_by_other", SOON);
        present[leader].wait_until_acting(0, SOON);
        if turn == 4 {
            redis.fill();
        }
        let since = boottime_ns();
        present[leader].kill();
        let told = present[1 - leader].wait_until_told_to_lead(since, SOON);
        let took = Duration::from_nanos(told - since);
        assert!(took < Duration::from_secs(1), "turn {turn}: {took:?}");
        miners.push(std::mem::replace(&mut present[leader], start(leader)));
    }
    miners.extend(present);
    let terms = check_acts(&miners.iter().collect::<Vec<_>>());
    assert!(terms >= 8, "{terms} terms");
}
