//! What one look at the store saw: the lock, the record and the generation, in one atomic step.

use std::time::Duration;

use super::lease::LONGEST_TTL;
use super::member::Listed;
use crate::health::MemoryReading;

/// A fencing token. Every later term has a greater one.
pub type Token = u64;

/// The largest token that a Lua number and a JavaScript number hold exactly. A record with a larger
/// one was not written by us.
pub const LARGEST_TOKEN: Token = (1 << 53) - 1;

/// The version of the record that this program writes and understands.
pub const SCHEMA: &str = "1";

/// What one look saw.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct View {
    /// The lock, if the key exists.
    pub lock: Option<Lock>,
    pub record: RecordSeen,
    /// `run_id:master_replid`: changes when the server restarts or a replica is promoted.
    pub generation: String,
    /// The generation and every field of the record, as one text that only ever equals itself. A
    /// begin carries it and fails unless it is still exactly so.
    pub judged: String,
    /// How long the server has been up, by its own clock.
    pub uptime: Duration,
    /// This server was promoted from a replica (`master_replid2` is set).
    pub promoted: bool,
    /// The server's clock when the script ran, in microseconds since 1970.
    pub store_micros: u64,
    /// The server's memory at that moment, where a begin has read it.
    pub memory: Option<MemoryReading>,
    /// Who could take over, where that was asked for.
    pub members: Vec<Listed>,
}

/// The lock as it stands in Redis.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lock {
    /// The holder's id: an agent's, or a Go miner's.
    pub holder: String,
    /// Its time to live; `None` if it never expires.
    pub remaining: Option<Duration>,
}

/// The record beside the lock.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RecordSeen {
    Missing,
    Known(Record),
    /// Of another schema, or not readable. No term is begun on it. Says what is wrong with it.
    Unknown(String),
}

/// What the last agent to lead wrote down.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    pub holder: String,
    pub token: Token,
    /// The time to live under which it held the lock.
    pub ttl: Duration,
    /// It gave the lock back: nobody acts under this token any more.
    pub released: bool,
    /// The generation in which it was written.
    pub generation: String,
    /// The holder id of the member that should begin next, for which the others hold off; empty: anyone.
    pub successor: String,
}

impl RecordSeen {
    /// Reads the fields of the record's hash; each is `None` where the hash has no such field.
    #[must_use]
    pub fn parse(fields: RecordFields<'_>) -> Self {
        let RecordFields {
            schema: Some(schema),
            ..
        } = fields
        else {
            return if fields == RecordFields::default() {
                Self::Missing
            } else {
                Self::Unknown("it has no schema".into())
            };
        };
        if schema != SCHEMA {
            let shown: String = schema.chars().take(20).collect();
            return Self::Unknown(format!(
                "its schema is {shown:?}, this agent knows {SCHEMA:?}"
            ));
        }
        match Record::parse(fields) {
            Ok(record) => Self::Known(record),
            Err(field) => {
                Self::Unknown(format!("its field `{field}` is missing or makes no sense"))
            }
        }
    }

    #[must_use]
    pub fn known(&self) -> Option<&Record> {
        match self {
            Self::Known(record) => Some(record),
            Self::Missing | Self::Unknown(_) => None,
        }
    }
}

/// The fields of the record's hash that are judged by, as they were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordFields<'a> {
    pub schema: Option<&'a str>,
    pub holder: Option<&'a str>,
    pub token: Option<&'a str>,
    pub ttl: Option<&'a str>,
    pub released: Option<&'a str>,
    pub generation: Option<&'a str>,
    pub successor: Option<&'a str>,
}

impl Record {
    fn parse(fields: RecordFields<'_>) -> Result<Self, &'static str> {
        let token = fields
            .token
            .and_then(|text| text.parse().ok())
            .filter(|token| *token <= LARGEST_TOKEN)
            .ok_or("token")?;
        let ttl = fields
            .ttl
            .and_then(|text| text.parse().ok())
            .map(Duration::from_millis)
            .filter(|ttl| *ttl <= LONGEST_TTL)
            .ok_or("ttl")?;
        let released = match fields.released {
            Some("0") => false,
            Some("1") => true,
            _ => return Err("released"),
        };
        Ok(Self {
            holder: fields.holder.ok_or("holder")?.to_owned(),
            token,
            ttl,
            released,
            generation: fields.generation.ok_or("gen")?.to_owned(),
            successor: fields.successor.unwrap_or_default().to_owned(),
        })
    }
}
