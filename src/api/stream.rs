//! Streams of what stands on the board: the newest state only, whenever it has changed.

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use super::{Shared, shutting_down};
use crate::clock;
use crate::election::Instant;
use crate::status::Status as Board;

pub(super) type Out<T> = ReceiverStream<Result<T, Status>>;

/// Sends what `view` makes of the board: at once, and again whenever its `mark` has changed.
pub(super) fn watch<T, M>(
    shared: &Shared,
    place: OwnedSemaphorePermit,
    mark: impl Fn(&Board, Instant) -> M + Send + 'static,
    view: impl Fn(&Board, Instant) -> T + Send + 'static,
) -> Response<Out<T>>
where
    T: Send + 'static,
    M: PartialEq + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(1);
    let mut board = shared.board.clone();
    let stop = shared.stop.clone();
    tokio::spawn(async move {
        let _place = place;
        let mut sent = None;
        loop {
            let (next, item) = {
                let status = board.borrow_and_update();
                let now = clock::boottime();
                (Some(mark(&status, now)), view(&status, now))
            };
            if next != sent {
                sent = next;
                if sender.send(Ok(item)).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                changed = board.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
                () = stop.cancelled() => {
                    // The reader may be gone first.
                    let _ = sender.send(Err(shutting_down())).await;
                    return;
                }
            }
        }
    });
    Response::new(ReceiverStream::new(receiver))
}
