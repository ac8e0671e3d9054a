//! What a Redis error means: pure, from the text of the error alone.
//!
//! The text may come from a client in any language: a bare error, or a chain that ends in one
//! (`renewing: redis script failed: OOM command not allowed when …`). An error is known by its leading
//! token and never by a substring: servers echo what they were sent, and an instance may be called
//! `OOM-1`.

mod reading;

use std::fmt;

/// The classes of errors from Redis, or from the connection to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreFault {
    /// `OOM command …`, `OOM allow-oom flag …`; Dragonfly's `Out of memory`, Upstash's `DB capacity quota
    /// exceeded`: used memory is above the limit.
    OutOfMemory,
    /// `MISCONF`: the server cannot save to disk.
    Misconf,
    /// `READONLY`: a replica.
    ReadOnly,
    /// `NOREPLICAS`: too few replicas in sync.
    NoReplicas,
    /// `LOADING`: the server loads its data.
    Loading,
    /// `MASTERDOWN`, `CLUSTERDOWN`, `TRYAGAIN`, `MOVED`, `ASK`.
    Topology,
    /// `BUSY`: a slow script holds the server.
    Busy,
    /// `UNKILLABLE`: a slow script that has written holds it.
    Unkillable,
    /// `NOAUTH`, `WRONGPASS`, `ERR invalid password`, `ERR … AUTH …`: missing or wrong credentials.
    Auth,
    /// `NOPERM`; inside a script `ERR The user executing the script can't …`, `ERR ACL failure in script`.
    NoPermission,
    /// `NOSCRIPT`: the script is not in the server's cache.
    NoScript,
    /// `WRONGTYPE`: a key holds a value of another type.
    WrongType,
    /// `CROSSSLOT`, `EXECABORT`: a mistake in the client.
    ClientBug,
    /// From a client, not a server: no answer in time. Whether a write was carried out is unknown.
    TimedOut,
    /// From a client: refused, reset, closed, or no such host. Whether a write was carried out is unknown.
    Unreachable,
    /// From a client: one side does not accept the other's certificate, or they share no TLS version or cipher.
    Tls,
    /// Not from Redis: a password file that the settings name cannot be read yet. Nothing was sent.
    PasswordFile,
    /// Not from Redis: a certificate or key that the settings name cannot be read or parsed yet. Nothing was sent.
    TlsFile,
    /// Anything else.
    Other,
}

/// The contract's words for these classes, as reasons why an agent does not lead or is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RedisFault {
    Unreachable,
    Timeout,
    Oom,
    ReadOnly,
    Loading,
    Busy,
    Misconf,
    NoReplicas,
    Auth,
    Tls,
    NoPermission,
    WrongType,
    ClusterDown,
    Error,
}

/// An error of the store: its class and its text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoreError {
    /// Its class.
    pub fault: StoreFault,
    /// Its text, shown unchanged.
    pub message: String,
}

// === impl StoreFault ===

impl StoreFault {
    /// Whether the same command may succeed later without anyone changing it.
    #[must_use]
    pub fn retryable(self) -> bool {
        match self {
            Self::OutOfMemory
            | Self::Misconf
            | Self::ReadOnly
            | Self::NoReplicas
            | Self::Loading
            | Self::Topology
            | Self::Busy
            | Self::NoScript
            | Self::TimedOut
            | Self::Unreachable
            | Self::PasswordFile
            | Self::TlsFile => true,
            Self::Unkillable
            | Self::Auth
            | Self::NoPermission
            | Self::WrongType
            | Self::ClientBug
            | Self::Tls
            | Self::Other => false,
        }
    }

    /// Whether to dial again: after this fault the connection is in doubt, or leads to the wrong server.
    #[must_use]
    pub fn lost_connection(self) -> bool {
        matches!(
            self,
            Self::TimedOut
                | Self::Unreachable
                | Self::Tls
                | Self::ReadOnly
                | Self::Loading
                | Self::Topology
        )
    }

    /// Whether nothing was sent because a file that the settings name cannot be used yet. Every attempt reads it again.
    #[must_use]
    pub fn waits_for_file(self) -> bool {
        matches!(self, Self::PasswordFile | Self::TlsFile)
    }

    /// What an operator can do about it, in one sentence.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::OutOfMemory => "raise maxmemory, or free keys: used memory is above the limit",
            Self::Misconf => {
                "free disk space or repair persistence on the Redis server: it cannot save"
            }
            Self::ReadOnly => {
                "point the agent at the primary: this server is a replica, or a failover is under way"
            }
            Self::NoReplicas => "bring replicas back, or lower min-replicas-to-write",
            Self::Loading => "wait: Redis restarts and loads its data",
            Self::Topology => {
                "check the cluster or the replication: this server does not serve the key now"
            }
            Self::Busy => "end the slow script on the Redis server with SCRIPT KILL",
            Self::Unkillable => {
                "a script that has written holds the Redis server: it must end, or the server be shut down"
            }
            Self::Auth => {
                "check --redis-username and --redis-password-file or UNDERSTUDY_REDIS_PASSWORD: Redis refuses what it was sent, or was sent nothing"
            }
            Self::NoPermission => {
                "give the Redis user what `understudy doctor` prints as an ACL line: +eval, +evalsha and what they run"
            }
            Self::NoScript => "nothing: the script is sent again",
            Self::WrongType => {
                "another program uses the lock's key or the record's: remove that key, or set --lock-key"
            }
            Self::ClientBug => "report it: the client sent what a server must refuse",
            Self::TimedOut => {
                "check that Redis is not paused, overloaded or cut off: it did not answer in time"
            }
            Self::Unreachable => {
                "check the address, and that Redis runs and can be reached from here"
            }
            Self::Tls => {
                "check --redis-ca-file, --redis-cert-file and --redis-key-file, the names in the server's certificate and how long it is valid: one side does not accept the other's"
            }
            Self::PasswordFile => {
                "write the file, or correct its path: it is read again at every attempt, and nothing is sent to Redis before it is there"
            }
            Self::TlsFile => {
                "write the files in PEM, or correct their paths: they are read again at every attempt, and nothing is sent to Redis before they are there"
            }
            Self::Other => "read the message: this version does not know it",
        }
    }
}

// === impl RedisFault ===

impl RedisFault {
    /// The word for it, as a reason.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "redis_unreachable",
            Self::Timeout => "redis_timeout",
            Self::Oom => "redis_oom",
            Self::ReadOnly => "redis_read_only",
            Self::Loading => "redis_loading",
            Self::Busy => "redis_busy",
            Self::Misconf => "redis_misconf",
            Self::NoReplicas => "redis_no_replicas",
            Self::Auth => "redis_auth",
            Self::Tls => "redis_tls",
            Self::NoPermission => "redis_no_permission",
            Self::WrongType => "redis_wrong_type",
            Self::ClusterDown => "redis_cluster_down",
            Self::Error => "redis_error",
        }
    }
}

impl From<StoreFault> for RedisFault {
    fn from(fault: StoreFault) -> Self {
        match fault {
            StoreFault::OutOfMemory => Self::Oom,
            StoreFault::Misconf => Self::Misconf,
            StoreFault::ReadOnly => Self::ReadOnly,
            StoreFault::NoReplicas => Self::NoReplicas,
            StoreFault::Loading => Self::Loading,
            StoreFault::Topology => Self::ClusterDown,
            StoreFault::Busy | StoreFault::Unkillable => Self::Busy,
            StoreFault::Auth | StoreFault::PasswordFile => Self::Auth,
            StoreFault::Tls | StoreFault::TlsFile => Self::Tls,
            StoreFault::NoPermission => Self::NoPermission,
            StoreFault::WrongType => Self::WrongType,
            StoreFault::TimedOut => Self::Timeout,
            StoreFault::Unreachable => Self::Unreachable,
            StoreFault::NoScript | StoreFault::ClientBug | StoreFault::Other => Self::Error,
        }
    }
}

// === impl StoreError ===

impl StoreError {
    /// An error that the server answered with, classified by its text.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        let message = message.into();
        let fault = StoreFault::classify(&message);
        Self { fault, message }
    }

    /// No answer came in time.
    #[must_use]
    pub fn timed_out(message: impl Into<String>) -> Self {
        Self::of(StoreFault::TimedOut, message)
    }

    /// There is no connection, or it broke.
    #[must_use]
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::of(StoreFault::Unreachable, message)
    }

    /// A malformed answer.
    #[must_use]
    pub fn nonsense(message: impl Into<String>) -> Self {
        Self::of(StoreFault::Other, message)
    }

    fn of(fault: StoreFault, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { fault, message }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StoreError {}

#[cfg(test)]
mod measured;
#[cfg(test)]
mod tests;
