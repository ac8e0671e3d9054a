//! Requests for checks of Redis. The agent checks when somebody asks or watches, so that agents which nobody looks at do not
//! burden a Redis in trouble every second.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::clock;
use crate::status::StatusWatch;

/// The next request repeats a check that is older than this.
const FRESH_FOR: Duration = Duration::from_millis(500);
/// Nobody waits longer than this for a check: `/ready` answers within 900 ms.
const CHECK_WITHIN: Duration = Duration::from_millis(800);

/// The side that asks. Requests at the same time share one check.
#[derive(Clone)]
pub struct Checkup {
    requests: mpsc::Sender<oneshot::Sender<()>>,
    watchers: Arc<AtomicUsize>,
}

/// The side of the task that checks.
pub struct CheckRequests {
    requests: mpsc::Receiver<oneshot::Sender<()>>,
    watchers: Arc<AtomicUsize>,
}

/// While this lives, somebody watches, and Redis is checked again and again.
pub struct Watching(Arc<AtomicUsize>);

/// No check was done in time.
#[derive(Debug)]
pub struct Late;

#[must_use]
pub fn checkup() -> (Checkup, CheckRequests) {
    let (sender, receiver) = mpsc::channel(64);
    let watchers = Arc::<AtomicUsize>::default();
    let checkup = Checkup {
        requests: sender,
        watchers: Arc::clone(&watchers),
    };
    let requests = CheckRequests {
        requests: receiver,
        watchers,
    };
    (checkup, requests)
}

impl Checkup {
    /// Returns once the status holds a fresh check of Redis.
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

    /// Returns once the status holds a check that was under way at this call or came after it.
    async fn ask(&self) {
        let (done, wait) = oneshot::channel();
        if self.requests.send(done).await.is_ok() {
            // An error means that the agent is shutting down: the status says so.
            let _ = wait.await;
        }
    }

    /// A command to Redis has failed: check Redis at once, without waiting for the result.
    pub fn suspect(&self) {
        // If the queue is full, a check is due anyway.
        let _ = self.requests.try_send(oneshot::channel().0);
    }

    #[must_use]
    pub fn watch(&self) -> Watching {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        self.suspect();
        Watching(Arc::clone(&self.watchers))
    }
}

impl CheckRequests {
    /// The next request. Never returns once nobody can make one.
    pub async fn next(&mut self) -> oneshot::Sender<()> {
        match self.requests.recv().await {
            Some(asker) => asker,
            None => std::future::pending().await,
        }
    }

    /// Another request that has come meanwhile.
    pub fn try_next(&mut self) -> Option<oneshot::Sender<()>> {
        self.requests.try_recv().ok()
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
