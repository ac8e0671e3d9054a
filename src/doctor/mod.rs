//! What a survey of Redis means for the operator. Pure.

mod acl;
mod bounds;
mod checks;
mod others;
mod server;

use std::time::Duration;

use crate::config::Config;
use crate::store::Survey;

pub use acl::acl_line;
pub use bounds::{Bound, bounds, poll_interval_without_events};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Ok,
    /// It works now, but perhaps not tomorrow, or not in every failure.
    Warn,
    /// The election does not work here, or not safely.
    Fail,
}

/// One check, in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub check: &'static str,
    pub verdict: Verdict,
    /// What was found, and what it means.
    pub says: String,
    /// What to do; empty if nothing.
    pub advice: String,
}

/// Every check, in the order in which an operator reads them.
#[must_use]
pub fn examine(survey: &Survey, config: &Config, local_memory: Option<u64>) -> Vec<Finding> {
    let reach = checks::reach(survey, config);
    if reach.verdict == Verdict::Fail {
        // Every other check would only repeat it.
        return vec![reach];
    }
    vec![
        reach,
        checks::engine(survey),
        checks::permissions(survey, config),
        checks::role(survey, config),
        server::eviction(survey, config),
        server::memory(survey, config, local_memory),
        server::persistence(survey, config),
        server::replicas(survey),
        server::clients(survey, config),
        checks::clock(survey, config),
        checks::acquire(survey),
        checks::acquire_under_oom(survey, config),
        checks::events(survey, config),
        checks::lock(survey),
        others::other_locks(survey, config),
    ]
}

impl Verdict {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

impl Finding {
    fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self::of(check, Verdict::Ok, says, "")
    }

    fn warn(check: &'static str, says: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::of(check, Verdict::Warn, says, advice)
    }

    fn fail(check: &'static str, says: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::of(check, Verdict::Fail, says, advice)
    }

    fn of(
        check: &'static str,
        verdict: Verdict,
        says: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            check,
            verdict,
            says: says.into(),
            advice: advice.into(),
        }
    }
}

/// The shortest form: `1.5 ms`, `30 s`.
fn time(duration: Duration) -> String {
    let (number, unit) = if duration < Duration::from_secs(1) {
        (duration.as_secs_f64() * 1e3, "ms")
    } else {
        (duration.as_secs_f64(), "s")
    };
    let number = format!("{number:.1}");
    format!("{} {unit}", number.trim_end_matches(".0"))
}
