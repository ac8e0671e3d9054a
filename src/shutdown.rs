//! Signals: the first tells the agent to stop cleanly, the second stops it at once.

use std::io;
use std::process::exit;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first SIGTERM or SIGINT. A second one ends the process with the
/// customary status, 128 + the signal's number.
///
/// # Errors
/// The handlers cannot be installed.
pub fn on_signal() -> io::Result<CancellationToken> {
    let mut signals = [
        (signal(SignalKind::terminate())?, SignalKind::terminate()),
        (signal(SignalKind::interrupt())?, SignalKind::interrupt()),
    ];
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        let first = next(&mut signals).await;
        tracing::info!(signal = first, "stopping: a second signal stops at once");
        stop.cancel();
        exit(128 + next(&mut signals).await);
    });
    Ok(token)
}

async fn next([(terminate, term), (interrupt, int)]: &mut [(Signal, SignalKind); 2]) -> i32 {
    tokio::select! {
        _ = terminate.recv() => term.as_raw_value(),
        _ = interrupt.recv() => int.as_raw_value(),
    }
}
