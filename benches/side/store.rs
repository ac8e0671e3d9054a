//! What one script costs Redis, measured by its process' CPU time, compared with a plain GET and PEXPIRE.

use std::time::Duration;

use benches::figures::Table;
use stage::cost::used;
use stage::{Redis, Session};
use understudy::clock::boottime;
use understudy::config::RedisArgs;
use understudy::election::{Claimant, Command, Outcome, Stamp, Token};
use understudy::store::Store;

use crate::calls::runtime;

const TTL: Duration = Duration::from_secs(30);
const TIMES: usize = 2000;
/// Later than any clock will show.
const LATER: u64 = 1 << 52;
const LOCK: &str = "ha:miner:global_leader";

pub fn scripts(table: &mut Table, rounds: usize) {
    let redis = Redis::start();
    let (mut looks, mut renewals, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    let mut session = Session::open(redis.port, TTL).expect("Redis answers");
    let runtime = runtime();
    let args = RedisArgs {
        redis_url: Some(redis.url()),
        ..RedisArgs::default()
    };
    let mut store = Store::new(&args.check().expect("settings"));
    let mut run = |command: &Command| {
        let reply = runtime.block_on(store.execute(command, boottime() + TTL));
        reply.unwrap_or_else(|error| panic!("{command:?}: {error}"))
    };
    let by = |attempt| Claimant {
        holder: "bench".into(),
        ttl: TTL,
        stamp: Stamp {
            process: 1,
            attempt,
        },
    };
    let judged = run(&Command::Look { entry: None }).view.judged;
    let begun = run(&Command::Begin {
        judged,
        stale_lock: false,
        above: Token::default(),
        not_after: LATER,
        under_oom: true,
        allow_eviction: false,
        by: by(0),
        entry: None,
    });
    let Outcome::Begun(token) = begun.outcome else {
        panic!("no term was begun: {begun:?}");
    };
    for _ in 0..rounds {
        looks.push(each(&redis, |_| {
            run(&Command::Look { entry: None });
        }));
        renewals.push(each(&redis, |attempt| {
            run(&Command::Renew {
                token,
                not_after: LATER,
                by: by(attempt),
                entry: None,
            });
        }));
        plain.push(each(&redis, |_| {
            session.ask(&["GET", LOCK]).expect("Redis answers");
            session
                .ask(&["PEXPIRE", LOCK, "30000"])
                .expect("Redis answers");
        }));
    }
    let least = Some(plain);
    table.row(
        "Redis' CPU for a renewal, µs; at least: GET, PEXPIRE",
        &[Some(renewals), None, least.clone()],
    );
    table.row(
        "Redis' CPU for a look, µs; at least: the same",
        &[Some(looks), None, least],
    );
}

/// Microseconds of Redis' time per operation.
fn each(redis: &Redis, mut act: impl FnMut(u64)) -> f64 {
    let (before, _) = used(redis.pid());
    (0..TIMES as u64).for_each(&mut act);
    let (after, _) = used(redis.pid());
    (after - before).as_secs_f64() * 1e6 / TIMES as f64
}
