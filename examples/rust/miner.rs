//! A sample miner: works only inside its grant, fences its writes, drains when asked.
//!
//!     cargo run --example miner -- --agent 127.0.0.1:50051 --redis-url redis://127.0.0.1:6379

mod leadership;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::Duration;

use clap::Parser;
use leadership::{Campaign, Grant, boottime_ns};
use redis::aio::MultiplexedConnection;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use understudy::proto::Role;

#[derive(Parser)]
struct Args {
    /// The agent beside this miner
    #[arg(long, env = "UNDERSTUDY_GRPC_ADDR", default_value = "127.0.0.1:50051")]
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
    };
    let mut stop = signal(SignalKind::terminate())?;
    let mut backoff = Duration::from_millis(50);
    loop {
        let started = tokio::select! {
            started = Campaign::start(&args.agent, &args.name) => started,
            // An agent that hangs keeps nobody from stopping.
            _ = stop.recv() => return Ok(()),
        };
        match started {
            Ok(campaign) => {
                backoff = Duration::from_millis(50);
                let asked = miner
                    .campaign(campaign, &mut stop, args.work_every_ms)
                    .await;
                if asked {
                    return Ok(());
                }
            }
            Err(error) => miner.say(
                "no_campaign",
                &format!("agent={} error={:?}", args.agent, error.to_string()),
            ),
        }
        tokio::select! {
            _ = stop.recv() => return Ok(()),
            () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(Duration::from_secs(1)),
        }
    }
}

impl Miner {
    /// The work loop. It drives the heartbeats too: if it hangs, the agent notices. Returns whether
    /// the miner was asked to stop; the campaign ends with it, after all work has.
    async fn campaign(
        &mut self,
        mut campaign: Campaign,
        stop: &mut tokio::signal::unix::Signal,
        work_every_ms: u64,
    ) -> bool {
        let mut work = interval(Duration::from_millis(work_every_ms));
        work.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut beat_at = Instant::now();
        let mut version = 0;
        campaign.beat();
        loop {
            tokio::select! {
                changed = campaign.changed() => {
                    let Some(now) = changed else {
                        self.say("disconnected", "");
                        return false;
                    };
                    if now.version != version {
                        version = now.version;
                        let (role, reason) = (now.role().as_str_name(), now.reason().as_str_name());
                        self.say("role", &format!("role={role} reason={reason} token={} version={version}",
                            now.fencing_token));
                        if now.role() != Role::Leader {
                            // This loop does one thing at a time: whatever it had begun has ended.
                            campaign.beat();
                        }
                    }
                }
                () = sleep_until(beat_at) => {
                    beat_at = Instant::now() + campaign.heartbeat_every();
                    campaign.beat();
                }
                _ = work.tick() => if let Some(grant) = campaign.grant() {
                    self.act(grant).await;
                },
                _ = stop.recv() => return true,
            }
        }
    }

    /// One piece of work. It must be shorter than the grant, and looks at the clock before every effect.
    async fn act(&mut self, grant: Grant) {
        let accepted = self.write(grant).await;
        // The moment that is checked is the one that is written down.
        let now = boottime_ns();
        if now < grant.valid_until() {
            let (token, until) = (grant.token, grant.valid_until());
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
