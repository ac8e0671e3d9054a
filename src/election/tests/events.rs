//! What is heard on the events channel is looked into, not believed.

use super::*;

/// Those of another fleet, or of anybody who may publish there.
#[test]
fn events_restart_no_wait_while_a_record_stands() {
    let mut stage = Stage::new();
    stage.campaign();
    stage.view = written("other-1", 50, false);
    stage.look();
    stage.view.lock = None;
    for _ in 0..TTL.as_secs() {
        stage.watch(Duration::from_secs(1));
        stage.election.handle_heard(true, stage.now);
    }
    stage.watch(MARGIN - MS);
    stage.nothing();
    stage.pass(MS);
    assert!(matches!(stage.next().command, Command::Begin { .. }));
}

/// A begin and a FLUSHALL between two looks leave no other trace.
#[test]
fn an_announcement_over_an_empty_store_is_waited_out() {
    for (announces, waits) in [(true, true), (false, false)] {
        let mut stage = Stage::new();
        stage.campaign();
        // While the first look is under way, too.
        let look = stage.next();
        stage.election.handle_heard(announces, stage.now);
        stage.answer(&look, Outcome::Looked);
        let begins = |stage: &mut Stage| {
            let next = stage.election.next_command(stage.now);
            next.is_some_and(|it| matches!(it.command, Command::Begin { .. }))
        };
        if waits {
            // What was heard is looked into.
            stage.look();
        }
        assert_eq!(!begins(&mut stage), waits);
        if waits {
            stage.watch(TTL + MARGIN - MS);
            assert_eq!(stage.says(), (Role::Standby, Reason::StoreSettling));
            stage.pass(MS);
            assert!(begins(&mut stage));
        }
    }
}

#[test]
fn a_flood_of_events_costs_a_bounded_rate_of_looks() {
    let mut stage = Stage::new();
    let campaign = stage.campaign();
    stage.view = written("other-1", 50, false);
    let mut looks = 0;
    for _ in 0..10_000 {
        stage.election.handle_heard(true, stage.now);
        if let Some(attempt) = stage.election.next_command(stage.now) {
            looks += 1;
            stage.answer(&attempt, Outcome::Looked);
        }
        stage.election.handle_heartbeat(campaign, None, stage.now);
        stage.pass(MS);
    }
    // Twenty at once, and a hundred per second.
    assert!(
        (1015..=1021).contains(&looks),
        "{looks} looks in ten seconds"
    );
}

/// What was heard while a look was failing must not keep the next event from being looked into.
#[test]
fn an_event_ends_the_pause_after_a_failure() {
    let mut stage = Stage::new();
    stage.campaign();
    stage.view = written("other-1", 50, false);
    stage.look();
    stage.election.handle_back(stage.now);
    let look = stage.next();
    stage.election.handle_heard(true, stage.now);
    stage.pass(REDIS_TIMEOUT);
    stage.fail(&look, StoreError::timed_out("no answer"));
    stage.nothing();
    stage.view = written("other-1", 50, true);
    stage.election.handle_heard(true, stage.now);
    stage.look();
    stage.begin(51);
}
