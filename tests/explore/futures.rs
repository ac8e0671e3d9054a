//! Whether states with one key have the same futures: the argument of [`super::key`], tried out.

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

/// Looks at every way into every state. Returns how many ways led to a state that was known by its key, or one that has
/// another future than the first with that key.
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
