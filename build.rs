//! Generates the gRPC code from `proto/`, without a protoc on anyone's machine.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

const PROTOS: [&str; 2] = [
    "proto/understudy/v1/election.proto",
    "proto/understudy/v1/redis_health.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-env-changed=UNDERSTUDY_REVISION");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    // For reflection: the generator does not write it by itself when it is handed descriptors.
    fs::write(out.join("understudy.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
