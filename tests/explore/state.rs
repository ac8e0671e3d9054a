//! The parts of a world that belong to its key: see [`super::key`].

use std::hash::{Hash, Hasher};

use super::agent::{Message, What};
use super::key::{STORE, Tape};
use super::setting::{self, nonce};
use super::world::{TICK, World};

impl World {
    /// All of it, to be read.
    pub fn told(&self) -> String {
        let mut told = format!("{:#?}\n{:#?}\n", self.now, self.redis);
        for agent in &self.agents.0 {
            told += &format!("{:#?}\n", agent.election);
        }
        told
    }

    /// Two states with the same key have the same futures. Which agent is which does not matter: they are sorted by their
    /// state, and if two look alike, every order of them is tried.
    pub fn key(&self) -> u64 {
        let all = 0..self.agents.0.len();
        let looks = all.clone().map(|index| {
            let mut tape = self.tape(all.clone().map(|it| u64::from(it != index)).collect());
            self.agents[index].hash(&mut tape);
            (tape.key(), index)
        });
        let mut looks: Vec<_> = looks.collect();
        looks.sort_unstable();
        let orders = orders(&looks, Vec::new());
        let keys = orders.iter().map(|order| self.key_in(order));
        keys.min().unwrap_or_default()
    }

    fn key_in(&self, order: &[usize]) -> u64 {
        let mut names = vec![0; order.len()];
        for (name, index) in order.iter().enumerate() {
            names[*index] = name as u64;
        }
        let mut tape = self.tape(names);
        for index in order {
            self.agents[*index].hash(&mut tape);
        }
        self.redis_hash(&mut tape);
        (self.clock_stands, self.faults_left, &self.checks).hash(&mut tape);
        for message in &self.network {
            tape.part(&OnItsWay(self, message), message.is_reply());
        }
        tape.key()
    }

    fn tape(&self, names: Vec<u64>) -> Tape {
        let back = u64::from(self.faults_left) * TICK / 1000;
        let clock = self.redis.clock(self.time());
        Tape::new(self.now.as_nanos(), clock, back, names)
    }

    fn redis_hash(&self, tape: &mut Tape) {
        let redis = &self.redis;
        let clock = redis.clock(self.time());
        // Negative, if the clock was set back to before the start.
        let up = clock as i64 - redis.started as i64;
        (
            redis.judged(),
            redis.promoted,
            redis.memory,
            redis.generation,
        )
            .hash(tape);
        (up.min(setting::LONG_UP) as isize, redis.greatest).hash(tape);
        for data in [Some(&redis.data), self.snapshot.as_ref()] {
            let lock = data.and_then(|data| data.lock.as_ref());
            lock.map(|(holder, expires)| (holder, expires + STORE))
                .hash(tape);
        }
        if let Some(data) = &self.snapshot {
            data.stored.as_ref().map(ToString::to_string).hash(tape);
        }
    }
}

/// A message: whether its sender still waits for the answer stands for the ids.
struct OnItsWay<'a>(&'a World, &'a Message);

impl Hash for OnItsWay<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self(world, message) = self;
        let agent = &world.agents[message.agent];
        let awaited = match &message.what {
            What::Request { id, .. } | What::Reply { id, .. } => {
                message.process == agent.process && agent.waiting.is_some_and(|it| it.0 == *id)
            }
            What::Heard(_) => true,
        };
        let sender = nonce(message.agent, 0);
        (sender, awaited, message.held, message.lost_at).hash(state);
        message.what.hash(state);
    }
}

/// Every order of these agents in which what they look like grows.
fn orders(left: &[(u64, usize)], before: Vec<usize>) -> Vec<Vec<usize>> {
    let Some((first, _)) = left.first() else {
        return vec![before];
    };
    let alike = left.iter().take_while(|(look, _)| look == first);
    let chosen = alike.flat_map(|(_, chosen)| {
        let rest = left.iter().filter(|(_, index)| index != chosen);
        let before = [before.as_slice(), &[*chosen]].concat();
        orders(&rest.copied().collect::<Vec<_>>(), before)
    });
    chosen.collect()
}
