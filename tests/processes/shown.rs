//! What people see: one snapshot over HTTP, gRPC and the command line, its changes and its history.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use stage::{Agent, Redis, never, wait_for};

const SOON: Duration = Duration::from_secs(10);
const ALWAYS: [&str; 4] = ["--miner-liveness", "always", "--lease-ttl", "3s"];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Runs `understudy status` with these flags, and those that find the agent.
fn status(agent: &Agent, flags: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_understudy"));
    command.args(["status", "--agent", &agent.address()]);
    let output = command.args(flags).output().expect("the command runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).expect("text")
}

fn leading(redis: &Redis) -> Agent {
    let agent = Agent::start("a", redis, &ALWAYS);
    agent.wait_until_up();
    agent.wait_until_leading(SOON);
    agent
}

/// The response to a GET with these headers: its head, then the body line by line.
struct Stream {
    head: String,
    lines: std::io::Lines<BufReader<TcpStream>>,
}

impl Stream {
    fn open(agent: &Agent, path: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", agent.http)).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("set");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n").expect("written");
        let mut lines = BufReader::new(stream).lines();
        let head = lines.by_ref().map_while(Result::ok);
        let head: Vec<_> = head.take_while(|line| !line.is_empty()).collect();
        Self {
            head: head.join("\n"),
            lines,
        }
    }

    /// The id and the snapshot of the next event for which this is true.
    fn event(&mut self, wanted: impl Fn(&Value) -> bool) -> (String, Value) {
        let mut id = String::new();
        for line in self.lines.by_ref() {
            let line = line.expect("an event in time");
            if let Some(it) = line.strip_prefix("id:") {
                it.trim().clone_into(&mut id);
            } else if let Some(data) = line.strip_prefix("data:") {
                // The lines of an event may come in any order.
                let snapshot = json(data);
                if wanted(&snapshot) {
                    if id.is_empty() {
                        let line = self.lines.next().expect("more").expect("in time");
                        line.trim_start_matches("id:").trim().clone_into(&mut id);
                    }
                    return (id, snapshot);
                }
            } else if line.is_empty() {
                id.clear();
            }
        }
        panic!("the stream has ended")
    }
}

/// A GET with these headers: the code, the head, the body.
fn get(agent: &Agent, path: &str, headers: &str) -> (String, String) {
    let headers = format!("{headers}Connection: close\r\n");
    let stream = Stream::open(agent, path, &headers);
    let body = stream.lines.map_while(Result::ok).collect::<Vec<_>>();
    (stream.head, body.join("\n"))
}

#[test]
fn every_way_to_ask_shows_the_same_snapshot_with_an_explanation() {
    let redis = Redis::start();
    let agent = leading(&redis);
    let over_http = agent.status();
    let over_grpc = json(&status(&agent, &["--json"]));
    let (_, events) = Stream::open(&agent, "/events", "").event(|_| true);
    let names = |it: &Value| {
        it.as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&over_http), names(&over_grpc));
    assert_eq!(names(&over_http), names(&events));
    assert_eq!(over_http["version"], env!("CARGO_PKG_VERSION"));
    for name in [
        "leadership_version",
        "explanation",
        "leader_since",
        "leader_id",
        "lock_key",
    ] {
        assert_eq!(over_http[name], over_grpc[name], "{name}");
        assert_eq!(over_http[name], events[name], "{name}");
    }
    let explanation = over_http["explanation"].as_str().expect("text");
    assert!(
        explanation.starts_with("This instance has led since 2"),
        "{explanation}"
    );
    assert!(status(&agent, &[]).contains(explanation));
    agent.wait_for_log(&["standing", "elected", explanation]);
}

#[test]
fn that_nobody_leads_is_explained_with_what_to_do() {
    let redis = Redis::start();
    redis.fill();
    let flags = [&ALWAYS[..], &["--acquire-under-oom=false"]].concat();
    let agent = Agent::start("a", &redis, &flags);
    agent.wait_until_up();
    agent.wait_for_reason("redis_oom", SOON);
    let shown = agent.status();
    let explanation = shown["explanation"].as_str().expect("text");
    for part in [
        "Nobody has led since",
        "UTC",
        "out of memory",
        "To do: raise maxmemory",
    ] {
        assert!(explanation.contains(part), "{explanation}");
    }
    assert!(status(&agent, &[]).contains(explanation));
    agent.wait_for_log(&["standing", explanation]);
}

#[test]
fn a_wait_for_the_leader_ends_at_the_change() {
    let redis = Redis::start();
    let leader = leading(&redis);
    let standby = Agent::start("b", &redis, &ALWAYS);
    standby.wait_until_up();
    standby.wait_for_reason("held_by_other", SOON);
    let id = standby.status()["leadership_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let asked = Instant::now();
    let (waited, body) = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let (_, body) = get(&standby, &format!("/leader?wait=30s&since={id}"), "");
            (asked.elapsed(), json(&body))
        });
        std::thread::sleep(Duration::from_millis(700));
        drop(leader);
        waiting.join().expect("no panic")
    });
    assert!(
        waited > Duration::from_millis(600) && waited < SOON,
        "{waited:?}"
    );
    assert_ne!(body["leadership_id"], id);
    // An older version, or one of another process, gets an answer at once.
    for since in [&*id, "abc.1", "0", ""] {
        let asked = Instant::now();
        get(&standby, &format!("/leader?wait=10s&since={since}"), "");
        assert!(asked.elapsed() < Duration::from_secs(1), "{since}");
    }
}

/// So a client that acts on the answer has the next one before the last expires.
#[test]
fn a_leader_is_confirmed_within_a_third_of_the_miner_timeout() {
    let redis = Redis::start();
    let agent = leading(&redis);
    for _ in 0..3 {
        let asked = Instant::now();
        let (head, body) = get(&agent, "/leader?wait=30s", "");
        let (waited, body) = (asked.elapsed(), json(&body));
        assert!(head.contains("200"), "{head}");
        // The miner-timeout is a third of the TTL: 1 s.
        let third = Duration::from_millis(300);
        assert!(
            waited > third && waited < Duration::from_millis(900),
            "{waited:?}"
        );
        let valid = body["valid_for_seconds"].as_f64().expect("a grant");
        assert!(valid > 0.5 && valid <= 1.0, "{body}");
        assert_eq!(body["for_display_only"], false);
    }
    let (head, body) = get(&agent, "/leader?wait=forever", "");
    assert!(
        head.contains("400") && body.contains("expected a duration"),
        "{head} {body}"
    );
    let campaign = Agent::start("c", &redis, &[]);
    campaign.wait_until_up();
    assert_eq!(
        json(&get(&campaign, "/leader", "").1)["for_display_only"],
        true
    );
}

#[test]
fn a_leader_shows_who_could_take_over() {
    let redis = Redis::start();
    let leader = leading(&redis);
    let standby = Agent::start("b", &redis, &ALWAYS);
    standby.wait_until_up();
    standby.wait_for_reason("held_by_other", SOON);
    wait_for("the leader lists the standby", SOON, || {
        let shown = leader.status()["candidates"].clone();
        (shown[1]["instance"] == "b" && shown[1]["ready"] == true).then_some(())
    });
    assert!(status(&leader, &[]).contains("b (ready)"));
    assert_eq!(standby.status()["candidates"], serde_json::json!([]));
}

#[test]
fn the_last_hour_is_remembered() {
    let redis = Redis::start();
    let leader = leading(&redis);
    let standby = Agent::start("b", &redis, &ALWAYS);
    standby.wait_until_up();
    standby.wait_for_reason("held_by_other", SOON);
    redis.fill();
    wait_for("it sees the memory run out", SOON, || {
        (standby.status()["redis"]["oom"] == true).then_some(())
    });
    drop(leader);
    standby.wait_until_leading(SOON);
    let (_, body) = standby.get("/status?history").expect("an answer");
    let history = json(&body)["history"].clone();
    let transitions = history["transitions"].as_array().expect("a list").clone();
    let last = transitions.last().expect("one at least");
    assert_eq!(last["leader_id"], standby.status()["instance_id"]);
    assert_eq!(last["fencing_token"].as_u64(), standby.token());
    assert!(last["leaderless_seconds"].as_f64() > Some(0.0), "{history}");
    assert!(last["to"].is_null());
    let first = transitions.iter().find(|it| it["leader_id"].is_string());
    assert!(
        first.expect("the first leader")["leader_id"]
            .as_str()
            .expect("an id")
            .starts_with("a-")
    );
    let memory = history["memory"].as_array().expect("a list");
    assert!(
        memory.iter().any(|it| it["oom"] == true) && memory.iter().any(|it| it["oom"] == false),
        "{history}"
    );
    assert!(standby.status().get("history").is_none());
    for (query, is_there) in [
        ("history=1", true),
        ("a=b&history=", true),
        ("history=false", false),
    ] {
        let (_, body) = standby.get(&format!("/status?{query}")).expect("an answer");
        assert_eq!(json(&body).get("history").is_some(), is_there, "{query}");
    }
    let told = status(&standby, &["--history"]);
    for part in [
        "UTC",
        " ago)",
        "no leader seen",
        "without a leader",
        "out of memory for",
        "a restart loses",
    ] {
        assert!(told.contains(part), "{part}:\n{told}");
    }
    assert_eq!(
        json(&status(&standby, &["--history", "--json"]))["history"]["since"],
        history["since"]
    );
}

#[test]
fn a_watch_prints_one_line_for_each_change_into_a_pipe() {
    let redis = Redis::start();
    let agent = leading(&redis);
    let mut watch = Command::new(env!("CARGO_BIN_EXE_understudy"))
        .args(["status", "--watch", "--agent", &agent.address()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    let mut next = |part: &str| {
        let mut lines = lines.by_ref().map_while(Result::ok);
        lines
            .find(|it| it.contains(part))
            .unwrap_or_else(|| panic!("no line with {part}"))
    };
    let line = next("leader (elected)");
    assert!(
        line.contains("UTC") && line.contains("token 1") && !line.contains('\x1b'),
        "{line}"
    );
    redis.fill();
    next("out of memory");
    let _ = (watch.kill(), watch.wait());
}

/// `understudy status --watch | head -1`, and nothing changes any more.
#[test]
fn a_watch_ends_when_nobody_reads_it() {
    let redis = Redis::start();
    let agent = leading(&redis);
    for flags in [&["--watch"][..], &["--watch", "--json"]] {
        let mut watch = Command::new(env!("CARGO_BIN_EXE_understudy"))
            .args(["status", "--agent", &agent.address()])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the command runs");
        let mut output = BufReader::new(watch.stdout.take().expect("piped"));
        output.read_line(&mut String::new()).expect("a line");
        drop(output);
        let ended = wait_for("it ends", Duration::from_secs(2), || {
            watch.try_wait().expect("its state")
        });
        assert!(ended.success(), "{ended}");
    }
}

/// `script` provides a terminal with a width of its own.
#[test]
fn a_watch_is_redrawn_in_place_on_a_terminal() {
    let redis = Redis::start();
    let agent = leading(&redis);
    let program = env!("CARGO_BIN_EXE_understudy");
    for (colours, no_color) in [(true, ""), (false, "1")] {
        let watch = format!(
            "stty cols 40; timeout 4 {program} status --watch --agent {}",
            agent.address()
        );
        let output = Command::new("script")
            .args(["-q", "-c", &watch, "/dev/null"])
            .env("TERM", "xterm")
            .env("NO_COLOR", no_color)
            .stdin(Stdio::null())
            .output()
            .expect("script of util-linux is there");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("A\x1b[J"), "it is painted over: {said:?}");
        assert_eq!(said.contains("\x1b[32m"), colours, "{said:?}");
        let plain = said.replace("\x1b[32m", "").replace("\x1b[0m", "");
        let rows = plain
            .lines()
            .map(|row| row.rsplit("\x1b[J").next().unwrap_or(row));
        for row in rows {
            assert!(row.trim_end().chars().count() <= 40, "{row:?}");
        }
    }
}

#[test]
fn events_follow_every_change_and_go_on_where_they_broke_off() {
    let redis = Redis::start();
    let agent = Agent::start(
        "a",
        &redis,
        &[&ALWAYS[..], &["--memory-every", "10m"]].concat(),
    );
    agent.wait_until_up();
    agent.wait_until_leading(SOON);
    let mut stream = Stream::open(&agent, "/events", "");
    assert!(stream.head.contains("text/event-stream"), "{}", stream.head);
    stream.event(|it| it["role"] == "leader");
    redis.fill();
    stream.event(|it| it["redis"]["oom"] == true);
    redis.relieve();
    stream.event(|it| it["redis"]["oom"] == false && it["ready"] == true);
}

#[test]
fn an_event_that_is_known_is_not_sent_again() {
    let redis = Redis::start();
    // Only the test changes anything here.
    let flags = ["--memory-every", "10m"];
    let agent = Agent::start("a", &redis, &flags);
    agent.wait_until_up();
    wait_for("all is known", SOON, || {
        let it = agent.status();
        (it["ready"] == true
            && it["takeover"]["ready"] == true
            && it["redis"]["engine"].is_string())
        .then_some(())
    });
    let (id, _) = Stream::open(&agent, "/events", "").event(|_| true);
    assert_eq!(id.len(), 16, "{id}");
    let known = format!("Last-Event-ID: {id}\r\n");
    let mut again = Stream::open(&agent, "/events", &known);
    let filled = std::thread::scope(|scope| {
        let filling = scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(500));
            redis.fill();
        });
        let (_, first) = again.event(|_| true);
        filling.join().expect("no panic");
        first
    });
    assert_eq!(filled["redis"]["oom"], true, "what was known came again");
}

#[test]
fn event_streams_have_places_of_their_own_and_say_that_they_live() {
    let redis = Redis::start();
    let agent = leading(&redis);
    let mut open: Vec<_> = (0..16)
        .map(|_| Stream::open(&agent, "/events", ""))
        .collect();
    let (head, body) = get(&agent, "/events", "");
    assert!(
        head.contains("503") && head.to_lowercase().contains("retry-after"),
        "{head}"
    );
    assert!(body.contains("16"), "{body}");
    never("a probe is kept waiting", Duration::from_secs(1), || {
        let asked = Instant::now();
        agent.get("/live").is_err() || asked.elapsed() > Duration::from_secs(1)
    });
    open.pop();
    wait_for("the place is free again", SOON, || {
        get_head(&agent, "/events").contains("200").then_some(())
    });
}

fn get_head(agent: &Agent, path: &str) -> String {
    Stream::open(agent, path, "").head
}

#[test]
fn the_front_is_a_page_for_a_browser_and_a_name_for_everybody_else() {
    let redis = Redis::start();
    let agent = leading(&redis);
    for accept in ["", "Accept: */*\r\n", "Accept: application/json\r\n"] {
        let (head, body) = get(&agent, "/", accept);
        assert!(
            head.contains("200") && head.contains("application/json"),
            "{head}"
        );
        assert_eq!(json(&body), serde_json::json!({ "name": "a" }));
    }
    let browser = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    let (head, body) = get(&agent, "/", browser);
    assert!(
        head.contains("text/html") && body.contains("<!doctype html>"),
        "{head}"
    );
    let policy = head
        .lines()
        .find(|it| it.starts_with("content-security-policy:"));
    let policy = policy.expect("a policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let nonce = policy
        .split("'nonce-")
        .nth(1)
        .and_then(|it| it.split('\'').next());
    let nonce = nonce.expect("a nonce");
    assert_eq!(body.matches(nonce).count(), 2);
    assert!(
        !get(&agent, "/", browser).0.contains(nonce),
        "each answer has its own"
    );
    drop(agent);
    let agent = Agent::start("b", &redis, &[]);
    agent.wait_until_up();
    wait_for("nobody leads", SOON, || {
        (json(&get(&agent, "/", "").1) == serde_json::json!({ "name": "" })).then_some(())
    });
}
