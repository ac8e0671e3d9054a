//! What a Redis error means: pure, from the text of the error alone.

use std::fmt;

/// The classes of errors that a Redis, or the way to it, answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreFault {
    OutOfMemory,
    Misconf,
    ReadOnly,
    NoReplicas,
    Loading,
    Topology,
    Busy,
    Unkillable,
    Auth,
    NoPermission,
    NoScript,
    WrongType,
    ClientBug,
    TimedOut,
    Unreachable,
    Other,
}

/// An error of the store: its class, and the words it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError {
    pub fault: StoreFault,
    pub message: String,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StoreError {}

impl StoreFault {
    pub fn classify(_message: &str) -> Self {
        Self::Other
    }
    pub fn retryable(self) -> bool {
        true
    }
    pub fn hint(self) -> &'static str {
        ""
    }
    pub fn lost_connection(self) -> bool {
        matches!(self, Self::TimedOut | Self::Unreachable)
    }
}
impl StoreError {
    pub fn new(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            fault: StoreFault::classify(&message),
            message,
        }
    }
    pub fn timed_out(message: impl Into<String>) -> Self {
        Self {
            fault: StoreFault::TimedOut,
            message: message.into(),
        }
    }
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self {
            fault: StoreFault::Unreachable,
            message: message.into(),
        }
    }
    pub fn nonsense(message: impl Into<String>) -> Self {
        Self {
            fault: StoreFault::Other,
            message: message.into(),
        }
    }
}
