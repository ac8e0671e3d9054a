//! A miner beside an agent: the cost of asking, and the cost of an agent with a miner.

use std::hint::black_box;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use benches::figures::Table;
use stage::boottime_ns;
use tokio::sync::oneshot;

use crate::calls::runtime;
use crate::sides::Side;

use understudy_client::Elector;

const ASKED: u32 = 1_000_000;
/// The wait at an empty Redis, and a little more.
const LEADS_WITHIN: Duration = Duration::from_secs(60);

/// Within a runtime.
fn elector(socket: &Path) -> Elector {
    let address = format!("unix:{}", socket.display());
    Elector::start(&address, "bench").expect("an address")
}

/// Nanoseconds of one answer while it leads, and of a clock read.
pub fn is_leader(table: &mut Table, side: &Side, rounds: usize) {
    let runtime = runtime();
    let elector = runtime.block_on(async { elector(&side.socket) });
    runtime.block_on(async {
        let began = Instant::now();
        while !elector.is_leader() {
            assert!(began.elapsed() < LEADS_WITHIN, "nobody leads");
            elector.beat();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let nanos = |began: Instant| began.elapsed().as_nanos() as f64 / f64::from(ASKED);
        let (mut asked, mut read) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            // Let the client hear the agent in between.
            elector.beat();
            tokio::time::sleep(Duration::from_millis(50)).await;
            let began = Instant::now();
            for _ in 0..ASKED {
                black_box(elector.is_leader());
            }
            asked.push(nanos(began));
            let began = Instant::now();
            for _ in 0..ASKED {
                black_box(boottime_ns());
            }
            read.push(nanos(began));
        }
        table.row(
            "is_leader(), Rust, ns; at least: a clock read",
            &[Some(asked), None, Some(read)],
        );
        elector.close().await;
    });
}

/// A campaign that beats once a second until it is dropped.
pub struct Beats {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    leads: mpsc::Receiver<()>,
}

impl Beats {
    pub fn start(side: &Side) -> Self {
        let socket = side.socket.clone();
        let (stop, mut stopped) = oneshot::channel();
        let (told, leads) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            runtime().block_on(async {
                let elector = elector(&socket);
                let mut second = tokio::time::interval(Duration::from_secs(1));
                loop {
                    tokio::select! {
                        _ = &mut stopped => break,
                        _ = second.tick() => elector.beat(),
                    }
                    if elector.is_leader() {
                        // Nobody may listen.
                        let _ = told.send(());
                    }
                }
                elector.close().await;
            });
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
            leads,
        }
    }

    /// Waits until it leads.
    pub fn leading(side: &Side) -> Self {
        let beats = Self::start(side);
        let led = beats.leads.recv_timeout(LEADS_WITHIN);
        led.expect("the miner is told to lead");
        beats
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
