//! A real agent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;

use super::{Redis, free_port, program, send, wait_for};

pub struct Agent {
    program: PathBuf,
    child: Child,
    pub name: String,
    pub grpc: u16,
    pub http: u16,
    flags: Vec<String>,
    lines: Lines,
    readers: Vec<JoinHandle<()>>,
}

impl Agent {
    /// An agent on `redis`, with more flags. It may not be up yet.
    pub fn start(name: &str, redis: &Redis, flags: &[&str]) -> Self {
        let url = redis.url();
        Self::spawn(name, &[&["--redis-url", &url], flags].concat())
    }

    pub fn spawn(name: &str, flags: &[&str]) -> Self {
        Self::of(&program("UNDERSTUDY_BIN", "understudy"), name, flags)
    }

    /// An agent of another build.
    pub fn of(program: &Path, name: &str, flags: &[&str]) -> Self {
        let (grpc, http) = (free_port(), free_port());
        let flags = flags.iter().map(ToString::to_string).collect();
        let lines = Arc::default();
        let (child, readers) = launch(program, name, (grpc, http), &flags, &lines);
        Self {
            program: program.to_owned(),
            child,
            name: name.into(),
            grpc,
            http,
            flags,
            lines,
            readers,
        }
    }

    /// Starts another process in place of the killed one, at the same addresses.
    pub fn start_again(&mut self) {
        self.kill();
        let ports = (self.grpc, self.http);
        (self.child, self.readers) =
            launch(&self.program, &self.name, ports, &self.flags, &self.lines);
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.grpc)
    }

    /// The status code and the body of a GET.
    pub fn get(&self, path: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http))?;
        stream.set_read_timeout(Some(Duration::from_secs(3)))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = answer
            .split_once("\r\n\r\n")
            .map_or("", |(_, body)| body)
            .to_owned();
        Ok((code.ok_or(std::io::ErrorKind::InvalidData)?, body))
    }

    pub fn leads(&self) -> bool {
        self.get("/leader").is_ok_and(|(code, _)| code == 200)
    }

    pub fn status(&self) -> serde_json::Value {
        let (_, body) = self.get("/status").expect("the agent answers");
        serde_json::from_str(&body).expect("JSON")
    }

    pub fn reason(&self) -> String {
        self.status()["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub fn token(&self) -> Option<u64> {
        self.status()["fencing_token"].as_u64()
    }

    /// The value of one metric, by its name and labels as in the output.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let (_, body) = self.get("/metrics").ok()?;
        let line = body.lines().find(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(' '))
        })?;
        line.rsplit(' ').next()?.parse().ok()
    }

    pub fn wait_until_up(&self) {
        wait_for("the agent serves HTTP", Duration::from_secs(10), || {
            self.get("/live").ok()
        });
    }

    pub fn wait_until_leading(&self, deadline: Duration) {
        wait_for(&format!("{} leads", self.name), deadline, || {
            self.leads().then_some(())
        });
    }

    pub fn wait_for_reason(&self, reason: &str, deadline: Duration) {
        let what = format!("{} says {reason}", self.name);
        wait_for(&what, deadline, || (self.reason() == reason).then_some(()));
    }

    /// The lines of its log that contain all of `parts`.
    pub fn logged(&self, parts: &[&str]) -> Vec<String> {
        let lines = self.lines.lock().expect("no panic while logging");
        lines
            .iter()
            .filter(|line| parts.iter().all(|part| line.contains(part)))
            .cloned()
            .collect()
    }

    /// Waits for a log line: the log lags behind HTTP.
    pub fn wait_for_log(&self, parts: &[&str]) -> String {
        let what = format!("{} logs {parts:?}", self.name);
        wait_for(&what, Duration::from_secs(10), || {
            self.logged(parts).into_iter().next()
        })
    }

    pub fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    pub fn kill(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.read_to_the_end();
    }

    /// Kills the agent. Its log is complete when this returns.
    pub fn wait_until_gone(&mut self, deadline: Duration) -> ExitStatus {
        let child = &mut self.child;
        let status = wait_for("the agent ends", deadline, || {
            child.try_wait().ok().flatten()
        });
        self.read_to_the_end();
        status
    }

    fn read_to_the_end(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().expect("no panic while logging");
        }
    }

    /// The path of the program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- log of {}\n{}", self.name, self.logged(&[]).join("\n"));
        }
    }
}

type Lines = Arc<Mutex<Vec<String>>>;

fn launch(
    program: &Path,
    name: &str,
    (grpc, http): (u16, u16),
    flags: &Vec<String>,
    lines: &Lines,
) -> (Child, Vec<JoinHandle<()>>) {
    let mut child = Command::new(program)
        .args(["run", "--instance", name])
        .args(["--grpc-listen", &format!("127.0.0.1:{grpc}")])
        .args(["--http-listen", &format!("127.0.0.1:{http}")])
        .args(flags)
        .env("RUST_LOG", "debug,h2=info,hyper=info,tower=info")
        .env("NO_COLOR", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the agent starts");
    let readers = vec![
        collect(child.stdout.take().expect("piped"), lines),
        collect(child.stderr.take().expect("piped"), lines),
    ];
    (child, readers)
}

fn collect(stream: impl Read + Send + 'static, lines: &Lines) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lines.lock().expect("no panic while logging").push(line);
        }
    })
}
