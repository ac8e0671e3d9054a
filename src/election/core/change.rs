//! How the election changes: by time, by answers, by failures.

use std::time::Duration;

use super::super::command::{Answer, Attempt, Command, Outcome, Refusal};
use super::super::event::Event;
use super::super::leadership::Reason;
use super::super::miner::Liveness;
use super::super::view::{RecordSeen, Token, View};
use super::super::watch::Watch;
use super::hand_over::HandOver;
use super::{Election, Phase, Term};
use crate::fault::StoreError;
use crate::health::MemoryReading;
use crate::time::Instant;

impl Election {
    /// What the passing of time alone does. Runs before anything else is handled.
    pub(super) fn elapse(&mut self, now: Instant) {
        match self.phase {
            Phase::Leading { campaign, .. } => {
                let lapsed = now >= self.leadership.role_until;
                if lapsed && self.leadership.lapse().1 == Reason::LeaseExpired {
                    self.lose(Reason::LeaseExpired, now);
                } else {
                    match self.candidate(now) {
                        // A pod that is stopped stops its miner first, or both at once.
                        Err(reason) => self.end_term(reason, HandOver::TO_THE_YOUNGEST, now),
                        Ok(candidate) if candidate != campaign => {
                            self.end_term(Reason::NoMiner, HandOver::TO_ANYONE, now);
                        }
                        Ok(_) => {}
                    }
                }
            }
            Phase::Ending {
                term,
                ref hand_over,
                ..
            } if now >= self.settings.rules.release_until(term.lease_until) => {
                let hold_off = hand_over.hold_off;
                self.events
                    .push_back(Event::NotReleased { token: term.token });
                self.follow(hold_off, now);
            }
            Phase::Ending { .. } | Phase::Following => {}
        }
    }

    pub(super) fn answered(&mut self, attempt: &Attempt, answer: Answer, now: Instant) {
        self.error = None;
        if answer.outcome != TOO_LATE {
            self.retries = 0;
        }
        let wrote = matches!(
            answer.outcome,
            Outcome::Begun(_) | Outcome::Renewed | Outcome::Released
        );
        self.see(answer.view, wrote, now);
        match (&attempt.command, answer.outcome) {
            (Command::Begin { .. }, Outcome::Begun(token)) => self.begun(attempt, token, now),
            (Command::Begin { .. }, Outcome::Refused(Refusal::Evicting)) => {
                self.evicts_until = self.look_due;
            }
            (Command::Renew { .. }, Outcome::Renewed) => self.renewed(attempt),
            (Command::Release { token, .. }, outcome) if outcome != TOO_LATE => {
                // A retry after a lost reply finds its own work done, and perhaps the next term begun on it.
                let released = outcome == Outcome::Released || self.is_over(*token);
                self.released(*token, released, now);
            }
            (Command::Renew { kept: None, .. }, Outcome::Refused(refusal))
                if refusal != Refusal::TooLate =>
            {
                self.lose(Reason::LockLost, now);
            }
            // The store's clock has jumped, or the request was slow: the answer has brought its time.
            (command, TOO_LATE) => {
                let error = StoreError::nonsense(
                    "the request reached Redis after its deadline by Redis' own clock",
                );
                self.failed(command, error, now);
            }
            (command, outcome) => {
                if let Some(error) = self.nonsense(command, outcome) {
                    self.failed(command, error, now);
                }
            }
        }
        self.leave_where_evicting(now);
        if let Some(lock) = self.foreign_lock(now) {
            let (leader, endless) = (lock.holder.clone(), lock.remaining.is_none());
            self.failures = 0;
            self.events
                .push_back(Event::HeldByOther { leader, endless });
        }
    }

    /// Redis' memory was read: it may throw keys away to make room, or not.
    pub fn handle_memory(&mut self, evicting: bool, now: Instant) {
        self.elapse(now);
        self.evicting = evicting;
        if !evicting {
            self.evicts_until = now;
        }
        self.leave_where_evicting(now);
        self.settle(now);
    }

    fn leave_where_evicting(&mut self, now: Instant) {
        let leads = matches!(self.phase, Phase::Leading { .. });
        if leads && self.may_be_evicted() {
            self.end_term(Reason::EvictionPolicy, HandOver::TO_ANYONE, now);
        }
    }

    /// What makes no sense of an answer to a standby: it would be asked for again without end.
    fn nonsense(&self, command: &Command, outcome: Outcome) -> Option<StoreError> {
        let view = &self.watch.as_ref()?.view;
        if let RecordSeen::Unknown(why) = &view.record {
            return Some(StoreError::nonsense(format!(
                "the record beside the lock is not one that this version understands ({why}): no \
                 term is begun on it; run one version of the agent, or remove the record"
            )));
        }
        let (Command::Begin { judged, .. }
        | Command::Renew {
            kept: Some(judged), ..
        }) = command
        else {
            return None;
        };
        let baseless = match outcome {
            // A lock that is gone cannot be kept.
            Outcome::Refused(Refusal::Changed) => {
                *judged == view.judged && (command.begins() || view.lock.is_some())
            }
            Outcome::Refused(Refusal::Held) => view.lock.is_none(),
            _ => false,
        };
        baseless.then(|| {
            StoreError::nonsense(format!(
                "Redis refused a {} ({outcome:?}) for something that it does not show",
                command.name()
            ))
        })
    }

    /// Notes how the store stood when a script had run, and whether that script wrote what stands there.
    fn see(&mut self, view: View, wrote: bool, now: Instant) {
        self.demoted = None;
        self.stray = false;
        self.store_clock = Some((view.store_micros, now));
        if let Some(memory) = &view.memory {
            self.evicting = memory.evicting();
        }
        if wrote {
            self.members.listed.clone_from(&view.members);
        }
        let seen = view.record.known().map(|record| (record.token, record.ttl));
        let watch = self.watch.take();
        let asker = self.asker();
        self.watch = Some(match watch {
            _ if wrote => Watch::written(view, &asker, now),
            Some(watch) => watch.look(view, &asker, now),
            None => Watch::first(view, &asker, now),
        });
        let heard = self.hearing.heard.as_ref();
        if heard.is_some_and(|it| it.what.as_ref().is_some_and(|it| self.knows(it))) {
            self.hearing.heard = None;
        }
        if let Some((token, ttl)) = seen {
            self.highest = self.highest.max(token);
            if ttl > self.longest_ttl {
                self.longest_ttl = ttl;
                self.events.push_back(Event::LongerTtl { ttl });
            }
        }
    }

    fn begun(&mut self, attempt: &Attempt, token: Token, now: Instant) {
        self.highest = self.highest.max(token);
        let term = Term {
            token,
            lease_until: self.settings.rules.lease_end(attempt.sent_at),
        };
        // A lease that ended on the way is none: the next look finds a lock of our own.
        if self.phase != Phase::Following || now >= term.lease_until {
            self.look_due = now;
            return;
        }
        let campaign = match self.candidate(now) {
            Ok(campaign) if !self.stopping => campaign,
            // The miner went while the lock was being taken: give it back, nobody was told.
            gone => {
                self.phase = Phase::Ending {
                    term,
                    reason: gone.err().unwrap_or(Reason::Draining),
                    hand_over: HandOver::TO_ANYONE,
                };
                return;
            }
        };
        self.events.push_back(Event::Elected {
            token,
            under_oom: self
                .watch
                .as_ref()
                .and_then(|it| it.view.memory.as_ref())
                .is_some_and(MemoryReading::out_of_memory),
            after_failures: self.failures,
        });
        self.failures = 0;
        self.phase = Phase::Leading {
            term,
            campaign,
            renew_due: attempt.sent_at + self.settings.rules.renew_every(),
        };
    }

    fn renewed(&mut self, attempt: &Attempt) {
        if let Phase::Leading {
            term, renew_due, ..
        } = &mut self.phase
        {
            term.lease_until = self.settings.rules.lease_end(attempt.sent_at);
            *renew_due = attempt.sent_at + self.settings.rules.renew_every();
        }
    }

    /// Released, or nothing of ours is left to release.
    fn released(&mut self, token: Token, released: bool, now: Instant) {
        if released {
            let successor = self.named();
            self.events.push_back(Event::Released { token, successor });
        } else {
            self.events.push_back(Event::NotReleased { token });
        }
        if let Phase::Ending {
            ref hand_over,
            reason,
            ..
        } = self.phase
        {
            let hold_off = hand_over.hold_off;
            // The answer has shown the store: no look before it is due, nor because of what was heard of this release.
            let due = self.look_due;
            self.follow(hold_off, now);
            self.look_due = due;
            self.demoted = Some(reason).filter(|it| *it == Reason::Resigned);
        }
    }

    pub(super) fn failed(&mut self, command: &Command, error: StoreError, now: Instant) {
        self.error = Some(error.clone());
        if self.phase == Phase::Following {
            self.demoted = None;
        }
        let leads = matches!(self.phase, Phase::Leading { .. });
        let of_term = match command {
            Command::Renew { .. } => self.phase != Phase::Following,
            Command::Release { .. } => true,
            Command::Look { .. } | Command::Begin { .. } => false,
        };
        let acquiring = !of_term && self.wants_to_lead(now);
        let count = if acquiring {
            &mut self.failures
        } else {
            &mut self.retries
        };
        *count = count.saturating_add(1);
        let consecutive = *count;
        let pause = if of_term {
            let chance = jitter(self.settings.nonce, self.attempts.0);
            self.settings.rules.retry_after(consecutive, chance)
        } else {
            self.settings.rules.campaign_retry_after(consecutive)
        };
        self.pause_until = now + pause;
        // Whatever was heard before: the next event is looked into, pause or not.
        self.hearing.heard = None;
        self.events.push_back(match command {
            Command::Renew { .. } if leads => Event::RenewalFailed {
                error,
                lease_remaining: self
                    .term()
                    .map_or(Duration::ZERO, |term| term.lease_until.since(now)),
            },
            // One that was under way when the term ended: the release comes next.
            _ if of_term => Event::ReleaseFailed { error, consecutive },
            _ if acquiring => Event::AcquisitionFailed { error, consecutive },
            _ => Event::LookFailed { error },
        });
    }

    /// Stops granting; the lock is released once nobody can act on it.
    pub(super) fn end_term(&mut self, reason: Reason, hand_over: HandOver, now: Instant) {
        if let Some(term) = self.leave(reason, now) {
            self.phase = Phase::Ending {
                term,
                reason,
                hand_over,
            };
            self.retries = 0;
            self.pause_until = now;
        }
    }

    /// The term is over and there is nothing to release.
    fn lose(&mut self, reason: Reason, now: Instant) {
        if self.leave(reason, now).is_some() {
            self.follow(Duration::ZERO, now);
            self.demoted = Some(reason);
        }
    }

    /// Every way out of leading: the term that ends, and what a miner may still do under it.
    fn leave(&mut self, reason: Reason, now: Instant) -> Option<Term> {
        let Phase::Leading { term, campaign, .. } = self.phase else {
            return None;
        };
        self.events.push_back(Event::Lost {
            token: term.token,
            reason,
        });
        if self.settings.liveness != Liveness::Campaign {
            // A miner that only asks who leads was given no deadline, and may act on the last answer.
            self.grant(campaign, now + self.settings.rules.miner_timeout());
        }
        Some(term)
    }

    fn follow(&mut self, hold_off: Duration, now: Instant) {
        self.phase = Phase::Following;
        if hold_off > Duration::ZERO {
            self.hold_off_until = now + hold_off;
        }
        self.retries = 0;
        self.pause_until = now;
        self.look_due = now;
    }
}

const TOO_LATE: Outcome = Outcome::Refused(Refusal::TooLate);

/// One step of SplitMix64: the same seed and number give the same pause.
fn jitter(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
