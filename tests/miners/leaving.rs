//! Rust's client leaves an agent that grants whatever it is told to: after `close` has begun nothing extends the grant.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use understudy::proto::election_service_server::{ElectionService, ElectionServiceServer};
use understudy::proto::{
    CampaignRequest, CampaignResponse, GetLeadershipRequest, GetLeadershipResponse,
    GetStatusRequest, GetStatusResponse, Leadership, ObserveRequest, ObserveResponse, Reason,
    ResignRequest, ResignResponse, Role,
};

use understudy_client::{Elector, boottime_ns};

const SOON: Duration = Duration::from_secs(5);
const OFTEN: Duration = Duration::from_millis(10);

/// Answers every heartbeat with a grant.
#[derive(Clone)]
pub(crate) struct Generous {
    pub(crate) grants_ms: Arc<AtomicU64>,
    heard: Arc<AtomicU64>,
    /// Requests of a miner that stands down, and the greatest version that it acknowledged.
    pub(crate) stood: Arc<AtomicU64>,
    pub(crate) acknowledged: Arc<AtomicU64>,
    pub(crate) late: Arc<Mutex<String>>,
    /// When the miner's last stream ended; 0: not yet.
    ended: Arc<AtomicU64>,
    /// 0: it does not know of those.
    pub(crate) revision: u32,
    /// Grows when the miner has stood down.
    token: Arc<AtomicU64>,
    /// No answer while it is locked.
    silent: Arc<tokio::sync::Mutex<()>>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ElectionService for Generous {
    type CampaignStream = Answers<CampaignResponse>;
    type ObserveStream = Answers<ObserveResponse>;

    async fn campaign(
        &self,
        requests: Request<Streaming<CampaignRequest>>,
    ) -> Result<Response<Self::CampaignStream>, Status> {
        let (agent, mut requests) = (self.clone(), requests.into_inner());
        let (answers, outgoing) = mpsc::channel(4);
        tokio::spawn(async move {
            while let Some(Ok(request)) = requests.next().await {
                let answer = agent.hear(&request).await;
                if answers.send(Ok(answer)).await.is_err() {
                    break;
                }
            }
            agent.ended.store(boottime_ns(), Ordering::Relaxed);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }

    async fn observe(
        &self,
        _: Request<ObserveRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_leadership(
        &self,
        _: Request<GetLeadershipRequest>,
    ) -> Result<Response<GetLeadershipResponse>, Status> {
        Err(Status::failed_precondition("campaign"))
    }

    async fn get_status(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn resign(&self, _: Request<ResignRequest>) -> Result<Response<ResignResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

impl Generous {
    /// With its address.
    pub(crate) async fn serve(grants_ms: u64) -> (Self, String) {
        Self::of(grants_ms, 1).await
    }

    pub(crate) async fn of(grants_ms: u64, revision: u32) -> (Self, String) {
        let agent = Self {
            grants_ms: Arc::new(grants_ms.into()),
            heard: Arc::default(),
            stood: Arc::default(),
            acknowledged: Arc::default(),
            late: Arc::default(),
            ended: Arc::default(),
            revision,
            token: Arc::new(5.into()),
            silent: Arc::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        let served = Server::builder()
            .add_service(ElectionServiceServer::new(agent.clone()))
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(served);
        (agent, address)
    }

    async fn hear(&self, request: &CampaignRequest) -> CampaignResponse {
        let said = request.acknowledged_version;
        self.acknowledged.fetch_max(said, Ordering::Relaxed);
        let knows = self.revision > 0;
        if !request.late.is_empty() && knows {
            self.late
                .lock()
                .expect("no panic")
                .clone_from(&request.late);
        } else if request.standing_down && knows {
            self.stood.fetch_add(1, Ordering::Relaxed);
            self.token.fetch_add(1, Ordering::Relaxed);
        } else {
            self.heard.fetch_add(1, Ordering::Relaxed);
            let _answers = self.silent.lock().await;
            let grant = self.grants_ms.load(Ordering::Relaxed) * 1_000_000;
            return self.says(Leadership {
                role: Role::Leader.into(),
                reason: Reason::Elected.into(),
                leader_id: "me-1".into(),
                fencing_token: self.token.load(Ordering::Relaxed),
                valid_until_boottime_ns: boottime_ns() + grant,
                ..Leadership::default()
            });
        }
        self.says(Leadership {
            role: Role::Idle.into(),
            reason: Reason::NotCandidate.into(),
            version: self.token.load(Ordering::Relaxed),
            ..Leadership::default()
        })
    }

    async fn ended(&self) -> u64 {
        let ended = async {
            while self.ended.load(Ordering::Relaxed) == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(SOON, ended).await.expect("the stream ends");
        self.ended.load(Ordering::Relaxed)
    }

    fn says(&self, leadership: Leadership) -> CampaignResponse {
        CampaignResponse {
            leadership: Some(Leadership {
                heartbeat_every: OFTEN.try_into().ok(),
                ..leadership
            }),
            revision: self.revision,
        }
    }

    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
}

async fn leading(address: &str) -> Elector {
    let elector = Elector::start(address, "miner").expect("an address");
    while !elector.is_leader() {
        elector.beat();
        sleep(Duration::from_millis(1)).await;
    }
    sleep(2 * OFTEN).await; // so that the next beat is due
    elector
}

#[tokio::test]
async fn no_beat_counts_after_close_has_begun() {
    let (agent, address) = Generous::serve(500).await;
    let elector = leading(&address).await;
    let before = agent.heard();
    elector.beat();
    let closed = timeout(SOON, elector.close()).await;
    closed.expect("it returns");
    assert_eq!(agent.heard(), before, "heartbeats of a miner that leaves");
}

#[tokio::test]
async fn a_grant_that_comes_after_close_has_begun_is_not_waited_for() {
    let (agent, address) = Generous::serve(500).await;
    let elector = leading(&address).await;
    let silent = agent.silent.lock().await;
    agent.grants_ms.store(3_600_000, Ordering::Relaxed);
    let before = agent.heard();
    elector.beat();
    while agent.heard() == before {
        sleep(Duration::from_millis(1)).await;
    }
    let answers = async {
        sleep(OFTEN).await;
        drop(silent);
    };
    let closed = timeout(SOON, async { tokio::join!(elector.close(), answers) });
    closed.await.expect("it returns");
}

/// The agent takes the end of the stream for the end of the work, and what was begun may act until the grant ends.
async fn leaves_after_its_grant(leave: impl AsyncFnOnce(Elector)) {
    let (agent, address) = Generous::serve(700).await;
    let elector = leading(&address).await;
    let leader = elector.leader();
    let grant = elector.grant().expect("it leads");
    leave(elector).await;
    assert!(
        !leader.is_leader(),
        "others are told that it leads, and it has left"
    );
    let early = grant.until.saturating_sub(agent.ended().await);
    assert_eq!(early, 0, "nanoseconds before the end of the grant");
}

#[tokio::test]
async fn a_close_that_takes_too_long_ends_no_stream_before_the_grant() {
    leaves_after_its_grant(async |elector| {
        let closed = timeout(OFTEN, elector.close()).await;
        closed.expect_err("the grant runs for longer");
    })
    .await;
}

#[tokio::test]
async fn an_elector_that_is_dropped_ends_no_stream_before_the_grant() {
    leaves_after_its_grant(async |elector| drop(elector)).await;
}

/// At any moment of a campaign, with and without an acknowledgement. Whoever asks, asks an elector that has not been
/// closed: `close` takes it from them.
#[tokio::test]
async fn close_returns_though_many_ask() {
    let (agent, address) = Generous::serve(100).await;
    let mut longest = Duration::ZERO;
    for round in 0..30 {
        let elector = Elector::start(&address, "miner").expect("an address");
        let shared = Arc::new(Mutex::new(Some(elector)));
        for _ in 0..50 {
            let shared = Arc::clone(&shared);
            let asks = move || {
                let elector = shared.lock().expect("no panic");
                elector.as_ref().map(|elector| {
                    elector.beat();
                    elector.is_leader()
                })
            };
            tokio::spawn(async move {
                while asks().is_some() {
                    sleep(Duration::from_millis(1)).await;
                }
            });
        }
        sleep(Duration::from_micros(boottime_ns() % 200_000)).await;
        let elector = shared
            .lock()
            .expect("no panic")
            .take()
            .expect("it is there");
        let began = Instant::now();
        if round % 2 == 0 {
            elector.acknowledge(u64::MAX >> 1);
        }
        let closed = timeout(SOON, elector.close()).await;
        closed.expect("it returns");
        longest = longest.max(began.elapsed());
    }
    assert!(agent.heard() > 0, "nobody has asked");
    println!("the longest close took {longest:?}");
    assert!(longest < Duration::from_millis(1100), "it took {longest:?}");
}
