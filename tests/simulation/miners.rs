//! The miners: each acts while its host's clock is below the end of its grant, whatever else it knows, and
//! writes to a store that is fenced by the token.

use understudy::election::{CampaignId, EndedBy, Role, Token};

use super::agenda::Step;
use super::agents::MINER_TIMEOUTS;
use super::clock::MS;
use super::safeguard::Safeguard;
use super::world::World;

/// One miner process.
#[derive(Debug)]
pub struct Miner {
    pub campaign: CampaignId,
    /// Its agent's process.
    process: u64,
    token: Token,
    /// On its host's clock.
    valid_until: u64,
    /// The newest version that it knows, to acknowledge.
    version: u64,
    pub paused_until: u64,
    pub connected: bool,
}

impl World {
    /// What the agent says reaches its miner at once. This is where two leaders would show: at the moment at
    /// which a grant is received, another's still holds.
    pub fn tell(&mut self, index: usize) {
        let now = self.host_time(index);
        let agent = &mut self.agents[index];
        let (current, process) = (agent.election.campaign(), agent.process);
        let leadership = agent.election.leadership().at(now);
        let told = agent.miners.iter_mut().position(|miner| {
            miner.connected && miner.process == process && Some(miner.campaign) == current
        });
        let Some(told) = told else {
            return;
        };
        let miner = &mut agent.miners[told];
        let granted = match (leadership.role, leadership.token, leadership.valid_until) {
            (Role::Leader, Some(token), Some(until)) => Some((token, until.as_nanos())),
            _ => None,
        };
        let Some((token, until)) = granted else {
            // Nothing that it had begun still acts, once it has read this.
            if self.now >= miner.paused_until {
                miner.version = leadership.version;
                miner.valid_until = 0;
            }
            return;
        };
        miner.version = leadership.version;
        if (miner.token, miner.valid_until) == (token, until) {
            return;
        }
        (miner.token, miner.valid_until) = (token, until);
        let write_at = self.now.max(miner.paused_until) + self.dice.below(2 * MS);
        self.after(
            write_at,
            Step::Write {
                agent: index,
                miner: told,
                token,
            },
        );
        for other in 0..self.agents.len() {
            let clock = self.host_time(other).as_nanos();
            for (number, miner) in self.agents[other].miners.iter().enumerate() {
                if (other, number) != (index, told) && clock < miner.valid_until {
                    self.checks.violate(&format!(
                        "I1: agent {index} grants {token} while a miner of agent {other} may act on {}",
                        miner.token
                    ));
                }
            }
        }
    }

    pub fn someone_may_act(&self) -> bool {
        (0..self.agents.len()).any(|index| {
            let clock = self.host_time(index).as_nanos();
            let mut miners = self.agents[index].miners.iter();
            miners.any(|miner| clock < miner.valid_until)
        })
    }

    /// A write that was begun inside the grant, and arrives whenever the miner runs.
    pub fn write(&mut self, index: usize, miner: usize, token: Token) {
        let within = self.host_time(index).as_nanos()
            < self.agents[index].miners[miner].valid_until
            && self.agents[index].miners[miner].token == token;
        self.checks.fenced_write(token, within);
    }

    pub fn beat(&mut self, index: usize, campaign: CampaignId, process: u64) {
        let now = self.now;
        let found = self.agents[index]
            .miners
            .iter()
            .find(|it| it.campaign == campaign && it.process == process && it.connected);
        let Some((paused_until, version)) = found.map(|it| (it.paused_until, it.version)) else {
            return;
        };
        if now >= paused_until {
            self.turn(index, |election, now| {
                election.handle_heartbeat(campaign, Some(version), now);
            });
        }
        let next = now.max(paused_until) + MINER_TIMEOUTS[0].as_nanos() as u64 / 3;
        self.after(
            next,
            Step::Beat {
                agent: index,
                campaign,
                process,
            },
        );
    }

    pub fn connect(&mut self, index: usize) {
        let now = self.host_time(index);
        let Ok(campaign) = self.agents[index].election.handle_campaign(now) else {
            return;
        };
        self.say(|| format!("agent {index}: {campaign:?} connects"));
        let process = self.agents[index].process;
        self.agents[index].miners.push(Miner {
            campaign,
            process,
            token: 0,
            valid_until: 0,
            version: 0,
            paused_until: 0,
            connected: true,
        });
        self.after(
            self.now,
            Step::Beat {
                agent: index,
                campaign,
                process,
            },
        );
        self.drain(index);
    }

    /// The stream of the present miner ends: with the miner, or only the connection, so that an orphan
    /// acts on until its grant runs out.
    pub fn disconnect(&mut self, index: usize, by: EndedBy) {
        let Some(campaign) = self.agents[index].election.campaign() else {
            return;
        };
        self.say(|| format!("agent {index}: {campaign:?} ends, by {by:?}"));
        let process = self.agents[index].process;
        for miner in &mut self.agents[index].miners {
            if miner.campaign == campaign && miner.process == process {
                miner.connected = false;
                if by == EndedBy::Miner {
                    miner.valid_until = 0;
                }
            }
        }
        let told = match self.without {
            Some(Safeguard::DroppedStream) => EndedBy::Miner,
            _ => by,
        };
        self.after(
            self.now,
            Step::StreamEnded {
                agent: index,
                process,
                campaign,
                by: told,
            },
        );
    }

    /// Takes "nothing is released while a grant runs" away: the agent hears at once what it should wait for.
    pub fn pretend_acknowledged(&mut self, index: usize) {
        let now = self.host_time(index);
        let process = self.agents[index].process;
        let campaigns: Vec<_> = self.agents[index]
            .miners
            .iter()
            .filter(|miner| miner.process == process)
            .map(|miner| miner.campaign)
            .collect();
        for campaign in campaigns {
            self.agents[index]
                .election
                .handle_heartbeat(campaign, Some(u64::MAX), now);
        }
    }
}
