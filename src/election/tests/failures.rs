//! What a candidate does when Redis fails or refuses.

use super::*;

#[test]
fn that_redis_is_back_ends_the_pause_after_a_failure() {
    let mut stage = Stage::with(Liveness::Always, true);
    let loading = error("LOADING Redis is loading the dataset in memory");
    let look = stage.next();
    stage.fail(&look, loading);
    stage.nothing();
    stage.election.handle_back(stage.now);
    // One that was sent before and fails after it was for the Redis that was away.
    let look = stage.next();
    stage.election.handle_back(stage.now);
    stage.fail(
        &look,
        error("LOADING Redis is loading the dataset in memory"),
    );
    stage.look();
}

#[test]
fn failures_to_acquire_are_told_one_by_one_with_a_growing_pause() {
    let mut stage = Stage::with(Liveness::Always, false);
    stage.look();
    let oom = "OOM command not allowed when used memory > 'maxmemory'.";
    let mut pauses = Vec::new();
    for count in 1..=6 {
        if count > 1 {
            // An empty store is looked at before each try.
            stage.look();
        }
        let begin = stage.next();
        assert!(matches!(
            begin.command,
            Command::Begin {
                under_oom: false,
                ..
            }
        ));
        stage.fail(&begin, error(oom));
        assert_eq!(
            stage.says(),
            (Role::Standby, Reason::Redis(RedisFault::Oom))
        );
        let [Event::AcquisitionFailed { error, consecutive }] = &stage.events()[..] else {
            panic!("one event");
        };
        assert_eq!(
            (error.fault, *consecutive),
            (StoreFault::OutOfMemory, count)
        );
        let wake = stage.election.poll_timeout(stage.now);
        pauses.push(wake.since(stage.now).as_secs());
        stage.now = wake;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
    stage.look();
    assert_eq!(
        stage.says(),
        (Role::Standby, Reason::Redis(RedisFault::Oom))
    );
    stage.begin(1);
    let events = stage.events();
    assert!(
        matches!(
            events[..],
            [Event::Elected {
                after_failures: 6,
                ..
            }]
        ),
        "{events:?}"
    );
    assert_eq!(stage.election.consecutive_failures(), 0);
}

#[test]
fn a_refusal_without_a_reason_is_a_failure_and_is_followed_by_a_pause() {
    for refusal in [Refusal::Changed, Refusal::Held] {
        let mut stage = Stage::new();
        stage.campaign();
        stage.look();
        let begin = stage.next();
        stage.answer(&begin, Outcome::Refused(refusal));
        assert_eq!(
            stage.says(),
            (Role::Standby, Reason::Redis(RedisFault::Error))
        );
        stage.nothing();
        assert!(stage.election.poll_timeout(stage.now) >= stage.now + Duration::from_secs(1));
    }
    // One with a reason is none: another was faster.
    let mut stage = Stage::new();
    stage.campaign();
    stage.look();
    let begin = stage.next();
    stage.view = written("other-1", 50, true);
    stage.answer(&begin, Outcome::Refused(Refusal::Changed));
    stage.begin(51);
}
