//! One candidate for one lock, which runs the program's own scripts through the program's own store.

use std::time::Duration;

use stage::Redis;
use understudy::clock::boottime;
use understudy::config::RedisArgs;
use understudy::election::{Claimant, Command, Entry, Member, Outcome, Stamp, Successor, Token};
use understudy::store::Store;

const TTL: Duration = Duration::from_secs(30);
/// Later than any clock will show.
const LATER: u64 = 1 << 52;

/// The scripts, in an order in which each can follow the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Begin,
    Renew,
    Look,
    Release,
}

pub struct Term {
    store: Store,
    entry: Option<Entry>,
    /// What the next begin is judged on.
    judged: String,
    token: Token,
    attempts: u64,
}

impl Term {
    /// Nothing has begun yet. `entry`: it keeps one among the members.
    ///
    /// # Panics
    /// `lock` is not a lock's name.
    #[must_use]
    pub fn of(redis: &Redis, lock: &str, entry: bool) -> Self {
        let args = RedisArgs {
            redis_url: Some(redis.url()),
            lock_key: Some(lock.into()),
            ..RedisArgs::default()
        };
        let settings = args.check().unwrap_or_else(|error| panic!("{error}"));
        let member = Member {
            holder: "bench".into(),
            ready: true,
            started: 1_700_000_000,
            version: understudy::VERSION.into(),
            instance: "bench".into(),
        };
        Self {
            store: Store::new(&settings),
            entry: entry.then_some(Entry { member, lives: TTL }),
            judged: String::new(),
            token: 0,
            attempts: 0,
        }
    }

    /// # Panics
    /// Redis did something else.
    pub async fn run(&mut self, act: Act) {
        let command = self.command(act);
        let reply = self.store.execute(&command, boottime() + TTL).await;
        let answer = reply.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        match (act, answer.outcome) {
            (Act::Begin, Outcome::Begun(token)) => self.token = token,
            (Act::Renew, Outcome::Renewed)
            | (Act::Look, Outcome::Looked)
            | (Act::Release, Outcome::Released) => {}
            (_, other) => panic!("{command:?}: {other:?}"),
        }
        self.judged = answer.view.judged;
    }

    fn command(&mut self, act: Act) -> Command {
        self.attempts += 1;
        let (token, entry, not_after) = (self.token, self.entry.clone(), LATER);
        let by = Claimant {
            holder: "bench".into(),
            ttl: TTL,
            stamp: Stamp {
                process: 1,
                attempt: self.attempts,
            },
        };
        match act {
            Act::Look => Command::Look { entry },
            Act::Begin => Command::Begin {
                by,
                judged: self.judged.clone(),
                stale_lock: false,
                above: 0,
                not_after,
                under_oom: true,
                allow_eviction: false,
                entry,
            },
            Act::Renew => Command::Renew {
                by,
                token,
                kept: None,
                not_after,
                entry,
            },
            Act::Release => Command::Release {
                by,
                token,
                not_after,
                hold_off: Duration::ZERO,
                successor: Successor::Anyone,
            },
        }
    }
}
