//! A client's socket as hyper sees it: with the first bytes given back, interim answers slipped in, and progress noted.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::client::{self, Progress};
use crate::closing;
use crate::listener::framing::Bounds;
use crate::listener::guard::Guard;
use crate::tls::stream::Stream;

/// What a client's connection is made of.
pub type Transport = Stream<TlsStream<Noted>>;

/// A socket under TLS. What rustls was given to write has not left yet, so progress is noted here.
pub struct Noted {
    socket: TcpStream,
    progress: Rc<Progress>,
}

impl Noted {
    /// A socket before hands are shaken.
    pub fn new(socket: TcpStream, progress: Rc<Progress>) -> Self {
        Self { socket, progress }
    }
}

impl AsyncRead for Noted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Noted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(cx, buf);
        noted(&self.progress, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        noted(&self.progress, outcome)
    }
}

fn noted<T>(progress: &Progress, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
    progress.stalled.set(outcome.is_pending());
    if outcome.is_ready() {
        progress.writes.set(progress.writes.get().wrapping_add(1));
    }
    outcome
}

/// The socket itself.
pub fn socket(transport: &Transport) -> &TcpStream {
    match transport {
        Stream::Plain(socket) => socket,
        Stream::Tls(stream) => &stream.get_ref().0.socket,
    }
}

/// Says a last word and the end of TLS, as far as the socket takes them at once.
pub fn say(transport: &mut Transport, words: &[u8]) {
    let stream = match transport {
        Stream::Plain(socket) => return drop(socket.try_write(words)),
        Stream::Tls(stream) => stream,
    };
    let (noted, session) = stream.get_mut();
    if session.writer().write_all(words).is_ok() {
        session.send_close_notify();
    }
    while session.wants_write() && session.write_tls(&mut AtOnce(&noted.socket)).is_ok_and(|written| written > 0) {}
}

/// Writes what the socket takes at once.
struct AtOnce<'a>(&'a TcpStream);

impl io::Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// See the module.
pub struct ClientIo {
    stream: TokioIo<Guard<Transport>>,
    progress: Rc<Progress>,
}

impl ClientIo {
    /// A transport from which `first` was read already. With `bounds`, what comes is HTTP/1.1 and guarded.
    pub(super) fn new(transport: Transport, first: Bytes, bounds: Option<Bounds>, progress: Rc<Progress>) -> Self {
        progress.unread_head.set(!first.is_empty());
        let guard = Guard::new(transport, first, bounds, Rc::clone(&progress));
        Self { stream: TokioIo::new(guard), progress }
    }

    /// Completes when there is something to read, or an end.
    pub async fn readable(&self) -> io::Result<()> {
        let guard = self.stream.inner();
        if guard.holds() { Ok(()) } else { socket(guard.stream()).readable().await }
    }

    /// Has hyper read these bytes again before any other.
    pub fn give_back(&mut self, bytes: &[u8]) {
        self.progress.unread_head.set(!bytes.is_empty());
        self.stream.inner_mut().take_back(bytes);
    }

    /// True when the client may be sending what nobody will read.
    pub(super) fn is_owed(&self) -> bool {
        self.stream.inner().is_owed()
    }

    /// The transport, for a last word after hyper let go.
    pub fn into_transport(self) -> Transport {
        self.stream.into_inner().into_stream()
    }

    fn is_tls(&self) -> bool {
        matches!(self.stream.inner().stream(), Stream::Tls(_))
    }

    /// True with TLS, between what is given on whole.
    fn may_be_over(&self) -> bool {
        self.is_tls() && !self.stream.inner().holds() && !self.progress.is_tunnel.get()
    }

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut interim = self.progress.interim.borrow_mut();
        while !interim.is_empty() {
            let outcome = Pin::new(&mut self.stream).poll_write(cx, &interim);
            match self.noted(outcome) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => interim.advance(written),
                other => return other.map_ok(drop),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// With TLS the socket below notes it.
    fn noted<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if self.is_tls() { outcome } else { noted(&self.progress, outcome) }
    }
}

impl client::Socket for TokioIo<ClientIo> {
    fn close_by_reset(&self) {
        closing::by_reset(socket(self.inner().stream.inner().stream()));
    }

    fn close_by_end(&self) {
        closing::by_end(socket(self.inner().stream.inner().stream()));
    }
}

impl Read for ClientIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        if outcome.is_ready() {
            self.progress.unread_head.set(true);
        }
        match outcome {
            // Many clients close without the end of TLS. Requests have an end of their own, so nothing is taken for whole
            // that is not; what is said in a tunnel has none.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof && self.may_be_over() => {
                Poll::Ready(Ok(()))
            }
            outcome => outcome,
        }
    }
}

impl Write for ClientIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_interim(cx))?;
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.noted(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_interim(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_interim(cx))?;
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.noted(outcome)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    const INTERIM: &[u8] = b"HTTP/1.1 103 Early Hints\r\n\r\n";

    async fn pair() -> (TcpStream, ClientIo, Rc<Progress>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let socket = listener.accept().await.unwrap().0;
        let progress = Rc::<Progress>::default();
        let io = ClientIo::new(Stream::Plain(socket), Bytes::new(), None, Rc::clone(&progress));
        (client, io, progress)
    }

    /// Writes until the client takes no more.
    async fn fill(io: &mut ClientIo) -> usize {
        let mut filled = 0;
        poll_fn(|cx| {
            while let Poll::Ready(written) = Pin::new(&mut *io).poll_write(cx, &[b'x'; 1 << 16]) {
                filled += written.unwrap();
            }
            Poll::Ready(filled)
        })
        .await
    }

    #[tokio::test]
    async fn an_interim_answer_falls_into_nothing_that_waits_to_be_written() {
        let (mut client, mut io, progress) = pair().await;

        let filled = fill(&mut io).await;
        progress.slip_in(INTERIM);
        let mut taken = vec![0; filled];
        client.read_exact(&mut taken).await.unwrap();
        poll_fn(|cx| Pin::new(&mut io).poll_write(cx, b"y")).await.unwrap();
        progress.slip_in(INTERIM);
        poll_fn(|cx| Pin::new(&mut io).poll_flush(cx)).await.unwrap();
        let mut rest = vec![0; 1 + INTERIM.len()];
        client.read_exact(&mut rest).await.unwrap();

        assert_eq!(rest, [b"y", INTERIM].concat());
    }

    #[tokio::test]
    async fn an_interim_answer_that_waits_itself_is_told_apart_from_progress() {
        let (_client, mut io, progress) = pair().await;

        fill(&mut io).await;
        progress.stalled.set(false);
        progress.slip_in(INTERIM);
        let flushed = poll_fn(|cx| Poll::Ready(Pin::new(&mut io).poll_flush(cx))).await;

        assert!(flushed.is_pending() && progress.stalled.get());
    }
}
