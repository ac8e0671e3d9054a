//! The agent: binds, runs, stops. The only file that knows everyone.
//!
//! ```text
//!   Redis ─→ store ─→ tasks::elect ⇄ election
//!              │            │  ↑ miner::Desk
//!              │            ↓  │
//!              └→ tasks::watch_redis ─→ Status ─→ api ─→ miner, kubelet, Prometheus
//! ```

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures_util::FutureExt;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::api::{Grpc, Http, Listeners, Shared, SocketGuard, bind_tcp, bind_unix};
use crate::checkup::{Asked, Checkup, checkup};
use crate::clock;
use crate::config::Config;
use crate::election::{Election, Enrolment, Remembered, Settings};
use crate::endpoint::redacted_path;
use crate::metrics::Metrics;
use crate::miner::{Desk, Message, desk};
use crate::notify::Notify;
use crate::state::StateDir;
use crate::status::{Identity, Status, StatusWatch};
use crate::store::{Events, Probe, Rehearsal, Store};
use crate::tasks::{Elect, Listen, ProbeMiner, Rehearse, Remember, Signal, WatchRedis, show_life};

/// How long open streams and half-sent requests may hold up the end of the process.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

/// An agent whose sockets are bound: nothing has been sent to Redis yet.
pub struct Agent {
    config: Config,
    http: TcpListener,
    grpc: Listeners,
    socket: Option<SocketGuard>,
    state: Option<StateDir>,
}

/// What runs, and what it takes to end it.
struct Parts {
    election: JoinHandle<()>,
    others: Named,
    status: watch::Sender<Status>,
    /// Ends the servers and the streams.
    close: CancellationToken,
    _socket: Option<SocketGuard>,
}

/// Tasks whose names outlive a panic.
#[derive(Default)]
struct Named {
    tasks: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, &'static str>,
}

type Ended = Result<anyhow::Result<()>, JoinError>;

impl Named {
    fn spawn(
        &mut self,
        name: &'static str,
        part: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.names.insert(self.tasks.spawn(part).id(), name);
    }

    /// The next that ends; `None` when none is left.
    async fn next(&mut self) -> Option<(&'static str, Ended)> {
        let ended = self.tasks.join_next_with_id().await?;
        let (id, ended) = match ended {
            Ok((id, result)) => (id, Ok(result)),
            Err(panicked) => (panicked.id(), Err(panicked)),
        };
        Some((self.names.remove(&id).unwrap_or("a part"), ended))
    }
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
        let http = bind(config.http_listen, "http-listen")?;
        let tcp = match config.grpc_listen {
            Some(address) => Some(bind(address, "grpc-listen")?),
            None => None,
        };
        let bound = config.grpc_socket.as_ref().map(|path| {
            bind_unix(path).with_context(|| {
                format!("--grpc-socket={}: cannot listen there", redacted_path(path))
            })
        });
        let (unix, socket) = bound.transpose()?.unzip();
        Ok(Self {
            config,
            http,
            grpc: Listeners { tcp, unix },
            socket,
            state,
        })
    }

    /// Runs until `stop` is cancelled, gives its term back, and ends.
    ///
    /// # Errors
    /// A part of the agent has failed: then nothing is left running, and the lock's TTL ends the term.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let config = self.config.clone();
        let notify = Notify::from_env();
        let mut parts = self.start(&stop)?;
        notify.ready();
        let life = show_life(&notify, &parts.status, &parts.close).map(Ok);
        parts.others.spawn("the signs of life", life);
        // Nothing may end before it was asked to. Asked first: the election may end in the same turn.
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
        // What the status said last is remembered, and no more comes.
        drop(parts.status);
        let all_ended = async { while parts.others.next().await.is_some() {} };
        if timeout(CLOSE_WITHIN, all_ended).await.is_err() {
            tracing::debug!("stopping with connections that did not end by themselves");
        }
        tracing::info!(instance = %config.instance, "stopped");
        Ok(())
    }

    /// Puts everything together and sets it going.
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
        announce(&config, &holder, &http);

        let (status, published) = watch::channel(Status::new(identity(&config, &holder)));
        let (desk, messages) = desk();
        let (checkup, asked) = checkup();
        let (signals_out, signals) = mpsc::channel(64);
        let assembly = Assembly {
            metrics: Metrics::new(&config.instance, &config.redis.lock())?,
            config,
            holder,
            seed,
            status,
            // Streams and servers end after the term was given back.
            close: CancellationToken::new(),
            checkup: checkup.clone(),
        };
        let close = || assembly.close.clone();
        let shared = Shared {
            published: published.clone(),
            checkup: checkup.clone(),
            stop: close(),
        };

        let done = |(): ()| Ok(());
        let mut others = Named::default();
        let listen = assembly.listen(signals_out.clone());
        let listening = close().run_until_cancelled_owned(listen.run());
        others.spawn("the listener", listening.map(|_| Ok(())));
        let watching = assembly.watch_redis(asked, signals_out).run(close());
        others.spawn("the watch on Redis", watching.map(done));
        let rehearsing = close().run_until_cancelled_owned(assembly.rehearse().run());
        others.spawn("the rehearsals", rehearsing.map(|_| Ok(())));
        if let Some(probe_miner) = assembly.probe_miner(&desk) {
            let probing = close().run_until_cancelled_owned(probe_miner.run());
            others.spawn("the probe of the miner", probing.map(|_| Ok(())));
        }
        if let Some(state) = state {
            let remember = assembly.remember(state, published);
            others.spawn("the writer of --state-dir", remember.run().map(done));
        }
        let serve_http = Http::new(shared.clone(), assembly.metrics.clone(), desk.clone());
        others.spawn("the HTTP server", serve_http.serve(http).map(done));
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

/// What the parts are made of.
struct Assembly {
    config: Config,
    holder: String,
    /// Random, one for each process.
    seed: u64,
    metrics: Metrics,
    status: watch::Sender<Status>,
    close: CancellationToken,
    checkup: Checkup,
}

impl Assembly {
    fn elect(
        &self,
        messages: mpsc::Receiver<Message>,
        signals: mpsc::Receiver<Signal>,
        remembered: Remembered,
    ) -> Elect {
        let config = &self.config;
        Elect {
            store: Store::new(&config.redis),
            desk: messages,
            signals,
            status: self.status.clone(),
            metrics: self.metrics.clone(),
            checkup: self.checkup.clone(),
            instance: config.instance.clone(),
            election: Election::new(Settings {
                holder: self.holder.clone(),
                rules: config.rules.clone(),
                liveness: config.liveness,
                candidate: config.candidate,
                under_oom: config.acquire_under_oom,
                allow_eviction: config.allow_eviction,
                nonce: self.seed,
                remembered,
                enrolment: Some(Enrolment {
                    instance: config.instance.clone(),
                    version: crate::VERSION.to_owned(),
                    started: clock::unix_time(),
                }),
            }),
        }
    }

    fn listen(&self, signals: mpsc::Sender<Signal>) -> Listen {
        Listen {
            events: Events::new(&self.config.redis),
            signals,
            quiet: self.config.rules.renew_every(),
            spread: u32::try_from(self.seed % 1000).unwrap_or(0),
        }
    }

    fn watch_redis(&self, asked: Asked, signals: mpsc::Sender<Signal>) -> WatchRedis {
        WatchRedis {
            probe: Probe::new(&self.config.redis),
            asked,
            signals,
            status: self.status.clone(),
            metrics: self.metrics.clone(),
            memory_every: self.config.memory_every,
            warn_ratio: self.config.memory_warn_ratio,
        }
    }

    fn rehearse(&self) -> Rehearse {
        let config = &self.config;
        Rehearse {
            rehearsal: Rehearsal::new(&config.redis, &self.holder, config.acquire_under_oom),
            status: self.status.clone(),
            every: config.rules.renew_every(),
            allow_eviction: config.allow_eviction,
            instance: config.instance.clone(),
        }
    }

    fn probe_miner(&self, desk: &Desk) -> Option<ProbeMiner> {
        Some(ProbeMiner {
            probe: self.config.miner_probe.clone()?,
            desk: desk.clone(),
            every: self.config.rules.heartbeat_every(),
        })
    }

    fn remember(&self, state: StateDir, published: StatusWatch) -> Remember {
        Remember {
            state,
            published,
            miner_timeout: self.config.rules.miner_timeout(),
        }
    }
}

/// The holder id, and what is known of the process before this one.
fn who(config: &Config, state: Option<&StateDir>, seed: u64) -> (String, Remembered) {
    // As many hexadecimal digits as tell this process from every other with this name.
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

fn announce(config: &Config, holder: &str, http: &TcpListener) {
    tracing::info!(
        version = crate::VERSION,
        instance = %config.instance,
        holder,
        redis = %config.redis.endpoint.place,
        lock_key = %config.redis.keys.lock,
        grpc = config.grpc_listen.map(tracing::field::display),
        socket = config.grpc_socket.as_ref().map(|path| tracing::field::display(path.display())),
        http = http.local_addr().ok().map(tracing::field::display),
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

/// A part of the agent has ended that nobody asked to end: the agent ends with it.
fn unasked(name: &str, ended: Ended) -> anyhow::Error {
    let why = match ended {
        Ok(Ok(())) => anyhow!("it returned"),
        Ok(Err(error)) => error,
        Err(panicked) => panicked.into(),
    };
    tracing::error!(
        part = name,
        error = format!("{why:#}"),
        "a part of the agent has stopped"
    );
    why.context(format!(
        "{name} has stopped, and the agent with it: the lock's TTL ends its term"
    ))
}

fn bind(address: std::net::SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    bind_tcp(address).with_context(|| {
        format!(
            "--{flag}={address}: cannot listen there; stop what does, or choose another address"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_is_called_by_its_name() {
        let mut parts = Named::default();
        parts.spawn("one that goes on", std::future::pending());
        parts.spawn("one that panics", async { panic!("for the test") });
        let (name, ended) = parts.next().await.unwrap();
        let told = format!("{:#}", unasked(name, ended));
        assert!(told.starts_with("one that panics has stopped"), "{told}");
        assert!(told.contains("for the test"), "{told}");
        parts.spawn("one that fails", async { Err(anyhow!("why")) });
        assert_eq!(parts.next().await.unwrap().0, "one that fails");
    }
}
