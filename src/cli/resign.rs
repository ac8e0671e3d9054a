//! `understudy resign`

use std::time::Duration;

use tonic::Code;

use super::local::{LocalArgs, refusal};
use super::{Exit, fail, say};
use crate::endpoint::redacted_value;
use crate::proto::ResignRequest;
use crate::proto::election_service_client::ElectionServiceClient;

/// The answer comes after the release, which waits for the miner.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    local: LocalArgs,
    /// How long this agent stays out of the election afterwards; up to 1h [default: 30s]
    #[arg(long, value_name = "DURATION")]
    hold_off: Option<String>,
    /// The instance that should lead next (not implemented by this version)
    #[arg(long, value_name = "INSTANCE")]
    to: Option<String>,
    /// Why, for the agent's log
    #[arg(long, value_name = "TEXT", default_value = "asked on the command line")]
    reason: String,
}

pub(super) async fn run(args: Args) -> Exit {
    let hold_off = args
        .hold_off
        .as_deref()
        .map(humantime::parse_duration)
        .transpose();
    let hold_off = match hold_off {
        Ok(hold_off) => hold_off.map(|it: Duration| prost_types::Duration::try_from(it)),
        Err(_) => return bad_hold_off(&args),
    };
    let Ok(hold_off) = hold_off.transpose() else {
        return bad_hold_off(&args);
    };
    let channel = match args.local.connect(PATIENCE).await {
        Ok(channel) => channel,
        Err(exit) => return exit,
    };
    let request = ResignRequest {
        reason: args.reason,
        hold_off,
        successor: args.to.unwrap_or_default(),
    };
    match ElectionServiceClient::new(channel).resign(request).await {
        Ok(answer) => {
            let token = answer.into_inner().fencing_token;
            say(format_args!(
                "resigned: the lock of term {token} is released"
            ));
            Exit::Yes
        }
        Err(status) => {
            let exit = match status.code() {
                Code::FailedPrecondition | Code::Aborted => Exit::No,
                Code::InvalidArgument => Exit::BadFlags,
                _ => Exit::CouldNotAsk,
            };
            fail(exit, refusal(&status))
        }
    }
}

fn bad_hold_off(args: &Args) -> Exit {
    let given = args.hold_off.as_deref().unwrap_or_default();
    fail(
        Exit::BadFlags,
        format_args!(
            "--hold-off={}: expected a duration such as 30s, up to 1h",
            redacted_value(given)
        ),
    )
}
