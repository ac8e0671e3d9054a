//! What vouches for one thing that must go on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::state::Shared;

/// Vouches for one thing that must go on. While pulses exist the elector sends the heartbeats itself, as long as all of
/// them are fresh. One is stale until its first [`Self::beat`].
#[derive(Clone)]
pub struct Pulse {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub name: String,
    /// Within two heartbeats, if there is none.
    limit: Option<Duration>,
    /// Of the term for whose length it exists; 0: it is a standing one.
    pub token: u64,
    /// When it last was, in nanoseconds since the elector was made; 0: never.
    beaten: AtomicU64,
    pub late: AtomicBool,
    pub stopped: AtomicBool,
    shared: Weak<Shared>,
}

impl Pulse {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        name: &str,
        limit: Option<Duration>,
        token: u64,
    ) -> Self {
        // No beat is ever fresh enough: where it is told as late, it says why.
        let why = if limit == Some(Duration::ZERO) {
            " (its limit is 0)"
        } else {
            ""
        };
        let inner = Inner {
            name: format!("{name}{why}"),
            limit,
            token,
            beaten: AtomicU64::new(0),
            late: AtomicBool::new(true),
            stopped: AtomicBool::new(false),
            shared: Arc::downgrade(shared),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Says that it goes on.
    pub fn beat(&self) {
        if let Some(shared) = self.inner.shared.upgrade() {
            self.inner.beaten.store(shared.moment(), Ordering::Relaxed);
            if self.inner.late.load(Ordering::Relaxed) {
                shared.pulsed.notify_one();
            }
        }
    }

    /// Ends the pulse: it need not be fresh any more, and vouches for nothing.
    pub fn stop(&self) {
        self.inner.stopped.store(true, Ordering::Relaxed);
        if let Some(shared) = self.inner.shared.upgrade() {
            shared.forget(|it| Arc::ptr_eq(it, &self.inner));
        }
    }
}

impl Inner {
    pub fn fresh(&self, now: u64, every: u64) -> bool {
        let nanos = |limit: Duration| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let limit = self.limit.map_or(every.saturating_mul(2), nanos);
        let beaten = self.beaten.load(Ordering::Relaxed);
        beaten != 0 && now.saturating_sub(beaten) <= limit
    }
}
