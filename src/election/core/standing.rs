//! What the election says and grants, derived from what it is.

use super::super::leadership::{Leadership, Reason, Role};
use super::super::miner::{Acting, CampaignId, Liveness};
use super::super::watch::Judgement;
use super::{Election, Phase};
use crate::time::Instant;

impl Election {
    /// Derives what this agent says from what it is, and grants what it may.
    pub(super) fn settle(&mut self, now: Instant) {
        let (role, reason) = self.standing(now);
        let term = self.term().filter(|_| role == Role::Leader);
        let next = Leadership {
            role,
            reason,
            leader: match role {
                Role::Leader => Some(self.settings.holder.clone()),
                Role::Standby | Role::Idle => self.foreign_lock(now).map(|it| it.holder.clone()),
            },
            token: term.map(|term| term.token),
            version: self.leadership.version,
            lease_until: term.map(|term| term.lease_until),
            valid_until: None,
            role_until: Instant::NEVER,
        };
        // What was said until now, a lapse that nobody had to tell us of included.
        let last = self.leadership.at(now);
        let changed = (next.role, next.reason, &next.leader, next.token)
            != (last.role, last.reason, &last.leader, last.token);
        self.leadership = Leadership {
            version: last.version + u64::from(changed),
            ..next
        };
        if let Phase::Leading { term, campaign, .. } = self.phase {
            self.leadership.role_until = match &self.miner {
                Some(miner) => term.lease_until.min(self.silent_from(miner)),
                None => term.lease_until,
            };
            if self.settings.liveness == Liveness::Campaign {
                self.grant(campaign, self.leadership.role_until);
            }
            self.leadership.valid_until = self.acting.map(|acting| acting.until);
        }
    }

    fn standing(&self, now: Instant) -> (Role, Reason) {
        if matches!(self.phase, Phase::Leading { .. }) {
            return (Role::Leader, Reason::Elected);
        }
        if self.stopping {
            return (Role::Standby, Reason::Draining);
        }
        if let Err(reason) = self.candidate(now) {
            return (Role::Idle, reason);
        }
        if let Phase::Ending { reason, .. } = self.phase {
            return match reason {
                Reason::Resigned => (Role::Standby, Reason::Draining),
                Reason::EvictionPolicy => (Role::Standby, reason),
                // A new miner waits for the end of its predecessor's grant.
                _ => (Role::Standby, Reason::WaitingOutLease),
            };
        }
        let reason = match (self.demoted, &self.error, self.judge(now)) {
            (_, _, Judgement::Wait { reason, .. })
                if matches!(reason, Reason::HoldOff | Reason::HeldForSuccessor) =>
            {
                reason
            }
            (Some(reason), _, _) => reason,
            (None, Some(error), _) => Reason::from(error.fault),
            (None, None, _) if self.may_be_evicted() => Reason::EvictionPolicy,
            (None, None, Judgement::Wait { reason, .. }) => reason,
            // About to begin: until the answer is there, what it was waiting for stands.
            (None, None, Judgement::Begin { .. }) => match self.leadership.role {
                Role::Standby => self.leadership.reason,
                Role::Leader | Role::Idle => Reason::Starting,
            },
        };
        (Role::Standby, reason)
    }

    pub(super) fn grant(&mut self, campaign: CampaignId, until: Instant) {
        // A grant is never taken back: the latest end that was ever promised counts.
        let promised = self
            .acting
            .filter(|acting| acting.campaign == campaign)
            .map_or(until, |acting| acting.until.max(until));
        self.acting = Some(Acting {
            campaign,
            version: self.leadership.version,
            until: promised,
        });
    }
}
