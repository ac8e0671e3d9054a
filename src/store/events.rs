//! The events channel: a hint that something happened to the lock. Never relied on.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::RedisResult;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::time::timeout;

use super::dial::{Credentials, dial_to_listen};
use super::error::store_error;
use super::judged;
use super::topology::Topology;
use crate::election::Announcement;
use crate::endpoint::{RedisAddress, RedisEndpoint, RedisPlace, RedisSettings};
use crate::fault::StoreError;

/// What sentinels publish when a primary has been replaced; the message begins with its name.
const SWITCHED: &str = "+switch-master";

/// Where to listen.
pub struct Events {
    topology: Topology,
    channel: String,
    limit: Duration,
}

/// A connection that listens, gone when Redis is gone or another server has become the primary.
pub struct Subscription {
    sink: PubSubSink,
    stream: PubSubStream,
    switches: Option<Switches>,
}

/// A connection to a sentinel that tells of a new primary.
struct Switches {
    master: String,
    stream: PubSubStream,
    /// Keeps the connection open.
    _sink: PubSubSink,
}

impl Events {
    /// Nothing is dialled yet.
    #[must_use]
    pub fn new(settings: &RedisSettings) -> Self {
        let endpoint = Arc::new(settings.endpoint.clone());
        Self {
            topology: Topology::new(&endpoint, &settings.keys.lock),
            channel: settings.keys.events(),
            limit: settings.timeout,
        }
    }

    /// # Errors
    /// Redis is not there, or refuses to let this user subscribe.
    pub async fn subscribe(&mut self) -> Result<Subscription, StoreError> {
        let limit = self.limit;
        timeout(limit, self.dial())
            .await
            .map_err(|_| StoreError::timed_out(format!("no answer within {limit:.0?}")))?
    }

    async fn dial(&mut self) -> Result<Subscription, StoreError> {
        let endpoint = Arc::clone(self.topology.endpoint());
        // First whoever tells of a change, so that none is missed.
        let switches = match &endpoint.place {
            RedisPlace::Sentinel { sentinels, master } => {
                Some(Switches::listen(&endpoint, sentinels, master).await?)
            }
            RedisPlace::Server(_) | RedisPlace::Cluster { .. } => None,
        };
        let address = self.topology.locate().await?;
        let listening = listen(&endpoint, &address, Credentials::Redis, &self.channel);
        let (sink, stream) = listening.await.map_err(store_error)?;
        Ok(Subscription {
            sink,
            stream,
            switches,
        })
    }

    /// Waits for the next event and returns what was said of this lock, if anything; `None` when the subscription is gone.
    /// A connection on which nothing was heard for `quiet` is asked whether it still lives.
    pub async fn next(
        &self,
        subscription: &mut Subscription,
        quiet: Duration,
    ) -> Option<Option<Announcement>> {
        let Subscription {
            sink,
            stream,
            switches,
        } = subscription;
        let mut switched = pin!(Switches::next(switches.as_mut()));
        loop {
            tokio::select! {
                message = timeout(quiet, stream.next()) => if let Ok(message) = message {
                    // What is no text was not said by one of us.
                    let said: String = message?.get_payload().unwrap_or_default();
                    return Some(Announcement::parse(&said, judged::read));
                },
                () = &mut switched => return None,
            }
            let ping = sink.ping::<redis::Value>();
            timeout(self.limit, ping).await.ok()?.ok()?;
        }
    }
}

async fn listen(
    endpoint: &Arc<RedisEndpoint>,
    address: &RedisAddress,
    credentials: Credentials,
    channel: &str,
) -> RedisResult<(PubSubSink, PubSubStream)> {
    let (mut sink, stream) = dial_to_listen(endpoint, address, credentials)
        .await?
        .split();
    sink.subscribe(channel).await?;
    Ok((sink, stream))
}

impl Switches {
    /// To the first of the sentinels that listens to us.
    async fn listen(
        endpoint: &Arc<RedisEndpoint>,
        sentinels: &[RedisAddress],
        master: &str,
    ) -> Result<Self, StoreError> {
        let mut dialling = tokio::task::JoinSet::new();
        for sentinel in sentinels {
            let (endpoint, sentinel) = (Arc::clone(endpoint), sentinel.clone());
            dialling.spawn(async move {
                listen(&endpoint, &sentinel, Credentials::Sentinel, SWITCHED).await
            });
        }
        let mut error = StoreError::unreachable("no sentinel");
        while let Some(dialled) = dialling.join_next().await {
            match dialled {
                Ok(Ok((sink, stream))) => {
                    return Ok(Self {
                        master: master.to_owned(),
                        stream,
                        _sink: sink,
                    });
                }
                Ok(Err(refused)) => error = store_error(refused),
                Err(panicked) => error = StoreError::nonsense(panicked.to_string()),
            }
        }
        Err(error)
    }

    /// Returns when this primary was replaced, or nobody would tell any more.
    async fn next(switches: Option<&mut Self>) {
        let Some(switches) = switches else {
            return std::future::pending().await;
        };
        while let Some(message) = switches.stream.next().await {
            let told: RedisResult<String> = message.get_payload();
            let name = told
                .ok()
                .and_then(|it| Some(it.split(' ').next()?.to_owned()));
            if name.as_ref() == Some(&switches.master) {
                return;
            }
        }
    }
}
