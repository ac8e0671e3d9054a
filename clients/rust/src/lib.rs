//! A miner's view of its leadership.
//!
//! The agent beside the miner owns the lock in Redis and grants the right to act, each time until a deadline on a clock
//! that both read. An [`Elector`] keeps the last grant, so that [`Elector::is_leader`] is a comparison and no round trip.
//!
//! Asking is not beating: what vouches for the miner's work is said, by [`Elector::beat`] from the loop that does it, by a
//! [`Pulse`] for each thing that must go on, or by [`Elector::beat_while`].

mod campaign;
mod dial;
mod elector;
mod fake;
mod grant;
mod pulse;
mod state;
mod view;

/// The stubs, generated from `proto/`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod proto {
    tonic::include_proto!("understudy.v1");
}

pub use elector::{Cleaning, Elector, Leader, StartError};
pub use fake::Fake;
pub use grant::{Grant, boottime_ns};
pub use pulse::Pulse;
pub use view::View;
