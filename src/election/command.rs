//! What the core asks of the store, and what the store answers: plain data.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::member::{Entry, Successor};
use super::view::{Token, View};
use crate::fault::StoreError;
use crate::time::Instant;

/// One request to the store. `not_after` is on the store's own clock, in microseconds since 1970:
/// a request that arrives later changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Command {
    /// Read lock, record and generation. A caller without an entry reads the members as well.
    Look { entry: Option<Entry> },
    /// Begin a term, if generation and record are still exactly as judged.
    Begin {
        by: Claimant,
        judged: String,
        /// The lock of the record's own holder is stale and may be taken over.
        stale_lock: bool,
        /// The new token must be greater than this one.
        above: Token,
        not_after: u64,
        /// Take the lock even where Redis is out of memory.
        under_oom: bool,
        /// Begin even where Redis may evict the lock.
        allow_eviction: bool,
        entry: Option<Entry>,
    },
    /// Extend the term with this token; write lock and record anew if they were lost.
    Renew {
        by: Claimant,
        token: Token,
        /// Only a lock that is still held, on exactly this: of a term that is not led any more.
        kept: Option<String>,
        not_after: u64,
        entry: Option<Entry>,
    },
    /// Give the lock back and say so in the record.
    Release {
        by: Claimant,
        token: Token,
        not_after: u64,
        /// How long this holder stays out of the election afterwards, for the record.
        hold_off: Duration,
        successor: Successor,
    },
}

/// Who writes lock and record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claimant {
    /// Its holder id.
    pub holder: String,
    /// The time to live of its lock.
    pub ttl: Duration,
    pub stamp: Stamp,
}

/// What makes each record unlike every other, whatever Redis' clock shows: which process wrote it, and which of its
/// attempts that was. Both are kept in the writer's memory and never read from the store, which may lose or repeat what
/// it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Random, one for each process.
    pub process: u64,
    /// Grows with each command of that process.
    pub attempt: u64,
}

impl Command {
    /// Its word in logs and in the label of the duration histogram.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Look { .. } => "look",
            Self::Begin { .. } => "begin",
            Self::Renew { .. } => "renew",
            Self::Release { .. } => "release",
        }
    }

    /// It may take the lock.
    pub(super) fn begins(&self) -> bool {
        matches!(self, Self::Begin { .. })
    }
}

/// A command on its way: a reply that bears another id is stale and dropped.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attempt {
    pub id: AttemptId,
    pub command: Command,
    pub sent_at: Instant,
    /// When the caller gives up, connecting included.
    pub deadline: Instant,
}

/// Numbers the attempts of one process. Each is new, and is only ever compared with earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptId(pub(super) u64);

// The number of an attempt adds nothing to a hash: it is new whatever it is, so two elections that differ only in how
// many attempts they have made behave alike, and the exhaustive search (`tests/explore`) takes them for the same.
impl Hash for AttemptId {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Hash for Stamp {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.process.hash(state);
    }
}

/// The store's answer, or why there is none. After an error the outcome of a write is unknown.
pub type Reply = Result<Answer, StoreError>;

#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Answer {
    pub outcome: Outcome,
    /// The store as it stood after the script.
    pub view: View,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Looked,
    Begun(Token),
    Renewed,
    Released,
    Refused(Refusal),
}

/// Why a script changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It arrived after `not_after`.
    TooLate,
    /// Somebody else holds the lock.
    Held,
    /// Generation or record are not as judged.
    Changed,
    /// Redis may evict the lock.
    Evicting,
    /// The record tells of a later term, or says that this one was released.
    Superseded,
}
