//! The desk between the miner's side and the election: what comes in over gRPC goes to the one task
//! that owns the election, in order.

pub mod probe;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::election::{CampaignId, CampaignRefused, EndedBy, NoSuccessor, Token};
use crate::fault::StoreError;
use crate::time::Instant;

/// How many messages may wait. Far more than 32 streams send in one turn of the loop.
const MAX_WAITING_MESSAGES: usize = 256;

/// What the miner's side tells the election.
pub enum Message {
    Campaign {
        reply: oneshot::Sender<Result<CampaignId, CampaignRefused>>,
    },
    Heartbeat {
        campaign: CampaignId,
        miner: String,
        says: Says,
        /// A version that was sent on this campaign's own stream.
        acknowledged: Option<u64>,
    },
    CampaignEnded {
        campaign: CampaignId,
        by: EndedBy,
    },
    /// The miner answered a probe that was sent at this time.
    Probed {
        sent_at: Instant,
    },
    Extend {
        reply: oneshot::Sender<()>,
    },
    Resign {
        reason: String,
        hold_off: Duration,
        /// The instance that should lead next.
        successor: Option<String>,
        reply: oneshot::Sender<Result<Token, ResignRefused>>,
    },
}

/// What a miner reports with each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// Its work continues.
    Beats,
    /// It lives, but is not a candidate.
    StandsDown,
    /// The part of its work with this name is late; not a heartbeat.
    Late(String),
}

/// Why a resignation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResignRefused {
    #[error("this agent does not lead: ask the one that does, which `understudy leader` names")]
    NotLeader,
    #[error("cannot hand over to {0:?}: {1}. Nothing was changed")]
    Successor(String, NoSuccessor),
    #[error("who could take over cannot be read from Redis: {0}. Nothing was changed")]
    MembersUnknown(StoreError),
    #[error("leadership was given up, and the lock could not be released: its TTL ends it")]
    NotReleased,
}

/// The agent is shutting down and no longer takes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent is shutting down")]
pub struct Closed;

/// The sending side.
#[derive(Clone)]
pub struct Desk(mpsc::Sender<Message>);

#[must_use]
pub fn desk() -> (Desk, mpsc::Receiver<Message>) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING_MESSAGES);
    (Desk(sender), receiver)
}

impl Desk {
    /// # Errors
    /// The agent is shutting down.
    pub async fn tell(&self, message: Message) -> Result<(), Closed> {
        self.0.send(message).await.map_err(|_| Closed)
    }

    /// Sends a message and waits for the answer.
    ///
    /// # Errors
    /// The agent is shutting down.
    pub async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, Closed> {
        let (reply, answer) = oneshot::channel();
        self.tell(message(reply)).await?;
        answer.await.map_err(|_| Closed)
    }
}
