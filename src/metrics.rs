//! Every metric: its name, its help, its labels. To add one, add a field with its name and help here. The tasks move the
//! counters as things happen. Everything else is derived from the status when Prometheus asks, so that no gauge can lie
//! about a leadership that has run out.

mod process;

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Counter, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    Opts, Registry, TextEncoder,
};

use crate::fault::StoreFault;
use crate::status::Status;
use crate::time::Instant;
use process::ProcessMetrics;

/// Redis round trips, in seconds.
const BUCKETS: [f64; 12] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
];

/// The commands whose duration is measured, as labels.
const COMMANDS: [&str; 6] = ["look", "begin", "renew", "release", "check", "memory"];

/// The reasons for failures, as labels: the mission's two.
const REASONS: [&str; 2] = ["redis_oom", "redis_error"];

/// The metrics of one agent, in a registry of their own.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    election: ElectionMetrics,
    redis: RedisMetrics,
    process: ProcessMetrics,
}

/// The metrics of this instance, each with its name as a label.
#[derive(Clone)]
struct ElectionMetrics {
    leader_status: Gauge,
    elections: IntCounter,
    losses: IntCounter,
    acquisition_failures: IntCounterVec,
    consecutive_failures: Gauge,
    elections_under_oom: IntCounter,
    fencing_token: Gauge,
    lease_remaining: Gauge,
    renewal_failures: IntCounterVec,
    leaderless: Counter,
    takeover_ready: GaugeVec,
    miner_connected: Gauge,
}

/// The metrics of Redis, the same for every agent. They have no value until something was read: absent, not 0.
#[derive(Clone)]
struct RedisMetrics {
    used_memory: GaugeVec,
    max_memory: GaugeVec,
    usage_ratio: GaugeVec,
    memory_checked: GaugeVec,
    evicting: GaugeVec,
    up: GaugeVec,
    writable: GaugeVec,
    refused_ratio: GaugeVec,
    durations: HistogramVec,
}

/// Registers a new metric and returns it.
fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<C>,
) -> prometheus::Result<C> {
    let collector = made?;
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

impl ElectionMetrics {
    fn new(registry: &Registry, instance: &str) -> prometheus::Result<Self> {
        let of = |name: &str, help: &str| Opts::new(name, help).const_label("instance", instance);
        let gauge = |name, help| registered(registry, Gauge::with_opts(of(name, help)));
        let counter = |name, help| registered(registry, IntCounter::with_opts(of(name, help)));
        let by_reason =
            |name, help| registered(registry, IntCounterVec::new(of(name, help), &["reason"]));
        let metrics = Self {
            leader_status: gauge(
                "ha_miner_leader_status",
                "1 while this instance leads, else 0",
            )?,
            elections: counter(
                "ha_miner_leader_elections_total",
                "Terms begun by this instance",
            )?,
            losses: counter(
                "ha_miner_leader_losses_total",
                "Terms of this instance that have ended, for any reason",
            )?,
            acquisition_failures: by_reason(
                "ha_miner_leader_acquisition_failures_total",
                "Attempts to acquire leadership that failed on an error of Redis",
            )?,
            consecutive_failures: gauge(
                "ha_miner_leader_consecutive_acquire_failures",
                "Failures to acquire leadership in a row",
            )?,
            elections_under_oom: counter(
                "ha_miner_leader_elections_under_oom_total",
                "Terms begun while Redis was out of memory",
            )?,
            fencing_token: gauge(
                "ha_miner_leader_fencing_token",
                "The term's fencing token while leader, else 0",
            )?,
            lease_remaining: gauge(
                "ha_miner_leader_lease_remaining_seconds",
                "What is left of the lease while leader, else 0",
            )?,
            renewal_failures: by_reason(
                "ha_miner_leader_renewal_failures_total",
                "Renewals that failed on an error of Redis",
            )?,
            leaderless: registered(
                registry,
                Counter::with_opts(of(
                    "ha_miner_leaderless_seconds_total",
                    "Seconds in which this agent saw no leader",
                )),
            )?,
            takeover_ready: registered(
                registry,
                GaugeVec::new(
                    of(
                        "ha_miner_leader_takeover_ready",
                        "1 if this instance leads or its last rehearsal took a shadow of the lock, else 0",
                    ),
                    &[],
                ),
            )?,
            miner_connected: gauge(
                "ha_miner_miner_connected",
                "1 while a live miner makes this agent a candidate (always, with --miner-liveness=always), else 0",
            )?,
        };
        for reason in REASONS {
            metrics.acquisition_failures.with_label_values(&[reason]);
            metrics.renewal_failures.with_label_values(&[reason]);
        }
        Ok(metrics)
    }
}

impl RedisMetrics {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| {
            registered(registry, GaugeVec::new(Opts::new(name, help), &[]))
        };
        let metrics = Self {
            used_memory: gauge(
                "ha_miner_redis_used_memory_bytes",
                "used_memory of INFO MEMORY",
            )?,
            max_memory: gauge(
                "ha_miner_redis_max_memory_bytes",
                "maxmemory of INFO MEMORY; 0 without a limit",
            )?,
            usage_ratio: gauge(
                "ha_miner_redis_memory_usage_ratio",
                "used_memory / maxmemory; -1 without a limit",
            )?,
            memory_checked: gauge(
                "ha_miner_redis_memory_last_check_timestamp_seconds",
                "When INFO MEMORY was last read, in seconds since 1970",
            )?,
            evicting: gauge(
                "ha_miner_redis_evicting_policy",
                "1 if Redis has a memory limit and a policy that may evict the lock, else 0",
            )?,
            up: gauge(
                "ha_miner_redis_up",
                "1 if Redis answered the last check, else 0",
            )?,
            writable: gauge(
                "ha_miner_redis_writable",
                "1 if Redis took the last write probe, else 0",
            )?,
            refused_ratio: gauge(
                "ha_miner_redis_write_refused_ratio",
                "Share of write probes refused in the last 60 s",
            )?,
            durations: registered(
                registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "ha_miner_redis_command_duration_seconds",
                        "Time until Redis answered, or did not",
                    )
                    .buckets(BUCKETS.to_vec()),
                    &["command"],
                ),
            )?,
        };
        for command in COMMANDS {
            metrics.durations.with_label_values(&[command]);
        }
        Ok(metrics)
    }
}

impl Metrics {
    /// # Errors
    /// A metric is defined twice: a bug that a test finds.
    pub fn new(instance: &str, lock: &str) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let build = Opts::new(
            "ha_miner_build_info",
            "1; in the labels: version, revision, the lock (place, database, key) and the agent's name",
        );
        // This label is `name`, not `instance`: so the series also gets the target's `instance`, as those of Redis do.
        let labels = ["version", "revision", "lock", "name"];
        registered(&registry, GaugeVec::new(build, &labels))?
            .with_label_values(&[crate::VERSION, crate::REVISION, lock, instance])
            .set(1.0);
        Ok(Self {
            election: ElectionMetrics::new(&registry, instance)?,
            redis: RedisMetrics::new(&registry)?,
            process: ProcessMetrics::new(&registry)?,
            registry,
        })
    }

    pub fn acquisition_failed(&self, fault: StoreFault) {
        self.election
            .acquisition_failures
            .with_label_values(&[reason(fault)])
            .inc();
    }

    pub fn renewal_failed(&self, fault: StoreFault) {
        self.election
            .renewal_failures
            .with_label_values(&[reason(fault)])
            .inc();
    }

    pub fn elected_under_oom(&self) {
        self.election.elections_under_oom.inc();
    }

    /// `command` is one of those at the head of this file.
    pub fn took(&self, command: &'static str, duration: Duration) {
        let histogram: Histogram = self.redis.durations.with_label_values(&[command]);
        histogram.observe(duration.as_secs_f64());
    }

    /// The metrics as of `now`, in Prometheus' text format.
    ///
    /// # Errors
    /// The registry cannot be encoded.
    #[allow(
        clippy::cast_precision_loss,
        reason = "tokens stay below 2^53, bytes need no last digit"
    )]
    pub fn render(&self, status: &Status, now: Instant) -> prometheus::Result<String> {
        let election = &status.election;
        let leadership = status.leadership(now);
        let leads = u64::from(leadership.leads());
        self.election.leader_status.set(leads as f64);
        // elections − losses = status holds in every scrape, because the losses are computed from it.
        self.election.elections.inc_by(
            election
                .elections
                .saturating_sub(self.election.elections.get()),
        );
        let losses = self.election.elections.get().saturating_sub(leads);
        self.election
            .losses
            .inc_by(losses.saturating_sub(self.election.losses.get()));
        self.election
            .consecutive_failures
            .set(f64::from(election.consecutive_failures));
        self.election
            .fencing_token
            .set(leadership.token.unwrap_or(0) as f64);
        let lease = leadership.lease_until.map(|end| end.since(now));
        self.election
            .lease_remaining
            .set(lease.unwrap_or_default().as_secs_f64());
        let leaderless = election.leaderless.total(now).as_secs_f64();
        self.election
            .leaderless
            .inc_by((leaderless - self.election.leaderless.get()).max(0.0));
        self.election
            .miner_connected
            .set(f64::from(u8::from(election.candidate)));
        if let Some(takeover) = status.takeover(now) {
            show(
                &self.election.takeover_ready,
                f64::from(u8::from(takeover.is_ok())),
            );
        }
        self.show_redis(status, now);
        self.process.read(status.identity.started_unix);
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    #[allow(clippy::cast_precision_loss, reason = "bytes need no last digit")]
    fn show_redis(&self, status: &Status, now: Instant) {
        let redis = &status.redis;
        if let (Some(up), Some(writable)) = (redis.reachable(), redis.writable()) {
            show(&self.redis.up, f64::from(u8::from(up)));
            show(&self.redis.writable, f64::from(u8::from(writable)));
            show(&self.redis.refused_ratio, redis.refused_ratio(now));
        }
        if let Some(memory) = redis.memory() {
            show(&self.redis.used_memory, memory.reading.used_bytes as f64);
            show(&self.redis.max_memory, memory.reading.max_bytes as f64);
            show(&self.redis.usage_ratio, memory.reading.usage_ratio());
            show(&self.redis.memory_checked, memory.read_at_unix);
            show(
                &self.redis.evicting,
                f64::from(u8::from(memory.reading.evicting())),
            );
        }
    }
}

/// Sets a gauge that is absent until something is known.
fn show(gauge: &GaugeVec, value: f64) {
    gauge.with_label_values::<&str>(&[]).set(value);
}

fn reason(fault: StoreFault) -> &'static str {
    match fault {
        StoreFault::OutOfMemory => "redis_oom",
        _ => "redis_error",
    }
}
