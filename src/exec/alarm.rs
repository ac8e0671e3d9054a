//! A timer on CLOCK_BOOTTIME: after a suspension it rings at once, where others would still wait.

use std::io;
use std::os::fd::OwnedFd;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::clock;
use crate::time::Instant;

pub struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        #[expect(
            deprecated,
            reason = "sound for an OwnedFd, which keeps its number as long as it lives; its successor is unsafe"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self(timer))
    }

    /// Returns at `at`. May be dropped and called again, for another moment.
    pub async fn rings(&self, at: Instant) {
        while clock::boottime() < at {
            if self.set(at).is_err() {
                return;
            }
            // What it reads is of no interest: setting it again clears it.
            match self.0.readable().await {
                Ok(mut ready) => ready.clear_ready(),
                Err(_) => return,
            }
        }
    }

    fn set(&self, at: Instant) -> io::Result<()> {
        const SECOND: u64 = 1_000_000_000;
        let nanos = at.as_nanos();
        let new = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: i64::try_from(nanos / SECOND).unwrap_or(i64::MAX),
                tv_nsec: i64::try_from(nanos % SECOND).unwrap_or(0),
            },
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &new)?;
        Ok(())
    }
}
