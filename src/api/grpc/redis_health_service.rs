//! `RedisHealthService`: what the agent knows of Redis.

use tonic::{Request, Response, Status};

use super::stream::{self, Out};
use super::{Context, convert};
use crate::clock;
use crate::fault::StoreFault;
use crate::proto::redis_health_service_server::RedisHealthService;
use crate::proto::{
    ClassifyErrorRequest, ClassifyErrorResponse, GetRedisHealthRequest, GetRedisHealthResponse,
    WatchRedisHealthRequest, WatchRedisHealthResponse,
};
use crate::status::Status as AgentStatus;

pub(super) struct RedisHealths {
    pub context: Context,
}

/// A change of this value is sent.
fn mark(status: &AgentStatus) -> impl PartialEq + use<> {
    let redis = &status.redis;
    let read_at = redis.memory().map(|memory| memory.read_at);
    (redis.reachable(), redis.writable(), redis.oom(), read_at)
}

#[tonic::async_trait]
impl RedisHealthService for RedisHealths {
    type WatchRedisHealthStream = Out<WatchRedisHealthResponse>;

    async fn get_redis_health(
        &self,
        _: Request<GetRedisHealthRequest>,
    ) -> Result<Response<GetRedisHealthResponse>, Status> {
        // Answer even if the check is late: the status says how old it is.
        let shared = &self.context.shared;
        let _ = shared.checkup.fresh(&shared.published).await;
        let health =
            convert::redis_health(&self.context.shared.published.borrow(), clock::boottime());
        Ok(Response::new(GetRedisHealthResponse {
            health: Some(health),
        }))
    }

    async fn watch_redis_health(
        &self,
        request: Request<WatchRedisHealthRequest>,
    ) -> Result<Response<Self::WatchRedisHealthStream>, Status> {
        let place = self.context.observe_redis(&request)?;
        Ok(stream::watch(
            &self.context.shared,
            place,
            |status, _| mark(status),
            |status, now| WatchRedisHealthResponse {
                health: Some(convert::redis_health(status, now)),
            },
        ))
    }

    async fn classify_error(
        &self,
        request: Request<ClassifyErrorRequest>,
    ) -> Result<Response<ClassifyErrorResponse>, Status> {
        let fault = StoreFault::classify(&request.into_inner().message);
        Ok(Response::new(ClassifyErrorResponse {
            error_class: convert::error_class(fault).into(),
            retryable: fault.retryable(),
            hint: fault.hint().into(),
        }))
    }
}
