//! How `exec` controls the program: through the guardian, or without it if necessary.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::sleep;

use super::cgroup::Cgroup;
use super::processes;
use super::wire::{self, FRAME, Order, Report};
use crate::time::Instant;

pub struct Guarded {
    orders: UnixStream,
    guardian: Pid,
    gone: bool,
    frame: wire::Frame,
    have: usize,
    /// Children that this process had before; they do not belong to the program.
    strangers: Vec<Pid>,
}

/// What the program is started with.
pub struct Start<'a> {
    pub command: &'a [OsString],
    pub grace: Duration,
    pub until: Instant,
    pub token: u64,
    pub instance: &'a str,
    pub campaign: &'a OwnedFd,
}

impl Guarded {
    pub fn start(start: &Start<'_>) -> io::Result<Self> {
        let strangers = processes::children();
        let (ours, theirs) = StdUnixStream::pair()?;
        let mut guardian = Command::new("/proc/self/exe");
        for (name, _) in std::env::vars_os() {
            // These include passwords, which the program must not see.
            if name.to_string_lossy().starts_with("UNDERSTUDY_") {
                guardian.env_remove(name);
            }
        }
        let guardian = guardian
            .arg0("understudy")
            .arg("exec-guardian")
            .arg(start.grace.as_millis().to_string())
            .arg("--")
            .args(start.command)
            .env("UNDERSTUDY_FENCING_TOKEN", start.token.to_string())
            .env("UNDERSTUDY_INSTANCE", start.instance)
            .stdin(OwnedFd::from(theirs))
            .process_group(0)
            .spawn()?;
        let guardian = i32::try_from(guardian.id()).ok().and_then(Pid::from_raw);
        let guardian = guardian.ok_or(io::ErrorKind::InvalidData)?;
        wire::open(
            &ours,
            start.until,
            io::stdin().as_fd(),
            start.campaign.as_fd(),
        )?;
        ours.set_nonblocking(true)?;
        Ok(Self {
            orders: UnixStream::from_std(ours)?,
            guardian,
            gone: false,
            frame: [0; FRAME],
            have: 0,
            strangers,
        })
    }

    /// A guardian that does not read is stopped or gone; the backstop handles that.
    pub fn order(&self, order: Order) {
        wire::say(&self.orders, order.frame());
    }

    /// What the guardian says; `None` once it has gone. May be dropped and called again.
    pub async fn report(&mut self) -> Option<Report> {
        while self.have < FRAME {
            let room = self.frame.get_mut(self.have..).unwrap_or_default();
            match self.orders.read(room).await {
                Ok(read @ 1..) => self.have += read,
                _ => return None,
            }
        }
        self.have = 0;
        Report::parse(self.frame)
    }

    /// The guardian, or strays of a container whose first process this is.
    pub fn reap(&mut self) {
        let (guardian, gone) = (self.guardian, &mut self.gone);
        processes::reap(|pid, _| *gone |= pid == guardian);
    }

    pub fn kill_guardian(&self) {
        if !self.gone {
            let _ = kill_process(self.guardian, Signal::KILL);
        }
    }

    /// After the guardian's last word: ends and reaps it. If it was killed before, the program was killed with it, and
    /// what it had started has come to this process: that is killed here.
    pub async fn bury(mut self, cleanly: bool) {
        let cgroup = Cgroup::of(self.guardian.as_raw_nonzero().get().unsigned_abs());
        // One that is stopped would not end.
        self.kill_guardian();
        loop {
            self.reap();
            let mut left = processes::children();
            left.retain(|pid| !self.strangers.contains(pid));
            if self.gone && (cleanly || left.is_empty()) {
                cgroup.iter().for_each(Cgroup::remove);
                return;
            }
            if !cleanly {
                cgroup.iter().for_each(Cgroup::kill);
                processes::signal_children(&left, Signal::KILL);
            }
            sleep(Duration::from_millis(1)).await;
        }
    }
}
