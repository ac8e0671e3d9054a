//! Between agent and store: a command and its answer in transit. The agents see the store's clock shifted by [`STORE`], so
//! that its moments differ from tokens by their size alone. Of the server's uptime they see only whether an empty store is
//! settled.

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
