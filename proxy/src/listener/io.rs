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

/// See the module.
pub struct ClientIo {
    /// Read while telling the protocols apart.
    first: Bytes,
    stream: TokioIo<TcpStream>,
    progress: Rc<Progress>,
}

impl ClientIo {
    /// A socket from which `first` was read already.
    pub fn new(stream: TcpStream, first: Bytes, progress: Rc<Progress>) -> Self {
        progress.unread_head.set(!first.is_empty());
        Self { first, stream: TokioIo::new(stream), progress }
    }

    /// Completes when there is something to read, or an end.
    pub async fn readable(&self) -> io::Result<()> {
        if self.first.is_empty() { self.stream.inner().readable().await } else { Ok(()) }
    }

    /// Has hyper read these bytes again before any other. None of them keep no buffer.
    pub fn give_back(&mut self, bytes: Bytes) {
        self.progress.unread_head.set(!bytes.is_empty());
        self.first = if bytes.is_empty() { Bytes::new() } else { bytes };
    }

    /// The socket, for a last word after hyper let go.
    pub fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
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
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let length = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first.split_to(length));
            return Poll::Ready(Ok(()));
        }
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
