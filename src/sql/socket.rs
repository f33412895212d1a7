//! The socket under a connection: opened, tuned, and watched for bytes that move.

use super::config::Host;
use parking_lot::Mutex;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Idle time before the first keepalive probe, time between probes, probes.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);
/// Unacknowledged data older than this breaks the connection.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// What has moved over a socket so far.
#[derive(Default)]
pub(super) struct Traffic {
    read: AtomicU64,
    written: AtomicU64,
    /// None once the socket is closed.
    fd: Mutex<Option<RawFd>>,
}

impl Traffic {
    /// A number that changes with every byte that came in or that the other side has taken.
    pub(super) fn moved(&self) -> u64 {
        let waiting = self.fd.lock().map_or(0, outgoing);
        let all = self.read.load(Ordering::Relaxed).wrapping_add(self.written.load(Ordering::Relaxed));
        all.wrapping_sub(waiting)
    }
}

/// Bytes that the kernel holds for the other side: not sent, or not acknowledged.
fn outgoing(fd: RawFd) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open (`Traffic::fd` is emptied before it closes), and the answer is an int.
    let done = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut bytes) };
    if done == 0 { u64::try_from(bytes).unwrap_or(0) } else { 0 }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// An open socket that counts.
pub(super) struct Socket {
    stream: Stream,
    traffic: Arc<Traffic>,
}

impl Socket {
    /// Connects; each of a name's addresses gets its share of the time.
    pub(super) async fn connect(host: &Host, port: u16, limit: Duration) -> io::Result<Socket> {
        let stream = match host {
            Host::Unix(dir) => Stream::Unix(UnixStream::connect(dir.join(format!(".s.PGSQL.{port}"))).await?),
            Host::Tcp { addr: Some(addr), .. } => {
                Stream::Tcp(first_of(&[SocketAddr::new(*addr, port)], limit).await?)
            }
            Host::Tcp { name, addr: None } => {
                let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), port)).await?.collect();
                Stream::Tcp(first_of(&found, limit).await?)
            }
        };
        if let Stream::Tcp(tcp) = &stream {
            tcp.set_nodelay(true)?;
            let socket = SockRef::from(tcp);
            let (idle, interval, probes) = KEEPALIVE;
            let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes);
            socket.set_tcp_keepalive(&keepalive)?;
            socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))?;
        }
        let fd = match &stream {
            Stream::Tcp(s) => s.as_raw_fd(),
            Stream::Unix(s) => s.as_raw_fd(),
        };
        let traffic = Traffic { fd: Mutex::new(Some(fd)), ..Traffic::default() };
        Ok(Socket { stream, traffic: Arc::new(traffic) })
    }

    /// What its owner may watch.
    pub(super) fn traffic(&self) -> Arc<Traffic> {
        self.traffic.clone()
    }

    fn noted(&self, done: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(n)) = &done {
            self.traffic.written.fetch_add(*n as u64, Ordering::Relaxed);
        }
        done
    }
}

/// The first address that answers.
async fn first_of(addresses: &[SocketAddr], limit: Duration) -> io::Result<TcpStream> {
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "lookup gave no address");
    for address in addresses {
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(e)) => last = e,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

impl Drop for Socket {
    fn drop(&mut self) {
        *self.traffic.fd.lock() = None;
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let done = match &mut self.stream {
            Stream::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Unix(s) => Pin::new(s).poll_read(cx, buf),
        };
        self.traffic.read.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        done
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = match &mut self.stream {
            Stream::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            Stream::Unix(s) => Pin::new(s).poll_write(cx, buf),
        };
        self.noted(done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = match &mut self.stream {
            Stream::Tcp(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Stream::Unix(s) => Pin::new(s).poll_write_vectored(cx, bufs),
        };
        self.noted(done)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets have nothing to flush.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Unix(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}
