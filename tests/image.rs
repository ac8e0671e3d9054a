//! What the image has in it, without an engine that could build one: a static program that runs in an empty root.

mod stage;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use stage::Redis;

/// The image is to be smaller than this, with 0.3 MB of certificates.
const LARGEST: u64 = 7_700_000;

fn run(root: &Path, words: &[&str]) -> Output {
    let as_root = rustix::process::getuid().is_root();
    let mut command = if as_root {
        Command::new("chroot")
    } else {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "chroot"]);
        command
    };
    let command = command.arg(root).arg("/understudy").args(words);
    command
        .env_clear()
        .env("PATH", "/:/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .expect("chroot runs")
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
    let version = run(root.path(), &["--version"]);
    assert!(version.status.success(), "{version:?}");
    // As the kubelet does.
    fs::create_dir(root.path().join("etc")).expect("a folder");
    fs::write(root.path().join("etc/hosts"), "127.0.0.1 redis.example\n").expect("a file");
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
