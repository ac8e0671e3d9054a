//! `understudy exec`, and the two steps between it and the program.

use std::ffi::OsString;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Exit, fail};
use crate::agent::Agent;
use crate::config::{ExecArgs, ExecConfig};
use crate::exec::{self, Exec, Failed};
use crate::logs;
use crate::time::Instant;

/// The log level unless the user asks for more.
const FEW_LINES: &str = "warn,understudy::exec=info";

#[derive(clap::Args)]
pub(super) struct GuardianArgs {
    grace_millis: u64,
    #[arg(last = true)]
    command: Vec<OsString>,
}

#[derive(clap::Args)]
pub(super) struct StageArgs {
    guardian: u32,
    latest_nanos: u64,
    #[arg(last = true)]
    command: Vec<OsString>,
}

pub(super) async fn run(args: ExecArgs, typed: &[String]) -> Exit {
    let config = match ExecConfig::check(&args, typed) {
        Ok(config) => config,
        Err(bad) => return fail(Exit::BadFlags, format_args!("bad settings\n{bad}")),
    };
    let command = args.command;
    let name = command.first().cloned().unwrap_or_default();
    if let Err((code, why)) = exec::runnable(&name) {
        let name = name.display();
        return fail(Exit::Command(code), format_args!("{name}: {why}"));
    }
    let _logs = logs::start_beside_a_program(config.log_format, config.log_level, FEW_LINES);
    let ExecConfig { grace, restart, .. } = config;
    let Some(agent) = config.own else {
        let agent = match config.agent.strip_prefix("unix:") {
            Some(path) => exec::Agent::Unix(path.to_owned()),
            None => exec::Agent::Tcp(config.agent),
        };
        let exec = Exec {
            agent,
            command,
            grace,
            restart,
            instance: None,
        };
        return told(exec.run().await);
    };
    let instance = Some(agent.instance.clone());
    let mut agent = match Agent::bind(*agent) {
        Ok(agent) => agent,
        Err(error) => return fail(Exit::OurOwn, format_args!("{error:#}")),
    };
    let dial = exec::Agent::Own(agent.dial());
    let stop = CancellationToken::new();
    let running = tokio::spawn(agent.run(stop.clone()));
    let exec = Exec {
        agent: dial,
        command,
        grace,
        restart,
        instance,
    };
    let ended = exec.run().await;
    // Nothing runs any more, so release the lock.
    stop.cancel();
    match running.await {
        Ok(Ok(())) => told(ended),
        Ok(Err(error)) => fail(Exit::OurOwn, format_args!("{error:#}")),
        Err(error) => fail(Exit::OurOwn, error),
    }
}

pub(super) async fn guard(args: GuardianArgs) -> Exit {
    let grace = Duration::from_millis(args.grace_millis);
    match exec::guard(grace, &args.command).await {
        Ok(()) => Exit::Yes,
        Err(error) => fail(
            Exit::OurOwn,
            format_args!("the program was not started: {error}"),
        ),
    }
}

/// Replaces this process by the program.
pub(super) fn stage(args: &StageArgs) -> Exit {
    let latest = Instant::from_nanos(args.latest_nanos);
    let Err(error) = exec::become_command(args.guardian, latest, &args.command);
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    let code = if missing { 127 } else { 126 };
    fail(
        Exit::Command(code),
        format_args!("the program cannot be run: {error}"),
    )
}

fn told(ended: Result<u8, Failed>) -> Exit {
    match ended {
        Ok(code) => Exit::Command(code),
        Err(error @ Failed::Grace { .. }) => fail(Exit::BadFlags, error),
        Err(Failed::Other(error)) => fail(Exit::OurOwn, format_args!("{error:#}")),
    }
}
