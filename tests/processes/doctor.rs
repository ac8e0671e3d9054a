//! `understudy doctor` reports in advance what would not work, and changes nothing.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use stage::{Agent, Cluster, Miner, Redis, Sentinels, boottime_ns, engines, program, wait_for};

const SOON: Duration = Duration::from_secs(10);

struct Report {
    code: i32,
    text: String,
    checks: Vec<Value>,
}

impl Report {
    /// The verdict, the finding and the advice of one check.
    fn check(&self, name: &str) -> (&str, String) {
        let found = self.checks.iter().find(|check| check["check"] == name);
        let check = found.unwrap_or_else(|| panic!("no check {name} in\n{}", self.text));
        let said = format!("{} → {}", check["says"], check["advice"]);
        (check["verdict"].as_str().expect("a verdict"), said)
    }

    fn must(&self, name: &str, verdict: &str, part: &str) {
        let (found, said) = self.check(name);
        assert!(
            found == verdict && said.contains(part),
            "{name}: {found}: {said}"
        );
    }
}

fn doctor(flags: &[&str]) -> Report {
    let run = |more: &[&str]| {
        let mut command = Command::new(program("UNDERSTUDY_BIN", "understudy"));
        let output = command.arg("doctor").args(flags).args(more).output();
        let output = output.expect("the doctor runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code().expect("a code"), text)
    };
    let (code, text) = run(&[]);
    let (_, json) = run(&["--json"]);
    let json: Value = serde_json::from_str(&json).unwrap_or_else(|_| panic!("no JSON: {json}"));
    let checks = json["checks"].as_array().expect("checks").clone();
    // No bounds for a server that was not reached.
    let bounds = json["bounds"].as_array().expect("bounds").len();
    let reached = checks[0]["verdict"] != "fail";
    assert!(
        if reached { bounds >= 8 } else { bounds == 0 },
        "{bounds} bounds"
    );
    Report { code, text, checks }
}

#[test]
fn a_redis_that_will_do_passes_on_every_engine_and_is_left_as_it_was() {
    for engine in engines() {
        let redis = Redis::of(&engine, &["--maxmemory", "100mb"]);
        let report = doctor(&["--redis-url", &redis.url()]);
        assert_eq!(report.code, 0, "{}\n{}", engine.display(), report.text);
        let fine = report.checks.iter().all(|check| check["verdict"] == "ok");
        assert!(fine, "{}\n{}", engine.display(), report.text);
        report.must("acquire in OOM", "ok", "by evidence");
        assert!(report.text.contains("31.0 s  the pod or the node dies"));
        redis.tell(&["CONFIG", "SET", "maxmemory", "1"]);
        let report = doctor(&["--redis-url", &redis.url()]);
        report.must("acquire in OOM", "ok", "taken all the same (first_write)");
        report.must("memory", "warn", "out of memory now");
        assert_eq!(redis.tell(&["DBSIZE"]), ":0");
    }
}

#[test]
fn what_is_wrong_is_named_with_what_to_do() {
    let redis = Redis::start();
    let url = redis.url();
    doctor(&["--redis-url", &url]).must("memory", "warn", "no maxmemory");
    redis.tell(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    doctor(&["--redis-url", &url]).must("eviction", "warn", "once a maxmemory is set");
    redis.tell(&["CONFIG", "SET", "maxmemory", "100mb"]);
    let report = doctor(&["--redis-url", &url]);
    assert_eq!(report.code, 1);
    report.must("eviction", "fail", "set maxmemory-policy noeviction");
    let allowed = doctor(&["--redis-url", &url, "--allow-eviction"]);
    allowed.must("eviction", "warn", "accepts");
    redis.tell(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    doctor(&["--redis-url", &url, "--acquire-under-oom=false"]).must(
        "acquire in OOM",
        "warn",
        "nobody can be elected",
    );
    redis.tell(&["SET", "ha:miner:global_leader", "host-1", "EX", "30"]);
    doctor(&["--redis-url", &url]).must("lock", "warn", "host-1 holds it for another");
    redis.tell(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let report = doctor(&["--redis-url", &url]);
    report.must("acquire", "fail", "NOREPLICAS");
    assert_eq!(report.code, 1);
}

/// How many more agents a Redis can carry, and what happens to idle ones.
#[test]
fn room_for_agents_and_idle_connections_are_told() {
    let redis = Redis::with(&["--maxclients", "100"]);
    let url = redis.url();
    let report = doctor(&["--redis-url", &url]);
    report.must(
        "clients",
        "ok",
        "of 100 connections (maxclients): room for 4",
    );
    report.must("clients", "ok", "idle ones are kept");
    redis.tell(&["CONFIG", "SET", "timeout", "300"]);
    doctor(&["--redis-url", &url]).must("clients", "ok", "closed after 300 s");
    redis.tell(&["CONFIG", "SET", "timeout", "5"]);
    let hasty = doctor(&["--redis-url", &url]);
    hasty.must("clients", "warn", "above --renew-every (10 s)");
    redis.tell(&["CONFIG", "SET", "maxclients", "20"]);
    let report = doctor(&["--redis-url", &url]);
    report.must("clients", "warn", "raise maxclients");
    assert_eq!(report.code, 0, "{}", report.text);
}

#[test]
fn another_lock_is_found() {
    let redis = Redis::start();
    let url = redis.url();
    doctor(&["--redis-url", &url]).must("other locks", "ok", "no other key");
    redis.tell(&["SET", "prod:miner:global_leader", "host-1", "EX", "30"]);
    let report = doctor(&["--redis-url", &url]);
    report.must(
        "other locks",
        "warn",
        "prod:miner:global_leader is held by host-1, by a miner",
    );
    assert_eq!(report.code, 0);
    let theirs = [
        "--redis-url",
        &url,
        "--lock-key",
        "prod:miner:global_leader",
    ];
    doctor(&theirs).must("other locks", "ok", "no other key");
    redis.tell(&[
        "ACL", "SETUSER", "miner", "on", ">word", "~*", "&*", "+@all", "-scan",
    ]);
    let url = format!("redis://miner:word@127.0.0.1:{}", redis.port);
    doctor(&["--redis-url", &url]).must("other locks", "ok", "SCAN is refused");
}

#[test]
fn a_server_of_another_kind_is_recognised() {
    let set = Sentinels::start();
    let report = doctor(&["--redis-url", &set.replica.url()]);
    report.must("role", "fail", "point --redis-url at the primary");
    let report = doctor(&["--redis-url", &set.url()]);
    report.must(
        "role",
        "ok",
        &format!("127.0.0.1:{} is mymaster, by a majority", set.primary.port),
    );
    report.must("replicas", "warn", "min-replicas-to-write 1");
    assert_eq!(report.code, 0, "{}", report.text);
    let cluster = Cluster::start();
    let (owner, _) = cluster.owner("ha:miner:global_leader");
    let report = doctor(&["--redis-url", &cluster.nodes[owner].url()]);
    report.must("role", "fail", "write redis-cluster://");
    let report = doctor(&["--redis-url", &cluster.url()]);
    let slot = cluster.nodes[owner].tell(&["CLUSTER", "KEYSLOT", "ha:miner:global_leader"]);
    let owns = format!(
        "{} owns the lock's slot {},",
        cluster.nodes[owner].port,
        slot.trim_start_matches(':')
    );
    report.must("role", "ok", &owns);
    assert_eq!(report.code, 0, "{}", report.text);
}

#[test]
fn nobody_there_and_nobody_let_in_are_told_apart() {
    let redis = Redis::with(&["--requirepass", "word"]);
    let quick = ["--redis-timeout", "500ms"];
    let report = doctor(&[&["--redis-url", &redis.url()], &quick[..]].concat());
    report.must("reach", "fail", "--redis-password-file");
    let tls = format!("rediss://:word@127.0.0.1:{}", redis.port);
    let report = doctor(&[&["--redis-url", &tls], &quick[..]].concat());
    report.must("reach", "fail", "write redis:// instead of rediss://");
    let nobody = format!("redis://127.0.0.1:{}", stage::free_port());
    let report = doctor(&[&["--redis-url", &nobody], &quick[..]].concat());
    report.must("reach", "fail", "refused");
    assert_eq!((report.code, report.checks.len()), (1, 1));
    let cluster = format!("redis-cluster://:word@127.0.0.1:{}", redis.port);
    let report = doctor(&[&["--redis-url", &cluster], &quick[..]].concat());
    report.must("reach", "fail", "cluster support disabled");
}

/// The printed ACL line is enough for an agent, out of memory too: Redis refuses nothing that an agent does.
#[test]
fn the_acl_line_is_enough_on_every_engine() {
    for engine in engines() {
        the_acl_line_is_enough(&Redis::of(&engine, &[]));
    }
}

fn the_acl_line_is_enough(redis: &Redis) {
    redis.tell(&["ACL", "SETUSER", "miner", "on", ">word", "~*", "+ping"]);
    let url = format!("redis://miner:word@127.0.0.1:{}", redis.port);
    let report = doctor(&["--redis-url", &url]);
    assert_eq!(report.code, 1);
    let (_, said) = report.check("permissions");
    let (_, line) = said
        .split_once("ACL SETUSER miner on >… ")
        .expect("the line");
    let rights = line.trim_end_matches('"').split(' ');
    let words = ["ACL", "SETUSER", "miner", "reset", "on", ">word"].into_iter();
    assert_eq!(redis.tell(&words.chain(rights).collect::<Vec<_>>()), "+OK");
    redis.tell(&["ACL", "LOG", "RESET"]);
    let flags = [
        "--lease-ttl",
        "3s",
        "--miner-liveness",
        "always",
        "--redis-url",
        &url,
    ];
    let mut agents = ["a", "b"].map(|name| Agent::spawn(name, &flags));
    wait_for("somebody leads", SOON, || {
        agents.iter().any(Agent::leads).then_some(())
    });
    redis.fill();
    let leader = usize::from(!agents[0].leads());
    agents[leader].kill();
    agents[1 - leader].wait_until_leading(SOON);
    assert_eq!(redis.tell(&["ACL", "LOG"]), "*0", "nothing was refused");
    doctor(&["--redis-url", &url]).must("permissions", "ok", "miner may do all");
}

/// Managed services refuse some commands. The agent does without those it can do without.
#[test]
fn what_a_service_refuses_is_lived_without_or_named() {
    let redis = Redis::start();
    let words = "ACL SETUSER miner on >word ~* &* +@all -config -script -command -subscribe -publish -client";
    assert_eq!(redis.tell(&words.split(' ').collect::<Vec<_>>()), "+OK");
    let url = format!("redis://miner:word@127.0.0.1:{}", redis.port);
    let report = doctor(&["--redis-url", &url]);
    assert_eq!(report.code, 0, "{}", report.text);
    report.must("permissions", "warn", "refused: PUBLISH, SUBSCRIBE");
    report.must("events", "warn", "standbys look every 500 ms instead");
    report.must("acquire in OOM", "warn", "COMMAND is refused here");
    redis.tell(&["ACL", "SETUSER", "miner", "+subscribe"]);
    let report = doctor(&["--redis-url", &url]);
    report.must("events", "warn", "when they next look, up to 10 s later");
    redis.tell(&["ACL", "SETUSER", "miner", "-subscribe"]);
    let flags = ["--lease-ttl", "3s", "--redis-url", &url];
    let mut agents = ["a", "b"].map(|name| Agent::spawn(name, &flags));
    agents.iter().for_each(Agent::wait_until_up);
    let mut first = Miner::start("first", &agents[0], &redis);
    first.wait_until_acting(0, SOON);
    let second = Miner::start("second", &agents[1], &redis);
    agents[1].wait_for_reason("held_by_other", SOON);
    redis.tell(&["SCRIPT", "FLUSH"]);
    let killed = boottime_ns();
    first.kill();
    let took = second.wait_until_told_to_lead(killed, SOON) - killed;
    assert!(took < 1_500_000_000, "{took} ns");
    agents.iter_mut().for_each(Agent::kill);
    // Without INFO the agent cannot tell that data was lost.
    redis.tell(&["ACL", "SETUSER", "miner", "-info"]);
    let report = doctor(&["--redis-url", &url]);
    assert_eq!(report.code, 1);
    report.must("permissions", "fail", "INFO");
    agents[0].start_again();
    agents[0].wait_until_up();
    agents[0].wait_for_reason("no_miner", SOON);
    let _third = Miner::start("third", &agents[0], &redis);
    agents[0].wait_for_reason("redis_no_permission", SOON);
}
