//! The TCP listeners.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context;
use rustix::io::Errno;
use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::{TcpListener, TcpSocket};

/// How many connections may wait in the kernel to be accepted; `net.core.somaxconn` may allow fewer. The kernel drops
/// any more, and the peer tries again after a second.
const BACKLOG: u32 = 4096;

/// Listens on an address; `[::]` is every address of both families, or `0.0.0.0` if the kernel has no IPv6.
///
/// # Errors
/// The address is taken, or cannot be used.
fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    match address.ip() {
        IpAddr::V4(_) => listen(TcpSocket::new_v4()?, address),
        IpAddr::V6(ip) if ip.is_unspecified() => bind_both(TcpSocket::new_v6(), address.port()),
        IpAddr::V6(_) => listen(TcpSocket::new_v6()?, address),
    }
}

/// Listens on the address of a flag; `None` if it is `off`.
///
/// # Errors
/// The address is taken, or cannot be used; the error says what to do.
pub fn bind_flag(address: Option<SocketAddr>, flag: &str) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else {
        return Ok(None);
    };
    let bound = bind_tcp(address).with_context(|| {
        format!(
            "--{flag}={address}: cannot listen there; stop what does, or choose another address"
        )
    });
    bound.map(Some)
}

fn bind_both(socket: io::Result<TcpSocket>, port: u16) -> io::Result<TcpListener> {
    let both = socket.and_then(|socket| {
        // Independent of net.ipv6.bindv6only.
        set_ipv6_v6only(&socket, false)?;
        listen(socket, (Ipv6Addr::UNSPECIFIED, port).into())
    });
    match both {
        Err(error) if has_no_ipv6(&error) => {
            listen(TcpSocket::new_v4()?, (Ipv4Addr::UNSPECIFIED, port).into())
        }
        both => both,
    }
}

fn listen(socket: TcpSocket, address: SocketAddr) -> io::Result<TcpListener> {
    // A restarted agent need not wait for the connections of the previous one.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn has_no_ipv6(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn answers(on: impl Into<IpAddr>, port: u16) -> bool {
        TcpStream::connect((on.into(), port)).is_ok()
    }

    #[tokio::test]
    async fn one_socket_is_for_both_families_whatever_the_kernels_default() {
        let Ok(socket) = TcpSocket::new_v6() else {
            return println!("skipped: this kernel has no IPv6");
        };
        set_ipv6_v6only(&socket, true).unwrap();
        let listener = bind_both(Ok(socket), 0).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(answers(Ipv4Addr::LOCALHOST, port) && answers(Ipv6Addr::LOCALHOST, port));
    }

    #[tokio::test]
    async fn without_ipv6_it_is_ipv4() {
        let none = Err(io::Error::from(Errno::AFNOSUPPORT));
        let listener = bind_both(none, 0).unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(address.ip(), Ipv4Addr::UNSPECIFIED);
        assert!(answers(Ipv4Addr::LOCALHOST, address.port()));
        // Report any other error.
        assert!(bind_both(Err(io::Error::from(Errno::MFILE)), 0).is_err());
    }

    #[tokio::test]
    async fn ipv4_is_ipv4_only() {
        let listener = bind_tcp((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(answers(Ipv4Addr::LOCALHOST, port) && !answers(Ipv6Addr::LOCALHOST, port));
    }
}
