//! A Redis client of a page, so that no test sees Redis through the store it tests.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;

/// What Redis answers (RESP2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Text(String),
    Nil,
    List(Vec<Reply>),
}

// === impl Reply ===

impl Reply {
    /// The text of a simple or a bulk string.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Simple(text) | Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text of an error.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Error(text) => Some(text),
            _ => None,
        }
    }

    pub fn is_ok(&self) -> bool {
        self.text() == Some("OK")
    }
}

/// Sends one command and reads its answer.
pub fn ask(stream: &mut BufReader<TcpStream>, command: &[&str]) -> io::Result<Reply> {
    let mut request = format!("*{}\r\n", command.len());
    for part in command {
        request += &format!("${}\r\n{part}\r\n", part.len());
    }
    stream.get_mut().write_all(request.as_bytes())?;
    read(stream)
}

fn read(from: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let line = line
        .strip_suffix("\r\n")
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let bad = || io::Error::other(format!("not RESP: {line:?}"));
    let (kind, rest) = line.split_at_checked(1).ok_or_else(bad)?;
    let number = || rest.parse::<i64>().map_err(|_| bad());
    Ok(match kind {
        "+" => Reply::Simple(rest.into()),
        "-" => Reply::Error(rest.into()),
        ":" => Reply::Integer(number()?),
        "$" => match usize::try_from(number()?) {
            Ok(length) => {
                let mut bytes = vec![0; length + 2];
                from.read_exact(&mut bytes)?;
                Reply::Text(String::from_utf8_lossy(&bytes[..length]).into())
            }
            Err(_) => Reply::Nil,
        },
        "*" => match usize::try_from(number()?) {
            Ok(length) => Reply::List((0..length).map(|_| read(from)).collect::<Result<_, _>>()?),
            Err(_) => Reply::Nil,
        },
        _ => return Err(bad()),
    })
}
