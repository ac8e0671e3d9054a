//! A connection to a Redis.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One command on a connection of its own.
///
/// # Errors
/// No answer within `patience`.
pub fn ask_as(
    port: u16,
    password: Option<&str>,
    patience: Duration,
    words: &[&str],
) -> std::io::Result<String> {
    let mut session = Session::open(port, patience)?;
    if let Some(password) = password {
        session.ask(&["AUTH", password])?;
    }
    session.ask(words)
}

/// A connection that is kept.
pub struct Session {
    stream: BufReader<TcpStream>,
}

impl Session {
    /// # Errors
    /// Nobody listens there.
    pub fn open(port: u16, patience: Duration) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        let stream = BufReader::new(stream);
        Ok(Self { stream })
    }

    /// Sends a command and returns the first line of the reply, or the bulk string after it. The items of an array are
    /// read and dropped.
    ///
    /// # Errors
    /// No answer within the patience; an error reply is an `Ok` that starts with `-`.
    pub fn ask(&mut self, words: &[&str]) -> std::io::Result<String> {
        self.stream.get_mut().write_all(encode(words).as_bytes())?;
        reply(&mut self.stream)
    }
}

fn encode(words: &[&str]) -> String {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    text
}

fn reply(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.trim_end().to_owned();
    let count = |kind| line.strip_prefix(kind)?.parse::<usize>().ok();
    if let Some(length) = count('$') {
        let mut bulk = vec![0; length + 2];
        reader.read_exact(&mut bulk)?;
        return Ok(String::from_utf8_lossy(&bulk[..length]).into_owned());
    }
    for _ in 0..count('*').unwrap_or(0) {
        reply(reader)?;
    }
    Ok(line)
}
