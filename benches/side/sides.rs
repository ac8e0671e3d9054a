//! The compared processes, each kind with its own Redis.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use stage::{Redis, free_port, program, wait_for};
use tempfile::TempDir;

use crate::calls::Caller;

/// One server with its unix socket. Killed when it is dropped.
pub struct Side {
    pub program: PathBuf,
    pub socket: PathBuf,
    pub pid: u32,
    http: u16,
    child: Child,
    _folder: TempDir,
}

impl Side {
    fn start(program: PathBuf, arguments: impl Fn(&str, u16, u16) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("grpc.sock");
        let (grpc, http) = (free_port(), free_port());
        let arguments = arguments(&socket.to_string_lossy(), grpc, http);
        let mut command = Command::new(&program);
        let command = command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("{}: {error}: `make bench` builds it", program.display())
        });
        Self {
            pid: child.id(),
            program,
            socket,
            http,
            child,
            _folder: folder,
        }
    }

    /// An agent with a miner that always wants to lead.
    pub fn ours(name: &str, redis_url: &str) -> Self {
        Self::start(
            program("UNDERSTUDY_BIN", "understudy"),
            |socket, grpc, http| {
                let flags = [
                    "run",
                    "--instance",
                    name,
                    "--redis-url",
                    redis_url,
                    "--grpc-socket",
                    socket,
                    "--grpc-listen",
                    &format!("127.0.0.1:{grpc}"),
                    "--http-listen",
                    &format!("127.0.0.1:{http}"),
                ];
                flags.map(ToOwned::to_owned).to_vec()
            },
        )
    }

    /// The Go sidecar, built by scripts/peers.
    pub fn peer(_: &str, redis_url: &str) -> Self {
        Self::start(
            program("UNDERSTUDY_PEER", "peers/sidecar"),
            |socket, grpc, http| {
                let flags = [
                    "-redis-url",
                    redis_url,
                    "-socket",
                    socket,
                    "-grpc",
                    &format!("127.0.0.1:{grpc}"),
                    "-http",
                    &format!("127.0.0.1:{http}"),
                ];
                flags.map(ToOwned::to_owned).to_vec()
            },
        )
    }

    /// On a connection of its own, as a shell does.
    pub fn scrape(&self) {
        Scraper::open(self).scrape();
    }

    fn wait_until_up(&self) {
        wait_for("it serves HTTP", Duration::from_secs(10), || {
            TcpStream::connect(("127.0.0.1", self.http)).ok()
        });
        Caller::open(&self.socket).call();
    }
}

/// A connection that is kept from scrape to scrape, as Prometheus does.
pub struct Scraper(TcpStream);

impl Scraper {
    pub fn open(side: &Side) -> Self {
        Self(TcpStream::connect(("127.0.0.1", side.http)).expect("it serves HTTP"))
    }

    pub fn scrape(&mut self) {
        let request = b"GET /metrics HTTP/1.1\r\nHost: it\r\n\r\n";
        self.0.write_all(request).expect("it reads");
        let (mut page, mut buffer) = (Vec::new(), [0; 65536]);
        while !is_whole(&page) {
            let read = self.0.read(&mut buffer).expect("it answers");
            assert!(read > 0, "it hung up: {}", String::from_utf8_lossy(&page));
            page.extend_from_slice(&buffer[..read]);
        }
        assert!(page.starts_with(b"HTTP/1.1 200"));
    }
}

/// Go sends its metrics in chunks.
fn is_whole(page: &[u8]) -> bool {
    let page = String::from_utf8_lossy(page).to_lowercase();
    let Some((head, body)) = page.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.split_once("content-length: ");
    length.map_or(body.ends_with("0\r\n\r\n"), |(_, rest)| {
        let length = rest.lines().next().and_then(|it| it.parse().ok());
        Some(body.len()) >= length
    })
}

impl Drop for Side {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// HTTP/2 that answers every request with the same bytes: this program itself.
pub struct Bare;

impl Bare {
    pub fn start() -> Side {
        let this = std::env::current_exe().expect("this program");
        Side::start(this, |socket, _, _| vec!["bare-h2".into(), socket.into()])
    }
}

pub struct Sides {
    pub redis: Redis,
    pub peers_redis: Redis,
    /// A future leader, elected once its miner campaigns, and another agent.
    pub ours: [Side; 2],
    pub peers: [Side; 2],
    bare: Side,
}

impl Sides {
    pub fn start() -> Self {
        let (redis, peers_redis) = (Redis::start(), Redis::start());
        let ours = ["a", "b"].map(|name| Side::ours(name, &redis.url()));
        // The first takes the lock before the other exists.
        let peers = ["a", "b"].map(|name| {
            let peer = Side::peer(name, &peers_redis.url());
            wait_for(
                "the first Go sidecar leads",
                Duration::from_secs(10),
                || (peers_redis.tell(&["DBSIZE"]) == ":1").then_some(()),
            );
            peer
        });
        ours.iter().chain(&peers).for_each(Side::wait_until_up);
        Self {
            bare: Bare::start(),
            redis,
            peers_redis,
            ours,
            peers,
        }
    }

    /// Our agent, the Go sidecar, bare HTTP/2.
    pub fn servers(&self) -> impl Iterator<Item = &Side> {
        [&self.ours[0], &self.peers[0], &self.bare].into_iter()
    }
}
