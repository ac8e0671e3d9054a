//! Children: adopted, listed, killed, reaped.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper, wait,
};

/// Orphans among the descendants become children of this process.
pub fn become_subreaper() -> io::Result<()> {
    // Any number but 0 sets it.
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Reaps every child that has ended. Returns whether any is left.
pub fn reap(mut each: impl FnMut(Pid, WaitStatus)) -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => each(pid, status),
            Ok(None) => return true,
            Err(Errno::INTR) => {}
            // No child.
            Err(_) => return false,
        }
    }
}

/// The children of this process, as /proc shows them.
pub fn children() -> Vec<Pid> {
    let own = getpid();
    let Ok(entries) = Path::new("/proc").read_dir() else {
        return Vec::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let pids = pids.filter_map(Pid::from_raw);
    pids.filter(|pid| parent(*pid) == Some(own)).collect()
}

/// Sends a signal to each child, except those that have ended.
pub fn signal_children(children: &[Pid], signal: Signal) {
    for child in children {
        let _ = kill_process(*child, signal);
    }
}

/// Stopped by a signal or by a debugger: it does nothing.
pub fn is_stopped(pid: Pid) -> bool {
    stat(pid).is_some_and(|stat| stat.starts_with(['T', 't']))
}

/// The exit code, as a shell reports it.
#[must_use]
pub fn code(status: WaitStatus) -> u8 {
    let code = status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255)
}

/// Whether a command can be run, before anyone campaigns for it.
///
/// # Errors
/// The code of a shell, 127 or 126, and what it means.
pub fn runnable(command: &OsStr) -> Result<(), (u8, &'static str)> {
    let candidates: Vec<PathBuf> = if command.as_bytes().contains(&b'/') {
        vec![command.into()]
    } else {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
        let folders = std::env::split_paths(&path);
        folders.map(|folder| folder.join(command)).collect()
    };
    let runs = |path: &&PathBuf| path.is_file() && access(path.as_path(), Access::EXEC_OK).is_ok();
    if candidates.iter().any(|path| runs(&path)) {
        return Ok(());
    }
    if candidates.iter().any(|path| path.exists()) {
        return Err((126, "it cannot be executed"));
    }
    Err((127, "there is no such program"))
}

fn parent(pid: Pid) -> Option<Pid> {
    let stat = stat(pid)?;
    Pid::from_raw(stat.split(' ').nth(1)?.parse().ok()?)
}

/// From the state on: `pid (name) state ppid …`, and the name may hold anything.
fn stat(pid: Pid) -> Option<String> {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let stat = std::fs::read(path).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    Some(stat.rsplit_once(") ")?.1.to_owned())
}
