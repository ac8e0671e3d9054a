//! The pure core in a seeded simulation. A failure prints its seed, what happened, and how to run it again:
//! `make simulate SEED=…`, and `WITHOUT=…` a safeguard.

mod agenda;
mod agents;
mod announced;
mod carried_out;
mod checks;
mod clock;
mod dice;
mod events;
mod faults;
mod go_miners;
mod limit;
mod members;
mod miners;
mod network;
mod pollers;
mod redis;
mod safeguard;
mod scene;
mod shown;
mod store_clock;
mod voices;
mod world;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use limit::Limit;
use safeguard::Safeguard;
use world::World;

/// How long faults last in a run, in seconds.
const CHAOS: u64 = 40;
/// Within this many seeds the simulation must find what a missing safeguard lets through.
const BOUND: u64 = 30_000;
/// The number of seeds for each limit.
const BEYOND: u64 = 2000;
/// The number of seeds for a limit that is rarely met.
const RARE: u64 = 6000;

/// The result of some seeds.
#[derive(Default)]
struct Found {
    seeds: u64,
    terms: u64,
    faults: BTreeMap<&'static str, u64>,
    /// The smallest seed with a violation, among those tried.
    violation: Option<(u64, String, String)>,
    /// The smallest seed in which two could act, if that is a limit.
    overlap: Option<(u64, String)>,
}

/// Tries seeds on every processor, until one shows a violation.
fn try_all(seeds: Range<u64>, without: Option<Safeguard>, beyond: Option<Limit>) -> Found {
    let next = AtomicU64::new(seeds.start);
    let found = Mutex::new(Found::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let mut world = World::new(seed, without, beyond);
            let violated = world.run(CHAOS);
            let mut found = found.lock().expect("no panic while counting");
            found.seeds += 1;
            found.terms += world.checks.terms;
            for (name, count) in world.faults {
                *found.faults.entry(name).or_default() += count;
            }
            if let Some(overlap) = world.checks.overlap
                && found
                    .overlap
                    .as_ref()
                    .is_none_or(|(first, _)| seed < *first)
            {
                found.overlap = Some((seed, overlap));
            }
            if let Some(violated) = violated {
                next.store(seeds.end, Ordering::Relaxed);
                if found
                    .violation
                    .as_ref()
                    .is_none_or(|(first, _, _)| seed < *first)
                {
                    found.violation = Some((seed, violated, world.story));
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    found.into_inner().expect("no panic while counting")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The rule that the user switched off.
fn without() -> Option<Safeguard> {
    let name = std::env::var("WITHOUT").ok()?;
    let known = |it: &Safeguard| format!("{it:?}") == name;
    Some(Safeguard::ALL.into_iter().find(known).expect("a safeguard"))
}

#[test]
fn no_seed_finds_a_second_leader() {
    if let Some(seed) = number("SEED") {
        let mut world = World::new(seed, without(), None);
        let violated = world.run(CHAOS);
        println!("{}", world.story);
        assert_eq!(violated, None);
        return;
    }
    let found = try_all(0..number("SEEDS").unwrap_or(20_000), None, None);
    if let Some((seed, violated, story)) = found.violation {
        let tail: Vec<_> = story.lines().rev().take(60).collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        panic!("{violated}\n{}\nmake simulate SEED={seed}", tail.join("\n"));
    }
    let faults: u64 = found.faults.values().sum();
    println!(
        "{} seeds, {faults} faults, {} terms: no violation",
        found.seeds, found.terms
    );
    for (name, count) in found.faults {
        println!("{count:>12} {name}");
    }
}

#[test]
fn without_any_one_safeguard_a_violation_is_found() {
    for safeguard in without().map_or(Safeguard::ALL.to_vec(), |it| vec![it]) {
        let found = try_all(0..BOUND, Some(safeguard), None);
        let Some((seed, violated, _)) = found.violation else {
            panic!("{safeguard:?} is off, and {BOUND} seeds found nothing");
        };
        println!("{safeguard:?} off: seed {seed}: {violated}");
    }
}

#[test]
fn beyond_the_limits_two_may_act_and_the_fence_holds() {
    for limit in Limit::ALL {
        let found = try_all(0..BEYOND, None, Some(limit));
        if let Some((seed, violated, _)) = found.violation {
            panic!("{limit:?}: seed {seed}: {violated}");
        }
        let rarely = || try_all(BEYOND..RARE, None, Some(limit)).overlap;
        let Some((seed, overlap)) = found.overlap.or_else(rarely) else {
            panic!("{limit:?} is no limit: {RARE} seeds found nothing");
        };
        println!("{limit:?}: seed {seed}: {overlap}; the fence held in {BEYOND} seeds");
    }
}
