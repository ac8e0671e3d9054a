//! The events channel: messages are lost or late, come from another fleet, or are forged.

use understudy::election::{Announcement, Command, Happened, Reply};

use super::agenda::Step;
use super::clock::{MS, S};
use super::safeguard::Safeguard;
use super::scene::Stranger;
use super::world::World;

/// The separator before what is added to the judged text, if announcements are believed.
const BELIEVED: &str = " announced ";

impl World {
    /// A term of this lock is announced, or, without a token, one of another fleet's.
    pub fn publish(&mut self, what: Option<Announcement>) {
        self.announced += 1;
        let what = what.map(Box::new);
        for agent in 0..self.agents.len() {
            let late = !self.healed && self.dice.chance(5);
            let longest = if late { 6 * S } else { 2 * MS };
            if self.healed || !self.dice.chance(10) {
                let at = self.now + self.dice.below(longest);
                let what = what.clone();
                self.after(at, Step::Heard { agent, what });
            }
        }
    }

    pub fn heard(&mut self, agent: usize, what: Option<Box<Announcement>>) {
        if !self.agents[agent].hears {
            return;
        }
        // Nothing contradicts a late or a forged one over an empty store: a limit.
        if self.healed && what.is_some() && self.redis.data.stored.is_none() {
            self.calm_since = self.now;
        }
        let what = what.map(|it| *it);
        self.turn(agent, |election, now| election.handle_heard(what, now));
    }

    /// Somebody else publishes on the channel repeatedly, and does not stop with the last fault.
    pub fn stranger(&mut self, stranger: Stranger) {
        let every = match stranger {
            Stranger::OtherFleet { every } => {
                self.publish(None);
                every
            }
            Stranger::Forger { every } => {
                // A forged one over an empty store is a limit.
                if self.redis.data.stored.is_some() {
                    let forged = self.forged();
                    self.publish(Some(forged));
                }
                every
            }
        };
        self.after(self.now + every, Step::Stranger(stranger));
    }

    /// A release that was, said again; one that was not, of what really stands there; or of nothing.
    fn forged(&mut self) -> Announcement {
        let forged = Announcement {
            happened: Happened::Released,
            holder: "forger".into(),
            token: self.dice.roll() >> 11,
            basis: None,
        };
        match self.dice.below(3) {
            0 => self.released.clone().unwrap_or(forged),
            1 => Announcement {
                basis: self.redis.basis(),
                ..forged
            },
            _ => forged,
        }
    }

    /// Takes "the record decides" away: whatever is announced counts as a change that was seen.
    pub fn believe_announcements(&self, reply: &mut Reply) {
        if self.without == Some(Safeguard::EventsAreHints)
            && let Ok(answer) = reply
        {
            let announced = format!("{BELIEVED}{}", self.announced);
            answer.view.judged.push_str(&announced);
        }
    }

    /// The script compares what is in the store.
    pub fn without_announcements(&self, command: &mut Command) {
        if let Command::Begin { judged, .. } = command
            && let Some(at) = judged.find(BELIEVED)
        {
            judged.truncate(at);
        }
    }
}
