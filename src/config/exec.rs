//! The settings of `understudy exec`: those of `run`, and its own.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use tracing::Level;

use super::read::{Reader, non_empty};
use super::{BadSettings, Config, LogFormat, RunArgs};
use crate::election::Liveness;

/// Longer than a miner's: a stopped program is noticed within this time, and the grace may take up two thirds of it.
const DEFAULT_MINER_TIMEOUT: Duration = Duration::from_secs(10);

/// What `exec` heeds itself.
const BESIDE_AN_AGENT: [&str; 5] = ["agent", "restart", "grace", "log-format", "log-level"];

#[derive(Clone, Args)]
pub struct ExecArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// An agent that already runs: an address, or unix:/path/to/socket [default: one of its own]
    #[arg(long, value_name = "ADDR")]
    pub agent: Option<String>,
    /// Start the program again when it ends, while this instance leads
    #[arg(long)]
    pub restart: bool,
    /// How long the program may take to end after SIGTERM; at most two thirds of --miner-timeout less 200ms
    /// [default: half of --miner-timeout]
    #[arg(long, value_name = "DURATION")]
    pub grace: Option<String>,
    /// The program, and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// The checked settings.
pub struct ExecConfig {
    /// The settings of the agent in this process; `None` if it uses the one at `agent`.
    pub own: Option<Box<Config>>,
    pub agent: String,
    pub restart: bool,
    pub grace: Option<Duration>,
    pub log_format: LogFormat,
    pub log_level: Level,
}

impl ExecConfig {
    /// `typed`: the flags of the command line, as opposed to the environment's variables, which may be meant for others.
    ///
    /// # Errors
    /// Every mistake, each with its flag, the value and what is expected.
    pub fn check(args: &ExecArgs, typed: &[String]) -> Result<Self, BadSettings> {
        let mut reader = Reader::default();
        let config = Self::read(args, typed, &mut reader);
        reader.finish(config)
    }

    fn read(args: &ExecArgs, typed: &[String], reader: &mut Reader) -> Option<Self> {
        let agent = non_empty(&args.agent);
        let mut run = args.run.clone();
        if agent.is_some() {
            for flag in typed
                .iter()
                .filter(|it| !BESIDE_AN_AGENT.contains(&it.as_str()))
            {
                reader.bad(
                    flag,
                    "…",
                    "nothing with --agent: that agent's own setting counts",
                );
            }
            run = RunArgs {
                log_format: run.log_format,
                log_level: run.log_level,
                ..RunArgs::default()
            };
        } else if non_empty(&run.redis.lock_key).is_none() {
            reader.bad(
                "lock-key",
                "",
                "a key of the program's own, such as jobs:backup",
            );
        }
        run.http_listen = run
            .http_listen
            .filter(|it| !it.is_empty())
            .or(Some("off".into()));
        let ttl = reader.duration("lease-ttl", &run.lease_ttl, super::DEFAULT_TTL);
        let longest = (ttl / 3).min(DEFAULT_MINER_TIMEOUT);
        let timeout = reader.duration("miner-timeout", &run.miner_timeout, longest);
        if non_empty(&run.miner_timeout).is_none() {
            run.miner_timeout = Some(humantime::format_duration(longest).to_string());
        }
        let config = Config::read(&run, super::Listens::WhereAsked, reader);
        let grace =
            non_empty(&args.grace).map(|_| reader.duration("grace", &args.grace, Duration::ZERO));
        if let (Some(grace), None) = (grace, agent) {
            let most = (timeout * 2 / 3).saturating_sub(Duration::from_millis(200));
            if grace > most {
                let most = humantime::format_duration(most);
                let expected = format!("at most {most}, two thirds of --miner-timeout less 200ms");
                reader.bad("grace", args.grace.as_deref().unwrap_or_default(), expected);
            }
        }
        let config = config?;
        if agent.is_none() && timeout < Duration::from_secs(1) {
            reader.bad(
                "miner-timeout",
                run.miner_timeout.as_deref().unwrap_or_default(),
                "at least 1s with exec",
            );
        }
        if config.liveness != Liveness::Campaign {
            reader.bad("miner-liveness", "…", "campaign with exec");
        }
        Some(Self {
            agent: agent.unwrap_or_default().to_owned(),
            restart: args.restart,
            grace,
            log_format: config.log_format,
            log_level: config.log_level,
            own: agent.is_none().then(|| Box::new(config)),
        })
    }
}
