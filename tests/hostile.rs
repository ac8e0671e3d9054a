//! Whoever speaks nonsense to the agent, or too much, or nothing at all: the election goes on, memory stays
//! bounded, and afterwards everything answers as before.

mod stage;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use stage::{Agent, Redis, wait_for};

const SOON: Duration = Duration::from_secs(10);
/// Far more than an agent needs, and less than ten thousand of anything.
const BOUND_KB: u64 = 48 * 1024;

struct Leading {
    _redis: Redis,
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
        _redis: redis,
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

    /// It has led all along, under the same token.
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

/// Ten thousand, some of them half way through a request, a few hundred open at any moment.
#[test]
fn ten_thousand_connections_pass() {
    let leading = leading();
    for port in [leading.agent.http, leading.agent.grpc] {
        let mut open = std::collections::VecDeque::new();
        let began = Instant::now();
        let mut tried = 0;
        // Where nobody is let in any more a try takes its time: not all of them then.
        while tried < 10_000 && began.elapsed() < SOON {
            tried += 1;
            if let Some(mut stream) = connect(port) {
                let begun: &[u8] = match tried % 3 {
                    0 => b"",
                    1 => b"GET /ready HTTP/1.1\r\nHost: ",
                    _ => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
                };
                // It may have been closed already.
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
            // It may be closed while we are still talking.
            let _ = stream.write_all(&[head, &tree.current()].concat());
            if number % 50 == 0 {
                let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
                let _ = stream.read(&mut [0; 1000]);
            }
        }
    }
    leading.unmoved();
}

/// A head without an end, and a reader who never reads.
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
