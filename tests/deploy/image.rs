//! The contents of the image, tested without a container engine: a static program that runs in an empty root.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use stage::{Redis, free_port, wait_for};

/// The image is to be smaller than this, with 0.3 MB of certificates.
const LARGEST: u64 = 7_700_000;

/// As in the pod: an unprivileged user, in a root that it cannot write. This needs root here, because an ordinary user can
/// only map itself; without root, the program runs as what it sees as root.
fn command(root: &Path, words: &[&str]) -> Command {
    let mut command = if rustix::process::getuid().is_root() {
        let mut command = Command::new("chroot");
        command.arg("--userspec=65532:65532");
        command
    } else {
        println!("skipped: the static program as nonroot, which needs root here");
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "chroot"]);
        command
    };
    command.arg(root).arg("/understudy").args(words);
    command
        .env_clear()
        .env("PATH", "/:/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

fn run(root: &Path, words: &[&str]) -> Output {
    command(root, words).output().expect("chroot runs")
}

/// The agent, killed when this value is dropped.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn may(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
}

#[test]
fn the_static_program_runs_in_an_empty_root_and_resolves_names_there() {
    let Some(program) = std::env::var_os("UNDERSTUDY_STATIC_BIN") else {
        println!(
            "skipped: the static program, since UNDERSTUDY_STATIC_BIN does not name what scripts/static built"
        );
        return;
    };
    let bytes = fs::read(&program).expect("the program");
    assert!((bytes.len() as u64) < LARGEST, "{} bytes", bytes.len());
    assert!(!needs_a_loader(&bytes), "it is static");
    let root = tempfile::tempdir().expect("an empty root");
    fs::copy(&program, root.path().join("understudy")).expect("a copy");
    may(root.path(), 0o555);
    let version = run(root.path(), &["--version"]);
    assert!(version.status.success(), "{version:?}");
    // As the kubelet does.
    may(root.path(), 0o755);
    fs::create_dir(root.path().join("etc")).expect("a folder");
    fs::write(root.path().join("etc/hosts"), "127.0.0.1 redis.example\n").expect("a file");
    may(root.path(), 0o555);
    let redis = Redis::start();
    let url = format!("redis://redis.example:{}", redis.port);
    let asked = run(root.path(), &["leader", "--redis-url", &url]);
    let said = String::from_utf8_lossy(&asked.stdout);
    assert!(said.contains("nobody holds the lock"), "{asked:?}");
    let healthy = run(
        root.path(),
        &["probe", "ready", "--http-listen", "127.0.0.1:1"],
    );
    assert_eq!(
        healthy.status.code(),
        Some(2),
        "the health check runs: {healthy:?}"
    );
    // The one folder that can be written is the socket's, by the group that fsGroup gives it.
    may(root.path(), 0o755);
    let shared = root.path().join("run/understudy");
    fs::create_dir_all(&shared).expect("a folder");
    if rustix::process::getuid().is_root() {
        chown(&shared, None, Some(65532)).expect("its group");
    }
    may(&shared, 0o770);
    may(root.path(), 0o555);
    let listen = format!("127.0.0.1:{}", free_port());
    let socket = "/run/understudy/grpc.sock";
    let flags = ["--grpc-listen", "off", "--grpc-socket", socket];
    let flags = [
        &["run", "--redis-url", &url, "--http-listen", &listen],
        &flags[..],
    ];
    let agent = Agent(
        command(root.path(), &flags.concat())
            .stdout(Stdio::null())
            .spawn()
            .expect("chroot runs"),
    );
    wait_for("the agent is ready", Duration::from_secs(20), || {
        let probe = run(root.path(), &["probe", "ready", "--http-listen", &listen]);
        probe.status.success().then_some(())
    });
    let address = format!("unix:{socket}");
    let status = run(root.path(), &["status", "--agent", &address]);
    let said = String::from_utf8_lossy(&status.stdout);
    assert!(said.contains("no_miner"), "{status:?}");
    drop(agent);
    // So that the folder can go.
    may(root.path(), 0o755);
}

/// An ELF program with a `PT_INTERP` header is loaded by another one.
fn needs_a_loader(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, bytes: usize| {
        let part = elf.get(at..at + bytes).expect("a whole ELF file");
        part.iter()
            .rev()
            .fold(0_u64, |all, byte| all << 8 | u64::from(*byte)) as usize
    };
    assert_eq!(elf.get(..5), Some(&b"\x7fELF\x02"[..]), "64-bit ELF");
    let (first, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|index| number(first + index * size, 4) as u32 == PT_INTERP)
}
