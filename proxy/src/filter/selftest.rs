//! Requests of the configuration's that a new generation must pass before it serves.
//!
//! Each is one exchange that no client sent: through this filter alone, on the control side, to an upstream that answers 200
//! without a body. Nothing is waited for, so whatever pauses the exchange beyond its callback fails the test. What the filter
//! asks of other clusters is never sent, and what it shares is shared with nobody.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use tollgate_abi::{
    Action, BufferType, CallbackKind, ContextId, Failure, HeaderMap as _, LocalResponse, StreamCallback, StreamType,
};
use tollgate_config::{EmptyBody, Expectation, HeaderPause, Limits, SelfTest};

use crate::exchange::buffer::BodyBuffer;
use crate::exchange::head::{Fields, ResponseHead};
use crate::exchange::lent::Lent;
use crate::exchange::stream::FilterStream;
use crate::exchange::unsent;
use crate::filter::fault::{Fault, FaultKind};
use crate::filter::generation::{Generation, ReadyVm};

/// What listener, route and cluster are called in an exchange that no client sent.
const NAME: &str = "selftest";

/// Shows every self-test of the plugin to the generation, each to a VM of its own. The first that fails is the fault.
pub fn run(generation: &Generation) -> Result<(), Fault> {
    let tests = &generation.plugin.selftest;
    tests.iter().enumerate().try_for_each(|(place, test)| {
        let mut vm = generation.start_apart()?;
        pass(generation, &mut vm, test).map_err(|flaw| Fault {
            plugin: generation.identity.name.to_string(),
            module: generation.origin.to_string(),
            digest: Some(generation.digest),
            kind: Arc::new(FaultKind::SelfTest { place, why: flaw.why, backtrace: flaw.backtrace }),
            lines: vm.host().kept_lines(),
        })
    })
}

fn pass(generation: &Generation, vm: &mut ReadyVm, test: &SelfTest) -> Result<(), Flaw> {
    let stream =
        unsent::stream(NAME, &test.request, generation.manners.properties).map_err(|unfit| unfit.to_string())?;
    let mut trial = Trial { generation, vm, stream: Some(Box::new(stream)), id: None };
    let leaves = trial.run(&test.request.body)?;
    judge(trial.stream()?, leaves, &test.expect).map_err(Flaw::from)
}

/// Why a self-test failed.
struct Flaw {
    why: String,
    /// Frames of the guest, innermost first, where it trapped.
    backtrace: Vec<String>,
}

impl From<String> for Flaw {
    fn from(why: String) -> Self {
        Self { why, backtrace: Vec::new() }
    }
}

impl From<Failure> for Flaw {
    fn from(failure: Failure) -> Self {
        Self { why: failure.to_string(), backtrace: failure.backtrace }
    }
}

/// Where the request of a test goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaves {
    /// To the upstream.
    Upstream,
    /// Nowhere: the filter answered it.
    Nowhere,
}

/// One exchange.
struct Trial<'a> {
    generation: &'a Generation,
    vm: &'a mut ReadyVm,
    /// Absent while it is lent.
    stream: Option<Box<FilterStream>>,
    /// The filter's context, once it has one.
    id: Option<ContextId>,
}

impl Trial<'_> {
    /// From the request's head to the end, in the order of a real exchange. The stream then holds the answer.
    fn run(&mut self, body: &[u8]) -> Result<Leaves, Flaw> {
        let local = self.request(body)?;
        let stream = self.stream()?;
        stream.request.fields.writable = false;
        let leaves = if local.is_some() { Leaves::Nowhere } else { Leaves::Upstream };
        let limit = stream.request.fields.limit;
        let (head, body) = local.map_or_else(|| empty(limit), |local| compose(local, limit));
        stream.response = Some(head);
        if let Some(local) = self.response(&body)? {
            // No filter sees it again.
            self.stream()?.response = Some(compose(local, limit).0);
        }
        self.end()?;
        Ok(leaves)
    }

    /// `Some`: the filter answers itself.
    fn request(&mut self, body: &[u8]) -> Result<Option<LocalResponse>, Flaw> {
        let (fields, end) = (self.stream()?.request.len(), body.is_empty());
        let (id, action) = self.enter(|vm, stream| vm.begin_stream(stream, fields, end))?;
        self.id = Some(id);
        let waits = self.lets_body_come(StreamType::Request, action, body);
        match self.settle(StreamType::Request, action, waits)? {
            None => self.body(StreamType::Request, body),
            answer => Ok(answer),
        }
    }

    /// The same for what the upstream, or the filter, answered.
    fn response(&mut self, body: &[u8]) -> Result<Option<LocalResponse>, Flaw> {
        let fields = self.stream()?.response.as_ref().map_or(0, |head| head.len());
        let action = self.deliver(StreamCallback::ResponseHeaders { fields, end_of_stream: body.is_empty() })?;
        let waits = self.lets_body_come(StreamType::Response, action, body);
        match self.settle(StreamType::Response, action, waits)? {
            None => self.body(StreamType::Response, body),
            answer => Ok(answer),
        }
    }

    /// A body as one chunk that ends it.
    fn body(&mut self, half: StreamType, body: &[u8]) -> Result<Option<LocalResponse>, Flaw> {
        if !self.sees_body(half, body) {
            return Ok(None);
        }
        let (kind, callback) = match half {
            StreamType::Request => {
                (BufferType::RequestBody, StreamCallback::RequestBody { size: body.len(), end_of_stream: true })
            }
            _ => (BufferType::ResponseBody, StreamCallback::ResponseBody { size: body.len(), end_of_stream: true }),
        };
        let mut lent = BodyBuffer::new(Limits::default().buffer.as_usize());
        lent.append(Bytes::copy_from_slice(body));
        let stream = self.stream()?;
        (stream.body, stream.may_add_trailers) = (Some((kind, lent)), true);
        let action = self.deliver(callback)?;
        let stream = self.stream()?;
        (stream.body, stream.may_add_trailers) = (None, false);
        self.settle(half, action, false)
    }

    fn sees_body(&self, half: StreamType, body: &[u8]) -> bool {
        let kind = if half == StreamType::Request { CallbackKind::RequestBody } else { CallbackKind::ResponseBody };
        let comes = !body.is_empty() || self.generation.manners.empty_body == EmptyBody::Call;
        comes && self.generation.exports(kind)
    }

    /// True when a pause in a callback for headers ends with the callback for the body.
    fn lets_body_come(&self, half: StreamType, action: Action, body: &[u8]) -> bool {
        let alone = self.generation.manners.header_pause == HeaderPause::Headers;
        alone && action == Action::Pause && self.sees_body(half, body)
    }

    /// What a callback came to: `Some` when the filter answers. `waits`: the half may go on paused.
    fn settle(&mut self, half: StreamType, action: Action, waits: bool) -> Result<Option<LocalResponse>, Flaw> {
        let wishes = std::mem::take(&mut self.stream()?.wishes);
        if wishes.refused.is_some() {
            return Err("the answer of the filter cannot be sent".to_owned().into());
        }
        if let Some((_, response)) = wishes.respond {
            return Ok(Some(response));
        }
        if wishes.close.is_some() {
            return Err("the filter closed the exchange".to_owned().into());
        }
        let resumed = wishes.resume.iter().any(|(_, resumed)| *resumed == half);
        if action == Action::Continue || resumed || waits {
            return Ok(None);
        }
        let half = if half == StreamType::Request { "request" } else { "response" };
        Err(format!("the filter paused the {half}; a self-test cannot wait for callouts, queues or timers").into())
    }

    /// Done, log and delete, whether the filter asks for more time or not.
    fn end(&mut self) -> Result<(), Flaw> {
        let stream = self.stream()?;
        stream.may_respond = false;
        stream.ended = Some(Instant::now());
        stream.status = stream.response.as_ref().map(|head| head.status.as_u16());
        stream.response.iter_mut().for_each(|head| head.fields.writable = false);
        let id = self.id;
        id.map_or(Ok(()), |id| self.enter(|vm, stream| vm.end_stream(id, stream)))
    }

    fn deliver(&mut self, callback: StreamCallback) -> Result<Action, Flaw> {
        let id = self.id;
        id.map_or(Ok(Action::Continue), |id| self.enter(|vm, stream| vm.deliver(id, stream, callback)))
    }

    /// Lends the stream for one callback.
    fn enter<T>(&mut self, call: impl FnOnce(&mut ReadyVm, Lent) -> (Lent, Result<T, Failure>)) -> Result<T, Flaw> {
        let stream = self.stream.take().ok_or_else(lost)?;
        let (back, outcome) = call(self.vm, Lent::Http(stream));
        if let Lent::Http(stream) = back {
            self.stream = Some(stream);
        }
        Ok(outcome?)
    }

    fn stream(&mut self) -> Result<&mut FilterStream, Flaw> {
        self.stream.as_deref_mut().ok_or_else(lost)
    }
}

/// A VM gives back what it got, so nobody ever reads this.
fn lost() -> Flaw {
    "the exchange is lent twice".to_owned().into()
}

/// What the upstream of a self-test answers.
fn empty(limit: usize) -> (ResponseHead, Vec<u8>) {
    let fields = Fields::bounded(HeaderMap::new(), limit);
    (ResponseHead { status: StatusCode::OK, fields }, Vec::new())
}

/// A filter's answer as the filters see it. What may not be there is left out: the filter has been told of it.
fn compose(local: LocalResponse, limit: usize) -> (ResponseHead, Vec<u8>) {
    let (mut head, _) = empty(limit);
    head.status = StatusCode::from_u16(local.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    local.headers.iter().for_each(|(name, value)| drop(head.fields.add(name, value)));
    if !local.body.is_empty() && !head.fields.map.contains_key(header::CONTENT_TYPE) {
        head.fields.map.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    (head, local.body)
}

/// Whether what came of the request is what has to.
fn judge(stream: &FilterStream, leaves: Leaves, expect: &Expectation) -> Result<(), String> {
    let answer = stream.response.as_ref().ok_or("there is no answer")?;
    let found = answer.status.as_u16();
    if let Some(status) = expect.status.filter(|status| *status != found) {
        let who = if leaves == Leaves::Upstream { "the answer after the filter has" } else { "the filter answered" };
        return Err(format!("expected status {status}, {who} {found}"));
    }
    has_all(&answer.fields.map, &expect.headers, "the answer")?;
    if leaves == Leaves::Nowhere && !expect.upstream_headers.is_empty() {
        return Err(format!("expected a request to the upstream, the filter answered {found}"));
    }
    // The host is a field of the request that leaves.
    let mut sent = stream.request.fields.map.clone();
    sent.extend(HeaderValue::from_str(stream.request.authority.as_str()).map(|host| (header::HOST, host)));
    has_all(&sent, &expect.upstream_headers, "the request to the upstream")
}

fn has_all(map: &HeaderMap, wanted: &[(String, String)], of: &str) -> Result<(), String> {
    wanted.iter().try_for_each(|(name, value)| {
        let found: Vec<_> = map.get_all(name).iter().map(|found| String::from_utf8_lossy(found.as_bytes())).collect();
        if found.iter().any(|found| found == value) {
            return Ok(());
        }
        let expected = format!("{name}: {value}");
        if found.is_empty() {
            return Err(format!("expected header {expected:?} of {of}, it has none"));
        }
        Err(format!("expected header {expected:?} of {of}, it is {:?}", found.join(", ")))
    })
}
