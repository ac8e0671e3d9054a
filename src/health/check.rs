//! What one check of Redis found.

use std::time::Duration;

use crate::fault::{StoreError, StoreFault};

/// How often Redis is checked while something fails or somebody watches: its recovery is noticed within this time.
pub const CHECK_EVERY: Duration = Duration::from_secs(1);

/// How Redis took the last check: PING and the write probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Redis answers and takes writes.
    Writable,
    /// Redis answers but refuses the command.
    Refusing(StoreError),
    /// Redis does not answer, or refuses to let us in.
    Away(StoreError),
}

/// What an election can do with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Usability {
    /// It cannot even look.
    Nothing,
    /// It can look, but not write.
    Looks,
    /// It can do everything it needs.
    Everything,
}

impl Health {
    /// What an election can do with a server in this state.
    #[must_use]
    pub fn usability(&self) -> Usability {
        match self {
            Self::Writable => Usability::Everything,
            Self::Refusing(error) => match error.fault {
                StoreFault::Loading
                | StoreFault::Busy
                | StoreFault::Unkillable
                | StoreFault::Topology
                | StoreFault::ReadOnly => Usability::Nothing,
                _ => Usability::Looks,
            },
            Self::Away(_) => Usability::Nothing,
        }
    }
}
