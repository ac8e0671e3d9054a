//! A miner that does not campaign: the agent asks it whether it is healthy.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use stage::proxy::{Mode, Proxy};
use stage::{Agent, Redis, never, wait_for};

const SOON: Duration = Duration::from_secs(10);
const MINER_TIMEOUT: Duration = Duration::from_millis(900);
const FLAGS: [&str; 6] = [
    "--lease-ttl",
    "3s",
    "--miner-timeout",
    "900ms",
    "--miner-liveness",
    "probe",
];

/// A miner that serves HTTP and answers with this code; 0: not at all.
struct Served {
    port: u16,
    code: Arc<AtomicU16>,
}

impl Served {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let code = Arc::new(AtomicU16::new(200));
        let answers = Arc::clone(&code);
        // The thread ends with the process.
        thread::spawn(move || {
            let mut silent = Vec::new();
            for mut stream in listener.incoming().flatten() {
                let mut head = [0; 1024];
                let read = stream.read(&mut head).unwrap_or(0);
                assert!(head[..read].starts_with(b"GET /health?deep=1 HTTP/1.1\r\n"));
                match answers.load(Ordering::Relaxed) {
                    0 => silent.push(stream),
                    code => {
                        let answer = format!("HTTP/1.1 {code} Said\r\nContent-Length: 0\r\n\r\n");
                        // The client may be gone.
                        let _ = stream.write_all(answer.as_bytes());
                    }
                }
            }
        });
        Self { port, code }
    }

    fn says(&self, code: u16) {
        self.code.store(code, Ordering::Relaxed);
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/health?deep=1", self.port)
    }
}

#[test]
fn a_miner_that_is_not_healthy_is_succeeded_after_its_timeout() {
    let redis = Redis::start();
    let miners = [Served::start(), Served::start()];
    let agents = [0, 1].map(|it: usize| {
        let url = miners[it].url();
        Agent::start(
            ["a", "b"][it],
            &redis,
            &[&["--miner-probe", &url], &FLAGS[..]].concat(),
        )
    });
    wait_for("somebody leads", SOON, || {
        agents.iter().any(Agent::leads).then_some(())
    });
    let leader = usize::from(!agents[0].leads());
    let other = 1 - leader;
    // An unhealthy miner, and then a silent one.
    for (sick, next, code) in [(leader, other, 503), (other, leader, 0)] {
        let token = agents[sick].token();
        miners[next].says(204);
        wait_for("the next is a candidate", SOON, || {
            (agents[next].reason() == "held_by_other").then_some(())
        });
        miners[sick].says(code);
        let since = Instant::now();
        agents[next].wait_until_leading(SOON);
        let took = since.elapsed();
        // The last good answer may be a heartbeat old, and the hand-over takes time.
        assert!(
            took < MINER_TIMEOUT + Duration::from_millis(1000),
            "{took:?}"
        );
        assert!(agents[next].token() > token);
        assert_eq!(agents[sick].reason(), "miner_silent");
        let warned = agents[sick].logged(&["WARN", "the miner is not healthy"]);
        assert!(!warned.is_empty());
    }
}

#[test]
fn a_port_that_takes_connections_is_alive() {
    let redis = Redis::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let probe = format!("tcp://{}", listener.local_addr().expect("its address"));
    let agent = Agent::start(
        "a",
        &redis,
        &[&["--miner-probe", &probe], &FLAGS[..]].concat(),
    );
    agent.wait_until_leading(SOON);
    drop(listener);
    wait_for("it leads no more", SOON, || (!agent.leads()).then_some(()));
    never("it leads without a miner", Duration::from_secs(2), || {
        agent.leads()
    });
}

/// The agent's own health service stands in for a miner's.
#[test]
fn a_grpc_health_service_is_asked() {
    let redis = Redis::start();
    let mut miner = Agent::start("miner", &Redis::start(), &[]);
    miner.wait_until_up();
    let probe = format!("grpc://{}/", miner.address());
    let agent = Agent::start(
        "a",
        &redis,
        &[&["--miner-probe", &probe], &FLAGS[..]].concat(),
    );
    agent.wait_until_leading(SOON);
    miner.kill();
    wait_for("it leads no more", SOON, || (!agent.leads()).then_some(()));
    // A service that it does not have is not healthy.
    miner.start_again();
    agent.wait_until_leading(SOON);
    let probe = format!("grpc://{}/nonsense", miner.address());
    let other = Agent::start(
        "b",
        &redis,
        &[&["--miner-probe", &probe], &FLAGS[..]].concat(),
    );
    other.wait_until_up();
    wait_for("it is told", SOON, || {
        (!other
            .logged(&["WARN", "the miner is not healthy"])
            .is_empty())
        .then_some(())
    });
    assert_eq!(other.reason(), "no_miner");
}

/// A client that polls `/leader` may act on a yes until it asks again. When a lease runs out, docs/safety.md promises 1 % of
/// the TTL and 200 ms between the last yes of one agent and the first of the next, whatever else happens. Here the agent
/// that has lost its lease is told to stop. `RUNS=1000` repeats it more often.
#[test]
fn nobody_says_yes_for_a_while_after_a_lease_has_run_out() {
    const TTL: Duration = Duration::from_secs(1);
    let promised = TTL / 100 + Duration::from_millis(200);
    let flags = ["--lease-ttl", "1s", "--miner-liveness", "always"];
    let runs = std::env::var("RUNS").ok().and_then(|it| it.parse().ok());
    let mut gaps = Vec::new();
    for _ in 0..runs.unwrap_or(5) {
        let redis = Redis::start();
        let proxy = Proxy::start(redis.port);
        let url = format!("redis://127.0.0.1:{}", proxy.port);
        let mut first = Agent::spawn("a", &[&["--redis-url", &url], &flags[..]].concat());
        first.wait_until_leading(SOON);
        let second = Agent::start("b", &redis, &flags);
        second.wait_until_up();
        second.wait_for_reason("held_by_other", SOON);
        proxy.set(Mode::BlackHole);
        let mut last_yes = Instant::now();
        wait_for("its lease runs out", SOON, || {
            let asked = Instant::now();
            if first.leads() {
                last_yes = asked;
                return None;
            }
            Some(())
        });
        proxy.cut();
        proxy.set(Mode::Pass);
        first.signal(rustix::process::Signal::TERM);
        second.wait_until_leading(SOON);
        gaps.push(last_yes.elapsed());
        assert!(first.wait_until_gone(SOON).success());
    }
    let least = gaps.iter().min().expect("a run");
    println!("{} runs, the shortest gap was {least:?}", gaps.len());
    assert!(*least >= promised, "{least:?}, promised are {promised:?}");
}
