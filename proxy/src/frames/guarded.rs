//! A transport of HTTP/2 whose frames are counted below hyper, and which ends when they may not be borne.
//!
//! What comes is seen before hyper has it, in a buffer on the stack: hyper's own may be written to, but not read.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use super::{Accounting, Breach};
use crate::clock::Clock;

/// Bytes that are read at a time: as many as a frame may have (RFC 9113 §4.2).
const CHUNK: usize = 16 * 1024;

/// Who hears of what passes.
pub trait Note {
    /// Bytes came; true when a head among them is not whole.
    fn came(&self, is_within_head: bool);

    /// The connection ends. Told once.
    fn ended(&self, breach: Breach);
}

/// See the module.
pub struct Guarded<T, N> {
    io: T,
    frames: Accounting,
    clock: Rc<Clock>,
    note: N,
    ended: Option<Breach>,
    /// Came from the socket, and is to wait.
    rest: Bytes,
    /// The streams have a turn before the rest is handed on.
    pauses: bool,
}

impl<T: Read + Write + Unpin, N: Note + Unpin> Guarded<T, N> {
    /// A transport on which no byte has passed.
    pub fn new(io: T, frames: Accounting, clock: Rc<Clock>, note: N) -> Self {
        Self { io, frames, clock, note, ended: None, rest: Bytes::new(), pauses: false }
    }

    /// How many of these bytes are handed on.
    fn look_at(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> io::Result<usize> {
        let now = self.clock.now();
        let taken = self.frames.received(bytes, now).map_err(|breach| self.end(breach, cx))?;
        self.note.came(self.frames.is_within_head());
        Ok(taken)
    }

    /// Hands on what came with a crowd of frames before it, after the streams had their turn.
    fn hand_rest(&mut self, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.pauses) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut rest = std::mem::take(&mut self.rest);
        let length = buf.remaining().min(rest.len());
        let taken = self.look_at(&rest[..length], cx)?;
        buf.put_slice(&rest[..taken]);
        rest.advance(taken);
        self.keep(rest);
        Poll::Ready(Ok(()))
    }

    fn keep(&mut self, rest: Bytes) {
        self.pauses = !rest.is_empty();
        self.rest = rest;
    }

    fn end(&mut self, breach: Breach, cx: &mut Context<'_>) -> io::Error {
        self.note.ended(breach);
        if let Some(farewell) = self.frames.farewell(breach) {
            // To a peer whose socket takes no more the closed connection tells the same.
            let _ = Pin::new(&mut self.io).poll_write(cx, &farewell);
        }
        self.ended = Some(breach);
        io::Error::other(breach)
    }

    fn still_on(&self) -> io::Result<()> {
        self.ended.map_or(Ok(()), |breach| Err(io::Error::other(breach)))
    }
}

impl<T: Read + Write + Unpin, N: Note + Unpin> Read for Guarded<T, N> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.still_on()?;
        if !self.rest.is_empty() {
            return self.hand_rest(cx, buf);
        }
        let mut room = [MaybeUninit::uninit(); CHUNK];
        let length = buf.remaining().min(CHUNK);
        let mut chunk = ReadBuf::uninit(&mut room[..length]);
        ready!(Pin::new(&mut self.io).poll_read(cx, chunk.unfilled()))?;
        let taken = self.look_at(chunk.filled(), cx)?;
        let (handed, rest) = chunk.filled().split_at(taken);
        buf.put_slice(handed);
        self.keep(Bytes::copy_from_slice(rest));
        Poll::Ready(Ok(()))
    }
}

impl<T: Read + Write + Unpin, N: Note + Unpin> Write for Guarded<T, N> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.still_on()?;
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.frames.sent(buf.get(..written).unwrap_or(buf));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.still_on()?;
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
        let mut left = written;
        for buf in bufs {
            let taken = left.min(buf.len());
            self.frames.sent(&buf[..taken]);
            left -= taken;
        }
        Poll::Ready(Ok(written))
    }
}
