//! Between agent and store: what a command and its answer look like on the way. The agents are shown the store's clock
//! shifted by [`STORE`], so that a moment of it can be told from a token by its size alone, and of the server's
//! uptime only what is asked of it: whether an empty store is settled.

use std::time::Duration;

use understudy::election::{Command, Reply};

use super::key::STORE;

/// From this uptime on, a TTL and two seconds, an empty store is settled.
pub const SETTLED: Duration = Duration::from_secs(3);

/// As the store gets it.
pub fn request(mut command: Command) -> Command {
    match &mut command {
        Command::Look { .. } => {}
        Command::Begin { not_after, .. }
        | Command::Renew { not_after, .. }
        | Command::Release { not_after, .. } => *not_after = not_after.saturating_sub(STORE),
    }
    command
}

/// As the agent gets it.
pub fn reply(reply: Reply) -> Reply {
    reply.map(|mut answer| {
        answer.view.store_micros += STORE;
        answer.view.uptime = match answer.view.uptime < SETTLED {
            true => Duration::ZERO,
            false => SETTLED,
        };
        answer
    })
}
