//! The filters of one exchange, in order for the request and in reverse for the response.
//!
//! The chain owns what each filter holds back, applies `on_error`, and turns what filters wish into one verdict. It
//! does no I/O: the halves of the exchange bring bytes and take them away.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use tollgate_abi::{
    Action, CallbackKind, Cause, ContextId, Failure, HeaderMap, LocalResponse, StreamCallback, StreamType,
};
use tollgate_config::{EmptyBody, Policy};

mod body;
mod head;
mod pause;

pub use self::body::Flow;
use self::body::Hold;
pub use self::head::Draw;
use self::pause::{Pause, Until};
use crate::error::Reason;
use crate::exchange::lent::Lent;
use crate::exchange::stream::FilterStream;
use crate::exchange::{Exchange, Half};
use crate::filter::generation::{Generation, ReadyVm};
use crate::filter::lingering::Lingering;
use crate::filter::manners::policy;
use crate::filter::plugin::{Engaged, Plugin};
use crate::telemetry::metrics::class_index;

/// Why a half does not go on.
#[derive(Debug)]
pub enum Halt {
    /// A filter answers in place of the upstream.
    Respond(LocalResponse),
    /// The exchange failed.
    Fail(Reason),
}

/// See the module.
pub struct Chain {
    exchange: Rc<Exchange>,
    links: Vec<Link>,
    halted: RefCell<Option<Halt>>,
    /// How many filters of each half, in its order, may see the body: those that the head has reached.
    gates: [Cell<usize>; 2],
    /// True once some of a body ran ahead of its head.
    early: Cell<bool>,
    /// True for a half that has no body of its own.
    bodiless: [Cell<bool>; 2],
}

struct Link {
    plugin: Engaged,
    context: Cell<Context>,
    request: RefCell<Hold>,
    response: RefCell<Hold>,
    pauses: [RefCell<Option<Pause>>; 2],
}

/// What a filter of this exchange is, to its VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    /// It has not seen the exchange.
    None,
    /// It has a context in the VM of that incarnation.
    Live { id: ContextId, incarnation: u32 },
    /// It held the exchange for too long: only the end is for it.
    Aside { id: ContextId, incarnation: u32 },
    /// It failed and its policy is `skip`, or it failed and the exchange is ending.
    Gone,
}

impl Context {
    /// True when no callback before the end is for it any more.
    fn is_out(self) -> bool {
        matches!(self, Self::Aside { .. } | Self::Gone)
    }
}

impl Chain {
    /// The filters of an exchange, none of which has seen it. `buffer` bounds what each may hold of a body.
    pub fn new(exchange: Rc<Exchange>, plugins: impl Iterator<Item = Rc<Plugin>>, buffer: usize) -> Self {
        let hold = || RefCell::new(Hold::new(buffer));
        // Room for all of them: a link is made where it stays.
        let mut links: Vec<Link> = Vec::with_capacity(plugins.size_hint().1.unwrap_or_default());
        for plugin in plugins {
            links.push(Link {
                plugin: plugin.engage(links.iter().map(|link| &link.plugin)),
                context: Cell::new(Context::None),
                request: hold(),
                response: hold(),
                pauses: Default::default(),
            });
        }
        Self {
            exchange,
            links,
            halted: RefCell::new(None),
            gates: [Cell::new(usize::MAX), Cell::new(usize::MAX)],
            early: Cell::new(false),
            bodiless: Default::default(),
        }
    }

    /// The exchange that the chain serves.
    pub fn exchange(&self) -> &Rc<Exchange> {
        &self.exchange
    }

    /// True where a filter may make callouts.
    pub fn may_call(&self) -> bool {
        self.links.iter().any(|link| link.plugin.may_call())
    }

    /// The plugin at a place of the chain.
    pub fn name(&self, place: usize) -> &str {
        self.links.get(place).map_or("", |link| link.plugin.name())
    }

    /// True when a body, or the lack of one, is to be brought through the filters.
    pub fn takes_body(&self, half: Half, bodiless: bool) -> bool {
        self.bodiless(half).set(bodiless);
        let wants = |link: &Link| {
            let Generation { manners, .. } = &*link.plugin.generation;
            let body = link.sees_body(half) && (!bodiless || manners.empty_body == EmptyBody::Call);
            body || (!bodiless && link.plugin.generation.exports(trailers_of(half)))
        };
        self.links.iter().any(|link| !link.context.get().is_out() && wants(link))
    }

    fn gate(&self, half: Half) -> &Cell<usize> {
        &self.gates[half as usize]
    }

    fn bodiless(&self, half: Half) -> &Cell<bool> {
        &self.bodiless[half as usize]
    }

    /// What became of a pause: `Pending` while nothing did.
    fn look(&self, place: usize, half: Half) -> Poll<Result<(), Halt>> {
        if self.exchange.interrupted() {
            let reason = self.exchange.reason().unwrap_or(Reason::Internal("interrupted without a reason"));
            return Poll::Ready(Err(Halt::Fail(reason)));
        }
        if let Err(halt) = self.wished() {
            return Poll::Ready(Err(halt));
        }
        if self.links[place].context.get().is_out() {
            return Poll::Ready(Ok(()));
        }
        if self.is_dead(place) {
            let cause = self.links[place].plugin.last_cause();
            return Poll::Ready(self.policy(place, cause));
        }
        match self.take_resume(place, half) {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => self.expired(place, half).map_or(Poll::Pending, Poll::Ready),
            Err(halt) => Poll::Ready(Err(halt)),
        }
    }

    fn is_dead(&self, place: usize) -> bool {
        let link = &self.links[place];
        match link.context.get() {
            Context::Live { incarnation, .. } => {
                let is_shut_out = link.plugin.shuts_out_exchanges() && !self.exchange.is_passage.get();
                incarnation != link.plugin.incarnation() || is_shut_out
            }
            Context::None | Context::Aside { .. } | Context::Gone => false,
        }
    }

    /// The exchange's connection is passed on from here: its filters stay as long as those of connections do.
    pub fn pass_on(&self) {
        self.links.iter().for_each(|link| link.plugin.pass_on());
    }

    /// Looks after filters that are told nothing until the end; fails where one of them ends the connection.
    pub fn stays(&self) -> Result<(), Halt> {
        for (place, link) in self.links.iter().enumerate() {
            if self.is_dead(place) {
                self.policy(place, link.plugin.last_cause())?;
            }
        }
        self.wished()
    }

    /// Keeps why the request half gave up, for the response half to act on.
    pub fn halt(&self, halt: Halt) {
        self.halted.borrow_mut().get_or_insert(halt);
        self.exchange.wake();
    }

    /// Why the request half gave up.
    pub fn take_halt(&self) -> Option<Halt> {
        self.halted.borrow_mut().take()
    }

    /// `on_context_create` and `on_request_headers` of one filter.
    fn begin(&self, place: usize, end: bool, left: &mut Option<Instant>) -> Result<Action, Halt> {
        let link = &self.links[place];
        let mut stream = self.take_stream()?;
        stream.holder = place;
        let fields = stream.request.len();
        link.plugin.count_exchange();
        let stay = link.plugin.enter(stream, left, |vm, stream| vm.begin_stream(stream, fields, end));
        self.put_back(stay.stream, stay.spent);
        match stay.answer {
            Ok((id, action)) => {
                link.context.set(Context::Live { id, incarnation: link.plugin.incarnation() });
                link.plugin.contexts.insert(id, &self.exchange, place);
                self.wished()?;
                Ok(action)
            }
            Err(cause) => self.policy(place, cause).map(|()| Action::Continue),
        }
    }

    /// One later callback of one filter.
    fn deliver(&self, place: usize, callback: StreamCallback, left: &mut Option<Instant>) -> Result<Action, Halt> {
        let link = &self.links[place];
        let Context::Live { id, .. } = link.context.get() else { return Ok(Action::Continue) };
        if self.is_dead(place) {
            self.policy(place, link.plugin.last_cause())?;
            return Ok(Action::Continue);
        }
        let mut stream = self.take_stream()?;
        stream.holder = place;
        forget_resume(&mut stream, place, half_of(&callback));
        let stay = link.plugin.enter(stream, left, |vm, stream| vm.deliver(id, stream, callback));
        self.put_back(stay.stream, stay.spent);
        match stay.answer {
            Ok(action) => self.wished().map(|()| action),
            Err(cause) => self.policy(place, cause).map(|()| Action::Continue),
        }
    }

    /// `on_error` of a filter that cannot serve the exchange any more.
    fn policy(&self, place: usize, cause: Cause) -> Result<(), Halt> {
        self.leave_out(place, Reason::FilterFailed { plugin: self.name(place).to_owned(), cause })
    }

    /// The filter has nothing more to say to the exchange.
    fn leave_out(&self, place: usize, reason: Reason) -> Result<(), Halt> {
        self.links[place].context.set(Context::Gone);
        self.judge(place, reason)
    }

    /// The exchange goes on without a filter, or ends for this reason.
    fn judge(&self, place: usize, reason: Reason) -> Result<(), Halt> {
        let plugin = &self.links[place].plugin;
        match policy(plugin.on_error(), &reason) {
            Policy::Skip => {
                plugin.series.skipped.inc();
                Ok(())
            }
            Policy::Deny => {
                plugin.series.denied.inc();
                Err(Halt::Fail(reason))
            }
        }
    }

    /// What filters wished, in order of weight: a refused or a given answer, then the end.
    pub fn wished(&self) -> Result<(), Halt> {
        if self.with_stream(|stream| stream.diverts())? { self.divert() } else { Ok(()) }
    }

    #[cold]
    fn divert(&self) -> Result<(), Halt> {
        let (refused, respond, close) = self.with_stream(|stream| {
            let wishes = &mut stream.wishes;
            (wishes.refused.take(), wishes.respond.take(), wishes.close.take())
        })?;
        let name = |place| self.name(place).to_owned();
        if let Some(place) = refused {
            return Err(Halt::Fail(Reason::LocalResponseRefused(name(place))));
        }
        if let Some((place, response)) = respond.map(|respond| *respond) {
            self.exchange.note(Reason::FilterResponded(name(place)));
            if let Some(link) = self.links.get(place) {
                link.plugin.series.local_replies[class_index(Some(response.status))].inc();
            }
            return Err(Halt::Respond(response));
        }
        match close {
            Some(place) => Err(Halt::Fail(Reason::FilterClosed(name(place)))),
            None => Ok(()),
        }
    }

    /// Takes the wish of one filter to continue one half.
    fn take_resume(&self, place: usize, half: Half) -> Result<bool, Halt> {
        self.with_stream(|stream| forget_resume(stream, place, half))
    }

    /// Works on the stream where it lies.
    pub fn with_stream<T>(&self, act: impl FnOnce(&mut FilterStream) -> T) -> Result<T, Halt> {
        let mut stream = self.exchange.stream.take().ok_or_else(lent_twice)?;
        let answer = act(&mut stream);
        self.exchange.stream.set(Some(stream));
        Ok(answer)
    }

    fn take_stream(&self) -> Result<Box<FilterStream>, Halt> {
        self.exchange.lend().ok_or_else(lent_twice)
    }

    fn put_back(&self, stream: Lent, spent: std::time::Duration) {
        let exchange = &self.exchange;
        exchange.in_filters.set(exchange.in_filters.get() + spent);
        if let Lent::Http(stream) = stream {
            exchange.stream.set(Some(stream));
        }
    }

    /// `on_done`, `on_log` and `on_delete` of every filter that has a context, once. Failures change nothing any more. A
    /// filter that asks for more time is kept with those that linger.
    pub fn end(&self, now: Instant, lingering: &Lingering) {
        let exchange = &self.exchange;
        // A stream that is lent at this moment cannot happen; filters would only miss how it ended.
        let _ = self.with_stream(|stream| {
            stream.ended = Some(now);
            stream.status = exchange.status.get();
            stream.reason = exchange.reason();
            stream.may_respond = false;
        });
        let mut left = Some(now);
        for (place, link) in self.links.iter().enumerate() {
            let context = link.context.replace(Context::Gone);
            let (Context::Live { id, incarnation } | Context::Aside { id, incarnation }) = context else { continue };
            // The contexts of a dead VM are forgotten already, and its ids may be in use again.
            if incarnation != link.plugin.incarnation() {
                continue;
            }
            link.plugin.contexts.remove(id);
            let asks = matches!(context, Context::Live { .. });
            if asks && self.finish(place, id, &mut left) {
                continue;
            }
            if !asks || !lingering.keep(&link.plugin, id, (exchange, place), now) {
                self.conclude(place, &mut left, |vm, stream| vm.end_stream(id, stream));
            }
        }
    }

    /// False when the filter asks for more time.
    fn finish(&self, place: usize, id: ContextId, left: &mut Option<Instant>) -> bool {
        self.conclude(place, left, |vm, stream| vm.finish_stream(id, stream)).unwrap_or(true)
    }

    fn conclude<T>(
        &self,
        place: usize,
        left: &mut Option<Instant>,
        call: impl FnOnce(&mut ReadyVm, Lent) -> (Lent, Result<T, Failure>),
    ) -> Option<T> {
        let mut stream = self.exchange.lend()?;
        stream.holder = place;
        let stay = self.links[place].plugin.enter(stream, left, call);
        self.put_back(stay.stream, stay.spent);
        stay.answer.ok()
    }
}

#[cold]
fn lent_twice() -> Halt {
    Halt::Fail(Reason::Internal("the exchange is lent twice"))
}

/// True when the filter had wished to continue this half. A wish made while nothing was paused means nothing, so
/// every callback starts without one.
fn forget_resume(stream: &mut FilterStream, place: usize, half: Half) -> bool {
    let wanted = match half {
        Half::Request => StreamType::Request,
        Half::Response => StreamType::Response,
    };
    let before = stream.wishes.resume.len();
    stream.wishes.resume.retain(|wish| *wish != (place, wanted));
    stream.wishes.resume.len() < before
}

fn half_of(callback: &StreamCallback) -> Half {
    match callback {
        StreamCallback::RequestBody { .. } | StreamCallback::RequestTrailers { .. } => Half::Request,
        _ => Half::Response,
    }
}

fn body_of(half: Half) -> CallbackKind {
    match half {
        Half::Request => CallbackKind::RequestBody,
        Half::Response => CallbackKind::ResponseBody,
    }
}

fn trailers_of(half: Half) -> CallbackKind {
    match half {
        Half::Request => CallbackKind::RequestTrailers,
        Half::Response => CallbackKind::ResponseTrailers,
    }
}

impl Link {
    fn hold(&self, half: Half) -> &RefCell<Hold> {
        match half {
            Half::Request => &self.request,
            Half::Response => &self.response,
        }
    }

    fn sees_body(&self, half: Half) -> bool {
        self.plugin.generation.exports(body_of(half))
    }

    fn pause(&self, half: Half) -> &RefCell<Option<Pause>> {
        &self.pauses[half as usize]
    }
}
