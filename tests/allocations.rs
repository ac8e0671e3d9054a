//! How often an agent allocates memory per call, beat and scrape: this does not depend on the machine, and must
//! not grow. The agent runs on one thread of this process, and only that thread counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use clap::Parser;
use stage::{Redis, free_port, wait_for};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use understudy::agent::Agent;
use understudy::config::{Config, RunArgs};
use understudy::proto::election_service_client::ElectionServiceClient;
use understudy::proto::{CampaignRequest, GetLeadershipRequest};

/// The most allocations for each. Lower a limit if fewer are enough; give a reason for raising one.
mod limit {
    pub const CALL: u64 = 24;
    /// What it says of the miner, two texts of its answer, and what comes once for many.
    pub const BEAT: u64 = 4;
    /// With the connection that it comes on.
    pub const SCRAPE: u64 = 570;
}

/// What the agent does on its own meanwhile counts too, so the least of these rounds is taken.
const ROUNDS: u64 = 5;
const CALLS: u64 = 200;

thread_local! {
    /// Whether this thread is the agent's.
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}
static COUNT: AtomicU64 = AtomicU64::new(0);

fn count() {
    if COUNTED.get() {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
}

struct Counting;

/// The system's allocator, with a count.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(at, layout, size) }
    }
}

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    run: RunArgs,
}

/// An agent in this process.
struct Here {
    grpc: u16,
    http: u16,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Here {
    fn start(redis: &Redis) -> Self {
        let (grpc, http, stop) = (free_port(), free_port(), CancellationToken::new());
        let flags = [
            "understudy",
            "--redis-url",
            &redis.url(),
            "--instance",
            "here",
            "--grpc-listen",
            &format!("127.0.0.1:{grpc}"),
            "--http-listen",
            &format!("127.0.0.1:{http}"),
        ];
        let args = Args::try_parse_from(flags).expect("flags");
        let config = Config::check(&args.run).expect("settings");
        let asked = stop.clone();
        let thread = std::thread::spawn(move || {
            COUNTED.set(true);
            let run = async { Agent::bind(config).expect("addresses").run(asked).await };
            runtime().block_on(run).expect("the agent runs");
        });
        Self {
            grpc,
            http,
            stop,
            thread: Some(thread),
        }
    }

    async fn client(&self) -> ElectionServiceClient<Channel> {
        let url = format!("http://127.0.0.1:{}", self.grpc);
        let endpoint = Endpoint::from_shared(url).expect("an address");
        ElectionServiceClient::new(endpoint.connect().await.expect("up"))
    }

    fn get(&self, path: &str) -> std::io::Result<String> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.http));
        let mut stream = TcpStream::connect(address)?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.stop.cancel();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            std::thread::panicking() || ended.is_some_and(|it| it.is_ok()),
            "the agent panicked"
        );
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime")
}

/// Allocations per operation, in the calmest round.
async fn each(times: u64, mut act: impl AsyncFnMut()) -> u64 {
    let mut least = u64::MAX;
    for _ in 0..ROUNDS {
        let before = COUNT.load(Ordering::Relaxed);
        for _ in 0..times {
            act().await;
        }
        least = least.min(COUNT.load(Ordering::Relaxed) - before);
    }
    least.div_ceil(times)
}

#[test]
fn a_call_a_beat_and_a_scrape_ask_for_little_memory() {
    let redis = Redis::start();
    let here = Here::start(&redis);
    wait_for("the agent serves", Duration::from_secs(10), || {
        here.get("/live").ok()
    });
    runtime().block_on(async {
        let mut client = here.client().await;
        let call = each(CALLS, async || {
            let answer = client.get_leadership(GetLeadershipRequest::default());
            answer.await.expect("an answer");
        });
        let call = call.await;

        let (beats, sent) = mpsc::channel(1);
        let beat = || CampaignRequest {
            miner: "here".into(),
            ..CampaignRequest::default()
        };
        beats.send(beat()).await.expect("a campaign");
        let campaign = client.campaign(ReceiverStream::new(sent));
        let mut answers = campaign.await.expect("a campaign").into_inner();
        answers.message().await.expect("an answer");
        // Some beats are not answered, so count once the agent has had time for all of them.
        let beat = each(CALLS, async || {
            beats.send(beat()).await.expect("a campaign");
            tokio::time::sleep(Duration::from_micros(500)).await;
        });
        let beat = beat.await;

        let scrape = each(20, async || {
            let page = here.get("/metrics").expect("an answer");
            assert!(page.contains("ha_miner_leader"), "{page}");
        });
        let scrape = scrape.await;
        println!("allocations: {call} a call, {beat} a beat, {scrape} a scrape");
        assert!(call <= limit::CALL, "{call} a call");
        assert!(beat <= limit::BEAT, "{beat} a beat");
        assert!(scrape <= limit::SCRAPE, "{scrape} a scrape");
    });
}
