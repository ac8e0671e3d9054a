//! The agent as systemd starts it, with a real notify socket.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use stage::program;

const SOON: Duration = Duration::from_secs(10);

struct Unit {
    agent: Child,
    socket: UnixDatagram,
}

impl Unit {
    /// Started with this name of a notify socket, in a folder for its gRPC socket.
    fn start(socket: UnixDatagram, name: &str, folder: &Path) -> Self {
        socket.set_read_timeout(Some(SOON)).expect("a timeout");
        let agent = Command::new(program("UNDERSTUDY_BIN", "understudy"))
            .args([
                "run",
                "--instance",
                "a",
                "--redis-url",
                "redis://127.0.0.1:1",
            ])
            .args(["--http-listen", "127.0.0.1:0", "--grpc-listen", "off"])
            .arg("--grpc-socket")
            .arg(folder.join("grpc.sock"))
            .env("NOTIFY_SOCKET", name)
            .env("WATCHDOG_USEC", "1000000")
            .env_remove("WATCHDOG_PID")
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        Self { agent, socket }
    }

    /// The next message to systemd.
    fn told(&self) -> String {
        let mut message = [0; 128];
        let length = self.socket.recv(&mut message).expect("systemd is told");
        String::from_utf8_lossy(&message[..length]).into_owned()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.agent.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process"), signal).expect("it is told");
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = (self.agent.kill(), self.agent.wait());
    }
}

#[test]
fn systemd_is_told_when_the_agent_serves_that_it_lives_and_that_it_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let unit = Unit::start(socket, &path.display().to_string(), folder.path());
    let first = unit.told();
    // At once, so that services which depend on it need not retry.
    UnixStream::connect(folder.path().join("grpc.sock")).expect("it serves");
    assert_eq!(first, "READY=1");
    for _ in 0..3 {
        assert_eq!(unit.told(), "WATCHDOG=1");
    }
    unit.signal(Signal::TERM);
    let mut last = unit.told();
    while last == "WATCHDOG=1" {
        last = unit.told();
    }
    assert_eq!(last, "STOPPING=1");
}

/// An abstract socket, as systemd uses for services in a container.
#[test]
fn the_notify_socket_may_be_an_abstract_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = format!("understudy-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = UnixDatagram::bind_addr(&address).expect("a socket");
    let unit = Unit::start(socket, &format!("@{name}"), folder.path());
    assert_eq!(unit.told(), "READY=1");
}
