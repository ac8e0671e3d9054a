//! What a Redis error means: pure, from the text of the error alone.
//!
//! The text is whatever a client in any language hands over: a bare error, or a chain that ends in one
//! (`renewing: redis script failed: OOM command not allowed when …`). An error is known by its leading
//! token and never by a substring: servers echo what they were sent, and an instance may be called
//! `OOM-1`.

use std::fmt;

/// The classes of errors that a Redis, or the way to it, answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreFault {
    /// `OOM command …`: used memory is above `maxmemory`.
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
    /// `NOAUTH`, `WRONGPASS`.
    Auth,
    /// `NOPERM`, and an ACL failure inside a script.
    NoPermission,
    /// `NOSCRIPT`: the script is not in the server's cache.
    NoScript,
    /// `WRONGTYPE`: a key holds a value of another type.
    WrongType,
    /// `CROSSSLOT`, `EXECABORT`: a mistake in the client.
    ClientBug,
    /// No answer in time: whether a write was carried out is unknown.
    TimedOut,
    /// Refused, reset, closed, or no such host: whether a write was carried out is unknown.
    Unreachable,
    /// Anything else.
    Other,
}

/// An error of the store: its class, and the words it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError {
    pub fault: StoreFault,
    pub message: String,
}

/// Errors that are known by their leading token alone.
const TOKENS: [(&str, StoreFault); 18] = [
    ("MISCONF", StoreFault::Misconf),
    ("READONLY", StoreFault::ReadOnly),
    ("NOREPLICAS", StoreFault::NoReplicas),
    ("LOADING", StoreFault::Loading),
    ("MASTERDOWN", StoreFault::Topology),
    ("CLUSTERDOWN", StoreFault::Topology),
    ("TRYAGAIN", StoreFault::Topology),
    ("MOVED", StoreFault::Topology),
    ("ASK", StoreFault::Topology),
    ("BUSY", StoreFault::Busy),
    ("UNKILLABLE", StoreFault::Unkillable),
    ("NOAUTH", StoreFault::Auth),
    ("WRONGPASS", StoreFault::Auth),
    ("NOPERM", StoreFault::NoPermission),
    ("NOSCRIPT", StoreFault::NoScript),
    ("WRONGTYPE", StoreFault::WrongType),
    ("CROSSSLOT", StoreFault::ClientBug),
    ("EXECABORT", StoreFault::ClientBug),
];

/// Out of memory, where no leading `OOM` says so: redis-py drops the token; Dragonfly; Upstash.
const OUT_OF_MEMORY: [&str; 3] = [
    "command not allowed when used memory > 'maxmemory'",
    "Out of memory",
    "DB capacity quota exceeded",
];

/// What follows `ERR` when the credentials are wrong.
const ERR_AUTH: [&str; 3] = [
    "invalid password",
    "Client sent AUTH",
    "AUTH <password> called without any password",
];

/// What an `ERR` says when a script was not permitted a command or a key.
const ERR_PERMISSION: [&str; 2] = ["user executing the script can't", "ACL failure in script"];

/// What clients in several languages say when no answer came, or no connection. Looked for only where
/// no Redis error is found.
const TIMED_OUT: [&str; 3] = ["timeout", "timed out", "deadline exceeded"];
const UNREACHABLE: [&str; 13] = [
    "connection refused",
    "connection reset",
    "connection closed",
    "closed network connection",
    "broken pipe",
    "unexpected end of file",
    "not connected",
    "no such host",
    "name or service not known",
    "failed to lookup address",
    "name resolution",
    "no route to host",
    "network is unreachable",
];

// === impl StoreFault ===

impl StoreFault {
    /// Finds the Redis error in a message, or in a chain of errors that ends in one.
    #[must_use]
    pub fn classify(message: &str) -> Self {
        // A Redis error starts where the message starts, or after a link of the chain. The first one
        // decides: whatever follows it is its own text, which may echo anything.
        let found = segments(message).find_map(Self::at_start);
        found.unwrap_or_else(|| Self::of_transport(message))
    }

    /// The class of a text that starts with a Redis error; `None` if it does not start with one.
    fn at_start(text: &str) -> Option<Self> {
        let text = text.strip_prefix('-').unwrap_or(text);
        if out_of_memory(text) {
            return Some(Self::OutOfMemory);
        }
        let token = text.split([' ', ':']).next().unwrap_or_default();
        let rest = text
            .get(token.len()..)
            .unwrap_or_default()
            .trim_start_matches([':', ' ']);
        if token == "ERR" {
            return Some(Self::of_err(rest));
        }
        let (_, fault) = TOKENS.iter().find(|(known, _)| *known == token)?;
        // A redirection names a slot; a bare word that looks like one may be anybody's.
        let redirects = token == "MOVED" || token == "ASK";
        let fits = if redirects {
            rest.starts_with(|it: char| it.is_ascii_digit())
        } else {
            !rest.is_empty()
        };
        fits.then_some(*fault)
    }

    /// The class of what follows `ERR`.
    fn of_err(text: &str) -> Self {
        // Redis 6.2 wraps what a script met: `Error running script (call to f_…): @user_script:1:
        // @user_script: 1: -OOM command not allowed …`.
        if text.starts_with("Error running script") {
            return wrapped(text)
                .and_then(Self::at_start)
                .unwrap_or_else(|| Self::of_script(text));
        }
        if out_of_memory(text) {
            Self::OutOfMemory
        } else if ERR_AUTH.iter().any(|start| text.starts_with(start)) {
            Self::Auth
        } else if text.starts_with("unknown command") {
            Self::Other
        } else {
            Self::of_script(text)
        }
    }

    fn of_script(text: &str) -> Self {
        let denied = ERR_PERMISSION.iter().any(|part| text.contains(part));
        if denied {
            Self::NoPermission
        } else {
            Self::Other
        }
    }

    fn of_transport(message: &str) -> Self {
        let message = message.to_ascii_lowercase();
        let says = |part: &&str| message.contains(*part);
        if TIMED_OUT.iter().any(says) {
            Self::TimedOut
        } else if UNREACHABLE.iter().any(says) || message == "eof" || message.ends_with(": eof") {
            Self::Unreachable
        } else {
            Self::Other
        }
    }

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
            | Self::Unreachable => true,
            Self::Unkillable
            | Self::Auth
            | Self::NoPermission
            | Self::WrongType
            | Self::ClientBug
            | Self::Other => false,
        }
    }

    /// A connection that has met this fault is in doubt, or leads to the wrong server: dial anew.
    #[must_use]
    pub fn lost_connection(self) -> bool {
        matches!(
            self,
            Self::TimedOut | Self::Unreachable | Self::ReadOnly | Self::Loading | Self::Topology
        )
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
            Self::Auth => "check --redis-username and the password: Redis refuses them",
            Self::NoPermission => {
                "give the Redis user: ~ha:* ~{ha:* &{ha:* -@all +eval +evalsha +get +set +hset +hmget +pttl +pexpire \
                 +persist +del +publish +subscribe +time +info +ping (with a lock key of your own in the patterns)"
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
            Self::Other => "read the message: it is none that this version knows",
        }
    }
}

fn out_of_memory(text: &str) -> bool {
    let after_token = text
        .strip_prefix("OOM")
        .filter(|rest| rest.starts_with([' ', ':']));
    let known = |text: &str| OUT_OF_MEMORY.iter().any(|known| text.starts_with(known));
    match after_token.map(|rest| rest.trim_start_matches([':', ' '])) {
        Some(rest) => rest.starts_with("command ") || known(rest),
        None => known(text),
    }
}

/// Where a Redis error may start: at the beginning, and after each link of a chain.
fn segments(message: &str) -> impl Iterator<Item = &str> {
    let links = message
        .match_indices(": ")
        .map(|(at, link)| at + link.len());
    std::iter::once(0)
        .chain(links)
        .filter_map(|at| message.get(at..))
        .map(|text| text.trim_start_matches(['"', '\'', '(', '[', ' ']))
}

/// What stands after the last `@user_script:N:`.
fn wrapped(text: &str) -> Option<&str> {
    let (_, rest) = text.rsplit_once("@user_script:")?;
    let (line, error) = rest.trim_start().split_once(':')?;
    let numbered = !line.is_empty() && line.bytes().all(|digit| digit.is_ascii_digit());
    numbered.then(|| error.trim_start())
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

    /// An answer that makes no sense.
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
mod tests;
