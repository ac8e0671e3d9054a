//! The agents: each a process with one election, on a host with its own clock.

use std::time::Duration;

use understudy::election::{Election, Enrolment, Event, LeaseRules, Reason, Remembered, Settings};
use understudy::time::Instant;

use super::agenda::Step;
use super::clock::{Clock, MS};
use super::miners::Miner;
use super::pollers::Poller;
use super::safeguard::Safeguard;
use super::world::World;

/// A miner beats three times within the shortest; an agent may be restarted with another.
pub const MINER_TIMEOUTS: [Duration; 3] = [
    Duration::from_millis(600),
    Duration::from_secs(1),
    Duration::from_millis(2800),
];

pub struct Agent {
    pub election: Election,
    pub holder: String,
    pub ttl: Duration,
    /// Distinguishes the processes that have had this place.
    pub process: u64,
    pub clock: Clock,
    pub paused_until: u64,
    /// Until when it is cut off from Redis.
    pub cut_until: u64,
    pub hears: bool,
    pub miners: Vec<Miner>,
    pub poller: Poller,
    /// Incremented whenever a wake-up is planned, so that older ones are dropped.
    pub wake: u64,
    /// When it first saw the store; a newborn until then.
    pub seen: Option<u64>,
    under_oom: bool,
    pub stopping: bool,
    pub timeout: Duration,
    /// The longest grant of this or an earlier process, if it remembers one.
    longest_timeout: Duration,
}

impl World {
    pub fn newborn(&mut self, index: usize) -> Agent {
        let seed = self.dice.roll();
        self.processes += 1;
        let clock = Clock::drawn(&mut self.dice, self.beyond);
        let under_oom = self.dice.chance(80);
        let ttl = self.scene.ttls[index];
        // The timeout must be shorter than the lease.
        let longest = ttl.saturating_sub(Duration::from_millis(200));
        let timeout = self.dice.pick(&MINER_TIMEOUTS).min(longest);
        let holder = format!("a{index}-{:08x}", seed as u32);
        let settings = self.settings(index, holder.clone(), seed, timeout, under_oom);
        let mut election = Election::new(settings);
        // Seven out of eight say that they are ready.
        election.handle_rehearsed(!seed.is_multiple_of(8), Instant::default());
        Agent {
            election,
            holder,
            ttl,
            process: self.processes,
            clock,
            paused_until: 0,
            cut_until: 0,
            hears: self.healed || self.dice.chance(80),
            miners: Vec::new(),
            poller: Poller::default(),
            wake: 0,
            seen: None,
            under_oom,
            stopping: false,
            timeout,
            longest_timeout: timeout,
        }
    }

    fn settings(
        &self,
        index: usize,
        holder: String,
        seed: u64,
        miner_timeout: Duration,
        under_oom: bool,
    ) -> Settings {
        let ttl = self.scene.ttls[index];
        let rules = LeaseRules::new(ttl, ttl / 3, miner_timeout, Duration::from_secs(1));
        let mut rules = rules.expect("safe rules");
        if self.watched {
            rules = rules.with_failover();
        }
        if self.without == Some(Safeguard::Margin) {
            rules = rules.without_margin();
        }
        Settings {
            holder,
            rules,
            liveness: self.scene.liveness[index],
            candidate: true,
            under_oom,
            allow_eviction: self.without == Some(Safeguard::EvictionGuard),
            nonce: seed,
            remembered: Remembered::NOTHING,
            enrolment: Some(Enrolment {
                instance: format!("a{index}"),
                version: "0".into(),
                started: self.now / 1_000_000_000,
            }),
        }
    }

    /// An agent's process dies, and another starts in its place, with its state if `state`.
    pub fn restart(&mut self, index: usize, state: bool) {
        let mut agent = self.newborn(index);
        let old = &mut self.agents[index];
        agent.clock = old.clock.clone();
        agent.paused_until = agent.clock.frozen_until();
        // Its miners continue to act until their grants run out.
        std::mem::swap(&mut agent.miners, &mut old.miners);
        std::mem::swap(&mut agent.poller, &mut old.poller);
        agent
            .miners
            .iter_mut()
            .for_each(|miner| miner.connected = false);
        let seed = self.dice.roll();
        if state {
            let old = &self.agents[index];
            agent.holder.clone_from(&old.holder);
            let timeout = agent.longest_timeout;
            agent.longest_timeout = timeout.max(old.longest_timeout);
            let acting_until = match self.without {
                Some(Safeguard::QuietRestart) => Instant::PAST,
                _ => agent.clock.at(self.now) + agent.longest_timeout,
            };
            let highest = old.election.highest_token();
            // After a hung disk the state has an older token.
            let written = self.dice.chance(80);
            let settings =
                self.settings(index, agent.holder.clone(), seed, timeout, agent.under_oom);
            agent.election = Election::new(Settings {
                remembered: Remembered {
                    highest: if written { highest } else { 0 },
                    acting_until,
                },
                ..settings
            });
        } else {
            // A process without state waits for nothing. The predecessor's lock and the rest of its lease bound what
            // its pollers do, as when another agent begins.
            agent.poller.waited_out = Instant::default();
        }
        self.agents[index] = agent;
        self.drain(index);
        self.open(index);
    }

    /// Passes an event to an election; a paused agent gets it when it continues.
    pub fn turn(&mut self, index: usize, handle: impl FnOnce(&mut Election, Instant)) {
        let now = self.host_time(index);
        handle(&mut self.agents[index].election, now);
        self.drain(index);
    }

    /// Carries out the election's commands, passes its state to the miners, and plans the next wake-up.
    pub fn drain(&mut self, index: usize) {
        let now = self.host_time(index);
        while let Some(attempt) = self.agents[index].election.next_command(now) {
            self.send(index, attempt);
        }
        while let Some(event) = self.agents[index].election.poll_event() {
            self.note(index, &event);
        }
        self.tell(index);
        self.plan(index);
    }

    fn note(&mut self, index: usize, event: &Event) {
        self.say(|| format!("agent {index}: {event:?}"));
        // Pods that lose a lease are often cleaned up soon after.
        if matches!(event, Event::Lost { .. }) && !self.healed && self.dice.chance(10) {
            let at = self.now + self.dice.below(500 * MS);
            let process = self.agents[index].process;
            self.after(
                at,
                Step::Stop {
                    agent: index,
                    process,
                },
            );
        }
        match event {
            Event::Elected { .. } => self.checks.terms += 1,
            Event::Lost { .. } if self.without == Some(Safeguard::Grants) => {
                self.pretend_acknowledged(index);
            }
            Event::Lost {
                reason: Reason::LeaseExpired | Reason::LockLost,
                ..
            } if self.without == Some(Safeguard::LastYes) => self.forget_last_yes(index),
            _ => {}
        }
    }

    pub fn plan(&mut self, index: usize) {
        let now = self.host_time(index);
        let agent = &mut self.agents[index];
        // The program's loop turns at least every second.
        let at = agent.election.poll_timeout(now);
        let at = agent.clock.true_time(at.min(now + Duration::from_secs(1)));
        agent.wake += 1;
        let number = agent.wake;
        let at = at.max(self.now + MS / 10);
        self.after(
            at,
            Step::Wake {
                agent: index,
                number,
            },
        );
    }

    pub fn leads(&self, index: usize) -> bool {
        // This runs after every step. Most agents do not lead, and for those the clock need not be read.
        let said = self.agents[index].election.leadership();
        said.leads() && said.at(self.host_time(index)).leads()
    }

    pub fn host_time(&self, index: usize) -> Instant {
        self.agents[index].clock.at(self.now)
    }
}
