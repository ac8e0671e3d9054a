//! Logs: structured, and never in the way. They go through a bounded queue to a thread of their own;
//! a reader that blocks our standard output loses lines, not the lease.

use std::io;

use tracing::Level;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::LogFormat;

/// Lines that may wait for a slow reader.
const WAITING_LINES: usize = 2048;

/// Starts logging to standard output, from `level` on unless RUST_LOG says more. What is still waiting is written when the
/// guard is dropped.
pub fn start(format: LogFormat, level: Level) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("logs")
        .finish(io::stdout());
    let wanted = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::from_level(level).into())
        .parse(&wanted);
    let (filter, mistake) = match filter {
        Ok(filter) => (filter, None),
        Err(mistake) => (EnvFilter::new(level.as_str()), Some(mistake)),
    };
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(writer);
    match format {
        LogFormat::Text => logs.with_ansi(colours()).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    if let Some(mistake) = mistake {
        tracing::warn!(%mistake, "RUST_LOG is malformed: logging by --log-level");
    }
    guard
}

/// Colours for a person at a terminal who has not declined them: <https://no-color.org>.
fn colours() -> bool {
    let declined = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::IsTerminal::is_terminal(&io::stdout()) && !declined
}
