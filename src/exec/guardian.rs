//! The process between `exec` and the program. It keeps the deadline, so that the program ends in time whatever happens
//! to `exec`.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::{CommandExt, parent_id};
use std::process::Command;
use std::time::Duration;

use rustix::process::{
    Pid, Signal, getpgid, kill_process, kill_process_group, set_parent_process_death_signal,
};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::alarm::Alarm;
use super::cgroup::Cgroup;
use super::processes;
use super::rules::{Deadline, Phase, latest_start};
use super::signals::hangup;
use super::wire::{self, FRAME, Order, Report};
use crate::clock;
use crate::time::Instant;

/// Between two rounds of SIGKILL.
const ROUND: Duration = Duration::from_millis(2);

struct Guardian {
    deadline: Deadline,
    command: Pid,
    /// What the program has ended with.
    code: Option<u8>,
    children: bool,
    /// What it is told to stop with.
    stop_with: Signal,
    terminated: bool,
    cgroup: Option<Cgroup>,
}

/// Runs the program until it ends, or must end.
///
/// # Errors
/// The program could not be started.
pub async fn guard(grace: Duration, command: &[OsString]) -> io::Result<()> {
    processes::become_subreaper()?;
    // `exec` alone says when to stop; a supervisor may signal everyone. The program has its own handlers again.
    let ignored = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::quit(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
    ];
    for kind in ignored.into_iter().chain(hangup()) {
        drop(signal(kind)?);
    }
    let mut child_changed = signal(SignalKind::child())?;
    let orders = StdUnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (until, stdin, _campaign) = wire::accept(&orders)?;
    orders.set_nonblocking(true)?;
    let mut orders = UnixStream::from_std(orders)?;
    let alarm = Alarm::new()?;
    let deadline = Deadline::new(until, grace);
    let cgroup = Cgroup::make();
    // This is the main thread: the program's parent-death signal follows the thread that forked it.
    let child = Command::new("/proc/self/exe")
        .arg("exec-stage")
        .arg(std::process::id().to_string())
        .arg(latest_start(until).as_nanos().to_string())
        .arg("--")
        .args(command)
        .stdin(stdin)
        .process_group(0)
        .spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let mut guardian = Guardian {
        deadline,
        command: pid.ok_or(io::ErrorKind::InvalidData)?,
        code: None,
        children: true,
        stop_with: Signal::TERM,
        terminated: false,
        cgroup,
    };
    let (mut frame, mut have, mut open) = ([0; FRAME], 0, true);
    let mut told = false;
    // The start may have taken long: what was said meanwhile counts before the time does.
    while let Some(order) = wire::hear(&orders) {
        if let Some(report) = guardian.obey(Some(order)) {
            wire::say(&orders, report.frame());
        }
    }
    loop {
        guardian.reap();
        let phase = guardian.act();
        told |= phase != Phase::Running && guardian.code.is_none();
        if let (Some(code), false) = (guardian.code, guardian.children) {
            // `exec` may have gone before.
            guardian.cgroup.iter().for_each(Cgroup::remove);
            wire::say(&orders, Report::Ended { code, told }.frame());
            return Ok(());
        }
        tokio::select! {
            // A grant that was extended in time is heard of before it is found to have ended.
            biased;
            read = orders.read(frame.get_mut(have..).unwrap_or_default()), if open => if let Ok(read @ 1..) = read {
                have += read;
            } else {
                // `exec` is gone.
                open = false;
                guardian.deadline.stop(clock::boottime());
            },
            _ = child_changed.recv() => {}
            () = alarm.rings(guardian.deadline.next()), if phase != Phase::Killing => {}
            () = sleep(ROUND), if phase == Phase::Killing => {}
        }
        if have == FRAME {
            have = 0;
            if let Some(report) = guardian.obey(Order::parse(frame)) {
                wire::say(&orders, report.frame());
            }
        }
    }
}

impl Guardian {
    fn obey(&mut self, order: Option<Order>) -> Option<Report> {
        let now = clock::boottime();
        match order? {
            Order::Until(until) => self.deadline.extend(until),
            Order::Ask if self.terminated || processes::is_stopped(self.command) => {
                return Some(Report::Stopped);
            }
            Order::Ask => return Some(Report::Running),
            Order::Signal(number) => {
                if let Some(signal) = Signal::from_named_raw(number) {
                    self.signal(signal);
                }
            }
            Order::Stop(number) => {
                self.stop_with = Signal::from_named_raw(number).unwrap_or(Signal::TERM);
                self.deadline.stop(now);
            }
            Order::Kill => self.deadline.kill(now),
        }
        None
    }

    /// Does what is due.
    fn act(&mut self) -> Phase {
        let now = clock::boottime();
        if self.code.is_some() {
            // Whatever the program leaves behind is killed too.
            self.deadline.stop(now);
        }
        let phase = self.deadline.phase(now);
        if phase == Phase::Stopping && !self.terminated {
            self.terminated = true;
            self.signal_all(self.stop_with);
            // One that is stopped hears of it only when it continues.
            self.signal_all(Signal::CONT);
        }
        if phase == Phase::Killing && self.children {
            self.cgroup.iter().for_each(Cgroup::kill);
            self.signal_all(Signal::KILL);
        }
        phase
    }

    /// To the program's group, and to the program itself if it has left it.
    fn signal(&self, signal: Signal) {
        // The numbers of a program that was reaped may be another's.
        if self.code.is_none() {
            let _ = kill_process_group(self.command, signal);
            if getpgid(Some(self.command)) != Ok(self.command) {
                let _ = kill_process(self.command, signal);
            }
        }
    }

    /// To those too that have left the group and lost their parent.
    fn signal_all(&self, signal: Signal) {
        self.signal(signal);
        let group = self.code.is_none().then_some(self.command);
        let mut orphans = processes::children();
        orphans.retain(|pid| {
            Some(*pid) != group && group.is_none_or(|group| getpgid(Some(*pid)) != Ok(group))
        });
        processes::signal_children(&orphans, signal);
    }

    fn reap(&mut self) {
        let Self { command, code, .. } = self;
        self.children = processes::reap(|pid, status| {
            if pid == *command {
                *code = Some(processes::code(status));
            }
        });
    }
}

/// The last step before the program: it dies with its guardian, and does not begin after `latest`.
///
/// # Errors
/// Returns only if the program cannot be run.
pub fn become_command(
    guardian: u32,
    latest: Instant,
    command: &[OsString],
) -> io::Result<std::convert::Infallible> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if let Some(cgroup) = Cgroup::of(guardian) {
        cgroup.enter();
    }
    // Whatever held it up: the guardian ends it now, and it has done nothing.
    while clock::boottime() >= latest {
        std::thread::sleep(Duration::from_secs(1));
    }
    // It may have died before that.
    if parent_id() != guardian {
        return Err(io::Error::other("the guardian has gone"));
    }
    let (program, args) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    Err(Command::new(program).args(args).exec())
}
