//! The invariants of the design, checked from outside after every step.

use understudy::election::{Liveness, Role, Token};
use understudy::time::Instant;

use super::setting::YES;
use super::world::World;

#[derive(Clone, Default, Hash)]
pub struct Checks {
    /// The first violation found.
    pub violation: Option<String>,
    last_token: Token,
    /// Data was lost, and Redis' clock set back: with both, token order is a limit.
    pub data_lost: bool,
    pub set_back: bool,
    /// A FLUSHALL soon after the first term on an empty store is a limit.
    pub may_flush_from: Instant,
    /// An agent that is new soon after a FLUSHALL is a limit.
    pub may_be_born_from: Instant,
}

impl Checks {
    pub fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// I2: a term was begun.
    pub fn begun(&mut self, token: Token) {
        if token <= self.last_token && !(self.set_back && self.data_lost) {
            self.violate(format!("I2: token {token} after {}", self.last_token));
        }
        self.last_token = token;
    }
}

impl World {
    /// The agent's state reaches its miner at once. Two leaders would show here: one may act while another still
    /// may.
    pub fn tell(&mut self, index: usize) {
        let now = self.now;
        let agent = &mut self.agents[index];
        let leadership = agent.election.leadership();
        let Some(miner) = &mut agent.miner else {
            return;
        };
        if miner.campaign.is_some() && miner.campaign != agent.election.campaign() {
            return;
        }
        let leadership = leadership.at(now);
        miner.led = leadership.role == Role::Leader;
        let until = match self.setting.extends || self.setting.liveness == Liveness::Campaign {
            true => leadership.valid_until,
            false => Some(now + YES),
        };
        let (true, Some(token), Some(until)) = (miner.led, leadership.token, until) else {
            return;
        };
        if (miner.token, miner.until) == (token, until) {
            return;
        }
        (miner.token, miner.until) = (token, until);
        self.check_alone(index, token);
    }

    /// I1: a miner of this agent may act now, so no other may.
    fn check_alone(&mut self, index: usize, token: Token) {
        let now = self.now;
        for (other, agent) in self.agents.0.iter().enumerate() {
            let present = agent.miner.as_ref().filter(|_| other != index);
            let present = present.map(|it| (it.until, it.token));
            // Without campaigns the same miner asks the agent's next process.
            let campaigns = self.setting.liveness == Liveness::Campaign;
            let orphan = Some(agent.orphan).filter(|_| other != index || campaigns);
            for (until, acts_on) in present.into_iter().chain(orphan) {
                if now < until {
                    self.checks.violate(format!(
                        "I1: agent {index} grants {token} while a miner of agent {other} may act on {acts_on}"
                    ));
                }
            }
        }
    }

    /// I5: no agent says that it leads when its lock may have run out in Redis.
    pub fn check_leases(&mut self) {
        for index in 0..self.agents.0.len() {
            let agent = &self.agents[index];
            let said = agent.election.leadership();
            if said.leads()
                && !agent.paused
                && self.now >= agent.held_until
                && said.at(self.now).leads()
            {
                let holder = agent.holder.clone();
                self.checks.violate(format!(
                    "I5: {holder} says that it leads, and its lock's time is over"
                ));
            }
        }
    }

    /// A demoted miner says that it has stopped.
    pub fn acknowledge(&mut self, index: usize) {
        let agent = &mut self.agents[index];
        let version = agent.election.leadership().version;
        if let Some(miner) = &mut agent.miner
            && let Some(campaign) = miner.campaign
        {
            miner.until = Instant::PAST;
            self.turn(index, |election, now| {
                election.handle_heartbeat(campaign, Some(version), now);
            });
        }
    }

    /// Switches off "nothing is released while a grant runs": the agent hears at once what it should wait for.
    pub fn pretend_acknowledged(&mut self, index: usize) {
        let now = self.now;
        let agent = &mut self.agents[index];
        let election = &mut agent.election;
        if let Some(campaign) = election.campaign() {
            election.handle_heartbeat(campaign, Some(u64::MAX), now);
        }
    }
}
