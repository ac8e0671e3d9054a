//! A real Redis, and what can happen to one.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::session::ask_as;
use super::{free_port, send, wait_for};

/// How long to wait for a server that may be down.
pub const ASK: Duration = Duration::from_secs(1);
/// How long to wait for a server that is up, however slow the machine is.
const TELL: Duration = Duration::from_secs(30);

pub struct Redis {
    child: Child,
    engine: PathBuf,
    pub port: u16,
    directory: TempDir,
    options: Vec<String>,
    faked: bool,
    password: Option<String>,
}

impl Redis {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// `options` are those of redis-server's command line.
    pub fn with(options: &[&str]) -> Self {
        Self::of(&engine(), options)
    }

    /// A server of this engine.
    pub fn of(engine: &Path, options: &[&str]) -> Self {
        Self::on(engine, free_port(), options, false)
    }

    /// A node of a future cluster, with this machine's engine.
    pub fn node(options: &[&str]) -> Self {
        Self::on(&engine(), free_ports(), options, false)
    }

    /// A server whose wall clock [`Self::set_clock`] can set, if libfaketime is installed and works with
    /// the engine.
    pub fn with_clock(engine: &Path, options: &[&str]) -> Option<Self> {
        let probe = tempfile::tempdir().ok()?;
        std::fs::write(probe.path().join("clock"), "+0").ok()?;
        let mut version = Command::new(engine);
        let version = fake(version.arg("--version"), probe.path());
        let version = version.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut trial = version.spawn().ok()?;
        // Two preloaded libraries that replace the C library's functions may deadlock.
        let deadline = std::time::Instant::now() + Duration::from_secs(2);
        while trial.try_wait().ok()?.is_none() {
            if std::time::Instant::now() > deadline {
                let _ = (trial.kill(), trial.wait());
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let runs = trial.wait_with_output().ok()?;
        let clash = String::from_utf8_lossy(&runs.stderr).contains("libfaketime");
        let installed = Path::new(&faketime()).is_file();
        (installed && runs.status.success() && !clash)
            .then(|| Self::on(engine, free_port(), options, true))
    }

    fn on(engine: &Path, port: u16, options: &[&str], faked: bool) -> Self {
        let directory = tempfile::tempdir().expect("a directory for Redis");
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let at = options.iter().position(|it| it == "--requirepass");
        let password = at.and_then(|at| options.get(at + 1).cloned());
        let child = spawn(engine, port, &directory, &options, faked);
        let redis = Self {
            child,
            engine: engine.to_owned(),
            port,
            directory,
            options,
            faked,
            password,
        };
        redis.wait_until_up();
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its TLS port, if it has one.
    pub fn tls_port(&self) -> Option<u16> {
        let at = self.options.iter().position(|it| it == "--tls-port")?;
        self.options.get(at + 1)?.parse().ok()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    pub fn wait_until_up(&self) {
        self.wait_until_up_for(Duration::from_secs(10));
    }

    pub fn wait_until_up_for(&self, deadline: Duration) {
        wait_for("Redis answers", deadline, || {
            self.ask(&["PING"])
                .ok()
                .filter(|answer| answer.contains("PONG"))
        });
    }

    /// Sends a command and returns the first line of the reply, or the bulk string after it.
    ///
    /// # Errors
    /// No answer within a second; an error reply is an `Ok` that starts with `-`.
    pub fn ask(&self, words: &[&str]) -> std::io::Result<String> {
        ask_as(self.port, self.password.as_deref(), ASK, words)
    }

    /// Like [`Self::ask`], with a password that was set after the start.
    ///
    /// # Errors
    /// The same.
    pub fn ask_with(&self, password: &str, words: &[&str]) -> std::io::Result<String> {
        ask_as(self.port, Some(password), ASK, words)
    }

    /// Like [`Self::ask`], but no answer fails the test, however slow the machine is.
    pub fn tell(&self, words: &[&str]) -> String {
        let answer = ask_as(self.port, self.password.as_deref(), TELL, words);
        answer.unwrap_or_else(|error| panic!("Redis does not answer {words:?}: {error}"))
    }

    /// Hard OOM: sets the limit below what is already used, with no eviction.
    pub fn fill(&self) {
        self.tell(&["CONFIG", "SET", "maxmemory", "1"]);
        let refused = self.tell(&["SET", "{ha:miner:global_leader}:another", "x"]);
        assert!(
            refused.starts_with("-OOM"),
            "Redis should be out of memory: {refused}"
        );
    }

    /// Options with which each key takes this many milliseconds to load; meanwhile Redis answers LOADING.
    pub fn slow_to_load(engine: &Path, millis: u32) -> Vec<String> {
        let mut options = vec!["--key-load-delay".into(), (millis * 1000).to_string()];
        // 6.2 answers clients only once per 2 MB.
        if !is_6(engine) {
            options.extend(["--loading-process-events-interval-bytes", "1024"].map(Into::into));
        }
        options
    }

    /// Sets the limit so that this share of it is used.
    pub fn fill_to(&self, ratio: f64) {
        // Enough that changes of the clients' buffers do not matter.
        self.tell(&["SETRANGE", "ballast", "50000000", "x"]);
        let used = self.tell(&["INFO", "memory"]);
        let used = used
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        let used: f64 = used.and_then(|it| it.parse().ok()).expect("a number");
        let limit = (used / ratio).round();
        self.tell(&["CONFIG", "SET", "maxmemory", &limit.to_string()]);
    }

    /// Sets the wall clock, in seconds from the true time. Restarts keep it.
    pub fn set_clock(&self, ahead: i64) {
        let told = std::fs::write(self.directory.path().join("clock"), format!("{ahead:+}"));
        told.expect("the clock's file");
    }

    /// Writes this many keys that are slow to load, and saves them. `false` if Redis refuses them.
    pub fn burden(&self, keys: u32) -> bool {
        let script = "for i = 1, ARGV[1] do redis.call('SET', 'burden:' .. i, string.rep('x', 8000), 'PX', 60000) end \
                      return redis.call('DBSIZE')";
        let told = |words: &[&str]| self.ask(words).is_ok_and(|it| !it.starts_with('-'));
        told(&["EVAL", script, "0", &keys.to_string()]) && told(&["SAVE"])
    }

    pub fn relieve(&self) {
        self.tell(&["CONFIG", "SET", "maxmemory", "0"]);
    }

    pub fn pause(&self) {
        super::pause(&self.child);
    }

    pub fn resume(&self) {
        send(&self.child, Signal::CONT);
    }

    /// SIGKILL: unsaved data is lost.
    pub fn kill(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same port.
    pub fn start_again(&mut self) {
        self.launch_again();
        self.wait_until_up();
    }

    /// The same, without waiting.
    pub fn launch_again(&mut self) {
        self.child = spawn(
            &self.engine,
            self.port,
            &self.directory,
            &self.options,
            self.faked,
        );
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn faketime() -> String {
    let machine = std::env::consts::ARCH;
    format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1")
}

fn fake<'a>(command: &'a mut Command, directory: &Path) -> &'a mut Command {
    command
        .env("LD_PRELOAD", faketime())
        .env("FAKETIME_TIMESTAMP_FILE", directory.join("clock"))
        .env("FAKETIME_NO_CACHE", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
}

fn spawn(engine: &Path, port: u16, directory: &TempDir, options: &[String], faked: bool) -> Child {
    let mut command = Command::new(engine);
    if faked {
        let clock = directory.path().join("clock");
        if !clock.is_file() {
            std::fs::write(clock, "+0").expect("the clock's file");
        }
        fake(&mut command, directory.path());
    }
    command
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--loglevel",
            "warning",
        ])
        .args([
            "--save",
            "",
            "--appendonly",
            "no",
            "--unixsocket",
            "redis.sock",
        ])
        .args(options)
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", engine.display()))
}

/// Whether the major version is 6.
pub fn is_6(engine: &Path) -> bool {
    version(engine).contains("v=6.")
}

/// The output of `--version`, such as `Redis server v=7.0.15 …`.
pub fn version(engine: &Path) -> String {
    let version = Command::new(engine).arg("--version").output();
    String::from_utf8(version.expect("an engine").stdout).expect("text")
}

/// `UNDERSTUDY_TEST_ENGINES`, as printed by `scripts/engines`; otherwise that of [`Redis::start`].
pub fn engines() -> Vec<PathBuf> {
    match std::env::var_os("UNDERSTUDY_TEST_ENGINES") {
        Some(engines) => std::env::split_paths(&engines).collect(),
        None => {
            println!("skipped: other engines than this machine's, which `make test` fetches");
            vec![engine()]
        }
    }
}

/// `UNDERSTUDY_TEST_ENGINE`, otherwise the installed server.
pub fn engine() -> PathBuf {
    if let Some(engine) = std::env::var_os("UNDERSTUDY_TEST_ENGINE") {
        return engine.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["redis-server", "valkey-server"];
    std::env::split_paths(&path)
        // Where `make setup` installs it.
        .chain([concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools").into()])
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|candidate| candidate.is_file())
        .expect("redis-server or valkey-server is needed: `make setup` installs one")
}

/// A free port whose number plus 10,000 is free as well, for a cluster node's bus.
pub fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // In a range where nobody else looks for a port; each process starts at a different place.
    let start = std::process::id() as u16 % 19 * 100;
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let port = (0..1900)
        .map(|_| 8000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 1900)
        .find(|port| free(*port) && free(port + 10_000));
    port.expect("two loopback ports")
}
