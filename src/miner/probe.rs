//! A probe: asks the miner whether it is healthy.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::endpoint::{MinerProbe, ProbeHow};
use crate::http_client;

/// # Errors
/// The miner is not healthy, or did not say so within `limit`.
pub async fn ask(probe: &MinerProbe, limit: Duration) -> anyhow::Result<()> {
    timeout(limit, ask_at_leisure(probe))
        .await
        .with_context(|| format!("no answer within {limit:.0?}"))?
}

async fn ask_at_leisure(probe: &MinerProbe) -> anyhow::Result<()> {
    match &probe.how {
        ProbeHow::Tcp => {
            TcpStream::connect(probe.address).await?;
        }
        ProbeHow::Http { path } => {
            let status = http_client::get(probe.address, path).await?.status();
            if !(status.is_success() || status.is_redirection()) {
                bail!("it answers {status}");
            }
        }
        ProbeHow::Grpc { service } => {
            let endpoint = Endpoint::from_shared(format!("http://{}", probe.address))?;
            let request = HealthCheckRequest {
                service: service.clone(),
            };
            let mut client = HealthClient::new(endpoint.connect().await?);
            let status = client.check(request).await?.into_inner().status();
            if status != ServingStatus::Serving {
                bail!("it says {}", status.as_str_name());
            }
        }
    }
    Ok(())
}
