//! The loops: each owns its connection and what it writes on the board.

mod elect;
mod listen;
mod watch_redis;

pub use elect::Elect;
pub use listen::{Heard, Listen};
pub use watch_redis::WatchRedis;
