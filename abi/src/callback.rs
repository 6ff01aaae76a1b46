//! The exports of a guest that a host calls, each optional, with the types they must have.
//!
//! It calls nothing; `vm` does.

use std::fmt;

use wasmtime::{AsContextMut, Instance, TypedFunc, WasmParams, WasmResults};

use crate::signature::WireType;

/// Which callback: the label of metrics, log lines and failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the export `proxy_on_<name>` of the specification")]
pub enum CallbackKind {
    /// `_initialize`, `_start`, the start section.
    Init,
    VmStart,
    Configure,
    Tick,
    ContextCreate,
    RequestHeaders,
    RequestBody,
    RequestTrailers,
    ResponseHeaders,
    ResponseBody,
    ResponseTrailers,
    Done,
    Log,
    Delete,
}

impl CallbackKind {
    /// Every kind, in the order in which a guest first meets them.
    pub const ALL: [CallbackKind; 14] = [
        CallbackKind::Init,
        CallbackKind::ContextCreate,
        CallbackKind::VmStart,
        CallbackKind::Configure,
        CallbackKind::Tick,
        CallbackKind::RequestHeaders,
        CallbackKind::RequestBody,
        CallbackKind::RequestTrailers,
        CallbackKind::ResponseHeaders,
        CallbackKind::ResponseBody,
        CallbackKind::ResponseTrailers,
        CallbackKind::Done,
        CallbackKind::Log,
        CallbackKind::Delete,
    ];

    /// The name of the export, or the common part of it for `Init`.
    pub fn export(self) -> &'static str {
        match self {
            CallbackKind::Init => "_initialize",
            CallbackKind::VmStart => "proxy_on_vm_start",
            CallbackKind::Configure => "proxy_on_configure",
            CallbackKind::Tick => "proxy_on_tick",
            CallbackKind::ContextCreate => "proxy_on_context_create",
            CallbackKind::RequestHeaders => "proxy_on_request_headers",
            CallbackKind::RequestBody => "proxy_on_request_body",
            CallbackKind::RequestTrailers => "proxy_on_request_trailers",
            CallbackKind::ResponseHeaders => "proxy_on_response_headers",
            CallbackKind::ResponseBody => "proxy_on_response_body",
            CallbackKind::ResponseTrailers => "proxy_on_response_trailers",
            CallbackKind::Done => "proxy_on_done",
            CallbackKind::Log => "proxy_on_log",
            CallbackKind::Delete => "proxy_on_delete",
        }
    }

    /// A short name in lower case, fit for a metric label: `request_headers`.
    pub fn as_str(self) -> &'static str {
        match self {
            CallbackKind::Init => "init",
            other => other.export().trim_start_matches("proxy_on_"),
        }
    }

    /// True for an export name that is called for this kind.
    pub(crate) fn is_export(self, name: &str) -> bool {
        match self {
            CallbackKind::Init => matches!(name, "_initialize" | "_start"),
            other => other.export() == name,
        }
    }
}

impl fmt::Display for CallbackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A callback of an exchange after its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamCallback {
    /// Bytes of the request came; `size` is what the buffer holds in total.
    RequestBody {
        /// Bytes in the buffer.
        size: usize,
        /// Nothing follows.
        end_of_stream: bool,
    },
    /// Trailers end the request.
    RequestTrailers {
        /// Number of fields.
        fields: usize,
    },
    /// The head of the response came.
    ResponseHeaders {
        /// Number of fields, `:status` included.
        fields: usize,
        /// Nothing follows.
        end_of_stream: bool,
    },
    /// Bytes of the response came; `size` is what the buffer holds in total.
    ResponseBody {
        /// Bytes in the buffer.
        size: usize,
        /// Nothing follows.
        end_of_stream: bool,
    },
    /// Trailers end the response.
    ResponseTrailers {
        /// Number of fields.
        fields: usize,
    },
}

impl StreamCallback {
    /// Its label.
    pub fn kind(self) -> CallbackKind {
        match self {
            StreamCallback::RequestBody { .. } => CallbackKind::RequestBody,
            StreamCallback::RequestTrailers { .. } => CallbackKind::RequestTrailers,
            StreamCallback::ResponseHeaders { .. } => CallbackKind::ResponseHeaders,
            StreamCallback::ResponseBody { .. } => CallbackKind::ResponseBody,
            StreamCallback::ResponseTrailers { .. } => CallbackKind::ResponseTrailers,
        }
    }
}

/// The types of parameters and results that an export may have.
type Shape = (&'static [WireType], &'static [WireType]);

/// The shapes this host can call an export with; empty for names that it never calls.
pub(crate) fn shapes(export: &str) -> &'static [Shape] {
    use WireType::I32;
    match export {
        "_initialize" | "_start" => &[(&[], &[])],
        "malloc" | "proxy_on_memory_allocate" => &[(&[I32], &[I32])],
        "proxy_on_vm_start" | "proxy_on_configure" => &[(&[I32, I32], &[I32])],
        "proxy_on_tick" | "proxy_on_log" | "proxy_on_delete" => &[(&[I32], &[])],
        "proxy_on_context_create" => &[(&[I32, I32], &[])],
        "proxy_on_request_headers" | "proxy_on_response_headers" => {
            // Two parameters in ABI 0.1.0; the type decides, because modules with any marker come with either.
            &[(&[I32, I32, I32], &[I32]), (&[I32, I32], &[I32])]
        }
        "proxy_on_request_body" | "proxy_on_response_body" => &[(&[I32, I32, I32], &[I32])],
        "proxy_on_request_trailers" | "proxy_on_response_trailers" => &[(&[I32, I32], &[I32])],
        "proxy_on_done" => &[(&[I32], &[I32])],
        _ => &[],
    }
}

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
            done: find(instance, store, CallbackKind::Done),
            log: find(instance, store, CallbackKind::Log),
            delete: find(instance, store, CallbackKind::Delete),
        }
    }
}

fn find<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: &mut impl AsContextMut,
    kind: CallbackKind,
) -> Option<TypedFunc<P, R>> {
    instance.get_typed_func(store, kind.export()).ok()
}

fn find_headers(instance: &Instance, store: &mut impl AsContextMut, kind: CallbackKind) -> Option<HeadersFn> {
    let with_end = find(instance, store, kind).map(HeadersFn::WithEnd);
    with_end.or_else(|| find(instance, store, kind).map(HeadersFn::CountOnly))
}
