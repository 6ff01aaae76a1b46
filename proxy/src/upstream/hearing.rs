//! An upstream's socket as hyper sees it: one that takes no more is heard out, because what it says explains why.
//!
//! An origin may answer before it has read the request, and close. To hyper the write that fails then ends the connection,
//! whether the answer has arrived or not (RFC 9112 §9.5 has a client watch for it).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

/// See the module. Once a write or a flush has failed, none completes: reading tells how the connection ends.
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
        // A socket of TLS takes bytes that it has not sent, and says so here.
        let outcome = Pin::new(&mut self.socket).poll_flush(cx);
        self.heard(outcome)
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

#[cfg(test)]
mod tests {
    use hyper::rt::ReadBuf;

    use super::*;

    /// A socket whose peer has spoken and left: it takes bytes, and finds out when it is to send them.
    struct Left;

    impl Read for Left {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
            buf.put_slice(b"full");
            Poll::Ready(Ok(()))
        }
    }

    impl Write for Left {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn who_finds_the_peer_gone_only_when_bytes_are_sent_hears_it_out() {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut socket = Hearing::new(Left);
        assert!(matches!(Pin::new(&mut socket).poll_write(&mut cx, b"more"), Poll::Ready(Ok(4))));

        assert!(Pin::new(&mut socket).poll_flush(&mut cx).is_pending());

        assert!(Pin::new(&mut socket).poll_write(&mut cx, b"more").is_pending());
        let (mut bytes, mut space) = ([0; 4], [std::mem::MaybeUninit::uninit(); 4]);
        let mut read = ReadBuf::uninit(&mut space);
        assert!(matches!(Pin::new(&mut socket).poll_read(&mut cx, read.unfilled()), Poll::Ready(Ok(()))));
        bytes.copy_from_slice(read.filled());
        assert_eq!(&bytes, b"full");
    }
}
