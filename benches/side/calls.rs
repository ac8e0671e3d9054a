//! GetLeadership over plain HTTP/2, so that the client costs the same for every server; and a server that does nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const CALL: &str = "http://it/understudy.v1.ElectionService/GetLeadership";
/// A message with no field set.
const EMPTY: &[u8] = &[0; 5];
/// As long as the agent's answer.
const ANSWER: &[u8] = &[0; 60];
const UP_WITHIN: Duration = Duration::from_secs(10);

pub struct Caller {
    runtime: Runtime,
    send: SendRequest<Bytes>,
}

impl Caller {
    /// Waits for the server.
    pub fn open(socket: &Path) -> Self {
        let runtime = runtime();
        let send = runtime.block_on(async {
            let stream = dial(socket).await;
            let (send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
            tokio::spawn(connection);
            send
        });
        Self { runtime, send }
    }

    pub fn call(&mut self) {
        self.runtime.block_on(call(self.send.clone()));
    }

    /// Makes this many calls, several at a time.
    pub fn many(&mut self, calls: usize, in_flight: usize) {
        self.runtime.block_on(async {
            let mut lanes = JoinSet::new();
            for _ in 0..in_flight {
                let send = self.send.clone();
                lanes.spawn(async move {
                    for _ in 0..calls / in_flight {
                        call(send.clone()).await;
                    }
                });
            }
            while let Some(lane) = lanes.join_next().await {
                lane.expect("no panic");
            }
        });
    }
}

async fn dial(socket: &Path) -> UnixStream {
    let began = Instant::now();
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return stream,
            Err(error) => assert!(began.elapsed() < UP_WITHIN, "{}: {error}", socket.display()),
        }
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
}

async fn call(send: SendRequest<Bytes>) {
    let request = Request::post(CALL)
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let mut send = send.ready().await.expect("a place");
    let (answer, mut body) = send.send_request(request, false).expect("a stream");
    body.send_data(Bytes::from_static(EMPTY), true)
        .expect("a stream");
    let mut answer = answer.await.expect("an answer").into_body();
    while let Some(data) = answer.data().await {
        let length = data.expect("an answer").len();
        // Without returning flow-control capacity the connection would stall.
        answer
            .flow_control()
            .release_capacity(length)
            .expect("a stream");
    }
    let trailers = answer.trailers().await.expect("an answer");
    let status = trailers.and_then(|it| it.get("grpc-status").cloned());
    assert!(status.is_some_and(|it| it == "0"), "the call failed");
}

/// Serves until it is killed.
pub fn serve_bare(socket: &str) {
    runtime().block_on(async {
        let listener = UnixListener::bind(socket).expect("a socket");
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(async {
                let Ok(mut connection) = h2::server::handshake(stream).await else {
                    return;
                };
                while let Some(Ok((_, respond))) = connection.accept().await {
                    // A client that is gone needs no answer.
                    let _ = answer(respond);
                }
            });
        }
    });
}

fn answer(mut respond: h2::server::SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut head = Response::new(());
    let grpc = HeaderValue::from_static("application/grpc");
    head.headers_mut().insert("content-type", grpc);
    let mut body = respond.send_response(head, false)?;
    body.send_data(Bytes::from_static(ANSWER), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    body.send_trailers(trailers)
}

pub fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime")
}
