//! Where the agent is.

use tonic::transport::{Channel, Endpoint};

/// Where it listens unless it is told otherwise.
const DEFAULT_AGENT: &str = "127.0.0.1:50051";

/// The address as messages have it, and a channel, which is connected when it is needed. `None`: the address is none.
pub(crate) fn dial(agent: &str) -> Option<(String, Channel)> {
    let agent = if agent.is_empty() {
        DEFAULT_AGENT
    } else {
        agent
    };
    let endpoint = endpoint(agent)?;
    Some((agent.to_owned(), endpoint.connect_lazy()))
}

fn endpoint(agent: &str) -> Option<Endpoint> {
    if let Some(path) = agent.strip_prefix("unix:") {
        let is_path = !path.trim_start_matches('/').is_empty();
        return Endpoint::from_shared(agent.to_owned())
            .ok()
            .filter(|_| is_path);
    }
    let host = agent.strip_prefix("http://").unwrap_or(agent);
    let endpoint = Endpoint::from_shared(format!("http://{host}")).ok()?;
    let uri = endpoint.uri();
    let port = uri.port_u16().filter(|port| *port > 0)?;
    let whole = host.ends_with(&format!(":{port}")) && !host.contains('@');
    (whole && uri.host().is_some_and(|host| !host.is_empty())).then_some(endpoint)
}
