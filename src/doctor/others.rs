//! Looks for locks under similar names: a prefix set in one place but not in the other makes two locks and two leaders.

use super::Finding;
use crate::config::Config;
use crate::store::{OtherLock, Survey};

pub(super) fn other_locks(survey: &Survey, config: &Config) -> Finding {
    const CHECK: &str = "other locks";
    let ours = &config.redis.keys.lock;
    let found = match &survey.others {
        Ok(found) => found,
        Err(error) => {
            return Finding::ok(
                CHECK,
                format!(
                    "not looked for, since SCAN is refused ({error}); the agent does not need it"
                ),
            );
        }
    };
    if found.is_empty() {
        return Finding::ok(CHECK, "no other key *:global_leader was found");
    }
    let says: Vec<String> = found.iter().map(describe).collect();
    Finding::warn(
        CHECK,
        format!("{}; this agent's lock is {ours}", says.join("; ")),
        "if these are miners of the same fleet there are two leaders: give all agents --lock-key \
         {base_prefix}:{miner_prefix}:global_leader as the miners' settings have it",
    )
}

fn describe(other: &OtherLock) -> String {
    let OtherLock {
        key,
        holder,
        recorded,
    } = other;
    let by = if *recorded {
        "behind understudy"
    } else {
        "by a miner with an election of its own"
    };
    format!("{key} is held by {holder}, {by}")
}
