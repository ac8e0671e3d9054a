//! Builds the parts of the agent.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::checkup::{CheckRequests, Checkup};
use crate::clock;
use crate::config::Config;
use crate::election::{Election, Enrolment, Remembered, Settings};
use crate::metrics::Metrics;
use crate::miner::{Desk, Message};
use crate::state::StateDir;
use crate::status::{Status, StatusWatch};
use crate::store::{Events, HealthCheck, Rehearsal, Store};
use crate::tasks::{Elect, Listen, ProbeMiner, Rehearse, Remember, Signal, WatchRedis};

/// What the parts share.
pub(super) struct Assembly {
    pub config: Config,
    pub holder: String,
    /// Random, one per process.
    pub seed: u64,
    pub metrics: Metrics,
    pub status: watch::Sender<Status>,
    pub beats: Arc<Notify>,
    pub close: CancellationToken,
    pub checkup: Checkup,
}

impl Assembly {
    pub fn elect(
        &self,
        messages: mpsc::Receiver<Message>,
        signals: mpsc::Receiver<Signal>,
        remembered: Remembered,
    ) -> Elect {
        let config = &self.config;
        Elect {
            store: Store::new(&config.redis),
            desk: messages,
            signals,
            status: self.status.clone(),
            beats: Arc::clone(&self.beats),
            metrics: self.metrics.clone(),
            checkup: self.checkup.clone(),
            instance: config.instance.clone(),
            election: Election::new(Settings {
                holder: self.holder.clone(),
                rules: config.rules.clone(),
                liveness: config.liveness,
                candidate: config.candidate,
                under_oom: config.acquire_under_oom,
                allow_eviction: config.allow_eviction,
                nonce: self.seed,
                remembered,
                enrolment: Some(Enrolment {
                    instance: config.instance.clone(),
                    version: crate::VERSION.to_owned(),
                    started: clock::unix_time(),
                }),
            }),
        }
    }

    pub fn listen(&self, check: &HealthCheck, signals: mpsc::Sender<Signal>) -> Listen {
        let renew_every = self.config.rules.renew_every();
        Listen {
            events: Events::new(&self.config.redis).sharing(check),
            signals,
            published: self.status.subscribe(),
            // A leader publishes once per --renew-every, so ping only after a longer silence.
            quiet: renew_every * 3 / 2,
            // All are back within a third of the lease, the time that dialling takes included.
            back_within: renew_every * 3 / 4,
            spread: u32::try_from(self.seed % 1000).unwrap_or(0),
        }
    }

    pub fn watch_redis(
        &self,
        redis: HealthCheck,
        requests: CheckRequests,
        signals: mpsc::Sender<Signal>,
    ) -> WatchRedis {
        WatchRedis {
            redis,
            requests,
            signals,
            status: self.status.clone(),
            metrics: self.metrics.clone(),
            memory_every: self.config.memory_every,
            warn_ratio: self.config.memory_warn_ratio,
        }
    }

    pub fn rehearse(&self, check: &HealthCheck) -> Rehearse {
        let config = &self.config;
        Rehearse {
            rehearsal: Rehearsal::new(&config.redis, &self.holder, config.acquire_under_oom)
                .sharing(check),
            status: self.status.clone(),
            every: config.rules.renew_every(),
            allow_eviction: config.allow_eviction,
            instance: config.instance.clone(),
        }
    }

    pub fn probe_miner(&self, desk: &Desk) -> Option<ProbeMiner> {
        Some(ProbeMiner {
            probe: self.config.miner_probe.clone()?,
            desk: desk.clone(),
            every: self.config.rules.heartbeat_every(),
        })
    }

    pub fn remember(&self, state: StateDir, published: StatusWatch) -> Remember {
        Remember {
            state,
            published,
            miner_timeout: self.config.rules.miner_timeout(),
        }
    }
}
