//! A name for Redis, and a name server of which one never knows.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What the electors call their Redis.
pub const NAME: &str = "redis.test";

/// A library that is loaded before the C library's own resolver, and the file in which it looks.
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

    /// The name is one of the proxy's houses from now on, `None` for no answer, and telling takes `delay`.
    pub fn tell(&self, delay: Duration, house: Option<usize>) {
        let address = house.map_or("-", |house| stage::proxy::HOUSES[house]);
        let text = format!("{} {address}", delay.as_millis());
        // In one piece: a reader sees the old or the new.
        let new = self.file.with_extension("new");
        std::fs::write(&new, text).expect("the names' file");
        std::fs::rename(&new, &self.file).expect("the names' file");
    }
}
