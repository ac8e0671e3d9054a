//! The gRPC server: on loopback and on a unix socket, for the miner beside it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use hyper::http::HeaderValue;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tonic::transport::Server;
use tower::util::{MapRequestLayer, MapResponseLayer};

use super::election_service::Elections;
use super::health_service::Healths;
use super::redis_health_service::RedisHealths;
use super::socket::{Peer, Stream as Socket};
use super::{Shared, ending};
use crate::election::Liveness;
use crate::proto::DESCRIPTORS;
use crate::proto::election_service_server::ElectionServiceServer;
use crate::proto::redis_health_service_server::RedisHealthServiceServer;

/// The longest message, in bytes.
const MESSAGE: usize = 4 * 1024;
/// How many connections are served at once; more wait for a place.
const CONNECTIONS: usize = 64;

/// The sockets to serve.
#[derive(Default)]
pub struct GrpcListeners {
    pub tcp: Option<TcpListener>,
    pub unix: Option<UnixListener>,
}

pub struct Grpc {
    pub shared: Shared,
    pub listeners: GrpcListeners,
    pub liveness: Liveness,
}

impl Grpc {
    /// Serves until `shared.stop` is cancelled and every connection has ended: the caller bounds that.
    ///
    /// # Errors
    /// The server cannot go on.
    pub async fn serve(self) -> anyhow::Result<()> {
        let Self {
            shared,
            listeners,
            liveness,
        } = self;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()?;
        let elections = Elections {
            shared: shared.clone(),
            liveness,
        };
        let healths = Healths {
            shared: shared.clone(),
        };
        let redis = RedisHealths {
            shared: shared.clone(),
        };
        Server::builder()
            // No HTTP/2 keepalive: silence ends candidacy, and a connection that is cut off under a miner
            // which is only stopped tells it nothing.
            .layer(MapRequestLayer::new(ending::note))
            .layer(MapResponseLayer::new(too_long_is_exhausted))
            .add_service(ElectionServiceServer::new(elections).max_decoding_message_size(MESSAGE))
            .add_service(RedisHealthServiceServer::new(redis).max_decoding_message_size(MESSAGE))
            .add_service(
                tonic_health::pb::health_server::HealthServer::new(healths)
                    .max_decoding_message_size(MESSAGE),
            )
            .add_service(reflection.max_decoding_message_size(MESSAGE))
            .serve_with_incoming_shutdown(
                incoming(listeners),
                shared.stop.clone().cancelled_owned(),
            )
            .await?;
        Ok(())
    }
}

/// tonic calls a message beyond the limit out of range; the contract says exhausted.
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

/// Connections from both sockets, each with a place of its own.
fn incoming(
    listeners: GrpcListeners,
) -> impl Stream<Item = Result<Peer, std::convert::Infallible>> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    stream::unfold((listeners, places), |(listeners, places)| async {
        let place = Arc::clone(&places).acquire_owned().await.ok()?;
        loop {
            let accepted = tokio::select! {
                tcp = async {
                    match &listeners.tcp {
                        Some(listener) => listener.accept().await,
                        None => std::future::pending().await,
                    }
                } => tcp.map(|(stream, _)| {
                    // Without it a push may wait for the peer's delayed acknowledgement.
                    let _ = stream.set_nodelay(true);
                    Socket::Tcp(stream)
                }),
                unix = async {
                    match &listeners.unix {
                        Some(listener) => listener.accept().await,
                        None => std::future::pending().await,
                    }
                } => unix.map(|(stream, _)| Socket::Unix(stream)),
            };
            match accepted {
                Ok(socket) => return Some((Ok(Peer::new(socket, place)), (listeners, places))),
                Err(error) => {
                    // Out of file descriptors, most likely: it passes, and must not end the agent.
                    tracing::warn!(%error, "cannot accept a gRPC connection: trying again");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    })
}
