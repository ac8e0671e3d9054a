//! How long a failover takes with other libraries for leader election over Redis, with etcd, and with understudy. Each is
//! used as its documents show: killed, shut down cleanly, killed while Redis refuses writes. `make bench-alternatives RUNS=5`
//!
//! The time is from the signal to the first act of another instance. The TTL is 3 s for all, renewed every second.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use benches::figures::Table;
use benches::setting;
use rustix::process::Signal;
use stage::{Redis, boottime_ns, free_port, program, send, wait_for};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(30);
/// The longest wait for a leader: four TTLs.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long a standby needs to settle.
const SETTLE: Duration = Duration::from_secs(3);

/// One way to elect.
struct Kind {
    name: &'static str,
    /// The program that it needs, below target/peers.
    needs: Option<&'static str>,
    /// Its processes, starting with the one that acts.
    start: fn(&Ground, &str, &Path) -> Vec<Child>,
    /// Whether to kill all its processes, not only the one that acts.
    whole: bool,
    on_redis: bool,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "understudy, its miner",
        needs: None,
        start: understudy,
        whole: false,
        on_redis: true,
    },
    Kind {
        name: "understudy, the whole pod",
        needs: None,
        start: understudy,
        whole: true,
        on_redis: true,
    },
    Kind {
        name: "today's elector",
        needs: None,
        start: incumbent,
        whole: true,
        on_redis: true,
    },
    Kind {
        name: "redislock",
        needs: Some("elector"),
        start: |ground, _, log| go("redislock", ground, log),
        whole: true,
        on_redis: true,
    },
    Kind {
        name: "rueidislock",
        needs: Some("elector"),
        start: |ground, _, log| go("rueidislock", ground, log),
        whole: true,
        on_redis: true,
    },
    Kind {
        name: "python-redis-lock",
        needs: Some("python-redis-lock"),
        start: |ground, _, log| {
            vec![run(
                &peer("python-redis-lock"),
                &["--address", &ground.address(), "--log", text(log)],
            )]
        },
        whole: true,
        on_redis: true,
    },
    Kind {
        name: "etcd",
        needs: Some("etcd"),
        start: |ground, _, log| go("etcd", ground, log),
        whole: true,
        on_redis: false,
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Killed,
    Ended,
    KilledInOom,
}

const FAULTS: [(Fault, &str); 3] = [
    (Fault::Killed, "killed"),
    (Fault::Ended, "ended in order"),
    (Fault::KilledInOom, "killed, Redis out of memory"),
];

/// Where an election takes place.
struct Ground {
    redis: Redis,
    register: Redis,
    etcd: Option<Etcd>,
    folder: TempDir,
}

struct Etcd {
    server: Child,
    port: u16,
}

struct Contestant {
    processes: Vec<Child>,
    log: PathBuf,
}

fn main() {
    let runs = setting("RUNS", 5);
    let mut table = Table::new(&["s"]);
    for (fault, what) in FAULTS {
        for kind in KINDS {
            if fault == Fault::KilledInOom && !kind.on_redis {
                continue;
            }
            if kind.needs.is_some_and(|it| !peer(it).exists()) {
                println!("{:<52}  left out: not built here", kind.name);
                continue;
            }
            let took: Vec<f64> = (0..runs).map(|number| once(kind, fault, number)).collect();
            let name = format!("{what}: {}", kind.name);
            let nobody = took.iter().filter(|it| it.is_infinite()).count();
            if nobody > 0 {
                println!("{name:<52}  nobody within {PATIENCE:?} in {nobody} of {runs}");
            }
            let took: Vec<_> = took.into_iter().filter(|it| it.is_finite()).collect();
            if !took.is_empty() {
                table.row(&name, &[Some(took)]);
            }
        }
    }
    table.close("alternatives");
}

/// Seconds until another acts; infinite if none does.
fn once(kind: &Kind, fault: Fault, number: u32) -> f64 {
    let ground = Ground::start(kind);
    let mut leader = Contestant::start(kind, &ground, "leader");
    wait_for("somebody acts", SOON, || leader.acted_since(0));
    let standby = Contestant::start(kind, &ground, "standby");
    // Start each run at another phase of the heartbeats.
    sleep(SETTLE + Duration::from_millis(u64::from(number) * 370 % 1000));
    if fault == Fault::KilledInOom {
        ground.redis.fill();
    }
    let struck = boottime_ns();
    let signal = match fault {
        Fault::Ended => Signal::TERM,
        Fault::Killed | Fault::KilledInOom => Signal::KILL,
    };
    let struck_ones = if kind.whole {
        leader.processes.len()
    } else {
        1
    };
    // Kill the agent first: if the miner ended first, that would be a hand-over.
    for process in leader.processes[..struck_ones].iter().rev() {
        send(process, signal);
    }
    let mut took = f64::INFINITY;
    while boottime_ns() - struck < u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX) {
        if let Some(acted) = standby.acted_since(struck) {
            took = (acted - struck) as f64 / 1e9;
            break;
        }
        sleep(Duration::from_millis(1));
    }
    leader.end();
    took
}

impl Ground {
    fn start(kind: &Kind) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            redis: Redis::start(),
            register: Redis::start(),
            etcd: (!kind.on_redis).then(|| Etcd::start(folder.path())),
            folder,
        }
    }

    fn address(&self) -> String {
        let port = self.etcd.as_ref().map_or(self.redis.port, |it| it.port);
        format!("127.0.0.1:{port}")
    }
}

impl Etcd {
    fn start(folder: &Path) -> Self {
        let (port, peers) = (free_port(), free_port());
        let [clients, peers] = [port, peers].map(|port| format!("http://127.0.0.1:{port}"));
        let data = folder.join("etcd");
        let flags = [
            "--data-dir",
            text(&data),
            "--listen-client-urls",
            &clients,
            "--advertise-client-urls",
            &clients,
            "--listen-peer-urls",
            &peers,
            "--initial-advertise-peer-urls",
            &peers,
            "--initial-cluster",
            &format!("default={peers}"),
        ];
        let server = run(&peer("etcd"), &flags);
        wait_for("etcd listens", SOON, || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self { server, port }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        end(&mut self.server);
    }
}

impl Contestant {
    fn start(kind: &Kind, ground: &Ground, name: &str) -> Self {
        let log = ground.folder.path().join(name);
        Self {
            processes: (kind.start)(ground, name, &log),
            log,
        }
    }

    /// When it first acted after this moment.
    fn acted_since(&self, since: u64) -> Option<u64> {
        let log = std::fs::read_to_string(&self.log).ok()?;
        let mut acts = log.lines().filter(|line| line.contains(" act "));
        acts.find_map(|line| {
            line.split(' ')
                .next()?
                .parse()
                .ok()
                .filter(|at| *at > since)
        })
    }

    fn end(&mut self) {
        self.processes.iter_mut().for_each(end);
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        self.end();
    }
}

fn end(process: &mut Child) {
    // Already gone is as good.
    let _ = process.kill();
    let _ = process.wait();
}

fn run(program: &Path, flags: &[&str]) -> Child {
    let mut command = Command::new(program);
    let command = command
        .args(flags)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let started = command.spawn();
    started.unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

fn peer(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers")).join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of a temporary folder is text")
}

fn understudy(ground: &Ground, name: &str, log: &Path) -> Vec<Child> {
    let agent = format!("127.0.0.1:{}", free_port());
    let http = format!("127.0.0.1:{}", free_port());
    let flags = [
        "run",
        "--instance",
        name,
        "--lease-ttl",
        "3s",
        "--redis-url",
        &ground.redis.url(),
        "--grpc-listen",
        &agent,
        "--http-listen",
        &http,
    ];
    let agent_itself = run(&program("UNDERSTUDY_BIN", "understudy"), &flags);
    let register = ground.register.url();
    let flags = [
        "--agent",
        &agent,
        "--name",
        name,
        "--redis-url",
        &register,
        "--work-every-ms",
        "1",
        "--log",
        text(log),
    ];
    vec![
        run(&program("UNDERSTUDY_MINER", "examples/miner"), &flags),
        agent_itself,
    ]
}

fn incumbent(ground: &Ground, name: &str, log: &Path) -> Vec<Child> {
    let url = ground.redis.url();
    let flags = [
        "--redis-url",
        &url,
        "--name",
        name,
        "--log",
        text(log),
        "--ttl-ms",
        "3000",
        "--heartbeat-ms",
        "1000",
        "--work-every-ms",
        "1",
    ];
    vec![run(
        &program("UNDERSTUDY_INCUMBENT", "examples/incumbent"),
        &flags,
    )]
}

fn go(kind: &str, ground: &Ground, log: &Path) -> Vec<Child> {
    let flags = [
        "-kind",
        kind,
        "-address",
        &ground.address(),
        "-log",
        text(log),
        "-ttl",
        "3s",
    ];
    vec![run(&peer("elector"), &flags)]
}
