//! Sentinels, or the nodes of a cluster: three voices that say where the primary is. One learns of a failover at
//! once, the others later, and the old primary still takes writes.

use super::agenda::Step;
use super::clock::S;
use super::redis::{Data, Redis};
use super::safeguard::Safeguard;
use super::world::World;

#[derive(Default)]
pub struct Voices {
    /// The present primary's number, and what each of them knows of it.
    pub epoch: u64,
    known: [u64; 3],
    /// The previous primary, if it still runs.
    pub former: Option<Redis>,
}

impl Voices {
    /// Whether some do not know of the new primary yet, and the old one may hold the lock.
    pub fn disagree(&self) -> bool {
        self.known.iter().any(|it| *it != self.epoch)
    }
}

impl World {
    /// The number of the primary that an agent finds now: more than half must name it.
    pub fn located(&mut self) -> Option<u64> {
        let mut named = Vec::new();
        for voice in 0..3 {
            if self.healed || self.dice.chance(85) {
                named.push(self.voices.known[voice]);
            }
        }
        let needed = match self.without {
            Some(Safeguard::Majority) => 1,
            _ => 2,
        };
        let votes = |epoch: u64| named.iter().filter(|it| **it == epoch).count();
        named.iter().copied().find(|epoch| votes(*epoch) >= needed)
    }

    /// Runs `work` on the primary of that number, if it is still there.
    pub fn on_primary<T>(&mut self, epoch: u64, work: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if epoch == self.voices.epoch {
            return Some(work(self));
        }
        if epoch + 1 != self.voices.epoch {
            return None;
        }
        let former = self.voices.former.take()?;
        let present = std::mem::replace(&mut self.redis, former);
        let done = work(self);
        self.voices.former = Some(std::mem::replace(&mut self.redis, present));
        Some(done)
    }

    /// A replica is promoted while the old primary keeps running.
    pub fn failover(&mut self) -> Option<&'static str> {
        self.say(|| "failover: a replica is promoted, and the old primary lives on".into());
        let former = self.redis.clone();
        let data: Data = self.replica.clone();
        self.promote(data);
        self.voices.former = Some(former);
        self.voices.epoch += 1;
        let epoch = self.voices.epoch;
        let first = self.dice.below(3) as usize;
        for voice in 0..3 {
            let at = match voice == first {
                true => self.now,
                false => self.now + self.dice.below(6 * S),
            };
            self.after(at, Step::Learn { voice, epoch });
        }
        Some("failover, the old primary alive")
    }

    pub fn learn(&mut self, voice: usize, epoch: u64) {
        let known = &mut self.voices.known[voice];
        *known = epoch.max(*known);
        // Until now the lock may have been held on the old primary.
        self.lock_lost_at = Some(self.now);
        // Subscribers of the old primary are told.
        for index in 0..self.agents.len() {
            self.resubscribe(index);
        }
    }

    /// The old primary is gone, and everybody knows the new one.
    pub fn settle_voices(&mut self) {
        self.voices.former = None;
        self.voices.known = [self.voices.epoch; 3];
    }
}
