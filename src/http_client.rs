//! One GET over HTTP/1.1, on a connection of its own. The caller bounds the time.

use std::net::SocketAddr;

use anyhow::Context;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::header::HOST;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// # Errors
/// Nobody listens there, or the peer does not speak HTTP.
pub async fn get(address: SocketAddr, path: &str) -> anyhow::Result<Response<Incoming>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    // The task ends with the sender, or with the peer.
    tokio::spawn(connection);
    let request = Request::get(path)
        .header(HOST, address.to_string())
        .body(String::new())?;
    Ok(sender.send_request(request).await?)
}

/// The body of an answer.
///
/// # Errors
/// The connection broke, or the body is longer than `max_bytes`.
pub async fn body(response: Response<Incoming>, max_bytes: usize) -> anyhow::Result<String> {
    let limited = Limited::new(response.into_body(), max_bytes);
    let whole = limited.collect().await.map_err(anyhow::Error::from_boxed);
    let bytes = whole.context("reading the answer")?.to_bytes();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
