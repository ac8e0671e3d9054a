//! Watches Redis, on every replica, leader or not: does it answer, does it take writes, how full is it?

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Signal;
use crate::clock;
use crate::fault::StoreFault;
use crate::health::{CHECK_EVERY, Health};
use crate::metrics::Metrics;
use crate::status::{MemoryStatus, Status};
use crate::store::Probe;
use crate::time::Instant;

/// How long one check may take: `/ready` answers within 900 ms.
const CHECK_LIMIT: Duration = Duration::from_millis(700);

/// Checks the health of Redis, and reads its memory.
pub struct WatchRedis {
    pub probe: Probe,
    /// Those who want a check now, and are told when it is done.
    pub asked: mpsc::Receiver<oneshot::Sender<()>>,
    /// The election, which is told when Redis is back.
    pub signals: mpsc::Sender<Signal>,
    /// This task writes `redis`.
    pub status: watch::Sender<Status>,
    pub metrics: Metrics,
    pub memory_every: Duration,
    /// Warn above this share of `maxmemory`.
    pub warn_ratio: f64,
}

impl WatchRedis {
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tick = interval(CHECK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut memory_due = Instant::PAST;
        let mut last = None;
        loop {
            let mut waiting = Vec::new();
            tokio::select! {
                Some(asker) = self.asked.recv() => waiting.push(asker),
                _ = tick.tick() => {}
                () = stop.cancelled() => return,
            }
            let health = self.check().await;
            // Whoever asked meanwhile shares the answer.
            while let Ok(asker) = self.asked.try_recv() {
                waiting.push(asker);
            }
            for asker in waiting {
                // Whoever asked may be gone again.
                let _ = asker.send(());
            }
            let before = last.replace(health.clone());
            if before
                .as_ref()
                .is_some_and(|it| it.usability() < health.usability())
            {
                // Where so much waits to be heard that there is no room, a pause ends anyway.
                let _ = self.signals.try_send(Signal::Back);
            }
            if before.as_ref() != Some(&health) {
                tell(&health);
                if matches!(health, Health::Refusing(_)) {
                    memory_due = Instant::PAST;
                }
            }
            let now = clock::boottime();
            if now >= memory_due && !matches!(health, Health::Away(_)) {
                memory_due = now + self.memory_every;
                self.read_memory().await;
            }
        }
    }

    async fn check(&mut self) -> Health {
        let sent_at = clock::boottime();
        let health = self.probe.check(CHECK_LIMIT).await;
        let now = clock::boottime();
        self.metrics.took("check", now.since(sent_at));
        self.status.send_if_modified(|status| {
            status.watch_turned = now;
            status.redis.checked(health.clone(), now)
        });
        health
    }

    async fn read_memory(&mut self) {
        let sent_at = clock::boottime();
        let read = self.probe.memory(CHECK_LIMIT).await;
        let now = clock::boottime();
        self.metrics.took("memory", now.since(sent_at));
        let (reading, engine) = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(%error, hint = error.fault.hint(), "cannot read Redis' memory");
                return;
            }
        };
        if reading.above(self.warn_ratio) {
            tracing::warn!(
                used_memory_bytes = reading.used_bytes,
                max_memory_bytes = reading.max_bytes,
                usage_ratio = reading.usage_ratio(),
                "Redis' memory is above the ratio: raise maxmemory or free keys before it refuses writes"
            );
        }
        let memory = MemoryStatus {
            reading,
            engine,
            read_at: now,
            read_at_unix: clock::unix_seconds(),
        };
        self.status.send_modify(|status| status.redis.read(memory));
    }
}

/// Logs a turn of Redis' health.
fn tell(health: &Health) {
    match health {
        Health::Writable => tracing::info!("Redis answers and takes writes"),
        Health::Refusing(error) if error.fault == StoreFault::OutOfMemory => {
            tracing::error!(%error, hint = error.fault.hint(), "Redis refuses writes: it is out of memory");
        }
        Health::Refusing(error) => {
            tracing::warn!(%error, hint = error.fault.hint(), "Redis answers and refuses writes");
        }
        Health::Away(error) if error.fault.waits_for_file() => {
            tracing::error!(%error, hint = error.fault.hint(), "cannot dial Redis: waiting for files that the settings name");
        }
        Health::Away(error) if error.fault == StoreFault::Auth => {
            tracing::warn!(%error, hint = error.fault.hint(), "Redis does not let this agent in");
        }
        Health::Away(error) => {
            tracing::warn!(%error, hint = error.fault.hint(), "Redis does not answer");
        }
    }
}
