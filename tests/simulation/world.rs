//! Agents with their miners around one modelled Redis, under faults drawn from a seed.
//!
//! Time is true time in nanoseconds; every host's clock runs at a rate of its own. A grant is checked
//! at the moment a miner receives it: if another miner's grant still holds then, two may act at once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write;
use std::time::Duration;

use understudy::election::{
    AttemptId, CampaignId, Command, Election, EndedBy, Event, Instant, LeaseRules, Liveness, Reply,
    Role, Settings, Token,
};
use understudy::fault::StoreError;

use super::redis::{Caller, Data, Redis};

const MS: u64 = 1_000_000;
const S: u64 = 1000 * MS;
pub const TTL: Duration = Duration::from_secs(3);
const AGENTS: usize = 3;
/// How far apart two looks may be: renew-every and two Redis timeouts.
const SIGHT: u64 = 3000 * MS;

/// SplitMix64: the same seed, the same run.
pub struct Dice(u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// One miner process. It acts while its host's clock is below `valid_until`, whatever else it knows.
#[derive(Debug)]
struct Miner {
    campaign: CampaignId,
    token: Token,
    valid_until: u64,
    /// The newest version that it knows, to acknowledge.
    version: u64,
    paused_until: u64,
    connected: bool,
}

struct Agent {
    election: Election,
    holder: String,
    /// Parts per million that this host's clock is fast.
    fast: i64,
    paused_until: u64,
    /// Cut off from Redis until then.
    cut_until: u64,
    hears: bool,
    miners: Vec<Miner>,
    /// Bumped at every wake-up that is planned, so that an older one is dropped.
    wake: u64,
    /// When it first saw the store: a newborn until then.
    seen: Option<u64>,
}

#[allow(clippy::large_enum_variant, reason = "most steps are replies")]
enum Step {
    Wake {
        agent: usize,
        number: u64,
    },
    Arrive {
        agent: usize,
        holder: String,
        id: AttemptId,
        command: Command,
    },
    Reply {
        agent: usize,
        holder: String,
        id: AttemptId,
        reply: Reply,
    },
    Heard {
        agent: usize,
    },
    Beat {
        agent: usize,
        campaign: CampaignId,
    },
    Fault,
}

pub struct World {
    now: u64,
    order: u64,
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    steps: Vec<Option<Step>>,
    dice: Dice,
    redis: Redis,
    snapshot: Data,
    agents: Vec<Agent>,
    /// Tokens of terms in the order in which they were begun.
    last_token: Token,
    pub terms: u64,
    pub faults: u64,
    healed: bool,
    /// When the store last lost data, and whether that was ever a FLUSHALL.
    lost_at: Option<u64>,
    /// When a term last began on an empty store.
    first_term_at: Option<u64>,
    flushed: bool,
    /// Token order when data loss meets a clock set back is a limit that the docs state.
    set_back: bool,
    data_lost: bool,
    pub story: String,
    pub violation: Option<String>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let uptime = Duration::from_secs([0, 100][dice.below(2) as usize]);
        let mut world = Self {
            now: 0,
            order: 0,
            queue: BinaryHeap::new(),
            steps: Vec::new(),
            dice,
            redis: Redis::new(uptime),
            snapshot: Data::default(),
            agents: Vec::new(),
            last_token: 0,
            terms: 0,
            faults: 0,
            healed: false,
            lost_at: None,
            first_term_at: None,
            flushed: false,
            set_back: false,
            data_lost: false,
            story: String::new(),
            violation: None,
        };
        for index in 0..AGENTS {
            let agent = world.newborn(index);
            world.agents.push(agent);
            world.plan(index);
            world.connect(index);
        }
        world.after(world.now + S, Step::Fault);
        world
    }

    /// Faults for `chaos` seconds, then none: a leader must be there in time. Returns what was violated.
    pub fn run(&mut self, chaos: u64) -> Option<String> {
        let heal_at = chaos * S;
        // The longest wait that one fault can start, twice over: a restart late in the first.
        let end = heal_at + 3 * TTL.as_nanos() as u64 + 5 * S;
        while let Some(Reverse((at, _, index))) = self.queue.pop() {
            if at > end || self.violation.is_some() {
                break;
            }
            if at >= heal_at && !self.healed {
                self.heal();
            }
            self.now = self.now.max(at);
            if let Some(step) = self.steps.get_mut(index).and_then(Option::take) {
                self.step(step);
            }
        }
        if self.violation.is_none()
            && !self
                .agents
                .iter()
                .any(|it| it.election.leadership().leads())
        {
            self.violation = Some("I7: nobody leads although nothing is wrong any more".into());
        }
        self.violation.clone()
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
                holder,
                id,
                command,
            } => self.arrive(agent, holder, id, &command),
            Step::Reply {
                agent,
                holder,
                id,
                reply,
            } => {
                if self.agents[agent].holder == holder {
                    let answered = reply.is_ok();
                    self.turn(agent, |election, now| election.handle_reply(id, reply, now));
                    // A reply that came too late is dropped, and the error stands.
                    let agent = &mut self.agents[agent];
                    if answered && agent.election.last_error().is_none() {
                        agent.seen.get_or_insert(self.now);
                    }
                }
            }
            Step::Heard { agent } => {
                if self.agents[agent].hears {
                    self.turn(agent, Election::handle_heard);
                }
            }
            Step::Beat { agent, campaign } => self.beat(agent, campaign),
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
    fn turn(&mut self, index: usize, handle: impl FnOnce(&mut Election, Instant)) {
        let now = self.host_time(index);
        handle(&mut self.agents[index].election, now);
        self.drain(index);
    }

    /// Carries out what the election wants, hands what it says to the miners, and plans the next wake-up.
    fn drain(&mut self, index: usize) {
        let now = self.host_time(index);
        while let Some(attempt) = self.agents[index].election.next_command(now) {
            let holder = self.agents[index].holder.clone();
            let (id, command) = (attempt.id, attempt.command);
            let deadline = self.true_time(index, attempt.deadline.as_nanos());
            let error = StoreError::timed_out("modelled");
            self.after(
                deadline,
                Step::Reply {
                    agent: index,
                    holder: holder.clone(),
                    id,
                    reply: Err(error),
                },
            );
            if self.now >= self.agents[index].cut_until || self.dice.chance(10) {
                let at = self.now + self.delay();
                self.after(
                    at,
                    Step::Arrive {
                        agent: index,
                        holder,
                        id,
                        command,
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
        if let Event::Elected { .. } = event {
            self.terms += 1;
        }
    }

    /// A fast network, most of the time; requests that arrive late, some of the time.
    fn delay(&mut self) -> u64 {
        match self.dice.below(100) {
            0..90 => self.dice.below(3 * MS),
            90..97 => self.dice.below(500 * MS),
            _ if self.healed => self.dice.below(3 * MS),
            _ => self.dice.below(6 * S),
        }
    }

    fn arrive(&mut self, index: usize, holder: String, id: AttemptId, command: &Command) {
        let caller = Caller {
            holder: &holder,
            ttl: TTL,
        };
        let before = self.redis.data.clone();
        let answer = self.redis.execute(&caller, command, self.now);
        if !matches!(command, Command::Look) {
            self.say(|| format!("redis: {holder} {command:?} → {:?}", answer.outcome));
        }
        if let understudy::election::Outcome::Begun(token) = answer.outcome {
            if token <= self.last_token && !(self.set_back && self.data_lost) {
                self.violation = Some(format!("I2: token {token} after {}", self.last_token));
            }
            self.last_token = token;
            if before.stored.is_none() {
                self.first_term_at = Some(self.now);
            }
        }
        if self.redis.data != before {
            for other in 0..self.agents.len() {
                if !self.dice.chance(10) {
                    let at = self.now + self.dice.below(2 * MS);
                    self.after(at, Step::Heard { agent: other });
                }
            }
        }
        let lost = !self.healed && (self.dice.chance(3) || self.now < self.agents[index].cut_until);
        if !lost {
            let at = self.now + self.delay();
            self.after(
                at,
                Step::Reply {
                    agent: index,
                    holder,
                    id,
                    reply: Ok(answer),
                },
            );
        }
    }

    // === miners

    /// What the agent says reaches its miner at once. This is where two leaders would show.
    fn tell(&mut self, index: usize) {
        let now = self.host_time(index);
        let agent = &mut self.agents[index];
        let (current, leadership) = (
            agent.election.campaign(),
            agent.election.leadership().at(now),
        );
        let Some(miner) = agent
            .miners
            .iter_mut()
            .find(|miner| miner.connected && Some(miner.campaign) == current)
        else {
            return;
        };
        miner.version = leadership.version;
        let (Role::Leader, Some(token), Some(until)) =
            (leadership.role, leadership.token, leadership.valid_until)
        else {
            // Nothing that it had begun still acts, once it has read this.
            if self.now >= miner.paused_until {
                miner.valid_until = 0;
            }
            return;
        };
        if (miner.token, miner.valid_until) == (token, until.as_nanos()) {
            return;
        }
        (miner.token, miner.valid_until) = (token, until.as_nanos());
        for (other, agent) in self.agents.iter().enumerate() {
            let clock = host_clock(agent.fast, self.now);
            for miner in &agent.miners {
                let same = other == index && Some(miner.campaign) == current;
                if !same && clock < miner.valid_until {
                    let two = format!(
                        "I1: agent {index} grants {token} while a miner of agent {other} may act on {}",
                        miner.token
                    );
                    self.violation = Some(two);
                }
            }
        }
    }

    fn beat(&mut self, index: usize, campaign: CampaignId) {
        let now = self.now;
        let Some(miner) = self.agents[index]
            .miners
            .iter_mut()
            .find(|it| it.campaign == campaign && it.connected)
        else {
            return;
        };
        let next = now.max(miner.paused_until) + TTL.as_nanos() as u64 / 9;
        let version = miner.version;
        if now >= miner.paused_until {
            let acknowledged = Some(version);
            self.turn(index, |election, now| {
                election.handle_heartbeat(campaign, acknowledged, now)
            });
        }
        self.after(
            next,
            Step::Beat {
                agent: index,
                campaign,
            },
        );
    }

    fn connect(&mut self, index: usize) {
        let now = self.host_time(index);
        let Ok(campaign) = self.agents[index].election.handle_campaign(now) else {
            return;
        };
        self.say(|| format!("agent {index}: {campaign:?} connects"));
        self.agents[index].miners.push(Miner {
            campaign,
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
            },
        );
        self.drain(index);
    }

    /// The stream of the present miner ends: with the miner, or only the connection, so that an orphan
    /// acts on until its grant runs out.
    fn disconnect(&mut self, index: usize, by: EndedBy) {
        let Some(campaign) = self.agents[index].election.campaign() else {
            return;
        };
        self.say(|| format!("agent {index}: {campaign:?} ends, by {by:?}"));
        for miner in self.agents[index]
            .miners
            .iter_mut()
            .filter(|it| it.campaign == campaign)
        {
            miner.connected = false;
            if by == EndedBy::Miner {
                miner.valid_until = 0;
            }
        }
        self.turn(index, |election, now| {
            election.handle_campaign_end(campaign, by, now)
        });
    }

    // === faults

    fn fault(&mut self) {
        self.faults += 1;
        let index = self.dice.below(AGENTS as u64) as usize;
        let long = self.dice.below(3 * TTL.as_nanos() as u64);
        match self.dice.below(16) {
            0 => self.disconnect(index, EndedBy::Miner),
            1 => self.disconnect(index, EndedBy::Agent),
            2 | 3 => self.connect(index),
            4 => {
                self.say(|| format!("miner of agent {index} paused"));
                let until = self.now + long;
                if let Some(miner) = self.agents[index].miners.last_mut() {
                    miner.paused_until = until;
                }
            }
            5 => {
                self.say(|| format!("agent {index} paused"));
                self.agents[index].paused_until = self.now + long;
            }
            // A newborn just after a FLUSHALL is a limit that the docs state.
            6 if self.flushed && self.lost_within(4 * S) => {}
            6 => {
                self.say(|| format!("agent {index} killed"));
                let mut agent = self.newborn(index);
                // Its miners act on until their grants run out.
                std::mem::swap(&mut agent.miners, &mut self.agents[index].miners);
                agent
                    .miners
                    .iter_mut()
                    .for_each(|miner| miner.connected = false);
                agent.fast = self.agents[index].fast;
                self.agents[index] = agent;
                self.drain(index);
                self.connect(index);
            }
            7 | 8 => {
                self.say(|| format!("agent {index} cut off"));
                self.agents[index].cut_until = self.now + long;
            }
            9 => {
                let hears = !self.agents[index].hears;
                self.say(|| format!("agent {index} hears: {hears}"));
                self.agents[index].hears = hears;
                self.turn(index, |election, now| election.handle_hearing(hears, now));
            }
            10 => {
                let jump = self.dice.below(120_000_000) as i64 - 60_000_000;
                // A clock that jumps while the store is newly empty is a limit that the docs state.
                let settled = self
                    .redis
                    .clock(self.now)
                    .saturating_sub(self.redis.started)
                    > 20_000_000;
                if settled && self.redis.data.stored.is_some() {
                    self.say(|| format!("redis' clock jumps {jump} µs"));
                    self.redis.ahead += jump;
                    self.set_back |= jump < 0;
                }
            }
            11 => {
                self.say(|| "redis restarts empty".into());
                self.lose();
                self.redis.restart(self.now, Data::default());
                self.reconnect();
            }
            12 => {
                self.say(|| "redis restarts from a snapshot".into());
                self.lose();
                let data = self.snapshot.clone();
                self.redis.restart(self.now, data);
                self.reconnect();
            }
            13 => {
                self.snapshot = self.redis.data.clone();
            }
            14 => self.flush(),
            _ => {
                let _ = self.agents[index].election.leadership().leads().then(|| {
                    self.turn(index, |election, now| {
                        let _ = election.handle_resign(Duration::from_millis(500), now);
                    });
                });
            }
        }
    }

    /// FLUSHALL, where the docs do not state a limit: no newborn, not twice in a row, and not so soon after a
    /// first term that both may fall between two looks.
    fn flush(&mut self) {
        let seasoned = |agent: &Agent| agent.seen.is_some_and(|seen| self.now > seen + 4 * S);
        let first_term = self.first_term_at.is_some_and(|at| self.now < at + SIGHT);
        if !first_term && !self.lost_within(20 * S) && self.agents.iter().all(seasoned) {
            self.say(|| "FLUSHALL".into());
            self.flushed = true;
            self.lose();
            self.redis.data = Data::default();
        }
    }

    fn lose(&mut self) {
        self.data_lost = true;
        self.lost_at = Some(self.now);
    }

    fn lost_within(&self, time: u64) -> bool {
        self.lost_at.is_some_and(|at| self.now < at + time)
    }

    fn reconnect(&mut self) {
        for index in 0..AGENTS {
            if self.agents[index].hears && self.now >= self.agents[index].paused_until {
                self.turn(index, |election, now| election.handle_hearing(false, now));
                self.turn(index, |election, now| election.handle_hearing(true, now));
            }
        }
    }

    fn heal(&mut self) {
        self.healed = true;
        self.say(|| "everything is healed".into());
        for index in 0..AGENTS {
            self.agents[index].cut_until = 0;
            self.agents[index].paused_until = 0;
            for miner in &mut self.agents[index].miners {
                miner.paused_until = 0;
            }
            if self.agents[index].election.campaign().is_none() {
                self.connect(index);
            }
            self.plan(index);
        }
    }

    // === time

    fn newborn(&mut self, index: usize) -> Agent {
        let seed = self.dice.roll();
        let holder = format!("a{index}-{:08x}", seed as u32);
        let third = TTL / 3;
        let rules = LeaseRules::new(TTL, third, third, Duration::from_secs(1)).expect("safe rules");
        Agent {
            election: Election::new(Settings {
                holder: holder.clone(),
                rules,
                liveness: Liveness::Campaign,
                under_oom: true,
                allow_eviction: false,
                seed,
            }),
            holder,
            // Two clocks that differ by up to 1 %.
            fast: self.dice.below(10_001) as i64 - 5000,
            paused_until: 0,
            cut_until: 0,
            hears: self.dice.chance(80),
            miners: Vec::new(),
            wake: 0,
            seen: None,
        }
    }

    fn plan(&mut self, index: usize) {
        let now = self.host_time(index);
        let at = self.agents[index].election.poll_timeout(now).as_nanos();
        let at = self.true_time(index, at.min(now.as_nanos() + 10 * S));
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
    fn after(&mut self, at: u64, step: Step) {
        let paused = match &step {
            Step::Wake { agent, .. }
            | Step::Reply { agent, .. }
            | Step::Heard { agent }
            | Step::Beat { agent, .. } => self
                .agents
                .get(*agent)
                .map_or(0, |agent| agent.paused_until),
            Step::Arrive { .. } | Step::Fault => 0,
        };
        let order = self.order;
        self.order += 1;
        self.steps.push(Some(step));
        self.queue
            .push(Reverse((at.max(paused), order, self.steps.len() - 1)));
    }

    fn host_time(&self, index: usize) -> Instant {
        Instant::from_nanos(host_clock(self.agents[index].fast, self.now))
    }

    /// The first moment of true time at which the host's clock shows `host`.
    fn true_time(&self, index: usize, host: u64) -> u64 {
        let rate = 1_000_000 + self.agents[index].fast;
        let host = host.saturating_sub(HOST_EPOCH);
        (u128::from(host) * 1_000_000 / rate as u128) as u64 + 1
    }

    fn say(&mut self, what: impl FnOnce() -> String) {
        let _ = writeln!(self.story, "{:>9.3} s  {}", self.now as f64 / 1e9, what());
    }
}

/// A host has been up for a while when the run begins.
const HOST_EPOCH: u64 = 1_000_000 * S;

fn host_clock(fast: i64, now: u64) -> u64 {
    let rate = (1_000_000 + fast) as u128;
    HOST_EPOCH + (u128::from(now) * rate / 1_000_000) as u64
}
