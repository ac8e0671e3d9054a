//! Asks Redis how it is, on a connection of its own, so that a silent answer does not delay the election.

use std::time::Duration;

use super::link::Link;
use crate::endpoint::RedisSettings;
use crate::fault::{StoreError, StoreFault};
use crate::health::{EngineInfo, Health, MemoryReading, field};

/// INFO SERVER is read again after this many readings: another version may have replaced the server without a failure here.
const ENGINE_READINGS: u32 = 20;

pub struct HealthCheck {
    pub(super) link: Link,
    key: String,
    /// Which server it is, how many channels it has, and for how many more readings to believe that.
    engine: Option<(EngineInfo, u64, u32)>,
}

/// What INFO said.
pub struct Told {
    pub memory: MemoryReading,
    pub engine: EngineInfo,
    /// How many channels had subscribers when INFO STATS was last read; 0 if the server does not say.
    pub channels: u64,
}

impl HealthCheck {
    /// Nothing is dialled yet.
    #[must_use]
    pub fn new(settings: &RedisSettings) -> Self {
        Self {
            link: Link::listening(settings),
            key: settings.keys.write_probe(),
            engine: None,
        }
    }

    /// The write probe, which changes nothing: `SET key 1 XX` on a key that never exists is refused like any write where writes
    /// are refused, and answers nil otherwise.
    pub async fn check(&mut self, limit: Duration) -> Health {
        let key = &self.key;
        let reply = self
            .link
            .run(limit, |mut connection, _| async move {
                let mut set = redis::cmd("SET");
                set.arg(key).arg(1).arg("XX");
                set.exec_async(&mut connection).await
            })
            .await;
        if reply.is_err() {
            self.engine = None;
        }
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

    /// INFO MEMORY; and INFO SERVER and INFO STATS after a failed check and now and then.
    ///
    /// # Errors
    /// Redis did not answer, or its answer lacks what is needed.
    pub async fn memory(&mut self, limit: Duration) -> Result<Told, StoreError> {
        let memory = self.info("memory", limit).await?;
        let memory = MemoryReading::parse(&memory)
            .map_err(|error| StoreError::nonsense(error.to_string()))?;
        let known = self.engine.take().filter(|(_, _, uses)| *uses > 0);
        let (engine, channels, uses) = if let Some(known) = known {
            known
        } else {
            let server = self.info("server", limit).await?;
            let stats = self.info("stats", limit).await?;
            let channels = field(&stats, "pubsub_channels").and_then(|it| it.parse().ok());
            (
                EngineInfo::parse(&server),
                channels.unwrap_or(0),
                ENGINE_READINGS,
            )
        };
        self.engine = Some((engine.clone(), channels, uses - 1));
        Ok(Told {
            memory,
            engine,
            channels,
        })
    }

    async fn info(&mut self, section: &str, limit: Duration) -> Result<String, StoreError> {
        let ask = |mut connection, _| async move {
            let mut info = redis::cmd("INFO");
            info.arg(section).query_async(&mut connection).await
        };
        self.link.run(limit, ask).await
    }
}
