//! Bytes on their way to a socket: small ones are copied together, a large piece is written from where it lies.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

/// The largest piece that is copied behind what waits.
const COPIED: usize = 4 * 1024;
/// What may wait before no more is taken.
const ROOM: usize = 16 * 1024;

/// See the module. Written in the order in which the fields stand.
#[derive(Default)]
pub(crate) struct Out {
    small: BytesMut,
    large: Bytes,
    /// Behind the large piece.
    tail: &'static [u8],
    /// What the socket took may not all have left: TLS makes something else of it first.
    unflushed: bool,
}

impl Out {
    /// Where a head is written to, or what stands before a piece. Only while there is room.
    pub(crate) fn small(&mut self) -> &mut BytesMut {
        &mut self.small
    }

    /// Adds a piece, with `tail` behind it. Only while there is room.
    pub(crate) fn push(&mut self, piece: Bytes, tail: &'static [u8]) {
        if piece.len() <= COPIED {
            self.small.extend_from_slice(&piece);
            self.small.extend_from_slice(tail);
        } else {
            (self.large, self.tail) = (piece, tail);
        }
    }

    /// Adds the last chunk (RFC 9112 §7.1), behind a piece that fills the room, too.
    pub(crate) fn push_last_chunk(&mut self) {
        if self.large.is_empty() {
            self.small.extend_from_slice(b"0\r\n\r\n");
        } else {
            self.tail = b"\r\n0\r\n\r\n";
        }
    }

    /// True while more may be added.
    pub(crate) fn has_room(&self) -> bool {
        self.large.is_empty() && self.tail.is_empty() && self.small.len() < ROOM
    }

    /// True when nothing waits, and what TLS made of it has left.
    pub(crate) fn is_empty(&self) -> bool {
        !self.unflushed && self.is_taken()
    }

    fn is_taken(&self) -> bool {
        self.small.is_empty() && self.large.is_empty() && self.tail.is_empty()
    }

    /// Writes all of it.
    pub(crate) fn poll_write(
        &mut self,
        mut socket: Pin<&mut (impl AsyncWrite + ?Sized)>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_taken() {
            let written = ready!(self.poll_some(socket.as_mut(), cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(socket.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// What waits.
    #[cfg(test)]
    pub(crate) fn whole(&self) -> Vec<u8> {
        [&self.small[..], &self.large, self.tail].concat()
    }

    fn poll_some(&self, socket: Pin<&mut (impl AsyncWrite + ?Sized)>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.large.is_empty() && self.tail.is_empty() {
            return socket.poll_write(cx, &self.small);
        }
        let slices = [IoSlice::new(&self.small), IoSlice::new(&self.large), IoSlice::new(self.tail)];
        let first = slices.iter().take_while(|slice| slice.is_empty()).count();
        socket.poll_write_vectored(cx, &slices[first..])
    }

    fn advance(&mut self, mut written: usize) {
        let small = written.min(self.small.len());
        if small == self.small.len() {
            // Its memory serves on, which `advance` would give up.
            self.small.clear();
        } else {
            self.small.advance(small);
        }
        written -= small;
        let large = written.min(self.large.len());
        self.large.advance(large);
        self.tail = &self.tail[written - large..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes at a time, and keeps them to itself while it is stuck.
    struct Narrow {
        width: usize,
        taken: Vec<u8>,
        is_stuck: bool,
    }

    impl Narrow {
        fn new(width: usize) -> Narrow {
            Narrow { width, taken: Vec::new(), is_stuck: false }
        }
    }

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let length = buf.len().min(self.width);
            self.taken.extend_from_slice(&buf[..length]);
            Poll::Ready(Ok(length))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = bufs.iter().flat_map(|slice| slice.iter().copied()).take(self.width).collect();
            self.taken.extend_from_slice(&all);
            Poll::Ready(Ok(all.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.is_stuck { Poll::Pending } else { Poll::Ready(Ok(())) }
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_was_added_is_written_in_order_however_little_the_socket_takes() {
        let large = Bytes::from(vec![b'x'; 2 * COPIED]);
        let whole = [b"head", &b"small"[..], b"\r\n", b"size\r\n", &large, b"\r\n"].concat();
        for width in [1, 3, 4, 5, 11, 17, COPIED, 3 * COPIED] {
            let (mut out, mut socket) = (Out::default(), Narrow::new(width));
            out.small().extend_from_slice(b"head");
            out.push(Bytes::from_static(b"small"), b"\r\n");
            out.small().extend_from_slice(b"size\r\n");
            out.push(large.clone(), b"\r\n");
            assert!(!out.has_room());

            let written = out.poll_write(Pin::new(&mut socket), &mut Context::from_waker(std::task::Waker::noop()));

            assert!(matches!(written, Poll::Ready(Ok(()))) && out.is_empty() && out.has_room());
            assert!(socket.taken == whole, "{width}");
        }
    }

    #[test]
    fn what_the_socket_keeps_to_itself_has_not_left() {
        let (mut out, mut socket) = (Out::default(), Narrow { is_stuck: true, ..Narrow::new(COPIED) });
        let mut cx = Context::from_waker(std::task::Waker::noop());
        out.small().extend_from_slice(b"head");

        let held = out.poll_write(Pin::new(&mut socket), &mut cx);

        assert!(held.is_pending() && !out.is_empty() && socket.taken == b"head");
        socket.is_stuck = false;
        assert!(out.poll_write(Pin::new(&mut socket), &mut cx).is_ready() && out.is_empty());
    }

    #[test]
    fn a_socket_that_takes_nothing_has_failed() {
        let (mut out, mut socket) = (Out::default(), Narrow::new(0));
        out.push(Bytes::from_static(b"x"), b"");

        let written = out.poll_write(Pin::new(&mut socket), &mut Context::from_waker(std::task::Waker::noop()));

        assert!(matches!(written, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::WriteZero));
    }
}
