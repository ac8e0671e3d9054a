//! A child process: its output, its signals, its end.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use super::wait::{boottime_ns, wait_until};

/// One line of output.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it arrived, on CLOCK_BOOTTIME.
    pub at_ns: u64,
    pub text: String,
}

/// Killed when dropped. If a test is failing then, it prints the end of its output.
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Mutex<Vec<Line>>>,
    readers: Vec<JoinHandle<()>>,
}

const LAST_LINES: usize = 40;

// === impl Process ===

impl Process {
    /// # Panics
    /// The program cannot be started.
    #[track_caller]
    pub fn start(name: &str, command: &mut Command) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child =
            child.unwrap_or_else(|error| panic!("cannot start {name}: {error}: {command:?}"));
        let output = Arc::default();
        let readers = vec![
            collect(child.stdout.take(), &output),
            collect(child.stderr.take(), &output),
        ];
        Self {
            name: name.into(),
            child,
            output,
            readers,
        }
    }

    /// Everything it has said so far, standard output and error together.
    pub fn output(&self) -> Vec<Line> {
        lock(&self.output).clone()
    }

    /// The first line of its output that holds `text`.
    pub fn said(&self, text: &str) -> Option<Line> {
        lock(&self.output)
            .iter()
            .find(|line| line.text.contains(text))
            .cloned()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal)
            .unwrap_or_else(|error| panic!("{}: cannot send {signal:?}: {error}", self.name));
    }

    /// SIGSTOP. It runs no instruction more when this returns.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let threads = PathBuf::from(format!("/proc/{}/task", self.pid()));
        let stopped = |path: PathBuf| {
            // `pid (name) state …`, and the name may hold anything.
            std::fs::read_to_string(path.join("stat"))
                .is_ok_and(|it| it.rsplit(") ").next().is_some_and(|it| it.starts_with('T')))
        };
        wait_until("SIGSTOP to take effect", Duration::from_secs(5), || {
            let mut threads = threads.read_dir().expect("the process lives");
            threads.all(|thread| thread.is_ok_and(|it| stopped(it.path())))
        });
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        // Both fail only where it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.read_to_end();
    }

    /// How it ended; `None` while it runs. Its output is complete then.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().expect("it is our child")?;
        self.read_to_end();
        Some(status)
    }

    fn read_to_end(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().expect("the reader does not panic");
        }
    }

    /// Waits for it to end by itself.
    ///
    /// # Panics
    /// It still runs after `within`.
    #[track_caller]
    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        let what = format!("{} to end", self.name);
        super::wait::wait_for(&what, within, || self.exited())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let output = self.output();
            eprintln!("--- the last words of {}:", self.name);
            for line in &output[output.len().saturating_sub(LAST_LINES)..] {
                eprintln!("{}", line.text);
            }
        }
    }
}

/// A program that cargo built: `name` beside the running test, example or benchmark, unless `variable` says where.
///
/// # Panics
/// It is not there.
#[track_caller]
pub fn built(name: &str, variable: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let this = std::env::current_exe().expect("the path of the running program");
    // target/PROFILE/deps/test, target/PROFILE/examples/demo
    let profile = this.ancestors().nth(2).expect("a target directory");
    let path = profile.join(name);
    assert!(
        path.exists(),
        "{} is not built: run 'cargo build --bins --examples' (for a benchmark with --release), or set {variable}",
        path.display()
    );
    path
}

fn collect(
    from: Option<impl Read + Send + 'static>,
    into: &Arc<Mutex<Vec<Line>>>,
) -> JoinHandle<()> {
    let (from, into) = (from.expect("the output is piped"), Arc::clone(into));
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&line).into_owned();
            let at_ns = boottime_ns();
            lock(&into).push(Line { at_ns, text });
        }
    })
}

/// A test that panics while it reads must not hide the output.
fn lock(output: &Mutex<Vec<Line>>) -> std::sync::MutexGuard<'_, Vec<Line>> {
    output.lock().unwrap_or_else(PoisonError::into_inner)
}
