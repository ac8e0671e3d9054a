//! `understudy doctor`

use serde_json::{Value, json};

use super::{Exit, fail, say};
use crate::config::{Config, RunArgs};
use crate::doctor::{Bound, Finding, Verdict, bounds, examine, poll_interval_without_events};
use crate::store::Survey;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Exit {
    let config = match Config::check(&args.run) {
        Ok(config) => config,
        Err(bad) => return fail(Exit::BadFlags, format_args!("bad settings\n{bad}")),
    };
    // A holder id of its own, so that two doctors at once do not share a shadow key.
    let holder = format!("{}-doctor-{}", config.instance, std::process::id());
    let survey = Survey::take(&config.redis, &holder, config.acquire_under_oom).await;
    let local = config.redis.endpoint.is_local().then(host_memory).flatten();
    let findings = examine(&survey, &config, local);
    // No bounds for a server that was not reached.
    let bounds = match survey.pings {
        Ok(_) => bounds(&config, poll_interval_without_events(&survey, &config)),
        Err(_) => Vec::new(),
    };
    if args.json {
        say(as_json(&findings, &bounds));
    } else {
        say(as_text(&findings, &bounds));
    }
    let worst = findings.iter().map(|finding| finding.verdict).max();
    match worst {
        Some(Verdict::Fail) => Exit::No,
        _ => Exit::Yes,
    }
}

/// The host's memory in bytes, if Redis runs on this host and does not report it.
fn host_memory() -> Option<u64> {
    let info = rustix::system::sysinfo();
    info.totalram.checked_mul(info.mem_unit.into())
}

fn as_text(findings: &[Finding], bounds: &[Bound]) -> String {
    let mut lines = Vec::new();
    for finding in findings {
        let verdict = finding.verdict.name();
        lines.push(format!(
            "{verdict:<5} {:<15} {}",
            finding.check, finding.says
        ));
        if !finding.advice.is_empty() {
            lines.push(format!("{:<21} → {}", "", finding.advice));
        }
    }
    if !bounds.is_empty() {
        let fails = findings.iter().any(|it| it.verdict == Verdict::Fail);
        let once = if fails {
            "once what fails is mended, "
        } else {
            ""
        };
        lines.push(String::new());
        lines.push(format!(
            "{once}at worst nobody leads for, by these settings, on a machine that is not overloaded:"
        ));
    }
    for bound in bounds {
        lines.push(format!(
            "{:>12}  {}: {}",
            worst(bound),
            bound.failure,
            bound.why
        ));
    }
    lines.join("\n")
}

fn worst(bound: &Bound) -> String {
    match bound.worst {
        None => "no bound".into(),
        Some(worst) if worst.is_zero() => "no gap".into(),
        Some(worst) => format!("{:.1} s", worst.as_secs_f64()),
    }
}

fn as_json(findings: &[Finding], bounds: &[Bound]) -> Value {
    let finding = |it: &Finding| {
        json!({
            "check": it.check,
            "verdict": it.verdict.name().to_lowercase(),
            "says": it.says,
            "advice": Some(&it.advice).filter(|it| !it.is_empty()),
        })
    };
    let bound = |it: &Bound| {
        json!({
            "failure": it.failure,
            "worst_seconds": it.worst.map(|it| it.as_secs_f64()),
            "why": it.why,
        })
    };
    json!({
        "checks": findings.iter().map(finding).collect::<Vec<_>>(),
        "bounds": bounds.iter().map(bound).collect::<Vec<_>>(),
    })
}
