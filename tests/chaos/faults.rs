//! The faults of real processes, drawn from a seed, several at once. Each limit that the documents state is left
//! out, at its place.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::{Chaos, TTL};
use stage::proxy::Mode;
use stage::send;

/// What ends a fault.
#[derive(Debug, Clone)]
pub enum Undo {
    MinerContinues(usize),
    AgentContinues(usize),
    NetworkPasses(usize),
    NameIsTold(usize),
    PodIsCompleted(usize),
    RedisContinues,
    RedisIsThere,
    /// A command to Redis.
    Tell(&'static [&'static str]),
}

const LOCK: &str = "ha:miner:global_leader";
const RECORD: &str = "{ha:miner:global_leader}:record";

impl Chaos {
    /// Starts one fault and plans its end. Returns its name; `None` if it is not possible now.
    pub fn fault(&mut self) -> Option<&'static str> {
        let pod = self.dice.below(self.pods.len() as u64) as usize;
        let short = Duration::from_millis(50 + self.dice.below(500));
        let long = Duration::from_millis(100 + self.dice.below(2 * TTL.as_millis() as u64));
        // A fault of Redis affects every pod: with too many of them nobody ever leads, and nothing is tested.
        match self.dice.below(10) {
            0..3 => Some(self.miner_fault(pod, short, long)),
            3..6 => self.agent_fault(pod, short, long),
            6..8 => Some(self.network_fault(pod, long)),
            8 => self.redis_fault(short, long),
            _ => self.store_fault(short, long),
        }
    }

    fn miner_fault(&mut self, pod: usize, short: Duration, long: Duration) -> &'static str {
        match self.dice.below(9) {
            0..3 => {
                self.pods[pod].kill_miner();
                self.later(short, Undo::PodIsCompleted(pod));
                "miner SIGKILLed"
            }
            3..5 => {
                self.pods[pod].stop_miner();
                self.later(short, Undo::PodIsCompleted(pod));
                "miner ends in order"
            }
            5..8 => {
                self.pods[pod].suspend_miner();
                self.later(long, Undo::MinerContinues(pod));
                "miner SIGSTOPped"
            }
            _ => {
                for _ in 0..5 {
                    self.pods[pod].kill_miner();
                    self.pods[pod].start_miner();
                }
                "miner reconnects in a storm"
            }
        }
    }

    fn agent_fault(&mut self, pod: usize, short: Duration, long: Duration) -> Option<&'static str> {
        match self.dice.below(9) {
            0..3 => self.agent_killed(pod, short),
            3..5 => self.agent_asked_to_stop(pod, long),
            5..8 => {
                send(self.pods[pod].elector(), Signal::STOP);
                self.later(long, Undo::AgentContinues(pod));
                Some("agent SIGSTOPped")
            }
            _ => Some(self.agent_throttled(pod)),
        }
    }

    fn network_fault(&mut self, pod: usize, long: Duration) -> &'static str {
        match self.dice.below(12) {
            0..8 => {
                let (mode, name) = self.dice.pick(&[
                    (Mode::Refuse, "network: refused"),
                    (Mode::BlackHole, "network: black-holed, delivered late"),
                    (Mode::OneWay, "network: one-way"),
                    (Mode::RepliesLost, "network: replies lost after execution"),
                    (Mode::HalfOpen, "network: half-open"),
                    (Mode::Slow(Duration::from_millis(150)), "network: slow"),
                    (Mode::CutShort, "network: bytes cut short"),
                ]);
                self.pods[pod].proxy.set(mode);
                self.later(long, Undo::NetworkPasses(pod));
                name
            }
            8 => {
                self.pods[pod].proxy.cut();
                "network: connection cut"
            }
            9 => {
                // Cut the connection, so that the name is resolved again.
                self.name_is(pod, long, true);
                self.pods[pod].proxy.cut();
                self.later(2 * long, Undo::NameIsTold(pod));
                "DNS: slow"
            }
            10 => {
                self.name_is(pod, Duration::ZERO, false);
                self.pods[pod].proxy.cut();
                self.later(long, Undo::NameIsTold(pod));
                "DNS: no answer"
            }
            _ => {
                // The name follows, a while later.
                self.pods[pod].proxy.move_house();
                self.later(long, Undo::NameIsTold(pod));
                "DNS: the name moves"
            }
        }
    }

    fn name_is(&self, pod: usize, delay: Duration, answers: bool) {
        let pod = &self.pods[pod];
        pod.names.tell(delay, answers.then(|| pod.proxy.house()));
    }

    /// Redis refuses, or is slow, and loses nothing. The end is planned before the command is sent, because a command
    /// without an answer may still run later.
    fn redis_fault(&mut self, short: Duration, long: Duration) -> Option<&'static str> {
        match self.dice.below(10) {
            0 | 1 => {
                self.later(long, Undo::Tell(&["CONFIG", "SET", "maxmemory", "0"]));
                self.ask(&["CONFIG", "SET", "maxmemory", "1"])?;
                Some("Redis: out of memory")
            }
            2 => self.flickers(),
            3 if self.redis_up => {
                self.redis.pause();
                self.later(long, Undo::RedisContinues);
                Some("Redis: SIGSTOPped")
            }
            3 => None,
            4 => {
                let time = long.as_millis().to_string();
                self.ask(&["CLIENT", "PAUSE", &time])?;
                Some("Redis: CLIENT PAUSE")
            }
            5 => {
                self.ask(&["SCRIPT", "FLUSH"])?;
                Some("Redis: SCRIPT FLUSH")
            }
            6 => {
                self.later(
                    long,
                    Undo::Tell(&["CONFIG", "SET", "min-replicas-to-write", "0"]),
                );
                self.ask(&["CONFIG", "SET", "min-replicas-to-write", "1"])?;
                Some("Redis: NOREPLICAS")
            }
            7 => self.misconf(long),
            8 => {
                self.later(short, Undo::Tell(&["ACL", "SETUSER", "default", "+@all"]));
                self.ask(&["ACL", "SETUSER", "default", "-evalsha", "-eval"])?;
                Some("Redis: NOPERM")
            }
            _ => self.busy(),
        }
    }

    /// Redis loses something, or its clock jumps.
    fn store_fault(&mut self, short: Duration, long: Duration) -> Option<&'static str> {
        match self.dice.below(10) {
            0 => {
                let policy = self.dice.pick(&["volatile-lru", "volatile-ttl"]);
                self.later(
                    long,
                    Undo::Tell(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]),
                );
                self.later(long, Undo::Tell(&["CONFIG", "SET", "maxmemory", "0"]));
                self.ask(&["CONFIG", "SET", "maxmemory-policy", policy])?;
                self.ask(&["CONFIG", "SET", "maxmemory", "1"])?;
                Some("Redis: evicts keys with a TTL")
            }
            1 => self.redis_dies(short),
            2 => self.flush(),
            3 => {
                self.ask(&["DEL", LOCK])?;
                Some("Redis: lock deleted")
            }
            4 => {
                // Only while nobody leads: a Go miner in the middle of a term is a limit.
                self.ask(&["SET", LOCK, "go-1", "PX", "1000", "NX"])
                    .filter(|it| it == "+OK")?;
                Some("Redis: a Go miner's lock")
            }
            5 => self.another_type(short),
            6 => {
                self.later(short, Undo::Tell(&["REPLICAOF", "NO", "ONE"]));
                self.ask(&["REPLICAOF", "127.0.0.1", "1"])?;
                Some("Redis: READONLY, then promoted")
            }
            7 => self.clock_jumps(),
            8 => self.loads_slowly(),
            _ => self.failover(),
        }
    }

    fn agent_killed(&mut self, pod: usize, short: Duration) -> Option<&'static str> {
        // A newborn just after a FLUSHALL is a limit.
        if Instant::now() < self.no_newborn_until {
            return None;
        }
        self.pods[pod].kill_agent();
        self.born = Instant::now();
        self.later(short, Undo::PodIsCompleted(pod));
        Some("agent SIGKILLed")
    }

    fn agent_asked_to_stop(&mut self, pod: usize, long: Duration) -> Option<&'static str> {
        if Instant::now() < self.no_newborn_until {
            return None;
        }
        self.pods[pod].ask_agent_to_stop();
        self.born = Instant::now() + long;
        self.later(long, Undo::PodIsCompleted(pod));
        Some("agent SIGTERMed")
    }

    /// The process runs for a tenth of the time, for one second.
    fn agent_throttled(&mut self, pod: usize) -> &'static str {
        for _ in 0..20 {
            send(self.pods[pod].elector(), Signal::STOP);
            std::thread::sleep(Duration::from_millis(45));
            send(self.pods[pod].elector(), Signal::CONT);
            std::thread::sleep(Duration::from_millis(5));
        }
        "agent throttled"
    }

    fn flickers(&mut self) -> Option<&'static str> {
        self.later(
            Duration::ZERO,
            Undo::Tell(&["CONFIG", "SET", "maxmemory", "0"]),
        );
        for _ in 0..20 {
            self.ask(&["CONFIG", "SET", "maxmemory", "1"])?;
            std::thread::sleep(Duration::from_millis(10));
            self.ask(&["CONFIG", "SET", "maxmemory", "0"])?;
            std::thread::sleep(Duration::from_millis(10));
        }
        Some("Redis: flickers at its limit")
    }

    /// SIGKILL. Afterwards Redis has nothing, an old snapshot, or, with an append-only file, all its data.
    fn redis_dies(&mut self, short: Duration) -> Option<&'static str> {
        if !self.redis_up {
            return None;
        }
        let old = self.dice.below(2) == 0;
        if old {
            // A snapshot of some time ago, if one was made.
            let _ = self.ask(&["SAVE"]);
            std::thread::sleep(Duration::from_millis(self.dice.below(500)));
        } else {
            // There may be none.
            let _ = fs::remove_file(self.redis.directory().join("dump.rdb"));
        }
        self.redis.kill();
        self.redis_up = false;
        self.later(short, Undo::RedisIsThere);
        Some(match old {
            true => "Redis: SIGKILLed, an older snapshot restored",
            false => "Redis: SIGKILLed, without its data",
        })
    }

    /// Redis dies, and comes back with its data, which takes a second or two to load.
    fn loads_slowly(&mut self) -> Option<&'static str> {
        if !self.redis_up || !self.redis.burden(600) {
            return None;
        }
        self.redis.kill();
        self.redis_up = false;
        self.undo(&Undo::RedisIsThere);
        Some("Redis: slow LOADING")
    }

    /// FLUSHALL, except where that is a limit: only if every agent has seen the store for a while, and not twice in
    /// quick succession.
    fn flush(&mut self) -> Option<&'static str> {
        let (now, wait) = (Instant::now(), 2 * TTL + Duration::from_secs(2));
        if now < self.born + 2 * wait
            || now < self.flushed + 2 * wait
            || now < self.emptied + 2 * wait
        {
            return None;
        }
        self.flushed = now;
        self.no_newborn_until = now + wait;
        self.ask(&["FLUSHALL"])?;
        Some("Redis: FLUSHALL")
    }

    fn another_type(&mut self, short: Duration) -> Option<&'static str> {
        self.later(short, Undo::Tell(&["DEL", LOCK]));
        self.ask(&["DEL", LOCK])?;
        self.ask(&["LPUSH", LOCK, "x"])?;
        Some("Redis: a key of another type")
    }

    /// A snapshot that cannot be written, until one can.
    fn misconf(&mut self, long: Duration) -> Option<&'static str> {
        self.later(
            long,
            Undo::Tell(&["CONFIG", "SET", "dbfilename", "dump.rdb"]),
        );
        self.later(long, Undo::Tell(&["BGSAVE"]));
        self.later(long, Undo::Tell(&["CONFIG", "SET", "save", ""]));
        self.ask(&["CONFIG", "SET", "save", "3600 1"])?;
        self.ask(&["CONFIG", "SET", "dbfilename", "no-such-place.rdb"]);
        // Put a folder in the place of the file.
        let place = self.redis.directory().join("no-such-place.rdb");
        fs::create_dir_all(place.join("x")).ok()?;
        self.ask(&["BGSAVE"])?;
        Some("Redis: MISCONF")
    }

    /// A script that runs for half a second, longer than Redis waits before it says BUSY.
    fn busy(&mut self) -> Option<&'static str> {
        // Redis has no clock inside scripts, and Valkey's TIME stands still in one. A clock that jumps back ends the script
        // too.
        let script = "local os = rawget(_G, 'os') \
                      local function now() \
                        if os then return os.clock() end \
                        local t = redis.call('TIME') return t[1] + t[2] / 1000000 \
                      end \
                      local from = now() local ran repeat ran = now() - from until ran > 0.5 or ran < 0";
        self.ask(&["EVAL", script, "0"])?;
        Some("Redis: a slow script, BUSY")
    }

    fn clock_jumps(&mut self) -> Option<&'static str> {
        // Soon after an empty start, with a newborn, is a limit.
        let wait = Duration::from_secs(10);
        let now = Instant::now();
        let quiet =
            now >= self.emptied + wait && now >= self.born + wait && now >= self.flushed + wait;
        let recorded = || {
            self.redis
                .ask(&["EXISTS", RECORD])
                .is_ok_and(|it| it == ":1")
        };
        if !self.clock || !quiet || !recorded() {
            return None;
        }
        let ahead = self.dice.below(121) as i64 - 60;
        self.redis.set_clock(ahead);
        Some("Redis: its clock jumps")
    }

    /// The primary dies, and the replica, which misses the last writes, takes over.
    fn failover(&mut self) -> Option<&'static str> {
        if !self.redis_up || self.replica.ask(&["PING"]).is_err() {
            return None;
        }
        self.replica.pause();
        std::thread::sleep(Duration::from_millis(self.dice.below(1000)));
        self.redis.kill();
        self.replica.resume();
        self.replica.ask(&["REPLICAOF", "NO", "ONE"]).ok()?;
        std::mem::swap(&mut self.redis, &mut self.replica);
        for pod in &self.pods {
            pod.proxy.lead_to(self.redis.port);
        }
        // The old primary comes back as a replica of the new one.
        let _ = fs::remove_file(self.replica.directory().join("dump.rdb"));
        self.replica.start_again();
        let port = self.redis.port.to_string();
        self.replica.tell(&["REPLICAOF", "127.0.0.1", &port]);
        self.emptied = Instant::now();
        Some("Redis: a lagging replica is promoted")
    }

    pub fn undo(&mut self, undo: &Undo) {
        match *undo {
            Undo::MinerContinues(pod) => self.pods[pod].let_miner_continue(),
            Undo::AgentContinues(pod) => send(self.pods[pod].elector(), Signal::CONT),
            Undo::NetworkPasses(pod) => self.pods[pod].proxy.set(Mode::Pass),
            Undo::NameIsTold(pod) => self.name_is(pod, Duration::ZERO, true),
            Undo::PodIsCompleted(pod) => {
                let blocked = self.dice.below(10) == 0;
                self.pods[pod].complete(blocked);
            }
            Undo::RedisContinues => self.redis.resume(),
            Undo::RedisIsThere => {
                if !self.redis_up {
                    self.redis.start_again();
                    self.redis_up = true;
                    self.emptied = Instant::now();
                }
            }
            // If one does not answer, tell it again: it may only be stopped.
            Undo::Tell(words) => {
                if self.redis.ask(words).is_err() {
                    self.later(Duration::from_millis(300), undo.clone());
                }
            }
        }
    }
}
