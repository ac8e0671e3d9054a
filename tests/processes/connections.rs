//! A lost connection says nothing about Redis: servers close idle connections, and networks forget them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use stage::cost::{connections, status};
use stage::proxy::Proxy;
use stage::{Agent, Cluster, Miner, Redis, Sentinels, boottime_ns, never, wait_for};

const SOON: Duration = Duration::from_secs(10);
/// How long a hand-over may take on a busy machine: far less than any pause after a failure.
const FAST: Duration = Duration::from_millis(700);
/// What an agent logs when something failed.
const FAILED: [&str; 4] = ["failed", "refused", "does not answer", "not ready"];

struct Pair {
    agents: [Agent; 2],
    miners: [Miner; 2],
}

impl Pair {
    fn start(url: &str, redis: &Redis, flags: &[&str]) -> Self {
        let flags = [&["--redis-url", url], flags].concat();
        begin_and_release(url, redis);
        let agents = ["a", "b"].map(|name| Agent::spawn(name, &flags));
        agents.iter().for_each(Agent::wait_until_up);
        let first = Miner::start("a", &agents[0], redis);
        first.wait_until_acting(0, SOON);
        let second = Miner::start("b", &agents[1], redis);
        agents[1].wait_for_reason("held_by_other", SOON);
        Self {
            agents,
            miners: [first, second],
        }
    }

    /// Kills the leader's miner; the other must lead at once. Then the roles are swapped.
    #[track_caller]
    fn hands_over(&mut self, redis: &Redis) {
        let since = boottime_ns();
        self.miners[0].kill();
        let told = self.miners[1].wait_until_told_to_lead(since, 2 * SOON);
        let took = Duration::from_nanos(told - since);
        assert!(took < FAST, "the other miner was told after {took:?}");
        self.miners[0] = Miner::start(&self.agents[0].name, &self.agents[0], redis);
        self.agents[0].wait_for_reason("held_by_other", SOON);
        self.agents.swap(0, 1);
        self.miners.swap(0, 1);
    }

    /// Checks that nothing was logged as a failure.
    #[track_caller]
    fn was_calm(&self) {
        for agent in &self.agents {
            for level in [" WARN ", "ERROR "] {
                for word in FAILED {
                    let told = agent.logged(&[level, word]);
                    assert!(told.is_empty(), "{}: {told:?}", agent.name);
                }
            }
            let failures = agent.metric(
                "ha_miner_leader_acquisition_failures_total{instance=\"a\",reason=\"redis_error\"}",
            );
            assert!(failures.is_none_or(|it| it == 0.0), "{failures:?}");
        }
    }
}

/// Runs a first term with a short lease and gives it back, so that the next one need not wait for the store to settle.
fn begin_and_release(url: &str, redis: &Redis) {
    let agent = Agent::spawn("first", &["--redis-url", url, "--lease-ttl", "1s"]);
    agent.wait_until_up();
    let mut miner = Miner::start("first", &agent, redis);
    miner.wait_until_acting(0, SOON);
    miner.kill();
    agent.wait_for_log(&["lock released"]);
}

/// Closes every connection of Redis.
fn close_all(redis: &Redis) {
    for kind in ["normal", "pubsub"] {
        redis.tell(&["CLIENT", "KILL", "TYPE", kind]);
    }
}

/// Managed services set `timeout` to some minutes.
#[test]
fn a_server_that_closes_idle_connections_costs_no_hand_over() {
    let redis = Redis::with(&["--timeout", "1"]);
    let mut pair = Pair::start(&redis.url(), &redis, &["--lease-ttl", "30s"]);
    // Long enough for Redis to close idle connections, for which it looks now and then.
    std::thread::sleep(Duration::from_secs(4));
    pair.hands_over(&redis);
    std::thread::sleep(Duration::from_secs(4));
    pair.hands_over(&redis);
    pair.was_calm();
}

#[test]
fn connections_that_are_killed_right_before_a_hand_over_cost_nothing() {
    let redis = Redis::start();
    let mut pair = Pair::start(&redis.url(), &redis, &["--lease-ttl", "30s"]);
    for _ in 0..10 {
        close_all(&redis);
        pair.hands_over(&redis);
    }
    pair.was_calm();
}

#[test]
fn connections_that_are_killed_all_the_time_cost_no_renewal_and_no_rehearsal() {
    let redis = Redis::start();
    let pair = Pair::start(&redis.url(), &redis, &["--lease-ttl", "3s"]);
    let ready = "ha_miner_leader_takeover_ready{instance=\"b\"}";
    wait_for("the standby has rehearsed", SOON, || {
        (pair.agents[1].metric(ready) == Some(1.0)).then_some(())
    });
    never("it is lost", Duration::from_secs(8), || {
        close_all(&redis);
        std::thread::sleep(Duration::from_millis(95));
        !pair.agents[0].leads() || pair.agents[1].metric(ready) != Some(1.0)
    });
    pair.was_calm();
}

/// The one that carries checks and rehearsals too.
#[test]
fn a_subscription_that_is_killed_all_the_time_costs_no_check() {
    let redis = Redis::start();
    let mut pair = Pair::start(&redis.url(), &redis, &["--lease-ttl", "30s"]);
    for agent in &pair.agents {
        wait_for("it is ready", SOON, || ready(agent).then_some(()));
    }
    never("it is not ready", Duration::from_secs(3), || {
        redis.tell(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        std::thread::sleep(Duration::from_millis(45));
        !pair.agents.iter().all(ready)
    });
    pair.hands_over(&redis);
    pair.was_calm();
}

/// Redis closes a connection to which it cannot send as fast as others publish.
#[test]
fn a_flood_of_messages_hides_no_check_and_takes_no_memory() {
    let limit = "pubsub 1mb 1mb 1";
    let redis = Redis::with(&["--client-output-buffer-limit", limit]);
    let mut pair = Pair::start(&redis.url(), &redis, &["--lease-ttl", "30s"]);
    for agent in &pair.agents {
        wait_for("it is ready", SOON, || ready(agent).then_some(()));
    }
    let flood = Flood::start(&redis);
    let began = Instant::now();
    let (mut asked, mut ready_at) = (0, began);
    while began.elapsed() < Duration::from_secs(4) {
        asked += 1;
        if pair.agents.iter().all(ready) {
            ready_at = Instant::now();
        }
        let blind = ready_at.elapsed();
        assert!(blind < Duration::from_millis(900), "blind for {blind:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Nobody listens to a flood: the standby looks each half second.
    pair.agents[1].wait_for_log(&["WARN", "floods the events channel"]);
    let since = boottime_ns();
    pair.miners[0].kill();
    let told = pair.miners[1].wait_until_told_to_lead(since, SOON);
    let took = Duration::from_nanos(told - since);
    assert!(took < Duration::from_millis(1500), "{took:?}");
    let published = flood.end();
    println!("{asked} times asked, {published} bytes published");
    assert!(published > 20_000_000, "a flood: {published} bytes");
    for agent in &pair.agents {
        let most = status(agent.pid(), "VmHWM");
        println!("{}: {most} kB at most", agent.name);
        assert!(most < 40_000, "{}: {most} kB", agent.name);
    }
}

/// Checks go on, on another connection, and so does the subscription on the old one, until something is said there.
#[test]
fn a_check_that_is_late_leaves_the_subscription_listening() {
    let redis = Redis::start();
    let pair = Pair::start(&redis.url(), &redis, &["--lease-ttl", "30s"]);
    let agent = &pair.agents[1];
    wait_for("it is ready", SOON, || ready(agent).then_some(()));
    let listening = || {
        let clients = redis.tell(&["CLIENT", "LIST", "TYPE", "pubsub"]);
        let mut ports = connections(agent.pid(), redis.port).into_iter();
        ports.find(|port| clients.contains(&format!(" addr=127.0.0.1:{port} ")))
    };
    let before = listening().expect("it listens");
    std::thread::sleep(Duration::from_millis(600));
    redis.tell(&["CLIENT", "PAUSE", "1000", "WRITE"]);
    assert!(!ready(agent), "the check waits with the writes");
    wait_for("it is ready again", SOON, || ready(agent).then_some(()));
    assert_eq!(listening(), Some(before), "it went on listening");
    redis.tell(&["PUBLISH", "{ha:miner:global_leader}:events", "nonsense"]);
    wait_for("it has moved, and two are open", SOON, || {
        let open = connections(agent.pid(), redis.port).len();
        (open == 2 && listening().is_some_and(|port| port != before)).then_some(())
    });
}

/// A server, or a proxy, that knows no RESP3: one connection more, and all else as elsewhere.
#[test]
fn without_resp3_the_subscription_has_a_connection_of_its_own() {
    let redis = Redis::with(&["--rename-command", "HELLO", ""]);
    let mut pair = Pair::start(&redis.url(), &redis, &["--lease-ttl", "30s"]);
    for _ in 0..3 {
        close_all(&redis);
        pair.hands_over(&redis);
    }
    for agent in &pair.agents {
        wait_for("three connections, and ready", SOON, || {
            // The check dials its connection when somebody asks.
            let ready = ready(agent);
            let open = connections(agent.pid(), redis.port).len();
            (open == 3 && ready).then_some(())
        });
    }
    pair.was_calm();
}

fn ready(agent: &Agent) -> bool {
    agent.get("/ready").is_ok_and(|(code, _)| code == 200)
}

/// Publishes on the events channel as fast as Redis takes it.
struct Flood {
    stream: TcpStream,
    publishing: std::thread::JoinHandle<usize>,
}

impl Flood {
    fn start(redis: &Redis) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", redis.port)).expect("Redis answers");
        let kept = stream.try_clone().expect("a second handle");
        let mut answers = stream.try_clone().expect("a third");
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while answers.read(&mut buffer).is_ok_and(|read| read > 0) {}
        });
        let (channel, text) = ("{ha:miner:global_leader}:events", "x".repeat(1000));
        let publish = format!("PUBLISH {channel} {text}\r\n").repeat(100);
        let publishing = std::thread::spawn(move || {
            let mut sent = 0;
            while stream.write_all(publish.as_bytes()).is_ok() {
                sent += publish.len();
            }
            sent
        });
        Self {
            stream: kept,
            publishing,
        }
    }

    /// How many bytes were published.
    fn end(self) -> usize {
        self.stream
            .shutdown(Shutdown::Both)
            .expect("an open stream");
        self.publishing.join().expect("no panic")
    }
}

#[test]
fn a_network_that_closes_idle_connections_costs_no_hand_over() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.port);
    let url = format!("redis://127.0.0.1:{}", proxy.port);
    let mut pair = Pair::start(&url, &redis, &["--lease-ttl", "30s"]);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_secs(1));
        proxy.cut();
        pair.hands_over(&redis);
    }
    pair.was_calm();
}

/// A NAT forgets a connection and tells neither end. The kernel's keepalive finds out before a takeover needs it.
#[test]
fn a_network_that_forgets_connections_costs_no_hand_over_after_some_seconds() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.port);
    let url = format!("redis://127.0.0.1:{}", proxy.port);
    let mut pair = Pair::start(&url, &redis, &["--lease-ttl", "30s"]);
    proxy.forget();
    // Three seconds of silence, four without an acknowledgement, and one for the kernel's timer.
    std::thread::sleep(Duration::from_secs(9));
    pair.hands_over(&redis);
}

#[test]
fn sentinels_that_close_connections_cost_no_hand_over() {
    let set = Sentinels::start();
    let mut pair = Pair::start(&set.url(), &set.primary, &["--lease-ttl", "30s"]);
    for _ in 0..3 {
        for sentinel in &set.sentinels {
            let killed = sentinel.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
            assert!(
                killed.is_ok_and(|it| it.starts_with(':')),
                "a sentinel closes them"
            );
            // Redis 6.2 has no type of its own for subscribers.
            let _ = sentinel.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        }
        close_all(&set.primary);
        pair.hands_over(&set.primary);
    }
    pair.was_calm();
}

#[test]
fn nodes_of_a_cluster_that_close_connections_cost_no_hand_over() {
    let cluster = Cluster::start();
    let register = Redis::start();
    let mut pair = Pair::start(&cluster.url(), &register, &["--lease-ttl", "30s"]);
    for _ in 0..3 {
        cluster.nodes.iter().for_each(close_all);
        pair.hands_over(&register);
    }
    pair.was_calm();
}
