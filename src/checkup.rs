//! Asks for checks of Redis. Nobody else's interest makes the agent send one: a Redis in trouble is not asked once a second
//! by agents that nobody looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::clock;
use crate::status::StatusWatch;

/// A check that is older than this is made again for the next who asks.
const FRESH_FOR: Duration = Duration::from_millis(500);
/// Nobody waits longer than this for a check: `/ready` answers within 900 ms.
const CHECK_WITHIN: Duration = Duration::from_millis(800);

/// The asking side. Those who ask at the same time share one check.
#[derive(Clone)]
pub struct Checkup {
    asked: mpsc::Sender<oneshot::Sender<()>>,
    watchers: Arc<AtomicUsize>,
}

/// The side of the task that checks.
pub struct Asked {
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    watchers: Arc<AtomicUsize>,
}

/// As long as this lives somebody watches, and Redis is checked again and again.
pub struct Watching(Arc<AtomicUsize>);

/// No check was done in time.
#[derive(Debug)]
pub struct Late;

#[must_use]
pub fn checkup() -> (Checkup, Asked) {
    let (sender, receiver) = mpsc::channel(64);
    let watchers = Arc::<AtomicUsize>::default();
    let checkup = Checkup {
        asked: sender,
        watchers: Arc::clone(&watchers),
    };
    let asked = Asked {
        asked: receiver,
        watchers,
    };
    (checkup, asked)
}

impl Checkup {
    /// Returns when what is known of Redis in the status is fresh.
    ///
    /// # Errors
    /// It is not, after 800 ms.
    pub async fn fresh(&self, published: &StatusWatch) -> Result<(), Late> {
        let age = published.borrow().redis.age(clock::boottime());
        if age.is_some_and(|age| age <= FRESH_FOR) {
            return Ok(());
        }
        timeout(CHECK_WITHIN, self.ask()).await.map_err(|_| Late)
    }

    /// Returns when a check that was under way or came after this call is in the status.
    async fn ask(&self) {
        let (done, wait) = oneshot::channel();
        if self.asked.send(done).await.is_ok() {
            // An error means that the agent is shutting down: the status says so.
            let _ = wait.await;
        }
    }

    /// Something has failed that Redis was asked for: look at once how it is, and wait for nothing.
    pub fn suspect(&self) {
        // Where so many ask that there is no room, a check is due anyway.
        let _ = self.asked.try_send(oneshot::channel().0);
    }

    #[must_use]
    pub fn watch(&self) -> Watching {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        self.suspect();
        Watching(Arc::clone(&self.watchers))
    }
}

impl Asked {
    /// The next who asks. Never returns once nobody can.
    pub async fn next(&mut self) -> oneshot::Sender<()> {
        match self.asked.recv().await {
            Some(asker) => asker,
            None => std::future::pending().await,
        }
    }

    /// Another who has asked meanwhile.
    pub fn try_next(&mut self) -> Option<oneshot::Sender<()>> {
        self.asked.try_recv().ok()
    }

    #[must_use]
    pub fn watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
