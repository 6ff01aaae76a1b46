//! A client's socket as hyper sees it: with the first bytes given back, interim answers slipped in, and progress noted.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What a connection's I/O, its exchanges and its watchdog tell each other.
#[derive(Default)]
pub struct Progress {
    /// Bytes read since the last exchange began or ended.
    pub unread_head: Cell<bool>,
    /// True while a write waits for the client.
    pub stalled: Cell<bool>,
    /// Interim answers (RFC 9110 §15.2) to be written before the next byte of hyper's.
    interim: RefCell<BytesMut>,
    waker: Cell<Option<Waker>>,
}

impl Progress {
    /// Has an interim answer written as soon as the connection is polled, and polls it.
    pub fn interim(&self, bytes: &[u8]) {
        self.interim.borrow_mut().extend_from_slice(bytes);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whom `interim` wakes.
    pub fn register(&self, waker: &Waker) {
        let kept = self.waker.take().filter(|known| known.will_wake(waker));
        self.waker.set(Some(kept.unwrap_or_else(|| waker.clone())));
    }
}

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
