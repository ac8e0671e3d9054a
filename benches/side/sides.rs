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

    pub fn scrape(&self) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).expect("it serves HTTP");
        let request = "GET /metrics HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("it answers");
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    }

    fn wait_until_up(&self) {
        wait_for("it serves HTTP", Duration::from_secs(10), || {
            TcpStream::connect(("127.0.0.1", self.http)).ok()
        });
        Caller::open(&self.socket).call();
    }
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
