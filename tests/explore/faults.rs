//! The faults, of which a path has only a few. Each limit that the documents state is left out, at its place.

use std::sync::Arc;
use std::time::Duration;

use understudy::election::{Announcement, Election, EndedBy, Happened};

use super::agent::{Message, What};
use super::redis::{Data, Memory};
use super::safeguard::Safeguard;
use super::setting::Events;
use super::world::{STORE_TTL, TICK, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    HeldUp(usize),
    MinerDies(usize),
    StreamBreaks(usize),
    MinerStops(usize),
    AgentStops(usize),
    AgentDies { agent: usize, remembers: bool },
    ToldToStop(usize),
    Resigns(usize),
    CutOff(usize),
    Deaf(usize),
    NextEventIsLate(usize),
    ReleaseIsForged,
    RedisRestarts,
    RedisRestartsEmpty,
    SnapshotIsTaken,
    RedisRestartsFromSnapshot,
    ReplicaIsPromoted,
    Flush,
    LockIsDeleted,
    ClockStands,
    ClockIsSetBack,
    ClockIsSetAhead,
    GoMinerLeads,
    MayEvict,
    Evicts,
}

/// A little longer than a TTL.
const AHEAD: i64 = STORE_TTL as i64 + (TICK / 1000) as i64;
/// Longer than a lease is waited out.
const CUT_FOR: Duration = Duration::from_millis(1500);
const GO: &str = "go-1";

impl World {
    /// Every fault that is possible now, and changes something.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (number, message) in self.network.iter().enumerate() {
            if !message.held {
                faults.push(Fault::HeldUp(number));
            }
        }
        for index in 0..self.agents.0.len() {
            self.faults_of(index, &mut faults);
        }
        let data = &self.redis.data;
        let restarted = !self.checks.data_lost;
        if data.stored.is_some() {
            faults.extend([Fault::RedisRestarts, Fault::ClockIsSetBack]);
            if restarted {
                faults.push(Fault::RedisRestartsEmpty);
            }
            if self.snapshot.is_none() && self.faults_left > 1 {
                faults.push(Fault::SnapshotIsTaken);
            }
            if self.may_be_flushed() {
                faults.push(Fault::Flush);
            }
            // A clock that jumps ahead while the store is newly empty is a limit.
            let up = self
                .redis
                .clock(self.time())
                .saturating_sub(self.redis.started);
            if up >= super::setting::LONG_UP as u64 {
                faults.push(Fault::ClockIsSetAhead);
            }
            if !self.clock_stands {
                faults.push(Fault::ClockStands);
            }
            if self.agents.0.iter().any(|it| it.hears && !it.paused) {
                faults.push(Fault::ReleaseIsForged);
            }
        }
        if self.snapshot.as_ref().is_some_and(|it| it != data) {
            faults.extend([Fault::RedisRestartsFromSnapshot, Fault::ReplicaIsPromoted]);
        }
        match &data.lock {
            Some(_) => faults.push(Fault::LockIsDeleted),
            None if !self.someone_may_act() => faults.push(Fault::GoMinerLeads),
            None => {}
        }
        match self.redis.memory {
            Memory::Enough if self.faults_left > 1 => faults.push(Fault::MayEvict),
            Memory::Evicting { .. } if self.may_evict() => faults.push(Fault::Evicts),
            _ => {}
        }
        faults
    }

    fn faults_of(&self, index: usize, faults: &mut Vec<Fault>) {
        let agent = &self.agents[index];
        let campaigns = agent.miner.as_ref().is_some_and(|it| it.campaign.is_some());
        if campaigns && !agent.paused {
            faults.extend([Fault::MinerDies(index), Fault::StreamBreaks(index)]);
        }
        let may_fall_silent = agent.miner.is_some() && (campaigns || self.probes());
        if may_fall_silent && !agent.silent {
            faults.push(Fault::MinerStops(index));
        }
        if !agent.paused {
            faults.push(Fault::AgentStops(index));
            // Its successor is newly born.
            if !agent.stopping && self.may_be_born() {
                faults.push(Fault::ToldToStop(index));
            }
            if agent.election.leadership().leads() {
                faults.push(Fault::Resigns(index));
            }
            if agent.hears {
                faults.push(Fault::Deaf(index));
                if self.setting.events == Events::AtOnce && !agent.next_event_late {
                    faults.push(Fault::NextEventIsLate(index));
                }
            }
        }
        if self.may_be_born() {
            faults.extend([false, true].map(|remembers| Fault::AgentDies {
                agent: index,
                remembers,
            }));
        }
        if agent.cut.is_none() {
            faults.push(Fault::CutOff(index));
        }
    }

    pub fn fail(&mut self, fault: Fault) {
        let time = self.time();
        match fault {
            Fault::HeldUp(number) => Arc::make_mut(&mut self.network[number]).held = true,
            Fault::MinerDies(index) => self.stream_ends(index, EndedBy::Miner),
            Fault::StreamBreaks(index) => self.stream_ends(index, EndedBy::Agent),
            Fault::MinerStops(index) => self.agents[index].silent = true,
            Fault::AgentStops(index) => self.agents[index].paused = true,
            Fault::AgentDies { agent, remembers } => self.replace(agent, remembers),
            Fault::ToldToStop(index) => {
                self.agents[index].stopping = true;
                self.turn(index, Election::handle_stop);
            }
            Fault::Resigns(index) => self.resigns(index),
            Fault::CutOff(index) => {
                self.agents[index].cut = Some(self.now + CUT_FOR);
                self.network
                    .retain(|it| it.agent != index || it.is_request());
                if !self.agents[index].paused {
                    self.subscribe(index, false);
                }
            }
            Fault::Deaf(index) => self.subscribe(index, false),
            Fault::NextEventIsLate(index) => self.agents[index].next_event_late = true,
            Fault::ReleaseIsForged => {
                let basis = self.redis.basis();
                let token = basis.as_ref().map_or(0, |it| it.record.token);
                self.publish(&Announcement {
                    happened: Happened::Released,
                    holder: GO.into(),
                    token,
                    basis,
                });
            }
            Fault::RedisRestarts => self.restart(self.redis.data.clone()),
            Fault::RedisRestartsEmpty => {
                self.checks.data_lost = true;
                self.restart(Data::default());
            }
            Fault::SnapshotIsTaken => self.snapshot = Some(self.redis.data.clone()),
            Fault::RedisRestartsFromSnapshot => {
                self.checks.data_lost = true;
                let data = self.snapshot.clone().unwrap_or_default();
                self.restart(data);
            }
            Fault::ReplicaIsPromoted => {
                self.checks.data_lost = true;
                let data = self.snapshot.clone().unwrap_or_default();
                self.redis.promote(time, data, self.redis.ahead);
                self.resubscribe();
            }
            Fault::Flush => self.flush(),
            Fault::LockIsDeleted => self.redis.data.lock = None,
            Fault::ClockStands => {
                self.clock_stands = true;
                self.checks.set_back = true;
            }
            Fault::ClockIsSetBack => {
                self.redis.ahead -= (TICK / 1000) as i64;
                self.checks.set_back = true;
            }
            Fault::ClockIsSetAhead => self.redis.ahead += AHEAD,
            Fault::GoMinerLeads => {
                let expires = self.redis.clock(time) + STORE_TTL;
                self.redis.data.lock = Some((GO.into(), expires));
            }
            Fault::MayEvict => self.redis.memory = Memory::Evicting { all: true },
            Fault::Evicts => {
                self.redis.evict();
                self.flush();
            }
        }
        self.redis.expire(time);
    }

    fn restart(&mut self, data: Data) {
        self.redis.restart(self.time(), data);
        self.resubscribe();
    }

    /// The server was away for a moment: every subscriber notices.
    fn resubscribe(&mut self) {
        for index in 0..self.agents.0.len() {
            if self.agents[index].hears && !self.agents[index].paused {
                self.subscribe(index, false);
                self.subscribe(index, true);
            }
        }
    }

    /// A lost record counts as a FLUSHALL. With the guard off it may happen at any time.
    fn may_evict(&self) -> bool {
        let guarded = self.setting.without != Some(Safeguard::EvictionGuard);
        !guarded || self.may_be_flushed()
    }

    fn someone_may_act(&self) -> bool {
        self.agents.0.iter().any(|agent| {
            let miner = agent.miner.as_ref().is_some_and(|it| self.now < it.until);
            miner || self.now < agent.orphan.0
        })
    }

    fn probes(&self) -> bool {
        self.setting.liveness == understudy::election::Liveness::Probe
    }
}

impl Message {
    pub fn is_request(&self) -> bool {
        matches!(self.what, What::Request { .. })
    }

    pub fn is_reply(&self) -> bool {
        matches!(self.what, What::Reply { .. })
    }

    pub fn name(&self) -> String {
        let held = if self.held { ", held up," } else { "" };
        match &self.what {
            What::Request {
                holder, command, ..
            } => {
                format!("{}'s {}{held} arrives", holder, command.name())
            }
            What::Reply { .. } => format!("a reply{held} reaches agent {}", self.agent),
            What::Heard(_) => format!("an event{held} reaches agent {}", self.agent),
        }
    }
}
