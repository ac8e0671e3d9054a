//! A double of the elector that is built into miners today, for comparison. It was written from a description of the public
//! source's rules (docs/safety.md), and includes a miner that acts while it believes that it leads.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;
use redis::aio::MultiplexedConnection;
use redis::{Client, ErrorKind, RedisError, RedisResult, Script};
use rustix::time::{ClockId, clock_gettime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

#[derive(Parser)]
struct Args {
    #[arg(long)]
    redis_url: String,
    #[arg(long)]
    name: String,
    /// Where to record its acts
    #[arg(long)]
    log: String,
    #[arg(long, default_value_t = 30_000)]
    ttl_ms: u64,
    #[arg(long, default_value_t = 10_000)]
    heartbeat_ms: u64,
    #[arg(long, default_value_t = 5)]
    work_every_ms: u64,
}

const LOCK: &str = "ha:miner:global_leader";
/// As a standby: take the lock if there is none.
const ACQUIRE: &str = "
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 1
end
return 0";
/// As leader: extend the lock if it is ours.
const RENEW: &str = "
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0";
const RELEASE: &str = "
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0";
/// In addition to the first try.
const RETRIES: u32 = 3;

/// A client with the time limits of the incumbent's library: 3 s for an answer, with a TTL of 30 s, and three
/// more tries.
struct Library {
    client: Client,
    connection: Option<MultiplexedConnection>,
    limit: Duration,
}

impl Library {
    async fn run(&mut self, script: &Script, id: &str, ttl: u64) -> RedisResult<bool> {
        let mut tries = 0;
        loop {
            let once = timeout(self.limit, self.once(script, id, ttl)).await;
            let result = once.unwrap_or_else(|_| Err((ErrorKind::Io, "no answer").into()));
            match result {
                Err(error) if tries < RETRIES && retried(&error) => tries += 1,
                result => return result,
            }
            sleep(self.limit / 300 * (1 << tries)).await;
        }
    }

    async fn once(&mut self, script: &Script, id: &str, ttl: u64) -> RedisResult<bool> {
        // After a timeout the connection is not used again.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.client.get_multiplexed_async_connection().await?,
        };
        let mut call = script.key(LOCK);
        let done: RedisResult<u8> = call.arg(id).arg(ttl).invoke_async(&mut connection).await;
        if !done.as_ref().is_err_and(broken) {
            self.connection = Some(connection);
        }
        done.map(|done| done == 1)
    }
}

fn broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || error.is_connection_dropped()
}

fn retried(error: &RedisError) -> bool {
    broken(error)
        || matches!(
            error.code(),
            Some("LOADING" | "READONLY" | "CLUSTERDOWN" | "TRYAGAIN")
        )
        || error.kind() == ErrorKind::Io
}

/// Elects, on a thread of its own.
#[tokio::main(flavor = "current_thread")]
async fn elect(args: &Args, leads: &AtomicBool) {
    let id = format!("{}-{}", args.name, std::process::id());
    let mut library = Library {
        client: Client::open(args.redis_url.as_str()).expect("a URL"),
        connection: None,
        limit: Duration::from_millis(args.ttl_ms / 10),
    };
    let (acquire, renew) = (Script::new(ACQUIRE), Script::new(RENEW));
    // Like a ticker: several missed beats become one.
    let mut beat = interval(Duration::from_millis(args.heartbeat_ms));
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        beat.tick().await;
        let leader = leads.load(Ordering::Relaxed);
        let script = if leader { &renew } else { &acquire };
        // Any error demotes, and so does a lock that is not ours.
        let now = library.run(script, &id, args.ttl_ms).await.unwrap_or(false);
        leads.store(now, Ordering::Relaxed);
    }
}

fn act(args: &Args, leads: &AtomicBool) {
    let mut log = File::options()
        .create(true)
        .append(true)
        .open(&args.log)
        .expect("the log");
    loop {
        if leads.load(Ordering::Relaxed) {
            let time = clock_gettime(ClockId::Boottime);
            let now = time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
            let line = format!("{now} act token=0 accepted=none\n");
            log.write_all(line.as_bytes()).expect("the log");
        }
        thread::sleep(Duration::from_millis(args.work_every_ms));
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args = Arc::new(Args::parse());
    let leads = Arc::new(AtomicBool::new(false));
    for work in [elect, act] {
        let (args, leads) = (Arc::clone(&args), Arc::clone(&leads));
        thread::spawn(move || work(&args, &leads));
    }
    let mut stop = signal(SignalKind::terminate()).expect("a signal");
    stop.recv().await;
    leads.store(false, Ordering::Relaxed);
    let id = format!("{}-{}", args.name, std::process::id());
    // It publishes nothing: a standby learns of the release at its next heartbeat.
    if let Ok(client) = Client::open(args.redis_url.as_str())
        && let Ok(mut connection) = client.get_connection_with_timeout(Duration::from_secs(1))
    {
        let _: RedisResult<u8> = Script::new(RELEASE)
            .key(LOCK)
            .arg(id)
            .invoke(&mut connection);
    }
}
