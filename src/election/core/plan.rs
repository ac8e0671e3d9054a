//! What the election wants next, derived from its state and the time.

use super::super::command::{Attempt, Claimant, Command, Stamp};
use super::super::leadership::Reason;
use super::super::view::{RecordSeen, Token};
use super::super::watch::Judgement;
use super::hand_over::HandOver;
use super::{Election, Phase};
use crate::time::Instant;

/// What to do next.
enum Plan {
    Send(Command),
    Wait(Instant),
}

impl Election {
    /// The next command to send, if one is due. At most one is in flight.
    pub fn next_command(&mut self, now: Instant) -> Option<Attempt> {
        if self.in_flight.is_some() {
            return None;
        }
        let Plan::Send(command) = self.plan(now) else {
            return None;
        };
        let record = self.watch.as_ref().map(|watch| &watch.view.record);
        let relaxed = self.hearing.stands && record.is_some_and(|it| *it != RecordSeen::Missing);
        self.look_due = now + self.settings.rules.look_every(relaxed);
        self.hearing.heard = None;
        self.members.told = self.is_ready(now);
        self.attempts.0 += 1;
        let attempt = Attempt {
            id: self.attempts,
            deadline: self.deadline(now),
            command,
            sent_at: now,
        };
        self.in_flight = Some(attempt.clone());
        Some(attempt)
    }

    /// When [`Self::handle_timeout`] should be called next, if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Instant {
        let plan = match self.plan(now) {
            _ if self.in_flight.is_some() => Instant::NEVER,
            Plan::Send(_) => now,
            Plan::Wait(until) => until,
        };
        let silence = self.miner.as_ref().map(|miner| self.silent_from(miner));
        let lock_end = self.lock_end();
        let term_end = match self.phase {
            Phase::Leading { term, .. } => Some(term.lease_until),
            Phase::Ending { term, .. } => Some(self.settings.rules.release_until(term.lease_until)),
            Phase::Following => None,
        };
        [
            Some(plan),
            term_end,
            silence,
            lock_end,
            Some(self.hold_off_until),
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > now || *at == plan)
        .min()
        .unwrap_or(Instant::NEVER)
    }

    fn plan(&self, now: Instant) -> Plan {
        if now < self.pause_until {
            return Plan::Wait(self.pause_until);
        }
        match self.phase {
            Phase::Leading {
                term, renew_due, ..
            } if now >= renew_due => Plan::Send(self.renew(term.token, None, now)),
            Phase::Leading { renew_due, .. } => Plan::Wait(renew_due),
            Phase::Ending {
                term,
                ref hand_over,
                ..
            } => self.plan_release(term.token, hand_over, now),
            Phase::Following => self.plan_following(now),
        }
    }

    fn renew(&self, token: Token, kept: Option<String>, now: Instant) -> Command {
        Command::Renew {
            by: self.claimant(),
            token,
            kept,
            not_after: self.not_after(self.deadline(now)),
            entry: self.entry(now),
        }
    }

    fn plan_release(&self, token: Token, hand_over: &HandOver, now: Instant) -> Plan {
        match self.acting_until() {
            until if now < until => Plan::Wait(until),
            _ => Plan::Send(Command::Release {
                by: self.claimant(),
                token,
                not_after: self.not_after(self.deadline(now)),
                hold_off: hand_over.hold_off,
                successor: hand_over.successor.clone(),
            }),
        }
    }

    fn plan_following(&self, now: Instant) -> Plan {
        let until = match self.judge(now) {
            Judgement::Begin { stale_lock } => {
                if let Some(watch) = &self.watch {
                    return Plan::Send(self.begin(&watch.view.judged, stale_lock, now));
                }
                now
            }
            Judgement::Wait { until, .. } => until,
        };
        if let Some(token) = self.own_token(now) {
            // From before a restart: kept until a term may be begun by it.
            match self.keep_due(now) {
                Some(due) if now < due => return Plan::Wait(due),
                // No lease says that nobody else has led since: if lock or record were lost, they stay lost.
                Some(_) => {
                    let kept = self.watch.as_ref().map(|it| it.view.judged.clone());
                    return Plan::Send(self.renew(token, kept, now));
                }
                None => {}
            }
            // Neither led by nor wanted: a begin whose reply was lost.
            if !self.wants_to_lead(now) {
                return self.plan_release(token, &HandOver::TO_ANYONE, now);
            }
        }
        let heard = self.hearing.heard.as_ref().map(|it| it.due);
        let look = if until <= now {
            now
        } else {
            self.look_due.min(until).min(heard.unwrap_or(until))
        };
        if self.stopping && !self.stray {
            Plan::Wait(Instant::NEVER)
        } else if self.stopping || now >= look {
            let entry = || self.entry(now);
            let begin = self.begin_as_told(now);
            Plan::Send(begin.unwrap_or_else(|| Command::Look { entry: entry() }))
        } else {
            Plan::Wait(look)
        }
    }

    /// In place of a look: begin on what a release tells.
    fn begin_as_told(&self, now: Instant) -> Option<Command> {
        let told = self.hearing.heard.as_ref()?.what.as_ref()?.basis.as_ref()?;
        let watch = self.watch.as_ref()?;
        let may = self.hindrance(now).is_none() && watch.may_begin_on(told, &self.asker());
        may.then(|| self.begin(&told.judged, false, now))
    }

    fn begin(&self, judged: &str, stale_lock: bool, now: Instant) -> Command {
        Command::Begin {
            by: self.claimant(),
            judged: judged.to_owned(),
            stale_lock,
            above: self.highest,
            not_after: self.not_after(self.deadline(now)),
            under_oom: self.settings.under_oom,
            allow_eviction: self.settings.allow_eviction,
            entry: self.entry(now),
        }
    }

    /// When a lock of our own must be renewed so that it does not run out before what was granted by it
    /// before a restart does. Once is enough where the timeouts have not changed: a grant is shorter than
    /// a lock.
    fn keep_due(&self, now: Instant) -> Option<Instant> {
        let (rules, until) = (&self.settings.rules, self.settings.remembered.acting_until);
        let end = self.lock_end().filter(|end| now < until && *end < until)?;
        Some(end - rules.ttl() + rules.renew_every())
    }

    /// When the lock that was last seen runs out if nobody renews it.
    fn lock_end(&self) -> Option<Instant> {
        let watch = self.watch.as_ref()?;
        Some(watch.lock_end(watch.view.lock.as_ref()?))
    }

    /// May a term be begun now? The agent's own reasons first, then the store's.
    pub(super) fn judge(&self, now: Instant) -> Judgement {
        if let Some((reason, until)) = self.hindrance(now) {
            return Judgement::Wait { reason, until };
        }
        match &self.watch {
            Some(watch) => watch.judge(&self.asker(), now),
            None => Judgement::Wait {
                reason: Reason::Starting,
                until: Instant::NEVER,
            },
        }
    }

    /// What keeps this agent from beginning any term, and until when, if nothing changes.
    fn hindrance(&self, now: Instant) -> Option<(Reason, Instant)> {
        if self.stopping {
            return Some((Reason::Draining, Instant::NEVER));
        }
        if let Err(reason) = self.candidate(now) {
            return Some((reason, Instant::NEVER));
        }
        if now < self.hold_off_until {
            return Some((Reason::HoldOff, self.hold_off_until));
        }
        if now < self.acting_until() {
            // Another miner of this agent may still act on its last grant.
            return Some((Reason::WaitingOutLease, self.acting_until()));
        }
        let refused = now < self.evicts_until;
        refused.then_some((Reason::EvictionPolicy, self.evicts_until))
    }

    /// Of the next attempt.
    fn claimant(&self) -> Claimant {
        Claimant {
            holder: self.settings.holder.clone(),
            ttl: self.settings.rules.ttl(),
            stamp: Stamp {
                process: self.settings.nonce,
                attempt: self.attempts.0 + 1,
            },
        }
    }

    /// When a command that is sent now is given up: a renewal never outlives the lease, nor a begin
    /// the lease that it would win.
    fn deadline(&self, now: Instant) -> Instant {
        let deadline = now + self.settings.rules.redis_timeout();
        match self.phase {
            Phase::Leading { term, .. } => deadline.min(term.lease_until),
            Phase::Following => deadline.min(self.settings.rules.lease_end(now)),
            Phase::Ending { .. } => deadline,
        }
    }

    /// `deadline` on the store's clock. That clock showed `micros` at or before `seen_at`, so the
    /// result is at or before the deadline as long as it does not jump.
    fn not_after(&self, deadline: Instant) -> u64 {
        self.store_clock.map_or(0, |(micros, seen_at)| {
            let ahead = deadline.since(seen_at).as_micros();
            micros.saturating_add(u64::try_from(ahead).unwrap_or(u64::MAX))
        })
    }
}
