//! The servers' sockets, and what they know about the peer.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

/// More than a miner has ever sent when its connection breaks.
const MAX_UNREAD_BYTES: usize = 1 << 20;

/// One connection.
pub(super) struct Peer {
    stream: Either<TcpStream, UnixStream>,
    gone: PeerGone,
}

/// Set once the miner has ended something, and never reset.
#[derive(Debug, Clone, Default)]
pub(super) struct Ended(Arc<AtomicBool>);

/// The peer's FIN or RST was received on the connection of a request: a process that still acts has not
/// closed its socket, and a killed one has. Not set for a connection that we or the transport gave up on.
#[derive(Debug, Clone, Default)]
pub(super) struct PeerGone(pub Ended);

impl Ended {
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Peer {
    pub fn new(stream: Either<TcpStream, UnixStream>) -> Self {
        Self {
            stream,
            gone: PeerGone::default(),
        }
    }

    pub fn gone(&self) -> PeerGone {
        self.gone.clone()
    }

    /// Records that the peer has sent RST: the next read or write reports it.
    fn reset<T>(&self, result: &Poll<io::Result<T>>) {
        if let Poll::Ready(Err(error)) = result
            && error.kind() == io::ErrorKind::ConnectionReset
        {
            self.gone.0.set();
        }
    }

    /// A write may fail before the FIN that explains it was read. Nobody reads any more after that, so what stands
    /// before it is thrown away. A peer that only shut down its reading side has ended nothing.
    fn look_for_end(&mut self, cx: &mut Context<'_>) {
        let mut scrap = [0; 4096];
        for _ in 0..MAX_UNREAD_BYTES / scrap.len() {
            let mut unread = ReadBuf::new(&mut scrap);
            let read = Pin::new(&mut *self).poll_read(cx, &mut unread);
            if !matches!(read, Poll::Ready(Ok(()))) || unread.filled().is_empty() {
                return;
            }
        }
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buf.filled().len(), buf.remaining());
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        match &read {
            Poll::Ready(Ok(())) if room > 0 && buf.filled().len() == before => self.gone.0.set(),
            other => self.reset(other),
        }
        read
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.reset(&written);
        if let Poll::Ready(Err(error)) = &written
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            self.look_for_end(cx);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Removes the socket file when the agent stops, unless a new agent has put its own there.
pub struct SocketGuard {
    path: PathBuf,
    inode: Option<u64>,
}

impl SocketGuard {
    fn new(path: PathBuf) -> Self {
        let inode = inode(&path);
        Self { path, inode }
    }
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        if self.inode.is_some() && inode(&self.path) == self.inode {
            // If this fails, the next agent replaces the stale file.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    Some(std::fs::symlink_metadata(path).ok()?.ino())
}

/// Listens on a unix socket with mode 0660. Replaces a stale socket file, but no live socket and no file of
/// another kind.
///
/// # Errors
/// The path is taken, or cannot be used.
pub fn bind_unix(path: &Path) -> io::Result<(UnixListener, SocketGuard)> {
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(io::Error::other(
                "a file that is no socket stands there: remove it",
            ));
        }
        // Only a socket that refuses connections is stale: one that we may not connect to may be live.
        match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "another process listens there: stop it, or choose another path",
                ));
            }
            Err(error) => {
                return Err(io::Error::new(
                    error.kind(),
                    format!(
                        "cannot tell whether another process listens there ({error}): remove it, or choose another path"
                    ),
                ));
            }
        }
    }
    // Bind under another name and rename, so that no client finds a socket with other permissions.
    let mut own = path.as_os_str().to_owned();
    own.push(format!(".{}", std::process::id()));
    let own = PathBuf::from(own);
    let listener = UnixListener::bind(&own)?;
    let guard = SocketGuard::new(own.clone());
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o660))?;
    std::fs::rename(&own, path)?;
    drop(guard);
    Ok((listener, SocketGuard::new(path.to_owned())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    /// A peer that has sent something, and then did `ends` with its socket: is it gone, as a write finds?
    async fn gone_after(ends: impl FnOnce(std::os::unix::net::UnixStream)) -> bool {
        use std::io::Write;
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.write_all(b"unread").unwrap();
        ends(theirs);
        let mut peer = Peer::new(Either::Right(UnixStream::from_std(ours).unwrap()));
        let error = peer.write_all(b"too late").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        peer.gone().0.get()
    }

    #[tokio::test]
    async fn a_write_that_fails_first_finds_the_peer_gone() {
        assert!(gone_after(drop).await);
        let reads_no_more = |theirs: std::os::unix::net::UnixStream| {
            theirs.shutdown(std::net::Shutdown::Read).unwrap();
            std::mem::forget(theirs);
        };
        assert!(!gone_after(reads_no_more).await);
    }

    #[tokio::test]
    async fn a_successors_socket_is_left_alone() {
        let folder = std::env::temp_dir().join(format!("understudy-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("agent.sock");
        let (first, guard) = bind_unix(&path).unwrap();
        // It no longer listens, but its file still exists.
        drop(first);
        let (_second, successor) = bind_unix(&path).unwrap();
        drop(guard);
        assert!(path.exists());
        drop(successor);
        assert!(!path.exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
