//! What the doctor asks a Redis, before trouble. Changes nothing.

use std::time::Duration;

use redis::{FromRedisValue, Value};

use super::link::Link;
use super::{Events, HealthCheck, Rehearsal, Rehearsed, Store};
use crate::clock;
use crate::election::{Command, View};
use crate::endpoint::{Keys, Login, RedisPlace, RedisSettings};
use crate::fault::{StoreError, StoreFault};
use crate::health::Health;

/// How many round trips to measure.
const PINGS: usize = 5;

/// How long other locks are looked for, and how many are told of.
const SCAN_FOR: Duration = Duration::from_secs(1);
const MAX_OTHERS: usize = 5;

/// A lock under another name.
pub struct OtherLock {
    pub key: String,
    pub holder: String,
    /// There is a record beside it, as an agent writes it.
    pub recorded: bool,
}

/// Everything that was found. What could not be asked is an error in its place.
pub struct Survey {
    /// How long a PING took; the first one with dialling.
    pub pings: Result<Vec<Duration>, StoreError>,
    /// What the way of failing points at.
    pub guess: Option<&'static str>,
    /// The server that answers, and in a cluster the slot for which it does.
    pub server: String,
    pub slot: Option<u16>,
    /// INFO's default sections.
    pub info: Result<String, StoreError>,
    /// How it took the write probe.
    pub write: Health,
    pub view: Result<View, StoreError>,
    /// Redis' clock, less ours, in microseconds; and how far that may be off.
    pub clock: Result<(i64, Duration), StoreError>,
    pub rehearsed: Result<Rehearsed, StoreError>,
    pub publish: Result<(), StoreError>,
    pub subscribe: Result<(), StoreError>,
    /// What keeps the list of candidates: on keys that nobody uses.
    pub members: Result<(), StoreError>,
    /// `min-replicas-to-write`.
    pub min_replicas: Result<u64, StoreError>,
    /// `timeout`: after so many idle seconds a connection is closed; 0 is never.
    pub idle_timeout: Result<u64, StoreError>,
    /// Other keys that look like a miner's lock, on the server that answers.
    pub others: Result<Vec<OtherLock>, StoreError>,
    /// PEXPIRE needs no memory here, and SET does: by COMMAND INFO.
    pub way_past_oom: Result<bool, StoreError>,
}

impl Survey {
    /// Asks one thing after the other, each within the timeout of one command.
    pub async fn take(settings: &RedisSettings, holder: &str, under_oom: bool) -> Self {
        let mut surveyor = Surveyor {
            link: Link::new(settings),
            limit: settings.timeout,
        };
        let pings = surveyor.pings().await;
        if let Err(error) = pings {
            let guess = guess(settings, &error).await;
            return Self::unreached(&error, guess);
        }
        let deadline = || clock::boottime() + settings.timeout;
        let mut store = Store::new(settings);
        let looked = store
            .execute(&Command::Look { entry: None }, deadline())
            .await;
        let shadow = settings.keys.shadow(holder);
        let server = surveyor
            .link
            .server()
            .map_or_else(String::new, |it| it.to_string());
        let slot = match settings.endpoint.place {
            RedisPlace::Cluster { .. } => surveyor
                .ask(&["CLUSTER", "KEYSLOT", &settings.keys.lock])
                .await
                .ok(),
            RedisPlace::Server(_) | RedisPlace::Sentinel { .. } => None,
        };
        Self {
            guess: None,
            server,
            slot,
            info: surveyor.ask(&["INFO"]).await,
            write: HealthCheck::new(settings).check(settings.timeout).await,
            view: looked.map(|answer| answer.view),
            clock: surveyor.clock().await,
            rehearsed: Rehearsal::new(settings, holder, under_oom).run().await,
            publish: surveyor
                .ask::<i64>(&["PUBLISH", &shadow.events(), "doctor"])
                .await
                .map(|_| ()),
            subscribe: Events::new(settings).subscribe().await.map(|_| ()),
            members: surveyor.members(&shadow.members()).await,
            min_replicas: surveyor.setting("min-replicas-to-write").await,
            idle_timeout: surveyor.setting("timeout").await,
            others: surveyor.others(&settings.keys.lock).await,
            way_past_oom: surveyor.way_past_oom().await,
            pings,
        }
    }
}

impl Survey {
    /// Redis did not answer the first question: the others would only time out.
    fn unreached(error: &StoreError, guess: Option<&'static str>) -> Self {
        let error = || error.clone();
        Self {
            pings: Err(error()),
            guess,
            server: String::new(),
            slot: None,
            info: Err(error()),
            write: Health::Away(error()),
            view: Err(error()),
            clock: Err(error()),
            rehearsed: Err(error()),
            publish: Err(error()),
            subscribe: Err(error()),
            members: Err(error()),
            min_replicas: Err(error()),
            idle_timeout: Err(error()),
            others: Err(error()),
            way_past_oom: Err(error()),
        }
    }
}

struct Surveyor {
    link: Link,
    limit: Duration,
}

impl Surveyor {
    async fn ask<T: FromRedisValue>(&mut self, words: &[&str]) -> Result<T, StoreError> {
        let run = |mut connection, _| async move {
            let mut words = words.iter();
            let mut command = redis::cmd(words.next().unwrap_or(&"PING"));
            words.for_each(|word| {
                command.arg(word);
            });
            command.query_async(&mut connection).await
        };
        self.link.run(self.limit, run).await
    }

    async fn members(&mut self, key: &str) -> Result<(), StoreError> {
        self.ask::<Value>(&["HGETALL", key]).await?;
        self.ask::<Value>(&["HDEL", key, "doctor"]).await?;
        Ok(())
    }

    async fn pings(&mut self) -> Result<Vec<Duration>, StoreError> {
        let mut took = Vec::new();
        for _ in 0..PINGS {
            let sent_at = clock::boottime();
            self.ask::<Value>(&["PING"]).await?;
            took.push(clock::boottime().since(sent_at));
        }
        Ok(took)
    }

    async fn clock(&mut self) -> Result<(i64, Duration), StoreError> {
        let sent_at = clock::boottime();
        let (seconds, micros): (i64, i64) = self.ask(&["TIME"]).await?;
        let took = clock::boottime().since(sent_at);
        #[allow(
            clippy::cast_possible_truncation,
            reason = "microseconds since 1970 fit"
        )]
        let ours = (clock::unix_seconds() * 1e6) as i64;
        let theirs = seconds.saturating_mul(1_000_000).saturating_add(micros);
        Ok((theirs.saturating_sub(ours), took))
    }

    async fn setting(&mut self, name: &str) -> Result<u64, StoreError> {
        let said: Vec<String> = self.ask(&["CONFIG", "GET", name]).await?;
        let number = said.get(1).and_then(|it| it.parse().ok());
        number.ok_or_else(|| StoreError::nonsense(format!("CONFIG GET tells no {name}")))
    }

    async fn others(&mut self, ours: &str) -> Result<Vec<OtherLock>, StoreError> {
        let until = clock::boottime() + SCAN_FOR;
        let mut others: Vec<OtherLock> = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let scan = ["SCAN", &cursor, "MATCH", "*:global_leader", "COUNT", "1000"];
            let (next, keys): (String, Vec<String>) = self.ask(&scan).await?;
            for key in keys {
                if key == ours || others.iter().any(|it| it.key == key) {
                    continue;
                }
                // Gone again, or of another type: no lock.
                let Ok(Some(holder)) = self.ask::<Option<String>>(&["GET", &key]).await else {
                    continue;
                };
                let recorded = match Keys::new(&key) {
                    Ok(keys) => self.ask(&["EXISTS", &keys.record()]).await.unwrap_or(0) == 1,
                    Err(_) => false,
                };
                others.push(OtherLock {
                    key,
                    holder,
                    recorded,
                });
            }
            let enough = others.len() >= MAX_OTHERS || clock::boottime() >= until;
            if next == "0" || enough {
                return Ok(others);
            }
            cursor = next;
        }
    }

    async fn way_past_oom(&mut self) -> Result<bool, StoreError> {
        let said: Value = self.ask(&["COMMAND", "INFO", "PEXPIRE", "SET"]).await?;
        let Value::Array(commands) = said else {
            return Err(StoreError::nonsense("COMMAND INFO tells no commands"));
        };
        let needs_memory: Vec<bool> = commands.iter().map(needs_memory).collect();
        Ok(needs_memory == [false, true])
    }
}

/// The third thing that COMMAND INFO tells of a command is its flags.
fn needs_memory(command: &Value) -> bool {
    let Value::Array(parts) = command else {
        return false;
    };
    let Some(Value::Array(flags) | Value::Set(flags)) = parts.get(2) else {
        return false;
    };
    flags.iter().any(|flag| match flag {
        Value::SimpleString(name) => name == "denyoom",
        Value::BulkString(name) => name == b"denyoom",
        _ => false,
    })
}

/// TLS and its absence do not understand each other, and say so badly.
async fn guess(settings: &RedisSettings, error: &StoreError) -> Option<&'static str> {
    let other = match error.fault {
        StoreFault::TimedOut | StoreFault::Unreachable | StoreFault::Other => settings.clone(),
        _ => return None,
    };
    let mut other = other;
    let (tls, says) = match other.endpoint.tls.take() {
        Some(_) => (
            None,
            "a server without TLS answers there: write redis:// instead of rediss://",
        ),
        None if matches!(other.endpoint.place, RedisPlace::Server(_)) => (
            Some(crate::endpoint::TlsFiles::default()),
            "a server with TLS answers there: write rediss:// instead of redis://",
        ),
        None => return None,
    };
    other.endpoint.tls = tls;
    // The server there has not proved its identity: it is sent no secret.
    other.endpoint.login = Login::default();
    other.endpoint.sentinel_login = Login::default();
    let mut surveyor = Surveyor {
        link: Link::new(&other),
        limit: settings.timeout,
    };
    let answers = match surveyor.ask::<Value>(&["PING"]).await {
        Ok(_) => true,
        // It speaks: of a certificate that we cannot judge here, or of a password.
        Err(error) => matches!(error.fault, StoreFault::Tls | StoreFault::Auth),
    };
    answers.then_some(says)
}
