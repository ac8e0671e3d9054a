//! The agent: binds, runs, stops. The only room that knows all others.
//!
//! ```text
//!   Redis ─→ store ─→ tasks::elect ⇄ election
//!              │            │  ↑ miner::Desk
//!              │            ↓  │
//!              └→ tasks::watch_redis ─→ Status ─→ api ─→ miner, kubelet, Prometheus
//! ```

mod assembly;
mod named;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::FutureExt;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::api::{Dial, Grpc, Http, Listeners, Shared, SocketGuard, bind_flag, bind_unix, inside};
use crate::checkup::checkup;
use crate::clock;
use crate::config::Config;
use crate::election::Remembered;
use crate::endpoint::redacted_path;
use crate::metrics::Metrics;
use crate::miner::desk;
use crate::notify::Notify;
use crate::state::StateDir;
use crate::status::{Identity, Status};
use crate::store::HealthCheck;
use crate::tasks::show_life;
use assembly::Assembly;
use named::{Named, unasked};

/// How long open streams and half-sent requests may delay the end of the process.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

/// An agent whose sockets are bound: nothing has been sent to Redis yet.
pub struct Agent {
    config: Config,
    http: Option<TcpListener>,
    grpc: Listeners,
    socket: Option<SocketGuard>,
    state: Option<StateDir>,
}

/// The running tasks, and what is needed to end them.
struct Parts {
    election: JoinHandle<()>,
    others: Named,
    status: watch::Sender<Status>,
    /// Ends the servers and the streams.
    close: CancellationToken,
    _socket: Option<SocketGuard>,
}

impl Agent {
    /// # Errors
    /// An address is taken or cannot be used.
    pub fn bind(config: Config) -> anyhow::Result<Self> {
        let opened = config.state_dir.as_ref().map(|path| {
            StateDir::open(path)
                .with_context(|| format!("--state-dir={}: cannot be used", redacted_path(path)))
        });
        let state = opened.transpose()?;
        let http = bind_flag(config.http_listen, "http-listen")?;
        let tcp = bind_flag(config.grpc_listen, "grpc-listen")?;
        let bound = config.grpc_socket.as_ref().map(|path| {
            bind_unix(path).with_context(|| {
                format!("--grpc-socket={}: cannot listen there", redacted_path(path))
            })
        });
        let (unix, socket) = bound.transpose()?.unzip();
        Ok(Self {
            config,
            http,
            grpc: Listeners {
                tcp,
                unix,
                inside: None,
            },
            socket,
            state,
        })
    }

    /// A connector for a miner in this process.
    pub fn dial(&mut self) -> Dial {
        let (dial, inside) = inside();
        self.grpc.inside = Some(inside);
        dial
    }

    /// Runs until `stop` is cancelled, gives its term back, and ends.
    ///
    /// # Errors
    /// A part of the agent failed. Then nothing is left running, and the lock's TTL ends the term.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let config = self.config.clone();
        let notify = Notify::from_env();
        let mut parts = self.start(&stop)?;
        notify.ready();
        let life = show_life(&notify, &parts.status, &parts.close).map(Ok);
        parts.others.spawn("the signs of life", life);
        // No task may end before it is told to. Check this first: the election may end in the same turn.
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            ended = &mut parts.election => return Err(unasked("the election", ended.map(Ok))),
            Some((name, ended)) = parts.others.next() => return Err(unasked(name, ended)),
        }
        notify.stopping();
        parts.status.send_modify(|status| status.stopping = true);
        let drain_within = config.drain_timeout + config.rules.redis_timeout();
        match timeout(drain_within, parts.election).await {
            Ok(Ok(())) => {}
            Ok(panicked) => return Err(unasked("the election", panicked.map(Ok))),
            Err(_) => tracing::warn!(
                ?drain_within,
                "stopping without having released the lock: its TTL ends it"
            ),
        }
        parts.close.cancel();
        // The last status is saved, and no further one follows.
        drop(parts.status);
        let all_ended = async { while parts.others.next().await.is_some() {} };
        if timeout(CLOSE_WITHIN, all_ended).await.is_err() {
            tracing::debug!("stopping with connections that did not end by themselves");
        }
        tracing::info!(instance = %config.instance, "stopped");
        Ok(())
    }

    /// Connects all parts and starts them.
    fn start(self, stop: &CancellationToken) -> anyhow::Result<Parts> {
        let Self {
            config,
            http,
            grpc,
            socket,
            state,
        } = self;
        let seed = RandomState::new().build_hasher().finish();
        let (holder, remembered) = who(&config, state.as_ref(), seed);
        announce(&config, &holder, http.as_ref());

        let (status, published) = watch::channel(Status::new(identity(&config, &holder)));
        let (desk, messages) = desk();
        let (checkup, requests) = checkup();
        let (signals_out, signals) = mpsc::channel(64);
        let assembly = Assembly {
            metrics: Metrics::new(&config.instance, &config.redis.lock())?,
            config,
            holder,
            seed,
            status,
            beats: Arc::default(),
            // Streams and servers end after the term was given back.
            close: CancellationToken::new(),
            checkup: checkup.clone(),
        };
        let close = || assembly.close.clone();
        let shared = Shared {
            published: published.clone(),
            beats: Arc::clone(&assembly.beats),
            checkup: checkup.clone(),
            stop: close(),
        };

        let done = |(): ()| Ok(());
        let mut others = Named::default();
        let check = HealthCheck::new(&assembly.config.redis);
        let listen = assembly.listen(&check, signals_out.clone());
        let listening = close().run_until_cancelled_owned(listen.run());
        others.spawn("the listener", listening.map(|_| Ok(())));
        if assembly.config.candidate {
            let rehearse = assembly.rehearse(&check);
            let rehearsing = close().run_until_cancelled_owned(rehearse.run());
            others.spawn("the rehearsals", rehearsing.map(|_| Ok(())));
        }
        let watching = assembly.watch_redis(check, requests, signals_out);
        others.spawn("the watch on Redis", watching.run(close()).map(done));
        if let Some(probe_miner) = assembly.probe_miner(&desk) {
            let probing = close().run_until_cancelled_owned(probe_miner.run());
            others.spawn("the probe of the miner", probing.map(|_| Ok(())));
        }
        if let Some(state) = state {
            let remember = assembly.remember(state, published);
            others.spawn("the writer of --state-dir", remember.run().map(done));
        }
        if let Some(http) = http {
            let serve_http = Http::new(shared.clone(), assembly.metrics.clone(), desk.clone());
            others.spawn("the HTTP server", serve_http.serve(http).map(done));
        }
        let serve_grpc = Grpc {
            shared,
            desk,
            listeners: grpc,
            liveness: assembly.config.liveness,
        };
        others.spawn("the gRPC server", serve_grpc.serve());
        let elect = assembly.elect(messages, signals, remembered);
        Ok(Parts {
            election: tokio::spawn(elect.run(stop.clone())),
            others,
            status: assembly.status,
            close: assembly.close,
            _socket: socket,
        })
    }
}

/// The holder id, and what is known about the previous process.
fn who(config: &Config, state: Option<&StateDir>, seed: u64) -> (String, Remembered) {
    // Enough hexadecimal digits to distinguish this process from every other with this name.
    let fresh = format!("{}-{:08x}", config.instance, seed >> 32);
    let before = state.and_then(|it| it.holder(&config.instance));
    let remembered = state.map_or(Remembered::NOTHING, |it| {
        let timeout = config.rules.miner_timeout();
        it.remembered(before.is_some(), timeout, clock::boottime())
    });
    (before.map_or(fresh, ToOwned::to_owned), remembered)
}

fn identity(config: &Config, holder: &str) -> Identity {
    Identity {
        instance: config.instance.clone(),
        holder: holder.to_owned(),
        lock_key: config.redis.keys.lock.clone(),
        liveness: config.liveness,
        heartbeat_every: config.rules.heartbeat_every(),
        started: clock::boottime(),
        started_unix: clock::unix_seconds(),
    }
}

fn announce(config: &Config, holder: &str, http: Option<&TcpListener>) {
    tracing::info!(
        version = crate::VERSION,
        instance = %config.instance,
        holder,
        redis = %config.redis.endpoint.place,
        lock_key = %config.redis.keys.lock,
        grpc = config.grpc_listen.map(tracing::field::display),
        socket = config.grpc_socket.as_ref().map(|path| tracing::field::display(path.display())),
        http = http.and_then(|it| it.local_addr().ok()).map(tracing::field::display),
        "started"
    );
    if let Some(name) = &config.long_instance {
        tracing::warn!(instance = %config.instance, %name, "the name of this instance is longer than 63 characters: it is shortened");
    }
    let ignored = &config.redis.endpoint.ignored;
    if !ignored.is_empty() {
        tracing::warn!(options = ?ignored, "options of --redis-url that mean nothing here are ignored");
    }
}
