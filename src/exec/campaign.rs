//! One campaign at an agent, over a connection of its own. The agent takes the end of the connection as the end of the
//! campaign; a process that holds a copy of the socket delays that.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::Context;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::either::Either;
use tonic::Streaming;
use tonic::transport::Endpoint;
use tower::service_fn;

use crate::api::Dial;
use crate::proto::election_service_client::ElectionServiceClient;
use crate::proto::{CampaignRequest, CampaignResponse, Leadership};

const ANSWER_WITHIN: Duration = Duration::from_secs(2);
const SEEN_WITHIN: Duration = Duration::from_millis(500);

/// The agent to ask.
pub enum Agent {
    /// In this process.
    Own(Dial),
    /// A socket, or a host with its port.
    Unix(String),
    Tcp(String),
}

pub struct Campaign {
    requests: mpsc::Sender<CampaignRequest>,
    responses: Streaming<CampaignResponse>,
    label: String,
    pub socket: OwnedFd,
}

impl Campaign {
    pub async fn open(agent: &Agent, label: &str) -> anyhow::Result<Self> {
        let opening = Self::open_slowly(agent, label);
        tokio::time::timeout(ANSWER_WITHIN, opening)
            .await
            .context("no answer in time")?
    }

    async fn open_slowly(agent: &Agent, label: &str) -> anyhow::Result<Self> {
        let (stream, socket) = connect(agent).await?;
        let mut stream = Some(TokioIo::new(stream));
        let once = service_fn(move |_| {
            let stream = stream.take();
            async move { stream.ok_or_else(|| io::Error::other("the connection has ended")) }
        });
        let channel = Endpoint::from_static("http://agent")
            .connect_with_connector(once)
            .await?;
        let (requests, outgoing) = mpsc::channel(4);
        let mut client = ElectionServiceClient::new(channel);
        let opened = client.campaign(ReceiverStream::new(outgoing)).await;
        let responses = opened.map_err(|status| anyhow::anyhow!("{}", status.message()))?;
        let campaign = Self {
            requests,
            responses: responses.into_inner(),
            label: label.to_owned(),
            socket,
        };
        campaign.beat();
        Ok(campaign)
    }

    /// Ends it in order: when this returns the agent has seen it, and gives the lock back.
    pub async fn end(self) {
        let Self {
            requests,
            mut responses,
            ..
        } = self;
        drop(requests);
        let ended = async { while matches!(responses.message().await, Ok(Some(_))) {} };
        let _ = tokio::time::timeout(SEEN_WITHIN, ended).await;
    }

    pub fn beat(&self) {
        // The queue is full: the agent does not read, and its silence will show that.
        let _ = self.requests.try_send(CampaignRequest {
            miner: self.label.clone(),
            ..CampaignRequest::default()
        });
    }

    /// The agent's next message. May be dropped and called again.
    pub async fn next(&mut self) -> anyhow::Result<Leadership> {
        match self.responses.message().await {
            Ok(Some(response)) => Ok(response.leadership.unwrap_or_default()),
            Ok(None) => anyhow::bail!("the agent has ended the campaign"),
            Err(status) => anyhow::bail!("{}", status.message().to_owned()),
        }
    }
}

type Stream = Either<TcpStream, UnixStream>;

async fn connect(agent: &Agent) -> io::Result<(Stream, OwnedFd)> {
    let stream = match agent {
        Agent::Own(dial) => Either::Right(dial.dial().await?),
        Agent::Unix(path) => Either::Right(UnixStream::connect(path).await?),
        Agent::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Either::Left(stream)
        }
    };
    let copy = match &stream {
        Either::Left(tcp) => tcp.as_fd().try_clone_to_owned()?,
        Either::Right(unix) => unix.as_fd().try_clone_to_owned()?,
    };
    Ok((stream, copy))
}
