//! A client's socket as hyper sees it: with the first bytes given back, interim answers slipped in, and progress noted.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::client::Progress;
use crate::listener::framing::Bounds;
use crate::listener::guard::Guard;

/// See the module.
pub struct ClientIo {
    stream: TokioIo<Guard<TcpStream>>,
    progress: Rc<Progress>,
}

impl ClientIo {
    /// A socket from which `first` was read already. With `bounds`, what comes is HTTP/1.1 and guarded.
    pub(super) fn new(stream: TcpStream, first: Bytes, bounds: Option<Bounds>, progress: Rc<Progress>) -> Self {
        progress.unread_head.set(!first.is_empty());
        let guard = Guard::new(stream, first, bounds, Rc::clone(&progress));
        Self { stream: TokioIo::new(guard), progress }
    }

    /// True when the client may be sending what nobody will read.
    pub(super) fn is_owed(&self) -> bool {
        self.stream.inner().is_owed()
    }

    /// The socket, for a last word after hyper let go.
    pub fn into_stream(self) -> TcpStream {
        self.stream.into_inner().into_stream()
    }

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut interim = self.progress.interim.borrow_mut();
        while !interim.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &interim) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => interim.advance(written),
                other => return other.map_ok(drop),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn noted<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.progress.stalled.set(outcome.is_pending());
        if outcome.is_ready() {
            self.progress.writes.set(self.progress.writes.get().wrapping_add(1));
        }
        outcome
    }
}

impl Read for ClientIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        if outcome.is_ready() {
            self.progress.unread_head.set(true);
        }
        outcome
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
