//! Generates the stubs, from the package's own copy of `proto/` or from the repository's.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let own = std::path::Path::new("proto");
    let proto = if own.exists() {
        own
    } else {
        std::path::Path::new("../../proto")
    };
    println!("cargo::rerun-if-changed={}", proto.display());
    let files = [
        "understudy/v1/election.proto",
        "understudy/v1/redis_health.proto",
    ];
    let stubs = protox::compile(files, [proto])?;
    Ok(tonic_prost_build::configure()
        .build_server(false)
        .compile_fds(stubs)?)
}
