//! `grpc.health.v1.Health`: "" (live), "ready" and "leader", each as of the moment it is asked.

use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::Context;
use super::stream::{self, Out};
use crate::clock;
use crate::status::Status as AgentStatus;
use crate::time::Instant;

pub(super) struct Healths {
    pub context: Context,
}

#[derive(Clone, Copy)]
enum Service {
    Live,
    Ready,
    Leader,
    Unknown,
}

#[tonic::async_trait]
impl Health for Healths {
    type WatchStream = Out<HealthCheckResponse>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = Service::of(&request.into_inner().service);
        if matches!(service, Service::Ready) {
            let shared = &self.context.shared;
            if shared.checkup.fresh(&shared.published).await.is_err() {
                return Ok(Response::new(response(ServingStatus::NotServing)));
            }
        }
        match service.status(&self.context.shared.published.borrow(), clock::boottime()) {
            ServingStatus::ServiceUnknown => Err(Status::not_found(
                "the services are \"\" (live), \"ready\" and \"leader\"",
            )),
            status => Ok(Response::new(response(status))),
        }
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = Service::of(&request.get_ref().service);
        let place = match service {
            Service::Ready => self.context.observe_redis(&request)?,
            _ => self.context.observe(&request)?,
        };
        Ok(stream::watch(
            &self.context.shared,
            place,
            move |status, now| service.status(status, now),
            move |status, now| response(service.status(status, now)),
        ))
    }
}

impl Service {
    fn of(name: &str) -> Self {
        match name {
            "" => Self::Live,
            "ready" => Self::Ready,
            "leader" => Self::Leader,
            _ => Self::Unknown,
        }
    }

    fn status(self, status: &AgentStatus, now: Instant) -> ServingStatus {
        let serving = match self {
            Self::Live => status.live(now),
            Self::Ready => status.not_ready(now).is_empty(),
            Self::Leader => status.leadership(now).leads(),
            Self::Unknown => return ServingStatus::ServiceUnknown,
        };
        if serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        }
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}
