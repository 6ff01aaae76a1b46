//! One request with its response: what the two halves share while they are pumped by different tasks of one worker.
//!
//! Nothing here does I/O or calls a filter. The two halves, the sweeper and the filters' root callbacks meet in an
//! [`Exchange`]; all of them run on one thread, so cells are enough.

pub mod buffer;
pub mod edits;
pub mod forwarded;
pub mod head;
pub mod hop;
pub mod kept;
pub mod lent;
pub mod local;
pub mod pace;
pub mod passage;
pub mod path;
pub mod properties;
pub mod stream;
pub mod unsent;

use std::cell::{Cell, RefCell};
use std::task::Waker;
use std::time::{Duration, Instant};

use http::HeaderValue;

use crate::error::Reason;
use crate::exchange::pace::{Expected, Pace};
use crate::exchange::stream::FilterStream;

/// A half of an exchange: what is pumped towards the upstream, and what comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Client to upstream.
    Request,
    /// Upstream to client.
    Response,
}

impl Half {
    /// A word for log lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

/// How long an exchange may wait for what; from `config::limits` and its route.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Without a byte in either direction.
    pub idle: Duration,
    /// From the head of the request to the end of its body.
    pub request: Duration,
    /// From the end of the request to the head of the response.
    pub head: Duration,
    /// Of the client, unless the exchange lasts.
    pub client: Expected,
}

/// What an exchange is waiting for, apart from the next byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaiting {
    /// Only for bytes.
    Bytes,
    /// The head of the upstream's response.
    Head,
    /// A filter, by its place in the chain, to continue a paused half.
    Filter(usize),
}

/// See the module.
pub struct Exchange {
    /// What filters see; absent without filters, and while it is lent to a VM.
    pub stream: Cell<Option<Box<FilterStream>>>,
    /// When the head had been read.
    pub started: Instant,
    /// Body bytes that came from the client.
    pub request_bytes: Cell<u64>,
    /// Body bytes that went to the client.
    pub response_bytes: Cell<u64>,
    /// The status that went to the client.
    pub status: Cell<Option<u16>>,
    /// What it waits for.
    pub awaiting: Cell<Awaiting>,
    /// Time spent in filters, for the access log.
    pub in_filters: Cell<Duration>,
    /// The client said `te: trailers`.
    pub takes_trailers: bool,
    /// When the last byte of the upstream's answer came; kept for filters only.
    pub answer_ended: Cell<Option<Instant>>,
    /// Those of the route, which may change.
    pub timeouts: Cell<Timeouts>,
    /// How the client keeps up.
    pub pace: Pace,
    /// True for those that are meant to last, such as gRPC's: a client may be as slow as it likes.
    pub lasts: Cell<bool>,
    /// The protocol that its client asked to change to, until the upstream answered.
    pub upgrade: Cell<Option<Box<HeaderValue>>>,
    /// True once its connection was handed over to another protocol: it lasts as long as that does.
    pub is_passage: Cell<bool>,
    wakers: [Cell<Option<Waker>>; 2],
    /// Coarse: the worker's clock at the last byte.
    touched: Cell<Instant>,
    request_ended: Cell<Option<Instant>>,
    /// Why it did not end with the upstream's own answer; the first reason stays.
    reason: RefCell<Option<Reason>>,
    /// True when both halves must give up.
    interrupted: Cell<bool>,
}

impl Exchange {
    /// An exchange whose head was read at `started`.
    pub fn new(started: Instant, timeouts: Timeouts, takes_trailers: bool) -> Self {
        Self {
            stream: Cell::new(None),
            started,
            request_bytes: Cell::new(0),
            response_bytes: Cell::new(0),
            status: Cell::new(None),
            awaiting: Cell::new(Awaiting::Bytes),
            in_filters: Cell::new(Duration::ZERO),
            takes_trailers,
            answer_ended: Cell::new(None),
            timeouts: Cell::new(timeouts),
            pace: Pace::new(started),
            lasts: Cell::new(false),
            upgrade: Cell::new(None),
            is_passage: Cell::new(false),
            wakers: [Cell::new(None), Cell::new(None)],
            touched: Cell::new(started),
            request_ended: Cell::new(None),
            reason: RefCell::new(None),
            interrupted: Cell::new(false),
        }
    }

    /// Takes out what filters see, with its counts up to date. `None` without filters, and while it is lent already.
    pub fn lend(&self) -> Option<Box<FilterStream>> {
        let mut stream = self.stream.take()?;
        stream.request_bytes = self.request_bytes.get();
        stream.response_bytes = self.response_bytes.get();
        if let Some(ended) = self.answer_ended.get() {
            stream.upstream_times.1 = Some(ended);
        }
        Some(stream)
    }

    /// True while filters see it.
    pub fn is_filtered(&self) -> bool {
        let stream = self.stream.take();
        let filtered = stream.is_some();
        self.stream.set(stream);
        filtered
    }

    /// Wakes `half` when something happens that is not its own I/O. One waker a half: the last one counts.
    pub fn register(&self, half: Half, waker: &Waker) {
        let cell = &self.wakers[half as usize];
        let kept = cell.take().filter(|known| known.will_wake(waker));
        cell.set(Some(kept.unwrap_or_else(|| waker.clone())));
    }

    /// Wakes both halves to look at what changed.
    pub fn wake(&self) {
        self.wakers.iter().filter_map(Cell::take).for_each(Waker::wake);
    }

    /// A byte moved; `now` may be coarse.
    pub fn touch(&self, now: Instant) {
        self.touched.set(now);
    }

    /// The request's body is complete.
    pub fn end_request(&self, now: Instant) {
        if self.request_ended.get().is_none() {
            self.request_ended.set(Some(now));
        }
        self.touch(now);
    }

    /// True once the request's body is complete.
    pub fn request_ended(&self) -> bool {
        self.request_ended.get().is_some()
    }

    /// Keeps why the upstream's own answer did not reach the client; the first reason stays.
    pub fn note(&self, reason: Reason) {
        self.reason.borrow_mut().get_or_insert(reason);
    }

    /// Notes the reason and tells both halves to give up.
    pub fn interrupt(&self, reason: Reason) {
        self.note(reason);
        self.interrupted.set(true);
        self.wake();
    }

    /// True until [`Exchange::recover`] when both halves must give up.
    pub fn interrupted(&self) -> bool {
        self.interrupted.get()
    }

    /// The response half goes on after all, with an answer of the proxy's own.
    pub fn recover(&self) {
        self.interrupted.set(false);
    }

    /// Why the upstream's own answer did not reach the client.
    pub fn reason(&self) -> Option<Reason> {
        self.reason.borrow().clone()
    }

    /// The sweeper's look: what ran out at `now`, told to both halves. `name` finds the filter that an exchange waits for.
    pub fn sweep(&self, now: Instant, name: impl Fn(usize) -> String) {
        if self.interrupted() {
            return;
        }
        if let Some(reason) = self.overdue(now, name).or_else(|| self.too_slow(now)) {
            self.interrupt(reason);
        }
    }

    /// A client that sends too little. One that takes nothing is only suspected: its stream's task knows better.
    fn too_slow(&self, now: Instant) -> Option<Reason> {
        if self.lasts.get() {
            return None;
        }
        let expected = self.timeouts.get().client;
        if self.pace.sweep_answer(now, &expected) {
            self.wake();
        }
        if self.request_ended() { None } else { self.pace.sweep_body(now, self.request_bytes.get(), &expected) }
    }

    fn overdue(&self, now: Instant, name: impl Fn(usize) -> String) -> Option<Reason> {
        let since = |moment: Instant| now.saturating_duration_since(moment);
        let timeouts = self.timeouts.get();
        let idle = since(self.touched.get()) > timeouts.idle;
        match (self.awaiting.get(), self.request_ended.get()) {
            (Awaiting::Head, Some(ended)) if since(ended) > timeouts.head => Some(Reason::UpstreamTimeout),
            (Awaiting::Filter(at), _) if idle => Some(Reason::FilterPaused(name(at))),
            (_, None) if since(self.started) > timeouts.request => Some(Reason::RequestTimeout),
            _ if idle => Some(Reason::StreamIdle),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        idle: Duration::from_secs(300),
        request: Duration::from_secs(200),
        head: Duration::from_secs(15),
        client: Expected { rate: Some(1024), period: Duration::from_secs(10), take: Duration::from_secs(30) },
    };

    fn exchange() -> (Exchange, Instant) {
        let now = Instant::now();
        (Exchange::new(now, TIMEOUTS, false), now)
    }

    fn after(exchange: &Exchange, now: Instant, seconds: u64) -> Option<Reason> {
        exchange.sweep(now + Duration::from_secs(seconds), |at| format!("filter {at}"));
        exchange.reason()
    }

    #[test]
    fn the_wait_for_a_head_counts_from_the_end_of_the_request() {
        let (exchange, now) = exchange();
        exchange.awaiting.set(Awaiting::Head);

        assert_eq!(after(&exchange, now, 100), None);
        exchange.end_request(now + Duration::from_secs(100));
        assert_eq!(after(&exchange, now, 115), None);
        assert_eq!(after(&exchange, now, 116), Some(Reason::UpstreamTimeout));
    }

    #[test]
    fn a_body_that_never_ends_is_ended() {
        let (exchange, now) = exchange();
        exchange.touch(now + Duration::from_secs(200));

        assert_eq!(after(&exchange, now, 200), None);
        assert_eq!(after(&exchange, now, 201), Some(Reason::RequestTimeout));
    }

    #[test]
    fn a_paused_filter_is_named_when_nothing_moves() {
        let (exchange, now) = exchange();
        exchange.end_request(now);
        exchange.awaiting.set(Awaiting::Filter(1));

        assert_eq!(after(&exchange, now, 300), None);
        assert_eq!(after(&exchange, now, 301), Some(Reason::FilterPaused("filter 1".to_owned())));
    }

    #[test]
    fn a_client_that_sends_too_little_is_ended_unless_the_exchange_lasts() {
        for (lasts, reason) in [(false, Some(Reason::SlowBody)), (true, None)] {
            let (exchange, now) = exchange();
            exchange.lasts.set(lasts);
            exchange.pace.await_body(true);

            after(&exchange, now, 10);
            assert_eq!(after(&exchange, now, 20), reason);
        }
    }

    #[test]
    fn the_first_reason_stays() {
        let (exchange, _) = exchange();

        exchange.note(Reason::UpstreamReset);
        exchange.interrupt(Reason::ClientGone);

        assert_eq!(exchange.reason(), Some(Reason::UpstreamReset));
        assert!(exchange.interrupted());
    }
}
