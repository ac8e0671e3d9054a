//! What a standby has seen of the store, and whether that allows it to begin a term.
//!
//! The whole rule of exclusion between agents stands here. Redis' clock takes no part in it: only how
//! long, on our own clock, generation and record have stayed as they are.

use std::time::Duration;

use super::announcement::Basis;
use super::leadership::Reason;
use super::lease::{LOOK_OFTEN, LeaseRules};
use super::view::{Lock, Record, RecordSeen, Token, View};
use crate::fault::RedisFault;
use crate::time::Instant;

/// A lock is looked at again this long after its end: its time to live is told in whole
/// milliseconds, and a server that does not expire it must not be asked without a pause.
const EXPIRY_SLACK: Duration = Duration::from_millis(5);

/// For so long all hold off but the successor that a released record names. It may have died.
const FOR_THE_SUCCESSOR: Duration = Duration::from_secs(1);

/// The store, as seen from when it last changed.
#[derive(Debug, Clone, Hash)]
pub(super) struct Watch {
    pub view: View,
    /// When (generation, record) was first seen as it is now.
    since: Instant,
    /// When it was last looked at.
    pub looked_at: Instant,
    /// The very first look found an empty store that has been up for so long that nobody can come back.
    settled: bool,
    /// A foreign live lock was seen since this record was written.
    foreign_seen: bool,
    /// The record is ours as we know it: as this process wrote it, or of a term of ours of which the reply
    /// was lost. One that we knew and find changed may have been brought back by a late renewal after
    /// data was lost and a clock set back: another's term may have come and gone from the store.
    ours: bool,
}

/// Who asks.
pub(super) struct Asker<'a> {
    pub holder: &'a str,
    /// The greatest token that it has ever seen.
    pub highest: Token,
    /// The longest time to live that it has ever seen, its own included.
    pub longest_ttl: Duration,
    /// When an event of this lock was last heard.
    pub announced: Option<Instant>,
    pub rules: &'a LeaseRules,
}

/// Whether a term may be begun on what was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    Begin {
        stale_lock: bool,
    },
    /// Not before `until`, if nothing changes.
    Wait {
        reason: Reason,
        until: Instant,
    },
}

impl Watch {
    /// The first look of this process.
    pub(super) fn first(view: View, asker: &Asker<'_>, now: Instant) -> Self {
        let empty = view.record == RecordSeen::Missing && view.lock.is_none();
        let settled =
            empty && !view.promoted && asker.rules.settled(view.uptime, asker.longest_ttl);
        let known = |token: Token| token >= asker.highest;
        Self {
            settled,
            ours: bears(&view, asker, known),
            ..Self::anew(view, asker, now)
        }
    }

    fn anew(view: View, asker: &Asker<'_>, now: Instant) -> Self {
        let foreign_seen = foreign(&view, asker.holder).is_some();
        let ours = bears(&view, asker, |token| token > asker.highest);
        Self {
            view,
            since: now,
            looked_at: now,
            settled: false,
            foreign_seen,
            ours,
        }
    }

    /// What stands there is what a script of this process has just written.
    pub(super) fn written(view: View, asker: &Asker<'_>, now: Instant) -> Self {
        Self {
            ours: bears(&view, asker, |_| true),
            ..Self::anew(view, asker, now)
        }
    }

    /// Another look. Every change, a vanished record included, starts the wait again.
    pub(super) fn look(self, view: View, asker: &Asker<'_>, now: Instant) -> Self {
        if view.judged != self.view.judged || self.out_of_sight(asker, now) {
            return Self::anew(view, asker, now);
        }
        Self {
            foreign_seen: self.foreign_seen || foreign(&view, asker.holder).is_some(),
            view,
            looked_at: now,
            ..self
        }
    }

    /// An empty store was not looked at for so long that it may have been written to and emptied again,
    /// which nothing shows. A record never comes back as it was.
    fn out_of_sight(&self, asker: &Asker<'_>, now: Instant) -> bool {
        self.view.record == RecordSeen::Missing && now >= self.looked_at + asker.rules.sight()
    }

    /// The one rule: may `asker` begin a term now?
    pub(super) fn judge(&self, asker: &Asker<'_>, now: Instant) -> Judgement {
        if let RecordSeen::Unknown(_) = self.view.record {
            return Judgement::Wait {
                reason: Reason::Redis(RedisFault::Error),
                until: Instant::NEVER,
            };
        }
        let record = self.view.record.known();
        let foreign = foreign(&self.view, asker.holder);
        // A lock whose holder writes no record is a Go miner's: it is never touched while it lives.
        if let Some(lock) = foreign
            && record.is_none_or(|record| record.released || record.holder != lock.holder)
        {
            return Judgement::Wait {
                reason: Reason::HeldByOther,
                until: self.lock_end(lock),
            };
        }
        let free = foreign.is_none() && !self.foreign_seen;
        let given_back = || match record {
            Some(record) => self.given_back(record, asker),
            None => self.settled && asker.announced.is_none(),
        };
        let at_once = free && given_back();
        // A term that was announced over an empty store has begun, and its record is lost again.
        let announced = asker.announced.filter(|_| record.is_none());
        let since = announced.map_or(self.since, |at| at.max(self.since));
        let until = if at_once {
            self.since + record.map_or(Duration::ZERO, |it| held_off(it, asker.holder))
        } else {
            since + asker.rules.wait_out(asker.longest_ttl)
        };
        let reason = match (foreign, record) {
            (Some(_), _) => Reason::HeldByOther,
            (None, Some(_)) if at_once => Reason::HeldForSuccessor,
            (None, Some(record)) if record.generation == self.view.generation => {
                Reason::WaitingOutLease
            }
            (None, None) if at_once => Reason::Starting,
            (None, _) => Reason::StoreSettling,
        };
        if now < until {
            return Judgement::Wait { reason, until };
        }
        // What was empty may not be any more: look first.
        if record.is_none() && now >= self.looked_at + LOOK_OFTEN {
            return Judgement::Wait { reason, until: now };
        }
        Judgement::Begin {
            stale_lock: !at_once,
        }
    }

    /// May `asker` begin on what a release tells, without a look? The script that begins sees to it that generation and
    /// record are as told, and that nobody else holds the lock: a look just before it would have shown a record that was
    /// given back. A record that was looked at is judged by all that was seen beside it instead ([`Self::judge`]).
    pub(super) fn may_begin_on(&self, told: &Basis, asker: &Asker<'_>) -> bool {
        let Basis {
            judged,
            generation,
            record,
        } = told;
        let given_back =
            record.released && record.generation == *generation && record.token >= asker.highest;
        let new = *judged != self.view.judged && *generation == self.view.generation;
        // Somebody else's, and more than this record tells of.
        let foreign =
            foreign(&self.view, asker.holder).is_some_and(|lock| lock.holder != record.holder);
        let surprises = foreign || record.ttl > asker.longest_ttl;
        given_back && new && !surprises && held_off(record, asker.holder) == Duration::ZERO
    }

    /// The record says, in the present generation, that nobody acts under it: it was released, or it
    /// is the asker's own as it knows it, who leads no term.
    fn given_back(&self, record: &Record, asker: &Asker<'_>) -> bool {
        record.generation == self.view.generation
            && record.token >= asker.highest
            && (record.released || self.ours)
    }

    /// A foreign lock that has not run out since it was looked at.
    pub(super) fn foreign_lock(&self, holder: &str, now: Instant) -> Option<&Lock> {
        foreign(&self.view, holder).filter(|lock| now < self.lock_end(lock))
    }

    /// When the lock that was seen runs out if nobody renews it. A hint of when to look again, no more:
    /// Redis' clock may jump.
    pub(super) fn lock_end(&self, lock: &Lock) -> Instant {
        lock.remaining
            .map_or(Instant::NEVER, |left| self.looked_at + left + EXPIRY_SLACK)
    }

    /// The token of a term of our own that the store still shows as running. Not of one that was brought
    /// back, by a late renewal or with older data: to renew or to release it would be to say, in the present
    /// generation, that no term came after it.
    pub(super) fn own_token(&self, holder: &str, now: Instant) -> Option<Token> {
        let lock = self.view.lock.as_ref()?;
        let record = self.view.record.known()?;
        let runs = !record.released && now < self.lock_end(lock);
        let present = record.generation == self.view.generation;
        let own = lock.holder == holder && self.ours && present && runs;
        own.then_some(record.token)
    }
}

fn foreign<'a>(view: &'a View, holder: &str) -> Option<&'a Lock> {
    view.lock.as_ref().filter(|lock| lock.holder != holder)
}

/// For how long `holder` leaves a record that was given back to another.
fn held_off(record: &Record, holder: &str) -> Duration {
    let anothers = !record.successor.is_empty() && record.successor != holder;
    if record.released && anothers {
        FOR_THE_SUCCESSOR
    } else {
        Duration::ZERO
    }
}

fn bears(view: &View, asker: &Asker<'_>, token: impl Fn(Token) -> bool) -> bool {
    let record = view.record.known();
    record.is_some_and(|it| it.holder == asker.holder && token(it.token))
}
