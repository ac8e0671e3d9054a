//! Asks the miner again and again whether it is healthy (`--miner-liveness=probe`).

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::clock;
use crate::endpoint::MinerProbe;
use crate::miner::{Desk, Message, probe};

/// Asks the miner whether it is healthy, under `--miner-liveness=probe`.
pub struct ProbeMiner {
    pub probe: MinerProbe,
    /// Where healthy answers go.
    pub desk: Desk,
    pub every: Duration,
}

impl ProbeMiner {
    /// Runs until the election no longer takes messages.
    pub async fn run(self) {
        let mut tick = interval(self.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut healthy = None;
        loop {
            tick.tick().await;
            let sent_at = clock::boottime();
            let asked = probe::ask(&self.probe, self.every).await;
            if healthy.replace(asked.is_ok()) != Some(asked.is_ok()) {
                let probe = &self.probe;
                match &asked {
                    Ok(()) => tracing::info!(%probe, "the miner is healthy"),
                    Err(error) => tracing::warn!(%probe, error = format!("{error:#}"),
                        "the miner is not healthy: after --miner-timeout it is no longer a candidate"),
                }
            }
            if asked.is_ok() && self.desk.tell(Message::Probed { sent_at }).await.is_err() {
                return;
            }
        }
    }
}
