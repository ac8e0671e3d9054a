//! Tells systemd the agent's state, if it was started as `Type=notify`.
//! <https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html>

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// The socket from systemd; without one, nothing is sent.
#[derive(Debug, Clone)]
pub struct Notify(Option<Arc<(UnixDatagram, SocketAddr)>>);

impl Notify {
    /// Reads the socket from the environment.
    #[must_use]
    pub fn from_env() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self(None);
        };
        let open = || -> io::Result<_> {
            let address = match name.as_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name)?,
                None => SocketAddr::from_pathname(&name)?,
            };
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Ok(Arc::new((socket, address)))
        };
        let opened = open().map_err(|error| {
            tracing::warn!(%error, "NOTIFY_SOCKET cannot be used: systemd gets no messages");
        });
        Self(opened.ok())
    }

    /// How long systemd waits for a sign of life, if it expects any.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.0.as_ref()?;
        let for_us =
            env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let micros = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
        (for_us && micros > 0).then(|| Duration::from_micros(micros))
    }

    /// The agent serves: its sockets are bound, and it answers every connection from now on.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The agent was told to stop, and gives its term back.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// A sign of life.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// Does not wait for a message that cannot be sent: the watchdog's next one comes soon.
    fn send(&self, message: &str) {
        if let Some((socket, address)) = self.0.as_deref()
            && let Err(error) = socket.send_to_addr(message.as_bytes(), address)
        {
            tracing::warn!(%error, message, "cannot send a message to systemd");
        }
    }
}
