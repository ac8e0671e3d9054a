//! A sample miner: works only inside its grant, fences its writes, drains when asked.
//!
//!     cargo run --example miner -- --agent 127.0.0.1:50051 --redis-url redis://127.0.0.1:6379

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::Duration;

use clap::Parser;
use redis::aio::MultiplexedConnection;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};
use understudy_client::{Cleaning, Elector, Grant, Leader, boottime_ns};

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
    /// Work once per block, and blocks come this often, in milliseconds; 0: work in a loop
    #[arg(long, default_value_t = 0)]
    blocks_every_ms: u64,
    /// How long it cleans up after a term, in milliseconds
    #[arg(long, default_value_t = 0)]
    cleanup_ms: u64,
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
    /// When it has cleaned up, and that it still does.
    cleanup: Duration,
    cleaning: Option<(tokio::time::Instant, Cleaning)>,
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
        cleanup: Duration::from_millis(args.cleanup_ms),
        cleaning: None,
    };
    let signals = [
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::user_defined2())?,
    ];
    let elector = Elector::start(&args.agent, &args.name)?;
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let block = Some(Duration::from_millis(args.blocks_every_ms)).filter(|it| !it.is_zero());
    let every = Duration::from_millis(args.work_every_ms);
    miner.work(elector, signals, block, every).await;
    Ok(())
}

/// As a logger would on every line.
async fn ask(leader: Leader) {
    loop {
        let _ = leader.is_leader();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Miner {
    /// The work loop. It turns whether the miner leads or not, and vouches for itself: or the blocks do, which come on a
    /// standby too.
    async fn work(
        &mut self,
        mut elector: Elector,
        signals: [Signal; 3],
        block: Option<Duration>,
        every: Duration,
    ) {
        let [mut stop, mut interrupt, mut hang] = signals;
        let mut work = interval(block.unwrap_or(every));
        work.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for _ in 0..self.askers {
            tokio::spawn(ask(elector.leader()));
        }
        let pulse = block.map(|block| elector.pulse("blocks", 3 * block));
        let mut term = 0;
        loop {
            let cleaned = self.cleaning.as_ref().map(|(at, _)| *at);
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
                        let until = tokio::time::Instant::now() + self.cleanup;
                        self.cleaning = Some((until, elector.cleaning()));
                    }
                },
                () = tokio::time::sleep_until(cleaned.unwrap_or_else(tokio::time::Instant::now)), if cleaned.is_some() => {
                    self.say("cleaned", "");
                    self.cleaning = None;
                }
                _ = work.tick() => {
                    match &pulse {
                        Some(pulse) => pulse.beat(),
                        None => elector.beat(),
                    }
                    if let Some(grant) = elector.grant() {
                        self.act(grant).await;
                    }
                }
                _ = stop.recv() => break,
                _ = interrupt.recv() => break,
                // To show that the heartbeats hang with it.
                _ = hang.recv() => std::future::pending().await,
            }
        }
        elector.withdraw();
        self.cleaning = None;
        if self.askers == 0 {
            elector.done();
        }
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
