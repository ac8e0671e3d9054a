//! The faults, drawn from the seed. Each limit that the documents state is left out, at its place.

use std::time::Duration;

use understudy::election::{Election, EndedBy, Liveness};

use super::agenda::Step;
use super::agents::Agent;
use super::clock::S;
use super::limit::Limit;
use super::redis::{Data, Memory};
use super::safeguard::Safeguard;
use super::world::World;

const LONG: u64 = 9 * S;

impl World {
    pub fn fault(&mut self) {
        let index = self.dice.below(self.agents.len() as u64) as usize;
        let until = self.now + self.dice.below(LONG);
        let stopped = self.now < self.agents[index].paused_until;
        let name = match self.dice.below(32) {
            _ if self.scene.go_miners && self.dice.chance(15) => self.go_miner_fault(until),
            // A stopped agent does nothing itself.
            2 | 3 | 12 | 20 | 25..30 if stopped => None,
            0 => self.stream_ends(index, EndedBy::Miner),
            1 => self.stream_ends(index, EndedBy::Agent),
            2 | 3 => self.miner_connects(index),
            4 | 5 => self.miner_stops(index, until),
            6 | 7 => self.agent_stops(index, until),
            8 | 9 => self.agent_dies(index),
            10 | 11 => self.cut_off(index, until),
            12 => self.deaf_or_not(index),
            13 => self.clock_jumps(),
            14 | 15 | 17 | 18 if !self.data_may_be_lost() => None,
            14 => self.restart_empty(index),
            15 => self.restart_with("redis restarts from a snapshot", self.snapshot.clone()),
            16 => self.remember(),
            17 if self.watched => self.failover(),
            17 => self.promotion(),
            18 => self.flush(),
            19 => self.lock_deleted(),
            20 => self.leave(index),
            21 | 22 => self.memory_changes(),
            23 => self.refuses_writes(until),
            24 => self.evicts(),
            25 | 26 => self.told_to_stop(index),
            30 => self.clock_stands(until),
            31 => self.clock_is_set_back(until),
            _ => self.resigns(index),
        };
        if let Some(name) = name {
            *self.faults.entry(name).or_default() += 1;
        }
    }

    fn stream_ends(&mut self, index: usize, by: EndedBy) -> Option<&'static str> {
        if self.scene.liveness[index] != Liveness::Campaign {
            return None;
        }
        self.disconnect(index, by);
        Some(match by {
            EndedBy::Miner => "miner dies",
            EndedBy::Agent => "stream breaks",
        })
    }

    fn miner_connects(&mut self, index: usize) -> Option<&'static str> {
        self.connect(index);
        None
    }

    fn miner_stops(&mut self, index: usize, until: u64) -> Option<&'static str> {
        let agent = &mut self.agents[index];
        match agent.miners.last_mut() {
            Some(miner) => miner.paused_until = until,
            None => agent.poller.sick_until = until,
        }
        self.say(|| {
            format!(
                "miner of agent {index} stopped until {:.3}",
                until as f64 / 1e9
            )
        });
        Some("miner stopped")
    }

    fn agent_stops(&mut self, index: usize, until: u64) -> Option<&'static str> {
        self.say(|| format!("agent {index} stopped until {:.3}", until as f64 / 1e9));
        let (now, agent) = (self.now, &mut self.agents[index]);
        if self.beyond == Some(Limit::FrozenClocks) && now >= agent.clock.frozen_until() {
            agent.clock.freeze(now..until);
            for miner in &mut agent.miners {
                miner.paused_until = until;
            }
        }
        agent.paused_until = until;
        Some("agent stopped")
    }

    /// A newborn just after a FLUSHALL is a limit, and so is what its predecessor had not seen.
    fn may_be_born(&self) -> bool {
        let any = self.beyond == Some(Limit::AnyFlush);
        any || !(self.flushed && self.lost_within(self.scene.wait() + self.scene.sight()))
    }

    fn agent_dies(&mut self, index: usize) -> Option<&'static str> {
        if !self.may_be_born() {
            return None;
        }
        self.replace(index);
        Some("agent killed")
    }

    fn replace(&mut self, index: usize) {
        let state = self.dice.chance(50);
        self.say(|| format!("agent {index} anew, remembers: {state}"));
        self.restart(index, state);
    }

    /// SIGTERM: the agent gives its term back, and is gone soon after, finished or not.
    pub fn told_to_stop(&mut self, index: usize) -> Option<&'static str> {
        if !self.may_be_born() {
            return None;
        }
        self.say(|| format!("agent {index} is told to stop"));
        self.agents[index].stopping = true;
        self.turn(index, Election::handle_stop);
        let gone = Step::Gone {
            agent: index,
            process: self.agents[index].process,
        };
        let at = self.now + self.dice.below(2 * S);
        self.after(at, gone);
        Some("agent told to stop")
    }

    /// The process that was told to stop has ended, unless another fault has ended it before.
    pub fn gone(&mut self, agent: usize, process: u64) {
        if self.agents[agent].process == process {
            self.replace(agent);
            if self.healed {
                self.calm_since = self.now;
            }
        }
    }

    fn cut_off(&mut self, index: usize, until: u64) -> Option<&'static str> {
        self.say(|| format!("agent {index} cut off until {:.3}", until as f64 / 1e9));
        self.agents[index].cut_until = until;
        Some("cut off from Redis")
    }

    fn deaf_or_not(&mut self, index: usize) -> Option<&'static str> {
        let hears = !self.agents[index].hears;
        self.say(|| format!("agent {index} hears: {hears}"));
        self.agents[index].hears = hears;
        self.turn(index, |election, now| election.handle_hearing(hears, now));
        Some("events lost")
    }

    fn restart_empty(&mut self, index: usize) -> Option<&'static str> {
        let restarted = self.restart_with("redis restarts empty", Data::default());
        // A clock that jumps ahead then, with a new agent, is a limit.
        if self.beyond == Some(Limit::JumpOnEmptyStore) {
            self.redis.ahead += 60_000_000;
            self.replace(index);
        }
        // One that is new then has not seen the longest TTL.
        if self.beyond == Some(Limit::TtlChanged) {
            self.replace(index);
        }
        restarted
    }

    fn restart_with(&mut self, what: &'static str, data: Data) -> Option<&'static str> {
        self.say(|| what.into());
        self.lose();
        self.redis.restart(self.now, data);
        self.reconnect();
        Some(what)
    }

    /// Takes the data that a snapshot and a lagging replica hold from now on.
    fn remember(&mut self) -> Option<&'static str> {
        self.snapshot = self.redis.data.clone();
        self.replica = self.redis.data.clone();
        None
    }

    fn promotion(&mut self) -> Option<&'static str> {
        self.say(|| "a lagging replica is promoted".into());
        self.promote(self.replica.clone());
        self.reconnect();
        Some("promotion")
    }

    pub fn promote(&mut self, data: Data) {
        self.lose();
        // Hosts whose clocks differ by more than a TTL are a limit for tokens.
        let offset = self.dice.below(2_000_000) as i64 - 1_000_000;
        let ahead = self.redis.ahead - self.offset + offset;
        self.offset = offset;
        self.redis.promote(self.now, data, ahead);
    }

    /// FLUSHALL, except where that is a limit: with a newborn, twice in a row, or so soon after a first term that both may
    /// fall between two looks.
    fn flush(&mut self) -> Option<&'static str> {
        if !self.may_be_flushed() {
            return None;
        }
        self.say(|| "FLUSHALL".into());
        self.flushed = true;
        self.lose();
        self.redis.data = Data::default();
        Some("FLUSHALL")
    }

    fn may_be_flushed(&self) -> bool {
        if !self.data_may_be_lost() {
            return false;
        }
        if self.beyond == Some(Limit::AnyFlush) {
            return true;
        }
        let seasoned = |agent: &Agent| {
            let seen = agent.seen.filter(|_| !agent.stopping);
            seen.is_some_and(|seen| self.now > seen + self.scene.wait() + self.scene.sight())
        };
        let first_term = self
            .checks
            .first_term_at
            .is_some_and(|at| self.now < at + self.scene.sight());
        !first_term && !self.lost_within(20 * S) && self.agents.iter().all(seasoned)
    }

    fn lock_deleted(&mut self) -> Option<&'static str> {
        self.redis.data.lock.take()?;
        self.lock_lost_at = Some(self.now);
        self.say(|| "the lock is deleted".into());
        Some("lock deleted")
    }

    fn memory_changes(&mut self) -> Option<&'static str> {
        let memory = match self.dice.below(4) {
            0 | 1 => Memory::Enough,
            2 => Memory::Full,
            // An agent that is told to lead anyway takes the risk.
            _ => Memory::Evicting {
                all: self.dice.chance(50) && self.may_be_flushed(),
            },
        };
        self.say(|| format!("memory: {memory:?}"));
        self.redis.memory = memory;
        match memory {
            Memory::Enough => None,
            Memory::Full => Some("out of memory"),
            Memory::Evicting { .. } => Some("evicting policy"),
        }
    }

    pub fn evicts(&mut self) -> Option<&'static str> {
        let all = match self.redis.memory {
            Memory::Evicting { all } => all,
            Memory::Enough | Memory::Full => return None,
        };
        // A lost record counts as a FLUSHALL. With the guard off it may happen at any time.
        let guarded = self.without != Some(Safeguard::EvictionGuard);
        if all && guarded && !self.may_be_flushed() {
            return None;
        }
        self.say(|| "keys are evicted".into());
        if all {
            self.flushed = true;
            self.lose();
        }
        self.lock_lost_at = Some(self.now);
        self.redis.evict();
        Some("eviction")
    }

    fn refuses_writes(&mut self, until: u64) -> Option<&'static str> {
        let why = self.dice.pick(&[
            None,
            Some("MISCONF Redis is configured to save RDB snapshots, but it is unable to persist"),
            Some("READONLY You can't write against a read only replica."),
            Some("NOREPLICAS Not enough good replicas to write."),
        ]);
        self.say(|| format!("refuses writes: {why:?}"));
        self.redis.refuses = why;
        self.refuses_until = until;
        why.map(|_| "writes refused")
    }

    fn resigns(&mut self, index: usize) -> Option<&'static str> {
        if !self.agents[index].election.leadership().leads() {
            return None;
        }
        let named = self.dice.below(2 * self.agents.len() as u64) as usize;
        let successor = self.agents.get(named).map(|it| it.holder.clone());
        self.resign(index, S / 2, successor);
        Some("resignation")
    }

    pub fn resign(&mut self, index: usize, hold_off: u64, successor: Option<String>) {
        let hold_off = Duration::from_nanos(hold_off);
        self.turn(index, |election, now| {
            let _ = election.handle_resign(hold_off, successor, now);
        });
    }

    fn lose(&mut self) {
        self.checks.data_lost = true;
        self.lost_at = Some(self.now);
        self.lock_lost_at = Some(self.now);
    }

    /// A TTL that changes while data is lost is a limit: if the TTLs differ, lose nothing.
    fn data_may_be_lost(&self) -> bool {
        self.scene.one_ttl() || self.beyond == Some(Limit::TtlChanged)
    }

    fn lost_within(&self, time: u64) -> bool {
        self.lost_at.is_some_and(|at| self.now < at + time)
    }

    /// The server was away for a moment: every subscriber notices.
    fn reconnect(&mut self) {
        for index in 0..self.agents.len() {
            self.resubscribe(index);
        }
    }

    pub fn resubscribe(&mut self, index: usize) {
        if self.agents[index].hears && self.now >= self.agents[index].paused_until {
            self.turn(index, |election, now| election.handle_hearing(false, now));
            self.turn(index, |election, now| election.handle_hearing(true, now));
        }
    }
}
