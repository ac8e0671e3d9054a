//! The list of candidates: each agent with a live miner keeps an entry in a hash beside the lock. A hint for people and
//! for a leader that hands over. No rule of exclusion reads it.

use std::time::Duration;

/// Longer than any that an agent writes.
const LONGEST_WORD: usize = 128;

/// An agent with a live miner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// Its holder id.
    pub holder: String,
    /// It could take the lock now, and would.
    pub ready: bool,
    /// When its process started, in seconds since 1970.
    pub started: u64,
    pub version: String,
    /// Its `--instance`.
    pub instance: String,
}

/// An agent's own entry, written within the scripts that run anyway.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    pub member: Member,
    /// For how long it counts; zero removes it.
    pub lives: Duration,
}

/// An entry as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Listed {
    pub member: Member,
    /// When it was written, by the store's clock, in microseconds since 1970.
    pub heard: u64,
}

/// Who should lead next, for the record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Successor {
    Anyone,
    /// The member with this holder id.
    Named(String),
    /// The member that is ready and has started last: in a rolling update one that stays.
    Youngest,
}

/// Why nobody of that name can be named as the successor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSuccessor {
    #[error("no candidate by that name is known; known are: {0}")]
    Unknown(String),
    #[error("it is a candidate, and not ready to take over: ask it with `understudy status`")]
    NotReady,
    #[error("it leads already")]
    Leads,
}

impl Member {
    /// The words after the deadline, as they stand in the hash. The script adds when it was written.
    #[must_use]
    pub fn words(&self) -> String {
        let ready = u8::from(self.ready);
        let Self {
            started,
            version,
            instance,
            ..
        } = self;
        format!("{ready} {started} {version} {instance}")
    }
}

impl Listed {
    /// Reads `DEADLINE READY STARTED VERSION INSTANCE HEARD`. More words may follow in later versions. Anybody may have
    /// written it, and it is shown on a terminal: what no agent writes is none.
    #[must_use]
    pub fn parse(holder: &str, text: &str) -> Option<Self> {
        let plain = |word: &&str| {
            (1..=LONGEST_WORD).contains(&word.len()) && word.bytes().all(|it| it.is_ascii_graphic())
        };
        Some(holder).filter(plain)?;
        let mut words = text.split(' ').skip(1).take_while(plain);
        Some(Self {
            member: Member {
                holder: holder.to_owned(),
                ready: words.next()? == "1",
                started: words.next()?.parse().ok()?,
                version: words.next()?.to_owned(),
                instance: words.next()?.to_owned(),
            },
            heard: words.next()?.parse().ok()?,
        })
    }
}

/// The holder id of the youngest member of that instance, for a hand-over by `holder`.
///
/// # Errors
/// There is none that could begin at once.
pub fn successor(listed: &[Listed], instance: &str, holder: &str) -> Result<String, NoSuccessor> {
    let others = || listed.iter().map(|it| &it.member);
    let named = others().filter(|it| it.instance == instance);
    let Some(best) = named.max_by_key(|it| (it.ready, it.started)) else {
        let mut known: Vec<_> = others()
            .filter(|it| it.holder != holder)
            .map(|it| it.instance.as_str())
            .collect();
        known.sort_unstable();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        return Err(NoSuccessor::Unknown(known));
    };
    match best {
        it if it.holder == holder => Err(NoSuccessor::Leads),
        it if !it.ready => Err(NoSuccessor::NotReady),
        it => Ok(it.holder.clone()),
    }
}
