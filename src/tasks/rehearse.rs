//! Every standby rehearses the takeover, so that one that could not take the lock is known in time.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::clock;
use crate::election::Reason;
use crate::fault::StoreError;
use crate::status::{Status, Takeover};
use crate::store::{Rehearsal, Rehearsed};

/// After a success the next rehearsal waits for this many intervals; after a failure, for one.
const INTERVALS_AFTER_SUCCESS: u32 = 6;

/// Tries out a takeover while this agent is a standby.
pub struct Rehearse {
    pub rehearsal: Rehearsal,
    /// The status, of which this task writes `takeover`.
    pub status: watch::Sender<Status>,
    /// How often to rehearse while it fails.
    pub every: Duration,
    pub allow_eviction: bool,
    pub instance: String,
}

impl Rehearse {
    /// Rehearses once per `every` while it fails, otherwise more rarely; and at once when leadership is lost or Redis' health
    /// changes. Runs until it is dropped: an interrupted rehearsal leaves keys that expire.
    pub async fn run(mut self) {
        let mut published = self.status.subscribe();
        let mut pause = Duration::ZERO;
        loop {
            let last = Scene::of(&self.status.borrow());
            tokio::select! {
                () = sleep(pause) => {}
                _ = published.wait_for(|status| Scene::of(status) != last), if !pause.is_zero() => {}
            }
            let (leads, before) = {
                let status = self.status.borrow();
                (leading(&status), status.takeover.clone())
            };
            let takeover = if leads {
                None
            } else {
                let rehearsed = self.rehearsal.run().await;
                Some(self.judge(&rehearsed, before.as_ref()))
            };
            let failed = takeover.as_ref().is_some_and(|it| it.fault.is_some());
            pause = if failed {
                self.every
            } else {
                self.every * INTERVALS_AFTER_SUCCESS
            };
            self.status.send_if_modified(|status| {
                let before = std::mem::replace(&mut status.takeover, takeover);
                let fault = |takeover: Option<&Takeover>| takeover.map(|it| it.fault.clone());
                fault(before.as_ref()) != fault(status.takeover.as_ref())
            });
        }
    }

    /// Logs a change.
    fn judge(
        &self,
        rehearsed: &Result<Rehearsed, StoreError>,
        before: Option<&Takeover>,
    ) -> Takeover {
        let instance = &self.instance;
        let class = |takeover: &Takeover| takeover.fault.as_ref().map(|(reason, _)| *reason);
        let known = before.and_then(class);
        let fault = match rehearsed {
            Err(error) => {
                let reason = Reason::from(error.fault);
                if known != Some(reason) {
                    tracing::warn!(%instance, reason = reason.name(), %error, hint = error.fault.hint(),
                        "takeover not ready: if the leader died now, this instance could not take its place");
                }
                Some((reason, error.to_string()))
            }
            Ok(rehearsed)
                if let Some(policy) = rehearsed.evicting().filter(|_| !self.allow_eviction) =>
            {
                let reason = Reason::EvictionPolicy;
                let error = format!("maxmemory-policy {policy} may evict the lock");
                if known != Some(reason) {
                    tracing::warn!(%instance, reason = reason.name(), error,
                        "takeover not ready: nobody leads under an evicting policy; set noeviction, or accept the \
                         risk with --allow-eviction");
                }
                Some((reason, error))
            }
            Ok(rehearsed) => {
                if known.is_some() {
                    tracing::info!(%instance, rung = rehearsed.rung.name(), "takeover ready again");
                }
                None
            }
        };
        Takeover {
            rehearsed_at: clock::boottime(),
            fault,
        }
    }
}

/// The parts of the status on which a rehearsal depends.
#[derive(PartialEq)]
struct Scene {
    leads: bool,
    redis: (Option<bool>, Option<bool>, bool),
}

impl Scene {
    fn of(status: &Status) -> Self {
        let redis = &status.redis;
        Self {
            leads: leading(status),
            redis: (redis.reachable(), redis.writable(), redis.oom()),
        }
    }
}

fn leading(status: &Status) -> bool {
    status.leadership(clock::boottime()).leads()
}
