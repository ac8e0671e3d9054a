//! The miners: each acts while its host's clock is below the end of its grant, unless it has acknowledged that it
//! stopped before, and writes to a store that is fenced by the token.

use understudy::election::{CampaignId, EndedBy, Liveness, Role, Token};
use understudy::time::Instant;

use super::agenda::Step;
use super::agents::MINER_TIMEOUTS;
use super::clock::{MS, S};
use super::safeguard::Safeguard;
use super::world::World;

/// The longest that an act may take: longer than some grants.
const LONGEST_WORK: u64 = 3 * S;

/// One miner process.
#[derive(Debug)]
pub struct Miner {
    pub campaign: CampaignId,
    /// Its agent's process.
    process: u64,
    token: Token,
    /// When its grant ends, on its host's clock.
    valid_until: u64,
    /// The newest version that it knows, to acknowledge.
    version: u64,
    pub paused_until: u64,
    pub connected: bool,
    /// Once told that it no longer leads, it finishes its acts by then, in true time.
    stops_at: Option<u64>,
    /// It has begun to close: nothing extends its grant, and its stream ends once all its work has stopped.
    leaving: bool,
}

impl Miner {
    /// It has said, or is about to say, that no work of an earlier grant still runs.
    fn acknowledges(&self) -> bool {
        self.valid_until == 0
    }
}

impl World {
    /// The agent's state reaches its miner at once. Two leaders would show here: a miner receives a grant while another's
    /// still holds.
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
            if self.now >= miner.paused_until {
                // It finishes at once, in a while, or not before its grant ends.
                let dice = &mut self.dice;
                let stops_at = *miner.stops_at.get_or_insert_with(|| match dice.chance(50) {
                    true => self.now,
                    false => self.now + dice.below(LONGEST_WORK),
                });
                if self.now >= stops_at {
                    miner.version = leadership.version;
                    miner.valid_until = 0;
                }
            }
            return;
        };
        if miner.leaving {
            return;
        }
        miner.stops_at = None;
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
        self.acts_alone(index, Some(told), token);
    }

    /// I1: from now on, this miner or poller at agent `index` is the only one that acts.
    pub fn acts_alone(&mut self, index: usize, actor: Option<usize>, token: Token) {
        self.no_go_miner_leads(index, token);
        let others = self.who_may_act();
        let other = others
            .iter()
            .find(|(at, it, _)| (*at, *it) != (index, actor));
        if let Some((other, _, earlier)) = other {
            self.checks.violate(&format!(
                "I1: agent {index} grants {token} while a miner of agent {other} may act on {earlier}"
            ));
        }
    }

    /// At which agent, which of its miners or its poller, and under which token.
    pub fn who_may_act(&self) -> Vec<(usize, Option<usize>, Token)> {
        let mut acting = Vec::new();
        for (index, agent) in self.agents.iter().enumerate() {
            let host = agent.clock.at(self.now);
            for (number, miner) in agent.miners.iter().enumerate() {
                if host.as_nanos() < miner.valid_until {
                    acting.push((index, Some(number), miner.token));
                }
            }
            if agent.poller.may_act(self.now, host) {
                acting.push((index, None, agent.poller.token));
            }
        }
        acting
    }

    /// A write that began within the grant, and arrives whenever the miner runs.
    pub fn write(&mut self, index: usize, miner: usize, token: Token) {
        let within = self.host_time(index).as_nanos()
            < self.agents[index].miners[miner].valid_until
            && self.agents[index].miners[miner].token == token;
        self.checks.fenced_write(token, within);
    }

    pub fn beat(&mut self, index: usize, campaign: CampaignId, process: u64) {
        let now = self.now;
        // Another thread may have sent a heartbeat just before the miner began to leave.
        let late = self.dice.chance(20);
        let Some(miner) = self.miner(index, process, campaign) else {
            return;
        };
        let (paused_until, version) = (miner.paused_until, miner.version);
        let counts = late || !miner.leaving || miner.acknowledges();
        if now >= paused_until && counts {
            // Now and then it cleans up for a while, and still acts under the grant that it has.
            let window = (now >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
            let stands_down = !self.healed && window == index as u64;
            self.turn(index, |election, now| {
                if stands_down {
                    election.handle_standing_down(campaign, Some(version), now);
                } else {
                    election.handle_heartbeat(campaign, Some(version), now);
                }
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

    /// The miner of that stream, if the stream is open.
    fn miner(&mut self, index: usize, process: u64, campaign: CampaignId) -> Option<&mut Miner> {
        let mut miners = self.agents[index].miners.iter_mut();
        miners.find(|it| it.campaign == campaign && it.process == process && it.connected)
    }

    /// The present miner begins to close: it finishes its acts, or waits until its grant is over.
    pub fn leave(&mut self, index: usize) -> Option<&'static str> {
        if self.scene.liveness[index] != Liveness::Campaign {
            return None;
        }
        let campaign = self.agents[index].election.campaign()?;
        let process = self.agents[index].process;
        let work = self.dice.below(LONGEST_WORK);
        let now = self.now;
        let miner = self.miner(index, process, campaign)?;
        if miner.leaving || now < miner.paused_until {
            return None;
        }
        miner.leaving = true;
        let until = Instant::from_nanos(miner.valid_until);
        self.say(|| format!("agent {index}: {campaign:?} is leaving"));
        let granted = self.agents[index].clock.true_time(until);
        self.after(
            granted.min(now + work).max(now),
            Step::Left {
                agent: index,
                process,
                campaign,
            },
        );
        Some("miner leaves")
    }

    pub fn left(&mut self, index: usize, process: u64, campaign: CampaignId) {
        if self.miner(index, process, campaign).is_none() {
            return;
        }
        self.end_stream(index, process, campaign, EndedBy::Miner);
        if self.healed {
            // Another miner takes its place.
            self.after(self.now, Step::Healed { agent: index });
            self.calm_since = self.now;
        }
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
            stops_at: None,
            leaving: false,
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

    /// The present miner's stream ends: with the miner, or only the connection, so that an orphan
    /// still acts until its grant runs out.
    pub fn disconnect(&mut self, index: usize, by: EndedBy) {
        let Some(campaign) = self.agents[index].election.campaign() else {
            return;
        };
        let process = self.agents[index].process;
        self.end_stream(index, process, campaign, by);
    }

    fn end_stream(&mut self, index: usize, process: u64, campaign: CampaignId, by: EndedBy) {
        self.say(|| format!("agent {index}: {campaign:?} ends, by {by:?}"));
        if let Some(miner) = self.miner(index, process, campaign) {
            miner.connected = false;
            if by == EndedBy::Miner {
                miner.valid_until = 0;
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

    /// Switches off "nothing is released while a grant runs": the agent hears at once what it should wait for.
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
