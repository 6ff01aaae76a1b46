//! Two connections with bytes going both ways between them, each way through its filters and at the pace of whoever reads it.
//!
//! A target that takes nothing more, for it had said its end, is no failure: what its source says is dropped from then on, and
//! the other way goes on to its end. Whatever else ends a connection breaks both off. How they are closed is for whoever has
//! them.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tollgate_abi::PeerType;

use crate::closing;
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
    /// The filters or the exchange ended it.
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

    /// The same where these bytes were read of the client and of the upstream already. No filter sees them.
    pub(crate) fn with(self, early: Bytes, late: Bytes) -> Self {
        Self { up: self.up.with(early), down: self.down.with(late), ..self }
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
        let owes = |way: &Way| {
            // What a filter holds of a way that is over goes nowhere.
            let held = self.chain.filter(|_| !way.last && !way.shut).is_some_and(|chain| chain.holds_back(way.half));
            held || !way.owed.is_empty()
        };
        owes(&self.up) || owes(&self.down)
    }

    /// True when the client may be saying what nobody reads.
    pub(crate) fn is_client_talking(&self) -> bool {
        !self.up.ended
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
            // Whoever broke off takes nothing more either, and was read a moment ago.
            Err(Miss::Refused(side)) if self.up.is_cut && !self.closing => {
                return Err(Stop::Broken { side, was_whole: false });
            }
            Err(Miss::Refused(_)) => self.down.give_up(),
            outcome => outcome.map_err(|miss| self.stop(miss))?,
        };
        self.cut()?;
        Ok(up || down)
    }

    /// Fails where a peer broke off to which the other one is still speaking, although nobody was listening to it.
    fn cut(&self) -> Result<(), Stop> {
        let broken = |side| Err(Stop::Broken { side, was_whole: false });
        match (&self.up, &self.down) {
            (Way { is_cut: true, .. }, Way { shut: false, .. }) => broken(Side::Client),
            (Way { shut: false, .. }, Way { is_cut: true, .. }) => broken(Side::Upstream),
            _ => Ok(()),
        }
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
    /// The target takes nothing more. Why, it tells itself: with an end, up to which it may still have to be read, or without.
    Refused(Side),
    Failed(Reason),
}

impl Miss {
    /// What a failure to write, or to say the end, tells.
    fn to(target: Side, error: &io::Error) -> Self {
        if closing::is_told(error) { Self::Refused(target) } else { Self::Broken(target) }
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
    /// The source broke off meanwhile, of which the kernel tells once.
    is_cut: bool,
    read: u64,
}

impl Way {
    fn new(half: Half) -> Self {
        Self {
            half,
            owed: Owed::default(),
            ended: false,
            last: false,
            shut: false,
            deaf: false,
            is_cut: false,
            read: 0,
        }
    }

    fn with(self, early: Bytes) -> Self {
        let read = u64::try_from(early.len()).unwrap_or(u64::MAX);
        Self { owed: Owed::new(early), read, ..self }
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
            let said = Pin::new(to).poll_shutdown(cx).map_err(|error| Miss::to(self.target(), &error))?;
            self.shut = said.is_ready();
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
            self.is_cut = outcome.is_err();
            self.ended = self.is_cut || chunk.filled().is_empty();
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{ErrorKind, Write as _};
    use std::net::{Shutdown, TcpListener};
    use std::time::Duration;

    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;
    use crate::tls::stream::Stream;

    /// A client that takes nothing before all was taken that it says.
    struct Talker {
        left: usize,
        heard: usize,
        /// It breaks off then, in place of taking anything.
        leaves: bool,
    }

    impl Talker {
        /// One that says more than the kernel takes for a peer that does not read.
        fn new(leaves: bool) -> Talker {
            Talker { left: 64 << 20, heard: 0, leaves }
        }
    }

    impl AsyncRead for Talker {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if self.left == 0 && self.leaves {
                return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
            }
            let length = self.left.min(buf.remaining());
            buf.put_slice(&vec![b'x'; length]);
            self.left -= length;
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Talker {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            if self.left > 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.leaves {
                return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
            }
            self.heard += bytes.len();
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(if self.leaves { Err(ErrorKind::NotConnected.into()) } else { Ok(()) })
        }
    }

    /// What comes of a client before an upstream that said all it has to say, closes, and takes nothing of what it hears.
    async fn before_a_deaf_upstream(client: &mut Talker) -> Result<(), Stop> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut upstream = Stream::Plain(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
        let mut peer = listener.accept().unwrap().0;
        peer.write_all(&[b'y'; 3 * CHUNK]).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let mut relay = Relay::new(client, &mut upstream, None);
        poll_fn(|cx| {
            assert!(relay.poll(cx).0.is_pending());
            if relay.bytes().0 > 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        // With bytes unread, and its end said before.
        drop(peer);
        timeout(Duration::from_secs(20), poll_fn(|cx| relay.poll(cx).0)).await.unwrap()
    }

    #[tokio::test]
    async fn a_client_that_breaks_off_owed_bytes_and_unheard_is_no_end() {
        let mut client = Talker::new(true);

        let ended = before_a_deaf_upstream(&mut client).await;

        assert!(matches!(ended, Err(Stop::Broken { side: Side::Client, was_whole: false })), "{ended:?}");
    }

    #[tokio::test]
    async fn a_client_of_whom_nothing_more_is_taken_is_heard_on_and_gets_all_that_was_said() {
        let mut client = Talker::new(false);

        let ended = before_a_deaf_upstream(&mut client).await;

        assert!(matches!(ended, Ok(())), "{ended:?}");
        assert_eq!((client.left, client.heard), (0, 3 * CHUNK));
    }
}
