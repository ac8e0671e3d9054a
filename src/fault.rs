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
    /// Words of a client, not of a server: no answer in time. Whether a write was carried out is unknown.
    TimedOut,
    /// Words of a client: refused, reset, closed, or no such host. Whether a write was carried out is unknown.
    Unreachable,
    /// Anything else.
    Other,
}

/// An error of the store: its class, and the words it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError {
    /// Its class.
    pub fault: StoreFault,
    /// The words it came in, shown as they are.
    pub message: String,
}

/// The leading tokens of each class, as a server writes them and as redis-rs prints them. `|` parts them.
const TOKENS: [(&str, StoreFault); 12] = [
    ("MISCONF", StoreFault::Misconf),
    ("READONLY|ReadOnly", StoreFault::ReadOnly),
    ("NOREPLICAS", StoreFault::NoReplicas),
    ("LOADING|BusyLoading", StoreFault::Loading),
    (
        "MASTERDOWN|MasterDown|CLUSTERDOWN|ClusterDown|TRYAGAIN|TryAgain|MOVED|Moved|ASK|Ask",
        StoreFault::Topology,
    ),
    ("BUSY", StoreFault::Busy),
    ("UNKILLABLE", StoreFault::Unkillable),
    ("NOAUTH|WRONGPASS", StoreFault::Auth),
    ("NOPERM|NoPerm", StoreFault::NoPermission),
    ("NOSCRIPT|NoScript", StoreFault::NoScript),
    ("WRONGTYPE", StoreFault::WrongType),
    ("CROSSSLOT|CrossSlot", StoreFault::ClientBug),
];

/// How errors begin that have no token of their own, after `ERR` or bare: redis-py takes most tokens
/// away. The last row echoes what it was sent, so that nothing behind it may be looked at.
const TEXTS: [(&str, StoreFault); 8] = [
    (
        "command not allowed when used memory|command not allowed under OOM prevention|\
         allow-oom flag is not set|Out of memory|DB capacity quota exceeded",
        StoreFault::OutOfMemory,
    ),
    ("You can't write against a read only", StoreFault::ReadOnly),
    ("Redis is loading|Valkey is loading", StoreFault::Loading),
    ("Link with MASTER is down", StoreFault::Topology),
    ("No matching script", StoreFault::NoScript),
    (
        "Authentication required|Password authentication failed|invalid username-password pair|\
         invalid password|Client sent AUTH|AUTH <password> called without|\
         Protocol error: unauthenticated",
        StoreFault::Auth,
    ),
    (
        "The user executing the script can't|user executing the script can't|ACL failure in script",
        StoreFault::NoPermission,
    ),
    (
        "unknown command|unknown subcommand|Unknown subcommand",
        StoreFault::Other,
    ),
];

/// What clients in several languages say, in lower case, when no answer came in time, and when there
/// is no connection. Looked for only where no Redis error is found.
const TIMED_OUT: &str = "timeout|timed out|timedout|deadline exceeded|deadline has elapsed|\
     resource temporarily unavailable";
const UNREACHABLE: &str = "connection refused|connection reset|connection aborted|connection closed|\
     connection is closed|connection lost|closed network connection|closed the connection|\
     socket closed|client is closed|broken pipe|unexpected end of|unexpectedly terminated|\
     not connected|unable to connect|no such host|name or service not known|unknownhost|\
     failed to lookup address|name resolution|no route to host|network is unreachable|\
     econnrefused|econnreset|epipe|enotfound|eai_again|ehostunreach|enetunreach";

// === impl StoreFault ===

impl StoreFault {
    /// Every class, in the order of the table in the documentation.
    pub const ALL: [Self; 16] = [
        Self::OutOfMemory,
        Self::Misconf,
        Self::ReadOnly,
        Self::NoReplicas,
        Self::Loading,
        Self::Topology,
        Self::Busy,
        Self::Unkillable,
        Self::Auth,
        Self::NoPermission,
        Self::NoScript,
        Self::WrongType,
        Self::ClientBug,
        Self::TimedOut,
        Self::Unreachable,
        Self::Other,
    ];

    /// Finds the Redis error in a message, or in a chain of errors that ends in one. Takes time in
    /// proportion to the message's length, whatever stands in it.
    #[must_use]
    pub fn classify(message: &str) -> Self {
        // A Redis error starts where the message starts, or after a link of the chain. The first one
        // decides: whatever follows it is its own text, which may echo anything.
        links(message)
            .find_map(at_start)
            .unwrap_or_else(|| of_transport(message))
    }

    /// Its name: for logs, labels and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OutOfMemory => "out_of_memory",
            Self::Misconf => "misconf",
            Self::ReadOnly => "read_only",
            Self::NoReplicas => "no_replicas",
            Self::Loading => "loading",
            Self::Topology => "topology",
            Self::Busy => "busy",
            Self::Unkillable => "unkillable",
            Self::Auth => "auth",
            Self::NoPermission => "no_permission",
            Self::NoScript => "no_script",
            Self::WrongType => "wrong_type",
            Self::ClientBug => "client_bug",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Other => "other",
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
            Self::Other => "read the message: it is none that this version knows",
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

// === reading ===

/// Where an error may start: at the beginning, and after each link of a chain. A server's error is one
/// line, so that a new line is a link too (anyhow's and Python's reports have them).
fn links(message: &str) -> impl Iterator<Item = &str> {
    let links = message.match_indices([' ', '\n']).filter(|(at, gap)| {
        let colon = || message.get(..*at).is_some_and(|it| it.ends_with(':'));
        *gap == "\n" || colon()
    });
    let starts = std::iter::once(0).chain(links.map(|(at, _)| at + 1));
    starts.filter_map(|at| message.get(at..))
}

/// The class of the error that a text starts with; `None` if it starts with none.
fn at_start(text: &str) -> Option<StoreFault> {
    // Clients quote and bracket what they print, and quote it again.
    let text = text.trim_start_matches(['"', '\'', '`', '\\', '(', '[', ' ']);
    match token(text.strip_prefix('-').unwrap_or(text)) {
        Some(("ERR", rest)) => Some(of_err(rest)),
        // redis-rs' word for ERR. In Python it is the class of errors that keep their token.
        Some(("ResponseError", rest)) => {
            let rest = rest.strip_prefix("ERR ").unwrap_or(rest);
            Some(bare(rest).unwrap_or_else(|| of_err(rest)))
        }
        // EXEC itself was refused, and says why.
        Some(("EXECABORT" | "ExecAbort", rest)) => rest
            .strip_prefix("Transaction discarded because of: ")
            .and_then(bare)
            .or(Some(StoreFault::ClientBug)),
        _ => bare(text),
    }
}

/// The class of what follows `ERR`. It decides, known or not: many such errors echo their arguments.
fn of_err(text: &str) -> StoreFault {
    let in_script = text.starts_with("Error running script")
        || text.trim_start_matches('@').starts_with("user_script:");
    let fault = if in_script {
        script_met(text)
    } else {
        by_text(text)
    };
    fault.unwrap_or(StoreFault::Other)
}

/// What a script met: Redis 6.2 wraps it (`Error running script (call to f_…): @user_script:1:
/// @user_script: 1: -OOM command …`); later engines only what a script threw (`user_script:1: OOM …`).
fn script_met(text: &str) -> Option<StoreFault> {
    text.match_indices("user_script:").find_map(|(at, marker)| {
        let (line, error) = text.get(at + marker.len()..)?.split_once(':')?;
        let numbered = line.trim().parse::<u32>().is_ok();
        numbered.then(|| bare(error.trim_start())).flatten()
    })
}

/// The class of an error that nothing wraps.
fn bare(text: &str) -> Option<StoreFault> {
    let text = text.strip_prefix('-').unwrap_or(text);
    let Some((token, rest)) = token(text) else {
        return by_text(text);
    };
    match token {
        "OOM" if rest.starts_with("command ") => Some(StoreFault::OutOfMemory),
        "OOM" => by_text(rest).filter(|fault| *fault == StoreFault::OutOfMemory),
        "ERR" => Some(by_text(rest).unwrap_or(StoreFault::Other)),
        // A redirection names a slot: such short words may be anybody's.
        "MOVED" | "Moved" | "ASK" | "Ask" if !rest.starts_with(|it: char| it.is_ascii_digit()) => {
            None
        }
        _ => first(&TOKENS, |known| known == token).or_else(|| by_text(text)),
    }
}

/// The leading word and the text after it, which a space or a colon parts; redis-rs prints `"OOM": …`.
fn token(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|it: char| !it.is_ascii_alphabetic())?;
    let (token, rest) = text.split_at_checked(end)?;
    let rest = rest.trim_start_matches(['"', '\\']);
    let parted = !token.is_empty() && rest.starts_with([' ', ':']);
    // Only behind a word: in a text of nothing but links each of them would be walked to the end.
    let rest = parted.then(|| rest.trim_start_matches([' ', ':']))?;
    (!rest.is_empty()).then_some((token, rest))
}

fn by_text(text: &str) -> Option<StoreFault> {
    first(&TEXTS, |known| text.starts_with(known))
}

fn first(table: &[(&str, StoreFault)], fits: impl Fn(&str) -> bool) -> Option<StoreFault> {
    let row = table
        .iter()
        .find(|(known, _)| known.split('|').any(&fits))?;
    Some(row.1)
}

fn of_transport(message: &str) -> StoreFault {
    let message = message.to_ascii_lowercase();
    let says = |phrases: &str| phrases.split('|').any(|phrase| message.contains(phrase));
    let mut words = message.split(|it: char| !it.is_ascii_alphanumeric());
    if says(TIMED_OUT) {
        StoreFault::TimedOut
    } else if says(UNREACHABLE) || words.any(|word| word == "eof") {
        StoreFault::Unreachable
    } else {
        StoreFault::Other
    }
}

#[cfg(test)]
mod measured;
#[cfg(test)]
mod tests;
