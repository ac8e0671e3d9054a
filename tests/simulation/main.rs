//! The pure core in a seeded simulation. A failure prints its seed, what happened, and how to run it again:
//! `SEED=… cargo test --release --test simulation -- --nocapture`.

mod redis;
mod world;

use world::World;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_seed_finds_a_second_leader() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(2000),
    };
    let one = seeds.end - seeds.start == 1;
    let (mut terms, mut faults, count) = (0, 0, seeds.end - seeds.start);
    for seed in seeds {
        let mut world = World::new(seed);
        let violated = world.run(40);
        if one {
            println!("{}", world.story);
        }
        if let Some(violated) = violated {
            let tail: Vec<_> = world.story.lines().rev().take(60).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            panic!(
                "{violated}\n{}\nSEED={seed} cargo test --release --test simulation -- --nocapture",
                tail.join("\n")
            );
        }
        terms += world.terms;
        faults += world.faults;
    }
    println!("{count} seeds, {faults} faults, {terms} terms: no violation");
}
