//! Agents with their miners around one modelled Redis. Time is true time in nanoseconds.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use understudy::election::{Announcement, Election, EndedBy, Liveness};

use super::agenda::{Agenda, Step};
use super::agents::Agent;
use super::checks::Checks;
use super::clock::{MS, S};
use super::dice::Dice;
use super::go_miners::GoMiner;
use super::limit::Limit;
use super::redis::{Data, Memory, Redis};
use super::safeguard::Safeguard;
use super::scene::Scene;
use super::voices::Voices;

pub struct World {
    pub scene: Scene,
    pub now: u64,
    agenda: Agenda,
    pub dice: Dice,
    pub redis: Redis,
    pub snapshot: Data,
    pub replica: Data,
    pub voices: Voices,
    /// An operator makes another server the primary.
    pub watched: bool,
    pub agents: Vec<Agent>,
    pub go_miners: Vec<GoMiner>,
    pub processes: u64,
    pub checks: Checks,
    pub faults: BTreeMap<&'static str, u64>,
    pub healed: bool,
    pub healed_at: u64,
    /// When the last request from before the healing was carried out.
    pub calm_since: u64,
    /// When the store last lost data, and whether that ever happened without a restart.
    pub lost_at: Option<u64>,
    pub flushed: bool,
    /// When Redis last lost the lock before its time, with data or without.
    pub lock_lost_at: Option<u64>,
    pub refuses_until: u64,
    /// The number of messages ever published on the events channel.
    pub announced: u64,
    /// The last release that was announced.
    pub released: Option<Announcement>,
    /// Redis' clock is set back before each renewal until then.
    pub set_back_until: u64,
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
        let scene = Scene::drawn(seed, beyond);
        redis.grid = scene.clock_grid;
        let mut world = Self {
            scene,
            now: 0,
            agenda: Agenda::default(),
            dice,
            redis,
            snapshot: Data::default(),
            replica: Data::default(),
            voices: Voices::default(),
            watched: false,
            agents: Vec::new(),
            go_miners: Vec::new(),
            processes: 0,
            checks: Checks::default(),
            faults: BTreeMap::new(),
            healed: false,
            healed_at: 0,
            calm_since: 0,
            lost_at: None,
            flushed: false,
            lock_lost_at: None,
            refuses_until: 0,
            announced: 0,
            released: None,
            set_back_until: 0,
            offset: 0,
            without,
            beyond,
            story: String::new(),
        };
        world.checks.beyond = beyond.is_some();
        world.checks.set_back = world.scene.clock_grid > 1;
        world.watched = world.dice.chance(50);
        for index in 0..world.scene.agents() {
            let agent = world.newborn(index);
            world.agents.push(agent);
            world.plan(index);
            world.open(index);
            world.after(0, Step::ReadsMemory { agent: index });
            if world.scene.liveness[index] != Liveness::Campaign {
                world.after(0, Step::Poll { agent: index });
            }
        }
        world.after(S, Step::Fault);
        if let Some(stranger) = world.scene.stranger {
            world.after(S, Step::Stranger(stranger));
        }
        world
    }

    /// Faults for `chaos` seconds, then none: there must be a leader in time, and when its miner dies then,
    /// another at once. Returns the violation, if any.
    pub fn run(&mut self, chaos: u64) -> Option<String> {
        self.run_until(chaos * S);
        self.heal();
        // Wait until nothing was wrong for a TTL and two seconds; a late request extends this.
        let time = self.scene.wait() + 2 * S;
        while self.now < self.calm_since + time && self.checks.violation.is_none() {
            self.run_until(self.calm_since + time);
        }
        let leader = (0..self.agents.len()).find(|index| self.leads(*index));
        let Some(leader) = leader else {
            self.checks
                .violate("I7: nobody leads a TTL and two seconds after the last fault");
            return self.checks.violation.clone();
        };
        self.run_until(self.now + S);
        let time = self.time_to_hand_over(leader);
        // One in four names a successor, which may be gone; then the next leader comes a second later.
        let named = self.dice.chance(25).then(|| self.anyones_holder());
        let time = time + named.as_ref().map_or(0, |_| S);
        match self.scene.liveness[leader] {
            Liveness::Campaign => {
                if named.is_some() {
                    self.resign(leader, time, named);
                }
                self.disconnect(leader, EndedBy::Miner);
            }
            Liveness::Probe | Liveness::Always => self.resign(leader, time, named),
        }
        self.run_until(self.now + time);
        if self.successor_is_gone() {
            // The youngest member was of a process that had died: the others waited for it.
            self.run_until(self.now + S);
        }
        // If tokens may have gone back, an agent that knows a greater one does not believe a release.
        let believed = !self.checks.tokens_may_go_back();
        if believed && !(0..self.agents.len()).any(|index| index != leader && self.leads(index)) {
            self.checks
                .violate("I7: nobody leads 100 ms after the leader's miner died, or its last yes was waited out");
        }
        self.checks.violation.clone()
    }

    /// The lock was given back to one that no living agent is.
    fn successor_is_gone(&self) -> bool {
        let stored = self.redis.data.stored.as_ref();
        let record = stored.map(|it| &it.record).filter(|it| it.released);
        record.is_some_and(|it| {
            !it.successor.is_empty() && self.agents.iter().all(|agent| agent.holder != it.successor)
        })
    }

    /// The holder id of an agent, or of one that is gone.
    fn anyones_holder(&mut self) -> String {
        let index = self.dice.below(self.agents.len() as u64 + 1) as usize;
        let agent = self.agents.get(index);
        agent.map_or_else(|| "gone-00000000".into(), |it| it.holder.clone())
    }

    fn run_until(&mut self, end: u64) {
        while self.checks.violation.is_none()
            && let Some((at, step)) = self.agenda.next(end)
        {
            self.now = self.now.max(at);
            if let Some(until) = self.paused_until(&step) {
                self.agenda.add(until, step);
                continue;
            }
            self.step(step);
            self.check_leases();
        }
        self.now = self.now.max(end);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Wake { agent, number } => {
                if self.agents[agent].wake == number {
                    self.turn(agent, Election::handle_timeout);
                }
            }
            Step::Arrive(call) => self.arrive(&call),
            Step::Reply {
                agent,
                process,
                id,
                reply,
            } => {
                if self.agents[agent].process == process {
                    self.replied(agent, id, *reply);
                }
            }
            Step::Heard { agent, what } => self.heard(agent, what),
            Step::Stranger(stranger) => self.stranger(stranger),
            Step::Beat {
                agent,
                campaign,
                process,
            } => self.beat(agent, campaign, process),
            Step::StreamEnded {
                agent,
                process,
                campaign,
                by,
            } => {
                if self.agents[agent].process == process {
                    self.turn(agent, |election, now| {
                        election.handle_campaign_end(campaign, by, now);
                    });
                }
            }
            Step::Probe { agent, process } => self.probe(agent, process),
            Step::Probed {
                agent,
                process,
                sent_at,
            } => self.probed(agent, process, sent_at),
            Step::ReadsMemory { agent } => self.reads_memory(agent),
            Step::Poll { agent } => self.poll(agent),
            Step::Left {
                agent,
                process,
                campaign,
            } => self.left(agent, process, campaign),
            Step::Healed { agent } => self.recover(agent),
            Step::Write {
                agent,
                miner,
                token,
            } => self.write(agent, miner, token),
            Step::ClockRuns => self.clock_runs(),
            Step::GoMiner { number, step } => self.go_miner(number, step),
            Step::Stop { agent, process } => {
                if self.agents[agent].process == process && !self.healed {
                    self.told_to_stop(agent);
                }
            }
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

    /// Steps of a paused agent wait until it continues.
    fn paused_until(&self, step: &Step) -> Option<u64> {
        let agent = &self.agents[step.agent()?];
        Some(agent.paused_until).filter(|until| self.now < *until)
    }

    pub fn after(&mut self, at: u64, step: Step) {
        self.agenda.add(at, step);
    }

    /// No agent says that it leads when its lock may have run out in Redis.
    fn check_leases(&mut self) {
        for index in 0..self.agents.len() {
            let agent = &self.agents[index];
            if self.now >= agent.paused_until && self.leads(index) {
                let (holder, now) = (agent.holder.clone(), self.now);
                self.checks.says_leader(&holder, now);
            }
        }
    }

    /// No more faults from now on.
    fn heal(&mut self) {
        self.healed = true;
        self.healed_at = self.now;
        self.calm_since = self.now;
        self.redis.memory = Memory::Enough;
        self.redis.refuses = None;
        self.set_back_until = 0;
        self.clock_runs();
        self.redis.grid = 1;
        self.settle_voices();
        self.migrated();
        self.say(|| "everything is healed".into());
        for index in 0..self.agents.len() {
            self.agents[index].cut_until = 0;
            self.agents[index].hears = true;
            self.agents[index].poller.sick_until = 0;
            // Stopped agents continue at their own time.
            let stopped = self.agents[index]
                .miners
                .iter()
                .map(|miner| miner.paused_until);
            let stopped = stopped
                .max()
                .unwrap_or_default()
                .max(self.agents[index].paused_until);
            self.calm_since = self.calm_since.max(stopped);
            self.after(self.now, Step::Healed { agent: index });
        }
    }

    fn recover(&mut self, index: usize) {
        self.turn(index, |election, now| election.handle_hearing(true, now));
        let campaigns = self.agents[index].election.campaign().is_some();
        if !campaigns {
            self.connect(index);
        }
    }

    pub fn say(&mut self, what: impl FnOnce() -> String) {
        let _ = writeln!(self.story, "{:>9.3} s  {}", self.now as f64 / 1e9, what());
    }
}
