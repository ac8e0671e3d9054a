//! A miner's view of its leadership: the file to copy.
//!
//! There is no thread in it. The miner's own work loop drives it, so that whatever stops the work
//! stops the heartbeats too, and the agent notices.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;
// In a project of your own: the code that tonic-prost-build generates from `proto/`.
use understudy::proto::election_service_client::ElectionServiceClient;
use understudy::proto::{CampaignRequest, CampaignResponse, Leadership, Role};

/// The right to act as leader, until it ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Send it with every write to a store that can refuse a smaller one than it has seen.
    pub token: u64,
    valid_until: u64,
}

/// One campaign: a stream to the agent. Drop it only when nothing acts any more.
pub struct Campaign {
    requests: mpsc::Sender<CampaignRequest>,
    responses: Streaming<CampaignResponse>,
    leadership: Leadership,
    name: String,
}

impl Campaign {
    /// Becomes a candidate. `agent` is an address, or `unix:/path`.
    pub async fn start(agent: &str, name: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let url = if agent.starts_with("unix:") {
            agent.into()
        } else {
            format!("http://{agent}")
        };
        let channel = Endpoint::from_shared(url)?.connect().await?;
        let (requests, outgoing) = mpsc::channel(4);
        let outgoing = ReceiverStream::new(outgoing);
        let responses = ElectionServiceClient::new(channel)
            .campaign(outgoing)
            .await
            // Why, in the agent's own words.
            .map_err(|status| status.message().to_owned())?
            .into_inner();
        let (leadership, name) = (Leadership::default(), name.to_owned());
        Ok(Self {
            requests,
            responses,
            leadership,
            name,
        })
    }

    /// Waits for the next word of the agent. `None`: the stream is gone, and the grant with it.
    pub async fn changed(&mut self) -> Option<&Leadership> {
        let message = self.responses.message().await.ok().flatten();
        self.leadership = message.and_then(|it| it.leadership).unwrap_or_default();
        (self.leadership.role() != Role::Unspecified).then_some(&self.leadership)
    }

    /// Tells the agent that the work loop turns, and that nothing begun before the present version
    /// still acts. Call it each `heartbeat_every`, and at once after a demotion.
    pub fn beat(&self) {
        // Full or closed: `changed` tells what is the matter.
        let _ = self.requests.try_send(CampaignRequest {
            miner: self.name.clone(),
            acknowledged_version: self.leadership.version,
        });
    }

    /// The grant, if it holds now. A comparison of clocks, no round trip: ask before every act.
    pub fn grant(&self) -> Option<Grant> {
        let (token, valid_until) = (
            self.leadership.fencing_token,
            self.leadership.valid_until_boottime_ns,
        );
        Some(Grant { token, valid_until }).filter(Grant::holds)
    }

    /// How often to call [`Self::beat`].
    pub fn heartbeat_every(&self) -> Duration {
        let told = self.leadership.heartbeat_every;
        told.and_then(|it| it.try_into().ok())
            .unwrap_or(Duration::from_millis(300))
    }
}

impl Grant {
    /// The shared clock is still below the grant's end.
    pub fn holds(&self) -> bool {
        boottime_ns() < self.valid_until
    }

    /// When it ends, on CLOCK_BOOTTIME in nanoseconds.
    pub fn valid_until(&self) -> u64 {
        self.valid_until
    }
}

/// CLOCK_BOOTTIME in nanoseconds: the clock that miner and agent share.
pub fn boottime_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
