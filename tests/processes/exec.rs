//! `understudy exec`: a program that runs only while its instance leads, whatever is killed or stopped.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use stage::{Agent, Redis, boottime_ns, never, pause, send, wait_for};
use tempfile::TempDir;

pub const SOON: Duration = Duration::from_secs(10);

/// Writes its pid and the time, over and over; the lock shows that it is alone.
pub const WORK: &str = r#"
exec 9>"$PLACE/lock"; flock -n 9 || echo two >>"$PLACE/two"
trap 'echo term >>"$PLACE/$NAME.signals"; exit 7' TERM
trap 'echo usr1 >>"$PLACE/$NAME.signals"' USR1
echo "$$ $PPID $UNDERSTUDY_FENCING_TOKEN $UNDERSTUDY_INSTANCE" >>"$PLACE/$NAME.started"
while :; do sleep 0.02; done"#;

pub struct Exec {
    pub child: Child,
    name: String,
    place: PathBuf,
}

impl Exec {
    pub fn start(name: &str, place: &TempDir, flags: &[&str], program: &[&str]) -> Self {
        let child = command(flags, program)
            .env("PLACE", place.path())
            .env("NAME", name)
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        Self {
            child,
            name: name.into(),
            place: place.path().to_owned(),
        }
    }

    /// On a lease of 3 s; the program may be silent for 1 s.
    pub fn work(name: &str, redis: &Redis, place: &TempDir) -> Self {
        let url = redis.url();
        let flags = own(&url, name);
        Self::start(name, place, &flags, &["bash", "-c", WORK])
    }

    /// Beside an agent that runs already.
    pub fn beside(agent: &Agent, place: &TempDir, program: &str) -> Self {
        let address = agent.address();
        let flags = ["--agent", &address, "--grace", "300ms"];
        Self::start(&agent.name, place, &flags, &["bash", "-c", program])
    }

    /// The program's pid, its guardian's, token and instance, of each start.
    pub fn starts(&self) -> Vec<[String; 4]> {
        let path = self.place.join(format!("{}.started", self.name));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text
            .lines()
            .map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        lines.filter_map(|line| line.try_into().ok()).collect()
    }

    pub fn wait_until_started(&self) -> [i32; 2] {
        let starts = wait_for(&format!("{} runs", self.name), SOON, || self.starts().pop());
        [0, 1].map(|at| starts[at].parse().expect("a pid"))
    }

    pub fn wait_until_gone(&mut self) -> ExitStatus {
        wait_for("exec ends", SOON, || {
            self.child.try_wait().expect("a child")
        })
    }

    pub fn signals(&self) -> String {
        let path = self.place.join(format!("{}.signals", self.name));
        std::fs::read_to_string(path).unwrap_or_default()
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        send(&self.child, Signal::CONT);
        send(&self.child, Signal::TERM);
        let ended = (0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            self.child.try_wait().is_ok_and(|it| it.is_some())
        });
        if !ended {
            let _ = self.child.kill();
        }
    }
}

pub fn own<'a>(url: &'a str, name: &'a str) -> [&'a str; 10] {
    [
        "--lock-key",
        "jobs:work",
        "--redis-url",
        url,
        "--instance",
        name,
        "--lease-ttl",
        "3s",
        "--miner-timeout",
        "1s",
    ]
}

pub fn command(flags: &[&str], program: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_understudy"));
    command
        .arg("exec")
        .args(flags)
        .arg("--")
        .args(program)
        .stdin(Stdio::null());
    command
}

/// The exit code, and all that was said.
pub fn run(flags: &[&str], program: &[&str]) -> (Option<i32>, String) {
    let output = command(flags, program).output().expect("it runs");
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

pub fn kill(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).expect("a pid"), signal);
}

pub fn alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub fn alone(place: &Path) {
    assert!(!place.join("two").exists(), "two programs ran at once");
}

#[test]
fn flags_are_checked_before_anyone_campaigns() {
    let url = "redis://127.0.0.1:1";
    let (code, said) = run(&["--redis-url", url], &["true"]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("--lock-key="), "{said}");
    let (code, said) = run(
        &[
            "--lock-key",
            "k",
            "--miner-timeout",
            "3s",
            "--grace",
            "1801ms",
        ],
        &["true"],
    );
    assert_eq!(code, Some(64), "{said}");
    assert!(
        said.contains("--grace=1801ms: expected at most 1s 800ms"),
        "{said}"
    );
    let (code, said) = run(&["--lock-key", "k"], &["no-such-program"]);
    assert_eq!(code, Some(127), "{said}");
    let (code, said) = run(&["--lock-key", "k"], &["/etc/passwd"]);
    assert_eq!(code, Some(126), "{said}");
    let (code, _) = run(&["--lock-key", "k"], &[]);
    assert_eq!(code, Some(64));
}

#[test]
fn its_programs_code_and_output_are_its_own_and_no_password_is_passed_on() {
    let redis = Redis::start();
    let url = redis.url();
    let mut exec = command(
        &own(&url, "alpha"),
        &["bash", "-c", "env | grep UNDERSTUDY; exit 42"],
    );
    exec.env("UNDERSTUDY_SENTINEL_PASSWORD", "hunter2")
        .env("UNDERSTUDY_REDIS_URL", "redis://:hunter2@r");
    let output = exec.output().expect("it runs");
    assert_eq!(output.status.code(), Some(42), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<_> = said.lines().collect();
    lines.sort_unstable();
    assert!(lines[0].starts_with("UNDERSTUDY_FENCING_TOKEN=1"), "{said}");
    assert_eq!(lines[1..], ["UNDERSTUDY_INSTANCE=alpha"]);
    // The lock was released.
    assert_eq!(redis.tell(&["EXISTS", "jobs:work"]), ":0");
}

#[test]
fn a_signal_reaches_the_program_and_the_other_starts_at_once() {
    let (redis, place) = (Redis::start(), TempDir::new().unwrap());
    let mut first = Exec::work("alpha", &redis, &place);
    first.wait_until_started();
    let second = Exec::work("beta", &redis, &place);
    std::thread::sleep(Duration::from_millis(500));
    send(&first.child, Signal::USR1);
    wait_for("USR1 arrives", SOON, || {
        first.signals().contains("usr1").then_some(())
    });
    let told = boottime_ns();
    send(&first.child, Signal::TERM);
    second.wait_until_started();
    let took = Duration::from_nanos(boottime_ns() - told);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(first.wait_until_gone().code(), Some(7));
    assert_eq!(first.signals(), "usr1\nterm\n");
    alone(place.path());
}

/// One of the three is killed or stopped, while their agents, which run separately, continue.
fn struck(strike: impl FnOnce(&Exec, [i32; 2])) -> Duration {
    let (redis, place) = (Redis::start(), TempDir::new().unwrap());
    let flags = ["--lease-ttl", "3s", "--miner-timeout", "1500ms"];
    let agents = ["alpha", "beta"].map(|name| Agent::start(name, &redis, &flags));
    let first = Exec::beside(&agents[0], &place, WORK);
    let pids = first.wait_until_started();
    let second = Exec::beside(&agents[1], &place, WORK);
    std::thread::sleep(Duration::from_millis(700));
    let at = boottime_ns();
    strike(&first, pids);
    second.wait_until_started();
    let took = Duration::from_nanos(boottime_ns() - at);
    assert!(!alive(pids[0]), "the first program lives");
    alone(place.path());
    took
}

#[test]
fn whichever_is_killed_the_other_starts_at_once() {
    let exec = struck(|exec, _| send(&exec.child, Signal::KILL));
    let guardian = struck(|_, [_, guardian]| kill(guardian, Signal::KILL));
    let program = struck(|_, [program, _]| kill(program, Signal::KILL));
    for took in [exec, guardian, program] {
        assert!(
            took < Duration::from_secs(1),
            "{exec:?} {guardian:?} {program:?}"
        );
    }
}

#[test]
fn whichever_is_stopped_the_other_starts_after_the_miner_timeout() {
    let exec = struck(|exec, _| pause(&exec.child));
    let guardian = struck(|_, [_, guardian]| kill(guardian, Signal::STOP));
    let program = struck(|_, [program, _]| kill(program, Signal::STOP));
    for took in [exec, guardian, program] {
        assert!(
            took < Duration::from_secs(4),
            "{exec:?} {guardian:?} {program:?}"
        );
    }
}

#[test]
fn with_an_agent_of_its_own_the_time_to_live_ends_what_was_killed() {
    let (redis, place) = (Redis::start(), TempDir::new().unwrap());
    let first = Exec::work("alpha", &redis, &place);
    let [program, _] = first.wait_until_started();
    let second = Exec::work("beta", &redis, &place);
    std::thread::sleep(Duration::from_millis(500));
    send(&first.child, Signal::KILL);
    wait_for("the program is dead", Duration::from_secs(1), || {
        (!alive(program)).then_some(())
    });
    second.wait_until_started();
    alone(place.path());
}

#[test]
fn what_has_left_the_group_dies_too() {
    const DAEMON: &str = r#"
        setsid bash -c 'setsid sleep 1000 & echo $! >"$PLACE/daemon"; trap "" TERM; sleep 1000' &
        while ! [ -s "$PLACE/daemon" ]; do sleep 0.02; done
        echo "$$ $PPID 0 x" >>"$PLACE/$NAME.started"; trap "" TERM; while :; do sleep 0.1; done"#;
    let (redis, place) = (Redis::start(), TempDir::new().unwrap());
    let agent = Agent::start(
        "alpha",
        &redis,
        &["--lease-ttl", "3s", "--miner-timeout", "1500ms"],
    );
    let mut exec = Exec::beside(&agent, &place, DAEMON);
    let [program, _] = exec.wait_until_started();
    let daemon = std::fs::read_to_string(place.path().join("daemon")).unwrap();
    let daemon = daemon.trim().parse().unwrap();
    assert!(alive(daemon) && alive(program));
    let told = boottime_ns();
    send(&exec.child, Signal::TERM);
    assert_eq!(exec.wait_until_gone().code(), Some(137));
    let took = Duration::from_nanos(boottime_ns() - told);
    assert!(took < Duration::from_millis(1500), "{took:?}");
    assert!(!alive(daemon) && !alive(program));
}

#[test]
fn restart_starts_it_again_while_this_instance_leads() {
    let (redis, place) = (Redis::start(), TempDir::new().unwrap());
    let url = redis.url();
    let flags = [&own(&url, "alpha")[..], &["--restart"]].concat();
    let program = r#"echo "$$ $PPID $UNDERSTUDY_FENCING_TOKEN x" >>"$PLACE/$NAME.started"; exit 3"#;
    let exec = Exec::start("alpha", &place, &flags, &["bash", "-c", program]);
    wait_for("two starts", SOON, || {
        (exec.starts().len() == 2).then_some(())
    });
    let starts = exec.starts();
    assert_eq!(starts[0][2], starts[1][2], "one term");
}

#[test]
fn while_it_waits_it_says_why() {
    let redis = Redis::start();
    let url = redis.url();
    let place = TempDir::new().unwrap();
    let first = Exec::work("alpha", &redis, &place);
    first.wait_until_started();
    let mut second = command(&own(&url, "beta"), &["true"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    never("the second program starts", Duration::from_secs(1), || {
        second.try_wait().unwrap().is_some()
    });
    send(&second, Signal::TERM);
    assert_eq!(second.wait().unwrap().code(), Some(0));
    let mut said = String::new();
    second
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(said.contains("held_by_other: alpha-"), "{said}");
}
