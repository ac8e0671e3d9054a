//! Where Redis is and how to speak to it, checked. No secret leaves here by accident.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::secret::Login;

/// How to reach Redis, and which keys the election uses.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    pub endpoint: RedisEndpoint,
    /// The time limit of one command, connecting included.
    pub timeout: Duration,
    pub keys: Keys,
}

/// A Redis: where it is, and how to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisEndpoint {
    pub place: RedisPlace,
    pub database: i64,
    pub login: Login,
    /// The login at the sentinels themselves.
    pub sentinel_login: Login,
    /// `None`: without TLS.
    pub tls: Option<TlsFiles>,
    /// The names of query options that mean nothing here; `…` for each whose name may be a secret.
    pub ignored: Vec<&'static str>,
}

/// How to find the primary that holds the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisPlace {
    Server(RedisAddress),
    /// The sentinels say where the primary of that name is.
    Sentinel {
        sentinels: Vec<RedisAddress>,
        master: String,
    },
    /// The nodes of a cluster say which of them owns the lock's slot.
    Cluster {
        seeds: Vec<RedisAddress>,
    },
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RedisAddress {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// PEM files. Each is read again for every connection, so that renewed files take effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities to trust; `None`: the system's roots.
    pub ca: Option<PathBuf>,
    /// The agent's own certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// The names of everything that the election keeps in Redis, all in one cluster slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    pub lock: String,
    /// Keys are per database, channels are not: a message reaches subscribers in every database.
    database: i64,
}

// === impl RedisSettings ===

impl RedisSettings {
    /// What tells one fleet's lock from another's: place, database and key.
    #[must_use]
    pub fn lock(&self) -> String {
        let RedisEndpoint {
            place, database, ..
        } = &self.endpoint;
        format!("{place}/{database}/{}", self.keys.lock)
    }
}

// === impl RedisEndpoint ===

impl RedisEndpoint {
    /// Whether Redis is a single server on this host.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match &self.place {
            RedisPlace::Server(RedisAddress::Unix(_)) => true,
            RedisPlace::Server(RedisAddress::Tcp { host, .. }) => {
                ["127.0.0.1", "::1", "localhost"].contains(&host.as_str())
            }
            RedisPlace::Sentinel { .. } | RedisPlace::Cluster { .. } => false,
        }
    }
}

// === impl RedisPlace ===

impl fmt::Display for RedisPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |addresses: &[RedisAddress]| {
            let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            texts.join(",")
        };
        match self {
            Self::Server(address) => write!(f, "{address}"),
            Self::Sentinel { sentinels, master } => {
                write!(f, "{master} (by the sentinels {})", list(sentinels))
            }
            Self::Cluster { seeds } => write!(f, "the cluster of {}", list(seeds)),
        }
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

// === impl Keys ===

impl Keys {
    /// # Errors
    /// The key would put its companions into another cluster slot.
    pub fn new(lock: &str) -> Result<Self, &'static str> {
        if lock.is_empty() {
            return Err("a key that is not empty");
        }
        if lock.contains('}') && !has_hash_tag(lock) {
            return Err("a key without `}`, or with a hash tag such as `{miner}:leader`");
        }
        Ok(Self {
            lock: lock.into(),
            database: 0,
        })
    }

    /// The same keys in this database.
    #[must_use]
    pub fn in_database(self, database: i64) -> Self {
        Self { database, ..self }
    }

    #[must_use]
    pub fn record(&self) -> String {
        self.companion("record")
    }

    #[must_use]
    pub fn events(&self) -> String {
        match self.database {
            0 => self.companion("events"),
            database => self.companion(&format!("events:{database}")),
        }
    }

    #[must_use]
    pub fn members(&self) -> String {
        self.companion("members")
    }

    #[must_use]
    pub fn write_probe(&self) -> String {
        self.companion("probe")
    }

    /// The shadow keys, on which `holder` rehearses what it would do on these.
    #[must_use]
    pub fn shadow(&self, holder: &str) -> Self {
        Self {
            lock: self.companion(&format!("shadow:{holder}")),
            database: self.database,
        }
    }

    fn companion(&self, suffix: &str) -> String {
        if has_hash_tag(&self.lock) {
            format!("{}:{suffix}", self.lock)
        } else {
            format!("{{{}}}:{suffix}", self.lock)
        }
    }
}

/// Redis hashes the text between the first `{` and the next `}`, if it is not empty.
/// <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags>
fn has_hash_tag(key: &str) -> bool {
    key.split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .is_some_and(|(tag, _)| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn companions_share_the_locks_slot() {
        let keys = Keys::new("ha:miner:global_leader").unwrap();
        assert_eq!(keys.record(), "{ha:miner:global_leader}:record");
        assert_eq!(
            keys.shadow("a-1").record(),
            "{ha:miner:global_leader}:shadow:a-1:record"
        );
        assert_eq!(Keys::new("{m}:lock").unwrap().record(), "{m}:lock:record");
        assert_eq!(Keys::new("a{b").unwrap().events(), "{a{b}:events");
        for bad in ["", "a}b", "a{}b", "}{"] {
            assert!(Keys::new(bad).is_err(), "{bad}");
        }
    }
}
