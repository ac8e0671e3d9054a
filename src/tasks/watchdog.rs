//! Signs of life for systemd: as long as `/live` says that the agent's loops turn, and no longer.

use std::future::pending;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::notify::Notify;
use crate::status::Status;

/// How many signs of life to send within the time that systemd waits, so that one may be late.
const SIGNS_PER_DEADLINE: u32 = 4;

/// Sends them until `stop` is cancelled; if systemd expects none, it only waits for `stop`.
pub fn show_life(
    notify: &Notify,
    status: &watch::Sender<Status>,
    stop: &CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let (notify, published) = (notify.clone(), status.subscribe());
    let signs = async move {
        let Some(within) = notify.watchdog() else {
            return pending().await;
        };
        loop {
            if published.borrow().live(clock::boottime()) {
                notify.alive();
            }
            sleep(within / SIGNS_PER_DEADLINE).await;
        }
    };
    let stop = stop.clone();
    async move {
        stop.run_until_cancelled(signs).await;
    }
}
