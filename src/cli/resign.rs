//! `understudy resign`

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Code, Streaming};

use super::local::{LocalArgs, refusal};
use super::{Exit, fail, say};
use crate::clock;
use crate::endpoint::redacted_value;
use crate::proto::election_service_client::ElectionServiceClient;
use crate::proto::{ObserveRequest, ObserveResponse, ResignRequest};
use crate::time::Instant;

/// The answer comes after the release, which waits for the miner.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long to wait for the next leader.
const SUCCESSOR_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    local: LocalArgs,
    /// How long this agent stays out of the election afterwards; up to 1h [default: 30s]
    #[arg(long, value_name = "DURATION")]
    hold_off: Option<String>,
    /// The instance that should lead next; refused if it is not there or not ready. The others hold off for a second
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
    // A script's variable that was never set must not hand over to anybody.
    if args.to.as_deref() == Some("") {
        let expected =
            "--to: expected the name of an instance: `understudy leader` lists the candidates";
        return fail(Exit::BadFlags, expected);
    }
    let channel = match args.local.connect(RELEASE_TIMEOUT).await {
        Ok(channel) => channel,
        Err(exit) => return exit,
    };
    let mut client = ElectionServiceClient::new(channel);
    // Observe from before the release, so that no change is missed.
    let observed = client.observe(ObserveRequest::default()).await;
    let request = ResignRequest {
        reason: args.reason,
        hold_off,
        successor: args.to.unwrap_or_default(),
    };
    match client.resign(request).await {
        Ok(answer) => {
            let token = answer.into_inner().fencing_token;
            let released = clock::boottime();
            say(format_args!(
                "resigned: the lock of term {token} is released"
            ));
            if let Ok(stream) = observed {
                say(next_leader(stream.into_inner(), released).await);
            }
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

/// Who leads now, as this agent sees it, and how long there was no leader.
async fn next_leader(mut stream: Streaming<ObserveResponse>, released: Instant) -> String {
    let next = async {
        while let Ok(Some(response)) = stream.message().await {
            let Some(now) = response.leadership else {
                continue;
            };
            if !now.leader_id.is_empty() && now.leader_id != now.instance_id {
                return Some(now.leader_id);
            }
        }
        None
    };
    match timeout(SUCCESSOR_TIMEOUT, next).await {
        Ok(Some(leader)) => {
            let took = match clock::boottime().since(released).as_millis() {
                0 => "less than 1 ms".to_owned(),
                ms => format!("{ms} ms"),
            };
            format!("{leader} leads; nobody led for {took}, as this agent saw it")
        }
        Ok(None) => "the agent ended before it saw who leads next".into(),
        Err(_) => format!(
            "nobody was seen to lead within {} s: is another candidate ready? `understudy leader` lists them; this one is a \
             candidate again after its hold-off",
            SUCCESSOR_TIMEOUT.as_secs()
        ),
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
