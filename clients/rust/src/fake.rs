//! Electors without an agent, for laptops and tests, on every system.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::grant::{ENDLESS, Grant};
use crate::state::Shared;

/// What stands in for the agent of [`crate::Elector::fake`]: it leads when a test says so.
pub struct Fake {
    pub(crate) shared: Arc<Shared>,
    pub(crate) token: AtomicU64,
}

impl Fake {
    /// Begins a term, and returns its token.
    pub fn elect(&self) -> u64 {
        let token = self.token.fetch_add(1, Ordering::Relaxed) + 1;
        let miner = &self.shared.miner;
        self.shared.modify(|state| {
            (state.role, state.reason) = ("leader".into(), "elected".into());
            (state.leader, state.instance) = (miner.clone(), miner.clone());
            if !state.withdrawn {
                let until = ENDLESS;
                (state.last, state.leading) = (Grant { token, until }, true);
            }
        });
        token
    }

    /// Ends it, for a reason such as `lock_lost`.
    pub fn lose(&self, reason: &str) {
        self.shared.modify(|state| {
            (state.role, state.reason) = ("standby".into(), reason.into());
            (state.leader, state.leading) = (String::new(), false);
        });
    }
}
