//! A miniature of pocket-relay-miner's leader part on Go's client, adopted as docs/adopt-pocket-relay-miner.md says: callbacks,
//! a start-up branch, a logger that asks on every line, monitors on tickers, work per block. It never flaps.

use super::*;

/// Beside Go's sample, from the same build.
fn relay_miner() -> Option<PathBuf> {
    let go = samples().into_iter().find(|it| it.ends_with("go"));
    if go.is_none() {
        println!("skipped: the relay miner, since UNDERSTUDY_TEST_MINERS does not name Go's");
    }
    Some(go?.with_file_name("relay-miner"))
}

/// Nothing was started twice, and nobody gave up.
fn check_sound(pods: &Pods) {
    for miner in pods.all() {
        assert!(!miner.said(0, "twice"), "{} started twice", miner.name);
        let told = miner.told();
        assert!(!told.contains("exiting process"), "{}: {told}", miner.name);
    }
}

#[test]
fn a_relay_miner_never_flaps() {
    let Some(program) = relay_miner() else { return };
    let mut pods = Pods::start(&program, &["--monitor-sleep-ms", "1500"]);
    let term = pods.agents[0].token();
    let flaps = || pods.agents[0].token() != term;
    never(
        "the term ends while nothing is wrong",
        3 * MINER_TIMEOUT,
        flaps,
    );
    let told = pods.miners[0].told();
    assert!(told.contains("\"msg\":\"understudy: this miner leads\""));
    assert!(told.contains("\"msg\":\"a relay was served\",\"leader\":true"));
    pods.killed(0);
    pods.stopped_and_continued(1);
    pods.ended(0, Signal::TERM);
    halted(&mut pods, 1);
    pods.redis.fill();
    pods.killed(0);
    let terms = pods.check();
    assert_eq!(terms, 6, "one after each fault");
    check_sound(&pods);
}

/// Its node hands out no more blocks, while its log and its monitors go on: another leads.
fn halted(pods: &mut Pods, of: usize) {
    let since = boottime_ns();
    pods.miners[of].signal(Signal::USR2);
    pods.acts(1 - of, since);
    pods.stands_by(of);
    pods.miners[of].kill();
    pods.replace(of);
}

/// What the original does on a refused write, and why that must change before it is elected out of memory.
#[test]
fn a_relay_miner_that_ends_at_a_refused_write_is_lost_out_of_memory() {
    let Some(program) = relay_miner() else { return };
    let mut pods = Pods::start(&program, &["--survives-refused-writes=false"]);
    pods.redis.fill();
    pods.miners[0].kill();
    let ended = pods.miners[1].wait_until_gone(TTL + SOON);
    assert_eq!(ended.code(), Some(3));
}

/// The monitor sleeps on after the term, and until it wakes no lock is held by this miner.
#[test]
fn a_relay_miner_holds_no_lock_while_its_monitor_sleeps() {
    let Some(program) = relay_miner() else { return };
    let mut pods = Pods::start(&program, &["--monitor-sleep-ms", "8000"]);
    pods.resign(0);
    let since = boottime_ns();
    pods.acts(1, since);
    pods.miners[1].kill();
    wait_for("the monitor wakes", 2 * SOON, || {
        let leads = pods.agents[0].leads();
        let closed = pods.miners[0].said(since, "inactive");
        assert!(closed || !leads, "it holds the lock and does nothing");
        closed.then_some(())
    });
    pods.acts(0, since);
    pods.check();
    check_sound(&pods);
}

/// As in the original's development set-ups.
#[test]
fn a_relay_miner_says_that_redis_may_evict_the_lock() {
    let Some(program) = relay_miner() else { return };
    let redis = Redis::with(&["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]);
    let agent = Agent::start("alpha", &redis, &[]);
    let url = redis.url();
    let miner = Miner::of(&program, "alpha", &agent.address(), &["--redis-url", &url]);
    wait_for("its log says why", SOON, || {
        let told = miner.told();
        told.contains("no leadership: eviction_policy")
            .then_some(())
    });
}
