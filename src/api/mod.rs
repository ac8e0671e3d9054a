//! What others see: gRPC for the miner, HTTP for the cluster. Reads the board, and tells the desk.

mod convert;
mod election_service;
mod ending;
mod grpc;
mod health_service;
mod http;
mod listen;
mod places;
mod redis_health_service;
mod server;
mod socket;
mod stream;

pub use grpc::Grpc;
pub use http::Http;
pub use listen::bind_tcp;
pub use server::Listeners;
pub use socket::{SocketGuard, bind_unix};

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use self::places::{Held, Place};
use crate::miner::Desk;
use crate::status::Board;

/// How many streams that only watch may be open at once. A campaign needs none of these places: one counts at a
/// time, and any other beside it is refused at once.
const OBSERVERS: usize = 32;

/// What every service of the API shares.
#[derive(Clone)]
pub struct Shared {
    pub board: Board,
    pub desk: Desk,
    /// Cancelled when streams should end: the term has been given back by then.
    pub stop: CancellationToken,
    observers: Arc<Semaphore>,
}

/// A place among those that watch, and the connection's own for as long.
type Observing = (OwnedSemaphorePermit, Option<Held>);

impl Shared {
    #[must_use]
    pub fn new(board: Board, desk: Desk, stop: CancellationToken) -> Self {
        Self {
            board,
            desk,
            stop,
            observers: Arc::new(Semaphore::new(OBSERVERS)),
        }
    }

    /// A place for one more stream that watches.
    #[allow(clippy::result_large_err, reason = "tonic's own error type")]
    fn observe<T>(&self, request: &Request<T>) -> Result<Observing, Status> {
        let place = Arc::clone(&self.observers).try_acquire_owned();
        let place = place.map_err(|_| {
            Status::resource_exhausted(format!(
                "this agent serves at most {OBSERVERS} observers at once"
            ))
        })?;
        Ok((place, hold(request)))
    }
}

/// Keeps the connection of a request from being cut.
fn hold<T>(request: &Request<T>) -> Option<Held> {
    Some(request.extensions().get::<Arc<Place>>()?.hold())
}

/// What a stream says when the agent goes.
fn shutting_down() -> Status {
    Status::unavailable(crate::miner::Closed.to_string())
}
