//! What it costs to be looked at: sixteen open pages on a leader, as many as it serves, for a while; and a thousand pages
//! that are opened one after the other. Prints what it measured; asserts nothing.
//!
//! `make bench-page MINUTES=60`: the first fifth of the time nobody looks, for comparison.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use benches::figures::load;
use benches::setting;
use stage::cost::{Monitor, connections, status, used};
use stage::{Agent, Miner, Redis};

/// As many event streams as an agent serves.
const PAGES: usize = 16;
const OPENED: u32 = 1000;

fn main() {
    let time = Duration::from_secs_f64(setting("MINUTES", 1.0) * 60.0);
    // The miners write elsewhere.
    let (redis, register) = (Redis::start(), Redis::start());
    let agents = ["a", "b"].map(|name| {
        let agent = Agent::start(name, &redis, &[]);
        agent.wait_until_up();
        agent
    });
    let _miners = agents
        .each_ref()
        .map(|agent| Miner::start(&agent.name, agent, &register));
    let leader = &agents[0];
    leader.wait_until_leading(Duration::from_secs(60));
    let token = leader.token();
    let sent = (&Monitor::start(&redis), redis.port);
    println!("load average {:.2}", load());
    spent("nobody looks", leader, sent, time / 5);
    opened(leader);
    let events = Arc::new(AtomicU64::new(0));
    for _ in 0..PAGES {
        let (http, events) = (leader.http, Arc::clone(&events));
        std::thread::spawn(move || watch(http, &events));
    }
    spent("16 pages are open", leader, sent, time);
    let events = events.load(Ordering::Relaxed);
    let same = leader.leads() && leader.token() == token;
    let same = if same { "untouched" } else { "CHANGED" };
    println!(
        "{events} events were read; the term is {same}; load average {:.2}",
        load()
    );
}

/// Prints what the agent used in this time.
fn spent(when: &str, agent: &Agent, (monitor, redis): (&Monitor, u16), time: Duration) {
    let (before, resident) = (used(agent.pid()).0, status(agent.pid(), "VmRSS"));
    let ports = connections(agent.pid(), redis);
    monitor.take();
    let (start, mut most) = (Instant::now(), resident);
    while start.elapsed() < time {
        sleep(Duration::from_secs(1).min(time));
        most = most.max(status(agent.pid(), "VmRSS"));
    }
    let sent = monitor.take();
    let sent = sent.iter().filter(|it| ports.contains(&it.from)).count();
    let seconds = start.elapsed().as_secs_f64();
    let share = (used(agent.pid()).0 - before).as_secs_f64() / seconds * 100.0;
    println!(
        "{when}, {:.1} min: {share:.3} % of a core, {resident} kB resident at first, {most} at most, {:.2} commands per second to Redis",
        seconds / 60.0,
        sent as f64 / seconds
    );
}

/// What a browser fetches first: the page, an event, and the last hour.
fn opened(leader: &Agent) {
    let before = used(leader.pid()).0;
    for _ in 0..OPENED {
        read(leader.http, "/");
        let mut events = ask(leader.http, "/events");
        let mut seen = Vec::new();
        while events_in(&seen) == 0 {
            let mut some = [0; 4096];
            let length = events.read(&mut some).expect("an event");
            assert!(length > 0, "the stream has ended");
            seen.extend_from_slice(&some[..length]);
        }
        read(leader.http, "/status?history");
    }
    let each = (used(leader.pid()).0 - before) / OPENED;
    println!(
        "{OPENED} pages opened: {each:.0?} of processor time each, with their first event and the last hour"
    );
}

/// As the page does: after each event it asks for the last hour, and when it has heard nothing for a while, whether the
/// agent is alive.
fn watch(http: u16, events: &AtomicU64) {
    let mut stream = ask(http, "/events");
    let silence = Some(Duration::from_secs(5));
    stream.set_read_timeout(silence).expect("set");
    let mut some = [0; 16 * 1024];
    loop {
        match stream.read(&mut some) {
            Ok(0) => return,
            Ok(length) => {
                let found = events_in(&some[..length]);
                events.fetch_add(found, Ordering::Relaxed);
                if found > 0 {
                    read(http, "/status?history");
                }
            }
            Err(_) => read(http, "/live"),
        }
    }
}

fn events_in(read: &[u8]) -> u64 {
    read.windows(6).filter(|it| it == b"\ndata:").count() as u64
}

fn read(http: u16, path: &str) {
    let mut all = Vec::new();
    // The agent may be gone.
    let _ = ask(http, path).read_to_end(&mut all);
}

fn ask(http: u16, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", http)).expect("the agent serves");
    let head = "Host: a\r\nAccept: text/html,text/event-stream\r\nConnection: close\r\n\r\n";
    write!(stream, "GET {path} HTTP/1.1\r\n{head}").expect("written");
    stream
}
