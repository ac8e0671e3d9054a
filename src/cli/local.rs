//! How the client commands reach the local agent.

use std::time::Duration;

use anyhow::Context;
use tonic::transport::{Channel, Endpoint};

use crate::config::DEFAULT_GRPC_LISTEN;

const WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(super) struct LocalArgs {
    /// The local agent: an address, or unix:/path/to/socket [default: 127.0.0.1:50051]
    #[arg(
        long,
        value_name = "ADDR",
        env = "UNDERSTUDY_GRPC_ADDR",
        hide_env_values = true
    )]
    agent: Option<String>,
}

impl LocalArgs {
    pub async fn connect(&self) -> anyhow::Result<Channel> {
        let given = self.agent.as_deref().filter(|agent| !agent.is_empty());
        let agent = given.unwrap_or(DEFAULT_GRPC_LISTEN);
        let url = if agent.starts_with("unix:") || agent.contains("://") {
            agent.to_owned()
        } else {
            format!("http://{agent}")
        };
        Endpoint::from_shared(url)
            .with_context(|| format!("--agent={agent}: allowed is 127.0.0.1:50051 or unix:/path"))?
            .connect_timeout(WITHIN)
            .connect()
            .await
            .with_context(|| {
                format!("no agent answers at {agent}: is `understudy run` running there?")
            })
    }
}

/// What an agent answered that did not do as it was asked.
pub(super) fn refusal(status: &tonic::Status) -> String {
    format!("the agent says: {} ({:?})", status.message(), status.code())
}
