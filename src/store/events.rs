//! The events channel: a hint that something happened to the lock. Never relied on.

use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::time::timeout;

use super::link;
use crate::config::RedisSettings;
use crate::fault::StoreError;

/// Where to listen.
pub struct Events {
    client: redis::Client,
    channel: String,
    limit: Duration,
}

/// A connection that listens. It is gone when Redis is gone.
pub struct Subscription {
    sink: PubSubSink,
    stream: PubSubStream,
}

impl Events {
    /// # Errors
    /// The endpoint cannot be used. Nothing is dialled yet.
    pub fn new(settings: &RedisSettings) -> Result<Self, StoreError> {
        Ok(Self {
            client: link::client(&settings.endpoint)?,
            channel: settings.keys.events(),
            limit: settings.timeout,
        })
    }

    /// # Errors
    /// Redis is not there, or refuses to let this user subscribe.
    pub async fn subscribe(&self) -> Result<Subscription, StoreError> {
        let dial = async {
            let (mut sink, stream) = self.client.get_async_pubsub().await?.split();
            sink.subscribe(&self.channel).await?;
            Ok(Subscription { sink, stream })
        };
        timeout(self.limit, dial)
            .await
            .map_err(|_| StoreError::timed_out(format!("no answer within {:.0?}", self.limit)))?
            .map_err(link::store_error)
    }

    /// Waits for the next event; `None` when the subscription is gone. A connection on which nothing
    /// was heard for `quiet` is asked whether it still lives.
    pub async fn next(&self, subscription: &mut Subscription, quiet: Duration) -> Option<()> {
        loop {
            if let Ok(message) = timeout(quiet, subscription.stream.next()).await {
                return message.map(|_| ());
            }
            let ping = subscription.sink.ping::<redis::Value>();
            timeout(self.limit, ping).await.ok()?.ok()?;
        }
    }
}
