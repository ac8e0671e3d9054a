//! Structured logs that never block the agent. They go through a bounded queue to a thread of their own: if a
//! reader blocks our standard output, lines are lost, not the lease.

use std::io;

use tracing::Level;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;

/// Lines that may wait for a slow reader.
const WAITING_LINES: usize = 2048;
const RUST_LOG: &str = "RUST_LOG";

/// Starts logging to standard output at `level`, unless RUST_LOG is set. Dropping the guard writes the lines that still
/// wait.
pub fn start(format: LogFormat, level: Level) -> WorkerGuard {
    start_on(io::stdout(), format, level, None)
}

/// Logs to standard error, because standard output is the program's: what `exec` does, and only warnings of the agent,
/// unless the user asks for more.
pub fn start_beside_a_program(format: LogFormat, level: Level, few: &str) -> WorkerGuard {
    let is_few = level == Level::INFO && std::env::var_os(RUST_LOG).is_none();
    let few = is_few.then_some(few);
    start_on(io::stderr(), format, level, few)
}

fn start_on(
    to: impl io::Write + io::IsTerminal + Send + 'static,
    format: LogFormat,
    level: Level,
    few: Option<&str>,
) -> WorkerGuard {
    let coloured = colours(&to);
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("logs")
        .finish(to);
    let wanted = few.map_or_else(
        || std::env::var(RUST_LOG).unwrap_or_default(),
        ToOwned::to_owned,
    );
    let (filter, mistake) = match targets(&wanted, level) {
        Ok(filter) => (filter, None),
        Err(mistake) => (Targets::new().with_default(level), Some(mistake)),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_writer(writer);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(coloured).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .init();
    if let Some(mistake) = mistake {
        tracing::warn!(%mistake, "RUST_LOG is malformed: logging by --log-level");
    }
    guard
}

/// `LEVEL` and `TARGET=LEVEL`, separated by commas; `level` if there are none.
fn targets(wanted: &str, level: Level) -> Result<Targets, ParseError> {
    let directives: Vec<_> = wanted
        .split(',')
        .map(str::trim)
        .filter(|it| !it.is_empty())
        .collect();
    if directives.is_empty() {
        return Ok(Targets::new().with_default(level));
    }
    directives.join(",").parse()
}

/// Use colours on a terminal, unless the user has declined them: <https://no-color.org>.
fn colours(to: &impl io::IsTerminal) -> bool {
    let declined = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    to.is_terminal() && !declined
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter;

    use super::*;

    #[test]
    fn rust_log_wins_where_it_says_something() {
        let enabled = |wanted: &str, target: &str, level| {
            let targets = targets(wanted, Level::WARN).expect(wanted);
            targets.would_enable(target, &level)
        };
        for nothing in ["", " ", ",", " , "] {
            assert!(enabled(nothing, "understudy", Level::WARN), "{nothing:?}");
            assert!(!enabled(nothing, "understudy", Level::INFO), "{nothing:?}");
        }
        assert!(enabled("debug, h2=info,", "understudy", Level::DEBUG));
        assert!(!enabled("debug, h2=info,", "h2::proto", Level::DEBUG));
        assert!(!enabled("understudy=debug", "h2", Level::ERROR));
        let off = targets("off", Level::INFO).expect("off");
        assert_eq!(off.default_level(), Some(LevelFilter::OFF));
        assert!(targets("understudy=loud", Level::INFO).is_err());
    }
}
