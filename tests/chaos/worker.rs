//! A program for `understudy exec`: acts from its first instruction to its last, and fences what it writes.

use std::fs::OpenOptions;
use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

use clap::Parser;
use redis::{Client, Connection, RedisResult, Script};
use rustix::time::{ClockId, clock_gettime};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
struct Args {
    #[arg(long, env = "UNDERSTUDY_FENCING_TOKEN")]
    token: u64,
    #[arg(long)]
    redis_url: String,
    #[arg(long)]
    name: String,
    /// Where it writes down what it did
    #[arg(long)]
    log: String,
    #[arg(long, default_value_t = 5)]
    work_every_ms: u64,
    /// Told to stop it goes on, until it is killed
    #[arg(long)]
    stubborn: bool,
}

const FENCED_WRITE: &str = "
local seen = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) < seen then return 0 end
redis.call('PEXPIRE', KEYS[1], 3600000)
redis.call('SET', KEYS[1], ARGV[1])
return 1";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let _deaf = args
        .stubborn
        .then(|| signal(SignalKind::terminate()))
        .transpose()?;
    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(args.log)?;
    let (now, token) = (boottime_ns(), args.token);
    writeln!(
        log,
        "{now} role role=ROLE_LEADER token={token} miner={}",
        args.name
    )?;
    let client = Client::open(args.redis_url)?;
    let mut connection = None;
    loop {
        let accepted = match write(&client, &mut connection, token) {
            Ok(1) => "yes",
            Ok(_) => "no",
            Err(_) => {
                connection = None;
                "unknown"
            }
        };
        writeln!(
            log,
            "{} act token={token} accepted={accepted}",
            boottime_ns()
        )?;
        sleep(Duration::from_millis(args.work_every_ms));
    }
}

fn write(client: &Client, connection: &mut Option<Connection>, token: u64) -> RedisResult<u8> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(client.get_connection()?),
    };
    let script = Script::new(FENCED_WRITE);
    script.key("miner:register").arg(token).invoke(connection)
}

fn boottime_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
