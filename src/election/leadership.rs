//! What the agent says about who leads, and until when it may be believed.

use std::borrow::Cow;

use super::view::Token;
use crate::fault::{RedisFault, StoreFault};
use crate::time::Instant;

/// What this agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Leader,
    Standby,
    Idle,
}

/// Why it is that. The words are the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    Elected,
    HeldByOther,
    WaitingOutLease,
    StoreSettling,
    NoMiner,
    MinerSilent,
    NotCandidate,
    LeaseExpired,
    LockLost,
    Resigned,
    Draining,
    HoldOff,
    HeldForSuccessor,
    EvictionPolicy,
    Starting,
    /// Redis refuses, or is not to be had.
    Redis(RedisFault),
}

/// The agent's standing at one moment. It carries its own expiry: later readers call [`Leadership::at`], so that an agent
/// that was stopped cannot claim to lead when it continues.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Leadership {
    pub role: Role,
    pub reason: Reason,
    /// The holder of the lock as last seen.
    pub leader: Option<String>,
    /// The term's token, while leader.
    pub token: Option<Token>,
    /// Grows with every change of the four fields above.
    pub version: u64,
    /// While leader: the end of the lease.
    pub lease_until: Option<Instant>,
    /// While leader: until when the miner may act. `None` where nobody has asked for a grant.
    pub valid_until: Option<Instant>,
    /// While leader: the end of the role, if nothing is heard until then.
    pub(super) role_until: Instant,
}

// === impl Role ===

impl Role {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Standby => "standby",
            Self::Idle => "idle",
        }
    }
}

// === impl Reason ===

impl Reason {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Elected => "elected",
            Self::HeldByOther => "held_by_other",
            Self::WaitingOutLease => "waiting_out_lease",
            Self::StoreSettling => "store_settling",
            Self::NoMiner => "no_miner",
            Self::MinerSilent => "miner_silent",
            Self::NotCandidate => "not_candidate",
            Self::LeaseExpired => "lease_expired",
            Self::LockLost => "lock_lost",
            Self::Resigned => "resigned",
            Self::Draining => "draining",
            Self::HoldOff => "hold_off",
            Self::HeldForSuccessor => "held_for_successor",
            Self::EvictionPolicy => "eviction_policy",
            Self::Starting => "starting",
            Self::Redis(fault) => fault.name(),
        }
    }
}

impl From<StoreFault> for Reason {
    fn from(fault: StoreFault) -> Self {
        Self::Redis(fault.into())
    }
}

// === impl Leadership ===

impl Leadership {
    /// Before anything is known.
    #[must_use]
    pub fn starting() -> Self {
        Self {
            role: Role::Idle,
            reason: Reason::Starting,
            leader: None,
            token: None,
            version: 0,
            lease_until: None,
            valid_until: None,
            role_until: Instant::NEVER,
        }
    }

    /// What is true of it at `now`: past its time a leader is none, whatever the agent last heard.
    /// The answer is the one that the election itself comes to as soon as it runs, version included.
    #[must_use]
    pub fn at(&self, now: Instant) -> Self {
        self.as_of(now).into_owned()
    }

    /// The same, borrowed while nothing has lapsed.
    #[must_use]
    pub fn as_of(&self, now: Instant) -> Cow<'_, Self> {
        if self.role != Role::Leader || now < self.role_until {
            return Cow::Borrowed(self);
        }
        let (role, reason) = self.lapse();
        Cow::Owned(Self {
            role,
            reason,
            version: self.version + 1,
            ..Self::starting()
        })
    }

    /// What a leader becomes when its time runs out: the link of the chain that ended first tells.
    pub(super) fn lapse(&self) -> (Role, Reason) {
        if self.lease_until.is_some_and(|end| end <= self.role_until) {
            (Role::Standby, Reason::LeaseExpired)
        } else {
            (Role::Idle, Reason::MinerSilent)
        }
    }

    #[must_use]
    pub fn leads(&self) -> bool {
        self.role == Role::Leader
    }
}
