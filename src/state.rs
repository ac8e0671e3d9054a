//! What an agent remembers across a restart (`--state-dir`): its holder id, with which it takes its own lock
//! back at once, and the greatest token that it has seen.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::election::{LARGEST_TOKEN, LONGEST_TTL, Remembered, Token};
use crate::time::Instant;

const SCHEMA: u64 = 1;
/// Changes at every boot: after one, no earlier process acts, and no earlier clock continues.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A folder that belongs to one running agent.
#[derive(Debug)]
pub struct StateDir {
    file: PathBuf,
    origin: Origin,
    found: Option<Memory>,
    /// The lock on the file, held as long as the process lives.
    _lock: File,
}

/// Where a process has written its state: only a process in the same place may take over its holder id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Origin {
    boot_id: String,
    /// The device and inode of the locked file. A copy of the folder has different ones, and may be in use at the same
    /// time as the original.
    inode: String,
}

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    schema: u64,
    #[serde(flatten)]
    origin: Origin,
    holder: String,
    highest_token: Token,
    /// How long a miner may act on a grant of that process, or of an earlier one.
    miner_timeout_ms: u64,
}

impl StateDir {
    /// Locks the folder and reads the state of an earlier process. A malformed file is moved
    /// aside.
    ///
    /// # Errors
    /// The folder cannot be used, or another agent uses it.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            match io::Error::from(error) {
                busy if busy.kind() == io::ErrorKind::WouldBlock => io::Error::other(
                    "another agent uses it: stop that one, or give each a folder of its own",
                ),
                error => error,
            }
        })?;
        let file = folder.join("state.json");
        let found = match fs::read_to_string(&file) {
            Ok(text) => Memory::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Self::new(file, None, lock);
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            Err(error) => return Err(error),
        };
        if found.is_none() {
            let aside = folder.join("state.json.bad");
            tracing::warn!(file = %file.display(), aside = %aside.display(),
                "the state file is malformed and is put aside: this agent starts as a new one");
            fs::rename(&file, aside)?;
        }
        Self::new(file, found, lock)
    }

    fn new(file: PathBuf, found: Option<Memory>, lock: File) -> io::Result<Self> {
        let locked = lock.metadata()?;
        Ok(Self {
            file,
            origin: Origin {
                boot_id: fs::read_to_string(BOOT_ID)?.trim().to_owned(),
                inode: format!("{}:{}", locked.dev(), locked.ino()),
            },
            found,
            _lock: lock,
        })
    }

    /// The earlier state, if it was written in this place and since the last boot.
    fn own(&self) -> Option<&Memory> {
        self.found.as_ref().filter(|it| it.origin == self.origin)
    }

    /// The holder id of the previous process, if it ran in this place, since the last boot, and under the same instance
    /// name.
    #[must_use]
    pub fn holder(&self, instance: &str) -> Option<&str> {
        let holder = &self.own()?.holder;
        let (name, suffix) = holder.rsplit_once('-')?;
        (name == instance && suffix.len() == 8).then_some(holder)
    }

    /// What the election needs to know about the previous process. This one starts at `now`, with the same holder id if
    /// `again`.
    #[must_use]
    pub fn remembered(&self, again: bool, miner_timeout: Duration, now: Instant) -> Remembered {
        let Some(found) = &self.found else {
            return Remembered::NOTHING;
        };
        Remembered {
            highest: found.highest_token,
            acting_until: if again {
                now + miner_timeout.max(found.miner_timeout())
            } else {
                Instant::PAST
            },
        }
    }

    /// Writes what the next process needs to know, which is never less than what was found. The write is
    /// atomic.
    ///
    /// # Errors
    /// The file cannot be written: the next process starts as a new one, or knows an older token.
    pub fn write(&self, holder: &str, highest: Token, miner_timeout: Duration) -> io::Result<()> {
        let before = self.found.as_ref().map_or(0, |it| it.highest_token);
        // A miner of an even earlier process may act as long as that process's grants last.
        let longest = self.own().map_or(Duration::ZERO, Memory::miner_timeout);
        let timeout = miner_timeout.max(longest);
        let memory = Memory {
            schema: SCHEMA,
            origin: self.origin.clone(),
            holder: holder.to_owned(),
            highest_token: highest.max(before),
            miner_timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        };
        let new = self.file.with_extension("json.new");
        let mut file = File::create(&new)?;
        serde_json::to_writer(&mut file, &memory)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(new, &self.file)
    }
}

impl Memory {
    /// `None` if it is malformed, or of another version.
    fn parse(text: &str) -> Option<Self> {
        let memory: Self = serde_json::from_str(text).ok()?;
        let known = memory.schema == SCHEMA
            && memory.highest_token <= LARGEST_TOKEN
            && memory.miner_timeout() <= LONGEST_TTL;
        known.then_some(memory)
    }

    fn miner_timeout(&self) -> Duration {
        Duration::from_millis(self.miner_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(3);

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("understudy-{name}-{}", std::process::id()));
        // From an earlier run.
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn the_next_process_is_the_same_holder_and_waits_for_what_was_granted() {
        let path = folder("state");
        let now = Instant::from_nanos(1);
        {
            let first = StateDir::open(&path).unwrap();
            assert_eq!(first.holder("a"), None);
            assert_eq!(first.remembered(false, TIMEOUT, now), Remembered::NOTHING);
            first.write("a-00c0ffee", 7, TIMEOUT * 2).unwrap();
            let second = StateDir::open(&path).unwrap_err().to_string();
            assert!(second.contains("another agent"), "{second}");
        }
        let mut next = StateDir::open(&path).unwrap();
        assert_eq!(next.holder("a"), Some("a-00c0ffee"));
        assert_eq!(next.holder("b"), None, "another name, another holder");
        let remembered = next.remembered(true, TIMEOUT, now);
        assert_eq!(remembered.highest, 7);
        assert_eq!(remembered.acting_until, now + TIMEOUT * 2);
        // After a reboot only the token counts.
        next.origin.boot_id = "another".into();
        assert_eq!(next.holder("a"), None);
        let remembered = next.remembered(false, TIMEOUT, now);
        assert_eq!(
            (remembered.highest, remembered.acting_until),
            (7, Instant::PAST)
        );
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn no_restart_forgets_what_an_earlier_process_knew() {
        let path = folder("state-of-many");
        StateDir::open(&path)
            .unwrap()
            .write("a-00c0ffee", 7, TIMEOUT * 2)
            .unwrap();
        // A process that has seen nothing yet, with a shorter timeout.
        StateDir::open(&path)
            .unwrap()
            .write("a-00c0ffee", 0, TIMEOUT)
            .unwrap();
        let now = Instant::from_nanos(1);
        let remembered = StateDir::open(&path)
            .unwrap()
            .remembered(true, TIMEOUT, now);
        assert_eq!(
            (remembered.highest, remembered.acting_until),
            (7, now + TIMEOUT * 2)
        );
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_copied_folder_is_another_agents() {
        let (path, copy) = (folder("state-first"), folder("state-copy"));
        let first = StateDir::open(&path).unwrap();
        first.write("a-00c0ffee", 7, TIMEOUT).unwrap();
        fs::create_dir_all(&copy).unwrap();
        fs::copy(path.join("state.json"), copy.join("state.json")).unwrap();
        let second = StateDir::open(&copy).unwrap();
        assert_eq!(second.holder("a"), None);
        let now = Instant::from_nanos(1);
        assert_eq!(second.remembered(false, TIMEOUT, now).highest, 7);
        for path in [path, copy] {
            fs::remove_dir_all(&path).unwrap();
        }
    }

    #[test]
    fn a_malformed_file_is_put_aside() {
        for text in [
            "",
            "{}",
            "nonsense",
            r#"{"schema":2}"#,
            r#"{"schema":1,"holder":7}"#,
        ] {
            let path = folder("bad-state");
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("state.json"), text).unwrap();
            let state = StateDir::open(&path).unwrap();
            assert_eq!(state.holder("a"), None);
            assert_eq!(
                fs::read_to_string(path.join("state.json.bad")).unwrap(),
                text
            );
            fs::remove_dir_all(&path).unwrap();
        }
    }
}
