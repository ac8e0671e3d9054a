//! A miner that lives and is no candidate: its cleanup still runs.

use super::*;

#[test]
fn a_miner_that_stands_down_is_no_candidate_and_keeps_its_campaign() {
    let mut stage = Stage::new();
    let campaign = stage.campaign();
    stage
        .election
        .handle_standing_down(campaign, None, stage.now);
    stage.look();
    assert_eq!(stage.says(), (Role::Idle, Reason::NotCandidate));
    stage.nothing();
    assert_eq!(stage.election.campaign(), Some(campaign));
    // It is alive: nobody takes its place.
    let beside = stage.election.handle_campaign(stage.now);
    assert_eq!(beside, Err(CampaignRefused::AlreadyCampaigning));
    // Until it beats again: then at once.
    stage.pass(MS);
    stage.election.handle_heartbeat(campaign, None, stage.now);
    stage.begin(100);
    assert!(stage.election.leadership().leads());
}

#[test]
fn standing_down_ends_the_term_and_shortens_no_wait() {
    let (mut stage, campaign) = Stage::leading();
    let granted = stage.election.leadership().valid_until.unwrap();
    stage.pass(Duration::from_secs(1));
    stage
        .election
        .handle_standing_down(campaign, None, stage.now);
    assert_eq!(stage.says(), (Role::Idle, Reason::NotCandidate));
    while stage.now + MS < granted {
        stage.nothing();
        let step = Duration::from_millis(100).min((granted - MS).since(stage.now));
        stage.pass(step);
        stage
            .election
            .handle_standing_down(campaign, None, stage.now);
    }
    stage.nothing();
    stage.pass(MS);
    stage.must_release(100);
}

#[test]
fn what_it_acknowledges_while_it_stands_down_counts() {
    let (mut stage, campaign) = Stage::leading();
    stage
        .election
        .handle_standing_down(campaign, None, stage.now);
    let demoted = stage.election.leadership().version;
    stage.nothing();
    stage
        .election
        .handle_standing_down(campaign, Some(demoted), stage.now);
    stage.must_release(100);
}

#[test]
fn a_term_that_begins_meanwhile_is_given_back_untold() {
    let mut stage = Stage::new();
    let campaign = stage.campaign();
    stage.look();
    let attempt = stage.next();
    stage
        .election
        .handle_standing_down(campaign, None, stage.now);
    stage.view = written("me-1", 100, false);
    stage.answer(&attempt, Outcome::Begun(100));
    assert_eq!(stage.says(), (Role::Idle, Reason::NotCandidate));
    stage.must_release(100);
}

#[test]
fn one_that_stands_down_and_falls_silent_gives_way() {
    let mut stage = Stage::new();
    let campaign = stage.campaign();
    stage
        .election
        .handle_standing_down(campaign, None, stage.now);
    stage.pass(MINER_TIMEOUT);
    assert_eq!(stage.says(), (Role::Idle, Reason::MinerSilent));
    stage.campaign();
    assert_ne!(stage.election.campaign(), Some(campaign));
}

#[test]
fn what_is_no_heartbeat_extends_nothing() {
    let (mut stage, campaign) = Stage::leading();
    let granted = stage.election.leadership().valid_until;
    stage.pass(Duration::from_secs(1));
    stage
        .election
        .handle_acknowledgement(campaign, None, stage.now);
    assert_eq!(stage.election.leadership().valid_until, granted);
    stage.pass(MINER_TIMEOUT - Duration::from_secs(1));
    assert_eq!(stage.says(), (Role::Idle, Reason::MinerSilent));
}
