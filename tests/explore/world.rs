//! A small world: agents with a miner each around one modelled Redis, moved step by step. Time advances in ticks, the
//! network is fast unless a fault delays something, and only a few faults are allowed.

use std::sync::Arc;
use std::time::Duration;

use understudy::election::{
    Announcement, Command, Election, Event, Liveness, Outcome, Reason, Remembered, Reply,
};
use understudy::fault::StoreError;
use understudy::time::Instant;

use super::agent::{Agent, Agents, Message, Miner, What};
use super::carried_out;
use super::checks::Checks;
use super::key::HOST;
use super::redis::{Data, Redis};
use super::safeguard::Safeguard;
use super::setting::{self, Events, Setting, nonce};
use super::wire;

pub const MS: u64 = 1_000_000;
/// How far time advances at once.
pub const TICK: u64 = 100 * MS;
pub const TTL: Duration = Duration::from_secs(1);
/// The same, in the store's microseconds.
pub const STORE_TTL: u64 = 1_000_000;
/// How long after its sender's timeout a request may still be carried out.
const LATE: u64 = 2 * TICK;

#[derive(Clone)]
pub struct World {
    pub setting: Setting,
    /// True time, which all hosts show.
    pub now: Instant,
    pub agents: Agents,
    pub redis: Redis,
    /// The store's clock stands still.
    pub clock_stands: bool,
    pub snapshot: Option<Data>,
    pub network: Vec<Arc<Message>>,
    pub faults_left: u32,
    pub checks: Checks,
    /// What happened, if somebody wants to read it.
    pub story: Option<String>,
}

impl World {
    pub fn new(setting: Setting) -> Self {
        let mut redis = Redis::new(Duration::from_secs(100));
        redis.without = setting.without;
        let mut world = Self {
            setting,
            now: Instant::from_nanos(HOST),
            agents: Agents::default(),
            redis,
            clock_stands: false,
            snapshot: None,
            network: Vec::new(),
            faults_left: setting.faults,
            checks: Checks::default(),
            story: None,
        };
        for index in 0..setting.agents {
            let holder = format!("a{index}");
            let election =
                setting::election(&setting, &holder, nonce(index, 0), Remembered::NOTHING);
            world.agents.0.push(Arc::new(Agent {
                election,
                holder,
                process: 0,
                miner: None,
                orphan: (Instant::PAST, 0),
                paused: false,
                silent: false,
                cut: None,
                hears: false,
                next_event_late: false,
                stopping: false,
                waiting: None,
                held_until: Instant::PAST,
                new_until: Instant::NEVER,
            }));
        }
        for index in 0..setting.agents {
            world.subscribe(index, setting.events != Events::None);
            world.run(index);
        }
        world
    }

    // === time

    pub fn tick(&mut self) {
        self.now = self.now + Duration::from_nanos(TICK);
        if self.clock_stands {
            self.redis.ahead -= (TICK / 1000) as i64;
        }
        let now = self.now;
        self.network.retain(|message| now < message.lost_at);
        for index in 0..self.agents.0.len() {
            let cut = &mut self.agents[index].cut;
            cut.take_if(|until| now >= *until);
            if !self.agents[index].paused {
                self.run(index);
            }
        }
        self.redis.expire(self.time());
        self.forget_past();
    }

    /// Removes what has expired, since that is equivalent to what never was.
    fn forget_past(&mut self) {
        let now = self.now;
        let over = |until: &mut Instant| {
            if *until <= now {
                *until = Instant::PAST;
            }
        };
        for index in 0..self.agents.0.len() {
            let agent = &mut self.agents[index];
            if agent.orphan.0 <= now {
                agent.orphan = (Instant::PAST, 0);
            }
            over(&mut agent.held_until);
            over(&mut agent.new_until);
            if let Some(miner) = agent.miner.as_mut().filter(|it| it.until <= now) {
                (miner.until, miner.token) = (Instant::PAST, 0);
            }
        }
        let clock = self.redis.clock(self.time());
        if clock >= self.redis.started + setting::LONG_UP as u64 {
            self.redis.started = clock - 100_000_000;
        }
        over(&mut self.checks.may_flush_from);
        over(&mut self.checks.may_be_born_from);
    }

    /// Since the beginning, in nanoseconds: the modelled Redis counts from there.
    pub fn time(&self) -> u64 {
        self.now.as_nanos() - HOST
    }

    /// An agent runs: what it waited for has timed out, its miner is there and beats.
    pub fn run(&mut self, index: usize) {
        let now = self.now;
        if let Some((id, _)) = self.agents[index].waiting.filter(|it| now >= it.1) {
            self.forget_reply(index);
            let timed_out = Err(StoreError::timed_out("modelled"));
            self.agents[index].election.handle_reply(id, timed_out, now);
        }
        let agent = &mut self.agents[index];
        agent.election.handle_timeout(now);
        if agent.cut.is_none() {
            let evicting = self.redis.evicting();
            agent.election.handle_memory(evicting, now);
        }
        match self.setting.liveness {
            Liveness::Campaign => {
                if agent.miner.is_none()
                    && let Ok(campaign) = agent.election.handle_campaign(now)
                {
                    agent.miner = Some(Miner::new(Some(campaign)));
                }
                if let Some(campaign) = agent.miner.as_ref().and_then(|it| it.campaign)
                    && !agent.silent
                {
                    agent.election.handle_heartbeat(campaign, None, now);
                }
            }
            Liveness::Probe => {
                agent.miner.get_or_insert_with(|| Miner::new(None));
                if !agent.silent {
                    agent.election.handle_probed(now, now);
                }
            }
            Liveness::Always => {
                agent.miner.get_or_insert_with(|| Miner::new(None));
            }
        }
        if self.setting.extends {
            self.agents[index].election.handle_extend(now);
        }
        self.drain(index);
    }

    fn forget_reply(&mut self, index: usize) {
        self.agents[index].waiting = None;
        self.network
            .retain(|it| it.agent != index || !matches!(it.what, What::Reply { .. }));
    }

    /// Passes an event to an election, if it has not been replaced.
    pub fn turn(&mut self, index: usize, handle: impl FnOnce(&mut Election, Instant)) {
        handle(&mut self.agents[index].election, self.now);
        self.drain(index);
    }

    /// Sends the election's commands, and passes its state to the miner.
    pub fn drain(&mut self, index: usize) {
        let now = self.now;
        while let Some(attempt) = self.agents[index].election.next_command(now) {
            let agent = &mut self.agents[index];
            agent.waiting = Some((attempt.id, attempt.deadline));
            if agent.cut.is_none() {
                let (holder, process) = (agent.holder.clone(), agent.process);
                self.network.push(Arc::new(Message {
                    agent: index,
                    process,
                    what: What::Request {
                        holder,
                        id: attempt.id,
                        command: attempt.command,
                    },
                    held: false,
                    lost_at: attempt.deadline + Duration::from_nanos(LATE),
                }));
            }
        }
        while let Some(event) = self.agents[index].election.poll_event() {
            self.say(|| format!("agent {index}: {event:?}"));
            match (event, self.setting.without) {
                (Event::Lost { .. }, Some(Safeguard::Grants)) => self.pretend_acknowledged(index),
                (
                    Event::Lost {
                        reason: Reason::LeaseExpired | Reason::LockLost,
                        ..
                    },
                    Some(Safeguard::LastYes),
                ) => self.pretend_acknowledged(index),
                _ => {}
            }
        }
        self.tell(index);
    }

    // === the network

    pub fn deliver(&mut self, number: usize) {
        let message = Arc::unwrap_or_clone(self.network.remove(number));
        let index = message.agent;
        match message.what {
            What::Request {
                holder,
                id,
                command,
            } => {
                let reply = self.execute(index, &holder, command);
                let agent = &self.agents[index];
                let awaited = agent.process == message.process
                    && agent.waiting.is_some_and(|waiting| waiting.0 == id);
                if awaited && agent.cut.is_none() {
                    self.network.push(Arc::new(Message {
                        agent: index,
                        process: message.process,
                        what: What::Reply { id, reply },
                        held: false,
                        lost_at: Instant::NEVER,
                    }));
                }
            }
            What::Reply { id, reply } => {
                self.agents[index].waiting = None;
                if reply.is_ok() {
                    let agent = &mut self.agents[index];
                    let settled = self.now + setting::WAIT + setting::SIGHT;
                    agent.new_until = agent.new_until.min(settled);
                }
                self.turn(index, |election, now| election.handle_reply(id, reply, now));
            }
            What::Heard(what) => self.turn(index, |election, now| {
                election.handle_heard(Some(what), now)
            }),
        }
    }

    fn execute(&mut self, index: usize, holder: &str, command: Command) -> Reply {
        let command = wire::request(command);
        let time = self.time();
        self.redis.expire(time);
        let before = self.redis.data.clone();
        let reply = self.redis.execute(&command, time);
        let outcome = reply.as_ref().ok().map(|answer| answer.outcome);
        self.say(|| format!("redis: {holder} {command:?} → {outcome:?}"));
        let clock = self.redis.clock(time);
        let data = (&before, &self.redis.data);
        if let Some(broken) = carried_out::broke(holder, &command, outcome, clock, data) {
            self.checks.violate(broken);
        }
        if let Some(Outcome::Begun(token)) = outcome {
            self.checks.begun(token);
            if before.stored.is_none() {
                self.checks.may_flush_from = self.now + setting::SIGHT;
            }
        }
        let held = matches!(outcome, Some(Outcome::Begun(_) | Outcome::Renewed));
        if held && self.agents[index].holder == holder {
            self.agents[index].held_until = self.now + TTL;
        }
        if let Some(what) = outcome.and_then(|it| self.redis.announcement(holder, &command, it)) {
            self.publish(&what);
        }
        wire::reply(reply)
    }

    pub fn publish(&mut self, what: &Announcement) {
        for index in 0..self.agents.0.len() {
            let agent = &mut self.agents[index];
            if !agent.hears || agent.cut.is_some() {
                continue;
            }
            let late = std::mem::take(&mut agent.next_event_late);
            if late || agent.paused || self.setting.events == Events::AtAnyTime {
                let message = Message {
                    agent: index,
                    process: agent.process,
                    what: What::Heard(what.clone()),
                    held: late,
                    lost_at: self.now + Duration::from_nanos(4 * TICK),
                };
                self.network.push(Arc::new(message));
            } else {
                let what = Some(what.clone());
                self.turn(index, |election, now| election.handle_heard(what, now));
            }
        }
    }

    pub fn subscribe(&mut self, index: usize, hears: bool) {
        if self.agents[index].hears != hears {
            self.agents[index].hears = hears;
            self.network
                .retain(|it| it.agent != index || !matches!(it.what, What::Heard(_)));
            self.turn(index, |election, now| election.handle_hearing(hears, now));
        }
    }

    /// Whether every message that is not delayed has arrived.
    pub fn due(&self, message: &Message) -> bool {
        let waits = matches!(message.what, What::Request { .. });
        !message.held && (waits || !self.agents[message.agent].paused)
    }

    // === what is known of a state

    /// Somebody leads.
    pub fn is_led(&self) -> bool {
        let mut agents = self.agents.0.iter();
        agents.any(|agent| !agent.paused && agent.election.leadership().at(self.now).leads())
    }

    pub fn say(&mut self, what: impl FnOnce() -> String) {
        let at = self.time() as f64 / 1e9;
        if let Some(story) = &mut self.story {
            story.push_str(&format!("{at:>9.3} s  {}\n", what()));
        }
    }
}
