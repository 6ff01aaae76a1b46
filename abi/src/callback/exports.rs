//! Handles of the callbacks that an instance exports, looked up once and called many times.

use wasmtime::{AsContextMut, Instance, TypedFunc, WasmParams, WasmResults};

use super::{ASSEMBLYSCRIPT_TRAILING_METADATA, CallbackKind, TRAILING_METADATA};

/// A header callback in either of its two shapes.
pub(crate) enum HeadersFn {
    WithEnd(TypedFunc<(u32, u32, u32), u32>),
    CountOnly(TypedFunc<(u32, u32), u32>),
}

impl HeadersFn {
    pub(crate) fn call(
        &self,
        store: impl AsContextMut,
        context: u32,
        fields: u32,
        end_of_stream: bool,
    ) -> wasmtime::Result<u32> {
        match self {
            HeadersFn::WithEnd(function) => function.call(store, (context, fields, u32::from(end_of_stream))),
            HeadersFn::CountOnly(function) => function.call(store, (context, fields)),
        }
    }
}

/// Root, callout, and the sizes of headers, body and trailers.
pub(crate) type HttpCallFn = TypedFunc<(u32, u32, u32, u32, u32), ()>;

/// Handles of the callbacks, looked up once per VM.
pub(crate) struct Exports {
    pub(crate) vm_start: Option<TypedFunc<(u32, u32), u32>>,
    pub(crate) configure: Option<TypedFunc<(u32, u32), u32>>,
    pub(crate) tick: Option<TypedFunc<u32, ()>>,
    pub(crate) context_create: Option<TypedFunc<(u32, u32), ()>>,
    pub(crate) request_headers: Option<HeadersFn>,
    pub(crate) request_body: Option<TypedFunc<(u32, u32, u32), u32>>,
    pub(crate) request_trailers: Option<TypedFunc<(u32, u32), u32>>,
    pub(crate) response_headers: Option<HeadersFn>,
    pub(crate) response_body: Option<TypedFunc<(u32, u32, u32), u32>>,
    pub(crate) response_trailers: Option<TypedFunc<(u32, u32), u32>>,
    pub(crate) new_connection: Option<TypedFunc<u32, u32>>,
    pub(crate) downstream_data: Option<TypedFunc<(u32, u32, u32), u32>>,
    pub(crate) upstream_data: Option<TypedFunc<(u32, u32, u32), u32>>,
    pub(crate) downstream_close: Option<TypedFunc<(u32, u32), ()>>,
    pub(crate) upstream_close: Option<TypedFunc<(u32, u32), ()>>,
    pub(crate) http_call_response: Option<HttpCallFn>,
    pub(crate) grpc_initial_metadata: Option<TypedFunc<(u32, u32, u32), ()>>,
    pub(crate) grpc_receive: Option<TypedFunc<(u32, u32, u32), ()>>,
    pub(crate) grpc_trailing_metadata: Option<TypedFunc<(u32, u32, u32), ()>>,
    pub(crate) grpc_close: Option<TypedFunc<(u32, u32, u32), ()>>,
    pub(crate) queue_ready: Option<TypedFunc<(u32, u32), ()>>,
    pub(crate) foreign_function: Option<TypedFunc<(u32, u32, u32), ()>>,
    pub(crate) resolve_dns: Option<TypedFunc<(u32, u32, u32), ()>>,
    pub(crate) done: Option<TypedFunc<u32, u32>>,
    pub(crate) log: Option<TypedFunc<u32, ()>>,
    pub(crate) delete: Option<TypedFunc<u32, ()>>,
}

impl Exports {
    /// Looks every callback up. Shapes were checked when the module was compiled, so what is not found is not exported.
    pub(crate) fn of(instance: &Instance, mut store: impl AsContextMut) -> Exports {
        let store = &mut store;
        Exports {
            vm_start: find(instance, store, CallbackKind::VmStart),
            configure: find(instance, store, CallbackKind::Configure),
            tick: find(instance, store, CallbackKind::Tick),
            context_create: find(instance, store, CallbackKind::ContextCreate),
            request_headers: find_headers(instance, store, CallbackKind::RequestHeaders),
            request_body: find(instance, store, CallbackKind::RequestBody),
            request_trailers: find(instance, store, CallbackKind::RequestTrailers),
            response_headers: find_headers(instance, store, CallbackKind::ResponseHeaders),
            response_body: find(instance, store, CallbackKind::ResponseBody),
            response_trailers: find(instance, store, CallbackKind::ResponseTrailers),
            new_connection: find(instance, store, CallbackKind::NewConnection),
            downstream_data: find(instance, store, CallbackKind::DownstreamData),
            upstream_data: find(instance, store, CallbackKind::UpstreamData),
            downstream_close: find(instance, store, CallbackKind::DownstreamConnectionClose),
            upstream_close: find(instance, store, CallbackKind::UpstreamConnectionClose),
            http_call_response: find(instance, store, CallbackKind::HttpCallResponse),
            grpc_initial_metadata: find(instance, store, CallbackKind::GrpcReceiveInitialMetadata),
            grpc_receive: find(instance, store, CallbackKind::GrpcReceive),
            grpc_trailing_metadata: find_either(instance, store, [TRAILING_METADATA, ASSEMBLYSCRIPT_TRAILING_METADATA]),
            grpc_close: find(instance, store, CallbackKind::GrpcClose),
            queue_ready: find(instance, store, CallbackKind::QueueReady),
            foreign_function: find(instance, store, CallbackKind::ForeignFunction),
            resolve_dns: find(instance, store, CallbackKind::ResolveDns),
            done: find(instance, store, CallbackKind::Done),
            log: find(instance, store, CallbackKind::Log),
            delete: find(instance, store, CallbackKind::Delete),
        }
    }
}

impl Exports {
    /// True when this callback would enter the guest; `Init` is the module's to answer.
    pub(crate) fn has(&self, kind: CallbackKind) -> bool {
        match kind {
            CallbackKind::Init => false,
            CallbackKind::VmStart => self.vm_start.is_some(),
            CallbackKind::Configure => self.configure.is_some(),
            CallbackKind::Tick => self.tick.is_some(),
            CallbackKind::ContextCreate => self.context_create.is_some(),
            CallbackKind::RequestHeaders => self.request_headers.is_some(),
            CallbackKind::RequestBody => self.request_body.is_some(),
            CallbackKind::RequestTrailers => self.request_trailers.is_some(),
            CallbackKind::ResponseHeaders => self.response_headers.is_some(),
            CallbackKind::ResponseBody => self.response_body.is_some(),
            CallbackKind::ResponseTrailers => self.response_trailers.is_some(),
            CallbackKind::NewConnection => self.new_connection.is_some(),
            CallbackKind::DownstreamData => self.downstream_data.is_some(),
            CallbackKind::UpstreamData => self.upstream_data.is_some(),
            CallbackKind::DownstreamConnectionClose => self.downstream_close.is_some(),
            CallbackKind::UpstreamConnectionClose => self.upstream_close.is_some(),
            CallbackKind::HttpCallResponse => self.http_call_response.is_some(),
            CallbackKind::GrpcReceiveInitialMetadata => self.grpc_initial_metadata.is_some(),
            CallbackKind::GrpcReceive => self.grpc_receive.is_some(),
            CallbackKind::GrpcReceiveTrailingMetadata => self.grpc_trailing_metadata.is_some(),
            CallbackKind::GrpcClose => self.grpc_close.is_some(),
            CallbackKind::QueueReady => self.queue_ready.is_some(),
            CallbackKind::ForeignFunction => self.foreign_function.is_some(),
            CallbackKind::ResolveDns => self.resolve_dns.is_some(),
            CallbackKind::Done => self.done.is_some(),
            CallbackKind::Log => self.log.is_some(),
            CallbackKind::Delete => self.delete.is_some(),
        }
    }
}

fn find<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: &mut impl AsContextMut,
    kind: CallbackKind,
) -> Option<TypedFunc<P, R>> {
    function(instance, store, kind.export())
}

fn find_either<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: &mut impl AsContextMut,
    names: [&str; 2],
) -> Option<TypedFunc<P, R>> {
    names.iter().find_map(|name| function(instance, store, name))
}

/// The export of this name, when it is a function of this type.
pub(crate) fn function<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: &mut impl AsContextMut,
    name: &str,
) -> Option<TypedFunc<P, R>> {
    #[cfg(feature = "testing")]
    if crate::sabotage::takes(name) {
        return None;
    }
    instance.get_typed_func(store, name).ok()
}

fn find_headers(instance: &Instance, store: &mut impl AsContextMut, kind: CallbackKind) -> Option<HeadersFn> {
    let with_end = find(instance, store, kind).map(HeadersFn::WithEnd);
    with_end.or_else(|| find(instance, store, kind).map(HeadersFn::CountOnly))
}
