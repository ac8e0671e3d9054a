//! `ElectionService`: the miner's side of the election.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::ending::Origin;
use super::stream::{self, Out};
use super::{Context, convert, hold, shutting_down};
use crate::api::places::Held;
use crate::clock;
use crate::election::{CampaignId, CampaignRefused, EndedBy, Liveness};
use crate::miner::{Closed, Message, ResignRefused, Says};
use crate::proto::election_service_server::ElectionService;
use crate::proto::{
    CampaignRequest, CampaignResponse, GetLeadershipRequest, GetLeadershipResponse,
    GetStatusRequest, GetStatusResponse, ObserveRequest, ObserveResponse, ResignRequest,
    ResignResponse,
};
use crate::status::Status as AgentStatus;

const DEFAULT_HOLD_OFF: Duration = Duration::from_secs(30);
const LONGEST_HOLD_OFF: Duration = Duration::from_secs(60 * 60);
/// How much of a miner's label to keep.
const LABEL_BYTES: usize = 63;
/// Says that this agent understands `standing_down` and `late` in a request.
const REVISION: u32 = 1;
/// How many of the versions that were sent on a stream to remember: only an acknowledgement of one of these
/// counts. A miner acknowledges what it has just received.
const REMEMBERED_VERSIONS: usize = 16;

pub(super) struct Elections {
    pub context: Context,
    pub liveness: Liveness,
}

/// One miner's stream.
struct Campaign {
    context: Context,
    id: CampaignId,
    requests: Streaming<CampaignRequest>,
    responses: mpsc::Sender<Result<CampaignResponse, Status>>,
    origin: Option<Origin>,
    /// The versions sent on this stream, oldest first.
    sent: VecDeque<u64>,
    _held: Option<Held>,
}

#[tonic::async_trait]
impl ElectionService for Elections {
    type CampaignStream = Out<CampaignResponse>;
    type ObserveStream = Out<ObserveResponse>;

    async fn campaign(
        &self,
        request: Request<Streaming<CampaignRequest>>,
    ) -> Result<Response<Self::CampaignStream>, Status> {
        let held = hold(&request);
        let origin = request.extensions().get::<Origin>().cloned();
        let (responses, receiver) = mpsc::channel(1);
        let (opened, answer) = oneshot::channel();
        let requests = request.into_inner();
        let context = self.context.clone();
        // In a task of its own: this call may be dropped at any moment, but an open campaign must be served.
        tokio::spawn(async move {
            let asked = context.desk.ask(|reply| Message::Campaign { reply }).await;
            let id = match asked
                .map_err(closed)
                .and_then(|opened| opened.map_err(refused))
            {
                Ok(id) => id,
                Err(why) => {
                    let _ = opened.send(Err(why));
                    return;
                }
            };
            let _ = opened.send(Ok(()));
            let campaign = Campaign {
                context,
                id,
                requests,
                responses,
                origin,
                sent: VecDeque::new(),
                _held: held,
            };
            campaign.run().await;
        });
        answer.await.unwrap_or_else(|_| Err(shutting_down()))?;
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn observe(
        &self,
        request: Request<ObserveRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let place = if request.get_ref().everything {
            self.context.observe_redis(&request)?
        } else {
            self.context.observe(&request)?
        };
        let liveness = self.liveness;
        let leadership =
            move |status: &AgentStatus, now| Some(convert::observed(status, liveness, now));
        let version = |status: &AgentStatus, now| status.leadership(now).version;
        if !request.get_ref().everything {
            let view = move |status: &AgentStatus, now| ObserveResponse {
                leadership: leadership(status, now),
                ..ObserveResponse::default()
            };
            return Ok(stream::watch(&self.context.shared, place, version, view));
        }
        Ok(stream::watch(
            &self.context.shared,
            place,
            AgentStatus::mark,
            move |status, now| ObserveResponse {
                leadership: leadership(status, now),
                takeover: convert::takeover(status, now),
                lease_remaining: convert::lease_remaining(status, now),
                redis: Some(convert::redis_health(status, now)),
                status_json: convert::status_json(status, now, false).unwrap_or_default(),
            },
        ))
    }

    async fn get_leadership(
        &self,
        request: Request<GetLeadershipRequest>,
    ) -> Result<Response<GetLeadershipResponse>, Status> {
        if request.into_inner().extend {
            if self.liveness == Liveness::Campaign {
                return Err(Status::failed_precondition(
                    "this agent runs with --miner-liveness=campaign: grants are extended on the Campaign stream",
                ));
            }
            let extended = self
                .context
                .desk
                .ask(|reply| Message::Extend { reply })
                .await;
            extended.map_err(closed)?;
        }
        let status = self.context.shared.published.borrow();
        let now = clock::boottime();
        Ok(Response::new(GetLeadershipResponse {
            leadership: Some(convert::observed(&status, self.liveness, now)),
            takeover: convert::takeover(&status, now),
            lease_remaining: convert::lease_remaining(&status, now),
        }))
    }

    async fn get_status(
        &self,
        request: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let history = request.get_ref().history;
        let shared = &self.context.shared;
        // Answer even if the check is late: the status says how old it is.
        let _ = shared.checkup.fresh(&shared.published).await;
        let status = shared.published.borrow();
        let json = convert::status_json(&status, clock::boottime(), history);
        let status_json = json.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(GetStatusResponse { status_json }))
    }

    async fn resign(
        &self,
        request: Request<ResignRequest>,
    ) -> Result<Response<ResignResponse>, Status> {
        let _held = hold(&request);
        let request = request.into_inner();
        let hold_off = match request.hold_off {
            None => Some(DEFAULT_HOLD_OFF),
            Some(hold_off) => Duration::try_from(hold_off).ok(),
        };
        let hold_off = hold_off
            .filter(|hold_off| *hold_off <= LONGEST_HOLD_OFF)
            .ok_or_else(|| Status::invalid_argument("`hold_off` must be between 0 and 1 hour"))?;
        let shared = &self.context.shared;
        // A late check means that Redis does not answer.
        let late = shared.checkup.fresh(&shared.published).await.is_err();
        if late || shared.published.borrow().redis.reachable() == Some(false) {
            return Err(Status::failed_precondition(
                "Redis does not answer: the lock cannot be given back, and nobody would lead until its TTL ends; \
                 resign when Redis is back",
            ));
        }
        let reason = request.reason;
        let resigned = self.context.desk.ask(|reply| Message::Resign {
            reason,
            hold_off,
            successor: Some(request.successor).filter(|it| !it.is_empty()),
            reply,
        });
        match resigned.await.map_err(closed)? {
            Ok(fencing_token) => Ok(Response::new(ResignResponse { fencing_token })),
            Err(why @ ResignRefused::NotReleased) => Err(Status::aborted(why.to_string())),
            Err(why) => Err(Status::failed_precondition(why.to_string())),
        }
    }
}

// === impl Campaign ===

impl Campaign {
    /// Serves the stream to its end, and then tells the election who ended it.
    async fn run(mut self) {
        if let Some(why) = self.serve().await {
            // The queue is full: the reader is slow or gone. The end of the stream tells it.
            let _ = self.responses.try_send(Err(why));
        }
        // An end that is the agent's proves nothing about the miner, unless the miner's came first.
        let by = if self.origin.as_ref().is_some_and(Origin::ended) {
            EndedBy::Miner
        } else {
            EndedBy::Agent
        };
        let ended = Message::CampaignEnded {
            campaign: self.id,
            by,
        };
        // An agent that is shutting down does not need it.
        let _ = self.context.desk.tell(ended).await;
    }

    /// Returns when the stream ends, with the status to send to the miner if it is still there.
    async fn serve(&mut self) -> Option<Status> {
        let mut published = self.context.shared.published.clone();
        let beats = Arc::clone(&self.context.shared.beats);
        let mut answered = None;
        loop {
            // Made before the status is read: from then on none is missed.
            let beaten = beats.notified();
            let mark = {
                let status = published.borrow_and_update();
                let now = clock::boottime();
                if status.election.campaign != Some(self.id) {
                    let why = "another miner campaigns now, because this one was silent";
                    return Some(Status::aborted(why));
                }
                (status.leadership(now).version, status.election.heartbeats)
            };
            let stop = self.context.shared.stop.clone();
            tokio::select! {
                request = self.requests.message() => match request {
                    Ok(Some(request)) => {
                        if self.heard(request).await.is_err() {
                            return Some(shutting_down());
                        }
                    }
                    Ok(None) => return None,
                    Err(error) => return Some(exhausted(error)),
                },
                // Send the newest state as soon as there is room.
                Ok(room) = self.responses.reserve(), if answered != Some(mark) => {
                    let leadership = {
                        let status = published.borrow();
                        // Never report another campaign's term, however late this task runs.
                        if status.election.campaign != Some(self.id) {
                            continue;
                        }
                        convert::leadership(&status, clock::boottime())
                    };
                    answered = Some(mark);
                    if self.sent.back() != Some(&leadership.version) {
                        self.sent.push_back(leadership.version);
                        if self.sent.len() > REMEMBERED_VERSIONS {
                            self.sent.pop_front();
                        }
                    }
                    room.send(Ok(CampaignResponse { leadership: Some(leadership), revision: REVISION }));
                }
                () = beaten => {}
                _ = published.changed() => {}
                () = stop.cancelled() => return Some(shutting_down()),
            }
        }
    }

    async fn heard(&self, request: CampaignRequest) -> Result<(), Closed> {
        let version = request.acknowledged_version;
        let says = says(request.standing_down, label(request.late));
        let heartbeat = Message::Heartbeat {
            campaign: self.id,
            miner: label(request.miner),
            says,
            acknowledged: Some(version).filter(|version| self.sent.contains(version)),
        };
        self.context.desk.tell(heartbeat).await
    }
}

/// A miner that stands down gives up its term, even if it also names late work.
fn says(stands_down: bool, late: String) -> Says {
    match late {
        _ if stands_down => Says::StandsDown,
        late if !late.is_empty() => Says::Late(late),
        _ => Says::Beats,
    }
}

/// tonic calls a message beyond the limit out of range; the contract says exhausted.
fn exhausted(error: Status) -> Status {
    match error.code() {
        Code::OutOfRange => Status::resource_exhausted(error.message()),
        _ => error,
    }
}

fn label(mut miner: String) -> String {
    let mut end = miner.len().min(LABEL_BYTES);
    while !miner.is_char_boundary(end) {
        end -= 1;
    }
    miner.truncate(end);
    miner.retain(|character| !character.is_control());
    miner
}

fn refused(why: CampaignRefused) -> Status {
    let code = match why {
        CampaignRefused::AlreadyCampaigning => Code::AlreadyExists,
        CampaignRefused::NotCampaigning => Code::FailedPrecondition,
        CampaignRefused::Stopping => Code::Unavailable,
    };
    Status::new(code, why.to_string())
}

fn closed(_: Closed) -> Status {
    shutting_down()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_stands_down_and_is_late_leads_no_more() {
        let says = |stands_down, late: &str| says(stands_down, late.to_owned());
        assert!(matches!(says(true, "blocks"), Says::StandsDown));
        assert!(matches!(says(false, "blocks"), Says::Late(_)));
        assert!(matches!(says(false, ""), Says::Beats));
    }
}
