//! Programs that would outlive their term under `understudy exec`, and what else tries its promise.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use stage::{Agent, Redis, boottime_ns, never, send, wait_for};
use tempfile::TempDir;

use crate::exec::{Exec, SOON, WORK, alive, command, kill, own, run};

/// The miner-timeout of [`agent`]: no grant is longer.
const GRANT: Duration = Duration::from_millis(1500);

fn agent(redis: &Redis) -> Agent {
    let flags = ["--lease-ttl", "4500ms", "--miner-timeout", "1500ms"];
    Agent::start("alpha", redis, &flags)
}

/// Whether a process lives that has `word` among its arguments.
fn at_work(word: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("/proc");
    let mut pids = processes.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
    pids.any(|pid: i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        alive(pid) && String::from_utf8_lossy(&line).contains(word)
    })
}

/// `exec` is killed while `perl` runs beside an agent: nothing of it may live when the last grant has ended.
fn dies_with_exec(perl: &str) {
    let (redis, place) = (Redis::start(), TempDir::new().unwrap());
    let agent = agent(&redis);
    let word = place.path().display().to_string();
    let program = format!("exec perl -e '{perl}' {word}");
    let exec = Exec::beside(&agent, &place, &program);
    exec.wait_until_started();
    assert!(at_work(&word));
    let at = boottime_ns();
    send(&exec.child, Signal::KILL);
    wait_for("everything is dead", SOON, || {
        (!at_work(&word)).then_some(())
    });
    let took = Duration::from_nanos(boottime_ns() - at);
    assert!(took < GRANT, "{took:?}");
}

/// What a program in Perl begins with: told to stop it does not, and it writes down that it runs.
const STUBBORN: &str = r#"$SIG{TERM} = "IGNORE"; sub runs {
    open F, ">>$ENV{PLACE}/$ENV{NAME}.started"; print F "$$ ", getppid(), " 0 x\n"; close F }"#;

#[test]
fn a_program_that_has_changed_its_group_dies() {
    dies_with_exec(&format!(
        "{STUBBORN} setpgrp(0, getppid()) or die; runs(); sleep 1 while 1;"
    ));
}

#[test]
fn a_program_that_keeps_leaving_for_new_sessions_dies() {
    dies_with_exec(&format!(
        "use POSIX; {STUBBORN} runs(); if (fork) {{ sleep 1 while 1 }}
         while (1) {{ exit if fork; POSIX::setsid(); select undef, undef, undef, 0.0005 }}"
    ));
}

#[test]
fn a_program_that_forks_all_the_time_dies() {
    dies_with_exec(&format!(
        "{STUBBORN} runs(); while (1) {{ if (!fork) {{ setpgrp; sleep 1 while 1 }} select undef, undef, undef, 0.005 }}"
    ));
}

#[test]
fn many_signals_do_not_silence_it() {
    let (redis, place) = (Redis::start(), TempDir::new().unwrap());
    let agent = agent(&redis);
    let exec = Exec::beside(&agent, &place, WORK);
    let [program, _] = exec.wait_until_started();
    never("the program is stopped", Duration::from_secs(3), || {
        send(&exec.child, Signal::WINCH);
        std::thread::sleep(Duration::from_millis(20));
        !alive(program)
    });
    assert_eq!(exec.starts().len(), 1);
}

#[test]
fn under_nohup_a_hangup_does_nothing() {
    const WORKS: &str = r#"echo $$ >"$PLACE/pid"; while :; do sleep 0.02; done"#;
    let (redis, place) = (Redis::start(), TempDir::new().unwrap());
    let url = redis.url();
    let exec = command(&own(&url, "alpha"), &["bash", "-c", WORKS]);
    let mut child = Command::new("sh")
        .args(["-c", r#"trap "" HUP; exec "$@""#, "sh"])
        .arg(exec.get_program())
        .args(exec.get_args())
        .env("PLACE", place.path())
        .spawn()
        .unwrap();
    let pid = wait_for("it runs", SOON, || {
        let text = std::fs::read_to_string(place.path().join("pid")).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    });
    send(&child, Signal::HUP);
    kill(pid, Signal::HUP);
    never("it ends", Duration::from_millis(500), || !alive(pid));
    send(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn a_second_signal_kills_it() {
    const DEAF: &str = r#"trap "" TERM; echo "$$ $PPID 0 x" >>"$PLACE/$NAME.started"; while :; do sleep 0.02; done"#;
    let (redis, place) = (Redis::start(), TempDir::new().unwrap());
    let url = redis.url();
    let mut flags = own(&url, "alpha");
    (flags[7], flags[9]) = ("6s", "2s");
    let mut exec = Exec::start("alpha", &place, &flags, &["bash", "-c", DEAF]);
    let [program, _] = exec.wait_until_started();
    send(&exec.child, Signal::TERM);
    never("it ends", Duration::from_millis(300), || !alive(program));
    let at = boottime_ns();
    send(&exec.child, Signal::TERM);
    wait_for("it is killed", SOON, || (!alive(program)).then_some(()));
    // Its grace would be a second.
    let took = Duration::from_nanos(boottime_ns() - at);
    assert!(took < Duration::from_millis(400), "{took:?}");
    assert_eq!(exec.wait_until_gone().code(), Some(137));
}

#[test]
fn a_start_that_comes_too_late_does_not_happen() {
    let place = TempDir::new().unwrap();
    let file = place.path().join("ran");
    let stage = |latest: u64| {
        let mut stage = Command::new(env!("CARGO_BIN_EXE_understudy"))
            .args(["exec-stage", &std::process::id().to_string()])
            .args([&latest.to_string(), "--", "touch"])
            .arg(&file)
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(500));
        // It waits for its guardian to end it.
        let ended = stage.try_wait().unwrap();
        let _ = stage.kill();
        let _ = stage.wait();
        ended
    };
    assert!(stage(boottime_ns()).is_none());
    assert!(!file.exists(), "it has started after all");
    assert!(stage(boottime_ns() + 5_000_000_000).is_some_and(|it| it.success()));
    assert!(file.exists());
}

#[test]
fn redis_that_stops_ends_it_within_the_lease() {
    let (redis, place) = (Redis::start(), TempDir::new().unwrap());
    let exec = Exec::work("alpha", &redis, &place);
    let [program, _] = exec.wait_until_started();
    std::thread::sleep(Duration::from_millis(1200));
    redis.pause();
    let at = boottime_ns();
    wait_for("the program is dead", SOON, || {
        (!alive(program)).then_some(())
    });
    let took = Duration::from_nanos(boottime_ns() - at);
    assert!(took < Duration::from_secs(3), "{took:?}");
    redis.resume();
    wait_for("it runs again", SOON, || {
        (exec.starts().len() == 2).then_some(())
    });
}

#[test]
fn nobody_reads_a_password_at_the_guardian_or_the_program() {
    let (redis, place) = (Redis::start(), TempDir::new().unwrap());
    let url = redis.url();
    let mut child = command(&own(&url, "alpha"), &["bash", "-c", WORK]);
    let child = child
        .env("PLACE", place.path())
        .env("NAME", "alpha")
        .env("UNDERSTUDY_SENTINEL_PASSWORD", "hunter2");
    let mut child = child.spawn().unwrap();
    let started = place.path().join("alpha.started");
    let line = wait_for("it runs", SOON, || {
        let text = std::fs::read_to_string(&started).ok()?;
        text.ends_with('\n').then_some(text)
    });
    for pid in line.split(' ').take(2) {
        for file in ["environ", "cmdline"] {
            let read = std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
            let read = String::from_utf8_lossy(&read);
            assert!(!read.contains("hunter2"), "{file}: {read}");
            assert!(!read.contains(&url), "{file}: {read}");
        }
    }
    send(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

#[test]
fn a_program_that_stops_its_guardian_stops_itself() {
    const STOPS: &str = r#"echo "$$ $PPID 0 x" >>"$PLACE/$NAME.started"; kill -STOP $PPID; while :; do sleep 0.02; done"#;
    let (redis, place) = (Redis::start(), TempDir::new().unwrap());
    let agent = agent(&redis);
    let exec = Exec::beside(&agent, &place, STOPS);
    let [program, guardian] = exec.wait_until_started();
    let at = boottime_ns();
    wait_for("both are dead", SOON, || {
        (!alive(program) && !alive(guardian)).then_some(())
    });
    assert!(Duration::from_nanos(boottime_ns() - at) < GRANT);
    kill(guardian, Signal::KILL);
}

#[test]
fn beside_an_agent_a_flag_of_an_agents_own_is_refused() {
    let agent = ["--agent", "127.0.0.1:1"];
    let cases: [&[&str]; 3] = [
        &["--lock-key", "k"],
        &["--lease-ttl", "3s", "--redis-url", "redis://r"],
        &["--candidate=false"],
    ];
    for flags in cases {
        let (code, said) = run(&[&agent[..], flags].concat(), &["true"]);
        assert_eq!(code, Some(64), "{said}");
        let flag = flags[0].split('=').next().unwrap();
        let sentence = "expected nothing with --agent";
        assert!(said.contains(flag) && said.contains(sentence), "{said}");
    }
}

/// Who leads makes no difference: the agent's first answer tells its miner-timeout.
#[test]
fn beside_an_agent_a_grace_that_is_too_long_is_refused_at_its_first_answer() {
    let (redis, place) = (Redis::start(), TempDir::new().unwrap());
    let leads = Exec::work("beta", &redis, &place);
    leads.wait_until_started();
    let flags = [
        "--lease-ttl",
        "3s",
        "--miner-timeout",
        "1500ms",
        "--lock-key",
        "jobs:work",
    ];
    let agent = Agent::start("alpha", &redis, &flags);
    agent.wait_until_up();
    agent.wait_for_reason("no_miner", SOON);
    let address = agent.address();
    let beside = ["--agent", &address, "--grace"];
    let too_long = [&beside[..], &["801ms"]].concat();
    let mut exec = Exec::start("alpha", &place, &too_long, &["bash", "-c", WORK]);
    assert_eq!(exec.wait_until_gone().code(), Some(64));
    send(&leads.child, Signal::TERM);
    let (code, said) = run(&too_long, &["bash", "-c", WORK]);
    assert_eq!(code, Some(64), "{said}");
    let expected = "--grace=801ms: expected at most 800ms, two thirds of the agent's";
    assert!(said.contains(expected), "{said}");
    assert!(exec.starts().is_empty());
    let longest = [&beside[..], &["800ms"]].concat();
    let (code, said) = run(&longest, &["true"]);
    assert_eq!(code, Some(0), "{said}");
}

/// The first process of a container.
#[test]
fn as_the_first_process_it_reaps() {
    const INSIDE: [&str; 3] = ["--fork", "--pid", "--mount-proc"];
    // A daemon of a stranger ends: nobody else would bury it.
    const STRAYS: &str = r#"
        for _ in 1 2 3; do setsid sh -c 'sleep 0.1 & exec sleep 0.05' & done; wait; sleep 0.3
        grep -l "^State:.Z" /proc/[0-9]*/status | wc -l; echo "$$ $PPID 0 x"; cat /proc/1/comm"#;
    let redis = Redis::start();
    let url = redis.url();
    let exec = command(&own(&url, "alpha"), &["bash", "-c", STRAYS]);
    // As root, or as a user of a namespace of its own.
    let as_whom: [&[&str]; 2] = [&[], &["--user", "--map-root-user"]];
    let may = as_whom.into_iter().find(|more| {
        let mut probe = Command::new("unshare");
        probe.args(INSIDE).args(*more).arg("true");
        probe.output().is_ok_and(|it| it.status.success())
    });
    let Some(more) = may else {
        println!("skipped: this machine allows no namespace of processes, not even to root");
        assert!(
            !rustix::process::geteuid().is_root(),
            "root without CAP_SYS_ADMIN"
        );
        return;
    };
    let mut inside = Command::new("unshare");
    inside.args(INSIDE).args(more);
    inside.arg(exec.get_program()).args(exec.get_args());
    inside.process_group(0);
    let output = inside.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let refused = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("0\n"), "{said}{refused}");
    assert!(said.ends_with("understudy\n"), "{said}");
    assert_eq!(output.status.code(), Some(0));
}

/// Where a group can be had, which is seldom: root, and a file system of cgroup2 that may be written.
#[test]
fn its_cgroup_holds_the_program_and_goes_with_it() {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    let mount = mounts.lines().find(|it| it.contains(" cgroup2 rw"));
    let Some(place) = mount.and_then(|it| it.split(' ').nth(1)) else {
        println!("skipped: no cgroup2 that may be written");
        return;
    };
    let group = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let folder = |groups: &str| {
        let line = groups.lines().find_map(|it| it.strip_prefix("0::/"));
        Path::new(place).join(line.expect("a cgroup of version 2"))
    };
    let try_one = folder(&group(std::process::id() as i32)).join("understudy-try");
    if std::fs::create_dir(&try_one).is_err() {
        println!("skipped: no cgroup can be had at {}", try_one.display());
        return;
    }
    std::fs::remove_dir(&try_one).unwrap();
    let (redis, place) = (Redis::start(), TempDir::new().unwrap());
    let agent = agent(&redis);
    for struck in [false, true] {
        let mut exec = Exec::beside(&agent, &place, WORK);
        let [program, guardian] = exec.wait_until_started();
        let groups = group(program);
        let own = format!("/understudy-exec-{guardian}\n");
        assert!(groups.contains(&own), "{groups}");
        assert!(!group(guardian).contains(&own));
        if struck {
            kill(guardian, Signal::KILL);
        } else {
            send(&exec.child, Signal::TERM);
        }
        exec.wait_until_gone();
        assert!(!folder(&groups).exists(), "it is left behind");
        std::fs::remove_file(place.path().join("alpha.started")).unwrap();
    }
}

#[test]
fn five_quick_ends_hand_over() {
    const QUICK: &str =
        r#"echo "$$ $PPID $UNDERSTUDY_FENCING_TOKEN x" >>"$PLACE/$NAME.started"; exit 3"#;
    let (redis, place) = (Redis::start(), TempDir::new().unwrap());
    let url = redis.url();
    let mut flags = own(&url, "alpha");
    (flags[7], flags[9]) = ("6s", "2s");
    let flags = [&flags[..], &["--restart"]].concat();
    let first = Exec::start("alpha", &place, &flags, &["bash", "-c", QUICK]);
    first.wait_until_started();
    let second = Exec::work("beta", &redis, &place);
    // 1, 2, 4 and 8 s of pauses.
    wait_for("the other leads", Duration::from_secs(25), || {
        second.starts().pop()
    });
    assert_eq!(first.starts().len(), 5);
}
