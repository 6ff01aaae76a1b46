//! The filters of one connection that is passed on: in order for what the client says, in reverse for what comes back.
//!
//! The chain owns what each filter holds back and applies `on_error`. It does no I/O: the relay brings bytes and takes
//! them away, and stops to read where a filter's hold is full.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tollgate_abi::{Action, Buffer, BufferType, Cause, ContextId, Failure, PeerType, StreamCallback};
use tollgate_config::Policy;

use crate::error::Reason;
use crate::exchange::Half;
use crate::exchange::buffer::BodyBuffer;
use crate::exchange::lent::Lent;
use crate::exchange::passage::{Passage, PassageStream};
use crate::filter::generation::ReadyVm;
use crate::filter::manners::policy;
use crate::filter::plugin::{Engaged, Plugin};
use crate::telemetry::metrics::PAUSED;

/// Bytes that left the chain, perhaps none, and whether nothing follows them.
pub type Released = (Bytes, bool);

/// See the module.
pub struct TcpChain {
    passage: Rc<Passage>,
    links: Vec<Link>,
}

struct Link {
    plugin: Engaged,
    context: Cell<Context>,
    request: RefCell<Hold>,
    response: RefCell<Hold>,
}

/// What a filter of this connection is, to its VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    /// It has not heard of the connection.
    None,
    /// It has a context in the VM of that incarnation.
    Live { id: ContextId, incarnation: u32 },
    /// It held the connection for too long and its policy is `skip`: only the end is for it.
    Aside { id: ContextId, incarnation: u32 },
    /// It failed and its policy is `skip`, or the connection is over.
    Gone,
}

/// What a filter holds back of one half.
struct Hold {
    /// True while the filter has not let go.
    paused: bool,
    bytes: BodyBuffer,
    /// The half's end is held here too.
    end: bool,
}

impl Hold {
    fn is_full(&self) -> bool {
        self.paused && (self.end || self.bytes.len() >= self.bytes.limit)
    }
}

impl TcpChain {
    /// The filters of a connection, none of which has heard of it. `buffer` bounds what each may hold of one half.
    pub fn new(passage: Rc<Passage>, plugins: impl Iterator<Item = Rc<Plugin>>, buffer: usize) -> Self {
        let hold = || RefCell::new(Hold { paused: false, bytes: BodyBuffer::new(buffer), end: false });
        let mut links: Vec<Link> = Vec::new();
        for plugin in plugins {
            links.push(Link {
                plugin: plugin.engage_passage(links.iter().map(|link| &link.plugin)),
                context: Cell::new(Context::None),
                request: hold(),
                response: hold(),
            });
        }
        Self { passage, links }
    }

    /// What root callbacks and the relay share.
    pub fn passage(&self) -> &Passage {
        &self.passage
    }

    /// Runs `on_new_connection` of every filter, waiting for up to its `pause_timeout` where one pauses.
    pub async fn begin(&self) -> Result<(), Reason> {
        for (place, link) in self.links.iter().enumerate() {
            if link.plugin.sheds() {
                self.leave_out(place, Reason::FilterOverShare(link.plugin.name().to_owned()))?;
                continue;
            }
            if !link.plugin.ready().await {
                self.policy(place, link.plugin.last_cause())?;
                continue;
            }
            if self.introduce(place)? != Action::Continue {
                let resumed = poll_fn(|cx| {
                    self.passage.register(cx.waker());
                    self.look(place, &[Half::Request, Half::Response])
                });
                match tokio::time::timeout(link.pause_timeout(), resumed).await {
                    Ok(outcome) => outcome?,
                    Err(_) => self.expire(place)?,
                }
            }
            if let Some(reason) = self.take_close() {
                return Err(reason);
            }
        }
        Ok(())
    }

    /// `on_context_create` and `on_new_connection` of one filter.
    fn introduce(&self, place: usize) -> Result<Action, Reason> {
        let link = &self.links[place];
        link.plugin.count_exchange();
        match self.enter(place, |vm, stream| vm.begin_connection(stream))? {
            Ok((id, action)) => {
                link.context.set(Context::Live { id, incarnation: link.plugin.incarnation() });
                link.plugin.contexts.insert_passage(id, &self.passage, place);
                Ok(action)
            }
            Err(cause) => self.policy(place, cause).map(|()| Action::Continue),
        }
    }

    /// What became of a pause: `Pending` while nothing did. A wish to close does not wait for a wish to go on.
    fn look(&self, place: usize, halves: &[Half]) -> Poll<Result<(), Reason>> {
        if matches!(self.links[place].context.get(), Context::Aside { .. } | Context::Gone) {
            return Poll::Ready(Ok(()));
        }
        if self.is_dead(place) {
            let cause = self.links[place].plugin.last_cause();
            return Poll::Ready(self.policy(place, cause));
        }
        let wished = self.with_stream(|stream| {
            let resumed = halves.iter().filter(|half| stream.take_resume(place, **half)).count();
            resumed > 0 || stream.close.is_some()
        });
        match wished {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => Poll::Pending,
            Err(reason) => Poll::Ready(Err(reason)),
        }
    }

    /// The endpoint is connected.
    pub fn connected(&self, upstream: SocketAddr) -> Result<(), Reason> {
        self.with_stream(|stream| stream.upstream = Some(upstream))
    }

    /// Brings bytes of one half to its filters. `None` while one of them holds on.
    pub fn data(&self, half: Half, chunk: Bytes, end: bool) -> Result<Option<Released>, Reason> {
        self.data_from(half, 0, chunk, end)
    }

    fn data_from(&self, half: Half, from: usize, chunk: Bytes, end: bool) -> Result<Option<Released>, Reason> {
        let mut bytes = chunk;
        for step in from..self.links.len() {
            let Some(released) = self.step(half, self.place(half, step), bytes, end)? else { return Ok(None) };
            bytes = released;
            // A filter that swallows everything leaves nothing to look at.
            if bytes.is_empty() && !end {
                return Ok(None);
            }
        }
        Ok(Some((bytes, end)))
    }

    /// One filter's look at what it holds and a new chunk; `None` while it holds on.
    fn step(&self, half: Half, place: usize, chunk: Bytes, end: bool) -> Result<Option<Bytes>, Reason> {
        let link = &self.links[place];
        let mut hold = link.hold(half).borrow_mut();
        hold.end |= end;
        hold.bytes.append(chunk);
        let size = hold.bytes.len();
        let callback = match half {
            Half::Request => StreamCallback::DownstreamData { size, end_of_stream: end },
            Half::Response => StreamCallback::UpstreamData { size, end_of_stream: end },
        };
        let live = matches!(link.context.get(), Context::Live { .. });
        if !live || !link.plugin.generation.exports(callback.kind()) {
            hold.paused = false;
            return Ok(Some(hold.bytes.take()));
        }
        let action = self.deliver_with_bytes(half, place, &mut hold, callback)?;
        let resumed = self.with_stream(|stream| stream.take_resume(place, half))?;
        hold.paused = action != Action::Continue && !resumed;
        Ok((!hold.paused).then(|| hold.bytes.take()))
    }

    /// Delivers a callback, lending what the filter holds.
    fn deliver_with_bytes(
        &self,
        half: Half,
        place: usize,
        hold: &mut Hold,
        callback: StreamCallback,
    ) -> Result<Action, Reason> {
        let link = &self.links[place];
        let buffer = match half {
            Half::Request => BufferType::DownstreamData,
            Half::Response => BufferType::UpstreamData,
        };
        let limit = hold.bytes.limit;
        let lent = std::mem::replace(&mut hold.bytes, BodyBuffer::new(limit));
        let original = link.plugin.on_error().may_skip().then(|| lent.clone());
        self.with_stream(|stream| {
            stream.bytes = Some((buffer, lent));
            // A wish made while nothing was paused means nothing.
            stream.take_resume(place, half);
        })?;
        let action = self.deliver(place, callback);
        let back = self.with_stream(|stream| stream.bytes.take())?;
        // What a filter did to bytes before it failed and was skipped is undone.
        let failed = link.context.get() == Context::Gone;
        let kept = original.filter(|_| failed).or(back.map(|(_, bytes)| bytes));
        hold.bytes = kept.unwrap_or_else(|| BodyBuffer::new(limit));
        action
    }

    /// One later callback of one filter.
    fn deliver(&self, place: usize, callback: StreamCallback) -> Result<Action, Reason> {
        let link = &self.links[place];
        let Context::Live { id, .. } = link.context.get() else { return Ok(Action::Continue) };
        if self.is_dead(place) {
            return self.policy(place, link.plugin.last_cause()).map(|()| Action::Continue);
        }
        match self.enter(place, |vm, stream| vm.deliver(id, stream, callback))? {
            Ok(action) => Ok(action),
            Err(cause) => self.policy(place, cause).map(|()| Action::Continue),
        }
    }

    /// Looks whether a filter that paused this half let go, and moves on what it held. `None` while none did.
    pub fn resumed(&self, half: Half) -> Result<Option<Released>, Reason> {
        for step in 0..self.links.len() {
            let place = self.place(half, step);
            let hold = self.links[place].hold(half);
            if !hold.borrow().paused || self.look(place, &[half]).is_pending() {
                continue;
            }
            let (bytes, end) = {
                let mut hold = hold.borrow_mut();
                hold.paused = false;
                (hold.bytes.take(), hold.end)
            };
            return self.data_from(half, step + 1, bytes, end);
        }
        Ok(None)
    }

    /// Bytes of this half that may be read now.
    pub fn room(&self, half: Half) -> usize {
        let rooms = self.links.iter().map(|link| {
            let hold = link.hold(half).borrow();
            // A bound of nothing would have nothing pass at all.
            hold.bytes.limit.max(1).saturating_sub(hold.bytes.len())
        });
        rooms.min().unwrap_or(usize::MAX)
    }

    /// The place of a filter that alone can let a half go on, because it holds all it may, and how long it may.
    pub fn holder(&self) -> Option<(usize, Duration)> {
        let full = |link: &Link| {
            let live = matches!(link.context.get(), Context::Live { .. });
            live && (link.request.borrow().is_full() || link.response.borrow().is_full())
        };
        let place = self.links.iter().position(full)?;
        Some((place, self.links[place].pause_timeout()))
    }

    /// True while a filter holds bytes of this half.
    pub fn holds_back(&self, half: Half) -> bool {
        self.links.iter().any(|link| link.hold(half).borrow().bytes.len() > 0)
    }

    /// A filter held the connection for too long: its policy applies. It hears of the end and of nothing before.
    pub fn expire(&self, place: usize) -> Result<(), Reason> {
        let link = &self.links[place];
        tracing::warn!(filter = link.plugin.name(), "filter held a connection for too long");
        link.plugin.series.failures[PAUSED].inc();
        if let Context::Live { id, incarnation } = link.context.get() {
            link.plugin.contexts.remove(id);
            link.context.set(Context::Aside { id, incarnation });
        }
        self.judge(place, Reason::FilterPaused(link.plugin.name().to_owned()))
    }

    /// Why the connection is to be closed, when a filter wants that.
    pub fn take_close(&self) -> Option<Reason> {
        match self.with_stream(|stream| stream.close.take()) {
            Ok(place) => place.and_then(|place| self.links.get(place)).map(|link| {
                let name = link.plugin.name().to_owned();
                Reason::FilterClosed(name)
            }),
            Err(reason) => Some(reason),
        }
    }

    /// Tells every filter that the connection to the endpoint is closed.
    pub fn upstream_closed(&self, peer: PeerType) -> Result<(), Reason> {
        self.tell(StreamCallback::UpstreamClose { peer })
    }

    fn tell(&self, callback: StreamCallback) -> Result<(), Reason> {
        (0..self.links.len()).try_for_each(|place| self.deliver(place, callback).map(drop))
    }

    /// Tells every filter that the client's connection is closed; then done, log and delete for each that has a context,
    /// once. Failures change nothing any more.
    pub fn end(&self, peer: PeerType) {
        for place in 0..self.links.len() {
            let _ = self.deliver(place, StreamCallback::DownstreamClose { peer });
        }
        for (place, link) in self.links.iter().enumerate() {
            let (Context::Live { id, incarnation } | Context::Aside { id, incarnation }) =
                link.context.replace(Context::Gone)
            else {
                continue;
            };
            // The contexts of a dead VM are forgotten already, and its ids may be in use again.
            if incarnation == link.plugin.incarnation() {
                link.plugin.contexts.remove(id);
                let _ = self.enter(place, |vm, stream| vm.end_stream(id, stream));
            }
        }
    }

    fn is_dead(&self, place: usize) -> bool {
        let link = &self.links[place];
        match link.context.get() {
            Context::Live { incarnation, .. } => incarnation != link.plugin.incarnation(),
            Context::None | Context::Aside { .. } | Context::Gone => false,
        }
    }

    /// `on_error` of a filter that cannot serve the connection any more.
    fn policy(&self, place: usize, cause: Cause) -> Result<(), Reason> {
        let plugin = self.links[place].plugin.name().to_owned();
        self.leave_out(place, Reason::FilterFailed { plugin, cause })
    }

    /// The filter has nothing more to say to the connection.
    fn leave_out(&self, place: usize, reason: Reason) -> Result<(), Reason> {
        self.links[place].context.set(Context::Gone);
        self.judge(place, reason)
    }

    fn judge(&self, place: usize, reason: Reason) -> Result<(), Reason> {
        let plugin = &self.links[place].plugin;
        match policy(plugin.on_error(), &reason) {
            Policy::Skip => {
                plugin.series.skipped.inc();
                Ok(())
            }
            Policy::Deny => {
                plugin.series.denied.inc();
                Err(reason)
            }
        }
    }

    /// Lends the stream to a filter's VM for one callback.
    fn enter<T>(
        &self,
        place: usize,
        call: impl FnOnce(&mut ReadyVm, Lent) -> (Lent, Result<T, Failure>),
    ) -> Result<Result<T, Cause>, Reason> {
        let mut stream = self.take_stream()?;
        stream.holder = place;
        let stay = self.links[place].plugin.enter(stream, &mut None, call);
        if let Lent::Tcp(stream) = stay.stream {
            self.passage.stream.set(Some(stream));
        }
        Ok(stay.answer)
    }

    fn with_stream<T>(&self, act: impl FnOnce(&mut PassageStream) -> T) -> Result<T, Reason> {
        let mut stream = self.take_stream()?;
        let answer = act(&mut stream);
        self.passage.stream.set(Some(stream));
        Ok(answer)
    }

    fn take_stream(&self) -> Result<Box<PassageStream>, Reason> {
        self.passage.stream.take().ok_or(Reason::Internal("the connection is lent twice"))
    }

    /// Filters see what comes back in reverse.
    fn place(&self, half: Half, step: usize) -> usize {
        match half {
            Half::Request => step,
            Half::Response => self.links.len() - 1 - step,
        }
    }
}

impl Link {
    fn pause_timeout(&self) -> Duration {
        self.plugin.generation.manners.pause_timeout
    }

    fn hold(&self, half: Half) -> &RefCell<Hold> {
        match half {
            Half::Request => &self.request,
            Half::Response => &self.response,
        }
    }
}
