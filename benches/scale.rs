//! What many agents cost one Redis: real agents in this process, two for each lock, with the default timing.
//! `make bench-scale AGENTS=1000`
//!
//! First the steady state: Redis' share of a core, commands, connections, memory. Then CLIENT KILL of all connections: how
//! long a PING waits, how much memory Redis takes, when all are back, whether a term was lost. Then leaders that stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use benches::figures::Table;
use benches::here::Here;
use benches::{info, setting};
use stage::cost::{Monitor, used};
use stage::{Redis, Session, wait_for};

/// Within this time all locks are held: the wait at an empty Redis, and the start of all agents.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);
/// Rehearsals are a minute apart, and at first all at once.
const SETTLING: Duration = Duration::from_secs(60);
const STEADY: Duration = Duration::from_secs(60);
/// One period of renewals.
const WATCHED: Duration = Duration::from_secs(10);
/// How long the storm may take: a third of the lease.
const BACK_WITHIN: Duration = Duration::from_secs(10);
const STOPS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// The number of locks, and the sum of their tokens, which grows with a lost term.
const LOCKS: &str = "return #redis.call('KEYS', 'scale-*')";
const TOKENS: &str = "local sum = 0
for _, record in ipairs(redis.call('KEYS', '{scale-*}:record')) do
  sum = sum + (tonumber(redis.call('HGET', record, 'token')) or 0)
end
return sum";

/// How many agents listen for events. They dial other connections when they next need them.
const HEARING: &str = "local sum = 0
for _, channel in ipairs(redis.call('PUBSUB', 'CHANNELS')) do
  sum = sum + redis.call('PUBSUB', 'NUMSUB', channel)[2]
end
return sum";

struct Fleet {
    redis: Redis,
    /// The two agents of each lock.
    pairs: Vec<[Here; 2]>,
}

fn main() {
    let agents: usize = setting("AGENTS", 1000);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    raise_files();
    let most = (agents * 8 + 1000).to_string();
    let redis = Redis::with(&["--maxclients", &most]);
    let folder = tempfile::tempdir().expect("a folder");
    let empty = info::number(&redis, "memory", "used_memory");
    println!(
        "{agents} agents, {} locks, {}",
        agents / 2,
        stage::version(&stage::engine()).trim()
    );
    let (started, url) = (Instant::now(), redis.url());
    let pairs = runtime.block_on(async {
        let mut pairs = Vec::new();
        for number in 0..agents / 2 {
            let lock = format!("scale-{number}");
            let start = |half| Here::start(&format!("n{number}{half}"), &lock, &url, folder.path());
            pairs.push(["a", "b"].map(start));
            // The pods of a cluster do not all start at the same moment.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        pairs
    });
    let done = Arc::new(AtomicBool::new(false));
    let fleet = Fleet { redis, pairs };
    let asked = Arc::clone(&done);
    std::thread::scope(|scope| {
        // The agents run on this thread; the measurement runs on another.
        let measured = scope.spawn(|| {
            let ended = Ended(asked);
            fleet.measure(empty, started);
            drop(ended);
        });
        runtime.block_on(async {
            while !done.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        measured.join().expect("no panic");
    });
}

/// Tells the agents' thread to stop, however the measurement ends.
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Fleet {
    fn measure(&self, empty: f64, started: Instant) {
        let mut table = Table::new(&["understudy"]);
        let mut tell = |name: &str, value: f64| table.row(name, &[Some(vec![value])]);
        wait_for("every lock is held", SETTLED_WITHIN, || {
            sleep(Duration::from_millis(200));
            (self.count(LOCKS) == self.pairs.len() as f64).then_some(())
        });
        tell(
            "start until every lock is held, s",
            started.elapsed().as_secs_f64(),
        );
        sleep(SETTLING);
        self.steady(empty, &mut tell);
        self.storm(&mut tell);
        sleep(Duration::from_secs(15));
        table.row(
            "a leader lets go, until the other holds the lock, ms",
            &[Some(self.stops())],
        );
        table.close("scale");
        let running = self
            .pairs
            .iter()
            .flatten()
            .filter(|it| it.is_running())
            .count();
        println!("{running} agents still run");
    }

    fn count(&self, script: &str) -> f64 {
        let answer = self.redis.tell(&["EVAL", script, "0"]);
        answer.trim_start_matches(':').parse().unwrap_or(f64::NAN)
    }

    fn steady(&self, empty: f64, tell: &mut impl FnMut(&str, f64)) {
        let agents = self.pairs.len() as f64 * 2.0;
        self.redis.tell(&["CONFIG", "RESETSTAT"]);
        let (before, _) = used(self.redis.pid());
        let began = Instant::now();
        sleep(STEADY);
        let (after, _) = used(self.redis.pid());
        let seconds = began.elapsed().as_secs_f64();
        let share = (after - before).as_secs_f64() / seconds * 100.0;
        tell("Redis' share of a core, %", share);
        tell("the same, for 10,000 agents, %", share / agents * 10_000.0);
        let (calls, micros) = info::calls(&self.redis, "evalsha");
        tell("a script, inside Redis, µs", micros / calls);
        // MONITOR costs Redis more than the agents do, so measure it separately.
        let sent = Monitor::start(&self.redis).during(WATCHED).len();
        let each = sent as f64 / WATCHED.as_secs_f64() / agents;
        tell("commands a second, each agent", each);
        let clients = info::number(&self.redis, "clients", "connected_clients");
        tell("connections, each agent", clients / agents);
        let memory = info::number(&self.redis, "memory", "used_memory");
        tell(
            "memory on Redis, each agent, KB",
            (memory - empty) / agents / 1024.0,
        );
    }

    fn storm(&self, tell: &mut impl FnMut(&str, f64)) {
        let tokens = self.count(TOKENS);
        let before = self.count(HEARING);
        // Reset the peak.
        self.redis.tell(&["CONFIG", "RESETSTAT"]);
        let killed = Instant::now();
        for kind in ["normal", "pubsub"] {
            self.redis.tell(&["CLIENT", "KILL", "TYPE", kind]);
        }
        let mut session = Session::open(self.redis.port, PATIENCE).expect("Redis answers");
        let (mut worst, mut back, mut counted) = (Duration::ZERO, None, killed);
        while killed.elapsed() < 2 * BACK_WITHIN {
            let asked = Instant::now();
            session.ask(&["PING"]).expect("Redis answers");
            worst = worst.max(asked.elapsed());
            sleep(Duration::from_millis(1));
            // Never while a PING is in flight: it takes Redis longer.
            if back.is_none() && counted.elapsed() > Duration::from_millis(250) {
                counted = Instant::now();
                if self.count(HEARING) >= before {
                    let (scripts, _) = info::calls(&self.redis, "evalsha");
                    back = Some((killed.elapsed(), scripts));
                }
            }
        }
        tell(
            "CLIENT KILL of all: worst PING, ms",
            worst.as_secs_f64() * 1e3,
        );
        let peak = info::number(&self.redis, "memory", "used_memory_peak");
        tell("CLIENT KILL of all: peak memory, MB", peak / 1e6);
        let (back, scripts) = back.map_or((f64::INFINITY, f64::NAN), |(after, scripts)| {
            (after.as_secs_f64(), scripts)
        });
        tell("CLIENT KILL of all: all hear events again after, s", back);
        let agents = self.pairs.len() as f64 * 2.0;
        tell(
            "CLIENT KILL of all: scripts until then, each agent",
            scripts / agents,
        );
        tell(
            "CLIENT KILL of all: terms begun",
            self.count(TOKENS) - tokens,
        );
    }

    /// One leader after the other.
    fn stops(&self) -> Vec<f64> {
        let mut session = Session::open(self.redis.port, PATIENCE).expect("Redis answers");
        let mut holder = |lock: &str| session.ask(&["GET", lock]).expect("Redis answers");
        let mut took = Vec::new();
        for (number, pair) in self.pairs.iter().enumerate().take(STOPS) {
            let lock = format!("scale-{number}");
            let before = holder(&lock);
            let leader = usize::from(before.starts_with(&format!("n{number}b")));
            let other = ["b", "a"][leader];
            pair[leader].stop();
            // It waits out its last yes first, so count from the release.
            let (stopped, mut held) = (Instant::now(), Instant::now());
            loop {
                let now = holder(&lock);
                if now.starts_with(&format!("n{number}{other}")) {
                    break;
                }
                if now == before {
                    held = Instant::now();
                }
                assert!(stopped.elapsed() < PATIENCE, "{lock} has no new holder");
            }
            took.push(held.elapsed().as_secs_f64() * 1e3);
        }
        took
    }
}

/// Allows this process as many files as the system permits: it needs a dozen per agent.
fn raise_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    let all = Rlimit {
        current: most,
        maximum: most,
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        eprintln!("the limit of open files stays: {error}");
    }
}
