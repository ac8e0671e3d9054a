//! `/events`: the snapshot as server-sent events, whenever something in it changes.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::{Method, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use warp::reply::Reply;
use warp::sse::Event;

use super::{Http, HttpResponse, Request, text};
use crate::api::Shared;
use crate::api::places::{Held, Place};
use crate::checkup::Watching;
use crate::clock;
use crate::status::Status;
use crate::time::Instant;

/// Send a comment after this much silence, so that a reader knows that the agent is there.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// How long a reader should wait before it reconnects.
const RETRY_AFTER_CUT: Duration = Duration::from_secs(1);

/// The state of an open stream.
struct Streaming {
    shared: Shared,
    events: mpsc::Sender<Result<Event, Infallible>>,
    /// The id of the state that the reader has.
    sent: Option<String>,
    _permit: OwnedSemaphorePermit,
    _held: Held,
    _watching: Watching,
}

impl Http {
    pub(super) fn events(&self, request: &Request, place: &Arc<Place>) -> HttpResponse {
        let Ok(permit) = Arc::clone(&self.event_streams).try_acquire_owned() else {
            let full = "as many event streams are open as this agent serves: 16\n";
            let mut answer = text(StatusCode::SERVICE_UNAVAILABLE, full);
            let later = HeaderValue::from_static("15");
            answer.headers_mut().insert(RETRY_AFTER, later);
            return answer;
        };
        let (events, stream) = mpsc::channel(1);
        let streaming = Streaming {
            shared: self.shared.clone(),
            events,
            sent: request.last_event_id.clone(),
            _permit: permit,
            _held: place.hold(),
            _watching: self.shared.checkup.watch(),
        };
        if request.method == Method::GET {
            tokio::spawn(streaming.run());
        }
        let alive = warp::sse::keep_alive().interval(HEARTBEAT_EVERY);
        warp::sse::reply(alive.stream(ReceiverStream::new(stream))).into_response()
    }
}

impl Streaming {
    /// Sends the newest state whenever there is room, so a slow reader skips some.
    async fn run(mut self) {
        let mut published = self.shared.published.clone();
        let hello = Event::default().retry(RETRY_AFTER_CUT).comment("");
        if self.events.send(Ok(hello)).await.is_err() {
            return;
        }
        loop {
            let next = name(&published.borrow_and_update(), clock::boottime());
            tokio::select! {
                room = self.events.reserve(), if self.sent.as_ref() != Some(&next) => {
                    let Ok(room) = room else { return };
                    let (status, now) = (published.borrow(), clock::boottime());
                    let snapshot = status.snapshot(now, clock::unix_seconds());
                    let name = name(&status, now);
                    let event = Event::default().id(name.clone()).json_data(&snapshot);
                    let Ok(event) = event else { return };
                    room.send(Ok(event));
                    self.sent = Some(name);
                }
                changed = published.changed() => if changed.is_err() { return },
                () = self.events.closed() => return,
                () = self.shared.stop.cancelled() => return,
            }
        }
    }
}

/// The id of an event names its state: a reader that reconnects with it gets the next state that differs.
fn name(status: &Status, now: Instant) -> String {
    let mut hasher = DefaultHasher::new();
    let lease_until = status.leadership(now).lease_until;
    let process = status.identity.started;
    (process, status.mark(now), lease_until).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
