//! A sample miner: works only inside its grant, fences its writes, drains when asked.
//!
//!     cargo run --example miner -- --agent 127.0.0.1:50051 --redis-url redis://127.0.0.1:6379

mod elector;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::Duration;

use clap::Parser;
use elector::{Elector, Grant, boottime_ns};
use redis::aio::MultiplexedConnection;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

#[derive(Parser)]
struct Args {
    /// The agent beside this miner; empty: 127.0.0.1:50051
    #[arg(
        long,
        env = "UNDERSTUDY_GRPC_ADDR",
        default_value = "",
        hide_default_value = true
    )]
    agent: String,
    /// The miner's name, for the agent's `/status`
    #[arg(long, default_value = "sample-miner")]
    name: String,
    /// Where the fenced writes go; without it the miner only says that it acts
    #[arg(long)]
    redis_url: Option<String>,
    /// What it did, line by line; standard output without it
    #[arg(long)]
    log: Option<String>,
    /// How often it works while it leads, in milliseconds
    #[arg(long, default_value_t = 100)]
    work_every_ms: u64,
    /// How many others ask whether it leads, to the last; then it acknowledges nothing
    #[arg(long, default_value_t = 0)]
    askers: u32,
}

/// Accepts a write only under the greatest token it has ever seen: the stale leader's last defence.
const FENCED_WRITE: &str = "
local seen = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) < seen then return 0 end
redis.call('PEXPIRE', KEYS[1], 3600000)
redis.call('SET', KEYS[1], ARGV[1])
return 1";

struct Miner {
    log: Box<dyn Write>,
    store: Option<redis::Client>,
    connection: Option<MultiplexedConnection>,
    askers: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let append =
        |path| -> std::io::Result<File> { OpenOptions::new().create(true).append(true).open(path) };
    let mut miner = Miner {
        log: match &args.log {
            Some(path) => Box::new(append(path)?),
            None => Box::new(std::io::stdout()),
        },
        store: args.redis_url.map(redis::Client::open).transpose()?,
        connection: None,
        askers: args.askers,
    };
    let signals = [
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::user_defined2())?,
    ];
    let elector = Elector::start(&args.agent, &args.name)?;
    let every = Duration::from_millis(args.work_every_ms);
    miner.work(elector, signals, every).await;
    Ok(())
}

impl Miner {
    /// The work loop. It turns whether the miner leads or not, and its questions are the heartbeats.
    async fn work(&mut self, mut elector: Elector, signals: [Signal; 3], every: Duration) {
        let [mut stop, mut interrupt, mut hang] = signals;
        let mut work = interval(every);
        work.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut ask = interval(Duration::from_millis(10));
        let mut term = 0;
        loop {
            tokio::select! {
                changed = elector.changed() => match changed {
                    Some(grant) => {
                        term = grant.token;
                        self.say("role", &format!("role=ROLE_LEADER token={term}"));
                    }
                    None => {
                        self.say("role", &format!("role=ROLE_STANDBY token={term}"));
                        // This loop does one thing at a time: whatever it had begun has ended.
                        self.acknowledge(&elector, term);
                    }
                },
                _ = work.tick() => if let Some(grant) = elector.grant() {
                    self.act(grant).await;
                },
                // As a logger would on every line. Nobody can ask an elector that is being closed.
                _ = ask.tick(), if self.askers > 0 => for _ in 0..self.askers {
                    elector.is_leader();
                },
                _ = stop.recv() => break,
                _ = interrupt.recv() => break,
                // To show that the heartbeats hang with it.
                _ = hang.recv() => std::future::pending().await,
            }
        }
        self.acknowledge(&elector, term);
        elector.close().await;
    }

    fn acknowledge(&self, elector: &Elector, term: u64) {
        // What askers do at an answer is not known.
        if self.askers == 0 {
            elector.acknowledge(term);
        }
    }

    /// One piece of work. It must be shorter than the grant, and looks at the clock before every effect.
    async fn act(&mut self, grant: Grant) {
        let accepted = self.write(grant).await;
        // The moment that is checked is the one that is written down.
        let now = boottime_ns();
        if now < grant.until {
            let (token, until) = (grant.token, grant.until);
            let fields = format!("token={token} until={until} accepted={accepted}");
            self.say_at(now, "act", &fields);
        }
    }

    async fn write(&mut self, grant: Grant) -> &'static str {
        let Some(store) = &self.store else {
            return "none";
        };
        let write = async {
            if self.connection.is_none() {
                self.connection = Some(store.get_multiplexed_async_connection().await?);
            }
            let Some(connection) = &mut self.connection else {
                return Ok(0);
            };
            redis::Script::new(FENCED_WRITE)
                .key("miner:register")
                .arg(grant.token)
                .invoke_async::<u8>(connection)
                .await
        };
        match tokio::time::timeout(Duration::from_millis(500), write).await {
            Ok(Ok(1)) => "yes",
            Ok(Ok(_)) => "no",
            Ok(Err(_)) | Err(_) => {
                self.connection = None;
                "unknown"
            }
        }
    }

    fn say(&mut self, event: &str, fields: &str) {
        self.say_at(boottime_ns(), event, fields);
    }

    fn say_at(&mut self, now: u64, event: &str, fields: &str) {
        // A log that cannot be written must not stop the work.
        let _ = writeln!(self.log, "{now} {event} {fields}");
        let _ = self.log.flush();
    }
}
