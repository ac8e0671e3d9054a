//! A miner that breaks the rules on purpose, to show that the suite would notice.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use understudy::proto::election_service_client::ElectionServiceClient;
use understudy::proto::{CampaignRequest, Leadership, Role};

#[derive(Parser)]
struct Args {
    #[arg(long)]
    agent: String,
    #[arg(long)]
    name: String,
    #[arg(long)]
    log: String,
    #[arg(long)]
    work_every_ms: u64,
    #[arg(long)]
    redis_url: String,
    #[arg(long)]
    ignores: Rule,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Rule {
    /// It acts until it is told otherwise.
    TheClock,
    /// It says that its work has stopped, and continues to act until its grant ends.
    Demotion,
    /// Its heartbeats come from a thread of their own, though the loop that works hangs.
    TheLoop,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let leads = Arc::new(Mutex::new(Leadership::default()));
    let works = Arc::clone(&leads);
    let (every, ignores) = (Duration::from_millis(args.work_every_ms), args.ignores);
    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&args.log)?;
    let hangs = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&hangs);
    let mut hang = signal(SignalKind::user_defined2())?;
    tokio::spawn(async move {
        hang.recv().await;
        told.store(true, Ordering::Relaxed);
    });
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(every);
            if hangs.load(Ordering::Relaxed) {
                continue;
            }
            let now = works.lock().map(|it| it.clone()).unwrap_or_default();
            let (at, until) = (boottime_ns(), now.valid_until_boottime_ns);
            if until > 0 && (ignores == Rule::TheClock || at < until) {
                let token = now.fencing_token;
                let _ = writeln!(log, "{at} act token={token} until={until} accepted=none");
            }
        }
    });
    loop {
        // Try again whatever went wrong.
        let _ = campaign(&args, &leads).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn campaign(
    args: &Args,
    leads: &Mutex<Leadership>,
) -> Result<(), Box<dyn std::error::Error>> {
    let url = match args.agent.strip_prefix("unix:") {
        Some(_) => args.agent.clone(),
        None => format!("http://{}", args.agent),
    };
    let (requests, outgoing) = tokio::sync::mpsc::channel(4);
    let channel = tonic::transport::Endpoint::from_shared(url)?
        .connect()
        .await?;
    let mut client = ElectionServiceClient::new(channel);
    let mut responses = client
        .campaign(ReceiverStream::new(outgoing))
        .await?
        .into_inner();
    let mut version = 0;
    loop {
        let beat = CampaignRequest {
            miner: args.name.clone(),
            acknowledged_version: version,
            ..CampaignRequest::default()
        };
        requests.send(beat).await?;
        let heard = tokio::time::timeout(Duration::from_millis(300), responses.next()).await;
        let Ok(heard) = heard else { continue };
        let now = heard.ok_or("the end")??.leadership.unwrap_or_default();
        version = now.version;
        let mut leads = leads.lock().map_err(|_| "a thread has panicked")?;
        if now.role() == Role::Leader || args.ignores != Rule::Demotion {
            *leads = now;
        }
    }
}

fn boottime_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
