//! Understudy, a Go sidecar with the same API, and the least possible cost, in alternating turns: on the same core, on
//! another core, and not pinned. `make bench ROUNDS=5`
//!
//! The Go sidecar has none of understudy's safeguards: it shows what the languages and libraries cost.

mod calls;
mod clients;
mod sides;
mod store;

use std::time::{Duration, Instant};

use benches::figures::Table;
use benches::pin::Place;
use benches::setting;
use calls::Caller;
use clients::Beats;
use sides::{Bare, Scraper, Side, Sides};
use stage::Session;
use stage::cost::{Monitor, connections, status, used};

const CALLS: usize = 3000;
const IDLE: Duration = Duration::from_secs(10);
const IN_FLIGHT: usize = 64;

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    if let [_, bare, socket] = &arguments[..]
        && bare == "bare-h2"
    {
        return calls::serve_bare(socket);
    }
    let rounds = setting("ROUNDS", 5);
    let sides = Sides::start();
    let mut table = Table::new(&["understudy", "Go sidecar", "at least"]);
    latency(&mut table, &sides, rounds);
    calls_cpu(&mut table, &sides, rounds);
    scrapes(&mut table, &sides, rounds);
    clients::is_leader(&mut table, &sides.ours[0], rounds);
    store::scripts(&mut table, rounds);
    let miners = [&sides.ours[0], &sides.peers[0]].map(Beats::leading);
    let standby = Beats::start(&sides.ours[1]);
    idle(&mut table, &sides, rounds.min(3));
    on_redis(&mut table, &sides);
    drop((miners, standby));
    starts(&mut table, rounds);
    size(&mut table, &sides);
    table.close("bench");
}

/// One measurement of each kind in turn, `rounds` times.
fn turns<const N: usize>(
    rounds: usize,
    mut measure: [&mut dyn FnMut() -> f64; N],
) -> Vec<Option<Vec<f64>>> {
    let mut runs = vec![Vec::new(); N];
    for _ in 0..rounds {
        for (runs, measure) in runs.iter_mut().zip(&mut measure) {
            runs.push(measure());
        }
    }
    runs.into_iter().map(Some).collect()
}

/// Microseconds of one call, at these percentiles.
fn percentiles(mut call: impl FnMut()) -> [f64; 2] {
    let mut took: Vec<_> = (0..CALLS)
        .map(|_| {
            let began = Instant::now();
            call();
            began.elapsed()
        })
        .collect();
    took.sort();
    [50, 99].map(|percent| took[CALLS * percent / 100 - 1].as_secs_f64() * 1e6)
}

fn latency(table: &mut Table, sides: &Sides, rounds: usize) {
    for place in Place::ALL {
        let (mut p50, mut p99) = (vec![Vec::new(); 4], vec![Vec::new(); 4]);
        for _ in 0..rounds {
            for (at, side) in sides.servers().enumerate() {
                place.pin(side.pid);
                let mut caller = Caller::open(&side.socket);
                let [middle, tail] = percentiles(|| caller.call());
                p50[at].push(middle);
                p99[at].push(tail);
            }
            place.pin(sides.redis.pid());
            let patience = Duration::from_secs(10);
            let mut session = Session::open(sides.redis.port, patience).expect("Redis answers");
            let [middle, tail] = percentiles(|| {
                session.ask(&["GET", "nothing"]).expect("Redis answers");
            });
            p50[3].push(middle);
            p99[3].push(tail);
        }
        let name = place.name();
        let cells = |runs: &[Vec<f64>]| [0, 1, 2].map(|at| Some(runs[at].clone()));
        table.row(
            &format!("GetLeadership, unix socket, p50 µs, {name}"),
            &cells(&p50),
        );
        table.tail(
            &format!("GetLeadership, unix socket, p99 µs, {name}"),
            &cells(&p99),
        );
        table.row(
            &format!("redis GET, TCP, p50 µs, {name}"),
            &[None, None, Some(p50[3].clone())],
        );
    }
    sides.servers().for_each(|side| Place::Free.pin(side.pid));
    Place::Free.pin(sides.redis.pid());
}

/// The server's processor time per call, with many in flight.
fn calls_cpu(table: &mut Table, sides: &Sides, rounds: usize) {
    let calls = setting("CALLS", 200_000) / rounds;
    let each = |side: &Side| {
        let mut caller = Caller::open(&side.socket);
        per(side.pid, calls, || caller.many(calls, IN_FLIGHT))
    };
    let servers: Vec<_> = sides.servers().collect();
    let [ours, peer, bare] = [0, 1, 2].map(|at| move |servers: &[&Side]| each(servers[at]));
    let cells = turns(
        rounds,
        [&mut || ours(&servers), &mut || peer(&servers), &mut || {
            bare(&servers)
        }],
    );
    table.row("server CPU a call, 64 in flight, µs", &cells);
}

/// Microseconds of a process' time per operation.
fn per(pid: u32, times: usize, act: impl FnOnce()) -> f64 {
    let (before, _) = used(pid);
    act();
    let (after, _) = used(pid);
    (after - before).as_secs_f64() * 1e6 / times as f64
}

fn scrapes(table: &mut Table, sides: &Sides, rounds: usize) {
    let times = 200;
    let scrape = |side: &Side| per(side.pid, times, || (0..times).for_each(|_| side.scrape()));
    let (ours, peer) = (&sides.ours[0], &sides.peers[0]);
    let cells = turns(rounds, [&mut || scrape(ours), &mut || scrape(peer)]);
    table.row("scrape, its connection included, CPU µs", &cells);
    let scrape = |side: &Side| {
        let mut connection = Scraper::open(side);
        per(side.pid, times, || {
            (0..times).for_each(|_| connection.scrape());
        })
    };
    let cells = turns(rounds, [&mut || scrape(ours), &mut || scrape(peer)]);
    table.row("scrape on a connection that is kept, CPU µs", &cells);
    let resident = |side: &Side| Some(vec![status(side.pid, "VmRSS") as f64 / 1024.0]);
    table.row(
        "RSS after all these calls and scrapes, MiB",
        &[resident(ours), resident(peer)],
    );
}

/// Leaders with only their miners, which beat once a second.
fn idle(table: &mut Table, sides: &Sides, rounds: usize) {
    let (mut cpu, mut woken) = (vec![Vec::new(); 2], vec![Vec::new(); 2]);
    for _ in 0..rounds {
        let both = [&sides.ours[0], &sides.peers[0]];
        let before = both.map(|side| used(side.pid));
        std::thread::sleep(IDLE);
        for (at, side) in both.into_iter().enumerate() {
            let (time, times) = used(side.pid);
            let share = (time - before[at].0).as_secs_f64() / IDLE.as_secs_f64();
            cpu[at].push(share * 100.0);
            woken[at].push((times - before[at].1) as f64 / IDLE.as_secs_f64());
        }
    }
    let cells = |runs: Vec<Vec<f64>>| runs.into_iter().map(Some).collect::<Vec<_>>();
    table.row("idle with a miner, CPU, % of a core", &cells(cpu));
    table.row("idle with a miner, wakeups a second", &cells(woken));
}

/// The commands of a leader and a standby while nobody asks.
fn on_redis(table: &mut Table, sides: &Sides) {
    let monitors = [&sides.redis, &sides.peers_redis].map(Monitor::start);
    let sent = std::thread::scope(|scope| {
        let watched = monitors
            .each_ref()
            .map(|monitor| scope.spawn(|| monitor.during(2 * IDLE)));
        watched.map(|it| it.join().expect("no panic"))
    });
    for (at, role) in ["leader", "standby"].into_iter().enumerate() {
        let both = [
            (&sides.ours[at], &sides.redis),
            (&sides.peers[at], &sides.peers_redis),
        ];
        let ports = both.map(|(side, redis)| connections(side.pid, redis.port));
        let commands = [0, 1].map(|it| {
            let theirs = sent[it]
                .iter()
                .filter(|sent| ports[it].contains(&sent.from));
            Some(vec![theirs.count() as f64 / (2 * IDLE).as_secs_f64()])
        });
        table.row(&format!("commands a second, {role}"), &commands);
        let open = ports.map(|it| Some(vec![it.len() as f64]));
        table.row(&format!("connections, {role}"), &open);
    }
}

/// The time from its start to the first answer, without a Redis.
fn starts(table: &mut Table, rounds: usize) {
    let nobody = format!("redis://127.0.0.1:{}", stage::free_port());
    let start = |kind: fn(&str, &str) -> Side| {
        let began = Instant::now();
        let side = kind("starting", &nobody);
        Caller::open(&side.socket).call();
        let took = began.elapsed().as_secs_f64() * 1e3;
        drop(side);
        took
    };
    let cells = turns(
        4 * rounds,
        [
            &mut || start(Side::ours),
            &mut || start(Side::peer),
            &mut || start(|_, _| Bare::start()),
        ],
    );
    table.row("start to an answer, Redis down, ms", &cells);
}

fn size(table: &mut Table, sides: &Sides) {
    let megabytes = |side: &Side| {
        let bytes = side.program.metadata().expect("the program").len();
        Some(vec![bytes as f64 / 1e6])
    };
    let cells = [megabytes(&sides.ours[0]), megabytes(&sides.peers[0])];
    table.row("the program, MB", &cells);
}
