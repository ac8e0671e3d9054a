//! What a world is made of: agents with their miners, and what is on its way.

use std::hash::{Hash, Hasher};
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use understudy::election::{Announcement, AttemptId, CampaignId, Command, Election, Reply, Token};
use understudy::time::Instant;

#[derive(Clone)]
pub struct Agent {
    pub election: Election,
    pub holder: String,
    /// How many processes have had this place.
    pub process: u32,
    pub miner: Option<Miner>,
    /// The last miner whose stream broke, and until when it may act on which term.
    pub orphan: (Instant, Token),
    /// Stopped, by SIGSTOP.
    pub paused: bool,
    /// The miner is stopped, or unhealthy.
    pub silent: bool,
    /// Cut off from Redis, until then at most.
    pub cut: Option<Instant>,
    /// Whether its subscription to the events channel is established.
    pub hears: bool,
    /// Whether a fault delays the next event.
    pub next_event_late: bool,
    pub stopping: bool,
    /// The command in flight, and when it is given up.
    pub waiting: Option<(AttemptId, Instant)>,
    /// The latest end of its lock in Redis.
    pub held_until: Instant,
    /// Until when it is new to the store; until then a FLUSHALL is a limit.
    pub new_until: Instant,
}

/// The miner, which acts on what the agent says.
#[derive(Clone, Hash)]
pub struct Miner {
    pub campaign: Option<CampaignId>,
    /// Until when it may act, and on which term.
    pub until: Instant,
    pub token: Token,
    pub led: bool,
}

/// A message in flight.
#[derive(Clone)]
pub struct Message {
    pub agent: usize,
    pub process: u32,
    pub what: What,
    /// Whether a fault delays it: then it arrives at any time, or never.
    pub held: bool,
    /// When it is lost for good.
    pub lost_at: Instant,
}

#[derive(Clone, Hash)]
#[allow(clippy::large_enum_variant, reason = "most are replies")]
pub enum What {
    Request {
        holder: String,
        id: AttemptId,
        command: Command,
    },
    Reply {
        id: AttemptId,
        reply: Reply,
    },
    Heard(Announcement),
}

/// Shared with the worlds before and after, until one of them changes an agent.
#[derive(Clone, Default)]
pub struct Agents(pub Vec<Arc<Agent>>);

impl Index<usize> for Agents {
    type Output = Agent;

    fn index(&self, index: usize) -> &Agent {
        &self.0[index]
    }
}

impl IndexMut<usize> for Agents {
    fn index_mut(&mut self, index: usize) -> &mut Agent {
        Arc::make_mut(&mut self.0[index])
    }
}

impl Miner {
    pub fn new(campaign: Option<CampaignId>) -> Self {
        Self {
            campaign,
            until: Instant::PAST,
            token: 0,
            led: false,
        }
    }
}

impl Hash for Agent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let waits = self.waiting.map(|(_, deadline)| deadline);
        (&self.election, &self.miner, self.orphan, waits).hash(state);
        (self.paused, self.silent, self.cut, self.hears).hash(state);
        self.next_event_late.hash(state);
        (self.stopping, self.process, self.held_until, self.new_until).hash(state);
    }
}
