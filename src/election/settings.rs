//! What an agent is told once.

use super::lease::LeaseRules;
use super::miner::Liveness;
use super::view::Token;
use crate::time::Instant;

/// What an agent is told once.
#[derive(Debug, Clone, Hash)]
pub struct Settings {
    /// What this agent writes into the lock. Unique to this process.
    pub holder: String,
    pub rules: LeaseRules,
    pub liveness: Liveness,
    /// It may lead. Another only watches.
    pub candidate: bool,
    /// Take the lock even where Redis is out of memory.
    pub under_oom: bool,
    /// Lead even where Redis may evict the lock.
    pub allow_eviction: bool,
    /// Random: tells this process from every other in what it writes, and seeds the jitter of retries. The core has no
    /// randomness of its own.
    pub nonce: u64,
    /// What the process before this one left behind.
    pub remembered: Remembered,
    /// Its entry among the members; `None` if it has none.
    pub enrolment: Option<Enrolment>,
}

/// What an agent tells of itself among the members.
#[derive(Debug, Clone, Hash)]
pub struct Enrolment {
    pub instance: String,
    pub version: String,
    /// When the process started, in seconds since 1970.
    pub started: u64,
}

/// What a process of this agent knows of the one before it (`--state-dir`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Remembered {
    /// The greatest token that it had seen.
    pub highest: Token,
    /// The last moment at which a miner may act on what it granted under the same holder id.
    pub acting_until: Instant,
}

impl Remembered {
    /// There was none, or nothing is known of it.
    pub const NOTHING: Self = Self {
        highest: 0,
        acting_until: Instant::PAST,
    };
}
