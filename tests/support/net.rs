//! Ports, and a small HTTP client.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// Below the kernel's range for outgoing connections: a client that redials a port of that range while its
/// server is down can be given the very same port, and then talks to itself.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 12_000;

/// A loopback address that nobody listens on.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Each process starts elsewhere.
    let start = std::process::id().wrapping_mul(101) % u32::from(PORTS);
    let start = u16::try_from(start).expect("below PORTS");
    for _ in 0..PORTS {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % PORTS;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST_PORT + (start + next) % PORTS));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port from {FIRST_PORT} to {}", FIRST_PORT + PORTS);
}

/// A connection on which nothing takes longer than `within`.
pub fn connect(address: SocketAddr, within: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, within)?;
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// `GET path`: the status and the body.
pub fn http_get(address: SocketAddr, path: &str, within: Duration) -> io::Result<(u16, String)> {
    let mut stream = connect(address, within)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|it| it.parse().ok());
    match (status, answer.split_once("\r\n\r\n")) {
        (Some(status), Some((_, body))) => Ok((status, body.to_owned())),
        _ => Err(io::Error::other(format!("not HTTP: {answer:?}"))),
    }
}
