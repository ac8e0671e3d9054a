//! Clients that send nonsense, too much, or nothing at all: the election continues, memory stays
//! bounded, and afterwards everything answers as before.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use stage::{Agent, Redis, never, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(10);
/// Far more memory than an agent needs, and less than ten thousand of anything would take.
const BOUND_KB: u64 = 48 * 1024;

struct Leading {
    redis: Redis,
    agent: Agent,
    token: u64,
}

fn leading() -> Leading {
    let redis = Redis::start();
    let flags = ["--miner-liveness", "always", "--lease-ttl", "3s"];
    let agent = Agent::start("a", &redis, &flags);
    agent.wait_until_up();
    agent.wait_until_leading(SOON);
    let token = agent.token().expect("a leader has one");
    Leading {
        redis,
        agent,
        token,
    }
}

impl Leading {
    fn resident_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.agent.pid()));
        let status = status.expect("the agent runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.expect("the kernel tells")
    }

    /// Checks that it led all the time, under the same token.
    fn unmoved(&self) {
        let status = wait_for("the agent answers", SOON, || {
            let (code, body) = self.agent.get("/status").ok()?;
            (code == 200).then_some(body)
        });
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        assert_eq!(
            status["fencing_token"].as_u64(),
            Some(self.token),
            "{status}"
        );
        assert_eq!(status["elections"].as_u64(), Some(1), "{status}");
        assert!(self.resident_kb() < BOUND_KB, "{} kB", self.resident_kb());
    }
}

fn connect(port: u16) -> Option<TcpStream> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    TcpStream::connect_timeout(&address, Duration::from_millis(20)).ok()
}

/// Ten thousand connections, some of them half-way through a request, a few hundred open at any moment.
#[test]
fn ten_thousand_connections_pass() {
    let leading = leading();
    for port in [leading.agent.http, leading.agent.grpc] {
        let mut open = std::collections::VecDeque::new();
        let began = Instant::now();
        let mut tried = 0;
        // Once the server lets nobody in, each attempt takes a while, so do not make all of them.
        while tried < 10_000 && began.elapsed() < SOON {
            tried += 1;
            if let Some(mut stream) = connect(port) {
                let begun: &[u8] = match tried % 3 {
                    0 => b"",
                    1 => b"GET /ready HTTP/1.1\r\nHost: ",
                    _ => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
                };
                // The agent may have closed it already.
                let _ = stream.write_all(begun);
                open.push_back(stream);
            }
            if open.len() > 300 {
                open.pop_front();
            }
        }
        assert!(tried > 400, "{tried} connections tried");
        assert!(
            leading.resident_kb() < BOUND_KB,
            "{} kB",
            leading.resident_kb()
        );
    }
    leading.unmoved();
}

#[test]
fn nonsense_is_survived() {
    let leading = leading();
    let mut runner = TestRunner::deterministic();
    let any_bytes = prop::collection::vec(any::<u8>(), 0..2000);
    let heads: [&[u8]; 6] = [
        b"",
        b"GET /",
        b"GET /metrics HTTP/1.1\r\n",
        b"POST /ready HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ];
    for number in 0..600 {
        let tree = any_bytes.new_tree(&mut runner).expect("bytes");
        for port in [leading.agent.http, leading.agent.grpc] {
            let Some(mut stream) = connect(port) else {
                continue;
            };
            let head = heads[number % heads.len()];
            // The agent may close it while we still send.
            let _ = stream.write_all(&[head, &tree.current()].concat());
            if number % 50 == 0 {
                let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
                let _ = stream.read(&mut [0; 1000]);
            }
        }
    }
    leading.unmoved();
}

/// A head without an end, and a client that never reads.
#[test]
fn slow_and_endless_requests_end() {
    let leading = leading();
    let mut endless = connect(leading.agent.http).expect("a connection");
    let began = Instant::now();
    let header = [b'x'; 1000];
    let mut sent = 0;
    let refused = loop {
        let wrote = endless
            .write_all(b"GET /ready HTTP/1.1\r\nx: ")
            .and_then(|()| endless.write_all(&header))
            .and_then(|()| endless.write_all(b"\r\n"));
        sent += header.len();
        if wrote.is_err() {
            break true;
        }
        if began.elapsed() > SOON {
            break false;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(refused, "{sent} bytes of head were taken");
    let mut readers: Vec<_> = (0..40)
        .filter_map(|_| connect(leading.agent.http))
        .collect();
    for reader in &mut readers {
        for _ in 0..50 {
            let _ = reader.set_write_timeout(Some(Duration::from_millis(5)));
            if reader
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
                .is_err()
            {
                break;
            }
        }
    }
    leading.unmoved();
}

/// What each client of a crowd does with its connection until it is closed.
#[derive(Debug, Clone, Copy)]
enum Manner {
    SaysNothing,
    AsksNowAndThen,
    SendsAHeadInDrops,
    SendsABodyInDrops,
    ReadsNoAnswer,
    Floods(&'static str),
}

const MANNERS: [Manner; 7] = [
    Manner::SaysNothing,
    Manner::AsksNowAndThen,
    Manner::SendsAHeadInDrops,
    Manner::SendsABodyInDrops,
    Manner::ReadsNoAnswer,
    Manner::Floods("/live"),
    Manner::Floods("/ready"),
];

impl Manner {
    /// What it sends first, what it sends repeatedly, and the pause between.
    fn speech(self) -> (Vec<u8>, Vec<u8>, Duration) {
        let get = |path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
        let post = "POST /live HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n";
        let (first, next, pause_ms) = match self {
            Self::SaysNothing => (Vec::new(), Vec::new(), 1000),
            Self::AsksNowAndThen => (get("/live"), get("/live"), 4000),
            Self::SendsAHeadInDrops => (b"GET /live HTTP/1.1\r\nx: ".into(), b"x".into(), 500),
            Self::SendsABodyInDrops => (post.into(), b"x".into(), 500),
            Self::ReadsNoAnswer => (get("/metrics").repeat(50), b"x".into(), 500),
            Self::Floods(path) => (get(path), get(path), 0),
        };
        (first, next, Duration::from_millis(pause_ms))
    }

    /// How long it waits after its connection was closed.
    fn away(self) -> Duration {
        match self {
            Self::Floods(_) => Duration::from_millis(20),
            // A page of metrics takes an unoptimised build half a millisecond.
            Self::ReadsNoAnswer => Duration::from_secs(2),
            _ => Duration::from_millis(500),
        }
    }

    /// Returns when the connection is closed.
    async fn behave(self, port: u16) -> std::io::Result<()> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        // Use a small buffer, so that the agent soon notices that nobody reads.
        socket.set_recv_buffer_size(4096)?;
        let mut stream = socket.connect(([127, 0, 0, 1], port).into()).await?;
        let (first, next, pause) = self.speech();
        stream.write_all(&first).await?;
        let mut answer = [0; 4096];
        loop {
            let read = match self {
                Self::Floods(_) => Some(stream.read(&mut answer).await?),
                Self::ReadsNoAnswer => None,
                _ => match timeout(pause, stream.read(&mut answer)).await {
                    Ok(read) => Some(read?),
                    Err(_) => None,
                },
            };
            if read == Some(0) {
                return Ok(());
            }
            // Pause even if it was answered.
            if read.is_some() || matches!(self, Self::ReadsNoAnswer) {
                sleep(pause).await;
            }
            stream.write_all(&next).await?;
        }
    }
}

/// This many clients of each kind at once. A client whose connection is closed comes back.
struct Crowd {
    end: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Crowd {
    fn gather(port: u16, each: usize, manners: &'static [Manner]) -> Self {
        allow_many_files();
        let end = CancellationToken::new();
        let ended = end.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                for manner in manners {
                    for _ in 0..each {
                        tokio::spawn(async move {
                            loop {
                                // A client that is refused or closed comes back.
                                let _ = manner.behave(port).await;
                                sleep(manner.away()).await;
                            }
                        });
                    }
                }
                ended.cancelled().await;
            });
        });
        Self {
            end,
            thread: Some(thread),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.end.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the crowd does not panic");
        }
    }
}

/// As many descriptors as the machine allows this process.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, most).expect("a soft limit may be raised");
}

/// Asks as the kubelet does: on a new connection, with a timeout of one second for everything. Returns how long it took.
fn live(port: u16) -> std::io::Result<Duration> {
    let began = Instant::now();
    let left = || Duration::from_secs(1).saturating_sub(began.elapsed());
    let mut stream = TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), left())?;
    stream.write_all(b"GET /live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 12];
    let late = || std::io::Error::from(std::io::ErrorKind::TimedOut);
    stream.set_read_timeout(
        Some(left())
            .filter(|it| !it.is_zero())
            .ok_or_else(late)
            .map(Some)?,
    )?;
    stream.read_exact(&mut answer)?;
    if &answer == b"HTTP/1.1 200" {
        Ok(began.elapsed())
    } else {
        Err(std::io::ErrorKind::InvalidData.into())
    }
}

/// Sends this many probes in a row; all must be answered.
fn all_live(port: u16, count: usize) {
    let asked: Vec<_> = (0..count)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(5));
            live(port)
        })
        .collect();
    let failed: Vec<_> = asked.iter().filter_map(|it| it.as_ref().err()).collect();
    let slowest = asked.iter().filter_map(|it| it.as_ref().ok()).max();
    println!("{count} probes, slowest {slowest:?}");
    assert!(
        failed.is_empty(),
        "{} of {count} failed: {:?}",
        failed.len(),
        failed[0]
    );
}

/// 500 clients of each kind, one kind after another, and then 100 of each at once, or `CROWD` of each: 3,500 at once would
/// test a busy machine rather than the agent.
#[test]
fn the_liveness_probe_is_answered_in_any_crowd() {
    let leading = leading();
    let port = leading.agent.http;
    for manner in &MANNERS {
        println!("{manner:?}");
        let _crowd = Crowd::gather(port, 500, std::slice::from_ref(manner));
        all_live(port, 100);
    }
    let each = std::env::var("CROWD").map_or(100, |each| each.parse().expect("a number"));
    let crowd = Crowd::gather(port, each, &MANNERS);
    all_live(port, 100);
    // From now on every answer to `/ready` waits for Redis.
    leading.redis.pause();
    all_live(port, 30);
    leading.redis.resume();
    drop(crowd);
    assert!(
        leading.resident_kb() < BOUND_KB,
        "{} kB",
        leading.resident_kb()
    );
}

/// 80 clients that ask once in four seconds took all places, and the pod was restarted.
#[test]
fn those_who_keep_their_connections_keep_nobody_out() {
    let leading = leading();
    let _crowd = Crowd::gather(leading.agent.http, 80, &[Manner::AsksNowAndThen]);
    std::thread::sleep(Duration::from_secs(1));
    all_live(leading.agent.http, 20);
    leading.unmoved();
}

/// The agent continues without a descriptor for another connection, and keeps its own connections to Redis.
#[test]
fn an_agent_that_runs_out_of_file_descriptors_goes_on() {
    let leading = leading();
    let pid = Pid::from_raw(leading.agent.pid() as i32);
    let few = Rlimit {
        current: Some(40),
        maximum: Some(40),
    };
    prlimit(pid, Resource::Nofile, few).expect("one's own child may be limited");
    let idle: &[Manner] = &[Manner::SaysNothing, Manner::AsksNowAndThen];
    let crowds = [leading.agent.http, leading.agent.grpc].map(|port| Crowd::gather(port, 50, idle));
    leading.agent.wait_for_log(&["WARN", "Too many open files"]);
    all_live(leading.agent.http, 50);
    never("it loses its term", Duration::from_secs(4), || {
        !leading.agent.leads()
    });
    drop(crowds);
    leading.unmoved();
}
