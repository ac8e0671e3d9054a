//! The subjects of the test: a miner with its agent beside it, or a miner with today's built-in elector.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::names::{NAME, Names};
use stage::proxy::Proxy;
use stage::{Redis, free_port, generations, program, send};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Understudy,
    Incumbent,
}

pub struct Pod {
    pub name: String,
    /// Its agent's `--instance`.
    pub instance: String,
    subject: Subject,
    pub proxy: Proxy,
    pub names: Names,
    ports: (u16, u16),
    folder: PathBuf,
    flags: Vec<String>,
    /// The Redis for its fenced writes.
    register: String,
    /// The agent; the incumbent has none.
    agent: Option<Child>,
    miner: Child,
    starts: u32,
    miners: u32,
    /// Every second miner is a program under `understudy exec`.
    pub exec: bool,
    /// Every second agent is of the version before.
    pub mixed: bool,
}

/// What the pods of one fleet share.
pub struct Setting<'a> {
    pub subject: Subject,
    pub redis: u16,
    /// The Redis for the miners' fenced writes.
    pub register: &'a Redis,
    /// Where the miners record their acts.
    pub folder: &'a Path,
}

impl Setting<'_> {
    /// `flags` are the elector's.
    pub fn pod(&self, name: &str, flags: &[&str]) -> Pod {
        std::fs::create_dir_all(self.acts()).expect("a folder");
        let mut flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        let proxy = Proxy::start(self.redis);
        flags.extend([
            "--redis-url".into(),
            format!("redis://{NAME}:{}", proxy.port),
        ]);
        let mut pod = Pod {
            name: name.to_owned(),
            instance: name.to_owned(),
            subject: self.subject,
            proxy,
            names: Names::start(self.folder, name),
            ports: (free_port(), free_port()),
            folder: self.folder.to_owned(),
            flags,
            register: self.register.url(),
            agent: None,
            miner: Command::new("true").spawn().expect("a process"),
            starts: 0,
            miners: 0,
            exec: false,
            mixed: false,
        };
        pod.start_agent(false);
        pod.start_miner();
        pod
    }

    pub fn acts(&self) -> PathBuf {
        self.folder.join("acts")
    }
}

impl Pod {
    /// The process that elects.
    pub fn elector(&self) -> &Child {
        self.agent.as_ref().unwrap_or(&self.miner)
    }

    /// The record of its present miner.
    pub fn log(&self) -> PathBuf {
        let log = format!("{}.{}", self.name, self.miners);
        self.folder.join("acts").join(log)
    }

    pub fn start_miner(&mut self) {
        self.miners += 1;
        let log = self.log();
        let mut command = match self.subject {
            Subject::Understudy if self.runs_exec() => {
                let mut command = Command::new(program("UNDERSTUDY_BIN", "understudy"));
                let agent = format!("127.0.0.1:{}", self.ports.0);
                command.args(["exec", "--agent", &agent, "--grace", "150ms", "--"]);
                command.arg(program("UNDERSTUDY_WORKER", "examples/worker"));
                command.args(["--redis-url", &self.register]);
                if self.miners.is_multiple_of(4) {
                    command.arg("--stubborn");
                }
                command
            }
            Subject::Understudy => {
                let mut command = Command::new(program("UNDERSTUDY_MINER", "examples/miner"));
                let agent = format!("127.0.0.1:{}", self.ports.0);
                command.args(["--agent", &agent, "--redis-url", &self.register]);
                command
            }
            Subject::Incumbent => {
                let mut command =
                    Command::new(program("UNDERSTUDY_INCUMBENT", "examples/incumbent"));
                command.args(&self.flags);
                self.names.lend(&mut command);
                command
            }
        };
        self.miner = command
            .args(["--name", &self.name, "--work-every-ms", "5", "--log"])
            .arg(log)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the miner starts");
    }

    /// `deaf`: nobody ever reads its standard output.
    pub fn start_agent(&mut self, blocked: bool) {
        if self.subject == Subject::Incumbent {
            return;
        }
        self.starts += 1;
        let log = || {
            let name = format!("{}.{}.log", self.name, self.starts);
            Stdio::from(File::create(self.folder.join(name)).expect("a log"))
        };
        let previous = std::env::var_os("UNDERSTUDY_PREVIOUS_BIN")
            .filter(|_| self.mixed && self.starts.is_multiple_of(2));
        let program = previous.map_or_else(|| program("UNDERSTUDY_BIN", "understudy"), Into::into);
        let mut command = Command::new(program);
        self.names.lend(&mut command);
        let agent = command
            .args(["run", "--instance", &self.instance])
            .args(["--grpc-listen", &format!("127.0.0.1:{}", self.ports.0)])
            .args(["--http-listen", &format!("127.0.0.1:{}", self.ports.1)])
            .args(&self.flags)
            .env(
                "RUST_LOG",
                if blocked {
                    "trace"
                } else {
                    "debug,h2=info,hyper=info,tower=info"
                },
            )
            .env("NO_COLOR", "1")
            .stdout(if blocked { Stdio::piped() } else { log() })
            .stderr(Stdio::null())
            .spawn()
            .expect("the agent starts");
        self.agent = Some(agent);
    }

    fn runs_exec(&self) -> bool {
        self.exec && self.miners.is_multiple_of(2)
    }

    /// The miner; under `exec` also the guardian or the program, in turn, where there are.
    fn victim(&self) -> Pid {
        let miner = Pid::from_raw(self.miner.id() as i32).expect("a pid");
        if !self.runs_exec() {
            return miner;
        }
        let all = generations(&self.miner);
        let turn = self.miners as usize / 2 % 3;
        all.get(turn).copied().unwrap_or(miner)
    }

    /// Whatever of it was stopped.
    pub fn let_miner_continue(&self) {
        for pid in generations(&self.miner) {
            let _ = kill_process(pid, Signal::CONT);
        }
    }

    pub fn suspend_miner(&self) {
        let _ = kill_process(self.victim(), Signal::STOP);
    }

    pub fn kill_miner(&mut self) {
        let victim = self.victim();
        // Nothing befalls two of the three at once.
        self.let_miner_continue();
        let _ = kill_process(victim, Signal::KILL);
        if self.runs_exec() && victim.as_raw_nonzero().get() != self.miner.id() as i32 {
            // It ends by itself when its program has ended.
            for _ in 0..1000 {
                if ended(&mut self.miner) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        end(&mut self.miner, Signal::KILL);
    }

    /// Asks it to end, and waits.
    pub fn stop_miner(&mut self) {
        end(&mut self.miner, Signal::TERM);
    }

    pub fn kill_agent(&mut self) {
        match &mut self.agent {
            Some(agent) => end(agent, Signal::KILL),
            None => end(&mut self.miner, Signal::KILL),
        }
    }

    /// SIGTERM. It may take as long as its miner takes to stop.
    pub fn ask_agent_to_stop(&self) {
        send(self.elector(), Signal::TERM);
    }

    /// Starts whatever is not running.
    pub fn complete(&mut self, blocked: bool) {
        if let Some(agent) = &mut self.agent
            && ended(agent)
        {
            self.start_agent(blocked);
        }
        if ended(&mut self.miner) {
            self.start_miner();
        }
    }
}

fn ended(child: &mut Child) -> bool {
    !matches!(child.try_wait(), Ok(None))
}

fn end(child: &mut Child, signal: Signal) {
    send(child, signal);
    // A stopped process ends when it continues.
    send(child, Signal::CONT);
    // A kernel under load may take seconds to bury a process that has ended.
    for _ in 0..12_000 {
        if ended(child) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = child.id();
    let told =
        |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    panic!(
        "a process that was asked to end does not: {} {}\n{}",
        told("cmdline").replace('\0', " "),
        told("wchan"),
        told("status")
    );
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.kill_miner();
        self.kill_agent();
    }
}
