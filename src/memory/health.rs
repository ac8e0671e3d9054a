//! What one check of Redis found.

use crate::fault::{StoreError, StoreFault};

/// How Redis took the last check: PING and the write probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Redis answers and takes writes.
    Writable,
    /// Redis answers and refuses what was asked.
    Refusing(StoreError),
    /// Redis does not answer, or not to us.
    Away(StoreError),
}

impl Health {
    /// Whatever is asked fails, an election's look included.
    #[must_use]
    pub fn deaf(&self) -> bool {
        match self {
            Self::Writable => false,
            Self::Refusing(error) => matches!(
                error.fault,
                StoreFault::Loading
                    | StoreFault::Busy
                    | StoreFault::Unkillable
                    | StoreFault::Topology
            ),
            Self::Away(_) => true,
        }
    }
}
