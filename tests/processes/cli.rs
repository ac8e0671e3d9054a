//! The command line and HTTP: what a person types, and what a probe reads. Bad input gets an answer that
//! says what to do, and does no harm.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use stage::{Agent, Miner, Redis, free_port, never, program, wait_for};

const SOON: Duration = Duration::from_secs(10);

fn understudy(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_understudy"));
    command
        .args(words)
        .env_remove("UNDERSTUDY_GRPC_ADDR")
        .output()
        .expect("the command runs")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn every_bad_setting_is_told_at_once() {
    let output = understudy(&[
        "run",
        "--redis-url",
        "http://user:hunter2@host",
        "--lease-ttl",
        "0",
        "--grpc-listen",
        "0.0.0.0:1",
        "--http-listen",
        "9090",
        "--instance",
        "a b",
        "--miner-liveness",
        "perhaps",
    ]);
    let said = text(&output);
    assert_eq!(code(&output), Some(64), "{said}");
    for flag in [
        "redis-url",
        "lease-ttl",
        "grpc-listen",
        "http-listen",
        "instance",
        "miner-liveness",
    ] {
        assert!(
            said.contains(&format!("--{flag}=")),
            "--{flag} is missing in:\n{said}"
        );
    }
    assert!(!said.contains("hunter2"), "{said}");
    assert_eq!(code(&understudy(&["run", "--no-such-flag"])), Some(64));
    assert_eq!(code(&understudy(&["no-such-command"])), Some(64));
    for (flags, allowed) in [
        (&["--redis-url", "redis://a,b"][..], "redis-cluster://"),
        (
            &["--redis-url", "redis-sentinel://a,b"],
            "with the name of the primary",
        ),
        (
            &["--redis-url", "redis-cluster://a/1"],
            "a cluster has only 0",
        ),
        (&["--redis-ca-file", "ca.pem"], "only with a rediss:// URL"),
        (
            &["--redis-url", "redis://a", "--sentinel-username", "u"],
            "only with a redis-sentinel:// URL",
        ),
        (&["--miner-liveness", "probe"], "such as tcp://127.0.0.1"),
        (
            &["--miner-probe", "tcp://127.0.0.1:1"],
            "only with --miner-liveness=probe",
        ),
    ] {
        let output = understudy(&[&["run"], flags].concat());
        assert_eq!(code(&output), Some(64), "{flags:?}");
        assert!(text(&output).contains(allowed), "{}", text(&output));
    }
}

#[test]
fn help_names_every_flag_and_shows_no_secret() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_understudy"));
    command.args(["run", "--help"]);
    command
        .env("UNDERSTUDY_REDIS_URL", "redis://:hunter2@r")
        .env("UNDERSTUDY_REDIS_PASSWORD", "hunter2");
    let output = command.output().expect("the command runs");
    let said = text(&output);
    assert_eq!(code(&output), Some(0));
    assert!(said.contains("--acquire-under-oom") && said.contains("UNDERSTUDY_ACQUIRE_UNDER_OOM"));
    assert!(!said.contains("hunter2"), "{said}");
    assert_eq!(code(&understudy(&["--version"])), Some(0));
}

#[test]
fn a_flag_wins_over_its_environment_twin() {
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_understudy"));
        command
            .args(words)
            .env("UNDERSTUDY_LEASE_TTL", "nonsense")
            .env("UNDERSTUDY_LOG_FORMAT", "xml");
        text(&command.output().expect("the command runs"))
    };
    let said = run(&["run"]);
    assert!(
        said.contains("--lease-ttl=nonsense") && said.contains("--log-format=xml"),
        "{said}"
    );
    let said = run(&["run", "--lease-ttl", "5s"]);
    assert!(
        !said.contains("--lease-ttl") && said.contains("--log-format=xml"),
        "{said}"
    );
}

/// The agent's log from its start to the first line that has `until`, with these variables in its environment.
fn log_with(variables: &[(&str, &str)], flags: &[&str], until: &str) -> String {
    let mut run = Command::new(program("UNDERSTUDY_BIN", "understudy"));
    run.args(["run", "--instance", "a", "--grpc-listen", "127.0.0.1:0"])
        .args(["--http-listen", "127.0.0.1:0"])
        .args(["--redis-url", "redis://127.0.0.1:1"])
        .args(flags)
        .env_remove("RUST_LOG")
        .env("NO_COLOR", "1");
    // Variables that tell the tests where things are would look like settings too.
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|it| it.to_string_lossy().starts_with("UNDERSTUDY_")) {
        run.env_remove(name);
    }
    run.envs(variables.iter().copied());
    let mut agent = Running(run.stdout(Stdio::piped()).spawn().expect("it starts"));
    let lines = BufReader::new(agent.0.stdout.take().expect("piped")).lines();
    let mut log = String::new();
    for line in lines.map_while(Result::ok) {
        log += &line;
        log.push('\n');
        if line.contains(until) {
            break;
        }
    }
    log
}

/// Without the WARN, a mistyped setting would silently do nothing.
#[test]
fn a_variable_that_is_no_setting_is_told_with_the_one_that_was_meant() {
    let variables = [
        ("UNDERSTUDY_LEASE_TLL", "hunter2"),
        ("UNDERSTUDY_LEASE_TTL", "20s"),
        ("UNDERSTUDY_SERVICE_HOST", "10.0.0.1"),
        ("UNDERSTUDY_PORT_9095_TCP", "tcp://10.0.0.1:9095"),
    ];
    let log = log_with(&variables, &[], "started");
    let told: Vec<_> = log
        .lines()
        .filter(|it| it.contains("not a setting"))
        .collect();
    let [line] = told[..] else {
        panic!("one line, not {told:?} in:\n{log}")
    };
    for part in ["WARN", "UNDERSTUDY_LEASE_TLL", "UNDERSTUDY_LEASE_TTL"] {
        assert!(line.contains(part), "{line}");
    }
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn the_level_of_the_log_is_a_flag_and_rust_log_says_more() {
    let failed = "acquisition failed";
    let campaign = ["--miner-liveness", "always"];
    let quiet = log_with(
        &[],
        &[&campaign[..], &["--log-level", "warn"]].concat(),
        failed,
    );
    assert!(!quiet.contains("INFO") && quiet.contains("WARN"), "{quiet}");
    let loud = [("RUST_LOG", "info"), ("UNDERSTUDY_LOG_LEVEL", "error")];
    let log = log_with(&loud, &campaign, failed);
    assert!(log.contains("INFO"), "{log}");
}

#[test]
fn a_taken_port_is_told() {
    let redis = Redis::start();
    let first = Agent::start("a", &redis, &[]);
    first.wait_until_up();
    let free = || format!("127.0.0.1:{}", free_port());
    let taken = format!("127.0.0.1:{}", first.http);
    for (http, grpc, named) in [
        (&taken, &free(), format!("--http-listen={taken}")),
        (
            &free(),
            &first.address(),
            format!("--grpc-listen={}", first.address()),
        ),
    ] {
        let output = understudy(&[
            "run",
            "--redis-url",
            &redis.url(),
            "--http-listen",
            http,
            "--grpc-listen",
            grpc,
        ]);
        assert_eq!(code(&output), Some(1));
        assert!(text(&output).contains(&named), "{}", text(&output));
    }
}

/// A name as Kubernetes may give it to a pod.
#[test]
fn a_long_name_is_shortened() {
    let redis = Redis::start();
    let name = format!("{}-0", "a-release-of-miners-".repeat(12));
    let flags = ["--miner-liveness", "always", "--lease-ttl", "2s"];
    let agent = Agent::start(&name, &redis, &flags);
    agent.wait_until_leading(SOON);
    let short = agent.status()["instance"]
        .as_str()
        .expect("a name")
        .to_owned();
    assert!(
        short.len() <= 63 && short.starts_with("a-release-of-miners-a-release"),
        "{short}"
    );
    let holder = redis.tell(&["GET", "ha:miner:global_leader"]);
    assert!(holder.contains(&format!("{short}-")), "{holder}");
    agent.wait_for_log(&["WARN", "shortened", &short, &name]);
    let mut doctor = Command::new(program("UNDERSTUDY_BIN", "understudy"));
    doctor
        .args(["doctor", "--redis-url", &redis.url()])
        .env("POD_NAME", &name);
    let said = doctor.output().expect("the command runs");
    assert_eq!(code(&said), Some(0), "{}", text(&said));
    let refused = understudy(&["run", "--instance", &"a".repeat(254)]);
    assert_eq!(code(&refused), Some(64));
    assert!(
        text(&refused).contains("expected 1 to 253 of"),
        "{}",
        text(&refused)
    );
}

/// Killed when the test ends, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = (self.0.kill(), self.0.wait());
    }
}

/// `[::]` is for both families. If the agent listens only on IPv4, its probe finds it with the same flag.
#[test]
fn http_is_served_to_both_families_and_found_by_the_probe() {
    let program = program("UNDERSTUDY_BIN", "understudy");
    for (listen, both) in [("[::]", true), ("0.0.0.0", false)] {
        let port = free_port();
        let mut run = Command::new(&program);
        run.args(["run", "--instance", "a", "--grpc-listen", "127.0.0.1:0"]);
        run.args(["--http-listen", &format!("{listen}:{port}")]);
        let _agent = Running(run.stdout(Stdio::null()).spawn().expect("it starts"));
        wait_for("the agent serves HTTP", SOON, || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        assert_eq!(TcpStream::connect(("::1", port)).is_ok(), both, "{listen}");
        for address in ["[::]", "0.0.0.0", "127.0.0.1"] {
            let mut probe = Command::new(&program);
            probe.args([
                "probe",
                "live",
                "--http-listen",
                &format!("{address}:{port}"),
            ]);
            let probed = probe.output().expect("the command runs");
            assert_eq!(
                code(&probed),
                Some(0),
                "{listen} by {address}: {}",
                text(&probed)
            );
        }
    }
}

#[test]
fn a_wrong_password_is_told_and_never_shown() {
    let redis = Redis::with(&["--requirepass", "hunter2"]);
    let with = |password: &str| format!("redis://:{password}@127.0.0.1:{}", redis.port);
    let wrong = Agent::spawn(
        "a",
        &[
            "--redis-url",
            &with("wrong-secret"),
            "--miner-liveness",
            "always",
        ],
    );
    wrong.wait_until_up();
    wrong.wait_for_reason("redis_auth", SOON);
    assert_eq!(wrong.get("/ready").expect("an answer").0, 503);
    wrong.wait_for_log(&["WARN", "acquisition failed", "password"]);
    let output = understudy(&["leader", "--redis-url", &with("wrong-secret")]);
    assert_eq!(code(&output), Some(2), "{}", text(&output));
    assert!(!text(&output).contains("wrong-secret"));

    let right = Agent::spawn(
        "b",
        &[
            "--redis-url",
            &with("hunter2"),
            "--miner-liveness",
            "always",
            "--lease-ttl",
            "2s",
        ],
    );
    right.wait_until_up();
    right.wait_until_leading(SOON);
    let output = understudy(&["leader", "--redis-url", &with("hunter2")]);
    assert_eq!(code(&output), Some(0), "{}", text(&output));
    for agent in [&wrong, &right] {
        let (_, status) = agent.get("/status").expect("an answer");
        assert!(agent.logged(&["secret"]).is_empty() && agent.logged(&["hunter2"]).is_empty());
        assert!(!status.contains("secret") && !status.contains("hunter2"));
    }
    // The same for a password in a file.
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("password");
    std::fs::write(&file, "hunter2\n").expect("the file is written");
    let output = understudy(&[
        "leader",
        "--redis-url",
        &redis.url(),
        "--redis-password-file",
        file.to_str().expect("UTF-8"),
    ]);
    assert_eq!(code(&output), Some(0), "{}", text(&output));
}

#[test]
fn a_key_of_another_type_is_respected() {
    for key in ["ha:miner:global_leader", "{ha:miner:global_leader}:record"] {
        let redis = Redis::start();
        redis.tell(&["LPUSH", key, "precious"]);
        let agent = Agent::start(
            "a",
            &redis,
            &["--miner-liveness", "always", "--lease-ttl", "1s"],
        );
        agent.wait_until_up();
        agent.wait_for_reason("redis_wrong_type", SOON);
        never("it leads", Duration::from_secs(2), || agent.leads());
        agent.wait_for_log(&["WARN", "WRONGTYPE", "--lock-key"]);
        assert_eq!(redis.tell(&["LLEN", key]), ":1");
    }
}

#[test]
fn a_record_that_is_not_understood_is_respected() {
    for record in [
        &["schema", "2"][..],
        &["token", "1"],
        &["schema", "1", "token", "x"],
    ] {
        let redis = Redis::start();
        let key = "{ha:miner:global_leader}:record";
        redis.tell(&[&["HSET", key], record].concat());
        let agent = Agent::start(
            "a",
            &redis,
            &["--miner-liveness", "always", "--lease-ttl", "1s"],
        );
        agent.wait_until_up();
        agent.wait_for_reason("redis_error", SOON);
        never("it leads", Duration::from_secs(2), || agent.leads());
        agent.wait_for_log(&["WARN", "record"]);
        assert_eq!(redis.tell(&["HLEN", key]), format!(":{}", record.len() / 2));
    }
}

/// Bytes that are not text: the agent cannot judge them, and must not look at them without end either.
#[test]
fn a_record_of_bytes_is_respected() {
    let redis = Redis::start();
    let record = "redis.call('HSET', '{ha:miner:global_leader}:record', 'schema', '1', 'holder', '\\255', \
                  'token', '1', 'ttl', '1000', 'released', '1', 'gen', 'x')";
    redis.tell(&["EVAL", record, "0"]);
    let flags = ["--miner-liveness", "always", "--lease-ttl", "1s"];
    let agent = Agent::start("a", &redis, &flags);
    agent.wait_until_up();
    agent.wait_for_reason("redis_error", SOON);
    // One or two looks per second, and three rehearsals.
    let before = evaluations(&redis);
    never("it leads", Duration::from_secs(2), || agent.leads());
    let asked = evaluations(&redis) - before;
    assert!(asked < 60, "{asked} scripts within two seconds");
    agent.wait_for_log(&["WARN", "record", "no text"]);
}

fn evaluations(redis: &Redis) -> u64 {
    let stats = redis.tell(&["INFO", "commandstats"]);
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    let calls = line.and_then(|rest| rest.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

/// Nobody can ever be elected then: that must not look as if another instance led.
#[test]
fn a_lock_that_never_ends_is_told() {
    let redis = Redis::start();
    redis.tell(&["SET", "ha:miner:global_leader", "gohost-123"]);
    let agent = Agent::start("a", &redis, &["--miner-liveness", "always"]);
    agent.wait_until_up();
    agent.wait_for_reason("held_by_other", SOON);
    agent.wait_for_log(&["WARN", "never ends", "gohost-123", "delete the key"]);
    let told = understudy(&["leader", "--redis-url", &redis.url()]);
    assert!(text(&told).contains("never ends"), "{}", text(&told));
}

#[test]
fn an_unset_variable_is_no_wish_for_the_default() {
    let refused = understudy(&["run", "--instance", "a", "--redis-url", ""]);
    assert_eq!(code(&refused), Some(64));
    assert!(
        text(&refused).contains("--redis-url="),
        "{}",
        text(&refused)
    );
}

/// An agent that leads for its miner.
struct Led {
    redis: Redis,
    agent: Agent,
    _miner: Miner,
}

fn led() -> Led {
    let redis = Redis::start();
    let agent = Agent::start("a", &redis, &["--lease-ttl", "3s"]);
    agent.wait_until_up();
    let miner = Miner::start("m", &agent, &redis);
    miner.wait_until_acting(0, SOON);
    Led {
        redis,
        agent,
        _miner: miner,
    }
}

fn json(output: &Output) -> serde_json::Value {
    assert_eq!(code(output), Some(0), "{}", text(output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn that_nobody_leads_is_told_and_why() {
    let redis = Redis::start();
    let nobody = understudy(&["leader", "--redis-url", &redis.url()]);
    assert_eq!(code(&nobody), Some(1), "{}", text(&nobody));
    let agent = Agent::start("a", &redis, &["--lease-ttl", "3s"]);
    agent.wait_until_up();
    let status = text(&understudy(&["status", "--agent", &agent.address()]));
    assert!(status.contains("idle (no_miner)"), "{status}");
    let resigned = understudy(&["resign", "--agent", &agent.address()]);
    assert_eq!(code(&resigned), Some(1), "{}", text(&resigned));
}

#[test]
fn the_commands_tell_who_leads() {
    let led = led();
    let (address, url) = (led.agent.address(), led.redis.url());
    let status = understudy(&["status", "--agent", &address]);
    assert_eq!(code(&status), Some(0));
    let said = text(&status);
    assert!(said.contains("leader (elected)"), "{said}");
    let status = json(&understudy(&["status", "--json", "--agent", &address]));
    assert_eq!(status["role"], "leader");
    assert!(status["lease_remaining_seconds"].as_f64() > Some(0.0));
    assert_eq!(status["redis"]["writable"], true);
    let leader = json(&understudy(&["leader", "--json", "--redis-url", &url]));
    assert_eq!(leader["leader_id"], status["instance_id"]);
    assert_eq!(leader["fencing_token"], status["fencing_token"]);
    let http = format!("127.0.0.1:{}", led.agent.http);
    for question in ["ready", "live", "leader"] {
        let probe = understudy(&["probe", question, "--http-listen", &http]);
        assert_eq!(code(&probe), Some(0), "{question}: {}", text(&probe));
    }
}

#[test]
fn resign_hands_over_and_refuses_what_it_cannot_do() {
    let led = led();
    let address = led.agent.address();
    let resign = |flags: &[&str]| {
        let command = ["resign", "--agent", &address];
        code(&understudy(&[&command[..], flags].concat()))
    };
    assert_eq!(resign(&["--to", "b"]), Some(1));
    assert_eq!(resign(&["--hold-off", "2h"]), Some(64));
    assert_eq!(resign(&["--hold-off", "1h"]), Some(0));
    let http = format!("127.0.0.1:{}", led.agent.http);
    let probe = understudy(&["probe", "leader", "--http-listen", &http]);
    assert_eq!(code(&probe), Some(1), "{}", text(&probe));
}

#[test]
fn an_agent_that_is_not_there_is_told_from_a_bad_address() {
    let nothing = format!("127.0.0.1:{}", free_port());
    let refused = understudy(&["status", "--agent", &nothing]);
    assert_eq!(code(&refused), Some(2));
    assert!(text(&refused).contains("refused"), "{}", text(&refused));
    for agent in ["a b", "nowhere", "http://:"] {
        let bad = understudy(&["status", "--agent", agent]);
        assert_eq!(code(&bad), Some(64), "{}", text(&bad));
        let bad = understudy(&["resign", "--agent", agent]);
        assert_eq!(code(&bad), Some(64), "{}", text(&bad));
    }
    assert_eq!(
        code(&understudy(&["probe", "--http-listen", &nothing])),
        Some(2)
    );
    assert_eq!(
        code(&understudy(&[
            "leader",
            "--redis-url",
            &format!("redis://{nothing}")
        ])),
        Some(2)
    );
}

/// `understudy status --watch --json`, until it is dropped.
struct Watch {
    child: std::process::Child,
    lines: std::sync::mpsc::Receiver<serde_json::Value>,
}

impl Watch {
    fn start(agent: &Agent) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_understudy"))
            .args(["status", "--watch", "--json", "--agent", &agent.address()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the command runs");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // The test may have ended.
                let _ = sender.send(serde_json::from_str(&line).expect("JSON"));
            }
        });
        Self { child, lines }
    }

    /// Reads up to the first line for which this is true.
    fn wait_for(&self, what: &str, wanted: impl Fn(&serde_json::Value) -> bool) {
        let began = Instant::now();
        loop {
            let left = SOON.saturating_sub(began.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) if wanted(&line) => return,
                Ok(_) => {}
                Err(_) => panic!("the watch did not print: {what}"),
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One agent leads and the other stands by throughout; leadership never changes.
#[test]
fn the_watch_prints_when_redis_or_the_readiness_for_a_takeover_changes() {
    let redis = Redis::start();
    let mut flags = vec!["--lease-ttl", "3s", "--miner-liveness", "always"];
    // Periodic readings are not changes of ours.
    flags.extend(["--memory-every", "10m"]);
    let leader = Agent::start("leader", &redis, &flags);
    leader.wait_until_up();
    leader.wait_until_leading(SOON);
    let under_oom = ["--acquire-under-oom=false"];
    let standby = Agent::start("standby", &redis, &[&flags[..], &under_oom].concat());
    standby.wait_until_up();
    let watches = [&leader, &standby].map(Watch::start);
    let [leads, stands_by] = &watches;
    leads.wait_for("the leader", |line| {
        line["role"] == "leader" && line["redis"]["oom"] == false
    });
    stands_by.wait_for("that it could take over", |line| {
        line["takeover"]["ready"] == true && line["redis"]["oom"] == false
    });
    redis.fill();
    leads.wait_for("that Redis is out of memory", |line| {
        line["role"] == "leader" && line["redis"]["oom"] == true
    });
    stands_by.wait_for("that it could not take over", |line| {
        line["takeover"]["reason"] == "redis_oom" && line["redis"]["writable"] == false
    });
    redis.relieve();
    for watch in &watches {
        // It is ready again some seconds after the last refusal.
        watch.wait_for("that all is well", |line| {
            let ready = line["takeover"]["ready"] == true && line["ready"] == true;
            ready && line["redis"]["writable"] == true
        });
        while watch.lines.recv_timeout(Duration::from_secs(2)).is_ok() {}
        never(
            "it prints what has not changed",
            Duration::from_secs(2),
            || watch.lines.try_recv().is_ok(),
        );
    }
}

#[test]
fn an_agent_that_hangs_cannot_be_asked() {
    let redis = Redis::start();
    let agent = Agent::start("a", &redis, &[]);
    agent.wait_until_up();
    agent.signal(Signal::STOP);
    let began = Instant::now();
    let status = understudy(&["status", "--agent", &agent.address()]);
    let http = format!("127.0.0.1:{}", agent.http);
    let probe = understudy(&["probe", "live", "--http-listen", &http]);
    agent.signal(Signal::CONT);
    assert_eq!(code(&status), Some(2));
    assert!(
        text(&status).contains("no answer in time"),
        "{}",
        text(&status)
    );
    assert_eq!(code(&probe), Some(2), "{}", text(&probe));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

/// The setup of a pod's manifests.
#[test]
fn the_commands_find_the_agent_by_its_socket_and_the_log_is_json() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("grpc.sock").display().to_string();
    redis.fill();
    let mut agent = Agent::start(
        "a",
        &redis,
        &[
            "--grpc-socket",
            &socket,
            "--log-format",
            "json",
            "--acquire-under-oom=false",
            "--miner-liveness",
            "always",
            "--lease-ttl",
            "1s",
        ],
    );
    agent.wait_until_up();
    let status = Command::new(env!("CARGO_BIN_EXE_understudy"))
        .args(["status", "--json"])
        .env("UNDERSTUDY_GRPC_ADDR", format!("unix:{socket}"))
        .output()
        .expect("it runs");
    assert_eq!(code(&status), Some(0), "{}", text(&status));
    let line = wait_for("it is refused", SOON, || {
        agent.logged(&["acquisition refused"]).into_iter().next()
    });
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["level"], "ERROR", "{line}");
    let fields = if line["fields"].is_object() {
        &line["fields"]
    } else {
        &line
    };
    assert!(fields["consecutive_failures"].is_number(), "{line}");
    assert_eq!(fields["instance"], "a");
    agent.signal(Signal::TERM);
    assert!(agent.wait_until_gone(SOON).success());
}

#[test]
fn a_redis_on_a_unix_socket_works() {
    let redis = Redis::start();
    let url = format!("redis+unix://{}", redis.socket().display());
    let agent = Agent::spawn(
        "a",
        &[
            "--redis-url",
            &url,
            "--miner-liveness",
            "always",
            "--lease-ttl",
            "1s",
        ],
    );
    agent.wait_until_up();
    agent.wait_until_leading(SOON);
}

#[test]
fn http_answers_get_and_head_and_nothing_else() {
    let redis = Redis::start();
    let agent = Agent::start("a", &redis, &[]);
    agent.wait_until_up();
    let ask = |method: &str, path: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", agent.http)).expect("a connection");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
        .expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let code: u16 = answer
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .expect("a status");
        let body = answer
            .split_once("\r\n\r\n")
            .map_or("", |(_, body)| body)
            .to_owned();
        (code, body)
    };
    for path in ["/ready", "/live", "/leader", "/status", "/metrics"] {
        let (code, body) = ask("GET", path);
        assert!(
            code == 200 || (path == "/leader" && code == 503),
            "{path}: {code}"
        );
        assert!(!body.is_empty());
        assert_eq!(ask("HEAD", path), (code, String::new()), "{path}");
        assert_eq!(ask("POST", path).0, 405, "{path}");
        assert_eq!(ask("DELETE", path).0, 405, "{path}");
    }
    assert_eq!(ask("GET", "/nothing").0, 404);
    // Exactly the contract's list, once everything was asked for at least once.
    wait_for("a rehearsal and a reading", SOON, || {
        let read = agent.metric("ha_miner_redis_up").is_some()
            && agent.metric("ha_miner_redis_used_memory_bytes").is_some();
        (read
            && agent
                .metric("ha_miner_leader_takeover_ready{instance=\"a\"}")
                .is_some())
        .then_some(())
    });
    let (_, metrics) = ask("GET", "/metrics");
    for series in [
        "ha_miner_leader_acquisition_failures_total{instance=\"a\",reason=\"redis_oom\"} 0",
        "ha_miner_leader_acquisition_failures_total{instance=\"a\",reason=\"redis_error\"} 0",
        "ha_miner_leader_status{instance=\"a\"} 0",
        "ha_miner_leader_elections_total{instance=\"a\"} 0",
        "ha_miner_leader_losses_total{instance=\"a\"} 0",
        "ha_miner_leader_consecutive_acquire_failures{instance=\"a\"} 0",
        "ha_miner_leader_elections_under_oom_total{instance=\"a\"} 0",
        "ha_miner_leader_fencing_token{instance=\"a\"} 0",
        "ha_miner_leader_lease_remaining_seconds{instance=\"a\"} 0",
        "ha_miner_leader_renewal_failures_total{instance=\"a\",reason=\"redis_oom\"} 0",
        "ha_miner_leader_takeover_ready{instance=\"a\"} 1",
        "ha_miner_leaderless_seconds_total{instance=\"a\"} ",
        "ha_miner_miner_connected{instance=\"a\"} 0",
        "ha_miner_redis_used_memory_bytes ",
        "ha_miner_redis_max_memory_bytes 0",
        "ha_miner_redis_memory_usage_ratio -1",
        "ha_miner_redis_up 1",
        "ha_miner_redis_writable 1",
        "ha_miner_redis_evicting_policy 0",
        "ha_miner_redis_write_refused_ratio 0",
        "ha_miner_redis_memory_last_check_timestamp_seconds ",
        "ha_miner_redis_command_duration_seconds_count{command=\"look\"} ",
        &format!(
            "ha_miner_build_info{{lock=\"127.0.0.1:{}/0/ha:miner:global_leader\",name=\"a\",revision=",
            redis.port
        ),
        "process_resident_memory_bytes",
    ] {
        assert!(
            metrics.contains(series),
            "{series} is missing in\n{metrics}"
        );
    }
}

#[test]
fn a_flood_of_half_sent_requests_passes() {
    let redis = Redis::start();
    let agent = Agent::start(
        "a",
        &redis,
        &["--miner-liveness", "always", "--lease-ttl", "1s"],
    );
    agent.wait_until_up();
    agent.wait_until_leading(SOON);
    let token = agent.token();
    let half: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", agent.http)).expect("a connection");
            stream.write_all(b"GET /metrics HT").expect("written");
            stream
        })
        .collect();
    let began = Instant::now();
    // All places are taken; one of these connections gives way.
    let answered = stage::wait_for("an answer", SOON, || agent.get("/live").ok());
    assert_eq!(answered.0, 200);
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(agent.token(), token, "the flood cost no term");
    drop(half);
}
