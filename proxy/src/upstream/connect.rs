//! A new connection to an endpoint: TCP, and HTTP/1.1 or HTTP/2 on it. TLS between them is `tls::client`'s.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http2;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use crate::telemetry::metrics::ClusterSeries;
use crate::tls::stream::Stream;
use crate::upstream::cluster::PeerLimits;
use crate::upstream::h1;
use crate::upstream::h2::upload::Upload;
use crate::upstream::h2::wire::Wire;
use crate::upstream::outgoing;
use crate::upstream::pool::{Connection, Ends, Transport};

/// The flow-control window of one HTTP/2 stream, and how much of one request may wait for the endpoint to read.
const WINDOW: u32 = 64 * 1024;
/// The largest window (RFC 9113 §6.9.1).
const LARGEST_WINDOW: u32 = (1 << 31) - 1;
/// Streams whose late frames are ignored after they were reset: clients leave in crowds.
const RESET_STREAMS: usize = 1024;
/// How long sent bytes may stay without an acknowledgement before a shared connection counts as dead.
const SILENCE: Duration = Duration::from_secs(30);
/// How often a quiet shared connection is asked for a sign of life, and how often in vain. These are probes of TCP: many
/// gRPC servers close a connection that sends HTTP/2 pings.
const PROBES: (Duration, u32) = (Duration::from_secs(10), 3);

/// Tasks of a connection stay on its worker.
#[derive(Clone, Copy, Debug)]
pub struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// The HTTP/2 side of a connection: where requests go in, and what must be polled for them to go out.
pub(super) type Http2 = (http2::SendRequest<Upload>, http2::Connection<Wire, Upload, LocalExecutor>);

/// Speaks HTTP/1.1 on a fresh connection.
pub fn http1((stream, ends): (Transport, Ends), limits: PeerLimits, series: &Arc<ClusterSeries>) -> Connection {
    Connection { speaker: h1::Connection::new(stream, limits, Open::new(series)), ends: Rc::new(ends) }
}

/// Counts a connection as long as it is open.
pub(super) struct Open(Arc<ClusterSeries>);

impl Open {
    /// A new one.
    pub(super) fn new(series: &Arc<ClusterSeries>) -> Self {
        series.connections.inc();
        series.connections_active.add(1);
        Self(Arc::clone(series))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections_active.add(-1);
    }
}

/// A task that ends when this is dropped.
pub struct Task(JoinHandle<()>);

impl Task {
    /// From here on it ends with this.
    pub fn new(task: JoinHandle<()>) -> Self {
        Self(task)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Speaks HTTP/2 on a connected socket.
pub(super) async fn http2(wire: Wire, limits: PeerLimits) -> io::Result<Http2> {
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .initial_stream_window_size(WINDOW)
        // Room for every stream: one whose client does not read must not stop its neighbours.
        .initial_connection_window_size(WINDOW.saturating_mul(limits.streams).clamp(WINDOW, LARGEST_WINDOW))
        .max_send_buf_size(WINDOW as usize)
        .max_concurrent_reset_streams(RESET_STREAMS)
        .max_header_list_size(u32::try_from(limits.bytes).unwrap_or(u32::MAX));
    builder.handshake(wire).await.map_err(io::Error::other)
}

/// The socket of a connection.
pub(super) fn socket(transport: &Transport) -> &TcpStream {
    match transport {
        Stream::Plain(socket) => socket,
        Stream::Tls(stream) => stream.get_ref().0,
    }
}

/// Has the kernel find out that the peer of a connection, on which many exchanges depend, is gone.
pub(super) fn watch(stream: &TcpStream) -> io::Result<()> {
    let (interval, retries) = PROBES;
    let probes = TcpKeepalive::new().with_time(interval).with_interval(interval).with_retries(retries);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_tcp_user_timeout(Some(SILENCE))
}

/// Connects, without a protocol, with a socket that has a mark.
pub async fn dial(address: SocketAddr, mark: Option<u32>) -> io::Result<(TcpStream, Ends)> {
    let stream = open(address, mark).await?;
    stream.set_nodelay(true)?;
    let (address, local) = (stream.peer_addr()?, stream.local_addr()?);
    let ends = Ends { address, local, secured: None, noted: outgoing::note(local, address).map(Arc::new) };
    Ok((stream, ends))
}

/// A connected socket.
pub(super) async fn open(address: SocketAddr, mark: Option<u32>) -> io::Result<TcpStream> {
    let Some(mark) = mark else { return TcpStream::connect(address).await };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    SockRef::from(&socket).set_mark(mark)?;
    socket.connect(address).await
}

/// Whether this process may mark its sockets.
pub fn may_mark(mark: u32) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_mark(mark).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => io::Error::new(error.kind(), "that needs the capability CAP_NET_ADMIN"),
        _ => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_watches_a_shared_connection() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (stream, _) = dial(listener.local_addr().unwrap(), None).await.unwrap();

        watch(&stream).unwrap();

        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), PROBES.0);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(SILENCE));
    }
}
