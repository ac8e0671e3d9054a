//! How the client commands reach the local agent.

use std::time::Duration;

use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::{Exit, fail};
use crate::config::DEFAULT_GRPC_LISTEN;
use crate::endpoint::redacted_value;

/// An agent on this machine answers sooner, unless it was stopped.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

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
    /// Dials the agent. Each answer may take `patience`.
    ///
    /// # Errors
    /// The command's exit. The reason has been printed already.
    pub async fn connect(&self, patience: Duration) -> Result<Channel, Exit> {
        let given = self.agent.as_deref().filter(|agent| !agent.is_empty());
        let agent = given.unwrap_or(DEFAULT_GRPC_LISTEN);
        let Some(endpoint) = endpoint(agent) else {
            return Err(fail(
                Exit::BadFlags,
                format_args!(
                    "--agent={}: expected 127.0.0.1:50051 or unix:/path",
                    redacted_value(agent)
                ),
            ));
        };
        let endpoint = endpoint.connect_timeout(ANSWER_TIMEOUT).timeout(patience);
        endpoint.connect().await.map_err(|error| {
            // The library's own messages say only that there was an error; the innermost says which.
            let error = anyhow::Error::from(error);
            let error = error.root_cause();
            fail(
                Exit::CouldNotAsk,
                format_args!(
                    "no agent answers at {agent}: is `understudy run` running there? ({error})"
                ),
            )
        })
    }
}

/// A host with its port, or a socket.
fn endpoint(agent: &str) -> Option<Endpoint> {
    if agent.starts_with("unix:") {
        return Endpoint::from_shared(agent.to_owned()).ok();
    }
    let host = agent.strip_prefix("http://").unwrap_or(agent);
    let endpoint = Endpoint::from_shared(format!("http://{host}")).ok()?;
    let uri = endpoint.uri();
    let whole = !host.contains('@')
        && uri.port_u16().is_some()
        && uri.host().is_some_and(|host| !host.is_empty());
    whole.then_some(endpoint)
}

/// Explains the answer of an agent that refused a request.
pub(super) fn refusal(status: &tonic::Status) -> String {
    if status.code() == Code::DeadlineExceeded || status.code() == Code::Cancelled {
        return format!(
            "no answer in time ({}): the agent may be stopped or overloaded, and may still do what it was asked",
            status.message()
        );
    }
    if matches!(status.code(), Code::Unknown | Code::Internal) {
        return format!(
            "{} ({:?}): does an agent serve gRPC there? Its HTTP port answers `understudy probe`",
            status.message(),
            status.code()
        );
    }
    format!("the agent says: {} ({:?})", status.message(), status.code())
}
