//! Signs of life for systemd: as long as the election's loop turns, and no longer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::notify::Notify;
use crate::status::Status;

/// Signs of life within the time that systemd waits; one of them may be late.
const SIGNS: u32 = 4;

/// Tells systemd that the election's loop turns.
pub struct Watchdog {
    pub notify: Arc<Notify>,
    /// How long systemd waits.
    pub within: Duration,
    pub published: watch::Receiver<Status>,
}

impl Watchdog {
    pub async fn run(self) {
        let mut seen = None;
        loop {
            let turned = self.published.borrow().elect_due;
            if seen != Some(turned) {
                seen = Some(turned);
                self.notify.alive();
            }
            sleep(self.within / SIGNS).await;
        }
    }
}
