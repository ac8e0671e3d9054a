//! Generates the gRPC code from `proto/`, without a protoc on anyone's machine.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use prost::Message;

const PROTOS: [&str; 2] = [
    "proto/understudy/v1/election.proto",
    "proto/understudy/v1/redis_health.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-env-changed=UNDERSTUDY_REVISION");
    println!("cargo::rustc-env=UNDERSTUDY_REVISION={}", revision());
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    // For reflection: the generator does not write it by itself when it is handed descriptors.
    fs::write(out.join("understudy.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .codec_path("crate::proto::SmallCodec")
        .compile_fds(descriptors)?;
    Ok(())
}

/// The commit that is built, as far as anyone can tell.
fn revision() -> String {
    // Of a release: a build of every commit anew would cost its developer a minute.
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    for file in [".git/HEAD", ".git/refs/heads"] {
        if release && fs::exists(file).unwrap_or(false) {
            println!("cargo::rerun-if-changed={file}");
        }
    }
    let of_git = || {
        let git = Command::new("git")
            .args(["rev-parse", "--short=12", "HEAD"])
            .output();
        let text = String::from_utf8(git.ok().filter(|it| it.status.success())?.stdout).ok()?;
        Some(text.trim().to_owned())
    };
    let given = env::var("UNDERSTUDY_REVISION").ok();
    given
        .or_else(|| of_git().filter(|_| release))
        .unwrap_or_else(|| "unknown".into())
}
