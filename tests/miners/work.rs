//! What vouches for a miner's work, and what does not; and what it does before it leads again, or leaves.

use super::*;

/// Each program on a thread of its own.
fn each(run: impl Fn(&Path) + Sync) {
    std::thread::scope(|scope| {
        for miner in samples() {
            let run = &run;
            scope.spawn(move || run(&miner));
        }
    });
}

/// As a logger would, fifty ask whether it leads, and go on while the work hangs.
#[test]
fn asking_is_not_beating() {
    each(|miner| {
        let mut pods = Pods::start(miner, &["--askers", "50"]);
        pods.hung(0);
        pods.check();
    });
}

/// Work that comes once per block, more rarely than the miner may be silent, and no loop.
#[test]
fn work_per_block_needs_no_loop() {
    const BLOCK: Duration = Duration::from_millis(2500);
    assert!(BLOCK > MINER_TIMEOUT);
    each(|miner| {
        let pods = Pods::start(miner, &["--blocks-every-ms", "2500"]);
        let term = pods.agents[0].token();
        never("the term ends between two blocks", 3 * BLOCK, || {
            pods.agents[0].token() != term
        });
        let since = boottime_ns();
        pods.miners[0].signal(Signal::USR2);
        pods.agents[0].wait_for_log(&["late=\"blocks\""]);
        pods.acts(1, since);
        pods.rests_after(0, since, 3 * BLOCK + MINER_TIMEOUT);
        pods.check();
    });
}

/// While it cleans up it is no candidate: no lock is held by a miner that does nothing.
#[test]
fn no_term_begins_while_a_miner_cleans_up() {
    each(|miner| {
        let mut pods = Pods::start(miner, &["--cleanup-ms", "5000"]);
        pods.resign(0);
        let since = boottime_ns();
        pods.acts(1, since);
        pods.agents[0].wait_for_reason("not_candidate", SOON);
        pods.miners[1].kill();
        let cleaned = wait_for("it has cleaned up", SOON, || {
            let leads = pods.agents[0].leads();
            let lines = pods.miners[0].lines().into_iter();
            let mut cleaned = lines.filter(|(at, event, _)| *at > since && event == "cleaned");
            let cleaned = cleaned.next().map(|(at, ..)| at);
            assert!(cleaned.is_some() || !leads, "it leads while it cleans up");
            cleaned
        });
        pods.acts(0, since);
        let acts = pods.miners[0].acts();
        let early = acts.iter().find(|act| act.at > since && act.at < cleaned);
        assert!(early.is_none(), "it acts while it cleans up: {early:?}");
        pods.check();
    });
}

#[test]
fn it_leaves_right_after_its_election() {
    each(|miner| {
        let mut pods = Pods::start(miner, &[]);
        let since = boottime_ns();
        pods.resign(0);
        pods.miners[1].wait_until_told_to_lead(since, SOON);
        let asked = boottime_ns();
        pods.miners[1].signal(Signal::TERM);
        let ended = pods.miners[1].wait_until_gone(SOON);
        assert!(ended.success(), "{}: {ended}", miner.display());
        pods.acts(0, asked);
        pods.check();
    });
}
