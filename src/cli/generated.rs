//! `understudy completions` and `understudy man`: generated from the definition of the command line itself.

use std::io;

use clap::CommandFactory;

use super::{Cli, Exit, fail, say};

#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// The command to describe; without it, understudy as a whole
    command: Option<String>,
}

pub(super) fn completions(args: &CompletionsArgs) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "understudy", &mut script);
    say(String::from_utf8_lossy(&script).trim_end());
    Exit::Yes
}

pub(super) fn man(args: &ManArgs) -> Exit {
    let mut whole = Cli::command();
    whole.build();
    let page = match &args.command {
        None => whole,
        Some(name) => match whole.find_subcommand(name) {
            Some(command) => command.clone(),
            None => return fail(Exit::BadFlags, format_args!("there is no command {name}")),
        },
    };
    match render(page) {
        Ok(page) => {
            say(page.trim_end());
            Exit::Yes
        }
        Err(error) => fail(Exit::CouldNotAsk, error),
    }
}

fn render(page: clap::Command) -> io::Result<String> {
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
