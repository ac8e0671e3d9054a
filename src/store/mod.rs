//! The store: the only place that speaks to Redis. It carries out the core's commands and answers with
//! its replies.

mod dial;
mod error;
mod events;
mod files;
mod health_check;
mod judged;
mod link;
mod pushes;
mod rehearsal;
mod reply;
mod script;
mod survey;
mod topology;
mod voice;

use std::time::Duration;

use crate::clock;
use crate::election::{Command, Reply};
use crate::endpoint::RedisSettings;
use crate::fault::{StoreError, StoreFault};
use crate::time::Instant;
use link::Link;
use script::Scripts;

pub use events::{Events, Heard, Subscription};
pub use health_check::{HealthCheck, Told};
pub use pushes::Ended;
pub use rehearsal::{Rehearsal, Rehearsed};
pub use reply::answer;
pub use survey::{OtherLock, Survey};

/// What an agent keeps open to Redis: one for the election, and one on which it listens, checks and rehearses.
pub const CONNECTIONS_PER_AGENT: u64 = 2;

/// Executes the election's commands over a connection of its own.
pub struct Store {
    link: Link,
    scripts: Scripts,
    rung: OomRung,
}

/// How a script gets past a Redis that is out of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OomRung {
    /// Its first write is one that needs no memory.
    FirstWrite,
    /// It declares `#!lua flags=allow-oom`, because this engine refused the first rung.
    AllowOom,
}

impl OomRung {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstWrite => "first_write",
            Self::AllowOom => "allow_oom",
        }
    }
}

impl Store {
    /// Nothing is dialled yet.
    #[must_use]
    pub fn new(settings: &RedisSettings) -> Self {
        Self {
            link: Link::new(settings),
            scripts: Scripts::new(settings.keys.clone()),
            rung: OomRung::FirstWrite,
        }
    }

    /// Which way past out-of-memory is in use.
    #[must_use]
    pub fn rung(&self) -> OomRung {
        self.rung
    }

    /// Carries out one command, connecting included, before `deadline`.
    ///
    /// # Errors
    /// What Redis or the way to it answered; after that the outcome of a write is unknown.
    pub async fn execute(&mut self, command: &Command, deadline: Instant) -> Reply {
        let left = || deadline.since(clock::boottime());
        let reply = self.run(command, left(), self.rung).await;
        let bypass = !matches!(
            command,
            Command::Begin {
                under_oom: false,
                ..
            }
        );
        match reply {
            Err(refused) if refused.fault == StoreFault::OutOfMemory && bypass => {
                let other = match self.rung {
                    OomRung::FirstWrite => OomRung::AllowOom,
                    OomRung::AllowOom => OomRung::FirstWrite,
                };
                match self.run(command, left(), other).await {
                    // An engine that does not know the other rung says so; the first refusal tells more.
                    Err(error) if !error.fault.lost_connection() => Err(refused),
                    Err(error) => Err(error),
                    Ok(answer) => {
                        self.rung = other;
                        Ok(answer)
                    }
                }
            }
            reply => reply,
        }
    }

    /// Removes the keys without a check of their holder: for a rehearsal, on keys that nobody else uses.
    async fn forget(&mut self, limit: Duration) -> Result<(), StoreError> {
        let keys = &self.scripts.keys();
        let remove = |mut connection, _| async move {
            let mut del = redis::cmd("DEL");
            del.arg(keys).exec_async(&mut connection).await
        };
        self.link.run(limit, remove).await
    }

    async fn run(&mut self, command: &Command, limit: Duration, rung: OomRung) -> Reply {
        let (scripts, keys) = (&self.scripts, &self.scripts.keys());
        let call = |connection, nth| async move {
            let (script, args) = scripts.call(command, rung, nth);
            script.run(connection, keys, &args).await
        };
        let said = self.link.run(limit, call).await?;
        reply::answer(&said)
    }
}
