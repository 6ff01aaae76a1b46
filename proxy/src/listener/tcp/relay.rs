//! Two connections with bytes going both ways between them, each way through its filters and at the pace of whoever reads it.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tollgate_abi::PeerType;

use crate::error::Reason;
use crate::exchange::Half;
use crate::filter::tcp::{Released, TcpChain};
use crate::listener::io::Transport as Client;
use crate::tls::stream::Stream;
use crate::upstream::pool::Transport as Upstream;

/// Bytes that are read at once. Nothing more is read before they are written, so this is all that one way holds, apart
/// from its filters.
const CHUNK: usize = 32 * 1024;
/// The same of a connection with TLS: what one record holds (RFC 8446 §5.1).
const RECORD: usize = 16 * 1024;

/// One of the two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Upstream,
}

/// Why bytes do not move any more.
#[derive(Debug)]
pub(super) enum Stop {
    /// A peer is gone.
    Broken {
        side: Side,
        /// It had said its end before, and the other side was told all of it.
        was_whole: bool,
    },
    /// The filters ended it.
    Failed(Reason),
}

/// See the module.
pub(super) struct Relay<'a> {
    client: &'a mut Client,
    upstream: &'a mut Upstream,
    chain: Option<&'a TcpChain>,
    up: Way,
    down: Way,
    /// A filter had it closed: what left the filters is written, and nothing more is read.
    closing: bool,
    /// The filters heard that the upstream's connection is closed.
    told: bool,
}

impl<'a> Relay<'a> {
    /// Nothing was read yet.
    pub(super) fn new(client: &'a mut Client, upstream: &'a mut Upstream, chain: Option<&'a TcpChain>) -> Self {
        let (up, down) = (Way::new(Half::Request), Way::new(Half::Response));
        Self { client, upstream, chain, up, down, closing: false, told: false }
    }

    /// Moves what can be moved. Completes when both ways have come to their end, or something stopped them; the other
    /// answer is whether anything moved.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> (Poll<Result<(), Stop>>, bool) {
        let mut moved = false;
        loop {
            match self.step(cx) {
                Ok(_) if self.was_said() && self.up.ended && self.down.ended => return (Poll::Ready(Ok(())), true),
                Ok(false) => return (Poll::Pending, moved),
                Ok(true) => moved = true,
                // Nobody is left to whom it would matter.
                Err(Stop::Broken { .. }) if self.closing => return (Poll::Ready(Ok(())), moved),
                Err(stop) => return (Poll::Ready(Err(stop)), moved),
            }
        }
    }

    /// True once both sides were told the end of what they hear.
    pub(super) fn was_said(&self) -> bool {
        self.up.shut && self.down.shut
    }

    /// True once a filter had it closed.
    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// True while there are bytes that their target did not take, or that a filter holds and may still let go.
    pub(super) fn owes(&self) -> bool {
        let held = self.chain.filter(|_| !self.closing).is_some_and(TcpChain::holds_back);
        held || self.up.owes() || self.down.owes()
    }

    /// Bytes read from the client, and bytes written to it.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.up.read, self.down.written)
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Result<bool, Stop> {
        if let Some(chain) = self.chain
            && self.heard(chain)?
        {
            return Ok(true);
        }
        let up = match self.up.step(cx, self.chain, &mut *self.client, &mut *self.upstream) {
            // It had no use for the rest of what the client says, and the client still gets all of its answer.
            Err(Miss::Broken(Side::Upstream)) if self.down.ended => self.up.give_up(),
            Err(Miss::Refused(_)) => self.up.give_up(),
            outcome => outcome.map_err(|miss| self.stop(miss))?,
        };
        let down = match self.down.step(cx, self.chain, &mut *self.upstream, &mut *self.client) {
            Err(Miss::Refused(_)) => self.down.give_up(),
            outcome => outcome.map_err(|miss| self.stop(miss))?,
        };
        Ok(up || down)
    }

    /// What the filters have to be told, and what they wish; true when there was something.
    fn heard(&mut self, chain: &TcpChain) -> Result<bool, Stop> {
        if self.down.ended && !self.told {
            self.told = true;
            chain.upstream_closed(PeerType::Remote).map_err(Stop::Failed)?;
            return Ok(true);
        }
        match chain.take_close() {
            Some(Reason::FilterClosed(_)) => {
                self.closing = true;
                self.up.close();
                self.down.close();
                Ok(true)
            }
            Some(reason) => Err(Stop::Failed(reason)),
            None => Ok(false),
        }
    }

    /// Nothing moves any more: the filters hear of the upstream's end, unless they did, and the answer is who ended the
    /// client's connection.
    pub(super) fn finish(&self, outcome: &Result<(), Stop>) -> PeerType {
        let broken = |side| matches!(outcome, Err(Stop::Broken { side: broken, .. }) if *broken == side);
        let who = |remote| if remote { PeerType::Remote } else { PeerType::Local };
        if let Some(chain) = self.chain.filter(|_| !self.told) {
            // It is over: a filter that fails here changes nothing.
            let _ = chain.upstream_closed(who(broken(Side::Upstream)));
        }
        who(broken(Side::Client) || (self.up.ended && !self.closing))
    }

    fn stop(&self, miss: Miss) -> Stop {
        match miss {
            Miss::Broken(side) | Miss::Refused(side) => {
                let told = if side == Side::Client { &self.up } else { &self.down };
                Stop::Broken { side, was_whole: told.shut }
            }
            Miss::Failed(reason) => Stop::Failed(reason),
        }
    }
}

/// Why one way does not go on.
enum Miss {
    Broken(Side),
    /// The target takes nothing more. It had said its end before, up to which it may still have to be read.
    Refused(Side),
    Failed(Reason),
}

impl Miss {
    /// What a failure to write says. Linux has EPIPE for a reset that came behind the end, and ECONNRESET for any other.
    fn to(target: Side, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Refused(target) } else { Self::Broken(target) }
    }
}

impl From<Reason> for Miss {
    fn from(reason: Reason) -> Self {
        Self::Failed(reason)
    }
}

/// One way, with what left the filters and is not yet written.
struct Way {
    half: Half,
    out: Bytes,
    /// It was handed to TLS, and has not all left.
    unflushed: bool,
    /// The source said its end.
    ended: bool,
    /// Nothing follows `out`.
    last: bool,
    /// The end was said on.
    shut: bool,
    /// What the source says is dropped: to close with it unread would reset the source.
    deaf: bool,
    read: u64,
    written: u64,
}

impl Way {
    fn new(half: Half) -> Self {
        let (out, unflushed) = (Bytes::new(), false);
        Self { half, out, unflushed, ended: false, last: false, shut: false, deaf: false, read: 0, written: 0 }
    }

    /// Writes what there is, then reads a chunk; true when anything moved.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        chain: Option<&TcpChain>,
        from: &mut Stream<impl AsyncRead + Unpin>,
        to: &mut Stream<impl AsyncWrite + Unpin>,
    ) -> Result<bool, Miss> {
        let (source, target) = match self.half {
            Half::Request => (Side::Client, Side::Upstream),
            Half::Response => (Side::Upstream, Side::Client),
        };
        let moved = self.write(cx, to).map_err(|error| Miss::to(target, &error))?;
        if self.deaf {
            self.drop_rest(cx, from);
        }
        if self.shut || self.owes() {
            return Ok(moved);
        }
        if self.last {
            self.shut = say_end(cx, to).is_ready();
            return Ok(moved || self.shut);
        }
        if let Some(released) = chain.map(|chain| chain.resumed(self.half)).transpose()?.flatten() {
            self.release(released);
            return Ok(true);
        }
        let room = chain.map_or(CHUNK, |chain| chain.room(self.half).min(CHUNK));
        if self.ended || room == 0 {
            return Ok(moved);
        }
        let Some(chunk) = read(cx, from, room).map_err(|_| Miss::Broken(source))? else { return Ok(moved) };
        self.read = self.read.saturating_add(chunk.len() as u64);
        self.ended = chunk.is_empty();
        let released = match chain {
            Some(chain) => chain.data(self.half, chunk, self.ended)?,
            None => Some((chunk, self.ended)),
        };
        self.release(released.unwrap_or_default());
        Ok(true)
    }

    fn release(&mut self, (bytes, last): Released) {
        self.out = bytes;
        self.last = last;
    }

    fn owes(&self) -> bool {
        self.unflushed || !self.out.is_empty()
    }

    /// Nothing more is read; what left the filters is still written.
    fn close(&mut self) {
        self.last = true;
        self.deaf = true;
    }

    /// The target takes nothing more; true, for that is a step.
    fn give_up(&mut self) -> bool {
        self.out.clear();
        self.unflushed = false;
        self.shut = true;
        self.deaf = true;
        true
    }

    fn write(&mut self, cx: &mut Context<'_>, to: &mut Stream<impl AsyncWrite + Unpin>) -> io::Result<bool> {
        match to {
            Stream::Plain(socket) => self.write_plain(cx, socket),
            Stream::Tls(stream) if !self.out.is_empty() || self.unflushed => self.write_secured(cx, stream),
            Stream::Tls(_) => Ok(false),
        }
    }

    fn write_plain(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> io::Result<bool> {
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

    /// TLS makes records of it, which are to leave before more is read.
    fn write_secured(&mut self, cx: &mut Context<'_>, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<bool> {
        let mut moved = false;
        while !self.out.is_empty() {
            match Pin::new(&mut *to).poll_write(cx, &self.out)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(length) => {
                    self.out.advance(length);
                    self.written = self.written.saturating_add(length as u64);
                    (moved, self.unflushed) = (true, true);
                }
                Poll::Pending => return Ok(moved),
            }
        }
        if Pin::new(to).poll_flush(cx)?.is_ready() {
            (moved, self.unflushed) = (true, false);
        }
        Ok(moved)
    }

    /// This is no sign of life: the time for the rest runs from the last byte that somebody took.
    fn drop_rest(&mut self, cx: &mut Context<'_>, from: &mut Stream<impl AsyncRead + Unpin>) {
        while !self.ended {
            match read(cx, from, CHUNK) {
                Ok(Some(chunk)) => self.ended = chunk.is_empty(),
                Ok(None) => return,
                Err(_) => self.ended = true,
            }
        }
    }
}

/// A chunk of at most `room` bytes, empty at the end; `None` while there is none.
fn read(cx: &mut Context<'_>, from: &mut Stream<impl AsyncRead + Unpin>, room: usize) -> io::Result<Option<Bytes>> {
    match from {
        Stream::Plain(socket) => read_plain(cx, socket, room),
        Stream::Tls(stream) => read_secured(cx, stream, room),
    }
}

/// An end that TLS does not tell is none: whoever is between could have made it.
fn read_secured(cx: &mut Context<'_>, from: &mut (impl AsyncRead + Unpin), room: usize) -> io::Result<Option<Bytes>> {
    let mut space = [const { MaybeUninit::uninit() }; RECORD];
    let mut chunk = ReadBuf::uninit(&mut space[..room.min(RECORD)]);
    let read = Pin::new(from).poll_read(cx, &mut chunk)?;
    Ok(read.is_ready().then(|| Bytes::copy_from_slice(chunk.filled())))
}

fn read_plain(cx: &mut Context<'_>, from: &TcpStream, room: usize) -> io::Result<Option<Bytes>> {
    while from.poll_read_ready(cx)?.is_ready() {
        let mut chunk = BytesMut::with_capacity(CHUNK).limit(room);
        match from.try_read_buf(&mut chunk) {
            Ok(_) => return Ok(Some(chunk.into_inner().freeze())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Says on an end; completes when it has left. A peer that cannot be told is gone, which its other way finds out.
fn say_end(cx: &mut Context<'_>, to: &mut Stream<impl AsyncWrite + Unpin>) -> Poll<()> {
    match to {
        Stream::Plain(socket) => {
            let _ = SockRef::from(&*socket).shutdown(Shutdown::Write);
            Poll::Ready(())
        }
        Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx).map(drop),
    }
}

/// Has the socket closed with a reset, so that its peer takes nothing for a whole conversation.
pub(in crate::listener) fn reset(stream: &TcpStream) {
    // A socket that refuses is gone already.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
