//! What an agent costs: what it sends to Redis, and what the kernel says it used.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Redis;

/// Everything that clients send to one Redis, from MONITOR, without the commands of scripts.
pub struct Monitor {
    stream: TcpStream,
    sent: Arc<Mutex<Vec<Sent>>>,
}

/// One command of a client.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Redis' clock, microseconds since 1970.
    pub at: u64,
    /// The client's port; 0 on a unix socket.
    pub from: u16,
    /// The command's name, in capitals.
    pub command: String,
    /// The arguments, quoted as by MONITOR.
    pub arguments: String,
}

impl Monitor {
    pub fn start(redis: &Redis) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", redis.port)).expect("Redis answers");
        stream.write_all(b"MONITOR\r\n").expect("Redis reads");
        let reader = stream.try_clone().expect("a second handle");
        let mut lines = BufReader::new(reader).lines().map_while(Result::ok);
        assert_eq!(lines.next().as_deref(), Some("+OK"), "MONITOR is taken");
        let sent = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&sent);
        std::thread::spawn(move || {
            for found in lines.filter_map(|line| read(&line)) {
                into.lock().expect("no panic while reading").push(found);
            }
        });
        Self { stream, sent }
    }

    /// What was sent while `time` passed.
    pub fn during(&self, time: Duration) -> Vec<Sent> {
        self.take();
        std::thread::sleep(time);
        self.take()
    }

    /// What was sent since the last call.
    pub fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut self.sent.lock().expect("no panic while reading"))
    }
}

impl Sent {
    /// The arguments, if none of them needs an escape.
    pub fn words(&self) -> Vec<&str> {
        self.arguments.split('"').skip(1).step_by(2).collect()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // Redis may be gone.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// `+1700000000.123456 [0 127.0.0.1:40000] "evalsha" "…`; with `lua` in place of the address for a script's commands.
fn read(line: &str) -> Option<Sent> {
    let (at, rest) = line.split_once(" [")?;
    let (seconds, micros) = at.strip_prefix('+')?.split_once('.')?;
    let (source, rest) = rest.split_once("] \"")?;
    let (_, source) = source.split_once(' ')?;
    let (command, arguments) = rest.split_once('"')?;
    let port = source.rsplit(':').next()?;
    // Always six digits of them.
    let at = format!("{seconds}{micros}").parse().ok()?;
    (source != "lua").then(|| Sent {
        at,
        from: port.parse().unwrap_or(0),
        command: command.to_uppercase(),
        arguments: arguments.trim_start().into(),
    })
}

/// The local ports of a process' IPv4 connections to this port.
pub fn connections(pid: u32, to: u16) -> Vec<u16> {
    let inodes = sockets(pid);
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).expect("the process runs");
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    let found = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let ours = inodes.iter().any(|inode| inode == fields[9]);
        (ours && port(fields[2]) == Some(to)).then(|| port(fields[1]))?
    });
    found.collect()
}

/// The inodes of a process' sockets.
fn sockets(pid: u32) -> Vec<String> {
    let folder = PathBuf::from(format!("/proc/{pid}/fd"));
    let files = folder.read_dir().expect("the process runs");
    let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    let inode = |link: PathBuf| {
        let name = link.to_str()?.strip_prefix("socket:[")?;
        Some(name.strip_suffix(']')?.to_owned())
    };
    links.filter_map(inode).collect()
}

/// How long all threads of a process have run, as the scheduler counts it, and their voluntary context
/// switches.
pub fn used(pid: u32) -> (Duration, u64) {
    let threads = PathBuf::from(format!("/proc/{pid}/task"));
    let mut used = (Duration::ZERO, 0);
    for thread in threads.read_dir().expect("the process runs").flatten() {
        let text = |name| std::fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let ran = text("schedstat");
        let ran = ran
            .split(' ')
            .next()
            .and_then(|nanos| nanos.parse().ok())
            .unwrap_or(0);
        used.0 += Duration::from_nanos(ran);
        used.1 += number(&text("status"), "voluntary_ctxt_switches");
    }
    used
}

/// The value of `VmRSS`, `VmHWM`, `Threads`…, from /proc/PID/status; sizes in kB.
pub fn status(pid: u32, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    number(&text, name)
}

fn number(status: &str, name: &str) -> u64 {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("the kernel tells")
}
