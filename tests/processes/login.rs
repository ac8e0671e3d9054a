//! Logging in: TLS, users, and passwords that change.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use stage::{Agent, Cluster, Redis, Sentinels, free_port, never, program, wait_for};
use tempfile::TempDir;

const LOCK: &str = "ha:miner:global_leader";
const SOON: Duration = Duration::from_secs(10);
const FLAGS: [&str; 6] = [
    "--lease-ttl",
    "3s",
    "--redis-timeout",
    "1s",
    "--miner-liveness",
    "always",
];

/// An authority, and a certificate that it issued for an address or a host name, in PEM files.
struct Papers {
    folder: TempDir,
}

impl Papers {
    fn new() -> Self {
        Self::of("127.0.0.1")
    }

    fn of(host: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        let name = |params: &mut CertificateParams, name| {
            params.distinguished_name.push(DnType::CommonName, name);
        };
        name(&mut params, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate().expect("a key");
        let ca = params.self_signed(&ca_key).expect("an authority");
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![host.into()]).expect("parameters");
        name(&mut params, "an agent or a server");
        let cert = params.signed_by(&key, &issuer).expect("a certificate");
        let files = [
            ("ca.pem", ca.pem()),
            ("cert.pem", cert.pem()),
            ("key.pem", key.serialize_pem()),
        ];
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// These options, each with its file.
    fn options(&self, names: [&str; 3]) -> Vec<String> {
        let files = ["ca.pem", "cert.pem", "key.pem"].map(|file| self.path(file));
        let options = names.into_iter().zip(files);
        options
            .flat_map(|(name, file)| [name.into(), file])
            .collect()
    }

    /// The options of a server that accepts TLS clients with a certificate of the same authority.
    fn of_server(&self) -> Vec<String> {
        self.options(["--tls-ca-cert-file", "--tls-cert-file", "--tls-key-file"])
    }

    fn of_agent(&self) -> Vec<String> {
        self.options(["--redis-ca-file", "--redis-cert-file", "--redis-key-file"])
    }
}

fn words(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

fn secret(folder: &Path, text: &str) -> PathBuf {
    let file = folder.join("password");
    std::fs::write(&file, format!("{text}\n")).expect("a file");
    file
}

#[test]
fn over_tls_with_a_certificate_of_ones_own() {
    let papers = Papers::new();
    let port = free_port();
    let door = ["--tls-port", &port.to_string()];
    let _redis = Redis::with(&[&door, &words(&papers.of_server())[..]].concat());
    let url = format!("rediss://127.0.0.1:{port}");
    let whole = papers.of_agent();
    let agent = Agent::spawn(
        "a",
        &[&["--redis-url", &url], &words(&whole)[..], &FLAGS].concat(),
    );
    agent.wait_until_leading(3 * SOON);
    let plain = format!("redis://127.0.0.1:{port}");
    let output = Command::new(program("UNDERSTUDY_BIN", "understudy"))
        .args(["doctor", "--redis-timeout", "1s", "--redis-url", &plain])
        .output();
    let said = String::from_utf8(output.expect("the doctor runs").stdout).expect("text");
    assert!(
        said.contains("write rediss:// instead of redis://"),
        "{said}"
    );
    // If either side rejects the other, the agent says so.
    let other = Papers::new();
    let stranger = ["--redis-ca-file", &other.path("ca.pem")];
    let without = &whole[..2];
    let without = [without[0].as_str(), &without[1]];
    for (flags, why) in [
        (&stranger, "invalid peer certificate"),
        (&without, "CertificateRequired"),
    ] {
        let agent = Agent::spawn("b", &[&["--redis-url", &url], &flags[..], &FLAGS].concat());
        agent.wait_until_up();
        agent.wait_for_reason("redis_tls", 3 * SOON);
        wait_for(why, SOON, || {
            (!agent
                .logged(&["WARN", "Redis does not answer", why, "--redis-ca-file"])
                .is_empty())
            .then_some(())
        });
    }
}

/// The agent asks over TLS where the primary is, and reaches the next primary over TLS too.
fn over_tls_to_the_next_primary(papers: &Papers, url: &str, fail_over: impl FnOnce()) {
    let flags = papers.of_agent();
    let agent = Agent::spawn(
        "a",
        &[&["--redis-url", url], &words(&flags)[..], &FLAGS].concat(),
    );
    agent.wait_until_leading(3 * SOON);
    wait_for("it listens", SOON, || {
        (agent.status()["hears_events"] == true).then_some(())
    });
    let said = Command::new(program("UNDERSTUDY_BIN", "understudy"))
        .args(["doctor", "--redis-url", url])
        .args(&flags)
        .output();
    let said = said.expect("the doctor runs");
    assert!(said.status.success(), "{said:?}");
    fail_over();
    // By then the last lease from the old primary has ended.
    std::thread::sleep(Duration::from_secs(3));
    agent.wait_until_leading(3 * SOON);
}

fn over_tls_behind(papers: &Papers, mut set: Sentinels) {
    let url = set.url();
    over_tls_to_the_next_primary(papers, &url, || {
        set.primary.kill();
        set.wait_until_promoted();
    });
}

fn over_tls_in(papers: &Papers, mut cluster: Cluster) {
    let url = cluster.url();
    let (owner, replica) = cluster.owner(LOCK);
    over_tls_to_the_next_primary(papers, &url, || {
        cluster.nodes[owner].kill();
        cluster.wait_until_promoted(replica);
    });
}

#[test]
fn over_tls_behind_sentinel() {
    let papers = Papers::new();
    over_tls_behind(&papers, Sentinels::over_tls(&words(&papers.of_server())));
}

#[test]
fn over_tls_in_a_cluster() {
    let papers = Papers::new();
    over_tls_in(&papers, Cluster::over_tls(&words(&papers.of_server())));
}

/// The nodes' certificates hold host names only, and the nodes announce these names.
#[test]
fn over_tls_in_a_cluster_that_goes_by_names() {
    let papers = Papers::of("localhost");
    for preferred in ["hostname", "unknown-endpoint"] {
        over_tls_in(
            &papers,
            Cluster::over_tls_by_name(&words(&papers.of_server()), preferred),
        );
    }
}

#[test]
fn over_tls_behind_sentinels_that_go_by_names() {
    let papers = Papers::of("localhost");
    over_tls_behind(
        &papers,
        Sentinels::over_tls_by_name(&words(&papers.of_server())),
    );
}

/// Redis closes the connection of an unauthenticated client that sends much, before it answers NOAUTH.
#[test]
fn a_password_that_is_asked_for_under_a_leader_is_called_by_its_name() {
    let redis = Redis::start();
    let agent = Agent::start("a", &redis, &FLAGS);
    agent.wait_until_leading(3 * SOON);
    redis.tell(&["CONFIG", "SET", "requirepass", "new"]);
    // From now on Redis lets nobody in, including the test.
    let killed = redis.ask_with("new", &["CLIENT", "KILL", "TYPE", "normal"]);
    assert!(killed.is_ok(), "{killed:?}");
    agent.wait_for_reason("redis_auth", SOON);
    assert!(
        !agent
            .logged(&["renewal failed", "--redis-password-file"])
            .is_empty()
    );
    let astray = agent.logged(&["renewal failed", "this version does not know it"]);
    assert_eq!(astray, [""; 0]);
}

#[test]
fn a_password_that_was_rotated_is_read_again() {
    let redis = Redis::start();
    redis.tell(&[
        "ACL", "SETUSER", "miner", "on", ">first", "~*", "&*", "+@all",
    ]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = secret(folder.path(), "first").display().to_string();
    let flags = [
        "--redis-username",
        "miner",
        "--redis-password-file",
        &file,
        "--lease-ttl",
        "9s",
        "--miner-liveness",
        "always",
    ];
    let agent = Agent::start("a", &redis, &flags);
    agent.wait_until_leading(3 * SOON);
    let token = agent.token();
    assert_ne!(token, None);
    redis.tell(&["ACL", "SETUSER", "miner", "resetpass", ">second"]);
    redis.tell(&["CLIENT", "KILL", "USER", "miner"]);
    wait_for("it says that it is not let in", SOON, || {
        (!agent
            .logged(&["WARN", "Redis does not let this agent in"])
            .is_empty())
        .then_some(())
    });
    assert!(!agent.logged(&["hint=", "password"]).is_empty());
    secret(folder.path(), "second");
    wait_for("it is let in", SOON, || {
        (agent.get("/ready").ok()?.0 == 200).then_some(())
    });
    assert_eq!(agent.token(), token, "it led all the while");
    assert!(agent.logged(&["WARN", "lost"]).is_empty());
}

/// The output and exit code of a command.
fn told(words: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(program("UNDERSTUDY_BIN", "understudy"));
    told_by(command.args(words))
}

fn told_by(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().expect("the command runs");
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code(), said)
}

#[test]
fn a_url_that_is_not_understood_is_never_shown() {
    for (url, shown, form) in [
        (
            "h:6380,password=hunter2,ssl=True",
            "…",
            "StackExchange.Redis",
        ),
        (
            "redis://h:1,password=hunter2",
            "redis://…",
            "StackExchange.Redis",
        ),
        (
            "redis-cluster://h:1,password=hunter2",
            "redis-cluster://…",
            "StackExchange.Redis",
        ),
        (
            "redis-sentinel://a,b/m,password=hunter2",
            "redis-sentinel://…",
            "StackExchange.Redis",
        ),
        ("host=h password=hunter2", "…", "a list of settings"),
        (
            "redis://h;password=hunter2",
            "redis://…",
            "a list of settings",
        ),
        ("redis://h:hunter2", "redis://…", "invalid port"),
        (
            "redis://h/hunter2",
            "redis://…",
            "a database that is a number",
        ),
        ("redis://u:63#hunter2@h", "redis://…", "%23"),
        ("redis:hunter2", "…", "a host without a scheme"),
        ("hunter2://h", "…", "a URL that starts with redis://"),
    ] {
        for command in ["run", "doctor", "leader"] {
            let (code, said) = told(&[command, "--redis-url", url]);
            assert_eq!(code, Some(64), "{url}: {said}");
            let refused = format!("--redis-url={shown}: expected ");
            assert!(
                said.contains(&refused) && said.contains(form),
                "{url}: {said}"
            );
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
    let probe = "http://127.0.0.1:1/?token=hunter2";
    for words in [
        &["run", "redis://:hunter2@h"][..],
        &["redis://:hunter2@h"],
        &["leader", "--redis-url", "host=h", "password=hunter2"],
        &["probe", "h:1,password=hunter2"],
        &["status", "--json=redis://:hunter2@h"],
        &["run", "--redis-url:hunter2@h"],
        &["run", "--miner-probe", probe],
        &["run", "--miner-probe", "tcp://miner:1/hunter2"],
    ] {
        let (code, said) = told(words);
        assert_eq!(code, Some(64), "{words:?}: {said}");
        assert!(!said.contains("hunter2"), "{words:?}: {said}");
    }
    let url = "redis://:hunter2@h";
    let flags = [
        "lock-key",
        "http-listen",
        "lease-ttl",
        "miner-liveness",
        "instance",
        "grpc-listen",
    ];
    let all: Vec<_> = flags
        .iter()
        .map(|flag| format!("--{flag}={url}}}"))
        .collect();
    let (code, said) = told(&[&["run"], &words(&all)[..]].concat());
    assert_eq!(code, Some(64), "{said}");
    for flag in flags {
        assert!(
            said.contains(&format!("--{flag}=redis://…: expected ")),
            "{said}"
        );
    }
    assert!(!said.contains("hunter2"), "{said}");
    for words in [
        &["status", "--agent", url][..],
        &["status", "--agent", ":hunter2@h:1"],
        &["resign", "--hold-off", url],
        &["probe", "--http-listen", url],
    ] {
        let (code, said) = told(words);
        assert_eq!(code, Some(64), "{words:?}: {said}");
        assert!(!said.contains("hunter2"), "{words:?}: {said}");
    }
    // A wrong word that cannot hold a secret is shown, to help the user.
    assert!(told(&["statos"]).1.contains("'statos'"));
}

#[test]
fn a_secret_is_the_same_whatever_way_it_came() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    for (password, written) in [
        ("hunter2", &["hunter2", "hunter2\n", "hunter2\r\n"][..]),
        ("hunter2\n", &["hunter2\n\n"]),
        (" hunter2 ", &[" hunter2 ", " hunter2 \n"]),
    ] {
        let redis = Redis::start();
        redis.tell(&["CONFIG", "SET", "requirepass", password]);
        for text in written {
            std::fs::write(&file, text).expect("a file");
            let mut escaped = String::new();
            for byte in text.bytes() {
                escaped.push_str(&format!("%{byte:02x}"));
            }
            let mut commands: [Command; 3] =
                std::array::from_fn(|_| Command::new(program("UNDERSTUDY_BIN", "understudy")));
            for command in &mut commands {
                command.args(["doctor", "--redis-url"]);
            }
            commands[0]
                .arg(redis.url())
                .env("UNDERSTUDY_REDIS_PASSWORD", text);
            commands[1]
                .arg(redis.url())
                .arg("--redis-password-file")
                .arg(&file);
            commands[2].arg(format!("redis://:{escaped}@127.0.0.1:{}", redis.port));
            for (way, command) in ["environment", "file", "URL"].iter().zip(&mut commands) {
                let (code, said) = told_by(command);
                assert_eq!(code, Some(0), "{text:?} by the {way}: {said}");
            }
        }
    }
}

/// Records who dials, and never answers.
struct Door {
    listener: TcpListener,
}

impl Door {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("it does not wait");
        Self { listener }
    }

    fn address(&self) -> String {
        self.listener.local_addr().expect("bound").to_string()
    }

    fn was_used(&self) -> bool {
        self.listener.accept().is_ok()
    }
}

const WAITING: [&str; 2] = ["ERROR", "waiting for files that the settings name"];

#[test]
fn files_that_come_after_the_agent_are_waited_for() {
    let (papers, folder) = (Papers::new(), tempfile::tempdir().expect("a folder"));
    let port = free_port();
    let door = ["--tls-port", &port.to_string()];
    let redis = Redis::with(&[&door, &words(&papers.of_server())[..]].concat());
    redis.tell(&["CONFIG", "SET", "requirepass", "hunter2"]);
    let url = format!("rediss://127.0.0.1:{port}");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let flags = [
        ("--redis-password-file", "password"),
        ("--redis-ca-file", "ca.pem"),
        ("--redis-cert-file", "cert.pem"),
        ("--redis-key-file", "key.pem"),
    ];
    let named = flags
        .map(|(flag, name)| [flag.to_owned(), at(name)])
        .concat();
    let whole = [&["--redis-url", &url], &words(&named)[..], &FLAGS].concat();
    let agent = Agent::spawn("a", &whole);
    agent.wait_until_up();
    let missing = flags.map(|(flag, name)| format!("{flag}={}: No such file", at(name)));
    let missing = missing.each_ref().map(String::as_str);
    agent.wait_for_log(&[&WAITING[..], &missing].concat());
    agent.wait_for_reason("redis_tls", SOON);
    let (code, said) = agent.get("/ready").expect("an answer");
    assert!(code == 503 && said.contains("redis_tls"), "{said}");
    let doctor = [&["doctor", "--redis-url", &url], &words(&named)[..]].concat();
    let leader = [&["leader", "--redis-url", &url], &words(&named)[..]].concat();
    for (command, exit) in [(&doctor, 1), (&leader, 2)] {
        let (code, said) = told(command);
        assert_eq!(code, Some(exit), "{said}");
        assert!(missing.iter().all(|it| said.contains(it)), "{said}");
    }
    assert!(told(&doctor).1.contains("FAIL"));
    never("it is told twice", Duration::from_secs(2), || {
        agent.logged(&WAITING).len() > 1
    });
    // The files appear one by one, at first with wrong contents.
    std::fs::write(at("password"), "").expect("a file");
    std::fs::write(at("ca.pem"), "hunter2").expect("a file");
    std::fs::copy(papers.path("ca.pem"), at("cert.pem")).expect("a file");
    std::fs::copy(papers.path("key.pem"), at("key.pem")).expect("a file");
    let why = [
        "it is empty",
        "it holds no certificates in PEM",
        "it is not the key to --redis-cert-file",
    ];
    let mut report = String::new();
    wait_for("each is told with its reason", SOON, || {
        report = told(&doctor).1;
        why.iter().all(|it| report.contains(it)).then_some(())
    });
    agent.wait_for_log(&[&WAITING[..], &why].concat());
    for name in ["ca.pem", "cert.pem"] {
        std::fs::copy(papers.path(name), at(name)).expect("a file");
    }
    agent.wait_for_reason("redis_auth", SOON);
    agent.wait_for_log(&[&WAITING[..], &["--redis-password-file"]].concat());
    std::fs::write(at("password"), "hunter2\n").expect("a file");
    agent.wait_until_leading(3 * SOON);
    // A check of a moment ago, before the last file was there, still counts as fresh.
    wait_for("ready", SOON, || {
        (agent.get("/ready").ok()?.0 == 200).then_some(())
    });
    assert_eq!(told(&doctor).0, Some(0));
    let shown = agent.logged(&["hunter2"]);
    assert!(shown.is_empty() && !report.contains("hunter2"), "{shown:?}");
}

#[test]
fn nothing_is_dialled_before_a_secret_that_is_named_is_there() {
    let doors = [Door::new(), Door::new(), Door::new()];
    let [a, b, c] = doors.each_ref().map(Door::address);
    for (url, flag) in [
        (format!("redis://{a}"), "--redis-password-file"),
        (
            format!("redis-cluster://{a},{b},{c}"),
            "--redis-password-file",
        ),
        (
            format!("redis-sentinel://{a},{b},{c}/m"),
            "--redis-password-file",
        ),
        (
            format!("redis-sentinel://{a},{b},{c}/m"),
            "--sentinel-password-file",
        ),
    ] {
        let flags = ["--redis-url", &url, flag, "/nowhere/password"];
        let agent = Agent::spawn("a", &[&flags[..], &FLAGS].concat());
        agent.wait_until_up();
        agent.wait_for_reason("redis_auth", SOON);
        agent.wait_for_log(&[&WAITING[..], &["/nowhere/password"]].concat());
        never(
            "it dials, or tells it twice",
            Duration::from_secs(2),
            || doors.iter().any(Door::was_used) || agent.logged(&WAITING).len() > 1,
        );
    }
}
