//! The services, by the path of a call.

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic_health::pb::health_server::HealthServer;

use super::Context;
use super::election_service::Elections;
use super::ending::Noted;
use super::health_service::Healths;
use super::redis_health_service::RedisHealths;
use crate::election::Liveness;
use crate::proto::DESCRIPTORS;
use crate::proto::election_service_server::ElectionServiceServer;
use crate::proto::redis_health_service_server::RedisHealthServiceServer;

/// The longest message, in bytes.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;

/// Answers a call.
pub(super) type Services = dyn Fn(Request<Noted<Incoming>>) -> Answering + Send + Sync;
type Answering = BoxFuture<'static, Result<Response<Body>, Infallible>>;

/// # Errors
/// The descriptors cannot be read: a mistake of ours that a test finds.
pub(super) fn services(context: Context, liveness: Liveness) -> anyhow::Result<Arc<Services>> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let elections = Elections {
        context: context.clone(),
        liveness,
    };
    let elections =
        ElectionServiceServer::new(elections).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let healths = Healths {
        context: context.clone(),
    };
    let healths = HealthServer::new(healths).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let redis = RedisHealthServiceServer::new(RedisHealths { context })
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    Ok(Arc::new(move |request: Request<Noted<Incoming>>| {
        let path = request.uri().path();
        let service = path.split('/').nth(1).unwrap_or_default();
        if service == name(&elections) {
            elections.clone().call(request)
        } else if service == name(&redis) {
            redis.clone().call(request)
        } else if service == name(&healths) {
            healths.clone().call(request)
        } else if service == name(&reflection) {
            reflection.clone().call(request)
        } else {
            Box::pin(async { Ok(Status::unimplemented("").into_http()) })
        }
    }))
}

fn name<S: NamedService>(_: &S) -> &'static str {
    S::NAME
}
