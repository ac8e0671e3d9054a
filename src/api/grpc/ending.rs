//! Whose doing the end of a miner's stream was. The lock is given back early on this word, so it is taken
//! from what was received, below the libraries that make one end of all.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::Request;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use tonic::body::Body;

use crate::api::socket::Ended;

/// END_STREAM or RST_STREAM was received for one request.
#[derive(Debug, Clone, Default)]
pub(super) struct StreamEnded(pub Ended);

/// A request's body that notes how it ends.
struct Noted {
    body: Body,
    ended: Ended,
}

/// Puts a [`StreamEnded`] beside a request and has its body set it.
pub(super) fn note(mut request: Request<Body>) -> Request<Body> {
    let ended = StreamEnded::default();
    if request.body().is_end_stream() {
        ended.0.set();
    }
    request.extensions_mut().insert(ended.clone());
    request.map(|body| {
        Body::new(Noted {
            body,
            ended: ended.0,
        })
    })
}

impl HttpBody for Noted {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let by_miner = match &frame {
            // The body also ends when a connection that we cut off says GOAWAY without an error.
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
fn reset_by_peer(status: &tonic::Status) -> bool {
    let mut error: Option<&(dyn Error + 'static)> = status.source();
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
    use futures_util::future::poll_fn;

    /// A body that ends as it is told.
    struct Ends {
        with: Option<h2::Error>,
        stream: bool,
    }

    impl HttpBody for Ends {
        type Data = Bytes;
        type Error = tonic::Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
            let error = self.with.take();
            Poll::Ready(error.map(|it| Err(tonic::Status::from_error(Box::new(it)))))
        }

        fn is_end_stream(&self) -> bool {
            self.stream
        }
    }

    async fn told(with: Option<h2::Error>, stream: bool) -> bool {
        let request = note(Request::new(Body::new(Ends { with, stream })));
        let ended = request.extensions().get::<StreamEnded>().unwrap().clone();
        let mut body = request.into_body();
        poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        ended.0.get()
    }

    #[tokio::test]
    async fn only_the_miners_own_end_counts() {
        assert!(told(None, true).await, "END_STREAM");
        assert!(!told(None, false).await, "a connection that we cut off");
        // Made here, as a reset of our own is; a received one is tried in tests/processes/grpc.rs.
        let ours = h2::Error::from(h2::Reason::CANCEL);
        assert!(!told(Some(ours), false).await);
    }
}
