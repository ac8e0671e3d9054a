//! Between the agents and Redis: requests that come late or not at all, replies that are lost, events.

use understudy::election::{Attempt, AttemptId, Command, Outcome, Reason, Reply};
use understudy::fault::StoreError;

use super::agenda::{Call, Step};
use super::carried_out;
use super::clock::{MS, S};
use super::scene::nanos;
use super::world::World;

impl World {
    /// Sends an election's command; at its deadline the election learns that no reply has come.
    pub fn send(&mut self, index: usize, attempt: Attempt) {
        let agent = &self.agents[index];
        let deadline = agent.clock.true_time(attempt.deadline);
        let mut call = Call {
            agent: index,
            process: agent.process,
            holder: agent.holder.clone(),
            ttl: agent.ttl,
            id: attempt.id,
            command: attempt.command,
            sent: self.now,
            to: 0,
        };
        self.answer(deadline, &call, Err(StoreError::timed_out("modelled")));
        let located = self.located();
        let reaches = self.now >= self.agents[index].cut_until || self.dice.chance(10);
        if let Some(to) = located.filter(|_| reaches) {
            call.to = to;
            self.without_announcements(&mut call.command);
            // Sent on a connection that was closed, and again on a new one: both may arrive, in any order.
            if !self.healed && self.dice.chance(3) {
                let mut again = call.clone();
                number_anew(&mut again.command);
                let at = self.now + self.delay();
                self.after(at, Step::Arrive(Box::new(again)));
            }
            let at = self.now + self.delay();
            self.after(at, Step::Arrive(Box::new(call)));
        }
    }

    fn answer(&mut self, at: u64, call: &Call, reply: Reply) {
        self.after(
            at,
            Step::Reply {
                agent: call.agent,
                process: call.process,
                id: call.id,
                reply: Box::new(reply),
            },
        );
    }

    /// A fast network, most of the time; requests that arrive late, some of the time.
    pub fn delay(&mut self) -> u64 {
        match self.dice.below(100) {
            _ if self.healed => self.dice.below(3 * MS),
            0..90 => self.dice.below(3 * MS),
            90..97 => self.dice.below(500 * MS),
            _ => self.dice.below(6 * S),
        }
    }

    /// A request arrives at the server that it was sent to.
    pub fn arrive(&mut self, call: &Call) {
        let arrived = self.on_primary(call.to, |world| world.carry_out(call));
        if arrived.is_none() && self.healed {
            // Its sender learns of it when it times out.
            self.calm_since = self.calm_since.max(self.now + S);
        }
        if arrived == Some(true) && self.healed && call.sent < self.healed_at {
            self.calm_since = self.calm_since.max(self.now);
        }
    }

    /// Returns whether it changed anything.
    fn carry_out(&mut self, call: &Call) -> bool {
        let (holder, command) = (call.holder.as_str(), &call.command);
        let ttl = call.ttl;
        self.set_back(command);
        self.redis.expire(self.now);
        if self.now >= self.refuses_until {
            self.redis.refuses = None;
        }
        let before = self.redis.data.clone();
        let mut reply = self.redis.execute(command, self.now);
        let outcome = reply.as_ref().map(|answer| answer.outcome).ok();
        if !matches!(command, Command::Look { .. }) {
            self.say(|| format!("redis: {holder} {command:?} → {outcome:?}"));
        }
        let clock = self.redis.clock(self.now);
        let data = (&before, &self.redis.data);
        if let Some(broken) = carried_out::broke(holder, command, outcome, clock, data) {
            self.checks.violate(&broken);
        }
        if let Some(Outcome::Begun(token)) = outcome {
            self.checks.begun(token, before.stored.is_none(), self.now);
        }
        if matches!(outcome, Some(Outcome::Begun(_) | Outcome::Renewed)) {
            self.checks.held(holder, self.now + nanos(ttl));
        }
        if outcome == Some(Outcome::Released) {
            self.released_after_last_yes(call.agent, holder);
            if self.healed && !self.redis.believes_record() {
                // A release of a term from before data loss: agents do not believe it, and wait out the change.
                self.calm_since = self.now;
            }
        }
        let changed = self.redis.data != before;
        if changed {
            let what = outcome.and_then(|it| self.redis.announcement(holder, command, it));
            if outcome == Some(Outcome::Released) {
                self.released.clone_from(&what);
            }
            self.publish(what);
            if self.dice.chance(30) {
                self.evicts();
            }
        }
        self.believe_announcements(&mut reply);
        let cut = self.now < self.agents[call.agent].cut_until;
        let lost = !self.healed && (self.dice.chance(3) || cut);
        if !lost {
            let at = self.now + self.delay();
            self.answer(at, call, reply);
        }
        changed
    }

    /// Rarely: longer than nobody may lead for.
    pub fn reads_memory(&mut self, index: usize) {
        if self.now >= self.agents[index].cut_until {
            let evicting = self.redis.evicting();
            self.turn(index, |election, now| election.handle_memory(evicting, now));
        }
        self.after(self.now + 30 * S, Step::ReadsMemory { agent: index });
    }

    pub fn replied(&mut self, index: usize, id: AttemptId, reply: Reply) {
        let fault = reply.as_ref().err().map(|error| Reason::from(error.fault));
        self.turn(index, |election, now| election.handle_reply(id, reply, now));
        let now = self.host_time(index);
        // A reply that comes too late is dropped, and the earlier state stays.
        let agent = &mut self.agents[index];
        let error = agent.election.last_error();
        if fault.is_none() && error.is_none() {
            agent.seen.get_or_insert(self.now);
        }
        let told = agent.election.leadership().at(now);
        let error = error.map(|error| Reason::from(error.fault));
        self.checks.reason(&told, error.filter(|_| error == fault));
    }
}

/// Each send has a number of its own.
fn number_anew(command: &mut Command) {
    match command {
        Command::Begin { by, .. } | Command::Renew { by, .. } | Command::Release { by, .. } => {
            by.stamp.attempt += AGAIN
        }
        Command::Look { .. } => {}
    }
}

/// Higher than any process counts.
const AGAIN: u64 = 1 << 32;
