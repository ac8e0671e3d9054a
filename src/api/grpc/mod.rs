//! The gRPC server: on loopback and on a unix socket, for the miner beside it.

mod convert;
mod election_service;
mod ending;
mod health_service;
mod redis_health_service;
mod services;
mod stream;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::http::HeaderValue;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use self::ending::{Origin, note};
use self::services::{Services, services};
use super::Shared;
use super::places::{Held, Place};
use super::server::{self, Listeners};
use super::socket::Peer;
use crate::checkup::Watching;
use crate::election::Liveness;
use crate::miner::Desk;

/// How many connections are served at once. One more takes the place of the one that idles for longest.
const MAX_CONNECTIONS: usize = 64;
/// A connection without a call by then is closed: clients dial when they have something to ask. After its first call
/// it may idle as long as nobody else needs its place, because clients keep a channel open between calls. If somebody
/// does, that client's next call only costs it a new connection.
const FIRST_CALL_WITHIN: Duration = Duration::from_secs(5);
/// How long to wait after GOAWAY before closing such a connection.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// How many streams that only watch may be open at once. A campaign needs none of these places: only one counts at a
/// time, and the election refuses any other at once.
const MAX_OBSERVERS: usize = 32;

pub struct Grpc {
    pub shared: Shared,
    pub desk: Desk,
    pub listeners: Listeners,
    pub liveness: Liveness,
}

/// What every service here needs.
#[derive(Clone)]
struct Context {
    shared: Shared,
    desk: Desk,
    observers: Arc<Semaphore>,
}

/// A watcher's place. While it lives, the connection keeps its place and Redis is checked.
type Observing = (OwnedSemaphorePermit, Option<Held>, Option<Watching>);

impl Grpc {
    /// Serves until `shared.stop` is cancelled and every connection has ended; the caller bounds that.
    ///
    /// # Errors
    /// The server failed.
    pub async fn serve(self) -> anyhow::Result<()> {
        let Self {
            shared,
            desk,
            listeners,
            liveness,
        } = self;
        let context = Context {
            shared: shared.clone(),
            desk,
            observers: Arc::new(Semaphore::new(MAX_OBSERVERS)),
        };
        let services = services(context, liveness)?;
        let stop = &shared.stop;
        let connection = |peer, place| connection(peer, place, Arc::clone(&services), stop.clone());
        server::serve("gRPC", listeners, MAX_CONNECTIONS, stop, connection).await;
        Ok(())
    }
}

// === impl Context ===

impl Context {
    /// A place for one more watching stream.
    #[allow(clippy::result_large_err, reason = "tonic's own error type")]
    fn observe<T>(&self, request: &tonic::Request<T>) -> Result<Observing, Status> {
        let place = Arc::clone(&self.observers).try_acquire_owned();
        let place = place.map_err(|_| {
            Status::resource_exhausted(format!(
                "this agent serves at most {MAX_OBSERVERS} observers at once"
            ))
        })?;
        Ok((place, hold(request), None))
    }

    /// The same for a stream that shows Redis' health.
    #[allow(clippy::result_large_err, reason = "tonic's own error type")]
    fn observe_redis<T>(&self, request: &tonic::Request<T>) -> Result<Observing, Status> {
        let (place, held, _) = self.observe(request)?;
        Ok((place, held, Some(self.shared.checkup.watch())))
    }
}

/// Keeps the connection of a request from being cut.
fn hold<T>(request: &tonic::Request<T>) -> Option<Held> {
    Some(request.extensions().get::<Origin>()?.place.hold())
}

/// The last status of a stream when the agent stops.
fn shutting_down() -> Status {
    Status::unavailable(crate::miner::Closed.to_string())
}

async fn connection(
    peer: Peer,
    place: Arc<Place>,
    services: Arc<Services>,
    stop: CancellationToken,
) {
    let (gone, used) = (peer.gone(), Arc::clone(&place));
    let service = service_fn(move |request| {
        // It has been active just now.
        drop(used.hold());
        let answer = services(note(request, &gone, &used));
        async move { Ok::<_, Infallible>(too_long_is_exhausted(answer.await?)) }
    });
    // No HTTP/2 keepalive: silence ends candidacy, and a connection that is cut off under a miner which is only
    // stopped tells it nothing.
    let serving =
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(peer), service);
    let mut serving = pin!(serving);
    tokio::select! {
        // If a connection ends badly, that concerns only its peer.
        _ = serving.as_mut() => return,
        () = place.unused_for(FIRST_CALL_WITHIN) => {}
        () = stop.cancelled() => {}
    }
    // GOAWAY: a client that is just making its first call makes it on another connection, or is still served on
    // this one.
    serving.as_mut().graceful_shutdown();
    tokio::select! {
        _ = serving => {}
        () = place.unused_for(GOODBYE_WITHIN) => {}
    }
}

/// tonic reports a message beyond the limit as OUT_OF_RANGE; the contract says RESOURCE_EXHAUSTED.
fn too_long_is_exhausted<B>(mut response: hyper::Response<B>) -> hyper::Response<B> {
    const STATUS: &str = "grpc-status";
    const OUT_OF_RANGE: &str = "11";
    const RESOURCE_EXHAUSTED: &str = "8";
    if let Some(status) = response.headers_mut().get_mut(STATUS)
        && status == OUT_OF_RANGE
    {
        *status = HeaderValue::from_static(RESOURCE_EXHAUSTED);
    }
    response
}
