//! The loops. Each owns what it writes in the status. Events, checks and rehearsals share a connection; the election has
//! its own.

mod elect;
mod listen;
mod probe_miner;
mod rehearse;
mod remember;
mod resigning;
mod watch_redis;
mod watchdog;

pub use elect::Elect;
pub use listen::{Listen, Signal};
pub use probe_miner::ProbeMiner;
pub use rehearse::Rehearse;
pub use remember::Remember;
pub use watch_redis::WatchRedis;
pub use watchdog::show_life;
