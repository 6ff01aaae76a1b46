//! The seam: what an embedder gives (`Host` per VM, `Stream` per exchange), every method defaulted where a default is honest.
//!
//! The stream is *lent* to the VM with each callback and comes back with the answer, so no lock guards it and one exchange
//! can visit every filter of a chain in turn. Nothing here is async: what is slow is queued by the embedder and delivered
//! later as another callback.

use std::time::{Duration, Instant};

use crate::callback::CallbackKind;
use crate::callout::{CalloutRefusal, GrpcCall, HttpCall};
use crate::limits::Quota;
use crate::storage::{Buffer, HeaderMap, Refusal};
use crate::types::{
    BufferType, CalloutId, ContextId, LogLevel, MapType, MetricId, MetricKind, QueueId, Status, StreamType,
};

/// The services of one VM. It travels with the VM from the thread that starts it to the worker that runs it.
pub trait Host: Send + 'static {
    /// One exchange (or connection) of the embedder.
    type Stream: Stream;

    /// True has every hostcall timed, its bytes counted, and both told to `hostcall_ended`. False costs nothing.
    const METERS_HOSTCALLS: bool = false;

    /// A line of the guest, or of the VM about the guest. `message` is raw: it may hold any byte.
    fn log(&mut self, level: LogLevel, message: &[u8]);

    /// The lowest level worth formatting; the guest reads it through `proxy_get_log_level`.
    fn log_level(&self) -> LogLevel {
        LogLevel::Info
    }

    /// A guest entry begins: when. An embedder that has looked at the clock just before may give that moment again; what it did
    /// since counts as the guest's.
    fn callback_begins(&mut self) -> Instant {
        Instant::now()
    }

    /// A guest entry ended: `elapsed` is the wall time since the moment that `callback_begins` gave.
    fn callback_ended(&mut self, callback: CallbackKind, elapsed: Duration) {
        let _ = (callback, elapsed);
    }

    /// A hostcall ended. `elapsed` is the wall time inside it, with the guest's allocator where bytes are handed over.
    /// `copied` counts the bytes of names, values, bodies and messages that it read out of guest memory or wrote there;
    /// numbers and pointers are not among them. Called only with `METERS_HOSTCALLS`.
    fn hostcall_ended(&mut self, hostcall: &'static str, elapsed: Duration, copied: usize) {
        let _ = (hostcall, elapsed, copied);
    }

    /// A hostcall asked for something that was refused, and (leniently) was answered OK without effect.
    fn refused(&mut self, hostcall: &'static str, why: &Refusal) {
        let _ = (hostcall, why);
    }

    /// The guest was refused more of something. `refused` tells the rest.
    fn over_quota(&mut self, quota: Quota) {
        let _ = quota;
    }

    /// The root context wants `proxy_on_tick` every `period`; `None` stops the timer.
    fn set_tick_period(&mut self, period: Option<Duration>) {
        let _ = period;
    }

    /// A property that does not depend on an exchange (plugin name, node). Segments of `path` are the NUL-separated parts.
    fn property(&mut self, path: &[&[u8]]) -> Option<Vec<u8>> {
        let _ = path;
        None
    }

    /// Lends the stream of a context of this VM that is not lent at the moment, for `proxy_set_effective_context`.
    fn borrow_stream(&mut self, context: ContextId) -> Option<Self::Stream> {
        let _ = context;
        None
    }

    /// Takes back what `borrow_stream` lent, after every action on it was delivered.
    fn return_stream(&mut self, context: ContextId, stream: Self::Stream) {
        let _ = (context, stream);
    }

    /// Sends a request. What comes of it is delivered later, with `Vm::http_call_ended`, and never from within this call.
    fn http_call(&mut self, id: CalloutId, call: HttpCall) -> Result<(), CalloutRefusal> {
        let _ = (id, call);
        Err(CalloutRefusal::Unsupported)
    }

    /// Makes a unary gRPC call or opens a stream. What comes of it is delivered later, with `Vm::grpc_event`.
    fn grpc_call(&mut self, id: CalloutId, call: GrpcCall) -> Result<(), CalloutRefusal> {
        let _ = (id, call);
        Err(CalloutRefusal::Unsupported)
    }

    /// Sends a message on an open gRPC stream, and after the last one half-closes it. A stream that cannot take the
    /// message within the embedder's bounds is ended with `GrpcEvent::Closed`.
    fn grpc_send(&mut self, id: CalloutId, message: Vec<u8>, end_of_stream: bool) {
        let _ = (id, message, end_of_stream);
    }

    /// Half-closes an open gRPC stream.
    fn grpc_close(&mut self, id: CalloutId) {
        let _ = id;
    }

    /// Drops a gRPC callout. The VM has forgotten it and ignores what may still come.
    fn cancel_call(&mut self, id: CalloutId) {
        let _ = id;
    }

    /// The guest registered this queue: from the moment the VM serves, it wants `Vm::queue_ready` for its messages.
    fn queue_registered(&mut self, queue: QueueId) {
        let _ = queue;
    }

    /// Looks a host name up. The answer is delivered later, with `Vm::dns_resolved`.
    fn resolve_dns(&mut self, token: u32, name: &str) -> Result<(), CalloutRefusal> {
        let _ = (token, name);
        Err(CalloutRefusal::Unsupported)
    }

    /// Wants `Vm::timer_fired` once, after this time.
    fn set_timer(&mut self, timer: u32, after: Duration) {
        let _ = (timer, after);
    }

    /// A timer that has not fired is not wanted any more; firing it all the same has no effect.
    fn cancel_timer(&mut self, timer: u32) {
        let _ = timer;
    }

    /// A foreign function that this crate does not know. An `Err` goes to the guest as it is; SDKs survive
    /// `NotFound`, `BadArgument`, `SerializationFailure` and `InternalFailure`.
    fn foreign_function(&mut self, name: &[u8], arguments: &[u8]) -> Result<Vec<u8>, Status> {
        let _ = (name, arguments);
        Err(Status::NotFound)
    }

    /// Defines a metric of this plugin, or finds the one defined before under this name. An `Err` goes to the guest as it
    /// is, and most SDKs abort the VM on it: an embedder that bounds metrics does better to hand out an id that counts nowhere.
    fn define_metric(&mut self, kind: MetricKind, name: &[u8]) -> Result<MetricId, Status> {
        let _ = (kind, name);
        Err(Status::Unimplemented)
    }

    /// Adds to a counter or gauge. The VM has checked the sign against the kind that the id names.
    fn increment_metric(&mut self, metric: MetricId, delta: i64) -> Result<(), Status> {
        let _ = (metric, delta);
        Err(Status::NotFound)
    }

    /// Sets a gauge, adds to a counter, samples a histogram.
    fn record_metric(&mut self, metric: MetricId, value: u64) -> Result<(), Status> {
        let _ = (metric, value);
        Err(Status::NotFound)
    }

    /// The current value of a counter or gauge.
    fn metric(&mut self, metric: MetricId) -> Result<u64, Status> {
        let _ = metric;
        Err(Status::NotFound)
    }
}

/// One exchange, as the guest may see and change it.
pub trait Stream: Send + 'static {
    /// A header map, or `None` when the exchange has none of that type at this point.
    fn headers(&mut self, map: MapType) -> Option<&mut dyn HeaderMap>;

    /// A buffer, or `None` when the exchange has none of that type at this point.
    fn buffer(&mut self, buffer: BufferType) -> Option<&mut dyn Buffer>;

    /// A property of this exchange in the encoding of Envoy; `None` falls through to `Host::property`.
    fn property(&mut self, path: &[&[u8]]) -> Option<Vec<u8>> {
        let _ = path;
        None
    }

    /// Writes a property; `path` is raw, NUL separators included.
    fn set_property(&mut self, path: &[u8], value: &[u8]) -> Result<(), Refusal> {
        let _ = (path, value);
        Err(Refusal::Unavailable)
    }

    /// Answers the client in place of the upstream. Delivered after the guest call that asked for it returned.
    /// An `Err` means that nothing will be sent: the embedder has ended the exchange in another way.
    fn local_response(&mut self, response: LocalResponse) -> Result<(), Refusal> {
        let _ = response;
        Err(Refusal::Unavailable)
    }

    /// Whether this answer could be sent now, as it is; asked before the guest goes on, so that a strict one is told.
    /// An answer of which only a field is refused (`Name`, `Value`) is delivered all the same unless `guest_errors` is
    /// strict: the embedder leaves the field out.
    fn check_response(&mut self, response: &LocalResponse) -> Result<(), Refusal> {
        let _ = response;
        Ok(())
    }

    /// The guest asked for an answer that cannot be sent, and for no other: it may wait for the end of an exchange that
    /// nothing would end. The embedder ends it. Delivered after the guest call returned.
    fn response_refused(&mut self) {}

    /// Lets a paused half go on; a half that is not paused ignores it. Delivered after the guest call returned.
    fn resume(&mut self, half: StreamType) {
        let _ = half;
    }

    /// Ends the exchange at once. Delivered after the guest call returned.
    fn close(&mut self, half: StreamType) {
        let _ = half;
    }

    /// Wants the route chosen again before the request leaves.
    fn clear_route_cache(&mut self) {}

    /// The guest, which had asked to outlive the exchange (`Vm::finish_stream` answered false), is ready for
    /// `Vm::end_stream`. Delivered after the guest call returned.
    fn done(&mut self) {}
}

/// What `proxy_send_local_response` asks for, copied out of the guest and not yet validated by the embedder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalResponse {
    /// Status code as the guest gave it, 200–599 after the VM's check.
    pub status: u16,
    /// Words for the access log.
    pub details: Vec<u8>,
    /// Extra fields.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// 0–16, or `None` when the guest gave another number (SDKs pass −1).
    pub grpc_status: Option<u8>,
}
