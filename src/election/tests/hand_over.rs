//! Handing over on purpose: to a successor that is named, or to the youngest.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn released_to(successor: &str) -> View {
    let mut view = written("other-1", 100, true);
    if let RecordSeen::Known(record) = &mut view.record {
        record.successor = successor.into();
    }
    view.judged = format!("g {:?}", view.record);
    view
}

/// A standby that has just seen the term before released.
fn standby(successor: &str) -> Stage {
    let mut stage = Stage::new();
    stage.campaign();
    stage.view = released_to(successor);
    stage.look();
    stage
}

/// Of an agent that tells of itself.
fn member() -> Settings {
    Settings {
        enrolment: Some(Enrolment {
            instance: "me".into(),
            version: "1.2.3".into(),
            started: 5,
        }),
        ..settings(REDIS_TIMEOUT)
    }
}

fn listed(holder: &str, ready: bool, started: u64) -> Listed {
    Listed {
        member: Member {
            holder: holder.into(),
            ready,
            started,
            version: "1.2.3".into(),
            instance: holder.split('-').next().unwrap_or_default().into(),
        },
        heard: 7,
    }
}

#[test]
fn the_named_successor_begins_at_once_and_so_does_anyone_where_none_is_named() {
    for successor in ["me-1", ""] {
        let mut stage = standby(successor);
        stage.begin(200);
        assert!(stage.election.leadership().leads(), "{successor:?}");
    }
}

#[test]
fn the_others_hold_off_for_a_second_and_then_one_of_them_begins() {
    let mut stage = standby("another-2");
    assert_eq!(stage.says(), (Role::Standby, Reason::HeldForSuccessor));
    assert!(stage.election.poll_timeout(stage.now) <= stage.now + SECOND);
    stage.watch(SECOND - MS);
    stage.nothing();
    stage.pass(MS);
    stage.begin(200);
}

#[test]
fn a_successor_of_a_term_that_was_not_released_counts_for_nothing() {
    let mut stage = Stage::new();
    stage.campaign();
    let mut view = released_to("me-1");
    if let RecordSeen::Known(record) = &mut view.record {
        record.released = false;
    }
    stage.view = view;
    stage.look();
    stage.watch(TTL);
    assert_eq!(stage.says(), (Role::Standby, Reason::WaitingOutLease));
}

#[test]
fn a_resignation_names_its_successor_and_a_shutdown_of_agent_or_miner_the_youngest() {
    let (mut stage, campaign) = Stage::leading();
    let named = Some("b-2".to_owned());
    let resigned = stage.election.handle_resign(SECOND, named, stage.now);
    assert_eq!(resigned, Ok(100));
    assert_eq!(
        release_of(&mut stage, campaign),
        Successor::Named("b-2".into())
    );

    let (mut stage, campaign) = Stage::leading();
    stage.election.handle_stop(stage.now);
    assert_eq!(release_of(&mut stage, campaign), Successor::Youngest);

    let (mut stage, campaign) = Stage::leading();
    let anyone = stage.election.handle_resign(SECOND, None, stage.now);
    assert_eq!(anyone, Ok(100));
    assert_eq!(release_of(&mut stage, campaign), Successor::Anyone);

    // A pod's miner is stopped before its agent.
    let (mut stage, campaign) = Stage::leading();
    assert_eq!(release_of(&mut stage, campaign), Successor::Youngest);
    let (mut stage, campaign) = Stage::leading();
    stage
        .election
        .handle_standing_down(campaign, None, stage.now);
    assert_eq!(release_of(&mut stage, campaign), Successor::Youngest);
}

fn release_of(stage: &mut Stage, campaign: CampaignId) -> Successor {
    stage
        .election
        .handle_campaign_end(campaign, EndedBy::Miner, stage.now);
    match stage.must_release(100).command {
        Command::Release { successor, .. } => successor,
        other => panic!("{other:?}"),
    }
}

/// Of two processes of one name the one that is ready, and then the younger.
#[test]
fn a_successor_must_be_there_and_ready() {
    let find = |listed: &[Listed], instance| {
        super::super::member::successor(listed, instance, "me-1").map_err(|why| why.to_string())
    };
    let all = [
        listed("me-1", true, 9),
        listed("b-1", true, 1),
        listed("b-2", true, 2),
        listed("b-3", false, 3),
        listed("c-1", false, 3),
    ];
    assert_eq!(find(&all, "b"), Ok("b-2".into()));
    assert!(find(&all, "c").unwrap_err().contains("not ready"));
    assert!(find(&all, "me").unwrap_err().contains("leads already"));
    let unknown = find(&all, "d").unwrap_err();
    assert!(unknown.ends_with("known are: b, b, b, c"), "{unknown}");
    assert!(find(&[], "d").unwrap_err().ends_with("known are: none"));
}

#[test]
fn a_leader_that_is_asked_for_the_members_reads_them_at_once() {
    let (mut stage, _) = Stage::leading();
    stage.nothing();
    stage.election.handle_ask_members(stage.now);
    let attempt = stage.next();
    assert!(matches!(attempt.command, Command::Renew { .. }));
    stage.view.members = vec![listed("b-1", true, 1)];
    stage.answer(&attempt, Outcome::Renewed);
    assert_eq!(stage.election.successor("b"), Ok("b-1".into()));
}

#[test]
fn an_agent_with_a_live_miner_is_a_member_and_another_removes_itself() {
    let mut stage = Stage::of(member());
    let entry = |stage: &mut Stage| {
        let attempt = stage.next();
        stage.view = written("other-1", 100, false);
        stage.answer(&attempt, Outcome::Looked);
        stage.pass(Duration::from_secs(10));
        match attempt.command {
            Command::Look { entry } => entry.expect("an entry"),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(entry(&mut stage).lives, Duration::ZERO);
    stage.election.handle_rehearsed(true, stage.now);
    stage.campaign();
    let alive = entry(&mut stage);
    assert_eq!(alive.member.words(), "1 5 1.2.3 me");
    // Two renewals may be late: 10 s and two timeouts.
    assert_eq!(alive.lives, Duration::from_secs(14));
    stage.pass(MINER_TIMEOUT);
    assert_eq!(entry(&mut stage).lives, Duration::ZERO);
}

#[test]
fn the_others_learn_at_once_that_it_is_ready() {
    let mut stage = Stage::new();
    stage.view = written("other-1", 100, false);
    stage.look();
    // Without a miner it would not take over, whatever a rehearsal finds.
    stage.election.handle_rehearsed(true, stage.now);
    stage.nothing();
    stage.campaign();
    stage.look();
    stage.election.handle_rehearsed(true, stage.now);
    stage.nothing();
    stage.election.handle_rehearsed(false, stage.now);
    stage.look();
}

/// A leader that hands over would name one that cannot begin.
#[test]
fn the_others_learn_at_once_that_its_miner_is_gone() {
    let goes: [fn(&mut Stage, CampaignId); 3] = [
        |stage, id| {
            let now = stage.now;
            stage.election.handle_campaign_end(id, EndedBy::Miner, now);
        },
        |stage, id| {
            let now = stage.now;
            stage.election.handle_standing_down(id, None, now);
        },
        |stage, _| stage.pass(MINER_TIMEOUT),
    ];
    for gone in goes {
        let mut stage = Stage::new();
        stage.view = written("other-1", 100, false);
        let id = stage.campaign();
        stage.election.handle_hearing(true, stage.now);
        stage.election.handle_rehearsed(true, stage.now);
        stage.look();
        stage.election.handle_rehearsed(true, stage.now);
        stage.nothing();
        gone(&mut stage, id);
        stage.election.handle_rehearsed(true, stage.now);
        stage.look();
        stage.election.handle_rehearsed(true, stage.now);
        stage.nothing();
    }
}

/// A leader that hands over would name one that waits for longer than the second in which the others hold off.
#[test]
fn one_whose_miner_may_still_act_is_not_ready() {
    let mut stage = Stage::of(Settings {
        remembered: Remembered {
            highest: 100,
            acting_until: START + MINER_TIMEOUT,
        },
        ..member()
    });
    stage.campaign();
    stage.election.handle_rehearsed(true, stage.now);
    stage.view = written("other-1", 100, false);
    let ready = |stage: &mut Stage| {
        let attempt = stage.next();
        stage.answer(&attempt, Outcome::Looked);
        match attempt.command {
            Command::Look { entry } => entry.expect("an entry").member.ready,
            other => panic!("{other:?}"),
        }
    };
    let id = stage.election.campaign().unwrap();
    assert!(!ready(&mut stage));
    stage.pass(Duration::from_millis(500));
    stage.election.handle_heartbeat(id, None, stage.now);
    assert!(!ready(&mut stage));
    stage.pass(MINER_TIMEOUT - Duration::from_millis(500) - MS);
    stage.election.handle_rehearsed(true, stage.now);
    stage.nothing();
    stage.pass(MS);
    stage.election.handle_rehearsed(true, stage.now);
    assert!(ready(&mut stage));
}

#[test]
fn one_that_stops_removes_itself_with_its_last_look() {
    let mut stage = Stage::of(member());
    stage.campaign();
    let look = stage.next();
    stage.answer(&look, Outcome::Looked);
    let begin = stage.next();
    stage.fail(&begin, StoreError::timed_out("no answer"));
    stage.election.handle_stop(stage.now);
    match stage.next().command {
        Command::Look { entry } => assert_eq!(entry.expect("an entry").lives, Duration::ZERO),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_that_is_no_candidate_never_begins() {
    let mut stage = Stage::of(Settings {
        candidate: false,
        ..settings(REDIS_TIMEOUT)
    });
    stage.campaign();
    stage.look();
    stage.nothing();
    assert_eq!(stage.says(), (Role::Idle, Reason::NotCandidate));
}

#[test]
fn an_entry_that_makes_no_sense_is_none() {
    let member = listed("b-1", true, 1).member;
    let text = format!("99 {} 7", member.words());
    assert_eq!(Listed::parse("b-1", &text).unwrap().member, member);
    let more = format!("{text} words of a later version");
    assert_eq!(Listed::parse("b-1", &more).unwrap().heard, 7);
    for text in [
        "",
        "99",
        "99 1 x 1.2.3 b 7",
        "99 1 1 1.2.3 b",
        "99 1 1 1.2.3 b x",
        "99 1 1 1.2.3 \x1b[2J 7",
        // It turns round what stands behind it.
        "99 1 1 1.2.3 \u{202e}b 7",
        &format!("99 1 1 1.2.3 {} 7", "b".repeat(200)),
    ] {
        assert_eq!(Listed::parse("b-1", text), None, "{text:?}");
    }
    assert_eq!(Listed::parse("\u{202e}b-1", "99 1 1 1.2.3 b 7"), None);
}
