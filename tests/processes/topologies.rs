//! Sentinel and Cluster: another server becomes the primary under a live leader, with the last writes lost.

use std::time::Duration;

use stage::{
    Agent, Cluster, Miner, PASSWORDS, Redis, Sentinels, boottime_ns, check_acts, cut, never,
    wait_for,
};

const TTL: Duration = Duration::from_secs(3);
const FLAGS: [&str; 4] = ["--lease-ttl", "3s", "--redis-timeout", "1s"];
const SOON: Duration = Duration::from_secs(10);
const LOCK: &str = "ha:miner:global_leader";
const RECORD: &str = "{ha:miner:global_leader}:record";

/// Two agents with a miner each, of which the first leads, and a separate fenced register.
struct Pair {
    register: Redis,
    agents: [Agent; 2],
    miners: [Miner; 2],
    /// The earlier miners: the check covers their records too.
    killed: Vec<Miner>,
}

impl Pair {
    fn start(url: &str) -> Self {
        let register = Redis::start();
        let flags = [&["--redis-url", url], &FLAGS[..]].concat();
        let agents = ["a", "b"].map(|name| Agent::spawn(name, &flags));
        agents.iter().for_each(Agent::wait_until_up);
        let first = Miner::start("first", &agents[0], &register);
        first.wait_until_acting(0, 3 * TTL);
        let second = Miner::start("second", &agents[1], &register);
        agents[1].wait_for_reason("held_by_other", SOON);
        Self {
            register,
            agents,
            miners: [first, second],
            killed: Vec::new(),
        }
    }

    /// Kills one agent's miner; the other leads; a new miner replaces the first.
    fn replace_miner(&mut self, of: usize) {
        let killed = boottime_ns();
        self.miners[of].kill();
        self.miners[1 - of].wait_until_acting(killed, SOON);
        let next = Miner::start("next", &self.agents[of], &self.register);
        let killed = std::mem::replace(&mut self.miners[of], next);
        self.killed.push(killed);
    }

    /// Checks all acts: never two miners at once. Returns the number of terms.
    fn terms(&self) -> usize {
        let miners = self.miners.iter().chain(&self.killed);
        check_acts(&miners.collect::<Vec<_>>())
    }

    /// Some miner acts within the TTL and 5 s after `since`, and never two at once.
    fn leads_again(&self, since: u64) {
        let deadline = TTL + Duration::from_secs(5);
        wait_for("somebody acts", deadline, || {
            let mut acts = self.miners.iter().flat_map(Miner::acts);
            acts.find(|act| act.at > since)
        });
        std::thread::sleep(2 * TTL);
        self.terms();
    }
}

#[test]
fn sentinels_replace_the_primary_under_a_live_leader() {
    let mut set = Sentinels::start();
    let mut pair = Pair::start(&set.url());
    // A renewal or two are lost with the primary.
    set.cut_replica();
    std::thread::sleep(TTL / 2);
    set.primary.kill();
    set.wait_until_promoted();
    pair.leads_again(boottime_ns());
    // The leader dies on the new primary. Whether its term is still the first one depends on how
    // long the sentinels took, and is not checked.
    let leader = usize::from(!pair.agents[0].leads());
    let terms = pair.terms();
    let killed = boottime_ns();
    pair.miners[leader].kill();
    pair.miners[1 - leader].wait_until_acting(killed, SOON);
    assert_eq!(pair.terms(), terms + 1);
}

#[test]
fn an_old_primary_that_wakes_up_is_nobodys_any_more() {
    let set = Sentinels::start();
    let mut pair = Pair::start(&set.url());
    set.cut_replica();
    // The last write is that of a new term.
    pair.replace_miner(0);
    pair.agents[0].wait_for_reason("held_by_other", SOON);
    set.primary.pause();
    set.wait_until_promoted();
    let promoted = boottime_ns();
    set.primary.resume();
    // There the record names an older term, and a standby could begin on it.
    pair.leads_again(promoted);
    // Either of them may have won, but only on the server that the sentinels name.
    let leader = usize::from(!pair.agents[0].leads());
    let token = pair.agents[leader].token().map(|token| token.to_string());
    let holder = ["a-", "b-"][leader];
    assert!(set.replica.tell(&["GET", LOCK]).starts_with(holder));
    assert_eq!(
        Some(set.replica.tell(&["HGET", RECORD, "token"])),
        token,
        "the term lives on the new primary"
    );
}

#[test]
fn without_a_majority_of_sentinels_nobody_leads() {
    let mut set = Sentinels::start();
    // One sentinel is enough to find all, as behind a name that leads to any of them.
    let pair = Pair::start(&format!(
        "redis-sentinel://127.0.0.1:{}/mymaster",
        set.sentinels[0].port
    ));
    for sentinel in &mut set.sentinels[1..] {
        sentinel.kill();
    }
    wait_for("the lease ends", TTL + SOON, || {
        (!pair.agents[0].leads()).then_some(())
    });
    let warned = pair.agents[0].logged(&["WARN", "renewal failed", "only 1 of 3 name"]);
    assert!(!warned.is_empty(), "it says why");
    never("the standby leads", 2 * TTL, || pair.agents[1].leads());
    // A host that cannot be found does not answer.
    assert_eq!(pair.agents[1].metric("ha_miner_redis_up"), Some(0.0));
    assert_eq!(pair.agents[1].status()["redis"]["reachable"], false);
    for sentinel in &mut set.sentinels[1..] {
        sentinel.start_again();
    }
    pair.leads_again(boottime_ns());
}

#[test]
fn sentinels_and_redis_may_each_ask_for_a_password() {
    let mut set = Sentinels::guarded();
    let [redis, sentinel] = PASSWORDS;
    // At the sentinels the user needs no more than docs/redis.md says.
    let may = format!(
        "ACL SETUSER agent on >{sentinel} resetchannels &+switch-master -@all +sentinel +subscribe"
    );
    for sentinel in &set.sentinels {
        let told = sentinel.ask(&may.split(' ').collect::<Vec<_>>());
        assert_eq!(told.ok().as_deref(), Some("+OK"));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sentinel");
    std::fs::write(&file, sentinel).expect("a file");
    let url = set.url().replacen("://", &format!("://:{redis}@"), 1);
    let file = file.display().to_string();
    let flags = [
        "--redis-url",
        &url,
        "--sentinel-username",
        "agent",
        "--sentinel-password-file",
        &file,
        "--miner-liveness",
        "always",
    ];
    let agent = Agent::spawn("a", &[&flags[..], &FLAGS].concat());
    agent.wait_until_leading(SOON);
    wait_for("it listens", SOON, || {
        (agent.status()["hears_events"] == true).then_some(())
    });
    for sentinel in &set.sentinels {
        let refused = sentinel.ask(&["ACL", "LOG"]);
        assert_eq!(refused.ok().as_deref(), Some("*0"), "nothing was refused");
    }
    set.primary.kill();
    set.wait_until_promoted();
    wait_for("the lock stands on the new primary", SOON, || {
        let told = set.replica.ask(&["GET", LOCK]).ok()?;
        told.starts_with("a-").then_some(())
    });
    agent.wait_until_leading(SOON);
}

#[test]
fn a_slot_that_moves_takes_the_lock_with_it() {
    let cluster = Cluster::start();
    let pair = Pair::start(&cluster.url());
    let token = pair.agents[0].token();
    let (owner, _) = cluster.owner(LOCK);
    let other = (owner + 1) % 3;
    cluster.move_slot([LOCK, RECORD], owner, other);
    let moved = boottime_ns();
    pair.leads_again(moved);
    assert_eq!(pair.agents[0].token(), token, "the same term");
    assert!(cluster.nodes[other].tell(&["GET", LOCK]).starts_with("a-"));
}

#[test]
fn a_replica_of_a_cluster_is_promoted_under_a_live_leader() {
    let mut cluster = Cluster::start();
    let pair = Pair::start(&cluster.url());
    let (owner, replica) = cluster.owner(LOCK);
    cut(&cluster.nodes[replica]);
    std::thread::sleep(TTL / 2);
    cluster.nodes[owner].kill();
    cluster.wait_until_promoted(replica);
    pair.leads_again(boottime_ns());
    // It comes back as a replica, and a planned failover makes it the primary again.
    cluster.nodes[owner].start_again();
    wait_for("the old owner follows", SOON, || {
        let told = cluster.nodes[owner].tell(&["INFO", "replication"]);
        told.contains("master_link_status:up").then_some(())
    });
    let token = pair.agents.iter().find_map(Agent::token);
    cluster.nodes[owner].tell(&["CLUSTER", "FAILOVER"]);
    wait_for("it owns the slot again", SOON, || {
        let told = cluster.nodes[owner].tell(&["GET", LOCK]);
        (!told.starts_with('-')).then_some(())
    });
    let moved = boottime_ns();
    pair.leads_again(moved);
    assert_eq!(
        pair.agents.iter().find_map(Agent::token),
        token,
        "the same term"
    );
}

/// The node was reset and forgotten, and owns every slot of its own cluster; its address is still in the URL.
#[test]
fn a_node_that_was_cast_out_leads_nobody_astray() {
    let cluster = Cluster::start();
    let (owner, _) = cluster.owner(LOCK);
    let outcast = (owner + 1) % 3 + 3;
    cluster.cast_out(outcast);
    let [port, other] = [outcast, owner].map(|node| cluster.nodes[node].port);
    for url in [
        cluster.url(),
        format!("redis-cluster://127.0.0.1:{port},127.0.0.1:{other}"),
    ] {
        let flags = [
            &["--redis-url", &url, "--miner-liveness", "always"],
            &FLAGS[..],
        ]
        .concat();
        let agents = ["a", "b", "c", "d"].map(|name| Agent::spawn(name, &flags));
        agents.iter().for_each(Agent::wait_until_up);
        wait_for("somebody leads", 3 * TTL + SOON, || {
            agents.iter().any(Agent::leads).then_some(())
        });
        never("there are two leaders", 2 * TTL, || {
            agents.iter().filter(|agent| agent.leads()).count() > 1
        });
        assert_eq!(cluster.nodes[outcast].tell(&["DBSIZE"]), ":0");
    }
}
