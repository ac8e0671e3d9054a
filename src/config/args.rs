//! The flags, as they are typed. Everything is a string here: [`super::Config`] checks them all at
//! once and reports every mistake together.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "these comments are help texts"
)]

use clap::{Arg, Args};

/// How to reach Redis, and which key is the lock. Not `Debug`: the URL may hold a password.
#[derive(Clone, Default, Args)]
#[command(mut_args = or_by_environment)]
pub struct RedisArgs {
    /// Redis, as redis://[user:password@]host[:port][/db], rediss:// for TLS,
    /// redis+unix:///path/to/socket[?db=N], redis-sentinel://host[:port],…/NAME[?db=N] or
    /// redis-cluster://host[:port],…; a miner's own go-redis URL works unchanged
    /// [default: redis://127.0.0.1:6379]
    #[arg(long, value_name = "URL")]
    pub redis_url: Option<String>,
    /// User name; overrides the one in the URL
    #[arg(long, value_name = "NAME")]
    pub redis_username: Option<String>,
    /// File that holds the password; the agent waits for a file that is not there yet. Without it, the environment
    /// variable UNDERSTUDY_REDIS_PASSWORD, then the URL
    #[arg(long, value_name = "FILE")]
    pub redis_password_file: Option<String>,
    /// PEM file of the authorities to trust with rediss:// [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub redis_ca_file: Option<String>,
    /// PEM file of the agent's own certificate, for a Redis that asks for one
    #[arg(long, value_name = "FILE")]
    pub redis_cert_file: Option<String>,
    /// PEM file of the key to that certificate
    #[arg(long, value_name = "FILE")]
    pub redis_key_file: Option<String>,
    /// User name at the sentinels
    #[arg(long, value_name = "NAME")]
    pub sentinel_username: Option<String>,
    /// File that holds the password of the sentinels; without it, the environment variable
    /// UNDERSTUDY_SENTINEL_PASSWORD
    #[arg(long, value_name = "FILE")]
    pub sentinel_password_file: Option<String>,
    /// How long one command may take, connecting included [default: 2s]
    #[arg(long, value_name = "DURATION")]
    pub redis_timeout: Option<String>,
    /// The key of the lock [default: ha:miner:global_leader]
    #[arg(long, value_name = "KEY")]
    pub lock_key: Option<String>,
}

/// The flags of `understudy run`.
#[derive(Clone, Default, Args)]
#[command(mut_args = or_by_environment)]
pub struct RunArgs {
    #[command(flatten)]
    pub redis: RedisArgs,
    /// This instance's name: 1 to 253 of A-Z a-z 0-9 . _ -; one that is longer than 63 is shortened, with a hash
    /// [default: $POD_NAME, else the host name]
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    /// How long the lock lives without renewal; 1s to 24h [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub lease_ttl: Option<String>,
    /// How often the leader renews; at most a third of the TTL [default: 10s or a third of the TTL,
    /// whichever is less]
    #[arg(long, value_name = "DURATION")]
    pub renew_every: Option<String>,
    /// How the agent knows that its miner lives: `campaign` (the miner holds a stream open and keeps
    /// sending), `probe` (the agent asks --miner-probe) or `always` (the agent is the candidate; can keep a
    /// dead miner in the lead)
    /// [default: campaign]
    #[arg(long, value_name = "HOW")]
    pub miner_liveness: Option<String>,
    /// Where to ask whether the miner is healthy, on loopback: http://127.0.0.1:PORT[/path],
    /// grpc://127.0.0.1:PORT[/service] or tcp://127.0.0.1:PORT
    #[arg(long, value_name = "URL")]
    pub miner_probe: Option<String>,
    /// How long the miner may be silent [default: 3s or a third of the TTL, whichever is less]
    #[arg(long, value_name = "DURATION")]
    pub miner_timeout: Option<String>,
    /// Campaign for leadership; false: watch, and never lead [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub candidate: Option<String>,
    /// Take the lock even where Redis is out of memory; false: fail visibly, as a plain SET would
    /// [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub acquire_under_oom: Option<String>,
    /// How often to read Redis' memory [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub memory_every: Option<String>,
    /// Warn when used memory exceeds this share of maxmemory [default: 0.9]
    #[arg(long, value_name = "RATIO")]
    pub memory_warn_ratio: Option<String>,
    /// Lead even where Redis may evict the lock (`maxmemory-policy` with a limit set)
    /// [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub allow_eviction: Option<String>,
    /// Loopback address for the miner's gRPC, or `off` with a socket [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDR")]
    pub grpc_listen: Option<String>,
    /// Unix socket for the miner's gRPC, mode 0660 [default: none]
    #[arg(long, value_name = "PATH")]
    pub grpc_socket: Option<String>,
    /// Address of /ready, /live, /leader, /status and /metrics. [::] is every address, IPv4 too, and the same as
    /// 0.0.0.0 if the kernel has no IPv6; 0.0.0.0 is IPv4 only. `off` serves none of them [default: [::]:9090]
    #[arg(long, value_name = "ADDR")]
    pub http_listen: Option<String>,
    /// `text` or `json` [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// `error`, `warn`, `info`, `debug` or `trace`; if the variable RUST_LOG is set, it wins and can be more specific
    /// [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// The longest that a hand-over waits for the miner; at least --miner-timeout [default: 5s]
    #[arg(long, value_name = "DURATION")]
    pub drain_timeout: Option<String>,
    /// Folder in which this agent remembers its holder id and the highest token, so that after a restart it
    /// takes its own lock back at once [default: none]
    #[arg(long, value_name = "PATH")]
    pub state_dir: Option<String>,
}

/// `--lease-ttl` is also `UNDERSTUDY_LEASE_TTL`, and so on. The value of a variable is not shown: it may be a secret.
fn or_by_environment(arg: Arg) -> Arg {
    let Some(flag) = arg.get_long().filter(|_| arg.get_action().takes_values()) else {
        return arg;
    };
    let variable = format!("UNDERSTUDY_{}", flag.to_uppercase().replace('-', "_"));
    arg.env(variable).hide_env_values(true)
}
