//! A name for Redis, and an unreliable name server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The name that the electors use for Redis.
pub const NAME: &str = "redis.test";

/// A library that replaces the C library's resolver, and the file that it reads.
pub struct Names {
    library: PathBuf,
    file: PathBuf,
}

impl Names {
    /// Each pod has a name server of its own.
    pub fn start(folder: &Path, pod: &str) -> Self {
        let library = folder.join("names.so");
        if !library.is_file() {
            let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chaos/names.c");
            let compiled = Command::new("cc")
                .args(["-shared", "-fPIC", "-o"])
                .arg(&library)
                .args([source, "-ldl"])
                .status();
            assert!(
                compiled.is_ok_and(|it| it.success()),
                "cc, with which Rust links, compiles {source}"
            );
        }
        let names = Self {
            library,
            file: folder.join(format!("names-{pod}")),
        };
        names.tell(Duration::ZERO, Some(0));
        names
    }

    pub fn lend(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("NAMES_FILE", &self.file);
    }

    /// From now on the name resolves to this address of the proxy, `None` for no answer, after `delay`.
    pub fn tell(&self, delay: Duration, house: Option<usize>) {
        let address = house.map_or("-", |house| stage::proxy::HOUSES[house]);
        let text = format!("{} {address}", delay.as_millis());
        // Atomically: a reader sees the old or the new content.
        let new = self.file.with_extension("new");
        std::fs::write(&new, text).expect("the names' file");
        std::fs::rename(&new, &self.file).expect("the names' file");
    }
}
