//! What a command that Redis has carried out must not do: I4, I6, and the part of I2 that holds even after data
//! loss.

use understudy::election::{Command, Outcome};

use super::redis::Data;

/// The invariant that `command` broke, if any; `clock` is Redis' clock when it ran.
pub fn broke(
    holder: &str,
    command: &Command,
    outcome: Option<Outcome>,
    clock: u64,
    (before, after): (&Data, &Data),
) -> Option<String> {
    if let Some((other, _)) = &before.lock
        && other != holder
        && before.lock != after.lock
        && !took_over_stale(command, outcome, before, other)
    {
        return Some(format!(
            "I4: {holder} touched the lock of {other}: {command:?}"
        ));
    }
    if let (Command::Begin { above, .. }, Some(Outcome::Begun(token))) = (command, outcome)
        && token <= *above
    {
        return Some(format!("I2: {holder} began {token} and had seen {above}"));
    }
    let late = clock > not_after(command) && before != after;
    late.then(|| format!("I6: changed something after its time: {command:?}"))
}

fn took_over_stale(
    command: &Command,
    outcome: Option<Outcome>,
    before: &Data,
    other: &str,
) -> bool {
    let may = matches!(
        command,
        Command::Begin {
            stale_lock: true,
            ..
        }
    );
    let record = before.stored.as_ref().map(|it| &it.record);
    may && matches!(outcome, Some(Outcome::Begun(_))) && record.is_some_and(|it| it.holder == other)
}

fn not_after(command: &Command) -> u64 {
    match command {
        Command::Look { .. } => u64::MAX,
        Command::Begin { not_after, .. }
        | Command::Renew { not_after, .. }
        | Command::Release { not_after, .. } => *not_after,
    }
}
