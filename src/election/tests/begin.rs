//! When a term may be begun, and when not.

use super::*;
use crate::health::MemoryReading;

#[test]
fn an_agent_without_a_miner_looks_and_never_begins() {
    let mut stage = Stage::new();
    stage.look();
    assert_eq!(stage.says(), (Role::Idle, Reason::NoMiner));
    stage.pass(TTL * 3);
    stage.look();
    stage.nothing();
}

#[test]
fn an_empty_store_that_has_been_up_counts_as_waited_out() {
    let (stage, _) = Stage::leading();
    assert_eq!(stage.says(), (Role::Leader, Reason::Elected));
}

#[test]
fn an_empty_store_that_is_young_or_was_promoted_is_waited_out() {
    for (uptime, promoted) in [(31, false), (1000, true)] {
        let mut stage = Stage::new();
        stage.view.uptime = Duration::from_secs(uptime);
        stage.view.promoted = promoted;
        stage.campaign();
        stage.look();
        assert_eq!(stage.says(), (Role::Standby, Reason::StoreSettling));
        stage.watch(TTL + MARGIN - MS);
        stage.pass(MS);
        stage.begin(1);
    }
}

#[test]
fn an_empty_store_that_was_out_of_sight_is_waited_out_anew() {
    for settled in [true, false] {
        let mut stage = Stage::new();
        if !settled {
            stage.view.uptime = Duration::ZERO;
        }
        stage.look();
        stage.watch(TTL + MARGIN);
        // An agent that has kept looking may begin as soon as there is a miner; one that has not may have missed
        // a term whose record was lost.
        stage.pass(Duration::from_secs(10) + REDIS_TIMEOUT * 2);
        stage.campaign();
        stage.look();
        assert_eq!(stage.says(), (Role::Standby, Reason::StoreSettling));
        stage.watch(TTL + MARGIN - MS);
        stage.pass(MS);
        stage.begin(1);
    }
}

#[test]
fn a_begin_is_given_up_with_the_lease_that_it_would_win() {
    let slow = Duration::from_secs(60);
    let mut stage = Stage::of(settings(slow));
    stage.campaign();
    stage.look();
    let attempt = stage.next();
    assert_eq!(attempt.deadline, stage.now + (TTL - MARGIN));
    let Command::Begin { not_after, .. } = attempt.command else {
        panic!("a begin is due");
    };
    let lease = u64::try_from((TTL - MARGIN).as_micros()).unwrap();
    assert_eq!(not_after, stage.view.store_micros + lease);
}

#[test]
fn a_dead_leader_is_waited_out_on_our_own_clock_and_every_change_starts_it_again() {
    let mut stage = Stage::new();
    let campaign = stage.campaign();
    stage.view = written("other-1", 50, false);
    stage.look();
    assert_eq!(stage.says(), (Role::Standby, Reason::HeldByOther));
    stage.pass(TTL);
    stage.election.handle_heartbeat(campaign, None, stage.now);
    // A sign of life in the last moment: Redis says nothing of the time that has passed here.
    stage.view.judged.push_str(" renewed");
    stage.look();
    stage.view.lock = None;
    stage.pass(TTL + MARGIN - MS);
    stage.election.handle_heartbeat(campaign, None, stage.now);
    stage.look();
    assert_eq!(stage.says(), (Role::Standby, Reason::WaitingOutLease));
    stage.nothing();
    stage.pass(MS);
    let Command::Begin {
        judged,
        stale_lock,
        above,
        ..
    } = stage.next().command
    else {
        panic!("a begin is due");
    };
    assert_eq!((judged, above), (stage.view.judged.clone(), 50));
    assert!(stale_lock, "Redis' clock may have been set back meanwhile");
}

#[test]
fn a_release_in_this_generation_is_believed_at_once() {
    let mut stage = Stage::new();
    stage.campaign();
    stage.view = written("other-1", 50, true);
    stage.look();
    stage.begin(51);
}

#[test]
fn a_release_of_another_generation_or_below_what_is_known_is_not() {
    let mut older = Stage::new();
    older.campaign();
    older.view = written("other-1", 50, true);
    older.view.generation = "after a restart".into();
    older.look();
    older.nothing();
    assert_eq!(older.says(), (Role::Standby, Reason::StoreSettling));

    let mut restored = Stage::new();
    restored.campaign();
    restored.view = written("other-1", 60, false);
    restored.look();
    restored.view = written("other-2", 50, true);
    restored.election.handle_heard(Some(told()), restored.now);
    restored.look();
    restored.nothing();
    assert_eq!(restored.says(), (Role::Standby, Reason::WaitingOutLease));
}

#[test]
fn a_go_miners_lock_is_never_touched_and_makes_a_release_worthless() {
    let mut stage = Stage::new();
    let campaign = stage.campaign();
    stage.view = written("other-1", 50, true);
    stage.view.lock = Some(lock("host-1"));
    stage.look();
    assert_eq!(stage.says(), (Role::Standby, Reason::HeldByOther));
    stage.pass(TTL * 2);
    stage.election.handle_heartbeat(campaign, None, stage.now);
    stage.look();
    stage.nothing();
    // It is gone, and has been waited out by now.
    stage.view.lock = None;
    stage.election.handle_heard(Some(told()), stage.now);
    stage.look();
    let attempt = stage.next();
    assert!(matches!(attempt.command, Command::Begin { .. }));
}

#[test]
fn the_longest_ttl_ever_seen_is_waited_out_and_told_once() {
    let mut stage = Stage::new();
    let campaign = stage.campaign();
    stage.view = written("other-1", 50, false);
    if let RecordSeen::Known(record) = &mut stage.view.record {
        record.ttl = TTL * 4;
    }
    stage.look();
    let longer = Event::LongerTtl { ttl: TTL * 4 };
    assert!(stage.events().contains(&longer));
    stage.pass(TTL * 3);
    stage.election.handle_heartbeat(campaign, None, stage.now);
    stage.look();
    assert!(!stage.events().contains(&longer));
    stage.nothing();
}

#[test]
fn nothing_is_begun_on_a_record_that_is_not_understood() {
    let mut stage = Stage::new();
    stage.campaign();
    stage.view.record = RecordSeen::Unknown("its schema is 2".into());
    stage.look();
    stage.nothing();
    assert_eq!(
        stage.says(),
        (Role::Standby, Reason::Redis(RedisFault::Error))
    );
    assert!(matches!(
        &stage.events()[..],
        [Event::AcquisitionFailed { .. }]
    ));
}

#[test]
fn an_evicting_store_is_led_by_nobody() {
    let evicting = (Role::Standby, Reason::EvictionPolicy);
    // The script that begins reads the policy, and refuses.
    let mut stage = Stage::new();
    stage.campaign();
    stage.look();
    let begin = stage.next();
    assert!(matches!(
        begin.command,
        Command::Begin {
            allow_eviction: false,
            ..
        }
    ));
    stage.view.memory = Some(MemoryReading {
        used_bytes: 1,
        max_bytes: 100,
        not_counted_bytes: 0,
        policy: "volatile-lru".into(),
    });
    stage.answer(&begin, Outcome::Refused(Refusal::Evicting));
    stage.nothing();
    assert_eq!(stage.says(), evicting);
    assert_eq!(stage.events(), []);
    stage.view.memory = None;
    stage.election.handle_memory(false, stage.now);
    stage.begin(100);
    // A leader learns it from the next reading of the memory.
    stage.election.handle_memory(true, stage.now);
    assert_eq!(stage.says(), evicting);
}

/// A look does not show the policy, and the memory is read rarely.
#[test]
fn a_policy_that_no_longer_evicts_is_found_by_the_next_begin() {
    let mut stage = Stage::new();
    stage.campaign();
    stage.view = written("other-1", 50, true);
    stage.election.handle_memory(true, stage.now);
    stage.look();
    let until_a_look_is_due = |stage: &mut Stage| {
        let campaign = stage.election.campaign().unwrap();
        for _ in 0..10 {
            stage.election.handle_heartbeat(campaign, None, stage.now);
            stage.pass(Duration::from_secs(1));
        }
    };
    let mut memory = MemoryReading {
        used_bytes: 1,
        max_bytes: 100,
        not_counted_bytes: 0,
        policy: "volatile-lru".into(),
    };
    stage.view.memory = Some(memory.clone());
    let begin = stage.next();
    assert!(begin.command.begins());
    stage.answer(&begin, Outcome::Refused(Refusal::Evicting));
    stage.nothing();
    assert_eq!(stage.says(), (Role::Standby, Reason::EvictionPolicy));
    until_a_look_is_due(&mut stage);
    // Not any more.
    memory.policy = "noeviction".into();
    let begin = stage.next();
    stage.view = written("me-1", 51, false);
    stage.view.memory = Some(memory);
    stage.answer(&begin, Outcome::Begun(51));
    assert!(stage.election.leadership().leads());
}

#[test]
fn a_begin_whose_reply_was_lost_is_found_and_begun_anew() {
    let mut stage = Stage::new();
    stage.campaign();
    stage.look();
    let begin = stage.next();
    stage.fail(&begin, StoreError::timed_out("no answer"));
    stage.view = written("me-1", 100, false);
    stage.election.handle_heard(Some(told()), stage.now);
    stage.look();
    stage.begin(101);
    // And by an agent that has no miner any more it is released.
    let mut idle = Stage::new();
    idle.view = written("me-1", 100, false);
    idle.look();
    idle.must_release(100);
    // Unless a later term is known: to say that an older one was released would call that one over.
    let mut resurrected = Stage::new();
    resurrected.view = written("other-1", 200, false);
    resurrected.look();
    resurrected.view = written("me-1", 100, false);
    resurrected
        .election
        .handle_heard(Some(told()), resurrected.now);
    resurrected.look();
    resurrected.nothing();
}

/// Found by the simulation: FLUSHALL, a clock set back, and a renewal of ours that arrives late, while another
/// leads of whom we have not heard.
#[test]
fn a_record_of_our_own_that_changed_without_us_proves_nothing() {
    let (mut stage, campaign) = Stage::leading();
    let hold_off = Duration::from_millis(1);
    stage
        .election
        .handle_resign(hold_off, None, stage.now)
        .unwrap();
    let demoted = stage.election.leadership().version;
    stage
        .election
        .handle_heartbeat(campaign, Some(demoted), stage.now);
    let release = stage.must_release(100);
    stage.view = written("me-1", 100, true);
    stage.answer(&release, Outcome::Released);
    // It is back, and not released.
    stage.view = written("me-1", 100, false);
    stage.election.handle_heard(Some(told()), stage.now);
    stage.look();
    stage.pass(MS);
    assert_eq!(stage.says(), (Role::Standby, Reason::WaitingOutLease));
    stage.watch(TTL + MARGIN - MS * 2);
    // Nor is it ours to release.
    stage
        .election
        .handle_campaign_end(campaign, EndedBy::Miner, stage.now);
    assert_eq!(stage.election.next_command(stage.now), None);
}

/// Found by the simulation: a promoted server that restarts empty looks settled a TTL later, while the old primary
/// lives on.
#[test]
fn where_another_may_become_the_primary_an_empty_store_is_waited_out() {
    let mut stage = Stage::of(Settings {
        rules: settings(REDIS_TIMEOUT).rules.with_failover(),
        ..settings(REDIS_TIMEOUT)
    });
    stage.campaign();
    stage.look();
    assert_eq!(stage.says(), (Role::Standby, Reason::StoreSettling));
    stage.watch(TTL + MARGIN - MS);
    stage.nothing();
    stage.pass(MS);
    stage.begin(101);
}

#[test]
fn a_request_may_run_until_its_deadline_on_the_stores_clock_and_no_longer() {
    let mut stage = Stage::new();
    stage.campaign();
    let look = stage.next();
    stage.pass(Duration::from_millis(300));
    stage.answer(&look, Outcome::Looked);
    let Command::Begin { not_after, .. } = stage.next().command else {
        panic!("a begin is due");
    };
    // The script ran at or before the reply came: from there the two seconds count.
    assert_eq!(not_after, stage.view.store_micros + 2_000_000);
}
