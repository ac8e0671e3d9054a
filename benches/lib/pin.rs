//! Pins processes to processors.

use std::process::Command;

/// Where a server and its client run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    SameCore,
    OtherCore,
    Free,
}

impl Place {
    pub const ALL: [Self; 3] = [Self::SameCore, Self::OtherCore, Self::Free];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SameCore => "same core",
            Self::OtherCore => "other core",
            Self::Free => "free",
        }
    }

    /// The processors of the server, and of the client.
    fn of(self) -> (&'static str, &'static str) {
        match self {
            Self::SameCore => ("0", "0"),
            Self::OtherCore => ("0", "1"),
            Self::Free => ("0-1", "0-1"),
        }
    }

    /// Pins a server's threads and this process' own.
    ///
    /// # Panics
    /// There is no taskset, or no second processor.
    pub fn pin(self, server: u32) {
        let (of_server, ours) = self.of();
        for (processors, pid) in [(of_server, server), (ours, std::process::id())] {
            let mut taskset = Command::new("taskset");
            let taskset = taskset.args(["-a", "-cp", processors, &pid.to_string()]);
            let output = taskset.output().expect("taskset, of util-linux, is needed");
            assert!(output.status.success(), "taskset: {output:?}");
        }
    }
}
