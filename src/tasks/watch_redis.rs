//! Watches Redis, on every replica, leader or not: does it answer, does it take writes, how full is it?

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Signal;
use crate::checkup::CheckRequests;
use crate::clock;
use crate::fault::StoreFault;
use crate::health::{CHECK_EVERY, Health};
use crate::metrics::Metrics;
use crate::status::{MemoryStatus, Status};
use crate::store::HealthCheck;
use crate::time::Instant;

/// How long one check may take: `/ready` answers within 900 ms.
const CHECK_LIMIT: Duration = Duration::from_millis(700);

/// Checks the health of Redis, and reads its memory.
pub struct WatchRedis {
    pub redis: HealthCheck,
    /// Requests for a check now; each is answered when the check is done.
    pub requests: CheckRequests,
    /// The election, which is told when Redis is back.
    pub signals: mpsc::Sender<Signal>,
    /// The status, of which this task writes `redis`.
    pub status: watch::Sender<Status>,
    pub metrics: Metrics,
    pub memory_every: Duration,
    /// Warn above this share of `maxmemory`.
    pub warn_ratio: f64,
}

impl WatchRedis {
    /// Checks when somebody asks; every second while somebody watches or something fails; otherwise once per memory reading.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut memory_due = Instant::PAST;
        let mut last: Option<(Health, Instant)> = None;
        loop {
            let pause = self.pause(last.as_ref());
            self.due_in(pause);
            let mut waiting = Vec::new();
            tokio::select! {
                asker = self.requests.next() => waiting.push(asker),
                () = sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            let health = self.check().await;
            // Requests that came meanwhile share the answer.
            while let Some(asker) = self.requests.try_next() {
                waiting.push(asker);
            }
            let changed = last.as_ref().is_none_or(|(it, _)| *it != health);
            let refuses_anew = changed && matches!(health, Health::Refusing(_));
            // An answer that tells of a new refusal also tells how full Redis is.
            if !refuses_anew {
                answer(&mut waiting);
            }
            let now = clock::boottime();
            let before = last.replace((health.clone(), now));
            if self.is_back(before.as_ref(), &health, now) {
                // If the queue is full, a pause ends anyway.
                let _ = self.signals.try_send(Signal::Back);
            }
            if changed {
                tell(&health);
            }
            if refuses_anew || now >= memory_due && !matches!(health, Health::Away(_)) {
                memory_due = now + self.memory_every;
                self.read_memory().await;
            }
            answer(&mut waiting);
        }
    }

    fn pause(&self, last: Option<&(Health, Instant)>) -> Duration {
        let Some((health, _)) = last else {
            return Duration::ZERO;
        };
        let status = self.status.borrow();
        let calm = *health == Health::Writable
            && !self.requests.watched()
            && status.redis.not_ready(clock::boottime()).is_none()
            && status.election.last_error.is_none();
        if calm { self.memory_every } else { CHECK_EVERY }
    }

    /// Whether the election should try again at once: Redis can be used for more than before, or the election met
    /// a failure while nobody checked, and it is over.
    fn is_back(&self, before: Option<&(Health, Instant)>, health: &Health, now: Instant) -> bool {
        before.is_some_and(|(before, at)| {
            let unwatched = now.since(*at) > CHECK_EVERY * 2;
            let failed = || self.status.borrow().election.last_error.is_some();
            before.usability() < health.usability()
                || unwatched && *health == Health::Writable && failed()
        })
    }

    fn due_in(&self, pause: Duration) {
        let due = clock::boottime() + pause;
        self.status.send_if_modified(|status| {
            status.watch_due = due;
            false
        });
    }

    async fn check(&mut self) -> Health {
        let sent_at = clock::boottime();
        let health = self.redis.check(CHECK_LIMIT).await;
        let now = clock::boottime();
        self.metrics.took("check", now.since(sent_at));
        self.status.send_if_modified(|status| {
            let changed = status.redis.checked(health.clone(), now);
            if changed {
                status
                    .history
                    .read(status.redis.reading(clock::unix_seconds()));
            }
            changed
        });
        health
    }

    async fn read_memory(&mut self) {
        let sent_at = clock::boottime();
        let read = self.redis.memory(CHECK_LIMIT).await;
        let now = clock::boottime();
        self.metrics.took("memory", now.since(sent_at));
        let told = match read {
            Ok(told) => told,
            Err(error) => {
                tracing::warn!(%error, hint = error.fault.hint(), "cannot read Redis' memory");
                return;
            }
        };
        let reading = told.memory;
        // Where so much waits to be heard that there is no room, the next reading tells.
        let evicting = reading.evicting();
        let _ = self.signals.try_send(Signal::Memory { evicting });
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
            engine: told.engine,
            channels: told.channels,
            read_at: now,
            read_at_unix: clock::unix_seconds(),
        };
        self.status.send_modify(|status| {
            let at = memory.read_at_unix;
            status.redis.read(memory);
            status.history.read(status.redis.reading(at));
        });
    }
}

fn answer(waiting: &mut Vec<oneshot::Sender<()>>) {
    for asker in waiting.drain(..) {
        // The client may be gone again.
        let _ = asker.send(());
    }
}

/// Logs a change of Redis' health.
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
