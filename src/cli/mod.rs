//! The command line: one file per command.

mod doctor;
mod exec;
mod generated;
mod inject;
mod leader;
mod local;
mod probe;
mod resign;
mod run;
mod status;

use std::fmt;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::endpoint::redacted_value;

/// Elects one leader among a miner's replicas with a lock in Redis, and keeps electing when Redis is
/// out of memory
#[derive(Parser)]
#[command(name = "understudy", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent
    Run(Box<crate::config::RunArgs>),
    /// Run a program only while this instance leads: exit with its code; 125 for a failure of understudy, 126 or 127 for a
    /// program that cannot be run or is missing
    Exec(Box<crate::config::ExecArgs>),
    /// Between `exec` and its program: holds the deadline
    #[command(hide = true)]
    ExecGuardian(exec::GuardianArgs),
    /// Between the guardian and the program: becomes the program
    #[command(hide = true)]
    ExecStage(exec::StageArgs),
    /// Ask the local agent: role, leader, token, grant, health of Redis
    Status(status::Args),
    /// Ask Redis who holds the lock, for how long, and since which term
    Leader(leader::Args),
    /// Check Redis from here, before trouble: one line per check; exit 1 if one fails
    Doctor(Box<doctor::Args>),
    /// Hand leadership over in a planned way, through the local agent
    Resign(resign::Args),
    /// Ask the local agent over HTTP, for exec probes: exit 0 for yes, 1 for no, 2 if it cannot be asked
    Probe(probe::Args),
    /// Put the agent beside the miner in Kubernetes manifests, from files or standard input to standard output
    Inject(inject::Args),
    /// Print a shell's completions
    Completions(generated::CompletionsArgs),
    /// Print a manual page
    Man(generated::ManArgs),
}

/// How a command ended. Scripts branch on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Yes,
    No,
    CouldNotAsk,
    /// `EX_USAGE` of sysexits.h.
    BadFlags,
    /// `exec` itself failed; `env` and `timeout` use the same code.
    OurOwn,
    /// The exit code of the program that `exec` ran.
    Command(u8),
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let parsed = Cli::command().try_get_matches();
    let parsed = parsed.and_then(|it| Ok((Cli::from_arg_matches(&it)?, typed(&it))));
    let (cli, typed) = match parsed {
        Ok(parsed) => parsed,
        Err(mut error) => {
            hide_what_may_be_secret(&mut error);
            // Help and version go to standard output and are not mistakes.
            let asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            // The reader may be gone.
            let _ = error.print();
            return if asked { Exit::Yes } else { Exit::BadFlags }.into();
        }
    };
    // One thread is enough, and the agent relies on it: between two awaits nothing else of the agent runs, so what a
    // task reads in the status still holds when it publishes.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(Exit::CouldNotAsk, error).into(),
    };
    let exit = runtime.block_on(async {
        match cli.command {
            Command::Run(args) => run::run(&args).await,
            Command::Exec(args) => exec::run(*args, &typed).await,
            Command::ExecGuardian(args) => exec::guard(args).await,
            Command::ExecStage(args) => exec::stage(&args),
            Command::Status(args) => status::run(args).await,
            Command::Leader(args) => leader::run(args).await,
            Command::Doctor(args) => doctor::run(*args).await,
            Command::Resign(args) => resign::run(args).await,
            Command::Probe(args) => probe::run(&args).await,
            Command::Inject(args) => inject::run(&args),
            Command::Completions(args) => generated::completions(&args),
            Command::Man(args) => generated::man(&args),
        }
    });
    // A name look-up that hangs must not keep the process alive.
    runtime.shutdown_background();
    exit.into()
}

/// The flags of the command that stand on the command line, and not in the environment alone.
fn typed(matches: &ArgMatches) -> Vec<String> {
    let cli = Cli::command();
    let command = matches.subcommand();
    let named = command.and_then(|(name, given)| Some((cli.find_subcommand(name)?, given)));
    let flags = named.into_iter().flat_map(|(command, given)| {
        let here = |arg: &&Arg| {
            given.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
        };
        command.get_arguments().filter(here)
    });
    flags
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .collect()
}

/// A misplaced argument may be a Redis URL, or a part of one.
fn hide_what_may_be_secret(error: &mut clap::Error) {
    let places = [
        ContextKind::InvalidArg,
        ContextKind::InvalidSubcommand,
        ContextKind::InvalidValue,
        ContextKind::TrailingArg,
    ];
    for place in places {
        let secret = matches!(error.get(place), Some(ContextValue::String(text))
            if redacted_value(text) != *text || !text.starts_with('-') && text.contains([':', '=', ',', ';']));
        if secret {
            error.insert(place, ContextValue::String("…".into()));
            error.remove(ContextKind::Suggested);
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Yes => 0,
            Exit::No => 1,
            Exit::CouldNotAsk => 2,
            Exit::BadFlags => 64,
            Exit::OurOwn => 125,
            Exit::Command(code) => code,
        })
    }
}

/// Prints what failed to standard error.
fn fail(exit: Exit, error: impl fmt::Display) -> Exit {
    eprintln!("understudy: {error}");
    exit
}

/// Prints to standard output; the reader may be gone.
fn say(text: impl fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}
