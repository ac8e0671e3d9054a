//! Planned hand-overs: the requests, and the clients that wait for the end of one.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::election::{Attempt, Command, Election, Token};
use crate::fault::StoreError;
use crate::miner::ResignRefused;
use crate::time::Instant;

/// A request for a planned hand-over.
pub(super) struct Resignation {
    pub reason: String,
    pub hold_off: Duration,
    pub successor: Option<String>,
    pub reply: oneshot::Sender<Result<Token, ResignRefused>>,
}

#[derive(Default)]
pub(super) struct Resigning {
    /// A successor was named: the next renewal reads whether it is there and ready.
    asking: Vec<Resignation>,
    /// The agent is giving its term back.
    waiting: Vec<oneshot::Sender<Result<Token, ResignRefused>>>,
}

impl Resigning {
    pub fn ask(&mut self, resignation: Resignation, election: &mut Election, now: Instant) {
        if resignation.successor.is_some() && election.leadership().at(now).leads() {
            self.asking.push(resignation);
            election.handle_ask_members(now);
        } else {
            self.begin(resignation, None, election, now);
        }
    }

    /// A command was answered or failed, so the list of possible successors may be known now.
    pub fn answered(
        &mut self,
        attempt: &Attempt,
        failed: Option<&StoreError>,
        election: &mut Election,
        now: Instant,
    ) {
        if !matches!(attempt.command, Command::Renew { .. }) {
            return;
        }
        for resignation in std::mem::take(&mut self.asking) {
            let instance = resignation.successor.clone().unwrap_or_default();
            let found = match failed {
                Some(error) => Err(ResignRefused::MembersUnknown(error.clone())),
                None => election
                    .successor(&instance)
                    .map_err(|why| ResignRefused::Successor(instance, why)),
            };
            match found {
                Ok(holder) => self.begin(resignation, Some(&holder), election, now),
                // The client may be gone again.
                Err(why) => drop(resignation.reply.send(Err(why))),
            }
        }
    }

    fn begin(
        &mut self,
        resignation: Resignation,
        successor: Option<&String>,
        election: &mut Election,
        now: Instant,
    ) {
        let Resignation {
            reason, hold_off, ..
        } = resignation;
        match election.handle_resign(hold_off, successor.cloned(), now) {
            Ok(token) => {
                tracing::info!(token, reason, ?hold_off, successor, "resigning");
                self.waiting.push(resignation.reply);
            }
            Err(_) => drop(resignation.reply.send(Err(ResignRefused::NotLeader))),
        }
    }

    /// The agent has given its term back, or could not.
    pub fn ended(&mut self, result: &Result<Token, ResignRefused>) {
        for reply in self.waiting.drain(..) {
            let _ = reply.send(result.clone());
        }
    }

    /// This agent no longer leads, so there is nothing to hand over.
    pub fn not_leading(&mut self) {
        for resignation in self.asking.drain(..) {
            let _ = resignation.reply.send(Err(ResignRefused::NotLeader));
        }
    }
}
