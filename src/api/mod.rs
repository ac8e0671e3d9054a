//! The servers: gRPC for the miner, HTTP for the cluster. Both read the published status, behind one accept loop.

mod grpc;
mod http;
mod listen;
mod places;
mod server;
mod socket;

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use grpc::Grpc;
pub use http::Http;
pub use listen::bind_flag;
pub use server::{Dial, Listeners, inside};
pub use socket::{SocketGuard, bind_unix};

use crate::checkup::Checkup;
use crate::status::StatusWatch;

/// What both servers need.
#[derive(Clone)]
pub struct Shared {
    pub published: StatusWatch,
    /// For a campaign: a heartbeat was heard.
    pub beats: Arc<Notify>,
    /// For those who are shown how Redis is.
    pub checkup: Checkup,
    /// Cancelled when streams should end; by then the agent has given its term back.
    pub stop: CancellationToken,
}
