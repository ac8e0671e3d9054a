//! Checks that states with the same key have the same futures: tests the argument of [`super::key`].

use std::collections::HashMap;

use super::setting::Setting;
use super::world::World;

/// Every world that one step leads to.
fn after(world: &World) -> impl Iterator<Item = World> + use<'_> {
    world.steps().into_iter().map(|step| {
        let mut next = world.clone();
        next.take(step);
        next
    })
}

/// The keys that one step leads to, in order.
fn future(world: &World) -> Vec<u64> {
    let mut keys: Vec<_> = after(world).map(|next| next.key()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Checks every way into every state. Returns how many ways led to a known state, or the state whose future differs from
/// that of the first with the same key.
pub fn compare(setting: Setting) -> Result<usize, Box<World>> {
    let mut known: HashMap<u64, Vec<u64>> = HashMap::new();
    let mut level = vec![World::new(setting)];
    let mut compared = 0;
    while !level.is_empty() {
        let mut new = Vec::new();
        for next in level.iter().flat_map(after) {
            let future = future(&next);
            match known.get(&next.key()) {
                Some(expected) if *expected == future => compared += 1,
                Some(_) => return Err(Box::new(next)),
                None => {
                    known.insert(next.key(), future);
                    new.push(next);
                }
            }
        }
        level = new;
    }
    Ok(compared)
}
