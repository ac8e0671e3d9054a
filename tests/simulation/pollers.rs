//! Agents without campaigns: their miners are probed, and pollers ask the agent who leads. The answer of `GetLeadership`
//! with `extend` has a deadline; that of `/leader` has none, so its pollers ask again soon.

use std::time::Duration;

use understudy::election::{Election, Liveness, Role, Token};
use understudy::time::Instant;

use super::agenda::Step;
use super::clock::MS;
use super::scene::nanos;
use super::world::World;

/// The poller at one place, which outlives the processes of its agent.
#[derive(Debug, Default)]
pub struct Poller {
    pub token: Token,
    /// Until when, in true time, it acts on a yes of `/leader`.
    acts_until: u64,
    /// Until when, on its host's clock, it acts on an extended answer.
    valid_until: Instant,
    /// Before this moment no other term begins here and nothing is released: one miner-timeout after the last yes.
    pub waited_out: Instant,
    /// Whether it leaves its agent's probes unanswered.
    pub sick_until: u64,
}

impl Poller {
    pub fn may_act(&self, now: u64, host: Instant) -> bool {
        now < self.acts_until || host < self.valid_until
    }
}

impl World {
    /// The poller of an agent starts asking, and its miner starts to be probed.
    pub fn open(&mut self, index: usize) {
        let process = self.agents[index].process;
        match self.scene.liveness[index] {
            Liveness::Campaign => self.connect(index),
            Liveness::Probe => self.after(
                self.now,
                Step::Probe {
                    agent: index,
                    process,
                },
            ),
            Liveness::Always => {}
        }
    }

    /// An agent asks its miner whether it is healthy, three times per miner-timeout.
    pub fn probe(&mut self, index: usize, process: u64) {
        let agent = &self.agents[index];
        if agent.process != process {
            return;
        }
        let every = agent.timeout / 3;
        let again = agent.clock.true_time(self.host_time(index) + every);
        if self.now >= agent.poller.sick_until {
            let sent_at = self.host_time(index);
            let slow = !self.healed && self.dice.chance(10);
            let longest = if slow { again - self.now } else { 3 * MS };
            let at = self.now + self.dice.below(longest);
            self.after(
                at,
                Step::Probed {
                    agent: index,
                    process,
                    sent_at,
                },
            );
        }
        self.after(
            again,
            Step::Probe {
                agent: index,
                process,
            },
        );
    }

    pub fn probed(&mut self, index: usize, process: u64, sent_at: Instant) {
        if self.agents[index].process == process {
            self.turn(index, |election, now| election.handle_probed(sent_at, now));
        }
    }

    /// A poller asks who leads. Two leaders would show here: at the moment of a yes, another's still holds.
    pub fn poll(&mut self, index: usize) {
        let extend = self.dice.chance(50);
        if extend {
            self.turn(index, Election::handle_extend);
        }
        let (host, patience) = (self.host_time(index), self.scene.patience(index));
        let told = self.agents[index].election.leadership().at(host);
        self.poll_again(index, told.lease_until);
        let (Role::Leader, Some(token)) = (told.role, told.token) else {
            return;
        };
        let agent = &mut self.agents[index];
        let poller = &mut agent.poller;
        if poller.token != token && host < poller.waited_out {
            let early = poller.waited_out.since(host);
            self.checks.violate(&format!(
                "I1: agent {index} begins {token} {early:?} before its last yes is waited out"
            ));
        }
        poller.token = token;
        if extend {
            poller.valid_until = told.valid_until.unwrap_or_default();
        } else {
            poller.acts_until = self.now + patience;
            poller.waited_out = host + agent.timeout;
        }
        self.acts_alone(index, None, token);
    }

    /// When to ask next: soon, or in the last moments of the lease.
    fn poll_again(&mut self, index: usize, lease_until: Option<Instant>) {
        let soon = self.now + self.dice.below(200 * MS);
        let at = match lease_until {
            Some(end) if self.dice.chance(20) => {
                let end = self.agents[index].clock.true_time(end);
                end.saturating_sub(self.dice.below(5 * MS))
            }
            _ => soon,
        };
        self.after(at.max(self.now + MS), Step::Poll { agent: index });
    }

    /// A release by this holder was carried out.
    pub fn released_after_last_yes(&mut self, index: usize, holder: &str) {
        let host = self.host_time(index);
        let agent = &self.agents[index];
        if agent.holder == holder && host < agent.poller.waited_out {
            let early = agent.poller.waited_out.since(host);
            self.checks.violate(&format!(
                "I1: agent {index} releases {early:?} before its last yes is waited out"
            ));
        }
    }

    /// Switches off "the last yes is waited out": the agent hears at once what it should wait for.
    pub fn forget_last_yes(&mut self, index: usize) {
        let now = self.host_time(index);
        let election = &mut self.agents[index].election;
        if let Some(campaign) = election.campaign() {
            election.handle_heartbeat(campaign, Some(u64::MAX), now);
        }
    }

    /// How long a hand-over takes: without campaigns the agent waits out its last yes, on a clock that may be slow.
    pub fn time_to_hand_over(&self, index: usize) -> u64 {
        let waited_out = match self.scene.liveness[index] {
            Liveness::Campaign => Duration::ZERO,
            Liveness::Probe | Liveness::Always => self.agents[index].timeout,
        };
        nanos(waited_out + waited_out / 100) + 100 * MS
    }
}
