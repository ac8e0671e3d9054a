//! Several servers that act as one: a primary watched by sentinels, and a cluster.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::session::ask_as;
use super::{Redis, free_port, redis, wait_for};

const SETTLED: Duration = Duration::from_secs(60);
/// The name by which the sentinels know the primary.
pub const MASTER: &str = "mymaster";

/// A primary, a replica, and three sentinels that think a server dead after a second.
pub struct Sentinels {
    /// By which they are reached.
    host: &'static str,
    pub primary: Redis,
    pub replica: Redis,
    pub sentinels: Vec<Sentinel>,
}

pub struct Sentinel {
    child: Child,
    pub port: u16,
    tls_port: Option<u16>,
    directory: TempDir,
    guarded: bool,
}

/// Three primaries with a replica each, and a node timeout of a second.
pub struct Cluster {
    /// By which they are reached.
    host: &'static str,
    pub nodes: Vec<Redis>,
}

/// The passwords of Redis and of the sentinels, if they have any.
pub const PASSWORDS: [&str; 2] = ["of-redis", "of-the-sentinels"];

impl Sentinels {
    pub fn start() -> Self {
        Self::with("127.0.0.1", &[], "")
    }

    /// Redis and the sentinels each require their own password.
    pub fn guarded() -> Self {
        let [redis, sentinel] = PASSWORDS;
        let config = format!("sentinel auth-pass {MASTER} {redis}\nrequirepass {sentinel}\n");
        let options = ["--requirepass", redis, "--masterauth", redis];
        Self::with("127.0.0.1", &options, &config)
    }

    /// All servers use TLS, among themselves too, with these command-line options of Redis.
    pub fn over_tls(papers: &[&str]) -> Self {
        let of_each: Vec<_> = papers.chunks(2).map(|it| it.join(" ")).collect();
        let config = of_each.join("\n").replace("--", "") + "\ntls-replication yes\n";
        let options = [papers, &["--tls-replication", "yes"]].concat();
        Self::with("127.0.0.1", &options, &config)
    }

    /// The same, but the sentinels know each other and the servers by host name.
    pub fn over_tls_by_name(papers: &[&str]) -> Self {
        let of_each: Vec<_> = papers.chunks(2).map(|it| it.join(" ")).collect();
        let config = of_each.join("\n").replace("--", "")
            + "\ntls-replication yes\nsentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n\
               sentinel announce-ip localhost\n";
        let by_name = [
            "--tls-replication",
            "yes",
            "--replica-announce-ip",
            "localhost",
        ];
        Self::with("localhost", &[papers, &by_name].concat(), &config)
    }

    fn with(host: &'static str, options: &[&str], config: &str) -> Self {
        let server = |more: &[&str]| {
            let own = tls_port(options, free_port).map(|port| port.to_string());
            let own = own.iter().flat_map(|port| ["--tls-port", port]);
            let own: Vec<_> = own.collect();
            Redis::with(&[options, &own, more].concat())
        };
        let primary = server(&[]);
        let port = primary.tls_port().unwrap_or(primary.port);
        let replica = server(&["--replicaof", host, &port.to_string()]);
        let sentinels = (0..3)
            .map(|_| Sentinel::start(host, port, tls_port(options, free_port), config))
            .collect();
        let set = Self {
            host,
            primary,
            replica,
            sentinels,
        };
        for sentinel in &set.sentinels {
            wait_for("the sentinels know each other", SETTLED, || {
                let told = sentinel.ask(&["INFO", "sentinel"]).ok()?;
                told.contains("slaves=1,sentinels=3").then_some(())
            });
        }
        set
    }

    pub fn url(&self) -> String {
        let ports = self.sentinels.iter().map(|it| (it.port, it.tls_port));
        format!("{}/{MASTER}", url("sentinel", self.host, ports))
    }

    /// From now on the replica misses what the primary writes.
    pub fn cut_replica(&self) {
        cut(&self.replica);
    }

    pub fn wait_until_promoted(&self) {
        wait_for("the replica is promoted", SETTLED, || {
            // A sentinel that promotes it cuts its clients off.
            let told = self.replica.ask(&["INFO", "replication"]).ok()?;
            told.contains("role:master").then_some(())
        });
    }
}

impl Sentinel {
    fn start(host: &str, primary: u16, tls_port: Option<u16>, more: &str) -> Self {
        let port = free_port();
        // Before a host name is read.
        let names = "sentinel resolve-hostnames yes\n";
        let before = if more.contains(names) { names } else { "" };
        let tls = tls_port.map(|port| format!("tls-port {port}\n"));
        let more = tls.unwrap_or_default() + more;
        let directory = tempfile::tempdir().expect("a directory for the sentinel");
        let config = format!(
            "port {port}\nbind 127.0.0.1\n{before}sentinel monitor {MASTER} {host} {primary} 2\n\
             sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 3000\n{more}"
        );
        std::fs::write(directory.path().join("sentinel.conf"), config).expect("its configuration");
        let mut sentinel = Self {
            child: spawn(&directory),
            port,
            tls_port,
            directory,
            guarded: more.contains("requirepass"),
        };
        sentinel.wait_until_up();
        sentinel
    }

    fn wait_until_up(&mut self) {
        wait_for("the sentinel answers", SETTLED, || self.ask(&["PING"]).ok());
    }

    pub fn ask(&self, words: &[&str]) -> std::io::Result<String> {
        let password = self.guarded.then_some(PASSWORDS[1]);
        ask_as(self.port, password, redis::ASK, words)
    }

    pub fn kill(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn start_again(&mut self) {
        self.child = spawn(&self.directory);
        self.wait_until_up();
    }
}

fn spawn(directory: &TempDir) -> Child {
    Command::new(redis::engine())
        .args(["sentinel.conf", "--sentinel"])
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the sentinel starts")
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.kill();
    }
}

/// With TLS each server has a port for it.
fn tls_port(options: &[&str], free: fn() -> u16) -> Option<u16> {
    options.contains(&"--tls-cert-file").then(free)
}

/// The addresses of servers with these ports, the second of each for TLS.
fn url(kind: &str, host: &str, ports: impl Iterator<Item = (u16, Option<u16>)>) -> String {
    let mut scheme = "redis";
    let hosts: Vec<_> = ports
        .map(|(plain, tls)| {
            scheme = if tls.is_some() { "rediss" } else { "redis" };
            format!("{host}:{}", tls.unwrap_or(plain))
        })
        .collect();
    format!("{scheme}-{kind}://{}", hosts.join(","))
}

const TLS_CLUSTER: [&str; 4] = ["--tls-cluster", "yes", "--tls-replication", "yes"];

impl Cluster {
    pub fn start() -> Self {
        Self::with("127.0.0.1", "127.0.0.1", &[])
    }

    /// Like [`Sentinels::over_tls`].
    pub fn over_tls(papers: &[&str]) -> Self {
        Self::with("127.0.0.1", "127.0.0.1", &[papers, &TLS_CLUSTER].concat())
    }

    /// The same, but the nodes tell clients to use a host name: `preferred` is a
    /// `cluster-preferred-endpoint-type`.
    pub fn over_tls_by_name(papers: &[&str], preferred: &str) -> Self {
        let by_name = [
            "--cluster-announce-hostname",
            "localhost",
            "--cluster-preferred-endpoint-type",
            preferred,
        ];
        Self::with(
            "localhost",
            "127.0.0.1",
            &[papers, &TLS_CLUSTER, &by_name].concat(),
        )
    }

    /// Over IPv6, if this machine has it.
    pub fn by_ipv6() -> Option<Self> {
        std::net::TcpListener::bind("[::1]:0").ok()?;
        Some(Self::with("[::1]", "::1", &["--bind", "127.0.0.1 ::1"]))
    }

    fn with(host: &'static str, meet: &str, options: &[&str]) -> Self {
        let cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
        let nodes: Vec<_> = (0..6)
            .map(|_| {
                let own = tls_port(options, redis::free_ports).map(|port| port.to_string());
                let own: Vec<_> = own.iter().flat_map(|port| ["--tls-port", port]).collect();
                Redis::node(&[&cluster, options, &own].concat())
            })
            .collect();
        let port = nodes[0].tls_port().unwrap_or(nodes[0].port).to_string();
        for (index, node) in nodes.iter().enumerate() {
            node.tell(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
            if index > 0 {
                node.tell(&["CLUSTER", "MEET", meet, &port]);
            }
        }
        for (index, node) in nodes[..3].iter().enumerate() {
            let slots: Vec<_> = (0..16384)
                .filter(|slot| slot * 3 / 16384 == index)
                .map(|slot| slot.to_string())
                .collect();
            let words = ["CLUSTER", "ADDSLOTS"].into_iter();
            node.tell(
                &words
                    .chain(slots.iter().map(String::as_str))
                    .collect::<Vec<_>>(),
            );
        }
        let cluster = Self { host, nodes };
        for (index, replica) in cluster.nodes[3..].iter().enumerate() {
            let primary = cluster.nodes[index].tell(&["CLUSTER", "MYID"]);
            wait_for("a replica follows its primary", SETTLED, || {
                let told = replica.tell(&["CLUSTER", "REPLICATE", &primary]);
                told.starts_with("+OK").then_some(())
            });
        }
        for node in &cluster.nodes {
            wait_for("the cluster stands", SETTLED, || {
                let info = node.tell(&["CLUSTER", "INFO"]);
                let nodes = node.tell(&["CLUSTER", "NODES"]);
                let replicas = nodes.lines().filter(|line| line.contains("slave")).count();
                (info.contains("cluster_state:ok") && replicas == 3).then_some(())
            });
            let replicates = || {
                node.tell(&["INFO", "replication"])
                    .contains("_link_status:down")
            };
            wait_for("the replicas are in sync", SETTLED, || {
                (!replicates()).then_some(())
            });
        }
        cluster
    }

    pub fn url(&self) -> String {
        let ports = self.nodes.iter().map(|it| (it.port, it.tls_port()));
        url("cluster", self.host, ports)
    }

    /// Moves the slot of `key`, with both keys in it, from one primary to another, properly.
    pub fn move_slot(&self, keys: [&str; 2], from: usize, to: usize) {
        let slot = self.nodes[from].tell(&["CLUSTER", "KEYSLOT", keys[0]]);
        let slot = slot.trim_start_matches(':');
        let id = |node: usize| self.nodes[node].tell(&["CLUSTER", "MYID"]);
        let set = |node: usize, words: [&str; 2]| {
            let words = ["CLUSTER", "SETSLOT", slot, words[0], words[1]];
            assert_eq!(self.nodes[node].tell(&words), "+OK");
        };
        set(to, ["IMPORTING", &id(from)]);
        set(from, ["MIGRATING", &id(to)]);
        let port = self.nodes[to].port.to_string();
        let place = [
            "MIGRATE",
            "127.0.0.1",
            &port,
            "",
            "0",
            "1000",
            "REPLACE",
            "KEYS",
        ];
        let moved = self.nodes[from].tell(&[&place[..], &keys].concat());
        assert_eq!(moved, "+OK");
        for node in [to, from] {
            set(node, ["NODE", &id(to)]);
        }
    }

    /// A replica leaves the cluster, and forms its own with all slots.
    pub fn cast_out(&self, node: usize) {
        let outcast = &self.nodes[node];
        let id = outcast.tell(&["CLUSTER", "MYID"]);
        assert_eq!(outcast.tell(&["CLUSTER", "RESET", "HARD"]), "+OK");
        for other in self.nodes.iter().filter(|it| it.port != outcast.port) {
            assert_eq!(other.tell(&["CLUSTER", "FORGET", &id]), "+OK");
        }
        let slots: Vec<_> = (0..16384).map(|slot| slot.to_string()).collect();
        let words = ["CLUSTER", "ADDSLOTS"].into_iter();
        let words: Vec<_> = words.chain(slots.iter().map(String::as_str)).collect();
        assert_eq!(outcast.tell(&words), "+OK");
        wait_for("it stands alone", SETTLED, || {
            let info = outcast.tell(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok").then_some(())
        });
    }

    pub fn wait_until_promoted(&self, replica: usize) {
        wait_for("the replica is promoted", SETTLED, || {
            let told = self.nodes[replica].ask(&["INFO", "replication"]).ok()?;
            told.contains("role:master").then_some(())
        });
    }

    /// The primary that owns the slot of `key`, and its replica.
    pub fn owner(&self, key: &str) -> (usize, usize) {
        let owner = (0..3).find(|index| {
            let told = self.nodes[*index].tell(&["GET", key]);
            !told.starts_with("-MOVED")
        });
        let owner = owner.expect("an owner");
        (owner, owner + 3)
    }
}

/// Breaks the replica's link to the primary for good.
pub fn cut(replica: &Redis) {
    replica.tell(&["CONFIG", "SET", "masterauth", "wrong"]);
    replica.tell(&["CLIENT", "KILL", "TYPE", "master"]);
}
