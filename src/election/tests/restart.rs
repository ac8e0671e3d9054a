//! Starting again with the holder id of an earlier process (`--state-dir`).

use super::*;

/// One that finds its lock, and was told how long the earlier process has granted.
fn restarted(granted: Duration, lock_left: Duration, generation: &str) -> Stage {
    let mut stage = Stage::of(Settings {
        remembered: Remembered {
            highest: 100,
            acting_until: START + granted,
        },
        ..settings(REDIS_TIMEOUT)
    });
    stage.view = written("me-1", 100, false);
    stage.view.generation = generation.into();
    stage.view.lock = Some(Lock {
        holder: "me-1".into(),
        remaining: Some(lock_left),
    });
    stage
}

#[test]
fn it_takes_its_lock_back_and_grants_nothing_for_one_miner_timeout() {
    // A lock that lasts is left as it is; no miner has come, and still nothing is released.
    let mut stage = restarted(MINER_TIMEOUT, TTL, "g");
    stage.look();
    stage.nothing();
    stage.pass(MINER_TIMEOUT - MS);
    let campaign = stage.campaign();
    stage.look();
    assert_eq!(stage.says(), (Role::Standby, Reason::WaitingOutLease));
    stage.nothing();
    stage.pass(MS);
    stage.begin(101);
    assert_eq!(stage.election.campaign(), Some(campaign));
    // One that would run out is renewed first, if it is still there as it was seen.
    let mut stage = restarted(MINER_TIMEOUT, MINER_TIMEOUT - MS * 100, "g");
    stage.look();
    let renewal = stage.next();
    let seen = stage.view.judged.clone();
    assert!(
        matches!(&renewal.command, Command::Renew { token: 100, kept: Some(it), .. } if *it == seen)
    );
    stage.view = written("me-1", 100, false);
    stage.answer(&renewal, Outcome::Renewed);
    stage.nothing();
    stage.pass(MINER_TIMEOUT);
    stage.must_release(100);
}

/// Found by the simulation: a snapshot from before another's term brings our old lock back, and a restarted
/// agent that renewed it wrote its record into the present generation, where it was believed.
#[test]
fn it_leaves_a_lock_of_its_own_that_came_back_with_older_data() {
    let left = MINER_TIMEOUT - MS * 100;
    let mut stage = restarted(MINER_TIMEOUT, left, "after the restart");
    stage.campaign();
    stage.look();
    // Neither renewed, nor released, nor begun on, before the whole wait.
    stage.watch(TTL + MARGIN - MS);
    stage.nothing();
    stage.pass(MS);
    stage.begin(101);
}

/// Found by the simulation, once in a million seeds: another had led meanwhile, and Redis had lost that; a renewal that did
/// not look wrote our old term into the empty store, where it was believed.
#[test]
fn it_keeps_no_lock_that_was_lost_meanwhile() {
    let mut stage = restarted(MINER_TIMEOUT, MINER_TIMEOUT - MS * 100, "g");
    stage.campaign();
    stage.look();
    let renewal = stage.next();
    stage.view = empty();
    stage.answer(&renewal, Outcome::Refused(Refusal::Changed));
    // Not before the whole wait.
    stage.watch(TTL + MARGIN - MS);
    stage.nothing();
    stage.pass(MS);
    stage.begin(101);
}

#[test]
fn it_keeps_a_lock_that_is_shorter_than_what_was_granted_at_a_leaders_pace() {
    let mut stage = restarted(TTL * 2, TTL, "g");
    stage.look();
    let mut renewals = 0;
    while stage.now < START + TTL * 2 {
        if let Some(attempt) = stage.election.next_command(stage.now) {
            assert!(matches!(attempt.command, Command::Renew { token: 100, .. }));
            stage.answer(&attempt, Outcome::Renewed);
            renewals += 1;
            stage.nothing();
        }
        stage.now = stage.election.poll_timeout(stage.now);
        stage.election.handle_timeout(stage.now);
    }
    // From one third of the TTL on, until a lock outlasts the grant.
    assert_eq!(renewals, 3);
    stage.must_release(100);
}
