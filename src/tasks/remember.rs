//! Saves what the next process needs to know (`--state-dir`), without delaying the election.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::state::StateDir;
use crate::status::Status;

/// How long to wait after a failed write to the disk.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Writes the holder id and the greatest token to `--state-dir` whenever they change.
pub struct Remember {
    pub state: StateDir,
    pub published: watch::Receiver<Status>,
    /// Saved too: the next process waits out this one's grants.
    pub miner_timeout: Duration,
}

impl Remember {
    /// Runs until the agent is gone. A disk that hangs holds up only this task.
    pub async fn run(mut self) {
        let state = Arc::new(self.state);
        let (mut written, mut told) = (None, None);
        loop {
            let (holder, highest) = {
                let status = self.published.borrow_and_update();
                (
                    status.identity.holder.clone(),
                    status.election.highest_token,
                )
            };
            if written != Some(highest) {
                let (state, timeout) = (Arc::clone(&state), self.miner_timeout);
                let write = move || state.write(&holder, highest, timeout);
                match tokio::task::spawn_blocking(write).await {
                    Ok(Ok(())) => written = Some(highest),
                    // Try again and again, and log once per token.
                    Ok(Err(error)) if told.replace(highest) != Some(highest) => {
                        tracing::warn!(%error, highest, "--state-dir: cannot write what to remember: after a \
                            restart this agent may have to wait for its own lock, and does not know a --miner-timeout that was \
                            raised; look at the disk");
                    }
                    Ok(Err(_)) => {}
                    Err(panicked) => {
                        tracing::error!(%panicked, "--state-dir: the writer has failed");
                    }
                }
            }
            let is_gone = if written == Some(highest) {
                self.published.changed().await.is_err()
            } else {
                sleep(RETRY_AFTER).await;
                self.published.has_changed().is_err()
            };
            if is_gone {
                return;
            }
        }
    }
}
