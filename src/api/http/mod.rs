//! The HTTP server: open to the cluster, bounded, and without effects, except that `/leader?wait=` may extend a grant.

mod events;
mod leader;
mod page;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::{HeaderMap, Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use warp::Filter;
use warp::reply::Reply;

use super::Shared;
use super::places::Place;
use super::server::{self, Listeners};
use super::socket::Peer;
use crate::checkup::Late;
use crate::clock;
use crate::election::Reason;
use crate::fault::RedisFault;
use crate::metrics::Metrics;
use crate::miner::Desk;
use crate::status::Status;
use crate::time::Instant;

/// How many connections to serve at once. One more replaces the one that has been idle for longest. With this many, a
/// flood needs a tenth of a second to push out a probe that has connected and is slow to send its request.
const MAX_CONNECTIONS: usize = 512;
/// How many requests may wait for a check of Redis at once: far fewer than there are places, because they hold theirs.
const MAX_WAITING: usize = 32;
/// The time limit for the head of a request, and for the next request on the same connection.
const HEAD_WITHIN: Duration = Duration::from_secs(5);

/// How many requests may wait for a change of leadership at once (`/leader?wait=`). They hold their places too.
const MAX_LEADER_WAITS: usize = 64;
/// How many streams of `/events` may be open at once. They hold their places too.
const MAX_EVENT_STREAMS: usize = 16;

pub struct Http {
    shared: Shared,
    metrics: Metrics,
    desk: Desk,
    waiting: Semaphore,
    leader_waits: Semaphore,
    event_streams: Arc<Semaphore>,
}

/// What the responses depend on.
struct Request {
    method: Method,
    path: String,
    query: String,
    accept: String,
    last_event_id: Option<String>,
}

type HttpResponse = warp::reply::Response;

impl Http {
    #[must_use]
    pub fn new(shared: Shared, metrics: Metrics, desk: Desk) -> Self {
        Self {
            shared,
            metrics,
            desk,
            waiting: Semaphore::new(MAX_WAITING),
            leader_waits: Semaphore::new(MAX_LEADER_WAITS),
            event_streams: Arc::new(Semaphore::new(MAX_EVENT_STREAMS)),
        }
    }

    /// Serves until `shared.stop` is cancelled, which cuts off requests in progress.
    pub async fn serve(self, listener: TcpListener) {
        let listeners = Listeners {
            tcp: Some(listener),
            ..Listeners::default()
        };
        let http = Arc::new(self);
        let stop = &http.shared.stop;
        let connection = |peer, place| Arc::clone(&http).connection(peer, place);
        server::serve("HTTP", listeners, MAX_CONNECTIONS, stop, connection).await;
    }

    async fn connection(self: Arc<Self>, peer: Peer, place: Arc<Place>) {
        let stop = self.shared.stop.clone();
        let routes = request().then(move |request: Request| {
            let (http, place) = (Arc::clone(&self), Arc::clone(&place));
            async move {
                let _held = place.hold();
                let mut answer = http.answer(&request, &place).await;
                if place.crowded() {
                    // A client with another request queues again, behind those that connected meanwhile.
                    let close = HeaderValue::from_static("close");
                    answer.headers_mut().insert(CONNECTION, close);
                }
                answer
            }
        });
        let service = TowerToHyperService::new(warp::service(routes));
        let serve = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(16 * 1024)
            .serve_connection(TokioIo::new(peer), service);
        tokio::select! {
            // If a connection ends badly, that concerns only its peer.
            _ = serve => {}
            () = stop.cancelled() => {}
        }
    }

    async fn answer(&self, request: &Request, place: &Arc<Place>) -> HttpResponse {
        // Yield between the requests of a client that sends many at once: the election runs on the same thread.
        tokio::task::yield_now().await;
        if request.method != Method::GET && request.method != Method::HEAD {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
            answer
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match &*request.path {
            "/" => self.front(&request.accept),
            "/ready" => self.ready().await,
            "/live" => self.live(),
            "/leader" => self.leader(&request.query).await,
            "/status" => {
                // Answer even if the check is late: the status says how old it is.
                let _ = self.check().await;
                self.status(&request.query)
            }
            "/events" => self.events(request, place),
            "/metrics" => {
                let _ = self.check().await;
                self.render()
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "/ready /live /leader /status /events /metrics, and / for a page\n",
            ),
        }
    }

    /// Checks Redis before its health is shown, unless the last check is fresh.
    async fn check(&self) -> Result<(), Late> {
        // If too many wait for a check already, answer with the result of the last one.
        match self.waiting.try_acquire() {
            Ok(_waiting) => self.shared.checkup.fresh(&self.shared.published).await,
            Err(_) => Ok(()),
        }
    }

    async fn ready(&self) -> HttpResponse {
        let reasons = match self.check().await {
            Ok(()) => self.shared.published.borrow().not_ready(clock::boottime()),
            Err(Late) => vec![Reason::Redis(RedisFault::Timeout)],
        };
        let ready = reasons.is_empty();
        let reasons: Vec<_> = reasons.into_iter().map(Reason::name).collect();
        json_answer(code(ready), &json!({ "ready": ready, "reasons": reasons }))
    }

    fn live(&self) -> HttpResponse {
        let live = self.shared.published.borrow().live(clock::boottime());
        json_answer(code(live), &json!({ "live": live }))
    }

    fn status(&self, query: &str) -> HttpResponse {
        let (status, now, at) = self.look();
        let asks = |it| matches!(it, "history" | "history=" | "history=1" | "history=true");
        let with_history = query.split('&').any(asks);
        let snapshot = if with_history {
            status.snapshot_with_history(now, at)
        } else {
            status.snapshot(now, at)
        };
        json_answer(StatusCode::OK, &snapshot)
    }

    fn look(&self) -> (watch::Ref<'_, Status>, Instant, f64) {
        let status = self.shared.published.borrow();
        (status, clock::boottime(), clock::unix_seconds())
    }

    fn render(&self) -> HttpResponse {
        let rendered = self
            .metrics
            .render(&self.shared.published.borrow(), clock::boottime());
        match rendered {
            Ok(metrics) => with_type(StatusCode::OK, prometheus::TEXT_FORMAT, metrics),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }
}

fn code(yes: bool) -> StatusCode {
    if yes {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

fn json_answer(code: StatusCode, body: &impl Serialize) -> HttpResponse {
    match serde_json::to_string(body) {
        Ok(body) => with_type(code, "application/json", body + "\n"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn text(code: StatusCode, body: &str) -> HttpResponse {
    with_type(code, "text/plain; charset=utf-8", body.to_owned())
}

fn with_type(code: StatusCode, content_type: &'static str, body: String) -> HttpResponse {
    let mut answer = Response::new(body);
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.into_response()
}

/// Reads from an HTTP request what any of the responses depends on.
fn request() -> impl Filter<Extract = (Request,), Error = Infallible> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .map(
            |method, path: warp::path::FullPath, query, headers: HeaderMap| {
                let header = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
                Request {
                    method,
                    path: path.as_str().to_owned(),
                    query,
                    accept: header("accept").unwrap_or_default(),
                    last_event_id: header("last-event-id"),
                }
            },
        )
}
