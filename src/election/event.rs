//! What happened, once: logs and counters derive from it.

use std::time::Duration;

use super::leadership::Reason;
use super::view::Token;
use crate::fault::StoreError;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// A term has begun.
    Elected {
        token: Token,
        /// Redis was out of memory at that moment.
        under_oom: bool,
        after_failures: u32,
    },
    /// A term has ended: nothing is granted under it any more.
    Lost {
        token: Token,
        reason: Reason,
    },
    /// The lock of a term was given back.
    Released {
        token: Token,
        /// The holder id of the one that should lead next; empty: anyone.
        successor: String,
    },
    /// The lock of a term could not be given back, or was ours no longer: its TTL ends it.
    NotReleased {
        token: Token,
    },
    /// A candidate could not look at the store, or could not take the lock.
    AcquisitionFailed {
        error: StoreError,
        consecutive: u32,
    },
    /// An agent that wants no term could not look at the store.
    LookFailed {
        error: StoreError,
    },
    RenewalFailed {
        error: StoreError,
        lease_remaining: Duration,
    },
    ReleaseFailed {
        error: StoreError,
        consecutive: u32,
    },
    /// A record tells of a longer lease than any before: from now on that long is waited out.
    LongerTtl {
        ttl: Duration,
    },
    /// Another instance holds the lock: nothing is wrong, unless the lock never ends.
    HeldByOther {
        leader: String,
        endless: bool,
    },
}
