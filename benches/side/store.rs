//! What one script costs Redis, measured by its process' CPU time, compared with a plain GET and PEXPIRE.

use std::time::Duration;

use benches::figures::Table;
use benches::term::{Act, Term};
use stage::cost::used;
use stage::{Redis, Session};

use crate::calls::runtime;

const PATIENCE: Duration = Duration::from_secs(30);
const TIMES: usize = 2000;
const LOCK: &str = "ha:miner:global_leader";

pub fn scripts(table: &mut Table, rounds: usize) {
    let redis = Redis::start();
    let (mut looks, mut renewals, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    let mut session = Session::open(redis.port, PATIENCE).expect("Redis answers");
    let runtime = runtime();
    let mut term = Term::of(&redis, LOCK, false);
    let mut run = |act| runtime.block_on(term.run(act));
    run(Act::Look);
    run(Act::Begin);
    for _ in 0..rounds {
        looks.push(each(&redis, || run(Act::Look)));
        renewals.push(each(&redis, || run(Act::Renew)));
        plain.push(each(&redis, || {
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
fn each(redis: &Redis, mut act: impl FnMut()) -> f64 {
    let (before, _) = used(redis.pid());
    (0..TIMES).for_each(|_| act());
    let (after, _) = used(redis.pid());
    (after - before).as_secs_f64() * 1e6 / TIMES as f64
}
