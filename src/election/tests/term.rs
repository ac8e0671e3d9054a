//! How long a term lasts, and how it ends.

use super::*;

#[test]
fn the_lease_is_measured_from_before_the_request_and_ends_by_itself() {
    let mut stage = Stage::new();
    stage.campaign();
    stage.look();
    let attempt = stage.next();
    let sent_at = stage.now;
    stage.pass(Duration::from_secs(1));
    stage.answer(&attempt, Outcome::Begun(100));
    let lease = stage.election.leadership().lease_until;
    assert_eq!(lease, Some(sent_at + (TTL - MARGIN)));
}

#[test]
fn past_its_time_a_leader_is_none_even_before_the_election_runs() {
    let (mut stage, _) = Stage::leading();
    let before = stage.election.leadership().clone();
    let valid_until = before.valid_until.unwrap();
    assert_eq!(valid_until, stage.now + MINER_TIMEOUT);
    assert!(before.at(valid_until - Duration::from_nanos(1)).leads());
    let lapsed = before.at(valid_until);
    assert_eq!(
        (lapsed.role, lapsed.reason),
        (Role::Idle, Reason::MinerSilent)
    );
    // And the election itself comes to exactly that.
    stage.now = valid_until;
    stage.election.handle_timeout(stage.now);
    let settled = stage.election.leadership();
    assert_eq!(
        (settled.role, settled.reason, settled.version),
        (lapsed.role, lapsed.reason, lapsed.version)
    );
}

#[test]
fn no_version_tells_of_two_states() {
    // A client that asked has seen the lapse; then the election finds that it is to stop as well.
    let (mut stage, _) = Stage::leading();
    stage.now = stage.election.leadership().valid_until.unwrap();
    let lapsed = stage.election.leadership().at(stage.now);
    stage.election.handle_stop(stage.now);
    let settled = stage.election.leadership();
    assert_eq!(stage.says(), (Role::Standby, Reason::Draining));
    assert!(settled.version > lapsed.version);
}

#[test]
fn a_lease_that_cannot_be_renewed_runs_out_and_not_before() {
    let (mut stage, campaign) = Stage::leading();
    let lease = stage.election.leadership().lease_until.unwrap();
    let mut tries = 0;
    while stage.now < lease {
        assert!(stage.election.leadership().leads());
        stage.election.handle_heartbeat(campaign, None, stage.now);
        if let Some(attempt) = stage.election.next_command(stage.now) {
            assert!(matches!(attempt.command, Command::Renew { token: 100, .. }));
            assert!(
                attempt.deadline <= lease,
                "a renewal never outlives the lease"
            );
            stage.fail(&attempt, StoreError::timed_out("no answer"));
            tries += 1;
        }
        stage.pass(Duration::from_millis(100));
    }
    assert!(tries > 5, "{tries}");
    assert_eq!(stage.says(), (Role::Standby, Reason::LeaseExpired));
    let lost = |event: &Event| {
        matches!(
            event,
            Event::Lost {
                token: 100,
                reason: Reason::LeaseExpired
            }
        )
    };
    assert!(stage.events().iter().any(lost));
}

#[test]
fn a_refused_renewal_ends_the_term_at_once_and_its_grant_is_waited_out() {
    let (mut stage, _) = Stage::leading();
    stage.election.handle_hearing(true, stage.now);
    let renewal = stage.next();
    stage.view = written("other-1", 200, true);
    stage.answer(&renewal, Outcome::Refused(Refusal::Superseded));
    assert_eq!(stage.says().0, Role::Standby);
    // The miner may still act on what it was granted: no term is begun before that is over.
    stage.look();
    stage.nothing();
    stage.pass(MINER_TIMEOUT - MS);
    stage.nothing();
}

#[test]
fn a_miner_that_ends_its_stream_is_released_for_at_once() {
    let (mut stage, campaign) = Stage::leading();
    stage
        .election
        .handle_campaign_end(campaign, EndedBy::Miner, stage.now);
    assert_eq!(stage.says(), (Role::Idle, Reason::NoMiner));
    let release = stage.must_release(100);
    stage.view = written("me-1", 100, true);
    stage.answer(&release, Outcome::Released);
    assert!(stage.election.holds_no_term(stage.now));
}

/// The lock is not kept for the pause after a failure to acquire, and nobody reads of one.
/// The reply to a release was lost, the standby began, and then the release was sent again.
#[test]
fn a_release_that_finds_a_later_term_was_one() {
    let (mut stage, campaign) = Stage::leading();
    stage
        .election
        .handle_campaign_end(campaign, EndedBy::Miner, stage.now);
    let release = stage.must_release(100);
    stage.view = written("other", 101, false);
    stage.answer(&release, Outcome::Refused(Refusal::Superseded));
    assert!(stage.events().contains(&Event::Released {
        token: 100,
        successor: String::new()
    }));
}

#[test]
fn a_renewal_that_fails_after_its_term_has_ended_delays_the_release_by_a_moment() {
    let (mut stage, campaign) = Stage::leading();
    stage.election.handle_hearing(true, stage.now);
    let renewal = stage.next();
    stage
        .election
        .handle_campaign_end(campaign, EndedBy::Miner, stage.now);
    stage.events();
    stage.fail(&renewal, StoreError::timed_out("no answer"));
    let said = stage.events();
    assert!(
        matches!(&said[..], [Event::ReleaseFailed { consecutive: 1, .. }]),
        "{said:?}"
    );
    stage.pass(Duration::from_millis(100));
    stage.must_release(100);
}

#[test]
fn a_stream_that_broke_proves_nothing_and_is_waited_out() {
    let (mut stage, campaign) = Stage::leading();
    stage
        .election
        .handle_campaign_end(campaign, EndedBy::Agent, stage.now);
    assert_eq!(stage.says(), (Role::Idle, Reason::NoMiner));
    stage.nothing();
    // A second miner on the same agent gets a term of its own, after that.
    stage.campaign();
    assert_eq!(stage.says(), (Role::Standby, Reason::WaitingOutLease));
    stage.pass(MINER_TIMEOUT - MS);
    stage.nothing();
    stage.pass(MS);
    stage.must_release(100);
}

#[test]
fn silence_ends_candidacy_when_the_grant_ends() {
    let (mut stage, campaign) = Stage::leading();
    stage.pass(MINER_TIMEOUT - MS);
    assert!(stage.election.leadership().leads());
    stage.pass(MS);
    assert_eq!(stage.says(), (Role::Idle, Reason::MinerSilent));
    stage.must_release(100);
    // It was only slow: it is a candidate again.
    stage.election.handle_heartbeat(campaign, None, stage.now);
    assert_eq!(stage.says().0, Role::Standby);
}

#[test]
fn a_resignation_waits_for_the_acknowledgement_of_the_demotion() {
    let (mut stage, campaign) = Stage::leading();
    let granted = stage.election.leadership().version;
    let hold_off = Duration::from_secs(30);
    assert_eq!(
        stage.election.handle_resign(hold_off, None, stage.now),
        Ok(100)
    );
    assert_eq!(stage.says(), (Role::Standby, Reason::Draining));
    stage.nothing();
    stage
        .election
        .handle_heartbeat(campaign, Some(granted), stage.now);
    stage.nothing();
    stage
        .election
        .handle_heartbeat(campaign, Some(granted + 1), stage.now);
    let release = stage.must_release(100);
    stage.view = written("me-1", 100, true);
    stage.answer(&release, Outcome::Released);
    // The answer has shown the store, and the event of this release tells nothing more.
    assert_eq!(stage.says(), (Role::Standby, Reason::HoldOff));
    let heard = Some(released(&stage.view));
    stage.election.handle_heard(heard, stage.now);
    stage.nothing();
    assert_eq!(
        stage.election.handle_resign(hold_off, None, stage.now),
        Err(NotLeader)
    );
}

#[test]
fn stopping_gives_the_lock_back_and_begins_nothing() {
    let (mut stage, campaign) = Stage::leading();
    stage.election.handle_stop(stage.now);
    assert_eq!(stage.says(), (Role::Standby, Reason::Draining));
    assert!(!stage.election.holds_no_term(stage.now));
    stage
        .election
        .handle_campaign_end(campaign, EndedBy::Miner, stage.now);
    let release = stage.must_release(100);
    stage.view = written("me-1", 100, true);
    stage.answer(&release, Outcome::Released);
    assert!(stage.election.holds_no_term(stage.now));
    stage.nothing();
    assert_eq!(
        stage.election.handle_campaign(stage.now),
        Err(CampaignRefused::Stopping)
    );
}

#[test]
fn a_term_that_begins_while_the_agent_stops_is_given_back_untold() {
    let mut stage = Stage::new();
    stage.campaign();
    stage.look();
    let begin = stage.next();
    stage.election.handle_stop(stage.now);
    stage.view = written("me-1", 100, false);
    stage.answer(&begin, Outcome::Begun(100));
    assert_eq!(stage.says(), (Role::Standby, Reason::Draining));
    stage.must_release(100);
}

#[test]
fn whoever_stops_looks_once_for_a_lock_whose_begin_went_unanswered() {
    let lost = || {
        let mut stage = Stage::new();
        stage.campaign();
        stage.look();
        let begin = stage.next();
        stage.fail(&begin, StoreError::timed_out("no answer"));
        stage.election.handle_stop(stage.now);
        assert!(!stage.election.holds_no_term(stage.now));
        stage
    };
    let mut taken = lost();
    taken.view = written("me-1", 100, false);
    taken.look();
    assert!(!taken.election.holds_no_term(taken.now));
    let release = taken.must_release(100);
    taken.view = written("me-1", 100, true);
    taken.answer(&release, Outcome::Released);
    assert!(taken.election.holds_no_term(taken.now));

    let mut not_taken = lost();
    not_taken.look();
    assert!(not_taken.election.holds_no_term(not_taken.now));

    let mut unreachable = lost();
    let look = unreachable.next();
    unreachable.fail(&look, StoreError::timed_out("no answer"));
    assert!(unreachable.election.holds_no_term(unreachable.now));
}

#[test]
fn a_lock_taken_for_a_miner_that_has_gone_is_given_back() {
    let mut stage = Stage::new();
    let campaign = stage.campaign();
    stage.look();
    let begin = stage.next();
    stage
        .election
        .handle_campaign_end(campaign, EndedBy::Miner, stage.now);
    stage.view = written("me-1", 100, false);
    stage.answer(&begin, Outcome::Begun(100));
    assert_eq!(stage.says(), (Role::Idle, Reason::NoMiner));
    stage.must_release(100);
    assert!(
        stage.events().is_empty(),
        "nobody was told, nothing to tell"
    );
}

#[test]
fn a_stale_reply_changes_nothing() {
    let mut stage = Stage::new();
    stage.campaign();
    stage.look();
    let begin = stage.next();
    stage.fail(&begin, StoreError::timed_out("no answer"));
    stage.answer(&begin, Outcome::Begun(100));
    assert!(!stage.election.leadership().leads());
}

#[test]
fn a_second_campaign_is_refused_beside_a_live_one_and_replaces_a_silent_one() {
    let (mut stage, first) = Stage::leading();
    assert_eq!(
        stage.election.handle_campaign(stage.now),
        Err(CampaignRefused::AlreadyCampaigning)
    );
    stage.pass(MINER_TIMEOUT);
    let second = stage.campaign();
    assert_ne!(first, second);
    assert!(!stage.election.leadership().leads());
    // What the first one still says no longer counts.
    stage.election.handle_heartbeat(first, None, stage.now);
    stage.pass(MINER_TIMEOUT);
    assert_eq!(stage.says(), (Role::Idle, Reason::MinerSilent));
}

#[test]
fn an_agent_that_is_the_candidate_grants_only_when_asked() {
    let mut stage = Stage::with(Liveness::Always, true);
    stage.look();
    stage.begin(5);
    assert_eq!(stage.election.leadership().valid_until, None);
    stage.election.handle_extend(stage.now);
    let granted = stage.election.leadership().valid_until;
    assert_eq!(granted, Some(stage.now + MINER_TIMEOUT));
    stage.election.handle_stop(stage.now);
    stage.nothing();
    stage.pass(MINER_TIMEOUT);
    stage.must_release(5);
}

#[test]
fn versions_grow_with_every_change_and_with_nothing_else() {
    let (mut stage, campaign) = Stage::leading();
    let version = stage.election.leadership().version;
    stage.pass(MS);
    stage.election.handle_heartbeat(campaign, None, stage.now);
    assert_eq!(stage.election.leadership().version, version);
    stage
        .election
        .handle_campaign_end(campaign, EndedBy::Miner, stage.now);
    assert_eq!(stage.election.leadership().version, version + 1);
}

#[test]
fn a_combination_that_is_not_safe_is_refused() {
    let second = Duration::from_secs(1);
    let rules = |ttl, renew, miner, redis| LeaseRules::new(ttl, renew, miner, redis).err();
    assert_eq!(rules(TTL, TTL / 3, TTL / 3, second), None);
    assert_eq!(
        rules(second / 2, second, second, second),
        Some(vec![UnsafeRules::Ttl])
    );
    assert_eq!(
        rules(TTL, TTL / 2, second, second),
        Some(vec![UnsafeRules::RenewEvery(TTL / 3)])
    );
    assert_eq!(
        rules(TTL, second, TTL, second),
        Some(vec![UnsafeRules::MinerTimeout(TTL - MARGIN)])
    );
    assert_eq!(
        rules(TTL, second, second, Duration::ZERO),
        Some(vec![UnsafeRules::RedisTimeout])
    );
    let all = rules(TTL, TTL, TTL, Duration::ZERO);
    assert_eq!(all.map(|broken| broken.len()), Some(3), "all at once");
}
