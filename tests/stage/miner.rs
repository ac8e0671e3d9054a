//! A real miner, that of the examples, and what it recorded.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use super::{Agent, Redis, program, send, wait_for};

/// The sample miner: Rust's unless another is chosen.
fn sample() -> PathBuf {
    program("UNDERSTUDY_MINER", "examples/miner")
}

/// The sample miners of all languages, as built by `scripts/miners`; otherwise only Rust's.
pub fn samples() -> Vec<PathBuf> {
    match std::env::var("UNDERSTUDY_TEST_MINERS") {
        Ok(paths) => paths.split(':').map(PathBuf::from).collect(),
        Err(_) => vec![sample()],
    }
}

pub struct Miner {
    child: Child,
    pub name: String,
    directory: TempDir,
}

/// One act of a miner as leader.
#[derive(Debug, Clone)]
pub struct Act {
    /// CLOCK_BOOTTIME, nanoseconds.
    pub at: u64,
    pub token: u64,
    /// The end of the grant for this act.
    pub until: u64,
    /// The fenced store's answer: yes, no, unknown, none.
    pub accepted: String,
    pub miner: String,
}

impl Miner {
    /// A miner beside `agent` that writes to `redis`, fenced, every 5 ms while it leads.
    pub fn start(name: &str, agent: &Agent, redis: &Redis) -> Self {
        Self::spawn(
            name,
            &agent.address(),
            &["--redis-url", &redis.url(), "--work-every-ms", "5"],
        )
    }

    pub fn spawn(name: &str, agent: &str, flags: &[&str]) -> Self {
        Self::of(&sample(), name, agent, flags)
    }

    /// A miner of another program that takes the sample's flags.
    pub fn of(program: &Path, name: &str, agent: &str, flags: &[&str]) -> Self {
        Self::alone(program, name, &[&["--agent", agent], flags].concat())
    }

    /// A program that `understudy exec` runs, with flags for each.
    pub fn under_exec(name: &str, exec: &[&str], work: &[&str]) -> Self {
        let worker = program("UNDERSTUDY_WORKER", "examples/worker");
        let mut command = Command::new(program("UNDERSTUDY_BIN", "understudy"));
        command.args(["exec", "--grace", "100ms"]);
        command.args(exec).arg("--").arg(worker);
        Self::of_command(command, name, work)
    }

    /// `exec`, its guardian and what it runs.
    pub fn generations(&self) -> Vec<Pid> {
        super::generations(&self.child)
    }

    /// One that has no agent beside it.
    pub fn alone(program: &Path, name: &str, flags: &[&str]) -> Self {
        Self::of_command(Command::new(program), name, flags)
    }

    fn of_command(mut command: Command, name: &str, flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the miner's log");
        let said = std::fs::File::create(directory.path().join("said"));
        let child = command
            .args(["--name", name, "--log"])
            .arg(directory.path().join("log"))
            .args(flags)
            .stdout(Stdio::null())
            .stderr(said.map_or_else(|_| Stdio::null(), Stdio::from))
            .spawn()
            .expect("the miner starts");
        Self {
            child,
            name: name.into(),
            directory,
        }
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// The client's log.
    pub fn told(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("said")).unwrap_or_default()
    }

    /// Every line that it recorded: when, what, and the fields.
    pub fn lines(&self) -> Vec<(u64, String, String)> {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .filter_map(|line| {
                let (at, rest) = line.split_once(' ')?;
                let (event, fields) = rest.split_once(' ').unwrap_or((rest, ""));
                Some((at.parse().ok()?, event.into(), fields.into()))
            })
            .collect()
    }

    /// When it acted, whether it had a grant or not.
    pub fn moments(&self) -> Vec<u64> {
        let lines = self.lines().into_iter();
        let acts = lines.filter(|(_, event, _)| event == "act");
        acts.map(|(at, _, _)| at).collect()
    }

    pub fn acts(&self) -> Vec<Act> {
        let lines = self
            .lines()
            .into_iter()
            .filter(|(_, event, _)| event == "act");
        lines
            .filter_map(|(at, _, fields)| {
                let field = |name: &str| {
                    let found = fields
                        .split(' ')
                        .find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
                    found.map(ToOwned::to_owned)
                };
                Some(Act {
                    at,
                    token: field("token")?.parse().ok()?,
                    until: field("until")?.parse().ok()?,
                    accepted: field("accepted")?,
                    miner: self.name.clone(),
                })
            })
            .collect()
    }

    /// When it was first told that it leads, at or after `since`.
    pub fn told_to_lead(&self, since: u64) -> Option<u64> {
        let lines = self.lines().into_iter();
        lines
            .filter(|(at, event, fields)| {
                *at >= since && event == "role" && fields.contains("ROLE_LEADER")
            })
            .map(|(at, _, _)| at)
            .next()
    }

    /// Whether it said this, at or after `since`.
    pub fn said(&self, since: u64, event: &str) -> bool {
        let mut lines = self.lines().into_iter();
        lines.any(|(at, said, _)| at >= since && said == event)
    }

    pub fn wait_until_acting(&self, since: u64, deadline: Duration) -> Act {
        wait_for(&format!("{} acts", self.name), deadline, || {
            self.acts().into_iter().find(|act| act.at >= since)
        })
    }

    pub fn wait_until_told_to_lead(&self, since: u64, deadline: Duration) -> u64 {
        wait_for(&format!("{} is told to lead", self.name), deadline, || {
            self.told_to_lead(since)
        })
    }

    pub fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    pub fn wait_until_gone(&mut self, deadline: Duration) -> ExitStatus {
        let child = &mut self.child;
        wait_for("the miner ends", deadline, || {
            child.try_wait().ok().flatten()
        })
    }

    pub fn kill(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {} told\n{}", self.name, self.told());
        }
    }
}

/// Checks only what the miners recorded: no two acted in each other's time, tokens only grow, and the fence let no stale
/// write through. Returns the number of terms.
pub fn check_acts(miners: &[&Miner]) -> usize {
    let mut acts: Vec<Act> = miners.iter().flat_map(|miner| miner.acts()).collect();
    acts.sort_by_key(|act| act.at);
    let mut terms = 0;
    let (mut highest, mut leader) = (0, "");
    for act in &acts {
        assert!(
            act.token > highest || (act.token == highest && act.miner == leader),
            "acted while {leader} led under {highest}: {act:?}"
        );
        assert!(act.at < act.until, "acted outside its grant: {act:?}");
        assert_ne!(
            act.accepted, "no",
            "the fence refused a write of a leader: {act:?}"
        );
        if act.token > highest {
            terms += 1;
            (highest, leader) = (act.token, &act.miner);
        }
    }
    terms
}
