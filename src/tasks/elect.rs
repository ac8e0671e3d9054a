//! The loop around the election: passes events in, carries out its commands, and publishes its state.

mod publish;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Signal;
use super::resigning::{Resignation, Resigning};
use crate::checkup::Checkup;
use crate::clock;
use crate::election::{
    Attempt, CampaignId, Election, Event, Leadership, Reason, Reply, Role, Token,
};
use crate::fault::{StoreError, StoreFault};
use crate::metrics::Metrics;
use crate::miner::{Message, ResignRefused, Says};
use crate::status::Status;
use crate::store::Store;
use crate::time::Instant;

/// The loop turns at least this often, though nothing is due, to show that it lives.
const TURN_EVERY: Duration = Duration::from_secs(10);

/// The one task that owns the election.
pub struct Elect {
    pub election: Election,
    /// Carries out one command at a time, on a connection of its own.
    pub store: Store,
    /// Messages from the miner's side.
    pub desk: mpsc::Receiver<Message>,
    /// What other tasks notice about Redis: events, and whether the subscription works.
    pub signals: mpsc::Receiver<Signal>,
    /// The status, of which this task writes the election's part.
    pub status: watch::Sender<Status>,
    /// Told when a heartbeat was heard, which is nobody else's concern.
    pub beats: Arc<Notify>,
    pub metrics: Metrics,
    /// Told when a command fails.
    pub checkup: Checkup,
    /// The value of `--instance`, for the log.
    pub instance: String,
}

type Executed = (Store, Attempt, Reply);

/// What the task itself keeps besides the election.
struct Shell {
    election: Election,
    status: watch::Sender<Status>,
    beats: Arc<Notify>,
    metrics: Metrics,
    checkup: Checkup,
    instance: String,
    resigning: Resigning,
    miner: String,
    heartbeats: u64,
    elections: u64,
    hears: bool,
    oom_rung: &'static str,
    last: (Role, Reason),
    /// The holder of a lock without a TTL that was already logged.
    endless: Option<String>,
}

impl Elect {
    /// Runs until `stop` is cancelled and no term of ours is left to give back.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut shell = Shell {
            last: (Role::Idle, Reason::Starting),
            election: self.election,
            status: self.status,
            beats: self.beats,
            metrics: self.metrics,
            checkup: self.checkup,
            instance: self.instance,
            resigning: Resigning::default(),
            miner: String::new(),
            heartbeats: 0,
            elections: 0,
            hears: false,
            oom_rung: self.store.rung().name(),
            endless: None,
        };
        let mut store = Some(self.store);
        let mut in_flight: Option<Pin<Box<dyn Future<Output = Executed> + Send>>> = None;
        let mut stopping = false;
        loop {
            let now = clock::boottime();
            shell.election.handle_timeout(now);
            shell
                .election
                .handle_rehearsed(shell.could_take_over(now), now);
            if let Some(free) = store.take() {
                match shell.election.next_command(now) {
                    Some(attempt) => in_flight = Some(Box::pin(execute(free, attempt))),
                    None => store = Some(free),
                }
            }
            shell.publish(now);
            if stopping && shell.election.holds_no_term(now) {
                return;
            }
            let pause = shell.due(now).since(now);
            tokio::select! {
                (free, attempt, reply) = async {
                    match in_flight.as_mut() {
                        Some(running) => running.await,
                        None => std::future::pending().await,
                    }
                } => {
                    in_flight = None;
                    let now = clock::boottime();
                    shell.metrics.took(attempt.command.name(), now.since(attempt.sent_at));
                    shell.oom_rung = free.rung().name();
                    store = Some(free);
                    let failed = reply.as_ref().err().cloned();
                    shell.election.handle_reply(attempt.id, reply, now);
                    let Shell { resigning, election, .. } = &mut shell;
                    resigning.answered(&attempt, failed.as_ref(), election, now);
                    // The check reads this failure in the status, which is published before the next pause.
                    if failed.is_some() {
                        shell.checkup.suspect();
                    }
                }
                Some(message) = self.desk.recv() => shell.told(message),
                Some(signal) = self.signals.recv() => shell.signalled(signal),
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    shell.election.handle_stop(clock::boottime());
                }
                () = sleep(pause) => {}
            }
        }
    }
}

async fn execute(mut store: Store, attempt: Attempt) -> Executed {
    let reply = store.execute(&attempt.command, attempt.deadline).await;
    (store, attempt, reply)
}

impl Shell {
    /// Handles a message from the miner's side. The status is published before the answer is sent, so that a client with
    /// the answer finds its effect in the status.
    fn told(&mut self, message: Message) {
        let now = clock::boottime();
        match message {
            Message::Campaign { reply } => {
                let opened = self.election.handle_campaign(now);
                if opened.is_ok() {
                    self.miner.clear();
                }
                self.publish(now);
                // The client may be gone again.
                let _ = reply.send(opened);
            }
            Message::Heartbeat {
                campaign,
                miner,
                says,
                acknowledged,
            } => {
                self.heartbeats += 1;
                self.said(campaign, miner, &says);
                let election = &mut self.election;
                match says {
                    Says::Beats => election.handle_heartbeat(campaign, acknowledged, now),
                    Says::StandsDown => election.handle_standing_down(campaign, acknowledged, now),
                    Says::Late(_) => election.handle_acknowledgement(campaign, acknowledged, now),
                }
            }
            Message::CampaignEnded { campaign, by } => {
                self.election.handle_campaign_end(campaign, by, now);
            }
            Message::Probed { sent_at } => self.election.handle_probed(sent_at, now),
            Message::Extend { reply } => {
                self.election.handle_extend(now);
                self.publish(now);
                let _ = reply.send(());
            }
            Message::Resign {
                reason,
                hold_off,
                successor,
                reply,
            } => {
                let resignation = Resignation {
                    reason,
                    hold_off,
                    successor,
                    reply,
                };
                self.resigning.ask(resignation, &mut self.election, now);
            }
        }
    }

    /// The miner's label, and which part of its work is late.
    fn said(&mut self, campaign: CampaignId, mut miner: String, says: &Says) {
        if self.election.campaign() != Some(campaign) {
            return;
        }
        if let Says::Late(late) = says {
            miner = format!("{miner} (late: {late})");
            if self.miner != miner {
                tracing::warn!(instance = %self.instance, miner, late, "part of the miner's work is late: no heartbeats until it goes on");
            }
        }
        self.miner = miner;
    }

    fn signalled(&mut self, signal: Signal) {
        let now = clock::boottime();
        match signal {
            Signal::Event(heard) => self.election.handle_heard(heard, now),
            Signal::Memory { evicting } => self.election.handle_memory(evicting, now),
            Signal::Back => self.election.handle_back(now),
            Signal::Hears(hears) => {
                self.hears = hears;
                self.election.handle_hearing(hears, now);
            }
        }
    }

    /// When the loop turns next, if nothing happens before.
    fn due(&self, now: Instant) -> Instant {
        self.election.poll_timeout(now).min(now + TURN_EVERY)
    }

    fn could_take_over(&self, now: Instant) -> bool {
        matches!(self.status.borrow().takeover(now), Some(Ok(())))
    }

    /// Logs and counts, by the contract's table.
    fn note(&mut self, event: Event) {
        match event {
            Event::Elected {
                token,
                under_oom,
                after_failures,
            } => self.note_elected(token, under_oom, after_failures),
            Event::Lost { token, reason } => self.note_lost(token, reason),
            Event::Released { token, successor } => {
                tracing::info!(instance = %self.instance, token, successor, "lock released");
                self.resigning.ended(&Ok(token));
            }
            Event::NotReleased { token } => {
                tracing::warn!(instance = %self.instance, token, "lock not released: its TTL ends it");
                self.resigning.ended(&Err(ResignRefused::NotReleased));
            }
            Event::AcquisitionFailed { error, consecutive } => {
                self.note_acquisition_failed(&error, consecutive);
            }
            Event::LookFailed { error } => {
                tracing::warn!(instance = %self.instance, %error, hint = error.fault.hint(), "cannot see the lock");
            }
            Event::RenewalFailed {
                error,
                lease_remaining,
            } => self.note_renewal_failed(&error, lease_remaining),
            Event::ReleaseFailed { error, consecutive } => {
                self.note_release_failed(&error, consecutive);
            }
            Event::LongerTtl { ttl } => {
                tracing::warn!(instance = %self.instance, ?ttl, "another agent's --lease-ttl is longer than this one's: for as long as this \
                    process runs it waits that long before it takes over; give all agents the same, and restart this \
                    one if that was a mistake");
            }
            Event::HeldByOther { leader, endless } => self.note_held(leader, endless),
        }
    }

    fn note_elected(&mut self, token: Token, under_oom: bool, after_failures: u32) {
        let instance = &self.instance;
        self.elections += 1;
        if under_oom {
            self.metrics.elected_under_oom();
            tracing::warn!(%instance, token, after_failures, "elected, although Redis is out of memory");
        } else {
            tracing::info!(%instance, token, after_failures, "elected");
        }
    }

    fn note_lost(&self, token: Token, reason: Reason) {
        let (instance, name) = (&self.instance, reason.name());
        if matches!(reason, Reason::Resigned | Reason::Draining) {
            tracing::info!(%instance, token, reason = name, "resigned");
        } else {
            tracing::warn!(%instance, token, reason = name, "lost");
        }
    }

    fn note_acquisition_failed(&self, error: &StoreError, consecutive: u32) {
        let (instance, hint) = (&self.instance, error.fault.hint());
        self.metrics.acquisition_failed(error.fault);
        if error.fault == StoreFault::OutOfMemory {
            tracing::error!(%instance, %error, consecutive_failures = consecutive, hint,
                "acquisition refused: Redis is out of memory, and this instance cannot lead");
        } else {
            tracing::warn!(%instance, %error, consecutive_failures = consecutive, hint,
                "acquisition failed: this instance cannot lead");
        }
    }

    fn note_renewal_failed(&self, error: &StoreError, lease_remaining: Duration) {
        let (instance, hint) = (&self.instance, error.fault.hint());
        self.metrics.renewal_failed(error.fault);
        if error.fault == StoreFault::OutOfMemory {
            tracing::error!(%instance, %error, ?lease_remaining, hint,
                "renewal refused: still leader until the lease ends, trying again");
        } else {
            tracing::warn!(%instance, %error, ?lease_remaining, hint,
                "renewal failed: still leader until the lease ends, trying again");
        }
    }

    /// Renewal is tried many times within one TTL, and logged ever more rarely.
    fn note_release_failed(&self, error: &StoreError, consecutive: u32) {
        let instance = &self.instance;
        if consecutive.is_power_of_two() {
            tracing::warn!(%instance, %error, consecutive_failures = consecutive, hint = error.fault.hint(),
                "release failed: nothing is granted any more; trying again until the TTL ends the lock");
        } else {
            tracing::debug!(%instance, %error, "release failed: trying again");
        }
    }

    fn note_held(&mut self, leader: String, endless: bool) {
        let instance = &self.instance;
        tracing::debug!(%instance, %leader, "another instance holds the lock");
        if endless && self.endless.as_ref() != Some(&leader) {
            tracing::warn!(%instance, %leader, "the lock has no TTL and never ends: nobody else can lead; if its \
                holder is gone, delete the key");
        }
        self.endless = endless.then_some(leader);
    }

    /// Logs what no event reports: why a standby waits.
    fn note_standing(&mut self, now: Instant) {
        let Leadership { role, reason, .. } = *self.election.leadership();
        if std::mem::replace(&mut self.last, (role, reason)) == (role, reason) {
            return;
        }
        let (role, name) = (role.name(), reason.name());
        let status = self.status.borrow();
        let explanation = &*status.explanation(now);
        if reason == Reason::EvictionPolicy {
            tracing::error!(instance = %self.instance, role, reason = name, explanation, "no leadership");
        } else {
            tracing::info!(instance = %self.instance, role, reason = name, explanation, "standing");
        }
    }
}
