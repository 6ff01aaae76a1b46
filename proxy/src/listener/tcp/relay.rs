//! Two sockets with bytes going both ways between them, each way at the pace of whoever reads it.

use std::io;
use std::net::Shutdown;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use socket2::SockRef;
use tokio::net::TcpStream;

/// Bytes that are read at once. Nothing more is read before they are written, so this is all that one way holds.
const CHUNK: usize = 32 * 1024;

/// One of the two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Upstream,
}

/// A peer is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) side: Side,
    /// It had said its end before, and the other side was told all of it.
    pub(super) was_whole: bool,
}

/// See the module.
pub(super) struct Relay<'a> {
    client: &'a TcpStream,
    upstream: &'a TcpStream,
    up: Way,
    down: Way,
}

impl<'a> Relay<'a> {
    /// Nothing was read yet.
    pub(super) fn new(client: &'a TcpStream, upstream: &'a TcpStream) -> Self {
        Self { client, upstream, up: Way::default(), down: Way::default() }
    }

    /// Moves what can be moved. Completes when both ways have come to their end, or a peer broke off; otherwise answers
    /// whether anything moved.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> (Poll<Result<(), Broken>>, bool) {
        let mut moved = false;
        loop {
            match self.step(cx) {
                Ok(_) if self.is_over() => return (Poll::Ready(Ok(())), true),
                Ok(false) => return (Poll::Pending, moved),
                Ok(true) => moved = true,
                Err(broken) => return (Poll::Ready(Err(broken)), moved),
            }
        }
    }

    fn is_over(&self) -> bool {
        self.up.shut && self.down.shut
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Result<bool, Broken> {
        let client = (self.client, Side::Client);
        let upstream = (self.upstream, Side::Upstream);
        let up = match self.up.step(cx, client, upstream) {
            // It had no use for the rest of what the client says, and the client still gets all of its answer.
            Err(Side::Upstream) if self.down.ended => {
                self.up.discard();
                true
            }
            outcome => outcome.map_err(|side| self.broken(side))?,
        };
        let down = self.down.step(cx, upstream, client).map_err(|side| self.broken(side))?;
        Ok(up || down)
    }

    fn broken(&self, side: Side) -> Broken {
        let own = if side == Side::Client { &self.up } else { &self.down };
        Broken { side, was_whole: own.shut }
    }

    /// Bytes read from the client, and bytes written to it.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.up.read, self.down.written)
    }
}

/// One way, with what was read and not yet written.
#[derive(Default)]
struct Way {
    out: Bytes,
    /// The source said its end.
    ended: bool,
    /// The end was said on.
    shut: bool,
    /// The target takes nothing more: what the source says is dropped, so that closing does not reset the source.
    discards: bool,
    read: u64,
    written: u64,
}

impl Way {
    /// Writes what there is, then reads a chunk; true when anything moved.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        (from, source): (&TcpStream, Side),
        (to, target): (&TcpStream, Side),
    ) -> Result<bool, Side> {
        if self.discards {
            // No sign of life: the time for the rest runs from the last byte that somebody took.
            while self.read(cx, from).map_err(|_| source)? && !self.ended {}
            self.out.clear();
            self.shut = self.ended;
            return Ok(false);
        }
        let mut moved = self.write(cx, to).map_err(|_| target)?;
        if !self.out.is_empty() || self.shut {
            return Ok(moved);
        }
        if self.ended {
            self.shut = true;
            // A socket that cannot be shut is gone, which its other way finds out.
            let _ = SockRef::from(to).shutdown(Shutdown::Write);
            return Ok(true);
        }
        moved |= self.read(cx, from).map_err(|_| source)?;
        Ok(moved)
    }

    fn discard(&mut self) {
        self.discards = true;
        self.out.clear();
    }

    fn write(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> io::Result<bool> {
        let mut moved = false;
        while !self.out.is_empty() && to.poll_write_ready(cx)?.is_ready() {
            match to.try_write(&self.out) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => {
                    self.out.advance(length);
                    self.written = self.written.saturating_add(length as u64);
                    moved = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(moved)
    }

    fn read(&mut self, cx: &mut Context<'_>, from: &TcpStream) -> io::Result<bool> {
        while from.poll_read_ready(cx)?.is_ready() {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            match from.try_read_buf(&mut chunk) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(true);
                }
                Ok(length) => {
                    self.read = self.read.saturating_add(length as u64);
                    self.out = chunk.freeze();
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

/// Has the socket closed with a reset, so that its peer takes nothing for a whole conversation.
pub(super) fn reset(stream: &TcpStream) {
    // A socket that refuses is gone already.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
