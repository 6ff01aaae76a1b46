//! Two connections with bytes going both ways between them, each way at the pace of whoever reads it.
//!
//! A way reads nothing more while its target has not taken what there is.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::Socket;
use crate::owed::Owed;
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
                Err(Miss::Source) => return (Poll::Ready(Err(Broken::Client)), moved),
                Err(Miss::Target) => return (Poll::Ready(Err(Broken::Upstream)), moved),
            };
            let down = match self.down.step(cx, &mut *self.upstream, &mut *self.client) {
                Ok(moved) => moved,
                Err(Miss::Source) => return (Poll::Ready(Err(Broken::Upstream)), moved),
                Err(Miss::Target) => return (Poll::Ready(Err(Broken::Client)), moved),
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
        !self.up.owed.is_empty() || !self.down.owed.is_empty()
    }

    /// Bytes that came from the client, and bytes that went to it.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.up.read, self.down.owed.written())
    }
}

/// Which end of a way broke off.
enum Miss {
    Source,
    Target,
}

/// One way.
struct Way {
    /// What was read and is not yet written.
    owed: Owed,
    /// The source said its end.
    ended: bool,
    /// The target heard the end, or hears nothing more.
    shut: bool,
    read: u64,
}

impl Way {
    fn new(early: Bytes) -> Self {
        let read = u64::try_from(early.len()).unwrap_or(u64::MAX);
        Self { owed: Owed::new(early), ended: false, shut: false, read }
    }

    /// Writes what there is, then reads a chunk; true when anything moved.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin + ?Sized),
        to: &mut (impl AsyncWrite + Unpin + ?Sized),
    ) -> Result<bool, Miss> {
        if self.shut {
            return Ok(false);
        }
        match self.owed.write(cx, to) {
            Ok(moved) if !self.owed.is_empty() => Ok(moved),
            Ok(moved) if self.ended => Ok(self.say_end(cx, to) || moved),
            Ok(moved) => Ok(self.read(cx, from, to)? || moved),
            Err(error) => self.miss(&error),
        }
    }

    /// Says the end on; true when it has left.
    fn say_end(&mut self, cx: &mut Context<'_>, to: &mut (impl AsyncWrite + Unpin + ?Sized)) -> bool {
        // Whether the target takes it or is gone, it hears nothing more.
        self.shut = Pin::new(to).poll_shutdown(cx).is_ready();
        self.shut
    }

    /// Reads once, and writes at once what the target takes.
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin + ?Sized),
        to: &mut (impl AsyncWrite + Unpin + ?Sized),
    ) -> Result<bool, Miss> {
        let mut space = [const { MaybeUninit::uninit() }; CHUNK];
        let mut chunk = ReadBuf::uninit(&mut space);
        if Pin::new(from).poll_read(cx, &mut chunk).map_err(|_| Miss::Source)?.is_pending() {
            return Ok(false);
        }
        let bytes = chunk.filled();
        self.ended = bytes.is_empty();
        self.read = self.read.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        match self.owed.pass(cx, to, bytes) {
            Ok(()) => Ok(true),
            Err(error) => self.miss(&error),
        }
    }

    /// The target takes nothing more; true, for that is a step. It may still have something to say, and its other way tells
    /// how it ended; but for a reset without an end before it, which the system tells only once.
    fn miss(&mut self, error: &io::Error) -> Result<bool, Miss> {
        if error.kind() == io::ErrorKind::ConnectionReset {
            return Err(Miss::Target);
        }
        self.owed.forget();
        self.shut = true;
        Ok(true)
    }
}
