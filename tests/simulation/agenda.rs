//! The steps to come, in the order of true time.

use std::collections::BTreeMap;
use std::time::Duration;

use understudy::election::{Announcement, AttemptId, CampaignId, Command, EndedBy, Reply};
use understudy::time::Instant;

use super::go_miners::GoStep;
use super::scene::Stranger;

/// Kept small, because the agenda moves it around.
pub enum Step {
    Wake {
        agent: usize,
        number: u64,
    },
    Arrive(Box<Call>),
    Reply {
        agent: usize,
        process: u64,
        id: AttemptId,
        reply: Box<Reply>,
    },
    /// An agent hears a message on the events channel: about a term of this lock, or about none.
    Heard {
        agent: usize,
        what: Option<Box<Announcement>>,
    },
    Stranger(Stranger),
    Beat {
        agent: usize,
        campaign: CampaignId,
        process: u64,
    },
    /// An agent has asked its miner whether it is healthy, and gets the answer.
    Probe {
        agent: usize,
        process: u64,
    },
    Probed {
        agent: usize,
        process: u64,
        sent_at: Instant,
    },
    /// An agent reads Redis' memory.
    ReadsMemory {
        agent: usize,
    },
    /// Somebody asks an agent who leads.
    Poll {
        agent: usize,
    },
    /// A leaving miner has finished what it had begun.
    Left {
        agent: usize,
        process: u64,
        campaign: CampaignId,
    },
    /// The end of a miner's stream reaches its agent.
    StreamEnded {
        agent: usize,
        process: u64,
        campaign: CampaignId,
        by: EndedBy,
    },
    /// After the last fault an agent hears events again, and a miner campaigns.
    Healed {
        agent: usize,
    },
    /// A miner that was stopped in the middle of an act finishes it.
    Write {
        agent: usize,
        miner: usize,
        token: u64,
    },
    GoMiner {
        number: usize,
        step: GoStep,
    },
    /// The store's clock stood still, and runs again.
    ClockRuns,
    Fault,
    /// A sentinel learns of the primary with this number.
    Learn {
        voice: usize,
        epoch: u64,
    },
    /// SIGTERM.
    Stop {
        agent: usize,
        process: u64,
    },
    /// An agent that was told to stop has ended.
    Gone {
        agent: usize,
        process: u64,
    },
}

/// A request on its way to Redis.
#[derive(Clone)]
pub struct Call {
    pub agent: usize,
    pub process: u64,
    pub holder: String,
    pub ttl: Duration,
    pub id: AttemptId,
    pub command: Command,
    pub sent: u64,
    /// The number of the primary that it was sent to.
    pub to: u64,
}

impl Step {
    /// The agent that this step concerns, so that the step waits while that agent is stopped.
    pub fn agent(&self) -> Option<usize> {
        match self {
            Self::Wake { agent, .. }
            | Self::Reply { agent, .. }
            | Self::Heard { agent, .. }
            | Self::Healed { agent }
            | Self::Probe { agent, .. }
            | Self::Probed { agent, .. }
            | Self::ReadsMemory { agent }
            | Self::Poll { agent }
            | Self::Stop { agent, .. }
            | Self::StreamEnded { agent, .. }
            | Self::Beat { agent, .. } => Some(*agent),
            Self::Arrive(_)
            | Self::Write { .. }
            | Self::Left { .. }
            | Self::GoMiner { .. }
            | Self::ClockRuns
            | Self::Fault
            | Self::Stranger(_)
            | Self::Gone { .. }
            | Self::Learn { .. } => None,
        }
    }
}

#[derive(Default)]
pub struct Agenda {
    /// Ordered by time, then in the order of planning.
    steps: BTreeMap<(u64, u64), Step>,
    planned: u64,
}

impl Agenda {
    pub fn add(&mut self, at: u64, step: Step) {
        self.planned += 1;
        self.steps.insert((at, self.planned), step);
    }

    /// The next step, if it comes by `end`.
    pub fn next(&mut self, end: u64) -> Option<(u64, Step)> {
        let first = self.steps.first_entry().filter(|it| it.key().0 <= end)?;
        let ((at, _), step) = first.remove_entry();
        Some((at, step))
    }
}
