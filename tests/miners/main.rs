//! Every language's sample miner through the same script, against real agents: one over TCP, the other over a unix
//! socket. What they wrote down is all that counts.

mod leaving;
mod relay;
mod shape;
mod work;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use stage::{Agent, Miner, Redis, boottime_ns, check_acts, never, program, samples, wait_for};
use tempfile::TempDir;

const TTL: Duration = Duration::from_secs(6);
const MINER_TIMEOUT: Duration = Duration::from_secs(2);
const FLAGS: [&str; 4] = ["--lease-ttl", "6s", "--miner-timeout", "2s"];
const SOON: Duration = Duration::from_secs(15);

/// Two pods with miners of one program, the first of which leads.
struct Pods {
    program: PathBuf,
    flags: Vec<String>,
    redis: Redis,
    agents: [Agent; 2],
    addresses: [String; 2],
    miners: Vec<Miner>,
    /// The miners before them: what they wrote down counts too.
    gone: Vec<Miner>,
    _folder: TempDir,
}

impl Pods {
    /// The first miner is there before its agent.
    fn start(program: &Path, flags: &[&str]) -> Self {
        let redis = Redis::start();
        let folder = tempfile::tempdir().expect("a folder for the socket");
        let socket = folder.path().join("grpc.sock").display().to_string();
        let with_socket = [&FLAGS[..], &["--grpc-socket", &socket]].concat();
        let mut first = Agent::start("first", &redis, &FLAGS);
        let second = Agent::start("second", &redis, &with_socket);
        first.wait_until_up();
        first.kill();
        let addresses = [first.address(), format!("unix:{socket}")];
        let mut pods = Self {
            program: program.into(),
            flags: flags.iter().map(ToString::to_string).collect(),
            redis,
            agents: [first, second],
            addresses,
            miners: Vec::new(),
            gone: Vec::new(),
            _folder: folder,
        };
        let miner = pods.miner(0);
        pods.miners.push(miner);
        std::thread::sleep(Duration::from_millis(500));
        pods.agents[0].start_again();
        pods.acts(0, 0);
        let miner = pods.miner(1);
        pods.miners.push(miner);
        pods.stands_by(1);
        pods
    }

    fn miner(&self, of: usize) -> Miner {
        let url = self.redis.url();
        let work = ["--redis-url", &url, "--work-every-ms", "5"];
        let flags = [
            &work[..],
            &self.flags.iter().map(String::as_str).collect::<Vec<_>>(),
        ]
        .concat();
        let name = format!("{}-{}", ["first", "second"][of], self.gone.len());
        Miner::of(&self.program, &name, &self.addresses[of], &flags)
    }

    fn replace(&mut self, of: usize) {
        let next = self.miner(of);
        let gone = std::mem::replace(&mut self.miners[of], next);
        self.gone.push(gone);
        self.stands_by(of);
    }

    fn acts(&self, of: usize, since: u64) {
        self.miners[of].wait_until_acting(since, TTL + SOON);
    }

    fn stands_by(&self, of: usize) {
        self.agents[of].wait_for_reason("held_by_other", SOON);
    }

    fn all(&self) -> impl Iterator<Item = &Miner> {
        self.miners.iter().chain(&self.gone)
    }

    /// Never two at once, and none outside its grant.
    fn check(&self) -> usize {
        check_acts(&self.all().collect::<Vec<_>>())
    }

    /// Every term was announced to its miner, and its end before the next. A miner that is gone may not have heard of
    /// its last end.
    fn check_told(&self) {
        for miner in self.all() {
            let lines = miner.lines().into_iter();
            let told: Vec<bool> = lines
                .filter(|(_, event, _)| event == "role")
                .map(|(_, _, fields)| fields.contains("ROLE_LEADER"))
                .collect();
            let in_turn = (0..told.len()).all(|at| told[at] == (at % 2 == 0));
            assert!(in_turn, "{} was told {told:?}", miner.name);
            let mut terms: Vec<u64> = miner.acts().iter().map(|act| act.token).collect();
            terms.dedup();
            let elected = told.iter().filter(|leads| **leads).count();
            assert_eq!(elected, terms.len(), "{} was elected", miner.name);
        }
    }

    /// The leader, `of`, is killed: long before its grant has ended the other leads.
    fn killed(&mut self, of: usize) {
        let since = boottime_ns();
        self.miners[of].kill();
        self.acts(1 - of, since);
        self.within_its_grant(since);
        self.replace(of);
    }

    /// The leader stands still for longer than it may, and goes on.
    fn stopped_and_continued(&self, of: usize) {
        let since = boottime_ns();
        self.miners[of].signal(Signal::STOP);
        self.acts(1 - of, since);
        self.miners[of].signal(Signal::CONT);
        self.stands_by(of);
        self.rests(of, since);
    }

    /// The leader's work loop hangs, and its process lives: the heartbeats end with the work, and so does the term, long
    /// before its lease would have run out.
    fn hung(&mut self, of: usize) {
        let since = boottime_ns();
        self.miners[of].signal(Signal::USR2);
        self.miners[1 - of].wait_until_acting(since, TTL - MINER_TIMEOUT);
        self.agents[of].wait_for_reason("miner_silent", SOON);
        self.rests(of, since);
        self.miners[of].kill();
        self.replace(of);
    }

    /// What stopped at `since` does not act when its grant is over.
    fn rests(&self, of: usize, since: u64) {
        self.rests_after(of, since, MINER_TIMEOUT);
    }

    /// The same, where more time may pass until it must.
    fn rests_after(&self, of: usize, since: u64, limit: Duration) {
        never("it acts", Duration::from_millis(500), || {
            self.miners[of]
                .acts()
                .iter()
                .any(|act| act.at > since + limit.as_nanos() as u64)
        });
    }

    /// The leader's agent dies, and returns.
    fn agent_killed(&mut self, of: usize) {
        let since = boottime_ns();
        self.agents[of].kill();
        self.acts(1 - of, since);
        self.agents[of].start_again();
        self.agents[of].wait_until_up();
        self.stands_by(of);
    }

    /// The leader's agent stands still past the TTL, and goes on.
    fn agent_stopped(&self, of: usize) {
        let since = boottime_ns();
        self.agents[of].signal(Signal::STOP);
        self.acts(1 - of, since);
        self.agents[of].signal(Signal::CONT);
        self.stands_by(of);
    }

    /// A planned hand-over: the miner says that it has ended its work, and is believed.
    fn drained(&self, of: usize) {
        let since = boottime_ns();
        self.resign(of);
        self.acts(1 - of, since);
        self.within_its_grant(since);
        self.stands_by(of);
    }

    fn resign(&self, of: usize) {
        let resigned = Command::new(program("UNDERSTUDY_BIN", "understudy"))
            .args(["resign", "--hold-off", "1s", "--agent", &self.addresses[of]])
            .output()
            .expect("it runs");
        assert!(resigned.status.success(), "{resigned:?}");
    }

    /// The leader is asked to end, and does.
    fn ended(&mut self, of: usize, by: Signal) {
        let since = boottime_ns();
        self.miners[of].signal(by);
        let ended = self.miners[of].wait_until_gone(SOON);
        assert!(ended.success(), "{by:?} does not drain it: {ended}");
        self.acts(1 - of, since);
        self.within_its_grant(since);
        self.replace(of);
    }

    /// The next leader did not wait for the end of the last grant, which had two thirds of it left at least.
    fn within_its_grant(&self, since: u64) {
        let acts = self.miners.iter().flat_map(Miner::acts);
        let next = acts
            .filter(|act| act.at > since)
            .max_by_key(|act| act.token);
        let next = next.expect("somebody acts");
        let all = self.miners.iter().flat_map(Miner::acts);
        let first = all
            .filter(|act| act.token == next.token)
            .map(|act| act.at)
            .min();
        let took = Duration::from_nanos(first.unwrap_or(0) - since);
        assert!(took < MINER_TIMEOUT * 6 / 10, "only after {took:?}");
    }
}

/// All that a miner must stand.
fn script(miner: &Path) {
    let began = Instant::now();
    let mut pods = Pods::start(miner, &[]);
    pods.killed(0);
    pods.stopped_and_continued(1);
    pods.agent_killed(0);
    pods.agent_stopped(1);
    pods.drained(0);
    pods.ended(1, Signal::TERM);
    pods.ended(0, Signal::INT);
    pods.hung(1);
    pods.redis.fill();
    pods.killed(0);
    pods.killed(1);
    let terms = pods.check();
    pods.check_told();
    assert_eq!(terms, 11, "{}", miner.display());
    let name = miner.file_name().unwrap_or_default().display();
    println!("{name}: {terms} terms, {} s", began.elapsed().as_secs());
}

#[test]
fn every_miner_acts_only_inside_its_grant() {
    let miners = samples();
    if miners.len() < 4 {
        println!(
            "skipped: other languages than Rust, since UNDERSTUDY_TEST_MINERS does not name them"
        );
    }
    std::thread::scope(|scope| {
        for miner in &miners {
            scope.spawn(move || script(miner));
        }
    });
}

/// The leader is asked to end while fifty ask whether it leads, and go on: nothing extends its last grant.
#[test]
fn a_miner_leaves_though_many_ask() {
    let leaves = |miner: &Path| {
        let mut pods = Pods::start(miner, &["--askers", "50"]);
        let since = boottime_ns();
        pods.miners[0].signal(Signal::TERM);
        let ended = pods.miners[0].wait_until_gone(MINER_TIMEOUT + Duration::from_secs(1));
        let took = Duration::from_nanos(boottime_ns() - since);
        assert!(ended.success(), "{}: {ended}", miner.display());
        pods.acts(1, since);
        pods.check();
        let name = miner.file_name().unwrap_or_default().display();
        println!("{name}: it left within {took:?}");
    };
    std::thread::scope(|scope| {
        for miner in samples() {
            scope.spawn(move || leaves(&miner));
        }
    });
}

/// Without this, that all miners pass would say little.
#[test]
fn a_careless_miner_does_not_pass() {
    let careless = program("UNDERSTUDY_CARELESS", "examples/careless");
    let notices = |ignores: &str, says: &str, step: fn(&mut Pods)| {
        let mut pods = Pods::start(&careless, &["--ignores", ignores]);
        pods.check();
        let found = catch_unwind(AssertUnwindSafe(|| {
            step(&mut pods);
            std::thread::sleep(Duration::from_secs(1));
            pods.check();
        }));
        let said = found.expect_err("the suite notices");
        let said = said.downcast_ref::<String>().map_or("", String::as_str);
        assert!(said.contains(says), "{ignores}: {said}");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| notices("the-clock", "acted", |pods| pods.agent_killed(0)));
        scope.spawn(|| notices("demotion", "acted", |pods| pods.drained(0)));
        scope.spawn(|| notices("the-loop", "waited ", |pods| pods.hung(0)));
    });
}

/// The Go miner takes no relays while Redis refuses writes or is about to, and takes them again when there is room.
#[test]
fn load_is_shed_while_redis_is_full() {
    let Some(go) = samples().into_iter().find(|it| it.ends_with("go")) else {
        println!("skipped: the Go miner, since UNDERSTUDY_TEST_MINERS does not name it");
        return;
    };
    let redis = Redis::start();
    let agent = Agent::start("a", &redis, &["--memory-every", "200ms"]);
    agent.wait_until_up();
    let miner = Miner::of(
        &go,
        "relays",
        &agent.address(),
        &["--relays-every-ms", "10"],
    );
    let said = |what: &str, since: u64| {
        wait_for(what, SOON, || {
            miner.said(since, what).then_some(boottime_ns())
        })
    };
    let sheds = |since: u64| {
        let shed = said("shed", since) + 200_000_000;
        std::thread::sleep(Duration::from_secs(1));
        assert!(!miner.said(shed, "relay"), "no relay while Redis is full");
        shed
    };
    let resumes = |since: u64| {
        said("resume", since);
        said("relay", boottime_ns());
    };
    said("relay", 0);
    let full = boottime_ns();
    redis.fill();
    let shed = sheds(full);
    redis.relieve();
    resumes(shed);
    // Before it comes to that: Redis takes writes all the while.
    let nearly = boottime_ns();
    redis.fill_to(0.96);
    let shed = sheds(nearly);
    assert_eq!(redis.tell(&["SET", "another", "x"]), "+OK");
    redis.fill_to(0.93);
    never("it resumes", Duration::from_secs(1), || {
        miner.said(shed, "resume")
    });
    redis.fill_to(0.8);
    resumes(shed);
}
