//! What docs/clients.md says of all clients, for Rust's.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use understudy_client::{Elector, Leader, StartError};

use crate::leaving::Generous;

const SOON: Duration = Duration::from_secs(5);
const MS: Duration = Duration::from_millis(1);

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let waits = async {
        while !is() {
            sleep(2 * MS).await;
        }
    };
    let waited = timeout(SOON, waits).await;
    assert!(waited.is_ok(), "waited in vain: {what}");
}

async fn never(what: &str, limit: Duration, mut is: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + limit;
    while tokio::time::Instant::now() < end {
        assert!(!is(), "{what}");
        sleep(2 * MS).await;
    }
}

fn start(address: &str) -> Elector {
    Elector::start(address, "miner").expect("an address")
}

#[tokio::test]
async fn asking_is_no_beat() {
    let (agent, address) = Generous::serve(500).await;
    let elector = start(&address);
    let leader = elector.leader();
    let asks = || leader.is_leader() || elector.grant().is_some() || elector.view().leads;
    never("it is a candidate", 200 * MS, asks).await;
    assert_eq!(agent.heard(), 0);
}

#[tokio::test]
async fn pulses_beat_for_work_that_is_rare_and_the_late_one_is_named() {
    let (agent, address) = Generous::serve(300).await;
    let elector = start(&address);
    let blocks = elector.pulse("blocks", 60 * SOON);
    let other = elector.pulse("other", 500 * MS);
    blocks.beat();
    never("a heartbeat before all have beaten", 100 * MS, || {
        agent.heard() > 0
    })
    .await;
    until("a term", || {
        other.beat();
        elector.is_leader()
    })
    .await;
    until("it is late", || elector.view().late == ["other"]).await;
    until("the agent hears of it", || {
        *agent.late.lock().expect("no panic") == "other"
    })
    .await;
    until("the grant runs out", || !elector.is_leader()).await;
    other.stop();
    until("a term", || elector.is_leader()).await;
}

#[tokio::test]
async fn a_pulse_of_a_term_ends_with_it() {
    let (_agent, address) = Generous::serve(200).await;
    let mut elector = start(&address);
    elector.term_pulse("no term", MS).beat();
    let process = elector.pulse("process", 60 * SOON);
    process.beat();
    let first = timeout(SOON, elector.changed()).await.expect("a term");
    elector.term_pulse("publisher", 100 * MS).beat(); // and never again
    assert!(first.is_some());
    assert_eq!(timeout(SOON, elector.changed()).await, Ok(None));
    let second = timeout(SOON, elector.changed())
        .await
        .expect("a term without it");
    assert!(second.is_some());
}

#[tokio::test]
async fn a_check_vouches_while_it_says_yes() {
    let (_agent, address) = Generous::serve(100).await;
    let mut elector = start(&address);
    let good = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let says = std::sync::Arc::clone(&good);
    elector.beat_while(move || {
        let says = says.load(Ordering::Relaxed);
        async move { says }
    });
    good.store(true, Ordering::Relaxed);
    until("a term", || elector.is_leader()).await;
    good.store(false, Ordering::Relaxed);
    until("the grant runs out", || !elector.is_leader()).await;
}

#[tokio::test]
async fn no_term_while_it_cleans_up() {
    for revision in [1, 0] {
        let (agent, address) = Generous::of(150, revision).await;
        let mut elector = start(&address);
        let pulse = elector.pulse("work", 300 * MS);
        until("a term", || {
            pulse.beat();
            elector.is_leader()
        })
        .await;
        let begun = timeout(SOON, elector.changed()).await.expect("a term");
        assert!(begun.is_some());
        assert_eq!(timeout(SOON, elector.changed()).await, Ok(None));
        let cleaning = elector.cleaning();
        let heard = agent.heard();
        let waits = timeout(300 * MS, async {
            loop {
                pulse.beat();
                tokio::select! {
                    _ = elector.changed() => panic!("a term begins while it cleans up"),
                    () = sleep(5 * MS) => {}
                }
            }
        });
        assert!(waits.await.is_err() && !elector.is_leader());
        assert_eq!(agent.heard(), heard, "heartbeats while it cleans up");
        assert_eq!(agent.stood.load(Ordering::Relaxed) > 0, revision > 0);
        drop(cleaning);
        until("the next term", || {
            pulse.beat();
            elector.is_leader()
        })
        .await;
    }
}

#[tokio::test]
async fn withdraw_comes_first_and_done_acknowledges_when_all_is_over() {
    let (agent, address) = Generous::serve(3_600_000).await;
    let elector = start(&address);
    elector.pulse("work", 60 * SOON).beat();
    until("a term", || elector.is_leader()).await;
    let cleaning = elector.cleaning();
    elector.withdraw();
    assert!(!elector.is_leader());
    assert_eq!(elector.view().reason, "withdrawn");
    elector.done();
    until("it stands down", || agent.stood.load(Ordering::Relaxed) > 0).await;
    let acknowledged = || agent.acknowledged.load(Ordering::Relaxed) > 0;
    never("acknowledged while it cleans up", 100 * MS, acknowledged).await;
    drop(cleaning);
    until("it is acknowledged", acknowledged).await;
    timeout(SOON, elector.close()).await.expect("it returns");
}

#[tokio::test]
async fn the_wrong_mode_is_refused_with_a_sentence() {
    let (_agent, address) = Generous::serve(500).await;
    let elector = Elector::extending(&address, "miner").expect("an address");
    until("it says so", || {
        elector.view().detail.contains("Elector::start")
    })
    .await;
    assert_eq!(elector.view().reason, "no_agent");
}

#[tokio::test]
async fn where_nothing_vouches_the_view_says_what_to_call() {
    let (_agent, address) = Generous::serve(500).await;
    let elector = start(&address);
    until("it says so", || {
        elector.view().detail.contains("call beat()")
    })
    .await;
}

#[tokio::test]
async fn without_an_agent() {
    let always = Elector::always("laptop");
    assert!(always.is_leader());
    always.withdraw();
    assert!(!always.is_leader());
    let (mut elector, fake) = Elector::fake("test");
    assert!(!elector.is_leader());
    let token = fake.elect();
    assert_eq!(
        elector.changed().await.map(|grant| grant.token),
        Some(token)
    );
    let mut views = elector.watch();
    fake.lose("lock_lost");
    assert_eq!(elector.changed().await, None);
    assert!(
        views
            .wait_for(|view| view.reason == "lock_lost")
            .await
            .is_ok()
    );
}

/// A subscriber of the program's own.
struct Panics;

impl tracing::Subscriber for Panics {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        panic!("the disk is full");
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn a_log_that_panics_harms_nobody() {
    let (mut elector, fake) = Elector::fake("test");
    tracing::subscriber::with_default(Panics, || fake.elect());
    assert!(elector.changed().await.is_some());
    assert!(elector.watch().borrow().leads);
    tracing::subscriber::with_default(Panics, || fake.lose("lock_lost"));
    assert_eq!(elector.changed().await, None);
}

/// Leads without a beat of anybody's, until it is dropped.
async fn leading(address: &str) -> Elector {
    let elector = start(address);
    elector.pulse("work", Duration::MAX).beat();
    until("a term", || elector.is_leader()).await;
    elector
}

/// The agent takes the end of the stream for the end of the work.
#[tokio::test]
async fn a_leader_that_outlives_its_elector_leads_no_more() {
    let (_agent, address) = Generous::serve(3_600_000).await;
    let elector = leading(&address).await;
    let leader = elector.leader();
    assert!(leader.is_leader());
    drop(elector);
    assert!(!leader.is_leader() && leader.grant().is_none());
    assert_eq!(leader.view().reason, "withdrawn");
}

#[tokio::test]
async fn nobody_leads_when_the_runtime_is_gone() {
    let (_agent, address) = Generous::serve(3_600_000).await;
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let elector = runtime.expect("a runtime").block_on(leading(&address));
        (elector.leader(), elector)
    };
    let ran: (Leader, Elector) = tokio::task::spawn_blocking(run).await.expect("no panic");
    assert!(!ran.0.is_leader(), "its stream is gone");
}

#[test]
fn without_a_runtime_start_says_so() {
    let refused = Elector::start("", "miner").err();
    assert!(matches!(refused, Some(StartError::NoRuntime)));
}

#[tokio::test]
async fn what_is_no_address_is_refused() {
    let good = "127.0.0.1:1 localhost:1 [::1]:1 http://127.0.0.1:1 unix:/x.sock unix:///x.sock";
    for address in good.split(' ').chain([""]) {
        assert!(Elector::start(address, "miner").is_ok(), "{address}");
    }
    let bad = "127.0.0.1 50051 :50051 127.0.0.1: 127.0.0.1:0 127.0.0.1:65536 https://127.0.0.1:1 127.0.0.1:1/x unix: unix:// /x.sock";
    for address in bad.split(' ').chain(["a b:1", "127.0.0.1:1\n"]) {
        let refused = Elector::start(address, "miner").err();
        let said = refused.map(|why| why.to_string()).unwrap_or_default();
        assert!(
            said.contains("expected 127.0.0.1:50051 or unix:/path"),
            "{address}: {said}"
        );
    }
}

#[tokio::test]
async fn where_no_agent_is_the_view_says_what_failed() {
    let elector = start("unix:/nowhere/grpc.sock");
    until("it says so", || {
        elector.beat();
        elector.view().detail.contains("No such file")
    })
    .await;
}

#[tokio::test]
async fn of_an_agent_that_hangs_the_view_says_so() {
    let hangs = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = hangs.local_addr().expect("its address").to_string();
    let elector = start(&address);
    until("it says so", || {
        elector.beat();
        elector.view().detail.contains("does not answer")
    })
    .await;
}

#[tokio::test]
async fn a_pulse_without_a_limit_says_so() {
    let (agent, address) = Generous::serve(500).await;
    let elector = start(&address);
    let pulse = elector.pulse("blocks", Duration::ZERO);
    until("it says so", || {
        pulse.beat();
        elector.view().late == ["blocks (its limit is 0)"]
    })
    .await;
    assert_eq!(agent.heard(), 0);
}

/// Beats that come while it is judged what is late are from the future there, and harm nothing.
#[tokio::test]
async fn beats_of_other_threads_come_at_any_moment() {
    let (_agent, address) = Generous::serve(500).await;
    let elector = leading(&address).await;
    let end = std::time::Instant::now() + 1000 * MS;
    let beats = || {
        while std::time::Instant::now() < end {
            elector.beat();
        }
    };
    let judges = || {
        while std::time::Instant::now() < end {
            elector.pulse("other", Duration::MAX).stop();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(beats);
        scope.spawn(judges);
    });
}
