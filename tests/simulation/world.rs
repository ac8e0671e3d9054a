//! Agents with their miners around one modelled Redis. Time is true time in nanoseconds; every host's clock
//! runs at a rate of its own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use understudy::election::{
    AttemptId, CampaignId, Command, Election, EndedBy, Event, Instant, LeaseRules, Liveness,
    Outcome, Reason, Remembered, Reply, Settings,
};
use understudy::fault::StoreError;

use super::checks::Checks;
use super::dice::Dice;
use super::limit::Limit;
use super::miners::Miner;
use super::redis::{Caller, Data, Memory, Redis};
use super::safeguard::Safeguard;
use super::voices::Voices;

pub const MS: u64 = 1_000_000;
pub const S: u64 = 1000 * MS;
pub const TTL: Duration = Duration::from_secs(3);
/// What a standby waits for: TTL, 1 % and 100 ms.
pub const WAIT: u64 = 3130 * MS;
/// How far apart two looks may be at an empty store: renew-every and two Redis timeouts.
pub const SIGHT: u64 = 3 * S;
/// A miner beats three times within the shortest; an agent may be started anew with another.
pub const MINER_TIMEOUTS: [Duration; 3] = [
    Duration::from_millis(600),
    Duration::from_secs(1),
    Duration::from_millis(2800),
];
pub const AGENTS: usize = 3;

pub struct Agent {
    pub election: Election,
    pub holder: String,
    /// Tells the processes apart that have had this place.
    pub process: u64,
    /// Parts per million that this host's clock is fast.
    fast: i64,
    pub paused_until: u64,
    /// When this host stood still together with its clocks, in true time.
    pub frozen: Vec<Range<u64>>,
    /// Cut off from Redis until then.
    pub cut_until: u64,
    pub hears: bool,
    pub miners: Vec<Miner>,
    /// Bumped at every wake-up that is planned, so that an older one is dropped.
    wake: u64,
    /// When it first saw the store: a newborn until then.
    pub seen: Option<u64>,
    pub under_oom: bool,
    pub stopping: bool,
    /// The longest by which it or a process before it has granted, if it remembers one.
    longest_timeout: Duration,
}

impl Agent {
    pub fn frozen_until(&self) -> u64 {
        self.frozen.last().map_or(0, |it| it.end)
    }
}

#[allow(clippy::large_enum_variant, reason = "most steps are replies")]
pub enum Step {
    Wake {
        agent: usize,
        number: u64,
    },
    Arrive {
        agent: usize,
        process: u64,
        holder: String,
        id: AttemptId,
        command: Command,
        sent: u64,
        /// The number of the primary to which it was sent.
        to: u64,
    },
    Reply {
        agent: usize,
        process: u64,
        id: AttemptId,
        reply: Reply,
    },
    Heard {
        agent: usize,
    },
    Beat {
        agent: usize,
        campaign: CampaignId,
        process: u64,
    },
    /// A miner that was in the middle of something while it was stopped ends it.
    Write {
        agent: usize,
        miner: usize,
        token: u64,
    },
    GoMiner,
    Fault,
    /// A sentinel hears of the primary of that number.
    Learn {
        voice: usize,
        epoch: u64,
    },
    /// An agent that was told to stop has ended.
    Gone {
        agent: usize,
        process: u64,
    },
}

pub struct World {
    pub now: u64,
    order: u64,
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    steps: Vec<Option<Step>>,
    pub dice: Dice,
    pub redis: Redis,
    pub snapshot: Data,
    pub replica: Data,
    pub voices: Voices,
    /// Somebody else makes another server the primary.
    pub watched: bool,
    pub agents: Vec<Agent>,
    processes: u64,
    pub checks: Checks,
    pub faults: BTreeMap<&'static str, u64>,
    pub healed: bool,
    healed_at: u64,
    /// When the last request from before that was carried out.
    pub calm_since: u64,
    /// When the store last lost data, and whether that was ever without a restart.
    pub lost_at: Option<u64>,
    pub flushed: bool,
    pub refuses_until: u64,
    /// How far the clock of Redis' present host is ahead of that of its first.
    pub offset: i64,
    pub without: Option<Safeguard>,
    pub beyond: Option<Limit>,
    pub story: String,
}

impl World {
    pub fn new(seed: u64, without: Option<Safeguard>, beyond: Option<Limit>) -> Self {
        let mut dice = Dice::new(seed);
        let mut redis = Redis::new(Duration::from_secs(dice.pick(&[0, 100])));
        redis.without = without;
        let mut world = Self {
            now: 0,
            order: 0,
            queue: BinaryHeap::new(),
            steps: Vec::new(),
            dice,
            redis,
            snapshot: Data::default(),
            replica: Data::default(),
            voices: Voices::default(),
            watched: false,
            agents: Vec::new(),
            processes: 0,
            checks: Checks::default(),
            faults: BTreeMap::new(),
            healed: false,
            healed_at: 0,
            calm_since: 0,
            lost_at: None,
            flushed: false,
            refuses_until: 0,
            offset: 0,
            without,
            beyond,
            story: String::new(),
        };
        world.checks.beyond = beyond.is_some();
        world.watched = world.dice.chance(50);
        for index in 0..AGENTS {
            let agent = world.newborn(index);
            world.agents.push(agent);
            world.plan(index);
            world.connect(index);
        }
        world.after(S, Step::Fault);
        world
    }

    /// Faults for `chaos` seconds, then none: a leader must be there in time, and when its miner dies then,
    /// another at once. Returns what was violated.
    pub fn run(&mut self, chaos: u64) -> Option<String> {
        self.run_until(chaos * S);
        self.heal();
        // Until nothing was wrong for a TTL and two seconds; a late request moves that.
        while self.now < self.calm_since + WAIT + 2 * S && self.checks.violation.is_none() {
            self.run_until(self.calm_since + WAIT + 2 * S);
        }
        let leader = (0..AGENTS).find(|index| self.leads(*index));
        let Some(leader) = leader else {
            self.checks
                .violate("I7: nobody leads a TTL and two seconds after the last fault");
            return self.checks.violation.clone();
        };
        self.run_until(self.now + S);
        self.disconnect(leader, EndedBy::Miner);
        self.run_until(self.now + 100 * MS);
        // Where tokens may have gone back a release is not believed by who knows a greater one.
        let believed = !self.checks.tokens_may_go_back();
        if believed && !(0..AGENTS).any(|index| index != leader && self.leads(index)) {
            self.checks
                .violate("I7: nobody leads 100 ms after the leader's miner died");
        }
        self.checks.violation.clone()
    }

    fn leads(&self, index: usize) -> bool {
        self.agents[index]
            .election
            .leadership()
            .at(self.host_time(index))
            .leads()
    }

    fn run_until(&mut self, end: u64) {
        while let Some(Reverse((at, _, index))) = self.queue.peek().copied() {
            if at > end || self.checks.violation.is_some() {
                break;
            }
            self.queue.pop();
            self.now = self.now.max(at);
            if let Some(step) = self.steps.get_mut(index).and_then(Option::take) {
                self.step(step);
                self.check_leases();
            }
        }
        self.now = self.now.max(end);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Wake { agent, number } => {
                if self.agents[agent].wake == number {
                    self.turn(agent, |election, now| election.handle_timeout(now));
                }
            }
            Step::Arrive {
                agent,
                process,
                holder,
                id,
                command,
                sent,
                to,
            } => {
                let arrive = |world: &mut Self| world.arrive(agent, process, &holder, id, &command);
                let arrived = self.on_primary(to, arrive);
                if arrived.is_none() && self.healed {
                    // Its sender learns of it when it times out.
                    self.calm_since = self.calm_since.max(self.now + S);
                }
                let changed = arrived.unwrap_or(false);
                if changed && self.healed && sent < self.healed_at {
                    self.calm_since = self.calm_since.max(self.now);
                }
            }
            Step::Reply {
                agent,
                process,
                id,
                reply,
            } => {
                if self.agents[agent].process == process {
                    self.replied(agent, id, reply);
                }
            }
            Step::Heard { agent } => {
                if self.agents[agent].hears {
                    self.turn(agent, |election, now| election.handle_heard(true, now));
                }
            }
            Step::Beat {
                agent,
                campaign,
                process,
            } => self.beat(agent, campaign, process),
            Step::Write {
                agent,
                miner,
                token,
            } => self.write(agent, miner, token),
            Step::GoMiner => self.go_miner(),
            Step::Gone { agent, process } => self.gone(agent, process),
            Step::Learn { voice, epoch } => self.learn(voice, epoch),
            Step::Fault => {
                if !self.healed {
                    self.fault();
                    let pause = self.dice.below(1500) * MS;
                    self.after(self.now + pause, Step::Fault);
                }
            }
        }
    }

    /// Hands something to an election; a paused agent gets it when it continues.
    pub fn turn(&mut self, index: usize, handle: impl FnOnce(&mut Election, Instant)) {
        let now = self.host_time(index);
        handle(&mut self.agents[index].election, now);
        self.drain(index);
    }

    /// Carries out what the election wants, hands what it says to the miners, and plans the next wake-up.
    pub fn drain(&mut self, index: usize) {
        let now = self.host_time(index);
        while let Some(attempt) = self.agents[index].election.next_command(now) {
            let (holder, process) = (
                self.agents[index].holder.clone(),
                self.agents[index].process,
            );
            let (id, command) = (attempt.id, attempt.command);
            let deadline = self.true_time(index, attempt.deadline.as_nanos());
            let reply = Err(StoreError::timed_out("modelled"));
            self.after(
                deadline,
                Step::Reply {
                    agent: index,
                    process,
                    id,
                    reply,
                },
            );
            let located = self.located();
            let reaches = self.now >= self.agents[index].cut_until || self.dice.chance(10);
            if let Some(to) = located.filter(|_| reaches) {
                let at = self.now + self.delay();
                let sent = self.now;
                self.after(
                    at,
                    Step::Arrive {
                        agent: index,
                        process,
                        holder,
                        id,
                        command,
                        sent,
                        to,
                    },
                );
            }
        }
        while let Some(event) = self.agents[index].election.poll_event() {
            self.note(index, &event);
        }
        self.tell(index);
        self.plan(index);
    }

    fn note(&mut self, index: usize, event: &Event) {
        self.say(|| format!("agent {index}: {event:?}"));
        match event {
            Event::Elected { .. } => self.checks.terms += 1,
            Event::Lost { .. } if self.without == Some(Safeguard::Grants) => {
                self.pretend_acknowledged(index);
            }
            _ => {}
        }
    }

    /// A fast network, most of the time; requests that arrive late, some of the time.
    fn delay(&mut self) -> u64 {
        match self.dice.below(100) {
            _ if self.healed => self.dice.below(3 * MS),
            0..90 => self.dice.below(3 * MS),
            90..97 => self.dice.below(500 * MS),
            _ => self.dice.below(6 * S),
        }
    }

    /// A request is carried out. Returns whether it changed anything.
    fn arrive(
        &mut self,
        index: usize,
        process: u64,
        holder: &str,
        id: AttemptId,
        command: &Command,
    ) -> bool {
        let caller = Caller { holder, ttl: TTL };
        self.redis.expire(self.now);
        if self.now >= self.refuses_until {
            self.redis.refuses = None;
        }
        let before = self.redis.data.clone();
        let reply = self.redis.execute(&caller, command, self.now);
        let outcome = reply.as_ref().map(|answer| answer.outcome).ok();
        if !matches!(command, Command::Look) {
            self.say(|| format!("redis: {holder} {command:?} → {outcome:?}"));
        }
        let clock = self.redis.clock(self.now);
        self.checks
            .command(holder, command, outcome, clock, (&before, &self.redis.data));
        if let Some(Outcome::Begun(token)) = outcome {
            self.checks.begun(token, before.stored.is_none(), self.now);
        }
        if matches!(outcome, Some(Outcome::Begun(_) | Outcome::Renewed)) {
            self.checks.held(holder, self.now + TTL.as_nanos() as u64);
        }
        let changed = self.redis.data != before;
        if changed {
            self.publish();
            if self.dice.chance(30) {
                self.evicts();
            }
        }
        let lost = !self.healed && (self.dice.chance(3) || self.now < self.agents[index].cut_until);
        if !lost {
            let at = self.now + self.delay();
            self.after(
                at,
                Step::Reply {
                    agent: index,
                    process,
                    id,
                    reply,
                },
            );
        }
        changed
    }

    fn publish(&mut self) {
        for agent in 0..self.agents.len() {
            if self.healed || !self.dice.chance(10) {
                let at = self.now + self.dice.below(2 * MS);
                self.after(at, Step::Heard { agent });
            }
        }
    }

    fn replied(&mut self, index: usize, id: AttemptId, reply: Reply) {
        let fault = reply.as_ref().err().map(|error| Reason::from(error.fault));
        self.turn(index, |election, now| election.handle_reply(id, reply, now));
        let now = self.host_time(index);
        // A reply that came too late is dropped, and what was there before stands.
        let agent = &mut self.agents[index];
        let error = agent.election.last_error();
        if fault.is_none() && error.is_none() {
            agent.seen.get_or_insert(self.now);
        }
        let told = agent.election.leadership().at(now);
        let error = error.map(|error| Reason::from(error.fault));
        self.checks.reason(&told, error.filter(|_| error == fault));
    }

    /// No agent says that it leads when its lock may have run out in Redis.
    fn check_leases(&mut self) {
        for index in 0..AGENTS {
            let agent = &self.agents[index];
            if self.now >= agent.paused_until && self.leads(index) {
                let (holder, now) = (agent.holder.clone(), self.now);
                self.checks.says_leader(&holder, now);
            }
        }
    }

    /// Everything is well from now on.
    fn heal(&mut self) {
        self.healed = true;
        self.healed_at = self.now;
        self.calm_since = self.now;
        self.redis.memory = Memory::Enough;
        self.redis.refuses = None;
        self.settle_voices();
        if let Some((_, expires)) = self.redis.data.lock.as_mut().filter(|it| it.0 == GO) {
            *expires = 0;
        }
        self.say(|| "everything is healed".into());
        for index in 0..AGENTS {
            self.agents[index].cut_until = 0;
            self.agents[index].hears = true;
            // What is stopped continues in its time.
            let stopped = self.agents[index]
                .miners
                .iter()
                .map(|miner| miner.paused_until);
            let stopped = stopped
                .max()
                .unwrap_or_default()
                .max(self.agents[index].paused_until);
            self.calm_since = self.calm_since.max(stopped);
            self.turn(index, |election, now| election.handle_hearing(true, now));
            if self.agents[index].election.campaign().is_none() {
                self.connect(index);
            }
            self.plan(index);
        }
    }

    // === agents

    pub fn newborn(&mut self, index: usize) -> Agent {
        let seed = self.dice.roll();
        self.processes += 1;
        // Two clocks that differ by up to 1 %.
        let mut fast = self.dice.below(10_001) as i64 - 5000;
        if self.beyond == Some(Limit::ClockRates) {
            fast *= 30;
        }
        let under_oom = self.dice.chance(80);
        let timeout = self.dice.pick(&MINER_TIMEOUTS);
        let holder = format!("a{index}-{:08x}", seed as u32);
        let settings = settings(
            holder.clone(),
            seed,
            timeout,
            under_oom,
            self.watched,
            self.without,
        );
        Agent {
            election: Election::new(settings),
            holder,
            process: self.processes,
            fast,
            paused_until: 0,
            frozen: Vec::new(),
            cut_until: 0,
            hears: self.healed || self.dice.chance(80),
            miners: Vec::new(),
            wake: 0,
            seen: None,
            under_oom,
            stopping: false,
            longest_timeout: timeout,
        }
    }

    /// The process of an agent dies, and another starts in its place. With `state` it remembers.
    pub fn restart(&mut self, index: usize, state: bool) {
        let mut agent = self.newborn(index);
        let old = &mut self.agents[index];
        agent.fast = old.fast;
        agent.frozen.clone_from(&old.frozen);
        agent.paused_until = agent.frozen_until();
        // Its miners act on until their grants run out.
        std::mem::swap(&mut agent.miners, &mut old.miners);
        agent
            .miners
            .iter_mut()
            .for_each(|miner| miner.connected = false);
        let seed = self.dice.roll();
        if state {
            agent.holder.clone_from(&old.holder);
            let now = Instant::from_nanos(host_clock(agent.fast, running(&agent.frozen, self.now)));
            let quiet = self.without != Some(Safeguard::QuietRestart);
            let timeout = agent.longest_timeout;
            agent.longest_timeout = timeout.max(old.longest_timeout);
            let acting_until = if quiet {
                now + agent.longest_timeout
            } else {
                Instant::PAST
            };
            // A disk that hung knows an older token.
            let written = self.dice.chance(80);
            let highest = old.election.highest_token();
            agent.election = Election::new(Settings {
                remembered: Remembered {
                    highest: if written { highest } else { 0 },
                    acting_until,
                },
                ..settings(
                    agent.holder.clone(),
                    seed,
                    timeout,
                    agent.under_oom,
                    self.watched,
                    self.without,
                )
            });
        }
        self.agents[index] = agent;
        self.drain(index);
        self.connect(index);
    }

    // === time

    fn plan(&mut self, index: usize) {
        let now = self.host_time(index);
        let at = self.agents[index].election.poll_timeout(now).as_nanos();
        // The program turns at least every second.
        let at = self.true_time(index, at.min(now.as_nanos() + S));
        let at = at.max(self.now + MS / 10);
        self.agents[index].wake += 1;
        let number = self.agents[index].wake;
        self.after(
            at,
            Step::Wake {
                agent: index,
                number,
            },
        );
    }

    /// Queues a step; what concerns a paused agent waits until it continues.
    pub fn after(&mut self, at: u64, step: Step) {
        let paused = match &step {
            Step::Wake { agent, .. }
            | Step::Reply { agent, .. }
            | Step::Heard { agent }
            | Step::Beat { agent, .. } => self
                .agents
                .get(*agent)
                .map_or(0, |agent| agent.paused_until),
            Step::Arrive { .. }
            | Step::Write { .. }
            | Step::GoMiner
            | Step::Fault
            | Step::Gone { .. }
            | Step::Learn { .. } => 0,
        };
        self.order += 1;
        self.steps.push(Some(step));
        self.queue
            .push(Reverse((at.max(paused), self.order, self.steps.len() - 1)));
    }

    pub fn host_time(&self, index: usize) -> Instant {
        let agent = &self.agents[index];
        Instant::from_nanos(host_clock(agent.fast, running(&agent.frozen, self.now)))
    }

    /// The first moment of true time at which the host's clock shows `host`.
    pub fn true_time(&self, index: usize, host: u64) -> u64 {
        let rate = 1_000_000 + self.agents[index].fast;
        let host = host.saturating_sub(HOST_EPOCH);
        let ran = (u128::from(host) * 1_000_000 / rate as u128) as u64 + 1;
        let stood = |at: u64, frozen: &Range<u64>| match at >= frozen.start {
            true => at + (frozen.end - frozen.start),
            false => at,
        };
        self.agents[index].frozen.iter().fold(ran, stood)
    }

    pub fn say(&mut self, what: impl FnOnce() -> String) {
        let _ = writeln!(self.story, "{:>9.3} s  {}", self.now as f64 / 1e9, what());
    }
}

/// A Go miner's holder id.
pub const GO: &str = "go-1";

fn settings(
    holder: String,
    seed: u64,
    miner_timeout: Duration,
    under_oom: bool,
    watched: bool,
    without: Option<Safeguard>,
) -> Settings {
    let rules = LeaseRules::new(TTL, TTL / 3, miner_timeout, Duration::from_secs(1));
    let mut rules = rules.expect("safe rules");
    if watched {
        rules = rules.with_failover();
    }
    if without == Some(Safeguard::Margin) {
        rules = rules.without_margin();
    }
    Settings {
        holder,
        rules,
        liveness: Liveness::Campaign,
        under_oom,
        allow_eviction: without == Some(Safeguard::EvictionGuard),
        nonce: seed,
        remembered: Remembered::NOTHING,
    }
}

/// A host has been up for a while when the run begins.
const HOST_EPOCH: u64 = 1_000_000 * S;

/// For how long a host that stood still at times has run.
fn running(frozen: &[Range<u64>], now: u64) -> u64 {
    let stood = frozen.iter().filter(|it| it.start < now);
    now - stood.map(|it| it.end.min(now) - it.start).sum::<u64>()
}

pub fn host_clock(fast: i64, now: u64) -> u64 {
    let rate = (1_000_000 + fast) as u128;
    HOST_EPOCH + (u128::from(now) * rate / 1_000_000) as u64
}
