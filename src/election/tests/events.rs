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
        stage.election.handle_heard(Some(told()), stage.now);
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
        stage.election.handle_heard(announces.then(told), stage.now);
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
        stage.election.handle_heard(Some(told()), stage.now);
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
    stage.election.handle_heard(Some(told()), stage.now);
    stage.pass(REDIS_TIMEOUT);
    stage.fail(&look, StoreError::timed_out("no answer"));
    stage.nothing();
    stage.view = written("other-1", 50, true);
    stage.election.handle_heard(Some(told()), stage.now);
    stage.look();
    stage.begin(51);
}

/// A standby that looks at another's running term.
fn following() -> Stage {
    let mut stage = Stage::new();
    stage.campaign();
    stage.view = written("other-1", 50, false);
    stage.look();
    stage.nothing();
    stage
}

#[test]
fn a_release_that_is_heard_saves_the_look() {
    let mut stage = following();
    let given_back = written("other-1", 50, true);
    let heard = Some(released(&given_back));
    stage.election.handle_heard(heard, stage.now);
    let begin = stage.begin(51);
    let Command::Begin {
        judged, stale_lock, ..
    } = begin.command
    else {
        unreachable!()
    };
    assert_eq!((judged, stale_lock), (given_back.judged, false));
    assert!(stage.election.leadership().leads());
}

/// The answer to a begin that came second shows who came first.
#[test]
fn the_losers_of_a_race_need_no_look() {
    for begun_is_heard_first in [true, false] {
        let mut stage = following();
        let heard = Some(released(&written("other-1", 50, true)));
        stage.election.handle_heard(heard, stage.now);
        let begin = stage.next();
        let begun = Some(announced(Happened::Begun, "other-2", 51));
        if begun_is_heard_first {
            stage.election.handle_heard(begun.clone(), stage.now);
        }
        stage.view = written("other-2", 51, false);
        stage.answer(&begin, Outcome::Refused(Refusal::Changed));
        stage.nothing();
        stage.election.handle_heard(begun, stage.now);
        stage.nothing();
        assert_eq!(stage.says(), (Role::Standby, Reason::HeldByOther));
        // It is renewed: when was that seen?
        let renewed = announced(Happened::Renewed, "other-2", 51);
        stage.election.handle_heard(Some(renewed), stage.now);
        stage.look();
        stage.nothing();
    }
}

/// What cannot be told from an event, or is told otherwise, is looked at first.
#[test]
fn only_what_a_look_would_allow_is_begun_without_one() {
    type Change<'a> = &'a dyn Fn(&mut Basis);
    let given_back = written("other-1", 50, true);
    let told = |change: Change<'_>| {
        let mut heard = released(&given_back);
        heard.basis.iter_mut().for_each(change);
        heard
    };
    let cases: [(&str, Change<'_>); 6] = [
        ("not released", &|it| it.record.released = false),
        ("an older token", &|it| it.record.token = 49),
        ("another server", &|it| it.generation = "h".into()),
        ("of another server", &|it| it.record.generation = "h".into()),
        ("a longer TTL", &|it| it.record.ttl = TTL * 2),
        ("to another", &|it| it.record.successor = "other-2".into()),
    ];
    for (case, change) in cases {
        let mut stage = following();
        let heard = Some(told(change));
        stage.election.handle_heard(heard, stage.now);
        if case == "to another" {
            // That one begins meanwhile, and one look shows both.
            stage.nothing();
            stage.pass(MS * 20);
        }
        let next = stage.next();
        assert_eq!(next.command, LOOK, "{case}");
    }
    let mut named = following();
    let heard = told(&|it| it.record.successor = "me-1".into());
    named.election.handle_heard(Some(heard), named.now);
    named.begin(51);
}

#[test]
fn a_foreign_lock_beside_the_record_is_waited_out_whatever_is_told() {
    // Seen beside the released record, where the event comes late.
    let mut stage = following();
    stage.view = written("other-1", 50, true);
    let heard = released(&stage.view);
    stage.view.lock = Some(lock("host-1"));
    stage.election.handle_heard(Some(told()), stage.now);
    stage.look();
    stage.view.lock = None;
    stage.election.handle_heard(Some(told()), stage.now);
    stage.look();
    stage.election.handle_heard(Some(heard), stage.now);
    stage.nothing();
    // Seen beside the record before it.
    let mut stage = following();
    stage.view.lock = Some(lock("host-1"));
    stage.election.handle_heard(Some(told()), stage.now);
    stage.look();
    let heard = Some(released(&written("other-1", 50, true)));
    stage.election.handle_heard(heard, stage.now);
    assert_eq!(stage.next().command, LOOK);
}

/// What keeps an agent from beginning keeps it from that, too.
#[test]
fn nobody_begins_because_of_an_event_who_may_not_begin() {
    let heard = || Some(released(&written("other-1", 50, true)));
    let mut idle = Stage::new();
    idle.view = written("other-1", 50, false);
    idle.look();
    idle.election.handle_heard(heard(), idle.now);
    assert_eq!(idle.next().command, LOOK);
    let mut blind = Stage::new();
    blind.campaign();
    blind.election.handle_heard(heard(), blind.now);
    assert_eq!(blind.next().command, LOOK);
}

#[test]
fn a_flood_of_forged_releases_costs_refused_begins_at_a_bounded_rate() {
    let mut stage = following();
    let campaign = stage.election.campaign().unwrap();
    let mut begins = 0;
    for number in 0..10_000 {
        let mut forged = written("other-1", 50, true);
        forged.judged = format!("forged {number}");
        let forged = Some(released(&forged));
        stage.election.handle_heard(forged, stage.now);
        if let Some(attempt) = stage.election.next_command(stage.now) {
            let refused = Outcome::Refused(Refusal::Changed);
            let is_begin = attempt.command.begins();
            begins += u32::from(is_begin);
            let outcome = if is_begin { refused } else { Outcome::Looked };
            stage.answer(&attempt, outcome);
        }
        stage.election.handle_heartbeat(campaign, None, stage.now);
        stage.pass(MS);
    }
    assert!((1015..=1021).contains(&begins), "{begins} in ten seconds");
    stage.pass(MS * 10);
    let last = stage.next();
    stage.answer(&last, Outcome::Refused(Refusal::Changed));
    // The wait was not restarted: the record has stood since the first look.
    stage.watch(TTL + MARGIN - Duration::from_secs(10) - MS * 11);
    stage.nothing();
    stage.pass(MS);
    assert!(stage.next().command.begins());
}

#[test]
fn an_announcement_is_read_and_anything_else_is_none() {
    let basis = |text: &str| {
        let given_back = written("other-1", 50, true);
        let told = released(&given_back).basis;
        told.filter(|_| text == "r:p 1:1 …")
    };
    let read = |message: &str| Announcement::parse(message, basis);
    let told = read("released a-1 50 r:p 1:1 …").unwrap();
    assert_eq!(
        (told.happened, &*told.holder, told.token),
        (Happened::Released, "a-1", 50)
    );
    assert!(told.basis.is_some());
    assert_eq!(read("released a-1 50 later"), read("released a-1 50"));
    assert_eq!(
        read("begun a-1 50 r:p 1:1 …"),
        Some(announced(Happened::Begun, "a-1", 50))
    );
    assert_eq!(
        read("renewed a-1 50"),
        Some(announced(Happened::Renewed, "a-1", 50))
    );
    for nonsense in [
        "",
        "begun",
        "begun  50",
        "begun a-1 x",
        "ended a-1 50",
        "renewed a-1 -5",
    ] {
        assert_eq!(read(nonsense), None, "{nonsense}");
    }
}
