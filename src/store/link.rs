//! One connection to the server that holds the lock, dialled when it is needed and dropped whenever it is
//! in doubt.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use super::dial::{Credentials, Try, dial, dial_to_listen_and_ask, on_open_connection};
use super::error::store_error;
use super::pushes::Pushes;
use super::topology::Topology;
use crate::endpoint::{RedisAddress, RedisEndpoint, RedisSettings};
use crate::fault::{StoreError, StoreFault};

pub(super) struct Link {
    topology: Topology,
    /// Names the server in errors.
    place: String,
    kept: Shared,
    /// What is published can be heard on it.
    listens: bool,
    reached: bool,
}

/// The connection that is kept, for all who share it.
type Shared = Arc<Mutex<Slot>>;

#[derive(Default)]
struct Slot {
    connection: Kept,
    /// How many were dropped: what is left of one of them when its command ends is not kept again.
    dropped: u64,
}

type Kept = Option<(RedisAddress, Wire)>;

/// A connection, and what is published to it where it can be heard there.
#[derive(Clone)]
pub(super) struct Wire {
    pub connection: MultiplexedConnection,
    pub pushes: Option<Pushes>,
    /// Nothing else has the same.
    id: Arc<()>,
}

impl Wire {
    fn new((connection, pushes): (MultiplexedConnection, Option<Pushes>)) -> Self {
        Self {
            connection,
            pushes,
            id: Arc::default(),
        }
    }

    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.id, &other.id)
    }
}

impl Link {
    /// Nothing is dialled yet.
    pub fn new(settings: &RedisSettings) -> Self {
        let endpoint = Arc::new(settings.endpoint.clone());
        Self {
            topology: Topology::new(&endpoint, &settings.keys.lock),
            place: endpoint.place.to_string(),
            kept: Shared::default(),
            listens: false,
            reached: false,
        }
    }

    /// The same, on a connection on which one may subscribe too, if the server lets one.
    pub fn listening(settings: &RedisSettings) -> Self {
        Self {
            listens: true,
            ..Self::new(settings)
        }
    }

    /// From now on both use one connection: a command of one may wait behind a command of the other.
    pub fn share(&mut self, other: &Self) {
        self.kept = Arc::clone(&other.kept);
        self.listens = other.listens;
    }

    /// The last answer, an error perhaps, came from the primary itself: not from those who were asked where
    /// it is, nor from the way to it.
    pub fn reached(&self) -> bool {
        self.reached
    }

    /// The server to which the connection goes.
    pub fn server(&self) -> Option<RedisAddress> {
        let slot = self.slot();
        slot.connection.as_ref().map(|(address, _)| address.clone())
    }

    /// The connection that is kept is another one.
    pub fn has_another_than(&self, wire: &Wire) -> bool {
        let slot = self.slot();
        slot.connection.as_ref().is_some_and(|(_, it)| !it.is(wire))
    }

    /// It is kept no longer.
    pub fn forget(&self, wire: &Wire) {
        let mut slot = self.slot();
        if slot.connection.take_if(|(_, it)| it.is(wire)).is_some() {
            slot.dropped += 1;
        }
    }

    pub fn topology(&mut self) -> &mut Topology {
        &mut self.topology
    }

    /// Runs `work` on a connection to the primary, dialling first if there is none, or if the one there was is closed,
    /// all within `limit`. In the last case `work` may run twice (see [`on_open_connection`]).
    ///
    /// After a timeout, an I/O error or an answer that speaks of another server the connection is
    /// dropped: what was sent may still arrive, and the next command must not wait behind it. So it is where
    /// Redis does not know who asks: a password is sent with the first command only.
    ///
    /// # Errors
    /// What Redis or the way to it answered. After a timeout or a broken connection the outcome of a
    /// write is unknown.
    pub async fn run<T, F: Future<Output = RedisResult<T>>>(
        &mut self,
        limit: Duration,
        work: impl Fn(MultiplexedConnection, Try) -> F,
    ) -> Result<T, StoreError> {
        self.run_on_wire(limit, |wire, nth| work(wire.connection, nth))
            .await
    }

    /// The same, with what is published to the connection.
    ///
    /// # Errors
    /// See [`Self::run`].
    pub async fn run_on_wire<T, F: Future<Output = RedisResult<T>>>(
        &mut self,
        limit: Duration,
        work: impl Fn(Wire, Try) -> F,
    ) -> Result<T, StoreError> {
        let dropped = self.slot().dropped;
        let run = timeout(limit, self.on_primary(dropped, work)).await;
        let (kept, result) = run.unwrap_or_else(|_| {
            let late = StoreError::timed_out(format!("no answer within {limit:.0?}"));
            (None, Err(late))
        });
        self.reached = kept.is_some();
        let result = result.map_err(|error| at(&self.place, error));
        let in_doubt = matches!(&result, Err(error)
            if error.fault.lost_connection() || error.fault == StoreFault::Auth);
        let kept = kept.filter(|_| !in_doubt);
        let mut slot = self.slot();
        if slot.dropped == dropped {
            slot.dropped += u64::from(kept.is_none());
            slot.connection = kept;
        }
        drop(slot);
        result
    }

    async fn on_primary<T, F: Future<Output = RedisResult<T>>>(
        &mut self,
        dropped: u64,
        work: impl Fn(Wire, Try) -> F,
    ) -> (Kept, Result<T, StoreError>) {
        let address = match self.topology.locate().await {
            Ok(address) => address,
            Err(error) => return (None, Err(error)),
        };
        let kept = self.slot().to(&address);
        let dial = self.dial(&address, kept.as_ref(), dropped);
        let (kept, result) = on_open_connection(kept.clone(), dial, work).await;
        let kept = kept.map(|wire| (address, wire));
        (kept, result.map_err(store_error))
    }

    /// A new connection, or the one that another of those who share has dialled meanwhile.
    async fn dial(
        &self,
        address: &RedisAddress,
        closed: Option<&Wire>,
        dropped: u64,
    ) -> RedisResult<Wire> {
        let endpoint: &Arc<RedisEndpoint> = self.topology.endpoint();
        let new = Wire::new(if self.listens {
            dial_to_listen_and_ask(endpoint, address).await?
        } else {
            (dial(endpoint, address, Credentials::Redis).await?, None)
        });
        let mut slot = self.slot();
        let another = slot.to(address);
        let another = another.filter(|it| closed.is_none_or(|closed| !it.is(closed)));
        if another.is_none() && slot.dropped == dropped {
            slot.connection = Some((address.clone(), new.clone()));
        }
        Ok(another.unwrap_or(new))
    }

    /// Held for a moment only, and nothing panics meanwhile.
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// The connection, if it goes there.
    fn to(&self, address: &RedisAddress) -> Option<Wire> {
        let kept = self.connection.as_ref().filter(|(to, _)| to == address);
        kept.map(|(_, wire)| wire.clone())
    }
}

/// An error that is about the way to the server names it.
fn at(place: &str, error: StoreError) -> StoreError {
    if !matches!(
        error.fault,
        StoreFault::TimedOut | StoreFault::Unreachable | StoreFault::Tls
    ) {
        return error;
    }
    StoreError {
        message: format!("{place}: {}", error.message),
        ..error
    }
}
