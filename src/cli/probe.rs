//! `understudy probe`: over HTTP, within a second. The image has no curl.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::{Exit, fail, say};
use crate::clock;
use crate::config::DEFAULT_HTTP_LISTEN;
use crate::endpoint::redacted_value;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// No answer of the agent to a probe is longer.
const LONGEST_ANSWER: u64 = 64 * 1024;

#[derive(Debug, clap::Args)]
#[allow(
    rustdoc::broken_intra_doc_links,
    reason = "its comments are the help, where [::] is an address"
)]
pub(super) struct Args {
    /// What to ask
    #[arg(value_enum, default_value_t = Question::Ready)]
    question: Question,
    /// Where the agent serves HTTP; [::] and 0.0.0.0 are asked on loopback [default: [::]:9090]
    #[arg(
        long,
        value_name = "ADDR",
        env = "UNDERSTUDY_HTTP_LISTEN",
        hide_env_values = true
    )]
    http_listen: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Question {
    Ready,
    Live,
    Leader,
}

pub(super) fn run(args: &Args) -> Exit {
    let given = args
        .http_listen
        .as_deref()
        .filter(|address| !address.is_empty());
    let given = given.unwrap_or(DEFAULT_HTTP_LISTEN);
    let Ok(address) = given.parse::<SocketAddr>() else {
        let expected = "an address such as 127.0.0.1:9095";
        return fail(
            Exit::BadFlags,
            format_args!(
                "--http-listen={}: expected {expected}",
                redacted_value(given)
            ),
        );
    };
    let path = match args.question {
        Question::Ready => "/ready",
        Question::Live => "/live",
        Question::Leader => "/leader",
    };
    match ask(address, path) {
        Ok((200, body)) => {
            say(body.trim_end());
            Exit::Yes
        }
        Ok((503, body)) => {
            say(body.trim_end());
            Exit::No
        }
        Ok((code, _)) => fail(
            Exit::CouldNotAsk,
            format_args!("{address}{path} answered {code}"),
        ),
        Err(error) => fail(
            Exit::CouldNotAsk,
            format_args!("no agent answers at {address}: {error}"),
        ),
    }
}

/// An agent that listens everywhere is there on loopback: on IPv4's too, and on that alone where the kernel has no IPv6.
fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let on = |ip: IpAddr| {
        TcpStream::connect_timeout(&SocketAddr::new(ip, address.port()), ANSWER_TIMEOUT)
    };
    match address.ip() {
        IpAddr::V6(ip) if ip.is_unspecified() => {
            on(Ipv6Addr::LOCALHOST.into()).or_else(|_| on(Ipv4Addr::LOCALHOST.into()))
        }
        IpAddr::V4(ip) if ip.is_unspecified() => on(Ipv4Addr::LOCALHOST.into()),
        ip => on(ip),
    }
}

fn ask(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let deadline = clock::boottime() + ANSWER_TIMEOUT;
    let left = || match deadline.since(clock::boottime()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(Some(left)),
    };
    let mut stream = connect(address)?;
    stream.set_write_timeout(left()?)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        stream.set_read_timeout(left()?)?;
        match stream.read(&mut part)? {
            0 => break,
            read => answer.extend_from_slice(part.get(..read).unwrap_or_default()),
        }
        if answer.len() as u64 > LONGEST_ANSWER {
            break;
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let code = answer
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let code = code.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok((code, body.to_owned()))
}
