//! Signals, one after the other.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// This signal ends the program, and then this process.
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

/// SIGHUP; nothing where this process was started with it ignored, as by `nohup`: then it stays so, for the program too.
pub fn hangup() -> Option<SignalKind> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|it| it.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|it| u64::from_str_radix(it.trim(), 16).ok());
    // Bit 0 is signal 1, which it is.
    let ignored = mask.is_some_and(|it| it & 1 == 1);
    (!ignored).then(SignalKind::hangup)
}

/// What is passed on to the program, and SIGCHLD.
pub fn signals() -> std::io::Result<mpsc::UnboundedReceiver<SignalKind>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::quit(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
        SignalKind::window_change(),
        SignalKind::child(),
    ]
    .into_iter()
    .chain(hangup())
    {
        let mut heard = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(
            async move { while heard.recv().await.is_some() && sender.send(kind).is_ok() {} },
        );
    }
    Ok(receiver)
}
