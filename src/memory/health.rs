//! What one check of Redis found.

use crate::fault::StoreError;

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
