//! A TCP proxy in front of Redis that behaves like a bad network.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::free_port;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Existing and new connections are closed.
    Refuse,
    /// Requests arrive late, when this ends, as after retransmissions.
    BlackHole,
    /// Requests arrive; replies arrive when this ends.
    OneWay,
    /// Requests arrive, and the connection ends before the reply.
    RepliesLost,
    /// Connections are accepted and never served.
    HalfOpen,
    Slow(Duration),
    /// A reply breaks off in the middle, and the connection with it.
    CutShort,
}

/// The addresses at which the proxy may listen, one at a time.
pub const HOUSES: [&str; 2] = ["127.0.0.1", "127.0.0.2"];

#[derive(Clone)]
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    mode: Mutex<Mode>,
    upstream: AtomicU16,
    house: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Request,
    Reply,
}

/// A port that is free at every address. Another test may be looking for one at the same time.
fn houses() -> (u16, Vec<TcpListener>) {
    loop {
        let port = free_port();
        let bound = HOUSES.iter().map(|it| TcpListener::bind((*it, port)));
        if let Ok(listeners) = bound.collect() {
            return (port, listeners);
        }
    }
}

impl Proxy {
    pub fn start(upstream: u16) -> Self {
        let (port, listeners) = houses();
        let shared = Arc::new(Shared {
            mode: Mutex::new(Mode::Pass),
            upstream: AtomicU16::new(upstream),
            house: AtomicUsize::new(0),
            open: Mutex::default(),
        });
        let proxy = Self {
            port,
            shared: Arc::clone(&shared),
        };
        for (house, listener) in listeners.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            // The thread ends with the process.
            thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    let shared = Arc::clone(&shared);
                    // At the other addresses, close the connection at once.
                    if shared.house.load(Ordering::Relaxed) == house {
                        thread::spawn(move || shared.serve(&client));
                    }
                }
            });
        }
        proxy
    }

    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock().expect("no panic") = mode;
        if mode == Mode::Refuse {
            self.cut();
        }
    }

    /// Forwards to another server from now on.
    pub fn lead_to(&self, upstream: u16) {
        self.shared.upstream.store(upstream, Ordering::Relaxed);
        self.cut();
    }

    /// Moves to the other address, and returns it.
    pub fn move_house(&self) -> usize {
        let house = 1 - self.shared.house.load(Ordering::Relaxed);
        self.shared.house.store(house, Ordering::Relaxed);
        self.cut();
        house
    }

    pub fn house(&self) -> usize {
        self.shared.house.load(Ordering::Relaxed)
    }

    /// Closes every connection.
    pub fn cut(&self) {
        for stream in self.shared.open.lock().expect("no panic").drain(..) {
            // Already closed is as good.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Forgets the existing connections, as a NAT does: neither end hears anything from the other, not even that the
    /// connection is gone. New ones pass.
    pub fn forget(&self) {
        // A socket filter, `ret #0`, that drops every packet, so nothing is acknowledged.
        const RETURN: u16 = 0x06;
        let nothing = [socket2::SockFilter::new(RETURN, 0, 0, 0)];
        for stream in self.shared.open.lock().expect("no panic").drain(..) {
            let socket = socket2::SockRef::from(&stream);
            loop {
                // What waits for an acknowledgement would be sent again and again, and the other end would hear it.
                while !all_is_acknowledged(&stream) {
                    thread::sleep(Duration::from_millis(5));
                }
                let deaf = socket.attach_filter(&nothing);
                deaf.expect("a filter on a socket of one's own");
                if all_is_acknowledged(&stream) {
                    break;
                }
                socket.detach_filter().expect("a filter that is there");
            }
            // Keep it open for ever: closing it would tell the other end.
            std::mem::forget(stream);
        }
    }
}

/// Nothing that was sent on this connection is still on its way. A connection that is gone has nothing on its way either.
fn all_is_acknowledged(stream: &TcpStream) -> bool {
    let (Ok(from), Ok(to)) = (stream.local_addr(), stream.peer_addr()) else {
        return true;
    };
    let ends = [from, to].map(|end| format!(":{:04X}", end.port()));
    let table = std::fs::read_to_string("/proc/self/net/tcp").expect("the kernel tells");
    let line = table.lines().skip(1).find(|line| {
        let mut fields = line.split_whitespace().skip(1);
        ends.iter()
            .all(|end| fields.next().is_some_and(|it| it.ends_with(end)))
    });
    line.is_none_or(|line| line.contains(" 00000000:"))
}

impl Drop for Proxy {
    /// Releases what it held back; otherwise a thread that holds it would spin until the process ends.
    fn drop(&mut self) {
        self.set(Mode::Refuse);
    }
}

impl Shared {
    fn mode(&self) -> Mode {
        *self.mode.lock().expect("no panic")
    }

    fn serve(&self, client: &TcpStream) {
        self.keep(client);
        while self.mode() == Mode::HalfOpen {
            thread::sleep(Duration::from_millis(5));
        }
        if self.mode() == Mode::Refuse {
            return;
        }
        let upstream = self.upstream.load(Ordering::Relaxed);
        let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)) else {
            return;
        };
        self.keep(&server);
        // Without it, a reply waits for an acknowledgement.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        thread::scope(|scope| {
            scope.spawn(|| self.pump(client, &server, Way::Request));
            self.pump(&server, client, Way::Reply);
        });
    }

    fn keep(&self, stream: &TcpStream) {
        let mut open = self.open.lock().expect("no panic");
        open.extend(stream.try_clone());
        // Remove the connections that have ended.
        open.retain(|stream| stream.peer_addr().is_ok());
    }

    fn pump(&self, mut from: &TcpStream, mut to: &TcpStream, way: Way) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            loop {
                match (self.mode(), way) {
                    (Mode::BlackHole | Mode::HalfOpen, _) | (Mode::OneWay, Way::Reply) => {
                        thread::sleep(Duration::from_millis(2));
                    }
                    (Mode::Slow(delay), _) => {
                        thread::sleep(delay);
                        break;
                    }
                    _ => break,
                }
            }
            let length = match (self.mode(), way) {
                (Mode::RepliesLost, Way::Reply) => break,
                (Mode::CutShort, Way::Reply) => length / 2,
                _ => length,
            };
            if to.write_all(&buffer[..length]).is_err() || self.mode() == Mode::CutShort {
                break;
            }
        }
        // The other direction ends with this one.
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}
