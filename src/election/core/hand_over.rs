//! Handing over on purpose: who could take over, and who should.

use std::time::Duration;

use super::super::leadership::Reason;
use super::super::member::{self, Entry, Listed, Member, NoSuccessor, Successor};
use super::super::view::Token;
use super::{Election, Phase};
use crate::time::Instant;

/// There is no leadership here to resign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotLeader;

/// Who could take over.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct Members {
    /// This agent: its last rehearsal worked.
    pub ready: bool,
    /// It could take over, as it last told the others.
    pub told: bool,
    /// As the last begin or renewal saw them.
    pub listed: Vec<Listed>,
}

/// What becomes of leadership after a term that is given back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct HandOver {
    /// How long this agent stays out of the election.
    pub hold_off: Duration,
    pub successor: Successor,
}

impl HandOver {
    pub const TO_ANYONE: Self = Self {
        hold_off: Duration::ZERO,
        successor: Successor::Anyone,
    };
    /// In a rolling update one that stays: it hands over once, and not to an instance that is stopped next.
    pub const TO_THE_YOUNGEST: Self = Self {
        hold_off: Duration::ZERO,
        successor: Successor::Youngest,
    };
}

impl Election {
    /// The last rehearsal of a takeover worked, or did not. If this agent can take over by now, or cannot any more, the others
    /// are told at once, with a look.
    pub fn handle_rehearsed(&mut self, ready: bool, now: Instant) {
        self.members.ready = ready;
        if self.is_ready(now) != self.members.told && self.phase == Phase::Following {
            self.look_due = now;
        }
    }

    /// Who could take over, as a leader's last begin or renewal saw it; empty elsewhere.
    #[must_use]
    pub fn candidates(&self) -> &[Listed] {
        match self.phase {
            Phase::Leading { .. } => &self.members.listed,
            _ => &[],
        }
    }

    /// Somebody wants to know who could take over: a leader asks at once.
    pub fn handle_ask_members(&mut self, now: Instant) {
        self.elapse(now);
        if let Phase::Leading { renew_due, .. } = &mut self.phase {
            *renew_due = now;
        }
        self.settle(now);
    }

    /// A planned hand-over: stop granting, release when nobody acts, stay out for `hold_off`. `successor` is a holder id:
    /// the others leave it the next term for a second.
    ///
    /// # Errors
    /// There is nothing to resign.
    pub fn handle_resign(
        &mut self,
        hold_off: Duration,
        successor: Option<String>,
        now: Instant,
    ) -> Result<Token, NotLeader> {
        self.elapse(now);
        let token = match self.phase {
            Phase::Leading { term, .. } => term.token,
            Phase::Following | Phase::Ending { .. } => {
                self.settle(now);
                return Err(NotLeader);
            }
        };
        let hand_over = HandOver {
            hold_off,
            successor: successor.map_or(Successor::Anyone, Successor::Named),
        };
        self.end_term(Reason::Resigned, hand_over, now);
        self.settle(now);
        Ok(token)
    }

    /// The agent shuts down: no term is begun any more, and the present one is given back.
    pub fn handle_stop(&mut self, now: Instant) {
        self.elapse(now);
        self.stopping = true;
        self.pause_until = now;
        self.end_term(Reason::Draining, HandOver::TO_THE_YOUNGEST, now);
        self.settle(now);
    }

    /// The holder id of the member of that instance, to be named as the successor.
    ///
    /// # Errors
    /// There is none that could begin at once, as far as the last renewal saw.
    pub fn successor(&self, instance: &str) -> Result<String, NoSuccessor> {
        member::successor(&self.members.listed, instance, &self.settings.holder)
    }

    /// It could take over now, and would. Not while a miner of its own may still act on an earlier grant: that is waited for.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        let free = self.term().is_some() || now >= self.acting_until();
        self.members.ready && free && self.wants_to_lead(now)
    }

    /// This agent's entry among the members, sent with its next command. Without a miner it is not a member.
    pub(super) fn entry(&self, now: Instant) -> Option<Entry> {
        let enrolment = self.settings.enrolment.as_ref()?;
        let member = Member {
            holder: self.settings.holder.clone(),
            ready: self.is_ready(now),
            started: enrolment.started,
            version: enrolment.version.clone(),
            instance: enrolment.instance.clone(),
        };
        let lives = match self.candidate(now) {
            Ok(_) if !self.stopping => self.settings.rules.sight(),
            _ => Duration::ZERO,
        };
        Some(Entry { member, lives })
    }

    /// The holder id that the record names as the one that should lead next.
    pub(super) fn named(&self) -> String {
        let record = self.watch.as_ref().and_then(|it| it.view.record.known());
        record.map_or_else(String::new, |it| it.successor.clone())
    }
}
