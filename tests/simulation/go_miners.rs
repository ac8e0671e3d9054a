//! Go miners with their built-in elector: a lock without a record, a bool without a deadline. Once per heartbeat
//! such a miner takes the lock if there is none, or extends its own, and any error ends its leadership. Two of its limits
//! are stated: it takes a lock that Redis lost at once, even if it does not know of another primary; and after it was
//! stopped, it acts past its TTL.

use understudy::election::Token;

use super::agenda::Step;
use super::clock::{MS, S};
use super::limit::Limit;
use super::redis::Memory;
use super::scene::TTL;
use super::world::World;

const HEARTBEAT: u64 = TTL.as_nanos() as u64 / 3;
/// How long its library waits for an answer, with all tries: 12 s for a TTL of 30 s.
const GIVES_UP: u64 = TTL.as_nanos() as u64 * 2 / 5;

#[derive(Debug, Default)]
pub struct GoMiner {
    id: String,
    /// The bool that it checks before it acts.
    leads: bool,
    /// The call that it waits for. Answers to earlier calls are dropped.
    call: u64,
    called_at: u64,
    paused_until: u64,
    cut_until: u64,
    gone: bool,
}

/// A step of a Go miner, or an answer to it.
#[derive(Debug, Clone, Copy)]
pub enum GoStep {
    Heartbeat,
    /// A script runs: one that extends the lock, or one that takes it.
    Runs {
        call: u64,
        extends: bool,
    },
    Answered {
        call: u64,
        leads: bool,
    },
}

impl World {
    /// Go miners come and go if the fleet has any.
    pub fn go_miner_fault(&mut self, until: u64) -> Option<&'static str> {
        let running: Vec<_> = (0..self.go_miners.len())
            .filter(|it| !self.go_miners[*it].gone)
            .collect();
        if running.is_empty() || running.len() == 1 && self.dice.chance(30) {
            let number = self.go_miners.len();
            self.go_miners.push(GoMiner {
                id: format!("go-{number}"),
                ..GoMiner::default()
            });
            self.go(self.now, number, GoStep::Heartbeat);
            return Some("Go miner starts");
        }
        let number = self.dice.pick(&running);
        let what = match self.dice.below(4) {
            0 => "Go miner stopped",
            1 => "Go miner cut off from Redis",
            2 => "Go miner killed",
            _ => "Go miner shut down",
        };
        let it = &mut self.go_miners[number];
        match what {
            "Go miner stopped" => it.paused_until = until.max(it.paused_until),
            "Go miner cut off from Redis" => it.cut_until = until,
            "Go miner killed" => it.end(),
            _ => {
                it.end();
                let own = |lock: &mut (String, u64)| lock.0 == it.id;
                self.redis.data.lock.take_if(own);
            }
        }
        self.say(|| format!("go-{number}: {what}"));
        Some(what)
    }

    fn go(&mut self, at: u64, number: usize, step: GoStep) {
        self.after(at, Step::GoMiner { number, step });
    }

    pub fn go_miner(&mut self, number: usize, step: GoStep) {
        let it = &mut self.go_miners[number];
        if it.gone {
            return;
        }
        let runs = !matches!(step, GoStep::Runs { .. });
        if runs && self.now < it.paused_until {
            let until = it.paused_until;
            return self.go(until, number, step);
        }
        match step {
            GoStep::Heartbeat => self.go_calls(number),
            GoStep::Runs { call, extends } => self.go_script(number, call, extends),
            GoStep::Answered { call, leads } if call == it.call => self.go_answered(number, leads),
            GoStep::Answered { .. } => {}
        }
    }

    fn go_calls(&mut self, number: usize) {
        let delay = self.delay();
        let it = &mut self.go_miners[number];
        it.call += 1;
        it.called_at = self.now;
        let (call, extends) = (it.call, it.leads);
        if self.now >= it.cut_until {
            self.go(self.now + delay, number, GoStep::Runs { call, extends });
        }
        let leads = false;
        let at = self.now + GIVES_UP;
        self.go(at, number, GoStep::Answered { call, leads });
    }

    fn go_script(&mut self, number: usize, call: u64, extends: bool) {
        self.redis.expire(self.now);
        let expires = self.redis.clock(self.now) + TTL.as_micros() as u64;
        let refused = self.redis.refuses.is_some() && self.now < self.refuses_until;
        let full = self.redis.memory == Memory::Full;
        let id = self.go_miners[number].id.clone();
        let lock = &mut self.redis.data.lock;
        let leads = match lock {
            _ if refused => false,
            None if !extends && !full => {
                *lock = Some((id, expires));
                true
            }
            Some(lock) if extends && lock.0 == id => {
                lock.1 = expires;
                true
            }
            _ => false,
        };
        if self.now >= self.go_miners[number].cut_until {
            let at = self.now + self.delay();
            self.go(at, number, GoStep::Answered { call, leads });
        }
    }

    fn go_answered(&mut self, number: usize, leads: bool) {
        let it = &mut self.go_miners[number];
        let began = leads && !it.leads;
        it.leads = leads;
        it.call += 1;
        // Like a ticker: an overdue heartbeat comes at once.
        let next = self.now.max(it.called_at + HEARTBEAT);
        self.go(next, number, GoStep::Heartbeat);
        if began {
            self.say(|| format!("go-{number} leads"));
            *self.faults.entry("Go miner leads").or_default() += 1;
            let others = self.who_may_act();
            if let Some((agent, _, token)) = others.first()
                && !self.go_limit(number)
            {
                self.checks.violate(&format!(
                    "I1: go-{number} leads while a miner of agent {agent} may act on {token}"
                ));
            }
        }
    }

    /// I1: an agent grants while a Go miner leads.
    pub fn no_go_miner_leads(&mut self, index: usize, token: Token) {
        let mut numbers = 0..self.go_miners.len();
        let leads = numbers.find(|it| self.go_miners[*it].leads && !self.go_limit(*it));
        if let Some(number) = leads {
            self.checks.violate(&format!(
                "I1: agent {index} grants {token} while go-{number} leads"
            ));
        }
    }

    /// Whether a stated limit may be why this one leads beside another.
    fn go_limit(&self, number: usize) -> bool {
        if self.beyond == Some(Limit::GoMiners) {
            return false;
        }
        let lost = self.lock_lost_at.map_or(0, |at| at + self.scene.wait() + S);
        let stopped = self.go_miners[number].paused_until;
        let until = match stopped {
            0 => lost,
            stopped => lost.max(stopped + HEARTBEAT + GIVES_UP + 10 * MS),
        };
        self.now < until || self.voices.disagree()
    }

    /// The last Go miner is gone, and every miner has its agent.
    pub fn migrated(&mut self) {
        for it in &mut self.go_miners {
            it.end();
        }
        let go = |lock: &mut (String, u64)| lock.0.starts_with("go-");
        self.redis.data.lock.take_if(go);
    }
}

impl GoMiner {
    fn end(&mut self) {
        self.gone = true;
        self.leads = false;
    }
}
