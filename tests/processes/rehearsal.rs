//! A standby that could not take over says so in advance.

use std::time::Duration;

use stage::{Agent, Redis, engines, wait_for};

const SOON: Duration = Duration::from_secs(10);
const FLAGS: [&str; 6] = [
    "--lease-ttl",
    "3s",
    "--redis-timeout",
    "1s",
    "--miner-liveness",
    "always",
];
const READY: &str = "ha_miner_leader_takeover_ready{instance=\"b\"}";

/// A leader, and a standby with more flags.
fn pair(redis: &Redis, flags: &[&str]) -> [Agent; 2] {
    let leader = Agent::start("a", redis, &FLAGS);
    leader.wait_until_leading(SOON);
    let standby = Agent::start("b", redis, &[&FLAGS[..], flags].concat());
    standby.wait_until_up();
    wait_for("the standby is ready", SOON, || {
        (standby.metric(READY) == Some(1.0)).then_some(())
    });
    [leader, standby]
}

fn must_turn(standby: &Agent, reason: &str) {
    wait_for(&format!("not ready: {reason}"), SOON, || {
        (standby.status()["takeover"]["reason"] == reason).then_some(())
    });
    let warned = [
        "WARN",
        "takeover not ready",
        &format!("reason=\"{reason}\""),
    ];
    wait_for("it is logged", SOON, || {
        (!standby.logged(&warned).is_empty()).then_some(())
    });
    assert_eq!(standby.metric(READY), Some(0.0));
}

#[test]
fn it_is_ready_out_of_memory_and_leaves_nothing_behind_on_every_engine() {
    for engine in engines() {
        let redis = Redis::of(&engine, &[]);
        let [mut leader, standby] = pair(&redis, &[]);
        redis.fill();
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(standby.metric(READY), Some(1.0), "{}", engine.display());
        // The lock, its record and the members; a rehearsal may be in progress.
        wait_for("no shadow is left", SOON, || {
            (redis.tell(&["DBSIZE"]) == ":3").then_some(())
        });
        leader.kill();
        standby.wait_until_leading(SOON);
        assert_eq!(standby.metric(READY), Some(1.0));
    }
}

#[test]
fn it_is_not_ready_where_the_lock_could_not_be_taken() {
    let redis = Redis::start();
    let [_leader, standby] = pair(&redis, &["--acquire-under-oom=false"]);
    redis.fill();
    must_turn(&standby, "redis_oom");
    redis.relieve();
    wait_for("ready again", SOON, || {
        (standby.metric(READY) == Some(1.0)).then_some(())
    });
    redis.tell(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    must_turn(&standby, "redis_no_replicas");
    redis.tell(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    redis.tell(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]);
    redis.tell(&["CONFIG", "SET", "maxmemory", "100mb"]);
    must_turn(&standby, "eviction_policy");
}

/// The shadow works, but the lock itself does not.
#[test]
fn it_is_not_ready_where_the_lock_itself_is_in_the_way() {
    let redis = Redis::start();
    let [mut leader, standby] = pair(&redis, &[]);
    leader.kill();
    redis.tell(&["DEL", "ha:miner:global_leader"]);
    redis.tell(&["LPUSH", "ha:miner:global_leader", "of another type"]);
    wait_for("not ready", SOON, || {
        (standby.status()["takeover"]["reason"] == "redis_wrong_type").then_some(())
    });
    assert_eq!(standby.metric(READY), Some(0.0));
    redis.tell(&["DEL", "ha:miner:global_leader"]);
    standby.wait_until_leading(2 * SOON);
    assert_eq!(standby.metric(READY), Some(1.0));
}

#[test]
fn it_is_not_ready_without_a_permission() {
    let redis = Redis::start();
    redis.tell(&[
        "ACL", "SETUSER", "miner", "on", "nopass", "~*", "&*", "+@all",
    ]);
    let url = format!("redis://miner:any@127.0.0.1:{}", redis.port);
    let mut leader = Agent::start("a", &redis, &FLAGS);
    leader.wait_until_leading(SOON);
    let standby = Agent::spawn("b", &[&["--redis-url", &url], &FLAGS[..]].concat());
    wait_for("the standby is ready", SOON, || {
        (standby.metric(READY) == Some(1.0)).then_some(())
    });
    redis.tell(&["ACL", "SETUSER", "miner", "-hset"]);
    must_turn(&standby, "redis_no_permission");
    // Nor does it block an agent that may lead.
    leader.kill();
    standby.wait_for_log(&["WARN", "acquisition failed"]);
    assert_eq!(standby.reason(), "redis_no_permission");
    let healthy = Agent::start("c", &redis, &FLAGS);
    healthy.wait_until_leading(SOON);
    standby.wait_for_reason("held_by_other", SOON);
    wait_for("no shadow is left", SOON, || {
        (redis.tell(&["DBSIZE"]) == ":3").then_some(())
    });
}
