//! `understudy probe`: asks the agent over HTTP, within a second, for exec probes; the image has no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::timeout;

use super::{Exit, fail, say};
use crate::config::DEFAULT_HTTP_LISTEN;
use crate::endpoint::redacted_value;
use crate::http_client;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Longer than any answer of the agent to a probe.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

#[derive(Debug, clap::Args)]
#[allow(
    rustdoc::broken_intra_doc_links,
    reason = "its comments are the help, where [::] is an address"
)]
pub(super) struct Args {
    /// What to ask
    #[arg(value_enum, default_value_t = Question::Ready)]
    question: Question,
    /// Where the agent serves HTTP; for [::] and 0.0.0.0 it asks on loopback [default: [::]:9090]
    #[arg(
        long,
        value_name = "ADDR",
        env = "UNDERSTUDY_HTTP_LISTEN",
        hide_env_values = true
    )]
    http_listen: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Question {
    Ready,
    Live,
    Leader,
}

pub(super) async fn run(args: &Args) -> Exit {
    let given = args
        .http_listen
        .as_deref()
        .filter(|address| !address.is_empty());
    let given = given.unwrap_or(DEFAULT_HTTP_LISTEN);
    let Ok(address) = given.parse::<SocketAddr>() else {
        let expected = "an address such as 127.0.0.1:9095";
        return fail(
            Exit::BadFlags,
            format_args!(
                "--http-listen={}: expected {expected}",
                redacted_value(given)
            ),
        );
    };
    let path = match args.question {
        Question::Ready => "/ready",
        Question::Live => "/live",
        Question::Leader => "/leader",
    };
    let asked = timeout(ANSWER_TIMEOUT, ask(address, path)).await;
    let late = |_| Err(anyhow!("it did not answer within {ANSWER_TIMEOUT:?}"));
    match asked.unwrap_or_else(late) {
        Ok((200, body)) => {
            say(body.trim_end());
            Exit::Yes
        }
        Ok((503, body)) => {
            say(body.trim_end());
            Exit::No
        }
        Ok((code, _)) => fail(
            Exit::CouldNotAsk,
            format_args!("{address}{path} answered {code}"),
        ),
        Err(error) => fail(
            Exit::CouldNotAsk,
            format_args!("no agent answers at {address}: {error:#}"),
        ),
    }
}

/// An agent that listens everywhere also listens on loopback, over IPv4 too; over IPv4 alone if the kernel has no IPv6.
async fn ask(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let on = |ip: IpAddr| http_client::get(SocketAddr::new(ip, address.port()), path);
    let answer = match address.ip() {
        IpAddr::V6(ip) if ip.is_unspecified() => match on(Ipv6Addr::LOCALHOST.into()).await {
            Err(_) => on(Ipv4Addr::LOCALHOST.into()).await?,
            answer => answer?,
        },
        IpAddr::V4(ip) if ip.is_unspecified() => on(Ipv4Addr::LOCALHOST.into()).await?,
        ip => on(ip).await?,
    };
    let code = answer.status().as_u16();
    Ok((code, http_client::body(answer, MAX_ANSWER_BYTES).await?))
}
