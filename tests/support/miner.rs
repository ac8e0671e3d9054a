//! The sample miner of `examples/`, and the log of what it did.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::process::{Process, built};

/// One line of the miner's log: `<boottime_ns> <name> <key>=<value>…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub at_ns: u64,
    pub name: String,
    pub fields: BTreeMap<String, String>,
}

/// Killed when dropped.
pub struct Miner {
    pub process: Process,
    dir: TempDir,
}

// === impl Miner ===

impl Miner {
    /// `agent` is a gRPC address, or `unix:/path`.
    #[track_caller]
    pub fn start(name: &str, agent: &str, flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(built("examples/miner", "UNDERSTUDY_TEST_MINER"));
        command
            .args(["--name", name, "--agent", agent, "--log"])
            .arg(log(&dir))
            .args(flags);
        let process = Process::start(name, &mut command);
        Self { process, dir }
    }

    /// Everything it has done so far.
    #[track_caller]
    pub fn events(&self) -> Vec<Event> {
        let text = std::fs::read_to_string(log(&self.dir)).unwrap_or_default();
        // The last line may be half written, or cut by a SIGKILL.
        text.split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'))
            .map(|line| {
                Event::parse(line).unwrap_or_else(|| panic!("not an event of the miner: {line:?}"))
            })
            .collect()
    }

    /// The events of one name.
    #[track_caller]
    pub fn events_named(&self, name: &str) -> Vec<Event> {
        let mut events = self.events();
        events.retain(|event| event.name == name);
        events
    }
}

fn log(dir: &TempDir) -> PathBuf {
    dir.path().join("miner.log")
}

// === impl Event ===

impl Event {
    /// A value in double quotes may hold spaces.
    pub fn parse(line: &str) -> Option<Self> {
        let (at_ns, rest) = line.split_once(' ')?;
        let (name, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut fields = BTreeMap::new();
        while let Some((key, value)) = rest.trim_start().split_once('=') {
            let (value, end) = match value.strip_prefix('"') {
                Some(quoted) => (quoted, "\""),
                None => (value, ""),
            };
            let (value, after) = match value.split_once(&format!("{end} ")) {
                Some(split) => split,
                None => (value.strip_suffix(end)?, ""),
            };
            fields.insert(key.to_owned(), value.to_owned());
            rest = after;
        }
        Some(Self {
            at_ns: at_ns.parse().ok()?,
            name: name.to_owned(),
            fields,
        })
    }

    pub fn field(&self, key: &str) -> &str {
        self.fields.get(key).map_or("", String::as_str)
    }

    /// # Panics
    /// It has no such number.
    #[track_caller]
    pub fn number(&self, key: &str) -> u64 {
        self.field(key)
            .parse()
            .unwrap_or_else(|_| panic!("no number {key} in {self:?}"))
    }
}
