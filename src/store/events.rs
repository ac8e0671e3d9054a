//! The events channel: a hint that something happened to the lock. Never relied on.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::RedisResult;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::time::timeout;

use super::HealthCheck;
use super::dial::{Credentials, dial_to_listen};
use super::error::store_error;
use super::judged;
use super::link::{Link, Wire};
use super::pushes::{Ended, Meter};
use crate::clock;
use crate::election::Announcement;
use crate::endpoint::{RedisAddress, RedisEndpoint, RedisPlace, RedisSettings};
use crate::fault::StoreError;

/// What sentinels publish when a primary has been replaced; the message begins with its name.
const SWITCHED: &str = "+switch-master";

/// Where to listen.
pub struct Events {
    link: Link,
    endpoint: Arc<RedisEndpoint>,
    channel: String,
    limit: Duration,
}

/// A subscription, gone when Redis is gone or another server has become the primary.
pub struct Subscription {
    ear: Ear,
    switches: Option<Switches>,
}

/// Where the messages come in.
enum Ear {
    /// Among the answers to checks and rehearsals.
    Shared(Wire),
    /// A connection of its own, for servers that cannot do that.
    Own(PubSubSink, PubSubStream, Meter),
}

/// What is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// An event of this lock, or something else.
    Event(Option<Announcement>),
    /// The subscription has moved to another connection: something may have been missed.
    Anew,
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
        Self {
            link: Link::listening(settings),
            endpoint: Arc::new(settings.endpoint.clone()),
            channel: settings.keys.events(),
            limit: settings.timeout,
        }
    }

    /// The same, on the check's connection.
    #[must_use]
    pub fn sharing(mut self, check: &HealthCheck) -> Self {
        self.link.share(&check.link);
        self
    }

    /// # Errors
    /// Redis is not there, or refuses to let this user subscribe.
    pub async fn subscribe(&mut self) -> Result<Subscription, StoreError> {
        let limit = self.limit;
        let late = || StoreError::timed_out(format!("no answer within {limit:.0?}"));
        // The sentinels first, so that no change of the primary is missed.
        let switches = timeout(limit, self.listen_to_sentinels());
        let switches = switches.await.map_err(|_| late())??;
        let ear = match self.share_ear().await? {
            Some(wire) => Ear::Shared(wire),
            None => timeout(limit, self.own_ear()).await.map_err(|_| late())??,
        };
        Ok(Subscription { ear, switches })
    }

    async fn listen_to_sentinels(&self) -> Result<Option<Switches>, StoreError> {
        match &self.endpoint.place {
            RedisPlace::Sentinel { sentinels, master } => {
                let switches = Switches::listen(&self.endpoint, sentinels, master).await?;
                Ok(Some(switches))
            }
            RedisPlace::Server(_) | RedisPlace::Cluster { .. } => Ok(None),
        }
    }

    /// Nothing where one cannot listen on it.
    async fn share_ear(&mut self) -> Result<Option<Wire>, StoreError> {
        let channel = &self.channel;
        let subscribe = |mut wire: Wire, _| async move {
            let Some(pushes) = &mut wire.pushes else {
                return Ok(None);
            };
            pushes.begin();
            wire.connection.subscribe(channel).await?;
            Ok(Some(wire))
        };
        self.link.run_on_wire(self.limit, subscribe).await
    }

    async fn own_ear(&mut self) -> Result<Ear, StoreError> {
        let address = self.link.topology().locate().await?;
        let listening = listen(&self.endpoint, &address, Credentials::Redis, &self.channel);
        let (sink, stream) = listening.await.map_err(store_error)?;
        Ok(Ear::Own(sink, stream, Meter::default()))
    }

    /// Waits for the next event and returns what was said. A connection on which nothing was heard for `quiet` is asked
    /// whether it still lives.
    ///
    /// # Errors
    /// Nothing more will be heard.
    pub async fn next(
        &mut self,
        subscription: &mut Subscription,
        quiet: Duration,
    ) -> Result<Heard, Ended> {
        let next = self.next_of(subscription, quiet).await;
        if next == Err(Ended::Flooded) {
            self.leave(&mut subscription.ear).await;
        }
        next
    }

    async fn next_of(
        &mut self,
        subscription: &mut Subscription,
        quiet: Duration,
    ) -> Result<Heard, Ended> {
        loop {
            if self.follow(&mut subscription.ear).await {
                return Ok(Heard::Anew);
            }
            let mut switched = pin!(Switches::next(subscription.switches.as_mut()));
            let message = tokio::select! {
                message = timeout(quiet, subscription.ear.next()) => message,
                () = &mut switched => return Err(Ended::Gone),
            };
            match message {
                Ok(message) => {
                    return message.map(|it| Heard::Event(Announcement::parse(&it, judged::read)));
                }
                Err(_) => subscription.ear.ping(self.limit).await?,
            }
        }
    }

    /// To the connection that is in use now, where checks have left this one because an answer was late. Whether there was
    /// one to follow, and it listens: until then the old one does.
    async fn follow(&mut self, ear: &mut Ear) -> bool {
        let Ear::Shared(wire) = ear else {
            return false;
        };
        if !self.link.has_another_than(wire) {
            return false;
        }
        match self.share_ear().await {
            Ok(Some(wire)) => {
                *ear = Ear::Shared(wire);
                true
            }
            _ => false,
        }
    }

    /// Checks go on where one only listens no more.
    async fn leave(&mut self, ear: &mut Ear) {
        let Ear::Shared(wire) = ear else {
            return;
        };
        let left = wire.connection.unsubscribe(&self.channel);
        if !matches!(timeout(self.limit, left).await, Ok(Ok(()))) {
            self.link.forget(wire);
        }
    }
}

impl Ear {
    async fn next(&mut self) -> Result<String, Ended> {
        match self {
            Self::Shared(wire) => match &mut wire.pushes {
                Some(pushes) => pushes.next().await,
                None => Err(Ended::Gone),
            },
            Self::Own(_, stream, meter) => {
                let message = stream.next().await.ok_or(Ended::Gone)?;
                if meter.count(message.get_payload_bytes().len(), clock::boottime()) {
                    return Err(Ended::Flooded);
                }
                // What is no text was not said by one of us.
                Ok(message.get_payload().unwrap_or_default())
            }
        }
    }

    async fn ping(&mut self, limit: Duration) -> Result<(), Ended> {
        let pinged = match self {
            Self::Shared(wire) => {
                let ping = redis::cmd("PING");
                timeout(limit, ping.exec_async(&mut wire.connection)).await
            }
            Self::Own(sink, _, _) => timeout(limit, sink.ping()).await,
        };
        match pinged {
            Ok(Ok(())) => Ok(()),
            _ => Err(Ended::Gone),
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
