//! Finds the class of an error in its text.

use super::StoreFault;

/// The leading tokens of each class, as a server writes them and as redis-rs prints them. `|` parts them.
pub(super) const TOKENS: [(&str, StoreFault); 12] = [
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

/// The beginnings of errors without a token of their own, after `ERR` or bare, since redis-py removes most
/// tokens. The error of the last row echoes its input, so nothing after that beginning may be searched.
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

/// What clients in several languages say, in lower case, if no answer came in time, and if there is no
/// connection. Searched only if no Redis error is found.
const TIMED_OUT: &str = "timeout|timed out|timedout|deadline exceeded|deadline has elapsed|\
     resource temporarily unavailable";
const TLS: &str = "peer certificate|fatal alert|x509:|tls: |certificate verify failed|certificate_verify_failed|\
     self-signed certificate|self signed certificate|unable to get local issuer certificate|\
     unable to verify the first certificate|sslhandshakeexception|err_tls_|depth_zero_self_signed_cert|\
     self_signed_cert_in_chain|unable_to_verify_leaf_signature|wrong version number";
const UNREACHABLE: &str = "connection refused|connection reset|connection aborted|connection closed|\
     connection is closed|connection lost|closed network connection|closed the connection|\
     socket closed|client is closed|broken pipe|unexpected end of|unexpectedly terminated|\
     not connected|unable to connect|no such host|name or service not known|unknownhost|\
     failed to lookup address|name resolution|no route to host|network is unreachable|\
     econnrefused|econnreset|epipe|enotfound|eai_again|ehostunreach|enetunreach";

impl StoreFault {
    /// Finds the Redis error in a message, or in a chain of errors that ends in one. Takes time in
    /// proportion to the message's length, for any content.
    #[must_use]
    pub fn classify(message: &str) -> Self {
        // A Redis error starts where the message starts, or after a link of the chain. The first one
        // decides: the text after it may echo anything.
        links(message)
            .find_map(at_start)
            .unwrap_or_else(|| of_transport(message))
    }
}

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
    } else if says(TLS) {
        StoreFault::Tls
    } else if says(UNREACHABLE) || words.any(|word| word == "eof") {
        StoreFault::Unreachable
    } else {
        StoreFault::Other
    }
}
