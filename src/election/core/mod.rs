//! The election of one agent: events in, commands out. See the picture in [`super::super`].

mod campaign;
mod change;
mod hand_over;
mod hearing;
mod plan;
mod standing;

use std::collections::VecDeque;
use std::time::Duration;

use super::command::{Attempt, AttemptId, Reply};
use super::event::Event;
use super::leadership::{Leadership, Reason};
use super::miner::{Acting, CampaignId, Liveness, Miner};
use super::settings::Settings;
use super::view::{Lock, Token};
use super::watch::{Asker, Watch};
use crate::fault::StoreError;
use crate::time::Instant;
use hand_over::{HandOver, Members};
use hearing::Hearing;

pub use hand_over::NotLeader;

/// One agent's part in the election.
///
/// Its owner drives it in this order, again and again, with one clock:
///
/// 1. [`handle_timeout`](Self::handle_timeout), so that what has run out by now is over before anything else is done;
/// 2. [`next_command`](Self::next_command): at most one is in flight. Its outcome, or that its deadline has come without
///    one, goes to [`handle_reply`](Self::handle_reply);
/// 3. [`poll_event`](Self::poll_event) until it is empty, then [`leadership`](Self::leadership): what to log and publish;
/// 4. sleep until [`poll_timeout`](Self::poll_timeout), a reply, or a message for one of the other `handle_…` methods. Each of
///    these may change what is wanted and said: begin again at 1.
///
/// Nobody may be told of a leadership that is not published, nor act on one past its own end: ask [`Leadership::at`].
#[derive(Debug, Clone, Hash)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and any of them may go with any"
)]
pub struct Election {
    settings: Settings,
    phase: Phase,
    /// The miner's side: who campaigns, and until when a miner may still act on a grant.
    miner: Option<Miner>,
    acting: Option<Acting>,
    campaigns: u64,
    /// The store's side: what was seen of it, and the greatest token and TTL ever seen.
    watch: Option<Watch>,
    highest: Token,
    longest_ttl: Duration,
    /// The store's clock in microseconds, and the moment of ours by which it showed that.
    store_clock: Option<(u64, Instant)>,
    /// Redis may throw keys away to make room.
    evicting: bool,
    /// A begin was refused for that, and is not tried again before. Only a begin reads the policy, and the memory is read
    /// rarely: so each look that is due then is a begin.
    evicts_until: Instant,
    /// The last answer was an error.
    error: Option<StoreError>,
    /// Why the last term ended, until the store is next seen.
    demoted: Option<Reason>,
    in_flight: Option<Attempt>,
    /// A begin went unanswered, and the store was not seen since: a lock of ours may stand there.
    stray: bool,
    /// The last one made.
    attempts: AttemptId,
    /// No command goes out before this moment: the pause after a failure.
    pause_until: Instant,
    /// Redis came back while a command was in flight: should that one fail, it was from before.
    back_meanwhile: bool,
    /// Failures in a row: of acquiring, and of a term's own commands.
    failures: u32,
    retries: u32,
    look_due: Instant,
    hearing: Hearing,
    hold_off_until: Instant,
    stopping: bool,
    members: Members,
    leadership: Leadership,
    events: VecDeque<Event>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Phase {
    /// Leads no term.
    Following,
    /// Holds a term and grants it to one campaign.
    Leading {
        term: Term,
        campaign: CampaignId,
        renew_due: Instant,
    },
    /// Grants nothing more, and gives the lock back as soon as nobody can still act on it.
    Ending {
        term: Term,
        reason: Reason,
        hand_over: HandOver,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Term {
    token: Token,
    lease_until: Instant,
}

// === impl Election: what happens to it ===

impl Election {
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            phase: Phase::Following,
            miner: None,
            acting: None,
            campaigns: 0,
            watch: None,
            highest: settings.remembered.highest,
            longest_ttl: settings.rules.ttl(),
            store_clock: None,
            evicting: false,
            evicts_until: Instant::PAST,
            error: None,
            demoted: None,
            in_flight: None,
            stray: false,
            attempts: AttemptId(0),
            pause_until: Instant::PAST,
            back_meanwhile: false,
            failures: 0,
            retries: 0,
            look_due: Instant::PAST,
            hearing: Hearing::default(),
            hold_off_until: Instant::PAST,
            stopping: false,
            members: Members::default(),
            leadership: Leadership::starting(),
            events: VecDeque::new(),
            settings,
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.elapse(now);
        self.settle(now);
    }

    /// The store has answered, or has not.
    pub fn handle_reply(&mut self, id: AttemptId, reply: Reply, now: Instant) {
        self.elapse(now);
        if let Some(attempt) = self.in_flight.take_if(|attempt| attempt.id == id) {
            let back = std::mem::take(&mut self.back_meanwhile);
            match reply {
                Ok(answer) => self.answered(&attempt, answer, now),
                Err(error) => {
                    // An agent that stops looks for it once.
                    self.stray = attempt.command.begins() || self.stray && !self.stopping;
                    self.failed(&attempt.command, error, now);
                    if back {
                        self.pause_until = now;
                    }
                }
            }
        }
        self.settle(now);
    }

    /// The subscription to the events channel was lost (then Redis may be gone) or is there again
    /// (then Redis may have lost the lock): a leader re-asserts its term, a standby looks.
    pub fn handle_hearing(&mut self, hears: bool, now: Instant) {
        self.hearing.stands = hears;
        self.handle_back(now);
    }

    /// Redis takes commands again, and may have lost the lock: no pause that a failure asked for is kept.
    pub fn handle_back(&mut self, now: Instant) {
        self.elapse(now);
        self.back_meanwhile = self.in_flight.is_some();
        self.look_due = now;
        self.pause_until = now;
        if let Phase::Leading { renew_due, .. } = &mut self.phase {
            *renew_due = now;
        }
        self.settle(now);
    }
}

// === impl Election: what it says ===

impl Election {
    /// What happened, in order, for logs and counters.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The agent's standing. Read it through [`Leadership::at`] wherever time may have passed.
    #[must_use]
    pub fn leadership(&self) -> &Leadership {
        &self.leadership
    }

    /// The campaign that counts at present.
    #[must_use]
    pub fn campaign(&self) -> Option<CampaignId> {
        self.miner.as_ref().map(|miner| miner.id)
    }

    /// The greatest token that this agent knows of.
    #[must_use]
    pub fn highest_token(&self) -> Token {
        self.highest
    }

    /// There is a live miner here, or none is needed.
    #[must_use]
    pub fn has_candidate(&self, now: Instant) -> bool {
        self.candidate(now).is_ok()
    }

    /// Failures to acquire in a row.
    #[must_use]
    pub fn consecutive_failures(&self) -> u32 {
        self.failures
    }

    /// The last error of the store, if its last answer was one.
    #[must_use]
    pub fn last_error(&self) -> Option<&StoreError> {
        self.error.as_ref()
    }

    /// There is no term of ours left to give back, and none on its way.
    #[must_use]
    pub fn holds_no_term(&self, now: Instant) -> bool {
        let begins = |attempt: &Attempt| attempt.command.begins();
        let on_its_way = self.stray || self.in_flight.as_ref().is_some_and(begins);
        self.phase == Phase::Following && !on_its_way && self.own_token(now).is_none()
    }
}

// === impl Election: what follows from its state ===

impl Election {
    fn asker(&self) -> Asker<'_> {
        Asker {
            holder: &self.settings.holder,
            highest: self.highest,
            longest_ttl: self.longest_ttl,
            announced: self.hearing.announced,
            rules: &self.settings.rules,
        }
    }

    fn term(&self) -> Option<Term> {
        match self.phase {
            Phase::Leading { term, .. } | Phase::Ending { term, .. } => Some(term),
            Phase::Following => None,
        }
    }

    /// The campaign that may be granted a term, or why there is none.
    fn candidate(&self, now: Instant) -> Result<CampaignId, Reason> {
        match (self.settings.liveness, &self.miner) {
            _ if !self.settings.candidate => Err(Reason::NotCandidate),
            (Liveness::Always, _) => Ok(CampaignId(0)),
            (Liveness::Campaign | Liveness::Probe, None) => Err(Reason::NoMiner),
            (_, Some(miner)) if now >= self.silent_from(miner) => Err(Reason::MinerSilent),
            (_, Some(miner)) if miner.stands_down => Err(Reason::NotCandidate),
            (_, Some(miner)) => Ok(miner.id),
        }
    }

    /// There is a miner to lead for, and nothing of the agent's own forbids it.
    fn wants_to_lead(&self, now: Instant) -> bool {
        !self.stopping && now >= self.hold_off_until && self.candidate(now).is_ok()
    }

    /// Its miner is heard, whether it may lead or not.
    fn has_live_miner(&self, now: Instant) -> bool {
        let miner = self.miner.as_ref();
        miner.is_some_and(|miner| now < self.silent_from(miner))
    }

    fn silent_from(&self, miner: &Miner) -> Instant {
        miner.last_heard + self.settings.rules.miner_timeout()
    }

    /// The last moment at which a miner of this agent may still act, one of an earlier process included.
    fn acting_until(&self) -> Instant {
        let remembered = self.settings.remembered.acting_until;
        self.acting
            .map_or(remembered, |acting| acting.until.max(remembered))
    }

    fn foreign_lock(&self, now: Instant) -> Option<&Lock> {
        let watch = self.watch.as_ref()?;
        watch.foreign_lock(&self.settings.holder, now)
    }

    /// The token of a term of our own that the store shows as running, as long as its lock may be there.
    fn own_token(&self, now: Instant) -> Option<Token> {
        self.watch.as_ref()?.own_token(&self.settings.holder, now)
    }

    /// The record says that this term of ours was released, or that a later one has begun.
    fn is_over(&self, token: Token) -> bool {
        let record = self.watch.as_ref().and_then(|it| it.view.record.known());
        record.is_some_and(|it| {
            let ours = it.token == token && it.holder == self.settings.holder;
            it.token > token || ours && it.released
        })
    }

    /// Redis may throw the lock away, as far as was last read, and nobody has accepted that.
    fn may_be_evicted(&self) -> bool {
        self.evicting && !self.settings.allow_eviction
    }
}
