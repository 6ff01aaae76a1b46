//! Two connections with bytes going both ways between them, each way through its filters and at the pace of whoever reads it.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tollgate_abi::PeerType;

use crate::error::Reason;
use crate::exchange::Half;
use crate::filter::tcp::{Released, TcpChain};
use crate::owed::Owed;
use crate::upstream::pool::Transport as Upstream;

/// Bytes that are read at once. Nothing more is read before they are written, so this is all that one way holds, apart
/// from its filters.
const CHUNK: usize = 32 * 1024;

/// One of the two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Upstream,
}

/// Why bytes do not move any more.
#[derive(Debug)]
pub(crate) enum Stop {
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
pub(crate) struct Relay<'a, C: ?Sized> {
    client: &'a mut C,
    upstream: &'a mut Upstream,
    chain: Option<&'a TcpChain>,
    up: Way,
    down: Way,
    /// A filter had it closed: what left the filters is written, and nothing more is read.
    closing: bool,
    /// The filters heard that the upstream's connection is closed.
    told: bool,
}

impl<'a, C: AsyncRead + AsyncWrite + Unpin + ?Sized> Relay<'a, C> {
    /// Nothing was read yet.
    pub(crate) fn new(client: &'a mut C, upstream: &'a mut Upstream, chain: Option<&'a TcpChain>) -> Self {
        let (up, down) = (Way::new(Half::Request), Way::new(Half::Response));
        Self { client, upstream, chain, up, down, closing: false, told: false }
    }

    /// Moves what can be moved. Completes when both ways have come to their end, or something stopped them; the other
    /// answer is whether anything moved.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> (Poll<Result<(), Stop>>, bool) {
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
    pub(crate) fn was_said(&self) -> bool {
        self.up.shut && self.down.shut
    }

    /// True once a filter had it closed.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// True while there are bytes that their target did not take, or that a filter holds and may still let go.
    pub(crate) fn owes(&self) -> bool {
        let held = self.chain.filter(|_| !self.closing).is_some_and(TcpChain::holds_back);
        held || !self.up.owed.is_empty() || !self.down.owed.is_empty()
    }

    /// Bytes read from the client, and bytes written to it.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.up.read, self.down.owed.written())
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
    pub(crate) fn finish(&self, outcome: &Result<(), Stop>) -> PeerType {
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

/// One way.
struct Way {
    half: Half,
    /// What left the filters and is not yet written.
    owed: Owed,
    /// The source said its end.
    ended: bool,
    /// Nothing follows what is owed.
    last: bool,
    /// The end was said on.
    shut: bool,
    /// What the source says is dropped: to close with it unread would reset the source.
    deaf: bool,
    read: u64,
}

impl Way {
    fn new(half: Half) -> Self {
        Self { half, owed: Owed::default(), ended: false, last: false, shut: false, deaf: false, read: 0 }
    }

    /// Writes what there is, then reads a chunk; true when anything moved.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        chain: Option<&TcpChain>,
        from: &mut (impl AsyncRead + Unpin + ?Sized),
        to: &mut (impl AsyncWrite + Unpin + ?Sized),
    ) -> Result<bool, Miss> {
        let moved = self.owed.write(cx, to).map_err(|error| Miss::to(self.target(), &error))?;
        if self.deaf {
            self.drop_rest(cx, from);
        }
        if self.shut || !self.owed.is_empty() {
            return Ok(moved);
        }
        if self.last {
            // A peer that cannot be told is gone, which its other way finds out.
            self.shut = Pin::new(to).poll_shutdown(cx).is_ready();
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
        Ok(self.read(cx, chain, (from, room), to)? || moved)
    }

    /// Reads once. An end that TLS does not tell is an error of the source: whoever is between could have made it.
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        chain: Option<&TcpChain>,
        (from, room): (&mut (impl AsyncRead + Unpin + ?Sized), usize),
        to: &mut (impl AsyncWrite + Unpin + ?Sized),
    ) -> Result<bool, Miss> {
        let mut space = [const { MaybeUninit::uninit() }; CHUNK];
        let mut chunk = ReadBuf::uninit(&mut space[..room]);
        if Pin::new(from).poll_read(cx, &mut chunk).map_err(|_| Miss::Broken(self.source()))?.is_pending() {
            return Ok(false);
        }
        let bytes = chunk.filled();
        self.read = self.read.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.ended = bytes.is_empty();
        match chain {
            Some(chain) => {
                let released = chain.data(self.half, Bytes::copy_from_slice(bytes), self.ended)?;
                self.release(released.unwrap_or_default());
            }
            None => {
                self.last = self.ended;
                self.owed.pass(cx, to, bytes).map_err(|error| Miss::to(self.target(), &error))?;
            }
        }
        Ok(true)
    }

    fn release(&mut self, (bytes, last): Released) {
        self.owed.put(bytes);
        self.last = last;
    }

    /// Nothing more is read; what left the filters is still written.
    fn close(&mut self) {
        self.last = true;
        self.deaf = true;
    }

    /// The target takes nothing more; true, for that is a step.
    fn give_up(&mut self) -> bool {
        self.owed.forget();
        self.shut = true;
        self.deaf = true;
        true
    }

    /// This is no sign of life: the time for the rest runs from the last byte that somebody took.
    fn drop_rest(&mut self, cx: &mut Context<'_>, from: &mut (impl AsyncRead + Unpin + ?Sized)) {
        let mut space = [const { MaybeUninit::uninit() }; CHUNK];
        while !self.ended {
            let mut chunk = ReadBuf::uninit(&mut space);
            let Poll::Ready(outcome) = Pin::new(&mut *from).poll_read(cx, &mut chunk) else { return };
            self.ended = outcome.is_err() || chunk.filled().is_empty();
        }
    }

    fn source(&self) -> Side {
        match self.half {
            Half::Request => Side::Client,
            Half::Response => Side::Upstream,
        }
    }

    fn target(&self) -> Side {
        match self.half {
            Half::Request => Side::Upstream,
            Half::Response => Side::Client,
        }
    }
}

/// Has the socket closed with a reset, so that its peer takes nothing for a whole conversation.
pub(crate) fn reset(stream: &TcpStream) {
    // A socket that refuses is gone already.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
