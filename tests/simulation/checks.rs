//! The invariants of the design, checked from outside: by what Redis holds and what miners do, not by what
//! the elections believe.

use std::collections::HashMap;

use understudy::election::{Leadership, Reason, Role, Token};

#[derive(Default)]
pub struct Checks {
    /// The first violation found.
    pub violation: Option<String>,
    /// Whether a limit is let in: then only the fence and the tokens must hold.
    pub beyond: bool,
    /// Beyond a limit: two miners could act at once.
    pub overlap: Option<String>,
    pub terms: u64,
    /// The tokens in the order in which their terms were begun.
    order: HashMap<Token, usize>,
    last_token: Token,
    /// The docs state a limit: with data loss and a clock set back, tokens may go back.
    pub set_back: bool,
    pub data_lost: bool,
    /// The greatest token that the fenced store has seen, and the latest term that has written to it.
    fence: Token,
    latest_writer: usize,
    /// The latest end of each holder's lock, in true time.
    held_until: HashMap<String, u64>,
    /// When a term last began on an empty store.
    pub first_term_at: Option<u64>,
}

impl Checks {
    pub fn violate(&mut self, what: &str) {
        let forgiven = ["I1", "I5", "I7", "I3: the fence refused"];
        if !self.beyond || !forgiven.iter().any(|it| what.starts_with(it)) {
            self.violation.get_or_insert_with(|| what.to_owned());
        } else if what.starts_with("I1") {
            self.overlap.get_or_insert_with(|| what.to_owned());
        }
    }

    /// I2: a term was begun.
    pub fn begun(&mut self, token: Token, on_empty: bool, now: u64) {
        if token <= self.last_token && !self.tokens_may_go_back() {
            self.violate(&format!("I2: token {token} after {}", self.last_token));
        }
        self.last_token = token;
        self.order.insert(token, self.order.len() + 1);
        if on_empty {
            self.first_term_at = Some(now);
        }
    }

    pub fn tokens_may_go_back(&self) -> bool {
        self.set_back && self.data_lost
    }

    /// I3: a write reaches the store that accepts only the greatest token it has seen.
    pub fn fenced_write(&mut self, token: Token, within_grant: bool) {
        if self.tokens_may_go_back() {
            return;
        }
        let order = self.order.get(&token).copied().unwrap_or_default();
        if token < self.fence {
            if within_grant {
                self.violate(&format!(
                    "I3: the fence refused a leader's write, token {token}"
                ));
            }
            return;
        }
        if order < self.latest_writer {
            self.violate(&format!(
                "I3: the fence let a stale write through, token {token}"
            ));
        }
        self.fence = token;
        self.latest_writer = order;
    }

    /// A lock was written that runs until `until`.
    pub fn held(&mut self, holder: &str, until: u64) {
        let held = self.held_until.entry(holder.to_owned()).or_default();
        *held = until.max(*held);
    }

    /// I5: an agent says that it leads.
    pub fn says_leader(&mut self, holder: &str, now: u64) {
        if self
            .held_until
            .get(holder)
            .is_none_or(|until| now >= *until)
        {
            self.violate(&format!(
                "I5: {holder} says that it leads, and its lock's time is over"
            ));
        }
    }

    /// I8: if a candidate's last answer was this fault, the candidate reports it.
    pub fn reason(&mut self, told: &Leadership, fault: Option<Reason>) {
        // The agent's own reasons, and why its last term ended, until it looks again.
        const STRONGER: [Reason; 8] = [
            Reason::LeaseExpired,
            Reason::LockLost,
            Reason::Resigned,
            Reason::Draining,
            Reason::EvictionPolicy,
            Reason::WaitingOutLease,
            Reason::HoldOff,
            Reason::HeldForSuccessor,
        ];
        if let Some(fault) = fault
            && told.role == Role::Standby
            && told.reason != fault
            && !STRONGER.contains(&told.reason)
        {
            self.violate(&format!("I8: says {:?} under {fault:?}", told.reason));
        }
    }
}
