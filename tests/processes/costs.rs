//! Costs of an agent that can be counted: they do not depend on the machine, and must not grow.

use std::path::PathBuf;
use std::time::Duration;

use stage::cost::{Monitor, Sent, connections, used};
use stage::{Agent, Miner, Redis, wait_for};

/// The upper limits. Lower a limit if less is enough; give a reason for raising one.
mod limit {
    /// Commands in ten idle seconds, with the default timing and no queries: a renewal and a reading of the memory; for the
    /// standby also looks, and a rehearsal if one is due.
    pub const LEADER_COMMANDS: usize = 5;
    pub const STANDBY_COMMANDS: usize = 8;
    /// How often an agent wakes in these ten seconds, its miner beating once in each.
    pub const WAKEUPS: u64 = 25;
    /// To Redis, for each agent.
    pub const CONNECTIONS: usize = 2;
    /// Scripts from a miner's death until all is quiet, with so many standbys: a release, a begin of each, and a look of the
    /// one that released.
    pub const FAILOVER_SCRIPTS: [(usize, usize); 3] = [(1, 3), (3, 5), (10, 12)];
    /// Of the static program: 6 MB, and 1 MB of glibc where there is no musl.
    pub const PROGRAM_BYTES: u64 = 7_300_000;
}

const SOON: Duration = Duration::from_secs(20);

/// Agents with their miners on one Redis; the first leads.
struct Fleet {
    redis: Redis,
    monitor: Monitor,
    agents: Vec<Agent>,
    miners: Vec<Miner>,
    /// The Redis that the miners write to.
    _register: Redis,
}

impl Fleet {
    fn start(standbys: usize) -> Self {
        let (redis, register) = (Redis::start(), Redis::start());
        let monitor = Monitor::start(&redis);
        let (mut agents, mut miners) = (Vec::new(), Vec::new());
        for number in 0..=standbys {
            let agent = Agent::start(&format!("a{number}"), &redis, &[]);
            agent.wait_until_up();
            miners.push(Miner::start(&agent.name, &agent, &register));
            match number {
                0 => agent.wait_until_leading(3 * SOON),
                _ => agent.wait_for_reason("held_by_other", SOON),
            }
            agents.push(agent);
        }
        Self {
            redis,
            monitor,
            agents,
            miners,
            _register: register,
        }
    }

    fn ports(&self, agent: usize) -> Vec<u16> {
        connections(self.agents[agent].pid(), self.redis.port)
    }
}

/// Leaves out rehearsals, on a shadow of the lock, because their time varies.
fn scripts(sent: &[Sent]) -> usize {
    let election =
        |it: &&Sent| it.command.starts_with("EVAL") && !it.arguments.contains(":shadow:");
    sent.iter().filter(election).count()
}

#[test]
fn an_idle_agent_sends_little_on_few_connections_and_sleeps() {
    let fleet = Fleet::start(1);
    // All first looks are over.
    std::thread::sleep(Duration::from_secs(2));
    let ports = [fleet.ports(0), fleet.ports(1)];
    let woken = || fleet.agents.iter().map(|it| used(it.pid()).1);
    let before: Vec<_> = woken().collect();
    let sent = fleet.monitor.during(Duration::from_secs(10));
    let woken: Vec<_> = woken().zip(before).map(|(now, then)| now - then).collect();
    let roles = ["the leader", "the standby"];
    let most = [limit::LEADER_COMMANDS, limit::STANDBY_COMMANDS];
    for (((role, ports), most), woken) in roles.iter().zip(&ports).zip(most).zip(woken) {
        let theirs: Vec<_> = sent.iter().filter(|it| ports.contains(&it.from)).collect();
        println!(
            "{role}: {} commands, {} connections, {woken} wakeups",
            theirs.len(),
            ports.len()
        );
        assert!(!theirs.is_empty(), "{role} was watched");
        assert!(theirs.len() <= most, "{role}: more than {most}: {theirs:?}");
        assert!(ports.len() <= limit::CONNECTIONS, "{role}: {ports:?}");
        assert!(woken <= limit::WAKEUPS, "{role}: woke {woken} times");
    }
    assert_eq!(ports, [fleet.ports(0), fleet.ports(1)], "nobody redialled");
}

/// Another subscription stands at once, and one look finds what was missed meanwhile.
#[test]
fn a_subscription_that_is_lost_costs_one_look() {
    let fleet = Fleet::start(1);
    // A subscription that was lost right after it was made is not made again at once.
    std::thread::sleep(Duration::from_secs(2));
    let before = fleet.ports(1);
    let listens = |ports: &[u16]| {
        let clients = fleet.redis.tell(&["CLIENT", "LIST", "TYPE", "pubsub"]);
        let mut ports = ports.iter().copied();
        ports.find(|port| clients.contains(&format!(" addr=127.0.0.1:{port} ")))
    };
    let lost = listens(&before).expect("the standby listens");
    fleet.monitor.take();
    let killed = fleet
        .redis
        .tell(&["CLIENT", "KILL", "ADDR", &format!("127.0.0.1:{lost}")]);
    assert_eq!(killed, ":1");
    wait_for("it listens again", SOON, || listens(&fleet.ports(1)));
    std::thread::sleep(Duration::from_millis(700));
    let [leader, standby] = [fleet.ports(0), fleet.ports(1)];
    let sent = fleet.monitor.take();
    let scripts_of = |ports: &[u16]| {
        let sent = sent.iter().filter(|it| ports.contains(&it.from));
        scripts(&sent.cloned().collect::<Vec<_>>())
    };
    // What a leader does is heard, and looked into.
    let (looks, renewals) = (scripts_of(&standby), scripts_of(&leader));
    println!("{looks} looks, {renewals} renewals");
    assert!((1..=1 + renewals).contains(&looks), "{sent:?}");
    assert_eq!(standby.len(), limit::CONNECTIONS, "{standby:?}");
}

#[test]
fn a_failover_costs_few_scripts() {
    // Each agent waits for an empty Redis to settle.
    std::thread::scope(|scope| {
        for (standbys, most) in limit::FAILOVER_SCRIPTS {
            scope.spawn(move || failover(standbys, most));
        }
    });
}

fn failover(standbys: usize, most: usize) {
    let mut fleet = Fleet::start(standbys);
    // Everything that the last standby's start caused is over.
    std::thread::sleep(Duration::from_secs(2));
    fleet.monitor.take();
    fleet.miners[0].kill();
    wait_for("another leads", SOON, || {
        fleet.agents[1..].iter().any(Agent::leads).then_some(())
    });
    std::thread::sleep(Duration::from_millis(500));
    let sent = fleet.monitor.take();
    let count = scripts(&sent);
    println!("{standbys} standbys: {count} scripts");
    // At least a release and a begin.
    assert!(count >= 2, "{standbys} standbys: {sent:?}");
    assert!(count <= most, "{standbys} standbys: {sent:?}");
}

#[test]
fn the_static_program_is_small() {
    let Some(program) = std::env::var_os("UNDERSTUDY_STATIC_BIN").map(PathBuf::from) else {
        println!("skipped: no UNDERSTUDY_STATIC_BIN, which `make test` builds");
        return;
    };
    let bytes = program.metadata().expect("the program").len();
    println!("{bytes} bytes");
    let most = limit::PROGRAM_BYTES;
    assert!(bytes <= most, "{bytes} bytes, more than {most}");
}
