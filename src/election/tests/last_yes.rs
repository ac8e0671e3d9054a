//! A client that only asks who leads may act on the last yes.

use super::*;

/// A proxy that asks `/leader` was told nothing of a deadline.
#[test]
fn whoever_only_asked_who_leads_is_waited_out() {
    let mut stage = Stage::with(Liveness::Always, true);
    stage.look();
    stage.begin(5);
    let resigned = stage
        .election
        .handle_resign(Duration::ZERO, None, stage.now);
    assert_eq!(resigned, Ok(5));
    stage.pass(MINER_TIMEOUT - MS);
    stage.nothing();
    stage.pass(MS);
    stage.must_release(5);
}

/// The same where the lease runs out or the lock is lost: neither a release nor another term of its own comes sooner.
#[test]
fn whoever_only_asked_who_leads_is_waited_out_on_every_way_out() {
    let expired = |stage: &mut Stage| {
        let lease = stage.election.leadership().lease_until.unwrap();
        let left = lease.since(stage.now);
        stage.pass(left);
        (Role::Standby, Reason::LeaseExpired)
    };
    let lost = |stage: &mut Stage| {
        stage.election.handle_back(stage.now);
        let renewal = stage.next();
        stage.view = written("other", 6, true);
        stage.answer(&renewal, Outcome::Refused(Refusal::Superseded));
        (Role::Standby, Reason::LockLost)
    };
    for end in [&expired as &dyn Fn(&mut Stage) -> _, &lost] {
        let mut stage = Stage::with(Liveness::Always, true);
        stage.look();
        stage.begin(5);
        let said = end(&mut stage);
        assert_eq!(stage.says(), said);
        let end = stage.now + MINER_TIMEOUT;
        while stage.now < end {
            if let Some(attempt) = stage.election.next_command(stage.now) {
                assert_eq!(attempt.command, LOOK);
                stage.answer(&attempt, Outcome::Looked);
            }
            stage.pass(MS);
        }
        let next = stage.next().command;
        assert!(matches!(next, Command::Begin { .. }), "{next:?}");
    }
}

#[test]
fn nobody_extends_the_grant_of_a_campaign_but_its_miner() {
    let (mut stage, _) = Stage::leading();
    let granted = stage.election.leadership().valid_until;
    stage.pass(Duration::from_secs(1));
    stage.election.handle_extend(stage.now);
    assert_eq!(stage.election.leadership().valid_until, granted);
}

#[test]
fn a_healthy_answer_counts_from_when_it_was_asked_for() {
    let mut stage = Stage::with(Liveness::Probe, true);
    let asked = stage.now;
    stage.pass(Duration::from_secs(1));
    stage.election.handle_probed(asked, stage.now);
    stage.pass(MINER_TIMEOUT - Duration::from_secs(1) - MS);
    assert_ne!(stage.says(), (Role::Idle, Reason::MinerSilent));
    stage.pass(MS);
    assert_eq!(stage.says(), (Role::Idle, Reason::MinerSilent));
}

/// The one that was silent ends its stream when another campaigns already.
#[test]
fn the_end_of_an_earlier_stream_says_nothing_of_the_present_one() {
    let mut stage = Stage::new();
    let silent = stage.campaign();
    stage.pass(MINER_TIMEOUT);
    let campaign = stage.campaign();
    stage.look();
    stage.begin(100);
    let granted = stage.election.leadership().valid_until.expect("a grant");
    stage
        .election
        .handle_campaign_end(silent, EndedBy::Miner, stage.now);
    assert_eq!(stage.election.campaign(), Some(campaign));
    assert_eq!(stage.says(), (Role::Leader, Reason::Elected));
    stage.election.handle_stop(stage.now);
    stage
        .election
        .handle_campaign_end(silent, EndedBy::Miner, stage.now);
    stage.nothing();
    stage.now = granted - MS;
    stage.nothing();
    stage.pass(MS);
    stage.must_release(100);
}
