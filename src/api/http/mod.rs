//! The HTTP server: read-only, open to the cluster, and bounded.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use warp::Filter;

use super::Shared;
use super::places::Place;
use super::server::{self, Listeners};
use super::socket::Peer;
use crate::checkup::Late;
use crate::clock;
use crate::election::Reason;
use crate::fault::RedisFault;
use crate::metrics::Metrics;
use crate::status::Status;
use crate::time::Instant;

/// How many connections are served at once. One more takes the place of the one that idles for longest. So many that
/// a flood takes a tenth of a second to push out a probe that has connected and is slow to send its request.
const MAX_CONNECTIONS: usize = 512;
/// How many requests wait for a check of Redis at once: far fewer than there are places, since they hold theirs.
const MAX_WAITING: usize = 32;
/// A request's head must be there by then, and so must the next one on the same connection.
const HEAD_WITHIN: Duration = Duration::from_secs(5);

pub struct Http {
    shared: Shared,
    metrics: Metrics,
    waiting: Arc<Semaphore>,
}

type Answer = Response<String>;

impl Http {
    #[must_use]
    pub fn new(shared: Shared, metrics: Metrics) -> Self {
        let waiting = Arc::new(Semaphore::new(MAX_WAITING));
        Self {
            shared,
            metrics,
            waiting,
        }
    }

    /// Serves until `shared.stop` is cancelled. Requests under way are cut off then.
    pub async fn serve(self, listener: TcpListener) {
        let listeners = Listeners {
            tcp: Some(listener),
            unix: None,
        };
        let http = Arc::new(self);
        let stop = &http.shared.stop;
        let connection = |peer, place| Arc::clone(&http).connection(peer, place);
        server::serve("HTTP", listeners, MAX_CONNECTIONS, stop, connection).await;
    }

    async fn connection(self: Arc<Self>, peer: Peer, place: Arc<Place>) {
        let stop = self.shared.stop.clone();
        let routes = warp::method().and(warp::path::full()).then(
            move |method, path: warp::path::FullPath| {
                let (http, place) = (Arc::clone(&self), Arc::clone(&place));
                async move {
                    let _held = place.hold();
                    let mut answer = http.answer(&method, path.as_str()).await;
                    if place.crowded() {
                        // Whoever asks again stands in line again, behind those who came meanwhile.
                        let close = HeaderValue::from_static("close");
                        answer.headers_mut().insert(CONNECTION, close);
                    }
                    answer
                }
            },
        );
        let service = TowerToHyperService::new(warp::service(routes));
        let serve = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(16 * 1024)
            .serve_connection(TokioIo::new(peer), service);
        tokio::select! {
            // A connection that ends badly is its peer's affair.
            _ = serve => {}
            () = stop.cancelled() => {}
        }
    }

    async fn answer(&self, method: &Method, path: &str) -> Answer {
        // Whoever sends many requests at once waits for the others of the agent between any two: the
        // election runs on the same thread.
        tokio::task::yield_now().await;
        if method != Method::GET && method != Method::HEAD {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
            answer
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match path {
            "/ready" => self.ready().await,
            "/live" => self.live(),
            "/leader" => self.leader(),
            "/status" => {
                // Late or not: it says how old its findings are.
                let _ = self.check().await;
                json_answer(StatusCode::OK, &self.status())
            }
            "/metrics" => {
                let _ = self.check().await;
                self.render()
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "/ready /live /leader /status /metrics\n",
            ),
        }
    }

    /// Checks Redis for those who are shown how it is, unless that was done just now.
    async fn check(&self) -> Result<(), Late> {
        // Where so many wait for a check already, the answer is that of the last one.
        match self.waiting.try_acquire() {
            Ok(_waiting) => self.shared.checkup.fresh(&self.shared.published).await,
            Err(_) => Ok(()),
        }
    }

    async fn ready(&self) -> Answer {
        let reasons = match self.check().await {
            Ok(()) => self.shared.published.borrow().not_ready(clock::boottime()),
            Err(Late) => vec![Reason::Redis(RedisFault::Timeout)],
        };
        let ready = reasons.is_empty();
        let reasons: Vec<_> = reasons.into_iter().map(Reason::name).collect();
        json_answer(code(ready), &json!({ "ready": ready, "reasons": reasons }))
    }

    fn live(&self) -> Answer {
        let live = self.shared.published.borrow().live(clock::boottime());
        json_answer(code(live), &json!({ "live": live }))
    }

    fn leader(&self) -> Answer {
        let (status, now) = (self.shared.published.borrow(), clock::boottime());
        let leads = status.leadership(now).leads();
        json_answer(code(leads), &leadership(&status, now))
    }

    fn status(&self) -> Value {
        let (status, now) = (self.shared.published.borrow(), clock::boottime());
        let election = &status.election;
        let seconds = |duration: Duration| duration.as_secs_f64();
        let mut all = leadership(&status, now);
        let rest = json!({
            "version": crate::VERSION,
            "revision": crate::REVISION,
            "lock_key": status.identity.lock_key,
            "up_seconds": seconds(now.since(status.identity.started)),
            "stopping": status.stopping,
            "miner": { "connected": election.candidate, "label": election.miner },
            "hears_events": election.hears,
            "oom_rung": election.oom_rung,
            "elections": election.elections,
            "consecutive_acquire_failures": election.consecutive_failures,
            "last_error": election.last_error.as_ref().map(ToString::to_string),
            "leaderless_seconds": seconds(election.leaderless.total(now)),
            "ready": status.not_ready(now).is_empty(),
            "not_ready": status.not_ready(now).into_iter().map(Reason::name).collect::<Vec<_>>(),
            "takeover": takeover(&status, now),
            "redis": redis(&status, now),
        });
        if let (Value::Object(all), Value::Object(rest)) = (&mut all, rest) {
            all.extend(rest);
        }
        all
    }

    fn render(&self) -> Answer {
        let rendered = self
            .metrics
            .render(&self.shared.published.borrow(), clock::boottime());
        match rendered {
            Ok(metrics) => with_type(StatusCode::OK, prometheus::TEXT_FORMAT, metrics),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }
}

/// What `/leader` says, and the first part of `/status`.
fn leadership(status: &Status, now: Instant) -> Value {
    let leadership = status.leadership(now);
    let left = |until: Option<Instant>| until.map(|until| until.since(now).as_secs_f64());
    json!({
        "leader": leadership.leads(),
        "role": leadership.role.name(),
        "reason": leadership.reason.name(),
        "instance": status.identity.instance,
        "instance_id": status.identity.holder,
        "leader_id": leadership.leader,
        "fencing_token": leadership.token,
        "leadership_version": leadership.version,
        "lease_remaining_seconds": left(leadership.lease_until),
        "valid_for_seconds": left(leadership.valid_until),
    })
}

/// `null` until it was rehearsed.
fn takeover(status: &Status, now: Instant) -> Value {
    let Some(takeover) = status.takeover(now) else {
        return Value::Null;
    };
    let fault = takeover.as_ref().err();
    let rehearsed = status.takeover.as_ref();
    json!({
        "ready": takeover.is_ok(),
        "reason": fault.map(|(reason, _)| reason.name()),
        "error": fault.map(|(_, error)| error),
        "rehearsed_seconds_ago": rehearsed.map(|it| now.since(it.rehearsed_at).as_secs_f64()),
    })
}

fn redis(status: &Status, now: Instant) -> Value {
    let redis = &status.redis;
    let mut shown = json!({
        "reachable": redis.reachable(),
        "writable": redis.writable(),
        "oom": redis.oom(),
        "error": redis.error().map(ToString::to_string),
        "checked_seconds_ago": redis.age(now).map(|age| age.as_secs_f64()),
        "write_refused_ratio": redis.refused_ratio(now),
    });
    if let (Value::Object(shown), Some(memory)) = (&mut shown, redis.memory()) {
        shown.insert("engine".into(), memory.engine.engine.clone().into());
        shown.insert("version".into(), memory.engine.version.clone().into());
        shown.insert("used_memory_bytes".into(), memory.reading.used_bytes.into());
        shown.insert("max_memory_bytes".into(), memory.reading.max_bytes.into());
        shown.insert("usage_ratio".into(), memory.reading.usage_ratio().into());
        shown.insert(
            "maxmemory_policy".into(),
            memory.reading.policy.clone().into(),
        );
    }
    shown
}

fn code(yes: bool) -> StatusCode {
    if yes {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

fn json_answer(code: StatusCode, body: &Value) -> Answer {
    with_type(code, "application/json", format!("{body}\n"))
}

fn text(code: StatusCode, body: &str) -> Answer {
    with_type(code, "text/plain; charset=utf-8", body.to_owned())
}

fn with_type(code: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = code;
    let content_type = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}
