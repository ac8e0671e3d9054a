//! The steps that may happen next. The first is what a healed world does: stopped agents continue, then everything
//! arrives, then time advances.

use std::sync::Arc;
use std::time::Duration;

use understudy::election::{EndedBy, Remembered};
use understudy::time::Instant;

use super::agent::{Agent, Message};
use super::faults::Fault;
use super::safeguard::Safeguard;
use super::setting::{self, Events, SIGHT, WAIT, nonce};
use super::world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A stopped agent continues; messages sent meanwhile come before or after its timers.
    AgentContinues {
        agent: usize,
        reads_first: bool,
    },
    MinerContinues(usize),
    Reconnects(usize),
    Hears(usize),
    ClockRuns,
    /// A process that was told to stop and has given its term back ends, and the next starts.
    Replaced(usize),
    Arrives(usize),
    Tick,
    Acknowledges(usize),
    Fault(Fault),
}

impl World {
    /// Every step that is possible now.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::with_capacity(40);
        for (index, agent) in self.agents.0.iter().enumerate() {
            if agent.paused {
                steps.push(Step::AgentContinues {
                    agent: index,
                    reads_first: false,
                });
                if self.reply_to(index).is_some() {
                    steps.push(Step::AgentContinues {
                        agent: index,
                        reads_first: true,
                    });
                }
            }
            if agent.silent {
                steps.push(Step::MinerContinues(index));
            }
            if agent.cut.is_some() {
                steps.push(Step::Reconnects(index));
            }
            let may_hear = agent.cut.is_none() && !agent.paused && !agent.hears;
            if self.setting.events != Events::None && may_hear {
                steps.push(Step::Hears(index));
            }
            if agent.stopping && !agent.paused && agent.election.holds_no_term(self.now) {
                steps.push(Step::Replaced(index));
            }
        }
        if self.clock_stands {
            steps.push(Step::ClockRuns);
        }
        for (number, message) in self.network.iter().enumerate() {
            if self.due(message) {
                steps.push(Step::Arrives(number));
            }
        }
        if !self.network.iter().any(|message| self.due(message)) {
            steps.push(Step::Tick);
        }
        for (number, message) in self.network.iter().enumerate() {
            if message.held && !self.agents[message.agent].paused {
                steps.push(Step::Arrives(number));
            }
        }
        for (index, agent) in self.agents.0.iter().enumerate() {
            if self.may_acknowledge(agent) {
                steps.push(Step::Acknowledges(index));
            }
        }
        if self.faults_left > 0 {
            steps.extend(self.faults().into_iter().map(Step::Fault));
        }
        steps
    }

    fn reply_to(&self, index: usize) -> Option<usize> {
        let due = |it: &Arc<Message>| it.agent == index && it.is_reply() && !it.held;
        self.network.iter().position(due)
    }

    fn may_acknowledge(&self, agent: &Agent) -> bool {
        let acts = agent
            .miner
            .as_ref()
            .is_some_and(|miner| miner.campaign.is_some() && !miner.led && self.now < miner.until);
        acts && !agent.paused && !agent.silent
    }

    /// Takes one step, and checks what must hold after it.
    pub fn take(&mut self, step: Step) {
        match step {
            Step::Tick => {}
            Step::Arrives(number) if self.story.is_some() => {
                let what = self.network[number].name();
                self.say(|| what);
            }
            step => self.say(|| format!("{step:?}")),
        }
        match step {
            Step::AgentContinues { agent, reads_first } => {
                self.agents[agent].paused = false;
                if let Some(number) = self.reply_to(agent).filter(|_| reads_first) {
                    self.deliver(number);
                }
                self.run(agent);
            }
            Step::MinerContinues(index) => {
                self.agents[index].silent = false;
                if !self.agents[index].paused {
                    self.run(index);
                }
            }
            Step::Reconnects(index) => {
                self.agents[index].cut = None;
            }
            Step::Hears(index) => self.subscribe(index, true),
            Step::ClockRuns => self.clock_stands = false,
            Step::Replaced(index) => self.replace(index, false),
            Step::Arrives(number) => self.deliver(number),
            Step::Tick => self.tick(),
            Step::Acknowledges(index) => self.acknowledge(index),
            Step::Fault(fault) => {
                self.faults_left -= 1;
                self.fail(fault);
            }
        }
        self.check_leases();
    }

    /// A process ends, and another starts in its place, with the predecessor's state if `remembers`.
    pub fn replace(&mut self, index: usize, remembers: bool) {
        let now = self.now;
        let agent = &mut self.agents[index];
        agent.process += 1;
        if let Some(miner) = agent.miner.take()
            && agent.orphan.0 < miner.until
        {
            agent.orphan = (miner.until, miner.token);
        }
        let remembered = match remembers {
            true => Remembered {
                highest: agent.election.highest_token(),
                acting_until: match self.setting.without {
                    Some(Safeguard::QuietRestart) => Instant::PAST,
                    _ => now + setting::MINER_TIMEOUT,
                },
            },
            false => Remembered::NOTHING,
        };
        if !remembers {
            agent.holder = format!("a{index}.{}", agent.process);
            agent.held_until = Instant::PAST;
        }
        agent.election = setting::election(
            &self.setting,
            &agent.holder,
            nonce(index, agent.process),
            remembered,
        );
        agent.waiting = None;
        (agent.paused, agent.silent, agent.hears, agent.stopping) = (false, false, false, false);
        agent.next_event_late = false;
        agent.new_until = Instant::NEVER;
        let process = agent.process;
        self.network
            .retain(|it| it.agent != index || it.process == process || it.is_request());
        let events = self.setting.events != Events::None;
        self.subscribe(index, events && self.agents[index].cut.is_none());
        self.run(index);
    }

    /// The stream of the present miner ends: with the miner, or only the connection.
    pub fn stream_ends(&mut self, index: usize, by: EndedBy) {
        let agent = &mut self.agents[index];
        let Some(miner) = agent.miner.take() else {
            return;
        };
        agent.silent = false;
        if by == EndedBy::Agent && agent.orphan.0 < miner.until {
            agent.orphan = (miner.until, miner.token);
        }
        let told = match self.setting.without {
            Some(Safeguard::DroppedStream) => EndedBy::Miner,
            _ => by,
        };
        if let Some(campaign) = miner.campaign {
            self.turn(index, |election, now| {
                election.handle_campaign_end(campaign, told, now)
            });
        }
    }

    /// FLUSHALL, except where that is a limit: with a newborn, twice, or so soon after a first term that both may fall
    /// between two looks.
    pub fn may_be_flushed(&self) -> bool {
        let seasoned = |agent: &Arc<Agent>| agent.new_until <= self.now && !agent.stopping;
        self.checks.may_flush_from <= self.now
            && !self.checks.data_lost
            && self.agents.0.iter().all(seasoned)
    }

    pub fn may_be_born(&self) -> bool {
        self.checks.may_be_born_from <= self.now
    }

    pub fn flush(&mut self) {
        self.redis.data = super::redis::Data::default();
        self.checks.data_lost = true;
        self.checks.may_be_born_from = self.now + WAIT + SIGHT;
    }

    /// Names the next agent, if it is alive or not.
    pub fn resigns(&mut self, index: usize) {
        let next = (index + 1) % self.agents.0.len();
        let successor = Some(self.agents[next].holder.clone());
        self.turn(index, |election, now| {
            let _ = election.handle_resign(Duration::from_millis(500), successor, now);
        });
    }
}
