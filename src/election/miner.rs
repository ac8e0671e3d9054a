//! The miner's side of the election: who is a candidate, and until when it may act.

use crate::time::Instant;

/// How an agent knows that its miner lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Liveness {
    /// The miner holds a stream open and keeps sending.
    Campaign,
    /// The agent asks an address of the miner's whether it is healthy.
    Probe,
    /// The agent is the candidate, whether the miner lives or not.
    Always,
}

impl Liveness {
    /// The value of `--miner-liveness`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Campaign => "campaign",
            Self::Probe => "probe",
            Self::Always => "always",
        }
    }
}

/// One stream of one miner. A term belongs to one campaign and is never passed to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CampaignId(pub(super) u64);

/// Whose doing the end of a stream was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// The miner's: END_STREAM, RST_STREAM, FIN or RST was received. A miner ends its stream only
    /// after it has stopped acting, and a killed process has.
    Miner,
    /// The agent's or the transport's: proves nothing about the miner.
    Agent,
}

/// Why a miner cannot campaign here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CampaignRefused {
    #[error("another miner campaigns on this agent and is alive")]
    AlreadyCampaigning,
    #[error(
        "this agent runs with --miner-liveness=probe or always, where nobody campaigns: ask GetLeadership"
    )]
    NotCampaigning,
    #[error("the agent is shutting down")]
    Stopping,
}

/// The miner that campaigns at present.
#[derive(Debug, Clone, Hash)]
pub(super) struct Miner {
    pub id: CampaignId,
    pub last_heard: Instant,
    /// It lives, and says that it is no candidate.
    pub stands_down: bool,
}

/// A miner of this agent that may still act: nothing of ours is released, and no other term begun,
/// before `until`, unless it is known that the miner has stopped.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct Acting {
    pub campaign: CampaignId,
    /// The version under which it was granted.
    pub version: u64,
    pub until: Instant,
}
