//! Keeps the status up with the election.

use std::borrow::Borrow;

use super::Shell;
use crate::clock;
use crate::election::Leadership;
use crate::status::ElectionStatus;
use crate::time::Instant;

impl Shell {
    pub(super) fn publish(&mut self, now: Instant) {
        while let Some(event) = self.election.poll_event() {
            self.note(event);
        }
        if !self.election.leadership().leads() {
            self.resigning.not_leading();
        }
        let mut beaten = false;
        self.status.send_if_modified(|status| {
            beaten = put(&mut status.election.heartbeats, &self.heartbeats);
            status.elect_due = self.due(now);
            let leadership = self.election.leadership();
            let highest_token = self.election.highest_token();
            let at = clock::unix_seconds();
            let turned = status.history.note(leadership, highest_token, at);
            let changed = self.show(&mut status.election, now);
            if turned {
                status.explain();
            }
            changed
        });
        if beaten {
            self.beats.notify_waiters();
        }
        self.note_standing(now);
    }

    /// Copies what has changed, since most turns change little. Tells whether anything has that others wait for: a heartbeat and
    /// the longer grant that it brings are for its campaign alone.
    fn show(&self, status: &mut ElectionStatus, now: Instant) -> bool {
        let election = &self.election;
        let leadership = election.leadership();
        let mut leaderless = status.leaderless;
        leaderless.set(leadership.leader.is_none(), now);
        let key = |it: &Leadership| (it.version, it.lease_until);
        let mut changed = key(&status.leadership) != key(leadership);
        put(&mut status.leadership, leadership);
        changed |= put(&mut status.campaign, &election.campaign());
        changed |= put(&mut status.candidate, &election.has_candidate(now));
        changed |= put(&mut status.miner, &*self.miner);
        changed |= put(&mut status.candidates, election.candidates());
        changed |= put(&mut status.elections, &self.elections);
        changed |= put(&mut status.highest_token, &election.highest_token());
        let failures = election.consecutive_failures();
        changed |= put(&mut status.consecutive_failures, &failures);
        if status.last_error.as_ref() != election.last_error() {
            (status.last_error, changed) = (election.last_error().cloned(), true);
        }
        changed |= put(&mut status.oom_rung, &self.oom_rung);
        changed |= put(&mut status.hears, &self.hears);
        changed |= put(&mut status.leaderless, &leaderless);
        changed
    }
}

/// Tells whether it was another.
fn put<T: ?Sized + ToOwned + PartialEq>(place: &mut T::Owned, next: &T) -> bool {
    let differs = (*place).borrow() != next;
    if differs {
        next.clone_into(place);
    }
    differs
}
