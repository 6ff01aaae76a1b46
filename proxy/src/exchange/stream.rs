//! One exchange as filters see it: the value that is lent to a VM with each callback and comes back with the answer.
//!
//! It records what filters wish (answer, resume, close); the exchange acts on it after the guest returned.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::Version;
use tollgate_abi::{Buffer, BufferType, HeaderMap, LocalResponse, MapType, Refusal, Stream, StreamType};
use tollgate_config::Direction;

use crate::error::Reason;
use crate::exchange::buffer::BodyBuffer;
use crate::exchange::head::{Fields, RequestHead, ResponseHead, check_field, is_framing};
use crate::exchange::kept::{Kept, PropertyQuota};
use crate::exchange::properties;
use crate::tls::secured::Secured;

/// How an exchange's way is called in metrics, logs and properties.
#[derive(Debug)]
pub struct Names {
    /// The listener's name.
    pub listener: String,
    /// Which way the listener's connections go.
    pub direction: Direction,
    /// The route's name.
    pub route: String,
    /// The host that the route is for, as it is written; `*` for every host.
    pub host: String,
    /// The cluster's name, `echo`, or `none`.
    pub cluster: String,
}

/// Names and addresses that do not change during an exchange.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its names. Each worker has its own copy, so that counting references bounces no cache line between workers.
    pub names: Arc<Names>,
    /// What each filter of the chain may set, in its order.
    pub quotas: Arc<[PropertyQuota]>,
    /// The client's address.
    pub source: SocketAddr,
    /// The address that the client connected to.
    pub destination: SocketAddr,
    /// The connection's number in this process.
    pub connection: u64,
    /// Present when the client speaks TLS.
    pub secured: Option<Arc<Secured>>,
    /// The protocol of the request.
    pub version: Version,
    /// When the head had been read.
    pub started: Instant,
    /// The declared length of the request's body.
    pub content_length: Option<u64>,
    /// How many callouts led to the request, whatever filters make of the field that says so.
    pub hops: u8,
}

/// How the upstream was reached, as far as it was.
#[derive(Clone, Debug, Default)]
pub struct Reached {
    /// The endpoint that answered.
    pub address: Option<SocketAddr>,
    /// This end of the connection to it.
    pub local: Option<SocketAddr>,
    /// Present when TLS is spoken on it.
    pub secured: Option<Arc<Secured>>,
    /// Endpoints of the cluster.
    pub endpoints: Option<usize>,
    /// Attempts, the first one included.
    pub attempts: Option<u32>,
    /// The wait for a connection.
    pub waited: Option<Duration>,
    /// Why no connection could be made.
    pub failure: Option<String>,
}

/// What filters asked for; read and cleared by the chain. `usize` is the place of the filter in the chain.
#[derive(Debug, Default)]
pub struct Wishes {
    /// Answer the client with this; the first one wins.
    pub respond: Option<Box<(usize, LocalResponse)>>,
    /// Continue a half that this filter paused.
    pub resume: Vec<(usize, StreamType)>,
    /// End the exchange.
    pub close: Option<usize>,
    /// A local response came too late to be sent; the exchange ends instead.
    pub refused: Option<usize>,
    /// These filters, which asked to outlive the exchange, are ready for its end.
    pub done: Vec<usize>,
}

/// See the module.
#[derive(Debug)]
pub struct FilterStream {
    /// What does not change.
    pub facts: Facts,
    /// The request's head; read-only once sent.
    pub request: RequestHead,
    /// The response's head, once there is one.
    pub response: Option<ResponseHead>,
    /// Trailers, once they came or a filter made some.
    pub request_trailers: Option<Box<Fields>>,
    /// Trailers, once they came or a filter made some.
    pub response_trailers: Option<Box<Fields>>,
    /// True while a filter may still make trailers: in the body callback that ends a body.
    pub may_add_trailers: bool,
    /// The body bytes of the current callback.
    pub body: Option<(BufferType, BodyBuffer)>,
    /// The upstream's side.
    pub reached: Reached,
    /// When the request had been handed to the upstream, and when its answer began; when it ended, once it did.
    pub upstream_times: (Option<Instant>, Option<Instant>),
    /// Words for `response.code_details`.
    pub details: Option<Vec<u8>>,
    /// Why the upstream's answer is not what the client gets, as far as it is known.
    pub reason: Option<Reason>,
    /// The status that went to the client, once the exchange is over.
    pub status: Option<u16>,
    /// When the exchange was over.
    pub ended: Option<Instant>,
    /// Body bytes so far.
    pub request_bytes: u64,
    /// Body bytes so far.
    pub response_bytes: u64,
    /// What filters set, oldest first.
    properties: Kept,
    /// The place in the chain of the filter that holds the stream at the moment.
    pub holder: usize,
    /// What filters asked for.
    pub wishes: Wishes,
    /// True while an answer of the proxy can still be sent.
    pub may_respond: bool,
    wall_clock: OnceCell<SystemTime>,
}

impl FilterStream {
    /// A stream at the moment the request's head was read.
    pub fn new(facts: Facts, request: RequestHead) -> Self {
        Self {
            facts,
            request,
            response: None,
            request_trailers: None,
            response_trailers: None,
            may_add_trailers: false,
            body: None,
            reached: Reached::default(),
            upstream_times: (None, None),
            details: None,
            reason: None,
            status: None,
            ended: None,
            request_bytes: 0,
            response_bytes: 0,
            properties: Kept::default(),
            holder: 0,
            wishes: Wishes::default(),
            may_respond: true,
            wall_clock: OnceCell::new(),
        }
    }

    /// Takes the wish that leaves the exchange no other choice than to end at once; `name` is the filter's.
    pub fn take_ending(&mut self, name: &str) -> Option<Reason> {
        let (refused, close) = (self.wishes.refused.take(), self.wishes.close.take());
        if refused.is_some() {
            return Some(Reason::LocalResponseRefused(name.to_owned()));
        }
        close.map(|_| Reason::FilterClosed(name.to_owned()))
    }

    /// True when a filter wishes that the exchange goes another way: an answer of its own, or the end.
    pub fn diverts(&self) -> bool {
        let wishes = &self.wishes;
        wishes.respond.is_some() || wishes.close.is_some() || wishes.refused.is_some()
    }

    /// True when a filter wishes something that the exchange has not acted on.
    pub fn has_wishes(&self) -> bool {
        self.diverts() || !self.wishes.resume.is_empty()
    }

    /// What a filter set under this raw path.
    pub fn set_by_filter(&self, path: &[u8]) -> Option<&[u8]> {
        self.properties.find(path)
    }

    /// Everything that filters set, with its raw path.
    pub fn all_set(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.properties.all()
    }

    /// The wall clock when the head had been read. It is derived from the monotonic one when somebody asks, so the
    /// request itself reads one clock only.
    pub fn wall_clock(&self) -> SystemTime {
        let started = self.facts.started;
        *self.wall_clock.get_or_init(|| SystemTime::now().checked_sub(started.elapsed()).unwrap_or(UNIX_EPOCH))
    }

    fn trailers(&mut self, map: MapType) -> Option<&mut dyn HeaderMap> {
        let limit = self.request.fields.limit;
        let (slot, body) = match map {
            MapType::RequestTrailers => (&mut self.request_trailers, BufferType::RequestBody),
            _ => (&mut self.response_trailers, BufferType::ResponseBody),
        };
        let ending = self.may_add_trailers && self.body.as_ref().is_some_and(|(kind, _)| *kind == body);
        if slot.is_none() && ending {
            *slot = Some(Box::new(Fields::bounded(http::HeaderMap::new(), limit)));
        }
        slot.as_deref_mut().map(|fields| fields as &mut dyn HeaderMap)
    }
}

/// The box is what moves: lending costs a pointer.
impl Stream for Box<FilterStream> {
    fn headers(&mut self, map: MapType) -> Option<&mut dyn HeaderMap> {
        match map {
            MapType::RequestHeaders => Some(&mut self.request),
            MapType::ResponseHeaders => self.response.as_mut().map(|head| head as &mut dyn HeaderMap),
            MapType::RequestTrailers | MapType::ResponseTrailers => self.trailers(map),
            _ => None,
        }
    }

    fn buffer(&mut self, buffer: BufferType) -> Option<&mut dyn Buffer> {
        let (kind, body) = self.body.as_mut()?;
        (*kind == buffer).then_some(body as &mut dyn Buffer)
    }

    fn property(&mut self, path: &[&[u8]]) -> Option<Vec<u8>> {
        properties::of_stream(self, path)
    }

    fn set_property(&mut self, path: &[u8], value: &[u8]) -> Result<(), Refusal> {
        let owner = self.holder;
        let quota = self.facts.quotas.get(owner).copied().ok_or(Refusal::Unavailable)?;
        self.properties.set(path, value, (owner, quota))
    }

    /// Framing fields are left out without a word, as in `replace_all`: a guest that states the length means no harm.
    fn check_response(&mut self, response: &LocalResponse) -> Result<(), Refusal> {
        if !self.may_respond {
            return Err(Refusal::ReadOnly);
        }
        let mut fields = response.headers.iter().filter(|(name, _)| !is_framing(name));
        fields.try_for_each(|(name, value)| check_field(name, value).map(drop))
    }

    fn response_refused(&mut self) {
        self.wishes.refused.get_or_insert(self.holder);
    }

    fn local_response(&mut self, response: LocalResponse) -> Result<(), Refusal> {
        if !self.may_respond {
            // Nothing truthful can be sent any more: the message is ended so that the client sees the failure.
            self.response_refused();
            return Err(Refusal::ReadOnly);
        }
        let holder = self.holder;
        self.wishes.respond.get_or_insert_with(|| Box::new((holder, response)));
        Ok(())
    }

    fn resume(&mut self, half: StreamType) {
        let wish = (self.holder, half);
        // However often a guest says it.
        if !self.wishes.resume.contains(&wish) {
            self.wishes.resume.push(wish);
        }
    }

    fn close(&mut self, _half: StreamType) {
        self.wishes.close.get_or_insert(self.holder);
    }

    fn done(&mut self) {
        self.wishes.done.push(self.holder);
    }

    fn clear_route_cache(&mut self) {
        self.request.edited.target = true;
    }
}
