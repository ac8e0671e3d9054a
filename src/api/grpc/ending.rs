//! Who ended a miner's stream. The agent gives the lock back early on this evidence, so it comes from what was received,
//! below the libraries that report all ends alike.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::Request;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};

use crate::api::places::Place;
use crate::api::socket::{Ended, PeerGone};

/// Where a request came from, and whether the miner has ended it.
#[derive(Clone)]
pub(super) struct Origin {
    pub place: Arc<Place>,
    peer: PeerGone,
    /// END_STREAM or RST_STREAM was received.
    stream: Ended,
}

impl Origin {
    pub fn ended(&self) -> bool {
        self.stream.get() || self.peer.0.get()
    }
}

/// A request's body that notes how it ends.
pub(super) struct Noted<B> {
    body: B,
    ended: Ended,
}

/// Puts its [`Origin`] beside a request and has its body keep that up.
pub(super) fn note<B: HttpBody>(
    mut request: Request<B>,
    peer: &PeerGone,
    place: &Arc<Place>,
) -> Request<Noted<B>> {
    let ended = Ended::default();
    if request.body().is_end_stream() {
        ended.set();
    }
    request.extensions_mut().insert(Origin {
        place: Arc::clone(place),
        peer: peer.clone(),
        stream: ended.clone(),
    });
    request.map(|body| Noted { body, ended })
}

impl<B> HttpBody for Noted<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Error + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let by_miner = match &frame {
            // The body also ends when we cut off a connection and it closes with GOAWAY, without an error.
            Some(Ok(_)) | None => self.body.is_end_stream(),
            Some(Err(error)) => reset_by_peer(error),
        };
        if by_miner {
            self.ended.set();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The peer sent RST_STREAM: a cancelled call.
fn reset_by_peer(error: &(dyn Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(cause) = error {
        if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            return h2.is_reset() && h2.is_remote();
        }
        error = cause.source();
    }
    false
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use crate::api::places::Places;
    use futures_util::future::poll_fn;

    /// A body that ends in a given way.
    struct Ends {
        with: Option<h2::Error>,
        stream: bool,
    }

    impl HttpBody for Ends {
        type Data = Bytes;
        type Error = h2::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
            Poll::Ready(self.with.take().map(Err))
        }

        fn is_end_stream(&self) -> bool {
            self.stream
        }
    }

    async fn told(with: Option<h2::Error>, stream: bool) -> bool {
        let place = Arc::clone(Places::new(1).enter().await.place());
        let body = Ends { with, stream };
        let request = note(Request::new(body), &PeerGone::default(), &place);
        let origin = request.extensions().get::<Origin>().unwrap().clone();
        let mut body = request.into_body();
        poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        origin.ended()
    }

    #[tokio::test]
    async fn only_the_miners_own_end_counts() {
        assert!(told(None, true).await, "END_STREAM");
        assert!(!told(None, false).await, "a connection that we cut off");
        // Created here, like a reset of our own; tests/processes/grpc.rs tests a received one.
        let ours = h2::Error::from(h2::Reason::CANCEL);
        assert!(!told(Some(ours), false).await);
    }
}
