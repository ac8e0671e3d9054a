//! What the miner's side does to the election.

use super::super::miner::{CampaignId, CampaignRefused, EndedBy, Liveness, Miner};
use super::{Election, Phase};
use crate::time::Instant;

impl Election {
    /// A miner has opened a stream.
    ///
    /// # Errors
    /// Why it cannot be a candidate here.
    pub fn handle_campaign(&mut self, now: Instant) -> Result<CampaignId, CampaignRefused> {
        self.elapse(now);
        if self.stopping {
            return Err(CampaignRefused::Stopping);
        }
        if self.settings.liveness != Liveness::Campaign {
            return Err(CampaignRefused::NotCampaigning);
        }
        if self.has_live_miner(now) {
            return Err(CampaignRefused::AlreadyCampaigning);
        }
        let id = self.welcome(now);
        self.settle(now);
        Ok(id)
    }

    fn welcome(&mut self, now: Instant) -> CampaignId {
        self.campaigns += 1;
        let id = CampaignId(self.campaigns);
        self.miner = Some(Miner {
            id,
            last_heard: now,
            stands_down: false,
        });
        self.look_due = now;
        id
    }

    /// The miner answered a probe that was sent at `sent_at` (`--miner-liveness=probe`). One that was silent for
    /// too long begins anew.
    pub fn handle_probed(&mut self, sent_at: Instant, now: Instant) {
        self.elapse(now);
        if self.settings.liveness == Liveness::Probe && !self.stopping {
            if !self.has_live_miner(now) {
                self.welcome(now);
            }
            if let Some(miner) = &mut self.miner {
                miner.last_heard = sent_at;
            }
        }
        self.settle(now);
    }

    /// The miner of this campaign is alive. `acknowledged`: a version that was sent on its stream,
    /// and nothing that it began under an earlier one still acts.
    pub fn handle_heartbeat(&mut self, id: CampaignId, acknowledged: Option<u64>, now: Instant) {
        self.elapse(now);
        self.heard(id, false, now);
        self.acknowledge(id, acknowledged);
        self.settle(now);
    }

    /// The miner of this campaign is alive and no candidate. A term that it was granted ends; what it may still
    /// do under its last grant is waited out, unless acknowledged.
    pub fn handle_standing_down(
        &mut self,
        id: CampaignId,
        acknowledged: Option<u64>,
        now: Instant,
    ) {
        self.elapse(now);
        self.heard(id, true, now);
        self.acknowledge(id, acknowledged);
        // Before it is settled: nothing is granted on this.
        self.elapse(now);
        self.settle(now);
    }

    /// The miner of this campaign says something that is no heartbeat.
    pub fn handle_acknowledgement(
        &mut self,
        id: CampaignId,
        acknowledged: Option<u64>,
        now: Instant,
    ) {
        self.elapse(now);
        self.acknowledge(id, acknowledged);
        self.settle(now);
    }

    fn heard(&mut self, id: CampaignId, stands_down: bool, now: Instant) {
        if let Some(miner) = self.miner.as_mut().filter(|miner| miner.id == id) {
            miner.last_heard = now;
            miner.stands_down = stands_down;
        }
    }

    fn acknowledge(&mut self, id: CampaignId, version: Option<u64>) {
        self.acting.take_if(|acting| {
            acting.campaign == id && version.is_some_and(|version| version > acting.version)
        });
    }

    /// A stream has ended. Only if the miner ended it is it known that nobody acts on its grant.
    pub fn handle_campaign_end(&mut self, id: CampaignId, by: EndedBy, now: Instant) {
        self.elapse(now);
        if by == EndedBy::Miner {
            self.acting.take_if(|acting| acting.campaign == id);
        }
        self.miner.take_if(|miner| miner.id == id);
        self.elapse(now);
        self.settle(now);
    }

    /// A miner that does not campaign asks for a grant (`--miner-liveness=probe` or `always`).
    pub fn handle_extend(&mut self, now: Instant) {
        self.elapse(now);
        if let Phase::Leading { term, campaign, .. } = self.phase
            && self.settings.liveness != Liveness::Campaign
        {
            let until = term
                .lease_until
                .min(now + self.settings.rules.miner_timeout());
            self.grant(campaign, until);
        }
        self.settle(now);
    }
}
