//! Two connections with bytes going both ways between them, each way at the pace of whoever reads it.
//!
//! A way holds what its target did not take and reads nothing more meanwhile; while nothing moves it holds no buffer.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::Socket;
use crate::upstream::pool::Transport;

/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;

/// Whose connection broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Client,
    Upstream,
}

/// See the module.
pub(super) struct Relay<'a> {
    client: &'a mut dyn Socket,
    upstream: &'a mut Transport,
    up: Way,
    down: Way,
}

impl<'a> Relay<'a> {
    /// Both sides, each with what was read of it already.
    pub(super) fn new(
        (client, early): (&'a mut dyn Socket, Bytes),
        (upstream, late): (&'a mut Transport, Bytes),
    ) -> Self {
        Self { client, upstream, up: Way::new(early), down: Way::new(late) }
    }

    /// Moves what can be moved. Completes when both sides have heard each other's end, or one broke off; the other answer is
    /// whether anything moved.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> (Poll<Result<(), Broken>>, bool) {
        let mut moved = false;
        loop {
            let up = match self.up.step(cx, &mut *self.client, &mut *self.upstream) {
                Ok(moved) => moved,
                Err(_) => return (Poll::Ready(Err(Broken::Client)), moved),
            };
            let down = match self.down.step(cx, &mut *self.upstream, &mut *self.client) {
                Ok(moved) => moved,
                Err(_) => return (Poll::Ready(Err(Broken::Upstream)), moved),
            };
            if self.up.shut && self.down.shut {
                return (Poll::Ready(Ok(())), true);
            }
            if !(up || down) {
                return (Poll::Pending, moved);
            }
            moved = true;
        }
    }

    /// True when the client may be sending what the upstream did not take.
    pub(super) fn is_owed(&self) -> bool {
        !self.up.ended
    }

    /// True while there are bytes that their target did not take.
    pub(super) fn owes(&self) -> bool {
        self.up.owes() || self.down.owes()
    }

    /// Bytes that came from the client, and bytes that went to it.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.up.read, self.down.written)
    }
}

/// One way.
struct Way {
    /// Read and not yet written.
    rest: Bytes,
    /// Written and not yet flushed.
    unflushed: bool,
    /// The source said its end.
    ended: bool,
    /// The target heard the end, or hears nothing more.
    shut: bool,
    read: u64,
    written: u64,
}

impl Way {
    fn new(early: Bytes) -> Self {
        let read = u64::try_from(early.len()).unwrap_or(u64::MAX);
        Self { rest: early, unflushed: false, ended: false, shut: false, read, written: 0 }
    }

    /// Writes what there is, then reads a chunk; true when anything moved. Fails only where the source does: a target that
    /// takes nothing more may still have something to say, and its other way tells how it ended.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin + ?Sized),
        to: &mut (impl AsyncWrite + Unpin + ?Sized),
    ) -> io::Result<bool> {
        if self.shut {
            return Ok(false);
        }
        match self.write(cx, to) {
            Poll::Ready(Ok(moved)) if moved || self.shut => Ok(true),
            Poll::Ready(Ok(_)) => self.read(cx, from, to),
            Poll::Ready(Err(_)) => {
                self.give_up();
                Ok(true)
            }
            Poll::Pending => Ok(false),
        }
    }

    /// Completes when nothing is left to be written, with whether anything was.
    fn write(&mut self, cx: &mut Context<'_>, to: &mut (impl AsyncWrite + Unpin + ?Sized)) -> Poll<io::Result<bool>> {
        let mut moved = false;
        while !self.rest.is_empty() {
            match Pin::new(&mut *to).poll_write(cx, &self.rest)? {
                Poll::Ready(length) => {
                    self.count(length)?;
                    self.rest.advance(length);
                    moved = true;
                }
                Poll::Pending if moved => return Poll::Ready(Ok(true)),
                Poll::Pending => return Poll::Pending,
            }
        }
        // It holds on to no bytes that were all written.
        self.rest = Bytes::new();
        if self.unflushed {
            match Pin::new(&mut *to).poll_flush(cx)? {
                Poll::Ready(()) => self.unflushed = false,
                Poll::Pending if moved => return Poll::Ready(Ok(true)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.ended {
            std::task::ready!(Pin::new(to).poll_shutdown(cx))?;
            self.shut = true;
        }
        Poll::Ready(Ok(moved))
    }

    /// Reads once, and writes at once what the target takes.
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin + ?Sized),
        to: &mut (impl AsyncWrite + Unpin + ?Sized),
    ) -> io::Result<bool> {
        let mut space = [const { MaybeUninit::uninit() }; CHUNK];
        let mut chunk = ReadBuf::uninit(&mut space);
        if Pin::new(from).poll_read(cx, &mut chunk)?.is_pending() {
            return Ok(false);
        }
        let bytes = chunk.filled();
        if bytes.is_empty() {
            self.ended = true;
            return Ok(true);
        }
        self.read = self.read.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let taken = match Pin::new(to).poll_write(cx, bytes) {
            Poll::Ready(Ok(length)) if self.count(length).is_ok() => length,
            Poll::Ready(_) => {
                self.give_up();
                return Ok(true);
            }
            Poll::Pending => 0,
        };
        self.rest = Bytes::copy_from_slice(&bytes[taken..]);
        Ok(true)
    }

    fn count(&mut self, written: usize) -> io::Result<()> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.unflushed = true;
        self.written = self.written.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        Ok(())
    }

    fn owes(&self) -> bool {
        self.unflushed || !self.rest.is_empty()
    }

    /// The target takes nothing more.
    fn give_up(&mut self) {
        self.rest = Bytes::new();
        self.unflushed = false;
        self.shut = true;
    }
}
