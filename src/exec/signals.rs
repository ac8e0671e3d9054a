//! Signals, one after the other.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// It ends this process, and the program before it.
pub fn ends(signal: SignalKind) -> bool {
    [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::quit(),
    ]
    .contains(&signal)
}

pub async fn next_signal(signals: &mut mpsc::UnboundedReceiver<SignalKind>) -> SignalKind {
    match signals.recv().await {
        Some(signal) => signal,
        None => std::future::pending().await,
    }
}

/// What is passed on to the program, and SIGCHLD.
pub fn signals() -> std::io::Result<mpsc::UnboundedReceiver<SignalKind>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::quit(),
        SignalKind::hangup(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
        SignalKind::window_change(),
        SignalKind::child(),
    ] {
        let mut heard = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(
            async move { while heard.recv().await.is_some() && sender.send(kind).is_ok() {} },
        );
    }
    Ok(receiver)
}
