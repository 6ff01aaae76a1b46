//! For tests of this crate and of embedders: a host and a stream that record, and guests from a few lines of WAT.
//!
//! Nothing here is for serving: streams are plain vectors and metrics live in the VM's own host.

pub mod puppet;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::callback::CallbackKind;
use crate::callout::{CalloutRefusal, GrpcCall, HttpCall};
use crate::host::{Host, LocalResponse, Stream};
use crate::limits::Quota;
use crate::storage::{Buffer, HeaderMap, Refusal, VecHeaderMap};
use crate::types::{
    BufferType, CalloutId, ContextId, LogLevel, MapType, MetricId, MetricKind, QueueId, Status, StreamType,
};

mod guests;

pub use guests::{every_import, guest, guest_of, wat};

pub use crate::sabotage::SABOTAGE;

/// A host that remembers everything it is told.
#[derive(Debug, Default)]
pub struct RecordingHost {
    /// Lines with their level, oldest first.
    pub lines: Vec<(LogLevel, Vec<u8>)>,
    /// What was refused: the hostcall and the reason.
    pub refused: Vec<(&'static str, Refusal)>,
    /// Guest entries that ended.
    pub entries: Vec<CallbackKind>,
    /// The last tick period; `None` before the first and after a stop.
    pub tick_period: Option<Duration>,
    /// Properties, by their path joined with dots.
    pub properties: HashMap<String, Vec<u8>>,
    /// Streams that `proxy_set_effective_context` may borrow.
    pub lendable: HashMap<ContextId, RecordingStream>,
    /// Contexts whose stream is out at the moment.
    pub borrowed: Vec<ContextId>,
    /// Names and values of metrics, by id.
    pub metrics: BTreeMap<u32, (Vec<u8>, i64)>,
    /// What `proxy_get_log_level` says; `None` is info.
    pub level: Option<LogLevel>,
    /// Upstreams that callouts may name; others are refused.
    pub upstreams: Vec<String>,
    /// HTTP callouts, oldest first.
    pub http_calls: Vec<(CalloutId, HttpCall)>,
    /// gRPC callouts, oldest first.
    pub grpc_calls: Vec<(CalloutId, GrpcCall)>,
    /// What else happened to gRPC callouts.
    pub grpc_events: Vec<GrpcSent>,
    /// Queues that the guest registered.
    pub queues: Vec<QueueId>,
    /// Host names that the guest looked up, with their tokens. Names without a dot are refused.
    pub lookups: Vec<(u32, String)>,
    /// One-shot timers that the guest set, without those that were cancelled.
    pub timers: Vec<(u32, Duration)>,
    /// Foreign functions that answer with these bytes.
    pub functions: HashMap<Vec<u8>, Vec<u8>>,
    /// Quotas that were passed.
    pub quotas: Vec<Quota>,
    /// Makes `log` panic, to see what a failing embedder does to a VM.
    pub panics_on_log: bool,
}

/// Something that a guest did to a gRPC callout of a `RecordingHost`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrpcSent {
    /// A message, and whether it was the last one.
    Message(CalloutId, Vec<u8>, bool),
    /// Our half was closed.
    HalfClosed(CalloutId),
    /// It was dropped.
    Cancelled(CalloutId),
}

impl RecordingHost {
    fn check_upstream(&self, name: &[u8]) -> Result<(), CalloutRefusal> {
        if self.upstreams.iter().any(|known| known.as_bytes() == name) {
            return Ok(());
        }
        let name = String::from_utf8_lossy(name).into_owned();
        Err(CalloutRefusal::UnknownUpstream { name, known: self.upstreams.clone() })
    }

    /// Lines of any level as text.
    pub fn text(&self) -> Vec<String> {
        self.lines.iter().map(|(_, line)| String::from_utf8_lossy(line).into_owned()).collect()
    }

    /// Numbers that a guest made by `guest` told through `$tell`, oldest first.
    pub fn told(&self) -> Vec<u32> {
        let told = self.lines.iter().filter(|(level, _)| *level == LogLevel::Trace);
        told.filter_map(|(_, line)| Some(u32::from_le_bytes(*line.first_chunk()?))).collect()
    }
}

impl Host for RecordingHost {
    type Stream = RecordingStream;

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        assert!(!self.panics_on_log, "the recording host was told to panic");
        self.lines.push((level, message.to_vec()));
    }

    fn log_level(&self) -> LogLevel {
        self.level.unwrap_or(LogLevel::Info)
    }

    fn callback_ended(&mut self, callback: CallbackKind, _: Duration) {
        self.entries.push(callback);
    }

    fn refused(&mut self, hostcall: &'static str, why: &Refusal) {
        self.refused.push((hostcall, why.clone()));
    }

    fn set_tick_period(&mut self, period: Option<Duration>) {
        self.tick_period = period;
    }

    fn property(&mut self, path: &[&[u8]]) -> Option<Vec<u8>> {
        self.properties.get(&dotted(path)).cloned()
    }

    fn over_quota(&mut self, quota: Quota) {
        self.quotas.push(quota);
    }

    fn http_call(&mut self, id: CalloutId, call: HttpCall) -> Result<(), CalloutRefusal> {
        self.check_upstream(&call.upstream)?;
        self.http_calls.push((id, call));
        Ok(())
    }

    fn grpc_call(&mut self, id: CalloutId, call: GrpcCall) -> Result<(), CalloutRefusal> {
        self.check_upstream(&call.upstream)?;
        self.grpc_calls.push((id, call));
        Ok(())
    }

    fn grpc_send(&mut self, id: CalloutId, message: Vec<u8>, end_of_stream: bool) {
        self.grpc_events.push(GrpcSent::Message(id, message, end_of_stream));
    }

    fn grpc_close(&mut self, id: CalloutId) {
        self.grpc_events.push(GrpcSent::HalfClosed(id));
    }

    fn cancel_call(&mut self, id: CalloutId) {
        self.grpc_events.push(GrpcSent::Cancelled(id));
    }

    fn queue_registered(&mut self, queue: QueueId) {
        self.queues.push(queue);
    }

    fn resolve_dns(&mut self, token: u32, name: &str) -> Result<(), CalloutRefusal> {
        if !name.contains('.') {
            return Err(CalloutRefusal::Invalid(format!("{name:?} has no dot")));
        }
        self.lookups.push((token, name.to_owned()));
        Ok(())
    }

    fn set_timer(&mut self, timer: u32, after: Duration) {
        self.timers.push((timer, after));
    }

    fn cancel_timer(&mut self, timer: u32) {
        self.timers.retain(|(known, _)| *known != timer);
    }

    fn foreign_function(&mut self, name: &[u8], _: &[u8]) -> Result<Vec<u8>, Status> {
        self.functions.get(name).cloned().ok_or(Status::NotFound)
    }

    fn borrow_stream(&mut self, context: ContextId) -> Option<RecordingStream> {
        let stream = self.lendable.remove(&context)?;
        self.borrowed.push(context);
        Some(stream)
    }

    fn return_stream(&mut self, context: ContextId, stream: RecordingStream) {
        self.borrowed.retain(|known| *known != context);
        self.lendable.insert(context, stream);
    }

    fn define_metric(&mut self, kind: MetricKind, name: &[u8]) -> Result<MetricId, Status> {
        let known = self.metrics.iter().find(|(_, (known, _))| known == name);
        if let Some((id, _)) = known {
            return Ok(MetricId(*id));
        }
        let count = u32::try_from(self.metrics.len()).map_err(|_| Status::InternalFailure)?;
        let id = count * 4 + u32::from(kind);
        self.metrics.insert(id, (name.to_vec(), 0));
        Ok(MetricId(id))
    }

    fn increment_metric(&mut self, metric: MetricId, delta: i64) -> Result<(), Status> {
        let (_, value) = self.metrics.get_mut(&metric.0).ok_or(Status::NotFound)?;
        *value = value.saturating_add(delta);
        Ok(())
    }

    fn record_metric(&mut self, metric: MetricId, value: u64) -> Result<(), Status> {
        let (_, current) = self.metrics.get_mut(&metric.0).ok_or(Status::NotFound)?;
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        *current = if metric.kind() == Some(MetricKind::Counter) { current.saturating_add(value) } else { value };
        Ok(())
    }

    fn metric(&mut self, metric: MetricId) -> Result<u64, Status> {
        let (_, value) = self.metrics.get(&metric.0).ok_or(Status::NotFound)?;
        u64::try_from(*value).map_err(|_| Status::InternalFailure)
    }
}

/// A stream of vectors that remembers what was done to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordingStream {
    /// Maps that exist.
    pub maps: HashMap<MapType, VecHeaderMap>,
    /// Buffers that exist.
    pub buffers: HashMap<BufferType, Vec<u8>>,
    /// Properties, by their path joined with dots.
    pub properties: HashMap<String, Vec<u8>>,
    /// Local responses and continues and closes, in the order in which they were delivered.
    pub events: Vec<StreamEvent>,
    /// What is wrong with every local response, if anything is.
    pub unfit: Option<Refusal>,
}

/// Something that was done to a `RecordingStream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// A local response.
    Responded(LocalResponse),
    /// A local response was asked for that cannot be sent.
    ResponseRefused,
    /// A half was told to go on.
    Resumed(StreamType),
    /// A half was closed.
    Closed(StreamType),
    /// The route is to be chosen again.
    RouteCleared,
    /// The guest is ready for the end of its context.
    Done,
}

impl RecordingStream {
    /// A stream with request headers.
    pub fn request<const N: usize>(fields: [(&str, &str); N]) -> Self {
        RecordingStream::default().with_map(MapType::RequestHeaders, fields)
    }

    /// The same with one more map.
    #[must_use]
    pub fn with_map<const N: usize>(mut self, map: MapType, fields: [(&str, &str); N]) -> Self {
        self.maps.insert(map, VecHeaderMap::new(fields));
        self
    }

    /// The same with one more buffer.
    #[must_use]
    pub fn with_buffer(mut self, buffer: BufferType, bytes: &[u8]) -> Self {
        self.buffers.insert(buffer, bytes.to_vec());
        self
    }
}

impl Stream for RecordingStream {
    fn headers(&mut self, map: MapType) -> Option<&mut dyn HeaderMap> {
        self.maps.get_mut(&map).map(|map| map as &mut dyn HeaderMap)
    }

    fn buffer(&mut self, buffer: BufferType) -> Option<&mut dyn Buffer> {
        self.buffers.get_mut(&buffer).map(|buffer| buffer as &mut dyn Buffer)
    }

    fn property(&mut self, path: &[&[u8]]) -> Option<Vec<u8>> {
        self.properties.get(&dotted(path)).cloned()
    }

    fn set_property(&mut self, path: &[u8], value: &[u8]) -> Result<(), Refusal> {
        let segments: Vec<&[u8]> = path.split(|byte| *byte == 0).collect();
        self.properties.insert(dotted(&segments), value.to_vec());
        Ok(())
    }

    fn local_response(&mut self, response: LocalResponse) -> Result<(), Refusal> {
        self.events.push(StreamEvent::Responded(response));
        Ok(())
    }

    fn check_response(&mut self, _: &LocalResponse) -> Result<(), Refusal> {
        self.unfit.clone().map_or(Ok(()), Err)
    }

    fn response_refused(&mut self) {
        self.events.push(StreamEvent::ResponseRefused);
    }

    fn resume(&mut self, half: StreamType) {
        self.events.push(StreamEvent::Resumed(half));
    }

    fn close(&mut self, half: StreamType) {
        self.events.push(StreamEvent::Closed(half));
    }

    fn clear_route_cache(&mut self) {
        self.events.push(StreamEvent::RouteCleared);
    }

    fn done(&mut self) {
        self.events.push(StreamEvent::Done);
    }
}

fn dotted(path: &[&[u8]]) -> String {
    let parts: Vec<_> = path.iter().map(|part| String::from_utf8_lossy(part)).collect();
    parts.join(".")
}

/// The parts of a property path as a guest gives it; `None` where it names nothing.
pub fn property_path(path: &[u8]) -> Option<Vec<&[u8]>> {
    crate::hostcall::property_path(path)
}
