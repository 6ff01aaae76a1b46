//! The VM and the exchange that everything of the set is done with.
//!
//! The exchange is the proxy's own, as filters see it; the host answers everything and does nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use tollgate::exchange::buffer::BodyBuffer;
use tollgate::exchange::head::{Fields, ResponseHead};
use tollgate::exchange::kept::PropertyQuota;
use tollgate::exchange::stream::FilterStream;
use tollgate::exchange::unsent;
use tollgate_abi::{
    BufferType, CalloutId, CalloutLimits, CalloutRefusal, ContextId, GuestErrors, Host, HttpCall, Limits, LogLevel,
    MetricId, MetricKind, Module, PluginSettings, Status, StreamCallback, Vm,
};
use tollgate_config::TestRequest;

use super::HostError;
use crate::http::BODY;

/// What a filter may set of properties.
const QUOTA: PropertyQuota = PropertyQuota { count: 16, bytes: 4096 };
/// Fields that a message may have.
const FIELDS: usize = 100;
/// Time that nothing here takes.
const AGES: Duration = Duration::from_secs(24 * 3600);
/// The most bytes of a body.
const BODY_LIMIT: usize = 1024 * 1024;

/// A host that takes everything and hears nothing.
#[derive(Default)]
pub(super) struct Idle {
    /// The callout that was begun last.
    pub(super) asked: Option<CalloutId>,
}

impl Host for Idle {
    type Stream = Box<FilterStream>;

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn http_call(&mut self, id: CalloutId, _: HttpCall) -> Result<(), CalloutRefusal> {
        self.asked = Some(id);
        Ok(())
    }

    fn define_metric(&mut self, kind: MetricKind, _: &[u8]) -> Result<MetricId, Status> {
        Ok(MetricId(kind.into()))
    }

    fn increment_metric(&mut self, _: MetricId, _: i64) -> Result<(), Status> {
        Ok(())
    }

    fn record_metric(&mut self, _: MetricId, _: u64) -> Result<(), Status> {
        Ok(())
    }

    fn metric(&mut self, _: MetricId) -> Result<u64, Status> {
        Ok(0)
    }
}

/// What a plugin of the set may use: enough for any number of turns in one callback.
pub(super) fn settings(config: &str) -> PluginSettings {
    let callouts = CalloutLimits { per_callback: usize::MAX, per_stream: usize::MAX, ..CalloutLimits::default() };
    PluginSettings {
        name: "host".to_owned(),
        config: config.into(),
        limits: Limits { callback: AGES, start: AGES, callouts, ..Limits::default() },
        // What is refused ends the work, instead of being counted as if it had been done.
        guest_errors: GuestErrors::Strict,
        ..PluginSettings::default()
    }
}

/// A VM that has started.
pub(super) fn start(module: &Module, settings: PluginSettings) -> Result<Vm<Idle>, HostError> {
    Ok(Vm::start(module, Arc::new(settings), Idle::default()).map_err(|(failure, _)| failure)?)
}

/// A request of six fields, pseudo-headers included, without a body, and its answer of three.
pub(super) fn exchange() -> Result<Box<FilterStream>, HostError> {
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let request = TestRequest {
        host: "bench.test".to_owned(),
        headers: vec![field("user-agent", "proxy-cpu"), field("accept", "*/*")],
        ..TestRequest::default()
    };
    let unfit = |unfit: unsent::Unfit| HostError::Unfit(unfit.to_string());
    let mut stream = unsent::stream("bench", &request, QUOTA).map_err(unfit)?;
    stream.response = Some(answer());
    Ok(Box::new(stream))
}

fn answer() -> ResponseHead {
    let mut map = HeaderMap::new();
    map.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    map.insert(CONTENT_LENGTH, HeaderValue::from(BODY.len()));
    ResponseHead { status: StatusCode::OK, fields: Fields::new(map, FIELDS) }
}

/// A body of the request's, as a callback sees it.
pub(super) fn body(bytes: &Bytes) -> Option<(BufferType, BodyBuffer)> {
    let mut buffer = BodyBuffer::new(BODY_LIMIT);
    buffer.append(bytes.clone());
    Some((BufferType::RequestBody, buffer))
}

/// A VM that has a context for one exchange.
pub(super) struct Open {
    pub(super) vm: Vm<Idle>,
    context: ContextId,
    /// Absent while it is lent.
    stream: Option<Box<FilterStream>>,
}

impl Open {
    pub(super) fn new(mut vm: Vm<Idle>, stream: Box<FilterStream>) -> Result<Open, HostError> {
        let fields = tollgate_abi::HeaderMap::len(&stream.request);
        let (stream, begun) = vm.begin_stream(stream, fields, false);
        let (context, _) = begun?;
        Ok(Open { vm, context, stream: Some(stream) })
    }

    /// One entry of the guest, whose callback is told this size.
    pub(super) fn enter(&mut self, size: usize) -> Result<(), HostError> {
        let stream = self.stream.take().ok_or_else(|| HostError::Unfit("the exchange is lent twice".to_owned()))?;
        let callback = StreamCallback::RequestBody { size, end_of_stream: false };
        let (stream, action) = self.vm.deliver(self.context, stream, callback);
        self.stream = Some(stream);
        action?;
        Ok(())
    }
}

/// One exchange without a body through one VM: the request's head, the answer's, the end.
pub(super) fn pass(vm: &mut Vm<Idle>, stream: Box<FilterStream>) -> Result<Box<FilterStream>, HostError> {
    let (context, stream) = ask(vm, stream, true)?;
    let stream = respond(vm, context, stream)?;
    end(vm, context, stream)
}

/// The head of the request.
pub(super) fn ask(
    vm: &mut Vm<Idle>,
    stream: Box<FilterStream>,
    end_of_stream: bool,
) -> Result<(ContextId, Box<FilterStream>), HostError> {
    let fields = tollgate_abi::HeaderMap::len(&stream.request);
    let (stream, begun) = vm.begin_stream(stream, fields, end_of_stream);
    let (context, _) = begun?;
    Ok((context, stream))
}

/// The head of the answer.
pub(super) fn respond(
    vm: &mut Vm<Idle>,
    context: ContextId,
    stream: Box<FilterStream>,
) -> Result<Box<FilterStream>, HostError> {
    let fields = stream.response.as_ref().map_or(0, tollgate_abi::HeaderMap::len);
    let head = StreamCallback::ResponseHeaders { fields, end_of_stream: false };
    let (stream, action) = vm.deliver(context, stream, head);
    action?;
    Ok(stream)
}

/// Done, log, delete.
pub(super) fn end(
    vm: &mut Vm<Idle>,
    context: ContextId,
    stream: Box<FilterStream>,
) -> Result<Box<FilterStream>, HostError> {
    let (stream, ended) = vm.end_stream(context, stream);
    ended?;
    Ok(stream)
}
