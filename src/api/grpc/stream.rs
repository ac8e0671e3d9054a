//! Streams of the published status: only the newest state, whenever it has changed.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use super::{Observing, shutting_down};
use crate::api::Shared;
use crate::clock;
use crate::status::Status as AgentStatus;
use crate::time::Instant;

pub(super) type Out<T> = ReceiverStream<Result<T, Status>>;

/// Sends what `view` makes of the published status, at once and whenever its `mark` changes.
pub(super) fn watch<T, M>(
    shared: &Shared,
    place: Observing,
    mark: impl Fn(&AgentStatus, Instant) -> M + Send + 'static,
    view: impl Fn(&AgentStatus, Instant) -> T + Send + 'static,
) -> Response<Out<T>>
where
    T: Send + 'static,
    M: PartialEq + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(1);
    let mut published = shared.published.clone();
    let stop = shared.stop.clone();
    tokio::spawn(async move {
        let _place = place;
        let mut sent = None;
        loop {
            let next = mark(&published.borrow_and_update(), clock::boottime());
            tokio::select! {
                // Looked at again once there is room, so a slow reader gets only the newest state.
                room = sender.reserve(), if sent.as_ref() != Some(&next) => {
                    let Ok(room) = room else { return };
                    let (status, now) = (published.borrow(), clock::boottime());
                    sent = Some(mark(&status, now));
                    room.send(Ok(view(&status, now)));
                }
                changed = published.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
                () = stop.cancelled() => {
                    // The queue is full: the end of the stream tells the reader.
                    let _ = sender.try_send(Err(shutting_down()));
                    return;
                }
            }
        }
    });
    Response::new(ReceiverStream::new(receiver))
}
