//! Asks Redis how it is, on a connection of its own: a silent answer here delays no election.

use std::time::Duration;

use super::link::Link;
use crate::endpoint::RedisSettings;
use crate::fault::{StoreError, StoreFault};
use crate::health::{EngineInfo, Health, MemoryReading};

pub struct Probe {
    link: Link,
    key: String,
}

impl Probe {
    /// Nothing is dialled yet.
    #[must_use]
    pub fn new(settings: &RedisSettings) -> Self {
        Self {
            link: Link::new(settings),
            key: settings.keys.probe(),
        }
    }

    /// PING, then a write that changes nothing: `SET key 1 XX` on a key that never exists is refused
    /// like any write where writes are refused, and answers nil otherwise.
    pub async fn check(&mut self, limit: Duration) -> Health {
        let key = &self.key;
        let reply = self
            .link
            .run(limit, |mut connection, _| async move {
                redis::cmd("PING").exec_async(&mut connection).await?;
                let mut set = redis::cmd("SET");
                set.arg(key).arg(1).arg("XX");
                set.exec_async(&mut connection).await
            })
            .await;
        match reply {
            Ok(()) => Health::Writable,
            Err(error) => match error.fault {
                StoreFault::TimedOut
                | StoreFault::Unreachable
                | StoreFault::Tls
                | StoreFault::Auth => Health::Away(error),
                // Nobody can say where it is, or it could not be dialled.
                _ if !self.link.reached() => Health::Away(error),
                _ => Health::Refusing(error),
            },
        }
    }

    /// INFO MEMORY and INFO SERVER.
    ///
    /// # Errors
    /// Redis did not answer, or its answer lacks what is needed.
    pub async fn memory(
        &mut self,
        limit: Duration,
    ) -> Result<(MemoryReading, EngineInfo), StoreError> {
        let (memory, server): (String, String) = self
            .link
            .run(limit, |mut connection, _| async move {
                let memory = redis::cmd("INFO")
                    .arg("memory")
                    .query_async(&mut connection)
                    .await?;
                let server = redis::cmd("INFO")
                    .arg("server")
                    .query_async(&mut connection)
                    .await?;
                Ok((memory, server))
            })
            .await?;
        let reading = MemoryReading::parse(&memory)
            .map_err(|error| StoreError::nonsense(error.to_string()))?;
        Ok((reading, EngineInfo::parse(&server)))
    }
}
