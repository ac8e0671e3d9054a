//! `understudy status --watch`: redrawn in place on a terminal, one line for each change elsewhere.

use std::io::stdout;
use std::time::Duration;

use anyhow::anyhow;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::time::sleep;
use tonic::transport::Channel;

use super::super::local::refusal;
use super::super::say;
use super::text::{Page, lines, summary};
use super::{ask, before};
use crate::proto::ObserveRequest;
use crate::proto::election_service_client::ElectionServiceClient;
use crate::status::{Snapshot, clock_time};

/// On a terminal the lease is seen running down. Elsewhere it is asked whether anybody reads.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How a snapshot is shown.
enum Shown {
    Json,
    /// What was said last is not said again.
    Line {
        last: String,
    },
    /// So many rows were drawn before, and are painted over.
    Redrawn {
        rows: usize,
    },
}

pub(super) async fn run(json: bool, channel: Channel) -> anyhow::Result<()> {
    let mut shown = if json {
        Shown::Json
    } else if Page::can_redraw() {
        Shown::Redrawn { rows: 0 }
    } else {
        Shown::Line {
            last: String::new(),
        }
    };
    let refused = |status: tonic::Status| anyhow!(refusal(&status));
    let everything = ObserveRequest { everything: true };
    let mut elections = ElectionServiceClient::new(channel.clone());
    let changes = elections.observe(everything).await.map_err(refused)?;
    let mut changes = changes.into_inner();
    loop {
        let redraws = matches!(shown, Shown::Redrawn { .. });
        let snapshot = tokio::select! {
            change = changes.message() => {
                let change = change.map_err(refused)?;
                let change = change.ok_or_else(|| anyhow!("the agent has ended the stream"))?;
                match &*change.status_json {
                    "" => before::ask(&channel, change.leadership).await?,
                    status => serde_json::from_str(status)?,
                }
            }
            () = sleep(LOOK_EVERY) => {
                if is_unread() {
                    return Ok(());
                }
                if !redraws {
                    continue;
                }
                ask(&channel, false).await?
            }
        };
        shown.show(&snapshot)?;
    }
}

/// Nobody reads what is printed any longer, as after `| head -1`.
fn is_unread() -> bool {
    let output = stdout();
    let mut polled = [PollFd::new(&output, PollFlags::empty())];
    let now = Timespec::default();
    let gone = poll(&mut polled, Some(&now)).is_ok_and(|found| found > 0);
    gone && polled[0].revents().contains(PollFlags::ERR)
}

impl Shown {
    fn show(&mut self, snapshot: &Snapshot) -> anyhow::Result<()> {
        match self {
            Self::Json => say(serde_json::to_string(snapshot)?),
            Self::Line { last } => {
                let line = summary(snapshot);
                if line != *last {
                    say(format_args!("{}  {line}", clock_time(snapshot.at)));
                    *last = line;
                }
            }
            Self::Redrawn { rows } => {
                let text = Page::of_stdout().render(&lines(snapshot));
                // Up to the first row, and everything below it away.
                let up = match *rows {
                    0 => String::new(),
                    rows => format!("\x1b[{rows}A\x1b[J"),
                };
                *rows = text.lines().count();
                say(format_args!("{up}{text}"));
            }
        }
        Ok(())
    }
}
