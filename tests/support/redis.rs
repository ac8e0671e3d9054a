//! A Redis server of one's own, and its faults as verbs.

use std::io::{self, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::net::{connect, free_address};
use super::process::{Process, Signal};
use super::resp::{self, Reply};
use super::wait::{wait_for, wait_until};

#[derive(Debug, Clone, Copy, Default)]
pub struct RedisOptions {
    /// In bytes; 0 is no limit.
    pub maxmemory: u64,
    /// `maxmemory-policy`; `noeviction` where none is given.
    pub policy: Option<&'static str>,
    pub password: Option<&'static str>,
    /// Keep every write on disk, so that [`Redis::restart`] finds it.
    pub persistent: bool,
}

/// Killed when dropped, and its directory removed.
pub struct Redis {
    // Before the directory: fields are dropped in this order.
    process: Process,
    dir: TempDir,
    address: SocketAddr,
    options: RedisOptions,
}

/// No answer of a healthy server takes longer.
const PATIENCE: Duration = Duration::from_secs(2);
const STARTS_WITHIN: Duration = Duration::from_secs(10);
/// What [`Redis::fill`] writes.
const FILLER: &str = "filler";

// === impl Redis ===

impl Redis {
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(RedisOptions::default())
    }

    /// # Panics
    /// There is no server on this machine, or it does not start.
    #[track_caller]
    pub fn start_with(options: RedisOptions) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        // Another process may have taken the port since it was found free.
        let mut tries = 0..3;
        loop {
            let address = free_address();
            match boot(&dir, address, options) {
                Ok(process) => {
                    return Self {
                        process,
                        dir,
                        address,
                        options,
                    };
                }
                Err(said) if tries.next().is_none() => panic!("Redis does not start:\n{said}"),
                Err(_) => {}
            }
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For `--redis-url`, over TCP.
    pub fn url(&self) -> String {
        let user = self.options.password.map(|it| format!(":{it}@"));
        format!("redis://{}{}", user.unwrap_or_default(), self.address)
    }

    /// For `--redis-url`, over its unix socket.
    pub fn socket_url(&self) -> String {
        let password = self.options.password.map(|it| format!("?password={it}"));
        let socket = socket(&self.dir);
        format!(
            "redis+unix://{}{}",
            socket.display(),
            password.unwrap_or_default()
        )
    }

    /// Its data, and its unix socket.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Sends one command on a connection of its own. An error that Redis answers is a [`Reply::Error`].
    pub fn try_cli(&self, command: &[&str]) -> io::Result<Reply> {
        let mut stream = session(self.address, self.options)?;
        resp::ask(&mut stream, command)
    }

    /// # Panics
    /// Redis does not answer.
    #[track_caller]
    pub fn cli(&self, command: &[&str]) -> Reply {
        self.try_cli(command)
            .unwrap_or_else(|error| panic!("Redis does not answer {command:?}: {error}"))
    }

    /// One field of `INFO`.
    #[track_caller]
    pub fn info(&self, field: &str) -> String {
        let reply = self.cli(&["INFO"]);
        let line = reply.text().and_then(|text| {
            text.lines()
                .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        });
        line.unwrap_or_else(|| panic!("INFO has no {field}: {reply:?}"))
            .to_owned()
    }

    /// Writes until a write is refused. It stands right at its limit then, where a small write may still pass.
    ///
    /// # Panics
    /// It has no `maxmemory`.
    #[track_caller]
    pub fn fill(&self) {
        assert!(self.options.maxmemory > 0, "without a limit it never fills");
        let mut stream = session(self.address, self.options).expect("Redis answers");
        // Smaller and smaller, to come close to the limit.
        for size in [65_536, 4096, 64] {
            let value = "x".repeat(size);
            let push = ["RPUSH", FILLER, &value];
            while resp::ask(&mut stream, &push)
                .expect("Redis answers")
                .error()
                .is_none()
            {}
        }
    }

    /// Hard OOM: puts `maxmemory` well below what is in use, whatever clients come and go.
    #[track_caller]
    pub fn fill_to_oom(&self) {
        let used: u64 = self.info("used_memory").parse().expect("a number");
        self.limit(used * 3 / 4);
        wait_until("Redis to refuse writes", PATIENCE, || {
            self.write()
                .error()
                .is_some_and(|it| it.starts_with("OOM "))
        });
    }

    /// The end of [`Self::fill`] and [`Self::fill_to_oom`].
    #[track_caller]
    pub fn relieve(&self) {
        self.limit(self.options.maxmemory);
        self.cli(&["DEL", FILLER]);
        wait_until("Redis to take writes", PATIENCE, || self.write().is_ok());
    }

    /// SIGSTOP: connections stay, nothing answers.
    pub fn pause(&self) {
        self.process.pause();
    }

    pub fn resume(&self) {
        self.process.resume();
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// A clean stop by SIGTERM.
    #[track_caller]
    pub fn shutdown(&mut self) {
        self.process.signal(Signal::TERM);
        self.process.wait_exit(STARTS_WITHIN);
    }

    /// Starts it again at the same address, after a SIGKILL if it still runs. It is empty unless persistent.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        self.process = boot(&self.dir, self.address, self.options)
            .unwrap_or_else(|said| panic!("Redis does not start again:\n{said}"));
    }

    fn limit(&self, bytes: u64) {
        let set = self.cli(&["CONFIG", "SET", "maxmemory", &bytes.to_string()]);
        assert!(set.is_ok(), "{set:?}");
    }

    fn write(&self) -> Reply {
        self.cli(&["SET", "harness:write", "1", "PX", "1"])
    }
}

/// Starts a server and waits until it serves; what it said, if it does not.
fn boot(dir: &TempDir, address: SocketAddr, options: RedisOptions) -> Result<Process, String> {
    let mut command = Command::new(engine());
    command
        .current_dir(dir)
        .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
        .args(["--loglevel", "warning", "--save", ""])
        .args(["--appendfsync", "always", "--appendonly"])
        .arg(if options.persistent { "yes" } else { "no" })
        .args(["--maxmemory", &options.maxmemory.to_string()])
        .args(["--maxmemory-policy", options.policy.unwrap_or("noeviction")])
        .arg("--unixsocket")
        .arg(socket(dir));
    if let Some(password) = options.password {
        command.args(["--requirepass", password]);
    }
    let mut process = Process::start("redis", &mut command);
    let up = wait_for("Redis to start", STARTS_WITHIN, || {
        if process.exited().is_some() {
            return Some(false);
        }
        let pong = session(address, options).and_then(|mut it| resp::ask(&mut it, &["PING"]));
        pong.is_ok_and(|it| it.text() == Some("PONG"))
            .then_some(true)
    });
    let said = process.output().into_iter().map(|line| line.text + "\n");
    if up { Ok(process) } else { Err(said.collect()) }
}

fn session(address: SocketAddr, options: RedisOptions) -> io::Result<BufReader<TcpStream>> {
    let mut stream = BufReader::new(connect(address, PATIENCE)?);
    if let Some(password) = options.password {
        let reply = resp::ask(&mut stream, &["AUTH", password])?;
        if !reply.is_ok() {
            return Err(io::Error::other(format!("{reply:?}")));
        }
    }
    Ok(stream)
}

fn socket(dir: &TempDir) -> PathBuf {
    dir.path().join("redis.sock")
}

/// The server program: `UNDERSTUDY_TEST_ENGINE`, else from PATH, else where `make setup` puts it.
fn engine() -> PathBuf {
    if let Some(path) = std::env::var_os("UNDERSTUDY_TEST_ENGINE") {
        return path.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools").into();
    std::env::split_paths(&path)
        .chain([tools])
        .flat_map(|dir| [dir.join("redis-server"), dir.join("valkey-server")])
        .find(|program| program.is_file())
        .expect(
            "found no redis-server or valkey-server: run 'make setup', or set UNDERSTUDY_TEST_ENGINE",
        )
}
