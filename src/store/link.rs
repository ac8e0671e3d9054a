//! One connection to the server that holds the lock, dialled when it is needed and dropped whenever it is
//! in doubt.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use super::dial::{Credentials, Try, on_open_connection};
use super::error::store_error;
use super::topology::Topology;
use crate::endpoint::{RedisAddress, RedisSettings};
use crate::fault::{StoreError, StoreFault};

pub(super) struct Link {
    topology: Topology,
    /// For whoever reads the error at night.
    place: String,
    kept: Shared,
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

impl Link {
    /// Nothing is dialled yet.
    pub fn new(settings: &RedisSettings) -> Self {
        let endpoint = Arc::new(settings.endpoint.clone());
        Self {
            topology: Topology::new(&endpoint, &settings.keys.lock),
            place: endpoint.place.to_string(),
            kept: Shared::default(),
            reached: false,
        }
    }

    /// From now on both use one connection: a command of one may wait behind a command of the other.
    pub fn share(&mut self, other: &Self) {
        self.kept = Arc::clone(&other.kept);
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
        let (kept, dropped) = {
            let slot = self.slot();
            (slot.connection.clone(), slot.dropped)
        };
        let run = timeout(limit, on_primary(&mut self.topology, kept, work)).await;
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

    /// Held for a moment only, and nothing panics meanwhile.
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Kept = Option<(RedisAddress, MultiplexedConnection)>;

async fn on_primary<T, F: Future<Output = RedisResult<T>>>(
    topology: &mut Topology,
    kept: Kept,
    work: impl Fn(MultiplexedConnection, Try) -> F,
) -> (Kept, Result<T, StoreError>) {
    let address = match topology.locate().await {
        Ok(address) => address,
        Err(error) => return (None, Err(error)),
    };
    let kept = kept.filter(|(to, _)| *to == address).map(|(_, it)| it);
    let endpoint = topology.endpoint();
    let (kept, result) =
        on_open_connection(kept, endpoint, &address, Credentials::Redis, work).await;
    let kept = kept.map(|connection| (address, connection));
    (kept, result.map_err(store_error))
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
