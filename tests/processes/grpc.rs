//! The gRPC API, used as a miner's author would use it: with a generated client.

use std::time::{Duration, Instant};

use stage::{Agent, Redis, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use understudy::proto::election_service_client::ElectionServiceClient;
use understudy::proto::redis_health_service_client::RedisHealthServiceClient;
use understudy::proto::{
    CampaignRequest, CampaignResponse, ClassifyErrorRequest, ErrorClass, GetLeadershipRequest,
    GetRedisHealthRequest, Leadership, ObserveRequest, Reason, ResignRequest, Role,
    WatchRedisHealthRequest,
};

const FLAGS: [&str; 4] = ["--lease-ttl", "3s", "--miner-timeout", "900ms"];
const SOON: Duration = Duration::from_secs(10);

/// A stream driven by the test.
struct Campaign {
    requests: mpsc::Sender<CampaignRequest>,
    responses: Streaming<CampaignResponse>,
}

impl Campaign {
    async fn open(channel: &Channel) -> Result<Self, Status> {
        let (requests, outgoing) = mpsc::channel(8);
        let mut client = ElectionServiceClient::new(channel.clone());
        let responses = client
            .campaign(ReceiverStream::new(outgoing))
            .await?
            .into_inner();
        Ok(Self {
            requests,
            responses,
        })
    }

    async fn beat(&self, acknowledged_version: u64) {
        let request = CampaignRequest {
            miner: "by hand".into(),
            acknowledged_version,
            ..CampaignRequest::default()
        };
        self.send(request).await;
    }

    async fn stand_down(&self) {
        let request = CampaignRequest {
            standing_down: true,
            ..CampaignRequest::default()
        };
        self.send(request).await;
    }

    async fn send(&self, request: CampaignRequest) {
        self.requests
            .send(request)
            .await
            .expect("the stream is open");
    }

    async fn next(&mut self) -> Result<Leadership, Status> {
        let message = timeout(SOON, self.responses.message())
            .await
            .expect("a response in time")?;
        Ok(message
            .and_then(|it| it.leadership)
            .expect("the stream goes on"))
    }

    /// Beats, without acknowledging anything, until the agent reports this reason.
    async fn until(&mut self, wanted: impl Fn(&Leadership) -> bool) -> Leadership {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < SOON, "waited in vain");
            self.beat(0).await;
            let told = self.next().await.expect("the stream goes on");
            if wanted(&told) {
                return told;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn until_leading(&mut self) -> Leadership {
        self.until(|told| told.role() == Role::Leader).await
    }
}

async fn connect(agent: &Agent) -> Channel {
    agent.wait_until_up();
    let endpoint =
        Endpoint::from_shared(format!("http://{}", agent.address())).expect("an address");
    endpoint.connect().await.expect("the agent serves gRPC")
}

async fn start(flags: &[&str]) -> (Redis, Agent, Channel) {
    let redis = Redis::start();
    let agent = Agent::start("a", &redis, &[&FLAGS[..], flags].concat());
    let channel = connect(&agent).await;
    (redis, agent, channel)
}

#[tokio::test]
async fn a_campaign_is_answered_at_once_and_leads_with_a_deadline() {
    let (_redis, _agent, channel) = start(&[]).await;
    let mut campaign = Campaign::open(&channel).await.expect("a campaign");
    let first = campaign.next().await.expect("an answer without a request");
    assert_eq!(first.role(), Role::Standby);
    assert_eq!(
        (
            first.fencing_token,
            first.valid_until_boottime_ns,
            first.valid_until_monotonic_ns
        ),
        (0, 0, 0)
    );
    assert_eq!(first.heartbeat_every.map(|it| it.nanos), Some(300_000_000));
    let leading = campaign.until_leading().await;
    assert_eq!(leading.reason(), Reason::Elected);
    assert!(leading.version > first.version && leading.fencing_token > 0);
    assert_eq!(leading.leader_id, leading.instance_id);
    let now = stage::boottime_ns();
    let timeout = 900_000_000;
    assert!(
        leading.valid_until_boottime_ns > now && leading.valid_until_boottime_ns <= now + timeout
    );
    // Each heartbeat is answered with a later deadline and the same version.
    campaign.beat(0).await;
    let later = campaign.next().await.expect("an answer");
    assert_eq!(later.version, leading.version);
    assert!(later.valid_until_boottime_ns > leading.valid_until_boottime_ns);
}

#[tokio::test]
async fn a_second_campaign_waits_for_the_silence_of_the_first_and_gets_a_term_of_its_own() {
    let (_redis, agent, channel) = start(&[]).await;
    let mut first = Campaign::open(&channel).await.expect("a campaign");
    let token = first.until_leading().await.fencing_token;
    let beside = Campaign::open(&channel).await.err().expect("refused");
    assert_eq!(beside.code(), Code::AlreadyExists);
    agent.wait_for_reason("miner_silent", SOON);
    let connected = "ha_miner_miner_connected{instance=\"a\"}";
    // The grant lapses by the clock; the election notices the silence at its next turn.
    wait_for("a silent miner is none", SOON, || {
        (agent.metric(connected) == Some(0.0)).then_some(())
    });
    let mut second = Campaign::open(&channel).await.expect("the first is silent");
    let end = loop {
        match first.next().await {
            Ok(told) => assert!(
                told.fencing_token <= token,
                "a term is never passed on: {told:?}"
            ),
            Err(end) => break end,
        }
    };
    assert_eq!(end.code(), Code::Aborted);
    assert!(second.until_leading().await.fencing_token > token);
}

#[tokio::test]
async fn a_demotion_is_released_when_it_is_acknowledged_and_else_waited_out() {
    let (_redis, _agent, channel) = start(&[]).await;
    let mut campaign = Campaign::open(&channel).await.expect("a campaign");
    let resign = |channel: &Channel| {
        let mut client = ElectionServiceClient::new(channel.clone());
        let hold_off = Some(prost_types::Duration {
            seconds: 0,
            nanos: 1,
        });
        tokio::spawn(async move {
            let began = Instant::now();
            let request = ResignRequest {
                hold_off,
                ..ResignRequest::default()
            };
            client.resign(request).await.map(|_| began.elapsed())
        })
    };
    // Nobody says that the work has ended, so the agent waits the grant out.
    let leading = campaign.until_leading().await;
    let left = Duration::from_nanos(leading.valid_until_boottime_ns - stage::boottime_ns());
    let took = resign(&channel).await.expect("no panic").expect("resigned");
    assert!(
        took + Duration::from_millis(100) > left,
        "released after {took:?}, the grant had {left:?} left"
    );
    // An acknowledgement of something not sent on this stream has no effect; one of the demotion does.
    let newer = |told: &Leadership| told.fencing_token > leading.fencing_token;
    campaign.until(newer).await;
    let resigning = resign(&channel);
    let demoted = loop {
        let told = campaign.next().await.expect("an answer");
        if told.role() != Role::Leader {
            break told;
        }
    };
    assert_eq!(demoted.reason(), Reason::Draining);
    campaign.beat(demoted.version + 1000).await;
    assert_eq!(
        campaign.next().await.expect("an answer").reason(),
        Reason::Draining
    );
    campaign.beat(demoted.version).await;
    let took = resigning.await.expect("no panic").expect("resigned");
    assert!(
        took < Duration::from_millis(500),
        "acknowledged, and released only after {took:?}"
    );
}

/// A miner may end its call in either of HTTP/2's ways, END_STREAM and RST_STREAM: in both cases the agent releases the
/// lock at once, long before the grant runs out.
#[tokio::test]
async fn a_miner_that_stands_down_holds_no_lock_and_keeps_its_stream() {
    let (redis, agent, channel) = start(&[]).await;
    let mut campaign = Campaign::open(&channel).await.expect("a campaign");
    let first = campaign.until_leading().await;
    let until = first.valid_until_boottime_ns;
    let stood_down = |told: &Leadership| told.reason() == Reason::NotCandidate;
    campaign.stand_down().await;
    while !stood_down(&campaign.next().await.expect("the stream goes on")) {}
    // Nobody claims that the work has stopped, so the lock stays until the last grant has run out.
    let mut freed = None;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        let held = redis.tell(&["EXISTS", "ha:miner:global_leader"]) == ":1";
        let now = stage::boottime_ns();
        if !held && freed.is_none() {
            freed = Some(now);
        }
        assert!(
            !held || freed.is_none(),
            "it was taken by a miner that stands down"
        );
        campaign.stand_down().await;
        let told = campaign.next().await.expect("the stream goes on");
        assert!(stood_down(&told) && told.role() == Role::Idle, "{told:?}");
        sleep(Duration::from_millis(50)).await;
    }
    let freed = freed.expect("the lock is given back");
    assert!(freed >= until, "{} ms early", (until - freed) / 1_000_000);
    agent.wait_for_reason("not_candidate", SOON);
    let second = campaign.until_leading().await;
    assert!(second.fencing_token > first.fencing_token);
}

#[tokio::test]
async fn what_is_late_is_shown_and_is_no_heartbeat() {
    let (_redis, agent, channel) = start(&[]).await;
    let mut campaign = Campaign::open(&channel).await.expect("a campaign");
    campaign.until_leading().await;
    let began = Instant::now();
    let silent = |told: &Leadership| told.reason() == Reason::MinerSilent;
    loop {
        let late = CampaignRequest {
            miner: "by hand".into(),
            late: "blocks\n".into(),
            ..CampaignRequest::default()
        };
        campaign.send(late).await;
        if silent(&campaign.next().await.expect("the stream goes on")) {
            break;
        }
        assert!(began.elapsed() < SOON, "it counts as a heartbeat");
        sleep(Duration::from_millis(20)).await;
    }
    let label = agent.status()["miner"]["label"].clone();
    assert_eq!(label, "by hand (late: blocks)");
    agent.wait_for_log(&["late=\"blocks\""]);
    campaign.until_leading().await;
}

#[tokio::test]
async fn the_miners_own_end_releases_at_once_however_it_is_said() {
    let redis = Redis::start();
    let flags = ["--lease-ttl", "6s", "--miner-timeout", "5s"];
    let agent = Agent::start("a", &redis, &flags);
    agent.wait_until_up();
    let tcp = tokio::net::TcpStream::connect(agent.address()).await;
    let (mut client, connection) = h2::client::handshake(tcp.expect("the agent serves gRPC"))
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    for reset in [
        None,
        Some(h2::Reason::CANCEL),
        Some(h2::Reason::INTERNAL_ERROR),
    ] {
        let request = hyper::Request::post(format!(
            "http://{}/understudy.v1.ElectionService/Campaign",
            agent.address()
        ))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
        let request = request.body(()).expect("a request");
        let (_response, mut requests) = client.send_request(request, false).expect("a call");
        let began = Instant::now();
        while !agent.leads() {
            assert!(began.elapsed() < SOON, "{reset:?}: not elected");
            // A message with no field set.
            let beat = hyper::body::Bytes::from_static(&[0; 5]);
            requests.send_data(beat, false).expect("the stream is open");
            sleep(Duration::from_millis(100)).await;
        }
        match reset {
            Some(reason) => requests.send_reset(reason),
            None => requests
                .send_data(hyper::body::Bytes::new(), true)
                .expect("the stream is open"),
        }
        let began = Instant::now();
        while redis.tell(&["EXISTS", "ha:miner:global_leader"]) != ":0" {
            assert!(began.elapsed() < SOON / 5, "{reset:?}: not released");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn resigning_answers_what_is_wrong() {
    let (_redis, _agent, channel) = start(&[]).await;
    let mut client = ElectionServiceClient::new(channel.clone());
    let mut code =
        async |request: ResignRequest| client.resign(request).await.err().map(|it| it.code());
    assert_eq!(
        code(ResignRequest::default()).await,
        Some(Code::FailedPrecondition)
    );
    let successor = ResignRequest {
        successor: "b".into(),
        ..ResignRequest::default()
    };
    assert_eq!(code(successor).await, Some(Code::FailedPrecondition));
    for seconds in [-1, 3601, i64::MAX] {
        let hold_off = Some(prost_types::Duration { seconds, nanos: 0 });
        let request = ResignRequest {
            hold_off,
            ..ResignRequest::default()
        };
        assert_eq!(
            code(request).await,
            Some(Code::InvalidArgument),
            "{seconds}"
        );
    }
}

/// Giving up a lock that cannot be released would stop the leader and help nobody.
#[tokio::test]
async fn nobody_resigns_while_redis_is_away() {
    let redis = Redis::start();
    let agent = Agent::start(
        "a",
        &redis,
        &["--miner-liveness", "always", "--lease-ttl", "8s"],
    );
    agent.wait_until_up();
    agent.wait_until_leading(2 * SOON);
    drop(redis);
    wait_for("Redis is found to be away", SOON, || {
        agent.metric("ha_miner_redis_up").filter(|up| *up == 0.0)
    });
    let mut client = ElectionServiceClient::new(connect(&agent).await);
    let refused = client.resign(ResignRequest::default()).await;
    let refused = refused.expect_err("refused");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(agent.leads(), "{refused}");
}

#[tokio::test]
async fn observers_see_every_change_and_are_granted_nothing() {
    let (_redis, _agent, channel) = start(&[]).await;
    let mut client = ElectionServiceClient::new(channel.clone());
    let mut changes = client
        .observe(ObserveRequest::default())
        .await
        .expect("a stream")
        .into_inner();
    let mut version = None;
    let mut campaign = Campaign::open(&channel).await.expect("a campaign");
    campaign.until_leading().await;
    loop {
        let seen = timeout(SOON, changes.message())
            .await
            .expect("in time")
            .expect("no error");
        let seen = seen
            .and_then(|it| it.leadership)
            .expect("the stream goes on");
        assert!(Some(seen.version) > version);
        version = Some(seen.version);
        assert_eq!(
            (seen.valid_until_boottime_ns, seen.valid_until_monotonic_ns),
            (0, 0)
        );
        if seen.role() == Role::Leader {
            break;
        }
    }
    let asked = client.get_leadership(GetLeadershipRequest::default()).await;
    let asked = asked
        .expect("an answer")
        .into_inner()
        .leadership
        .expect("a state");
    assert_eq!(
        (asked.role(), asked.valid_until_boottime_ns),
        (Role::Leader, 0),
        "the grant belongs to the campaign"
    );
    assert!(asked.valid_for.is_some_and(|left| left.nanos > 0));
    let extend = client
        .get_leadership(GetLeadershipRequest { extend: true })
        .await;
    assert_eq!(
        extend.err().map(|it| it.code()),
        Some(Code::FailedPrecondition)
    );
}

#[tokio::test]
async fn without_campaigns_the_grant_is_asked_for() {
    let (_redis, agent, channel) = start(&["--miner-liveness", "always"]).await;
    agent.wait_until_leading(SOON);
    let mut client = ElectionServiceClient::new(channel.clone());
    let mut ask = async |extend| {
        let answer = client
            .get_leadership(GetLeadershipRequest { extend })
            .await
            .expect("an answer");
        answer.into_inner().leadership.expect("a state")
    };
    let asked = ask(false).await;
    assert_eq!(
        (asked.role(), asked.valid_until_boottime_ns),
        (Role::Leader, 0),
        "asking grants nothing"
    );
    let extended = ask(true).await.valid_until_boottime_ns;
    assert!(extended > stage::boottime_ns());
    assert_eq!(ask(false).await.valid_until_boottime_ns, extended);
    let campaign = Campaign::open(&channel).await.err().expect("refused");
    assert_eq!(campaign.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn the_limits_hold() {
    let (_redis, _agent, channel) = start(&[]).await;
    let long = "x".repeat(5000);
    let mut health = RedisHealthServiceClient::new(channel.clone());
    let answer = health
        .classify_error(ClassifyErrorRequest {
            message: long.clone(),
        })
        .await;
    assert_eq!(
        answer.err().map(|it| it.code()),
        Some(Code::ResourceExhausted)
    );
    let mut campaign = Campaign::open(&channel).await.expect("a campaign");
    campaign.next().await.expect("an answer");
    let request = CampaignRequest {
        miner: long,
        acknowledged_version: 0,
        ..CampaignRequest::default()
    };
    campaign
        .requests
        .send(request)
        .await
        .expect("the stream is open");
    let end = loop {
        if let Err(end) = campaign.next().await {
            break end;
        }
    };
    assert_eq!(end.code(), Code::ResourceExhausted);

    let mut client = ElectionServiceClient::new(channel.clone());
    let mut open = Vec::new();
    let refused = loop {
        match client.observe(ObserveRequest::default()).await {
            Ok(stream) => open.push(stream),
            Err(refused) => break refused,
        }
        assert!(open.len() <= 32);
    };
    assert_eq!((open.len(), refused.code()), (32, Code::ResourceExhausted));
    let mut campaign = Campaign::open(&channel)
        .await
        .expect("observers keep no miner out");
    campaign.until_leading().await;
    // A place that was given back can be taken again.
    drop(open);
    let began = Instant::now();
    while client.observe(ObserveRequest::default()).await.is_err() {
        assert!(began.elapsed() < SOON, "the places are not given back");
    }
}

#[tokio::test]
async fn health_and_reflection_are_served() {
    let (redis, agent, channel) = start(&["--miner-liveness", "always"]).await;
    agent.wait_until_leading(SOON);
    let mut health = HealthClient::new(channel.clone());
    let mut check = async |service: &str| {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        health
            .check(request)
            .await
            .map(|it| it.into_inner().status())
    };
    for service in ["", "ready", "leader"] {
        assert_eq!(
            check(service).await.ok(),
            Some(ServingStatus::Serving),
            "{service:?}"
        );
    }
    assert_eq!(
        check("nonsense").await.err().map(|it| it.code()),
        Some(Code::NotFound)
    );
    let mut watch = HealthClient::new(channel.clone());
    let request = HealthCheckRequest {
        service: "ready".into(),
    };
    let mut states = watch.watch(request).await.expect("a stream").into_inner();
    // It falls, and rises again when only the time after a refusal has passed.
    for awaited in [ServingStatus::NotServing, ServingStatus::Serving] {
        match awaited {
            ServingStatus::NotServing => redis.fill(),
            _ => redis.relieve(),
        }
        loop {
            let state = timeout(SOON, states.message())
                .await
                .expect("in time")
                .expect("no error");
            if state.expect("the stream goes on").status() == awaited {
                break;
            }
        }
    }

    let mut reflection = ServerReflectionClient::new(channel);
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request,
    };
    let answers = reflection
        .server_reflection_info(tokio_stream::once(request))
        .await;
    let answer = answers
        .expect("a stream")
        .into_inner()
        .message()
        .await
        .expect("no error")
        .expect("an answer");
    let Some(MessageResponse::ListServicesResponse(services)) = answer.message_response else {
        panic!("no list of services: {answer:?}");
    };
    let names: Vec<_> = services.service.into_iter().map(|it| it.name).collect();
    for name in [
        "understudy.v1.ElectionService",
        "understudy.v1.RedisHealthService",
        "grpc.health.v1.Health",
    ] {
        assert!(names.iter().any(|it| it == name), "{names:?}");
    }
}

#[tokio::test]
async fn the_health_of_redis_is_told_and_errors_are_classified() {
    let (redis, agent, channel) = start(&["--memory-every", "200ms"]).await;
    let mut client = RedisHealthServiceClient::new(channel);
    wait_for("a reading", SOON, || {
        agent.metric("ha_miner_redis_max_memory_bytes")
    });
    let health = client
        .get_redis_health(GetRedisHealthRequest {})
        .await
        .expect("an answer");
    let health = health.into_inner().health.expect("a health");
    assert!(health.reachable && health.writable && !health.oom && health.used_memory_bytes > 0);
    assert!((health.usage_ratio + 1.0).abs() < f64::EPSILON);
    assert!(["redis", "valkey"].contains(&health.engine.as_str()) && !health.version.is_empty());
    let watched = client.watch_redis_health(WatchRedisHealthRequest {}).await;
    let mut watched = watched.expect("a stream").into_inner();
    redis.fill();
    loop {
        let next = timeout(SOON, watched.message())
            .await
            .expect("in time")
            .expect("no error");
        let health = next.and_then(|it| it.health).expect("the stream goes on");
        if health.oom && health.max_memory_bytes == 1 {
            assert!(health.reachable && !health.writable);
            break;
        }
    }
    let message =
        "renewing: redis script failed: OOM command not allowed when used memory > 'maxmemory'.";
    let request = ClassifyErrorRequest {
        message: message.into(),
    };
    let answer = client
        .classify_error(request)
        .await
        .expect("an answer")
        .into_inner();
    assert_eq!(
        (answer.error_class(), answer.retryable),
        (ErrorClass::Oom, true)
    );
    assert!(answer.hint.contains("maxmemory"));
}

#[tokio::test]
async fn a_unix_socket_serves_and_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let redis = Redis::start();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("agent.sock");
    let socket = path.to_str().expect("UTF-8");
    // A stale file is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let flags = ["--grpc-socket", socket];
    let agent = Agent::start("a", &redis, &flags);
    agent.wait_until_up();
    let mode = std::fs::metadata(&path)
        .expect("the socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    let endpoint = Endpoint::from_shared(format!("unix:{socket}")).expect("an address");
    let channel = endpoint
        .connect()
        .await
        .expect("the agent serves on the socket");
    Campaign::open(&channel)
        .await
        .expect("a campaign")
        .next()
        .await
        .expect("an answer");
    // A live socket is not replaced.
    let mut second = Agent::start("b", &redis, &flags);
    assert!(!second.wait_until_gone(SOON).success());
    second.wait_for_log(&["--grpc-socket=", "another process listens"]);
    let mut agent = agent;
    agent.signal(rustix::process::Signal::TERM);
    assert!(agent.wait_until_gone(SOON).success());
    assert!(!path.exists(), "it takes its socket with it");
}

/// The least that keeps a connection open.
async fn idler(address: &str, manner: usize) -> std::io::Result<tokio::net::TcpStream> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    match manner % 3 {
        0 => {}
        1 => stream.write_all(&PREFACE[..10]).await?,
        _ => stream.write_all(&[PREFACE, SETTINGS].concat()).await?,
    }
    Ok(stream)
}

/// There are more silent connections than places, and they are open when the miner comes.
#[tokio::test]
async fn those_who_say_nothing_keep_no_miner_out() {
    let redis = Redis::start();
    let agent = Agent::start("a", &redis, &FLAGS);
    agent.wait_until_up();
    let address = agent.address();
    let mut idlers = Vec::new();
    for manner in 0..150 {
        idlers.push(idler(&address, manner).await.expect("a connection"));
    }
    let campaigning = async {
        let channel = connect(&agent).await;
        let mut campaign = Campaign::open(&channel).await.expect("a campaign");
        campaign.until_leading().await;
        campaign
    };
    let campaign = timeout(SOON / 2, campaigning).await;
    let mut campaign = campaign.expect("the miner finds a place");
    // It keeps its place when others come.
    let token = campaign.until_leading().await.fencing_token;
    for manner in 0..150 {
        idlers.push(idler(&address, manner).await.expect("a connection"));
        if manner % 20 == 0 {
            campaign.beat(0).await;
            campaign.next().await.expect("the stream goes on");
        }
    }
    assert_eq!(campaign.until_leading().await.fencing_token, token);
}

#[tokio::test]
async fn a_connection_without_a_call_is_closed_within_seconds_and_one_that_had_a_call_is_not() {
    let (_redis, agent, _) = start(&[]).await;
    let address = agent.address();
    let tcp = tokio::net::TcpStream::connect(&address)
        .await
        .expect("a connection");
    let (mut client, connection) = h2::client::handshake(tcp).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let get = format!("http://{address}/understudy.v1.ElectionService/GetLeadership");
    let mut call = async || {
        let request = hyper::Request::post(&get)
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let request = request.body(()).expect("a request");
        let (response, mut body) = client.send_request(request, false).expect("a call");
        let nothing = hyper::body::Bytes::from_static(&[0; 5]);
        body.send_data(nothing, true).expect("the stream is open");
        response.await.expect("an answer").status()
    };
    assert_eq!(call().await, 200);
    let began = Instant::now();
    let mut idlers = Vec::new();
    for manner in 0..3 {
        idlers.push(idler(&address, manner).await.expect("a connection"));
    }
    for mut idler in idlers {
        let mut rest = Vec::new();
        let closed = timeout(SOON, idler.read_to_end(&mut rest)).await;
        // A reset is an end as well.
        let _ = closed.expect("it is closed in time");
    }
    assert!(
        began.elapsed() > Duration::from_secs(3),
        "a slow client has time"
    );
    sleep(Duration::from_secs(2)).await;
    assert!(!connection.is_finished());
    assert_eq!(call().await, 200, "on the same connection");
}
