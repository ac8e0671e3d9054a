//! Compares the simulation's modelled Redis with a real one: the same random commands, every reply and every
//! key. What the simulation shows for the model then also holds for the scripts.

#[path = "../simulation/members.rs"]
mod members;
#[allow(dead_code, reason = "the simulation uses more of it")]
#[path = "../simulation/redis.rs"]
mod redis;
#[allow(dead_code, reason = "the simulation switches them off")]
#[path = "../simulation/safeguard.rs"]
mod safeguard;
#[allow(dead_code, reason = "the simulation uses more of it")]
#[path = "../simulation/shown.rs"]
mod shown;
use std::path::Path;
use std::time::Duration;

use self::redis::{Data, Memory};
use stage::{Redis, engines};
use understudy::clock::boottime;
use understudy::config::RedisArgs;
use understudy::election::{
    Answer, Claimant, Command, Entry, Listed, Member, Outcome, Record, RecordSeen, Stamp,
    Successor, Token, View,
};
use understudy::endpoint::RedisSettings;
use understudy::fault::StoreFault;
use understudy::store::{OomRung, Store};

const TTL: Duration = Duration::from_secs(60);
const LOCK: &str = "ha:miner:global_leader";
const RECORD: &str = "{ha:miner:global_leader}:record";
const MEMBERS: &str = "{ha:miner:global_leader}:members";
const HOLDERS: [&str; 3] = ["a-1", "b-2", "OOM-3"];
/// Later than either clock will show.
const LATER: u64 = 1 << 52;

fn settings(redis: &Redis) -> RedisSettings {
    let args = RedisArgs {
        redis_url: Some(redis.url()),
        ..RedisArgs::default()
    };
    args.check().expect("settings")
}

fn store(redis: &Redis) -> Store {
    Store::new(&settings(redis))
}

fn claimant(holder: &str, stamp: Stamp) -> Claimant {
    Claimant {
        holder: holder.into(),
        ttl: TTL,
        stamp,
    }
}

const LOOK: Command = Command::Look { entry: None };

async fn run(store: &mut Store, command: &Command) -> Answer {
    let reply = store
        .execute(command, boottime() + Duration::from_secs(5))
        .await;
    reply.unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// A real Redis and its model, side by side.
struct Twins {
    redis: Redis,
    stores: Vec<Store>,
    model: redis::Redis,
    /// What each has returned as `judged`: the last few, so that stale ones are tried too.
    judged: Vec<(String, String)>,
    tokens: Vec<Token>,
    dice: u64,
}

impl Twins {
    fn roll(&mut self, sides: usize) -> usize {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) as usize % sides
    }

    fn token(&mut self) -> Token {
        let pick = self.roll(self.tokens.len().min(4));
        self.tokens[self.tokens.len() - 1 - pick]
    }

    /// The same command for both, except for their own `judged`.
    fn command(&mut self, holder: &str) -> (Command, Command) {
        let not_after = if self.roll(8) == 0 { 1 } else { LATER };
        let both = |command: Command| (command.clone(), command);
        // Only a few, so that an earlier value is written again.
        let stamp = Stamp {
            process: self.roll(2) as u64,
            attempt: self.roll(2) as u64,
        };
        let by = claimant(holder, stamp);
        let entry = self.entry(holder);
        match self.roll(6) {
            0 => both(Command::Look { entry }),
            1 | 2 => {
                let back = self.roll(self.judged.len().min(3));
                let (real, modelled) = self.judged[self.judged.len() - 1 - back].clone();
                let (stale_lock, above) = (self.roll(2) == 0, self.token());
                let under_oom = self.roll(4) > 0;
                let allow_eviction = self.roll(4) > 0;
                let begin = |judged| Command::Begin {
                    by: by.clone(),
                    judged,
                    stale_lock,
                    above,
                    not_after,
                    under_oom,
                    allow_eviction,
                    entry: entry.clone(),
                };
                (begin(real), begin(modelled))
            }
            3 | 4 => {
                let back = self.roll(self.judged.len().min(3));
                let (real, modelled) = self.judged[self.judged.len() - 1 - back].clone();
                let (token, keeps) = (self.token(), self.roll(2) == 0);
                let renew = |judged| Command::Renew {
                    by: by.clone(),
                    token,
                    kept: keeps.then_some(judged),
                    not_after,
                    entry: entry.clone(),
                };
                (renew(real), renew(modelled))
            }
            _ => both(Command::Release {
                by,
                token: self.token(),
                not_after,
                hold_off: Duration::ZERO,
                successor: match self.roll(3) {
                    0 => Successor::Anyone,
                    1 => Successor::Named(HOLDERS[0].into()),
                    _ => Successor::Youngest,
                },
            }),
        }
    }

    /// Some agents read the members, some are members, and some no longer are.
    fn entry(&mut self, holder: &str) -> Option<Entry> {
        let lives = [0, 1, 60_000, 60_000][self.roll(4)];
        let member = Member {
            holder: holder.into(),
            ready: self.roll(3) > 0,
            started: 1_700_000_000 + self.roll(3) as u64,
            version: "1.0.0".into(),
            instance: holder[..1].into(),
        };
        let lives = Duration::from_millis(lives);
        Some(Entry { member, lives }).filter(|_| self.roll(4) > 0)
    }

    /// What else happens to both.
    fn befall(&mut self) {
        let case = self.roll(20);
        // Refused out of memory, or by a replica, as any client is.
        let done = |words: &[&str]| !self.redis.tell(words).starts_with('-');
        let data = &mut self.model.data;
        match case {
            0 if done(&["FLUSHALL"]) => {
                *data = Data::default();
                self.model.members.clear();
            }
            1 if done(&["DEL", LOCK]) => {
                (data.lock, data.another_type) = (None, false);
            }
            2 if done(&["SET", LOCK, "host-1", "EX", "60"]) => {
                data.lock = Some(("host-1".into(), u64::MAX));
                data.another_type = false;
            }
            3 if done(&["DEL", RECORD]) => {
                data.stored = None;
            }
            4 => {
                self.redis.tell(&["SCRIPT", "FLUSH"]);
            }
            5 => {
                self.redis
                    .tell(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
                self.redis.tell(&["CONFIG", "SET", "maxmemory", "1"]);
                self.model.memory = Memory::Full;
            }
            6 | 12 => {
                self.redis.relieve();
                self.model.memory = Memory::Enough;
            }
            7 if done(&["DEL", LOCK]) => {
                (data.lock, data.another_type) = (None, done(&["LPUSH", LOCK, "x"]));
            }
            8 => {
                // A replica of a dead address refuses writes, until it is promoted again.
                self.redis.tell(&["REPLICAOF", "127.0.0.1", "1"]);
                self.model.refuses = Some("READONLY You can't write against a read only replica.");
            }
            9 | 10 if self.model.refuses.is_some() => {
                self.redis.tell(&["REPLICAOF", "NO", "ONE"]);
                self.model.refuses = None;
                self.model.generation += 1;
                self.model.promoted = true;
            }
            11 => {
                // In this order nothing is evicted.
                self.redis.tell(&["CONFIG", "SET", "maxmemory", "1gb"]);
                let policy = ["CONFIG", "SET", "maxmemory-policy", "volatile-lru"];
                self.redis.tell(&policy);
                self.model.memory = Memory::Evicting { all: false };
            }
            _ => {}
        }
    }

    async fn step(&mut self) {
        let holder = self.roll(HOLDERS.len());
        let (real, modelled) = self.command(HOLDERS[holder]);
        let deadline = boottime() + Duration::from_secs(5);
        let reply = self.stores[holder].execute(&real, deadline).await;
        // The model runs at the time at which the script ran.
        if let Ok(answer) = &reply {
            self.model.ahead += answer.view.store_micros as i64 - self.model.clock(0) as i64;
        }
        let expected = self.model.execute(&modelled, 0);
        let case = format!("{} {real:?}", HOLDERS[holder]);
        match (reply, expected) {
            (Ok(answer), Ok(expected)) => self.compare(answer, expected, &case),
            (Err(error), Err(expected)) => assert_eq!(error.fault, expected.fault, "{case}"),
            (reply, expected) => panic!("{case}: {reply:?}, and by the model {expected:?}"),
        }
        self.compare_keys(&case);
    }

    fn compare(&mut self, answer: Answer, expected: Answer, case: &str) {
        assert_eq!(answer.outcome, expected.outcome, "{case}");
        let holder_of = |answer: &Answer| answer.view.lock.as_ref().map(|lock| lock.holder.clone());
        assert_eq!(holder_of(&answer), holder_of(&expected), "{case}");
        match (&answer.view.record, &expected.view.record) {
            (RecordSeen::Known(real), RecordSeen::Known(modelled)) => {
                let of = |it: &Record| {
                    let Record {
                        holder, successor, ..
                    } = it.clone();
                    (holder, successor, it.token, it.ttl, it.released)
                };
                assert_eq!(of(real), of(modelled), "{case}");
                let current = |view: &View, record: &Record| view.generation == record.generation;
                assert_eq!(
                    current(&answer.view, real),
                    current(&expected.view, modelled),
                    "{case}"
                );
            }
            (real, modelled) => assert_eq!(real, modelled, "{case}"),
        }
        let seen = |view: &View| {
            let memory = view.memory.as_ref();
            let told = memory.map(|it| (it.out_of_memory(), it.evicting()));
            (view.promoted, told)
        };
        assert_eq!(seen(&answer.view), seen(&expected.view), "{case}");
        let members = |view: &View| {
            let mut members = view.members.clone();
            members.sort_by(|a: &Listed, b| a.member.holder.cmp(&b.member.holder));
            members
        };
        assert_eq!(members(&answer.view), members(&expected.view), "{case}");
        // `judged` changes exactly when it does in the model.
        let (last_real, last_modelled) = self.judged.last().expect("one");
        let changed = (
            *last_real != answer.view.judged,
            *last_modelled != expected.view.judged,
        );
        assert_eq!(changed.0, changed.1, "{case}");
        if let Outcome::Begun(token) = answer.outcome {
            self.tokens.push(token);
        }
        self.judged.push((answer.view.judged, expected.view.judged));
    }

    /// The data in Redis, read without a script.
    fn compare_keys(&self, case: &str) {
        let data = &self.model.data;
        let types = [LOCK, RECORD].map(|key| self.redis.tell(&["TYPE", key]));
        let lock = match (&data.lock, data.another_type) {
            (_, true) => "+list",
            (Some(_), false) => "+string",
            (None, false) => "+none",
        };
        let record = data.stored.as_ref().map_or("+none", |_| "+hash");
        assert_eq!(types, [lock, record], "{case}");
        if let Some(stored) = &data.stored {
            let field = |name| self.redis.tell(&["HGET", RECORD, name]);
            assert_eq!(field("deadline"), stored.deadline.to_string(), "{case}");
            assert_eq!(field("schema"), "1", "{case}");
            let process = format!("{:016x}", stored.stamp.process);
            assert_eq!(field("process"), process, "{case}");
            let attempt = stored.stamp.attempt.to_string();
            assert_eq!(field("attempt"), attempt, "{case}");
            assert_eq!(self.redis.tell(&["TTL", RECORD]), ":-1", "{case}");
        }
        for holder in HOLDERS {
            let entry = self.redis.tell(&["HGET", MEMBERS, holder]);
            let expected = self.model.members.get(holder).map_or("$-1", |it| it);
            assert_eq!(entry, expected, "{case}");
        }
        if let Some((_, expires)) = data.lock.as_ref().filter(|it| it.1 < u64::MAX) {
            let left = self.redis.tell(&["PTTL", LOCK]);
            let left: i64 = left.trim_start_matches(':').parse().expect("a number");
            let expected = (*expires - self.model.clock(0)) as i64 / 1000;
            // Time has passed since, within the script too, and a replica expires nothing.
            let near = (expected - left) < 5000 && left <= expected + 1000;
            assert!(near, "{case}: {left} ms are left, by the model {expected}");
        }
    }
}

/// Every engine that the project is tested on.
#[tokio::test]
async fn the_model_does_what_the_scripts_do() {
    for engine in engines() {
        for seed in 1..=8 {
            println!("{} seed {seed}", engine.display());
            run_both(&engine, seed).await;
        }
    }
}

async fn run_both(engine: &Path, seed: u64) {
    let redis = Redis::of(engine, &[]);
    let mut stores: Vec<Store> = HOLDERS.iter().map(|_| store(&redis)).collect();
    let first = run(&mut stores[0], &LOOK).await.view.judged;
    let mut model = redis::Redis::new(Duration::ZERO);
    let modelled = model.execute(&LOOK, 0);
    let modelled = modelled.expect("an answer").view.judged;
    let judged = vec![(first, modelled)];
    let mut twins = Twins {
        redis,
        stores,
        model,
        judged,
        tokens: vec![0],
        dice: seed,
    };
    for _ in 0..400 {
        twins.befall();
        twins.step().await;
    }
    assert!(
        twins.tokens.len() > 10,
        "seed {seed}: only {} terms",
        twins.tokens.len()
    );
}

#[tokio::test]
async fn a_restart_is_another_generation() {
    let mut redis = Redis::start();
    let mut store = store(&redis);
    let before = run(&mut store, &LOOK).await.view;
    redis.kill();
    redis.start_again();
    let after = loop {
        let reply = store
            .execute(&LOOK, boottime() + Duration::from_secs(1))
            .await;
        if let Ok(answer) = reply {
            break answer.view;
        }
    };
    assert_ne!(before.generation, after.generation);
    assert_ne!(before.judged, after.judged);
    assert!(!after.promoted);
}

#[tokio::test]
async fn a_lock_without_a_ttl_and_one_that_is_no_text_are_seen() {
    let redis = Redis::start();
    let mut store = store(&redis);
    redis.tell(&["SET", LOCK, "host-1"]);
    let lock = run(&mut store, &LOOK).await.view.lock.expect("a lock");
    assert_eq!((lock.holder.as_str(), lock.remaining), ("host-1", None));
}

/// The second rung, if the engine has it: the same script under `#!lua flags=allow-oom`.
#[tokio::test]
async fn without_the_first_rung_redis_refuses_and_with_either_it_does_not() {
    let redis = Redis::start();
    let mut store = store(&redis);
    let judged = run(&mut store, &LOOK).await.view.judged;
    redis.fill();
    let begin = |under_oom| Command::Begin {
        by: claimant(
            "a-1",
            Stamp {
                process: 7,
                attempt: 1,
            },
        ),
        judged: judged.clone(),
        stale_lock: false,
        above: 0,
        not_after: LATER,
        under_oom,
        allow_eviction: false,
        entry: None,
    };
    let deadline = || boottime() + Duration::from_secs(5);
    let refused = store
        .execute(&begin(false), deadline())
        .await
        .expect_err("as a plain SET");
    assert_eq!(refused.fault, StoreFault::OutOfMemory, "{refused}");
    assert_eq!(redis.tell(&["EXISTS", LOCK]), ":0");
    let begun = run(&mut store, &begin(true)).await;
    assert!(matches!(begun.outcome, Outcome::Begun(_)));
    let memory = begun.view.memory.expect("a begin reads it");
    assert!(memory.out_of_memory());
    assert_eq!(store.rung(), OomRung::FirstWrite);
}
