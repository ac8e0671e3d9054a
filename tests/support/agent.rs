//! An agent: the `understudy run` of this build.

use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use super::net::{free_address, http_get};
use super::process::{Process, built};
use super::wait::wait_until;

#[derive(Debug, Clone)]
pub struct AgentOptions {
    pub instance: String,
    pub redis_url: String,
    /// More flags of `run`, such as `--lease-ttl=2s`.
    pub flags: Vec<String>,
    /// More environment.
    pub env: Vec<(String, String)>,
}

/// Killed when dropped.
pub struct Agent {
    pub process: Process,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    options: AgentOptions,
}

const STARTS_WITHIN: Duration = Duration::from_secs(10);
/// No answer over HTTP takes longer, whatever Redis does.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

// === impl AgentOptions ===

impl AgentOptions {
    pub fn new(instance: &str, redis_url: &str) -> Self {
        Self {
            instance: instance.into(),
            redis_url: redis_url.into(),
            flags: Vec::new(),
            env: Vec::new(),
        }
    }

    pub fn flags<const N: usize>(mut self, flags: [&str; N]) -> Self {
        self.flags.extend(flags.map(Into::into));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

// === impl Agent ===

impl Agent {
    /// Returns when it serves, whether Redis is there or not.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn start(options: &AgentOptions) -> Self {
        let agent = Self::spawn(options);
        agent.serves();
        agent
    }

    /// Does not wait, for an agent that may refuse to start.
    #[track_caller]
    pub fn spawn(options: &AgentOptions) -> Self {
        let (grpc, http) = (free_address(), free_address());
        Self {
            process: launch(options, grpc, http),
            grpc,
            http,
            options: options.clone(),
        }
    }

    /// Starts it again at the same addresses, after a SIGKILL if it still runs. Its log begins anew.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = launch(&self.options, self.grpc, self.http);
        self.serves();
    }

    /// The status and the body of a GET.
    pub fn get(&self, path: &str) -> io::Result<(u16, String)> {
        http_get(self.http, path, ANSWERS_WITHIN)
    }

    /// The status of a GET; 0 when it does not answer.
    pub fn status(&self, path: &str) -> u16 {
        self.get(path).map_or(0, |(status, _)| status)
    }

    pub fn is_leader(&self) -> bool {
        self.status("/leader") == 200
    }

    pub fn is_ready(&self) -> bool {
        self.status("/ready") == 200
    }

    /// The whole of `/metrics`; empty when it does not answer.
    pub fn metrics(&self) -> String {
        self.get("/metrics")
            .map_or_else(|_| String::new(), |(_, body)| body)
    }

    /// The value of one series, named as `/metrics` writes it: `name{label="value"}`.
    pub fn metric(&self, series: &str) -> Option<f64> {
        self.metrics()
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    #[track_caller]
    pub fn wait_until(&self, what: &str, within: Duration, mut holds: impl FnMut(&Self) -> bool) {
        let what = format!("{} to be {what}", self.options.instance);
        wait_until(&what, within, || holds(self));
    }

    fn serves(&self) {
        self.wait_until("serving", STARTS_WITHIN, |it| it.status("/live") == 200);
    }
}

fn launch(options: &AgentOptions, grpc: SocketAddr, http: SocketAddr) -> Process {
    let mut command = understudy();
    command
        .arg("run")
        .args(["--instance", &options.instance])
        .args(["--redis-url", &options.redis_url])
        .args(["--grpc-listen", &grpc.to_string()])
        .args(["--http-listen", &http.to_string()])
        .args(&options.flags)
        .envs(options.env.iter().cloned());
    Process::start(&options.instance, &mut command)
}

/// The program itself, for any of its commands, undisturbed by the caller's environment.
pub fn understudy() -> Command {
    let mut command = Command::new(built("understudy", "UNDERSTUDY_BIN"));
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|it| it.starts_with("UNDERSTUDY_"))
        {
            command.env_remove(name);
        }
    }
    command
        .env_remove("POD_NAME")
        .env("RUST_LOG", "understudy=debug");
    command
}
