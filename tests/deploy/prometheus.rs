//! The incident, as a real Prometheus sees it: it scrapes two agents and evaluates the rules of deploy/prometheus, with
//! shorter `for:` times.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use stage::{Agent, Miner, Redis, boottime_ns, free_port, tool, wait_for};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);
const FLAGS: [&str; 4] = ["--lease-ttl", "3s", "--memory-every", "500ms"];
/// The three of the mission's own document.
const REFUSED: &str = "UnderstudyAcquisitionRefusedByOOM";
const MEMORY: &str = "UnderstudyRedisMemoryHigh";
const NO_LEADER: &str = "UnderstudyNoLeader";

struct Prometheus {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Prometheus {
    fn start(program: &PathBuf, agents: &[Agent]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for Prometheus");
        let at = |name: &str| folder.path().join(name);
        let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus/rules.yaml");
        let rules = fs::read_to_string(rules).expect("the rules");
        assert!(rules.contains("for: 2m"), "what is shortened here");
        fs::write(at("rules.yaml"), rules.replace("for: 2m", "for: 2s")).expect("a file");
        let targets: Vec<String> = agents
            .iter()
            .map(|agent| format!("'127.0.0.1:{}'", agent.http))
            .collect();
        let config = format!(
            "global:\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\n  evaluation_interval: 200ms\n\
             rule_files: [rules.yaml]\n\
             scrape_configs:\n- job_name: understudy\n  honor_labels: true\n  static_configs:\n  - targets: [{}]\n",
            targets.join(", ")
        );
        fs::write(at("prometheus.yml"), config).expect("a file");
        let port = free_port();
        let child = Command::new(program)
            .arg(format!("--config.file={}", at("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", at("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Prometheus starts");
        let prometheus = Self {
            child,
            port,
            _folder: folder,
        };
        let targets = agents.len().to_string();
        wait_for("both agents are scraped", 2 * SOON, || {
            let seen = prometheus
                .value("count(ha_miner_leader_acquisition_failures_total{reason=\"redis_oom\"})");
            (seen.as_deref() == Some(&targets)).then_some(())
        });
        prometheus
    }

    fn get(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
    }

    /// The value of an expression that has one.
    fn value(&self, expression: &str) -> Option<String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_()".contains(&byte);
        let escaped: String = expression
            .bytes()
            .map(|it| {
                if plain(it) {
                    char::from(it).to_string()
                } else {
                    format!("%{it:02X}")
                }
            })
            .collect();
        let answer = self.get(&format!("/api/v1/query?query={escaped}"))?;
        answer["data"]["result"][0]["value"][1]
            .as_str()
            .map(ToOwned::to_owned)
    }

    fn fires(&self, alert: &str) -> bool {
        let answer = self.get("/api/v1/alerts").unwrap_or_default();
        let alerts = answer["data"]["alerts"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let is_it = |it: &Value| it["labels"]["alertname"] == alert && it["state"] == "firing";
        alerts.iter().any(is_it)
    }

    fn must_fire(&self, alert: &str) {
        wait_for(&format!("{alert} fires"), SOON, || {
            self.fires(alert).then_some(())
        });
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two pods, the first of which leads; Redis fills, and the leader's miner dies.
fn incident(flags: &[&str], then: impl Fn(&Prometheus, &Miner, u64)) {
    let Some(program) = tool("prometheus") else {
        return;
    };
    let redis = Redis::start();
    let flags = [&FLAGS[..], flags].concat();
    let agents = ["a", "b"].map(|name| Agent::start(name, &redis, &flags));
    agents.iter().for_each(Agent::wait_until_up);
    let mut first = Miner::start("first", &agents[0], &redis);
    first.wait_until_acting(0, SOON);
    let second = Miner::start("second", &agents[1], &redis);
    agents[1].wait_for_reason("held_by_other", SOON);
    let prometheus = Prometheus::start(&program, &agents);
    for alert in [REFUSED, MEMORY, NO_LEADER] {
        assert!(
            !prometheus.fires(alert),
            "{alert} is silent while all is well"
        );
    }
    redis.fill();
    prometheus.must_fire(MEMORY);
    let killed = boottime_ns();
    first.kill();
    then(&prometheus, &second, killed);
    redis.relieve();
    wait_for("the memory alert ends", SOON, || {
        (!prometheus.fires(MEMORY)).then_some(())
    });
}

#[test]
fn the_missions_alerts_fire_when_nobody_can_be_elected() {
    incident(&["--acquire-under-oom=false"], |prometheus, _, _| {
        prometheus.must_fire(REFUSED);
        prometheus.must_fire(NO_LEADER);
        assert_eq!(
            prometheus.value("max(ha_miner_leader_status)").as_deref(),
            Some("0")
        );
        // Two replicas, one lock: one page each.
        for alert in [REFUSED, NO_LEADER] {
            let pages = format!(
                "count(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\",severity=\"critical\",lock=~\".+/0/ha:miner:.+\"}})"
            );
            wait_for(&format!("one page of {alert}"), SOON, || {
                (prometheus.value(&pages).as_deref() == Some("1")).then_some(())
            });
        }
    });
}

#[test]
fn by_default_they_show_that_leadership_never_stopped() {
    incident(&[], |prometheus, second, killed| {
        second.wait_until_acting(killed, SOON);
        // Longer than the alert would need.
        std::thread::sleep(Duration::from_secs(5));
        for alert in [REFUSED, NO_LEADER] {
            assert!(!prometheus.fires(alert), "{alert}");
        }
        // One scrape may fall between the two; a second would be a gap.
        let seen = "sum_over_time((max(ha_miner_leader_status)==bool 0)[10s:200ms])";
        let gaps: f64 = prometheus
            .value(seen)
            .and_then(|it| it.parse().ok())
            .expect("a number");
        assert!(gaps <= 1.0, "{gaps} scrapes without a leader");
        let under_oom = "sum(ha_miner_leader_elections_under_oom_total)";
        assert_eq!(prometheus.value(under_oom).as_deref(), Some("1"));
    });
}
