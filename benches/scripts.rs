//! What a script costs Redis: microseconds of execution, as `INFO commandstats` counts them, without the socket.
//! `make bench-scripts ROUNDS=80`, on every engine.
//!
//! In each round every script runs once for each of 60 locks, so that each begin finds its lock free. Then a renewal is
//! cut off after each of its parts in turn, and these run 60 times each.

use std::time::Duration;

use benches::figures::{Figure, Table};
use benches::term::{Act, Term};
use benches::{info, setting};
use stage::cost::Monitor;
use stage::{Redis, Session, engine, engines, wait_for};
use tokio::runtime::Runtime;

const LOCKS: usize = 60;
const LOCK: &str = "lock-0";
const PATIENCE: Duration = Duration::from_secs(30);
const ACTS: [Act; 4] = [Act::Begin, Act::Renew, Act::Look, Act::Release];

/// The script that renews, as the program puts it together.
const RENEW: &str = concat!(
    include_str!("../src/store/view.lua"),
    include_str!("../src/store/members.lua"),
    include_str!("../src/store/answer.lua"),
    include_str!("../src/store/claim.lua")
);

/// The parts of [`RENEW`], and the beginning of the line before which each ends. A look is all but the checks and the
/// writes.
const PARTS: [(&str, &str); 13] = [
    ("names and functions", "local time"),
    ("TIME", "local server"),
    ("INFO server", "local replication"),
    ("INFO replication", "-- A pattern"),
    (
        "run_id, uptime, role and ids in them",
        "-- The lock and how long",
    ),
    ("functions of look, members and answer", "local op"),
    ("GET, PTTL, HMGET", "-- A request"),
    ("the checks of a renewal", "-- The first write"),
    ("PEXPIRE of the lock", "local written"),
    ("HSET of the record", "-- Redis takes nothing"),
    ("PUBLISH", "if ARGV[14]"),
    ("the member's entry, and HGETALL", "return answer(done"),
    ("the reply", ""),
];

fn main() {
    let rounds = setting("ROUNDS", 80);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    println!("microseconds of execution for each call; every run is a batch of {LOCKS}");
    let mut table = Table::new(&["µs"]);
    let others = engines().into_iter().filter(|it| *it != engine());
    for engine in [engine()].into_iter().chain(others) {
        let redis = Redis::of(&engine, &[]);
        let name = name(&stage::version(&engine));
        scripts(&redis, &runtime, rounds, |row, runs| {
            table.row(&format!("{name}: {row}"), &[Some(runs)]);
        });
        parts(&redis, &runtime, rounds, |row, runs| {
            table.row(&format!("{name}: {row}"), &[Some(runs)]);
        });
    }
    table.close("scripts");
}

/// `Redis server v=7.0.15 sha=…` is Redis 7.0.15.
fn name(version: &str) -> String {
    let mut words = version.split_whitespace();
    let engine = words.next().unwrap_or_default();
    let version = words.find_map(|it| it.strip_prefix("v="));
    format!("{engine} {}", version.unwrap_or_default())
}

/// Microseconds for one call of each of these commands, in one batch of them.
fn micros(redis: &Redis, commands: &[&str], batch: impl FnOnce()) -> f64 {
    redis.tell(&["CONFIG", "RESETSTAT"]);
    batch();
    let each = |command: &&str| {
        let (calls, micros) = info::calls(redis, command);
        micros / calls
    };
    commands.iter().map(each).sum()
}

fn scripts(redis: &Redis, runtime: &Runtime, rounds: usize, mut tell: impl FnMut(&str, Vec<f64>)) {
    let mut session = Session::open(redis.port, PATIENCE).expect("Redis answers");
    let mut runs = vec![Vec::new(); 2 * ACTS.len() + 1];
    let mut kinds = [false, true].map(|entry| {
        let term = |it| Term::of(redis, &format!("lock-{it}"), entry);
        (0..LOCKS).map(term).collect::<Vec<_>>()
    });
    // The first round also connects, and teaches Redis the scripts.
    for round in 0..=rounds {
        let mut took = Vec::new();
        for terms in &mut kinds {
            run_all(runtime, terms, Act::Look);
            took.extend(
                ACTS.map(|act| micros(redis, &["evalsha"], || run_all(runtime, terms, act))),
            );
        }
        took.push(micros(redis, &["get", "pexpire"], || {
            for _ in 0..LOCKS {
                session.ask(&["GET", LOCK]).expect("Redis answers");
                let pexpire = ["PEXPIRE", LOCK, "30000"];
                session.ask(&pexpire).expect("Redis answers");
            }
        }));
        if round > 0 {
            runs.iter_mut()
                .zip(took)
                .for_each(|(runs, it)| runs.push(it));
        }
    }
    let members = ["", ", with a member's entry"];
    let names = members.map(|entry| ACTS.map(|act| format!("{act:?}{entry}").to_lowercase()));
    let plain = "a plain GET and PEXPIRE".to_owned();
    let names = names.into_iter().flatten().chain([plain]);
    names.zip(runs).for_each(|(name, runs)| tell(&name, runs));
}

fn run_all(runtime: &Runtime, terms: &mut [Term], act: Act) {
    runtime.block_on(async {
        for term in terms {
            term.run(act).await;
        }
    });
}

fn parts(redis: &Redis, runtime: &Runtime, rounds: usize, mut tell: impl FnMut(&str, Vec<f64>)) {
    let mut session = Session::open(redis.port, PATIENCE).expect("Redis answers");
    let mut call = renewal(redis, runtime);
    let cut = |(_, end): &(&str, &'static str)| match *end {
        "" => RENEW,
        end => {
            let at = RENEW.find(&format!("\n{end}"));
            let at = at.unwrap_or_else(|| panic!("no line of the script begins with {end}"));
            &RENEW[..=at]
        }
    };
    let texts = [""].into_iter().chain(PARTS.iter().map(cut));
    let mut load = |text: &str| {
        let hash = session.ask(&["SCRIPT", "LOAD", text]);
        hash.expect("Redis answers")
    };
    let hashes: Vec<_> = texts.map(&mut load).collect();
    assert_eq!(
        hashes.last(),
        Some(&call[0]),
        "the program runs this script"
    );
    let mut runs = vec![Vec::new(); hashes.len()];
    for _ in 0..rounds {
        for (runs, hash) in runs.iter_mut().zip(&hashes) {
            call[0].clone_from(hash);
            let words: Vec<_> = ["EVALSHA"]
                .into_iter()
                .chain(call.iter().map(String::as_str))
                .collect();
            runs.push(micros(redis, &["evalsha"], || {
                for _ in 0..LOCKS {
                    session.ask(&words).expect("Redis answers");
                }
            }));
        }
    }
    let least: Vec<_> = runs.iter().map(|it| Figure::of(it.clone()).at(0)).collect();
    tell("an empty script", runs.swap_remove(0));
    // Of two medians the noise would often be greater than the part between them.
    for ((name, _), both) in PARTS.iter().zip(least.windows(2)) {
        tell(&format!("of a renewal, {name}"), vec![both[1] - both[0]]);
    }
}

/// The arguments of a renewal with a member's entry, as the program sends it.
fn renewal(redis: &Redis, runtime: &Runtime) -> Vec<String> {
    let monitor = Monitor::start(redis);
    let mut term = [Term::of(redis, LOCK, true)];
    for act in [Act::Look, Act::Begin, Act::Renew] {
        run_all(runtime, &mut term, act);
    }
    wait_for("MONITOR shows the renewal", PATIENCE, || {
        let sent = monitor.take();
        let found = sent
            .iter()
            .map(|it| it.words())
            .find(|it| it.contains(&"renew"))?;
        Some(found.into_iter().map(String::from).collect())
    })
}
