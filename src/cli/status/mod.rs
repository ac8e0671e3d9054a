//! `understudy status`

mod before;
mod history;
mod text;
mod watch;

use anyhow::anyhow;
use tonic::Code;
use tonic::transport::Channel;

use super::local::{ANSWER_TIMEOUT, LocalArgs, refusal};
use super::{Exit, fail, say};
use crate::proto::GetStatusRequest;
use crate::proto::election_service_client::ElectionServiceClient;
use crate::status::Snapshot;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    local: LocalArgs,
    /// Print JSON, one object per line: what `/status` of the HTTP port answers
    #[arg(long)]
    json: bool,
    /// Follow every change, that of Redis' memory included, until interrupted: redrawn in place on a terminal, one line
    /// for each change elsewhere
    #[arg(long)]
    watch: bool,
    /// Print the last hour as this agent saw it: who led, from when to when, and how full Redis was
    #[arg(long, conflicts_with = "watch")]
    history: bool,
}

pub(super) async fn run(args: Args) -> Exit {
    let channel = match args.local.connect(ANSWER_TIMEOUT).await {
        Ok(channel) => channel,
        Err(exit) => return exit,
    };
    let done = if args.watch {
        watch::run(args.json, channel).await
    } else {
        once(&args, channel).await
    };
    match done {
        Ok(()) => Exit::Yes,
        Err(error) => fail(Exit::CouldNotAsk, format_args!("{error:#}")),
    }
}

async fn once(args: &Args, channel: Channel) -> anyhow::Result<()> {
    let snapshot = ask(&channel, args.history).await?;
    if args.json {
        say(serde_json::to_string(&snapshot)?);
        return Ok(());
    }
    let page = text::Page::of_stdout();
    say(page.render(&text::lines(&snapshot)));
    if args.history {
        let history = snapshot.history.as_ref();
        let history = history.ok_or_else(|| {
            anyhow!("this agent is of a version that keeps no history: update it")
        })?;
        say(format_args!("\n{}", history::render(history, snapshot.at)));
    }
    Ok(())
}

/// What the agent knows.
async fn ask(channel: &Channel, history: bool) -> anyhow::Result<Snapshot> {
    let mut elections = ElectionServiceClient::new(channel.clone());
    match elections.get_status(GetStatusRequest { history }).await {
        Ok(answer) => Ok(serde_json::from_str(&answer.into_inner().status_json)?),
        Err(status) if status.code() == Code::Unimplemented => before::ask(channel, None).await,
        Err(status) => Err(anyhow!(refusal(&status))),
    }
}
