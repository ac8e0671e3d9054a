//! `process_*`: what the kernel says of this process.

use std::fs::{read_dir, read_to_string};

use prometheus::{Counter, Gauge, Opts, Registry};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::registered;

/// As Prometheus' own clients name them.
#[derive(Clone)]
pub(super) struct ProcessMetrics {
    cpu: Counter,
    open_fds: Gauge,
    max_fds: Gauge,
    virtual_memory: Gauge,
    resident_memory: Gauge,
    started: Gauge,
    threads: Gauge,
}

/// From `/proc/self/stat`, proc_pid_stat(5).
#[derive(Debug, PartialEq)]
struct Stat {
    /// In user and in system mode, in clock ticks.
    ticks: u64,
    threads: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl ProcessMetrics {
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name, help| registered(registry, Gauge::with_opts(Opts::new(name, help)));
        let cpu = Opts::new(
            "process_cpu_seconds_total",
            "User and system CPU time in seconds",
        );
        Ok(Self {
            cpu: registered(registry, Counter::with_opts(cpu))?,
            open_fds: gauge("process_open_fds", "Open file descriptors")?,
            max_fds: gauge("process_max_fds", "How many file descriptors may be open")?,
            virtual_memory: gauge("process_virtual_memory_bytes", "Virtual memory size")?,
            resident_memory: gauge("process_resident_memory_bytes", "Resident memory size")?,
            started: gauge(
                "process_start_time_seconds",
                "When the process started, in seconds since 1970",
            )?,
            threads: gauge("process_threads", "Threads of the process")?,
        })
    }

    /// What cannot be read stays as it was. `started`: in seconds since 1970.
    #[allow(
        clippy::cast_precision_loss,
        reason = "bytes and ticks need no last digit"
    )]
    pub fn read(&self, started: f64) {
        self.started.set(started);
        let stat = read_to_string("/proc/self/stat");
        if let Some(stat) = stat.ok().as_deref().and_then(Stat::parse) {
            let cpu = stat.ticks as f64 / clock_ticks_per_second() as f64;
            self.cpu.inc_by((cpu - self.cpu.get()).max(0.0));
            self.threads.set(stat.threads as f64);
            self.virtual_memory.set(stat.virtual_bytes as f64);
            let resident = stat.resident_pages as f64 * page_size() as f64;
            self.resident_memory.set(resident);
        }
        if let Ok(open) = read_dir("/proc/self/fd") {
            // One of them is this directory.
            self.open_fds.set(open.count().saturating_sub(1) as f64);
        }
        let most = getrlimit(Resource::Nofile).current;
        self.max_fds.set(most.map_or(f64::INFINITY, |it| it as f64));
    }
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name before it may have anything in it, and is the second field.
        let (_, fields) = text.rsplit_once(") ")?;
        let field = |number: usize| {
            fields
                .split(' ')
                .nth(number - 3)?
                .trim()
                .parse::<u64>()
                .ok()
        };
        Some(Self {
            ticks: field(14)? + field(15)?,
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_is_read_whatever_the_name_is() {
        let line =
            "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 12 30 0 0 20 0 3 0 9000 8192 5 184467 1";
        let expected = Stat {
            ticks: 42,
            threads: 3,
            virtual_bytes: 8192,
            resident_pages: 5,
        };
        assert_eq!(Stat::parse(line), Some(expected));
        for nonsense in ["", "7 (a) S 1", "7 (a"] {
            assert_eq!(Stat::parse(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn this_process_runs_on_threads_with_files_and_memory() {
        let registry = Registry::new();
        let metrics = ProcessMetrics::new(&registry).expect("they are defined once");
        metrics.read(7.0);
        for gauge in [&metrics.open_fds, &metrics.max_fds, &metrics.threads] {
            assert!(gauge.get() >= 1.0);
        }
        assert!(metrics.resident_memory.get() > 1e5);
        assert!(metrics.virtual_memory.get() >= metrics.resident_memory.get());
    }
}
