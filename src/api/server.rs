//! The accept loop of both servers.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::yield_now;
use tokio::time::sleep;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::places::{Held, Place, Places};
use super::socket::Peer;
use crate::clock;
use crate::time::Instant;

/// Log that connections cannot be accepted at most once in this time.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// The sockets to serve.
#[derive(Default)]
pub struct Listeners {
    pub tcp: Option<TcpListener>,
    pub unix: Option<UnixListener>,
    /// Connections from within this process.
    pub inside: Option<Inside>,
}

/// The end where such connections are made.
pub struct Dial(mpsc::Sender<UnixStream>);

/// The end where they arrive.
pub struct Inside(Mutex<mpsc::Receiver<UnixStream>>);

#[must_use]
pub fn inside() -> (Dial, Inside) {
    let (sender, receiver) = mpsc::channel(1);
    (Dial(sender), Inside(Mutex::new(receiver)))
}

impl Dial {
    /// # Errors
    /// The server has stopped.
    pub async fn dial(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let sent = self.0.send(theirs).await;
        sent.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        Ok(ours)
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Serves each connection with `connection` until `stop` is cancelled and all have ended. They end by themselves then, and
/// the caller bounds the wait.
pub(super) async fn serve<F>(
    name: &'static str,
    listeners: Listeners,
    most: usize,
    stop: &CancellationToken,
    connection: impl Fn(Peer, Arc<Place>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Places::new(most);
    let accept = async {
        let mut warned = Instant::PAST;
        loop {
            match listeners.accept().await {
                Ok(peer) => {
                    let newcomer = places.enter().await;
                    let serving = connection(peer, Arc::clone(newcomer.place()));
                    tokio::spawn(until_cut(newcomer, serving));
                }
                // The peer is gone again.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    let now = clock::boottime();
                    if now.since(warned) >= WARN_EVERY {
                        tracing::warn!(%error, "cannot accept {name} connections: cutting those that idle");
                        warned = now;
                    }
                    // Most likely out of file descriptors. This must not stop the agent, which also needs descriptors for
                    // Redis.
                    if places.cut_half() {
                        yield_now().await;
                    } else {
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = stop.cancelled() => {}
    }
    drop(listeners);
    places.empty().await;
}

async fn until_cut(newcomer: Held, serving: impl Future<Output = ()>) {
    let place = Arc::clone(newcomer.place());
    let mut serving = pin!(serving);
    // The first turn reads what has already arrived.
    if poll_fn(|cx| Poll::Ready(serving.as_mut().poll(cx)))
        .await
        .is_ready()
    {
        return;
    }
    drop(newcomer);
    tokio::select! {
        biased;
        () = place.cut() => {}
        () = serving => {}
    }
}

// === impl Listeners ===

impl Listeners {
    async fn accept(&self) -> io::Result<Peer> {
        let tcp = async {
            match &self.tcp {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        let unix = async {
            match &self.unix {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        let inside = async {
            if let Some(Inside(inside)) = &self.inside
                && let Some(stream) = inside.lock().await.recv().await
            {
                return stream;
            }
            std::future::pending().await
        };
        tokio::select! {
            stream = inside => Ok(Peer::new(Either::Right(stream))),
            tcp = tcp => {
                let (stream, _) = tcp?;
                // Without it, a push may wait for the peer's delayed acknowledgement.
                let _ = stream.set_nodelay(true);
                Ok(Peer::new(Either::Left(stream)))
            }
            unix = unix => Ok(Peer::new(Either::Right(unix?.0))),
        }
    }
}
