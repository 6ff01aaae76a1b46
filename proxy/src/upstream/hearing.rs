//! An upstream's socket as hyper sees it: one that takes no more is heard out, because what it says explains why.
//!
//! An origin may answer before it has read the request, and close. To hyper the write that fails then ends the connection,
//! whether the answer has arrived or not (RFC 9112 §9.5 has a client watch for it).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

/// See the module. Once a write has failed, none completes: reading tells how the connection ends.
pub(super) struct Hearing<S> {
    socket: S,
    is_deaf: bool,
}

impl<S> Hearing<S> {
    /// A connected socket.
    pub(super) fn new(socket: S) -> Self {
        Self { socket, is_deaf: false }
    }

    /// The socket itself.
    pub(super) fn into_socket(self) -> S {
        self.socket
    }

    /// A failed write waits for the reader to find out.
    fn heard<T>(&mut self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.is_deaf |= matches!(outcome, Poll::Ready(Err(_)));
        if self.is_deaf { Poll::Pending } else { outcome }
    }
}

impl<S: Read + Unpin> Read for Hearing<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl<S: Write + Unpin> Write for Hearing<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.heard(outcome)
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
        self.heard(outcome)
    }
}
