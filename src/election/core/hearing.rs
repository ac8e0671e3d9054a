//! What is heard on the events channel.

use std::time::Duration;

use super::super::announcement::{Announcement, Happened};
use super::{Election, Phase};
use crate::time::Instant;

/// Events cause one look per this time, and twenty at once, the first of which needs no room in the burst. Several hand-overs in
/// a second must not use it up, and under a flood a release is seen this much later.
const EVENT_LOOK_EVERY: Duration = Duration::from_millis(10);
const EVENT_LOOK_BURST: Duration = Duration::from_millis(190);

/// How long after a release that names another one the rest look: by then that one has begun, and one look shows both.
const NAMED_BEGINS_WITHIN: Duration = Duration::from_millis(20);

/// The events channel.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct Hearing {
    /// The subscription stands.
    pub stands: bool,
    /// When an event of this lock was last heard.
    pub announced: Option<Instant>,
    /// What is still to be looked into; nothing is once a command has gone out.
    pub heard: Option<Heard>,
    looks: Allowance,
}

#[derive(Debug, Clone, Hash)]
pub(super) struct Heard {
    /// When it is looked into.
    pub due: Instant,
    /// The last that was said of this lock.
    pub what: Option<Announcement>,
}

/// So much at once and then one for each `EVENT_LOOK_EVERY` (the generic cell rate algorithm, ITU-T I.371).
#[derive(Debug, Clone, Default, Hash)]
struct Allowance {
    /// When all that was taken so far is earned.
    earned_at: Option<Instant>,
}

impl Allowance {
    /// When the next one may be taken. It is taken with that.
    fn next(&mut self, now: Instant) -> Instant {
        let earned = self.earned_at.map_or(now, |at| at.max(now));
        self.earned_at = Some(earned + EVENT_LOOK_EVERY);
        now + earned.since(now).saturating_sub(EVENT_LOOK_BURST)
    }
}

impl Election {
    /// Something was published on the events channel, by anybody: about this lock, or `None`. It is looked into, not
    /// believed: what the record shows decides. A release that tells on what the next begin is judged saves the look, since
    /// that begin compares. Only over an empty store does an announcement count by itself, since a begin and a FLUSHALL
    /// between two looks leave no other trace. Events cost a bounded rate of commands.
    pub fn handle_heard(&mut self, what: Option<Announcement>, now: Instant) {
        self.elapse(now);
        if what.is_some() {
            self.hearing.announced = Some(now);
        }
        let known = what.as_ref().is_some_and(|it| self.knows(it));
        if self.phase == Phase::Following && !known {
            self.note_heard(what, now);
        }
        self.settle(now);
    }

    /// One command answers for all that was heard before it is sent.
    fn note_heard(&mut self, what: Option<Announcement>, now: Instant) {
        match &mut self.hearing.heard {
            Some(heard) if what.is_some() => heard.what = what,
            Some(_) => {}
            None => {
                let named = what
                    .as_ref()
                    .is_some_and(|it| it.names_another(&self.settings.holder));
                let patience = if named {
                    NAMED_BEGINS_WITHIN
                } else {
                    Duration::ZERO
                };
                let due = self.hearing.looks.next(now) + patience;
                self.hearing.heard = Some(Heard { due, what });
                self.pause_until = self.pause_until.min(due);
            }
        }
    }

    /// A look would show nothing of it that was not seen. A renewal changes the record each time.
    pub(super) fn knows(&self, told: &Announcement) -> bool {
        let record = self.watch.as_ref().and_then(|it| it.view.record.known());
        record.is_some_and(|it| {
            let same = it.token == told.token && it.holder == told.holder;
            same && match told.happened {
                Happened::Begun => true,
                Happened::Renewed => false,
                Happened::Released => it.released,
            }
        })
    }
}
