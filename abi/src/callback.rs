//! The exports of a guest that a host calls, each optional, with the types they must have.
//!
//! It calls nothing; `vm` does.

use std::fmt;

use crate::signature::WireType;
use crate::types::PeerType;

mod exports;

pub(crate) use exports::{Exports, Places, function};

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
    NewConnection,
    DownstreamData,
    UpstreamData,
    DownstreamConnectionClose,
    UpstreamConnectionClose,
    HttpCallResponse,
    GrpcReceiveInitialMetadata,
    GrpcReceive,
    GrpcReceiveTrailingMetadata,
    GrpcClose,
    QueueReady,
    ForeignFunction,
    /// `envoy_on_resolve_dns`.
    ResolveDns,
    Done,
    Log,
    Delete,
}

impl CallbackKind {
    /// Every kind, in the order in which a guest first meets them.
    pub const ALL: [CallbackKind; 27] = [
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
        CallbackKind::NewConnection,
        CallbackKind::DownstreamData,
        CallbackKind::UpstreamData,
        CallbackKind::DownstreamConnectionClose,
        CallbackKind::UpstreamConnectionClose,
        CallbackKind::HttpCallResponse,
        CallbackKind::GrpcReceiveInitialMetadata,
        CallbackKind::GrpcReceive,
        CallbackKind::GrpcReceiveTrailingMetadata,
        CallbackKind::GrpcClose,
        CallbackKind::QueueReady,
        CallbackKind::ForeignFunction,
        CallbackKind::ResolveDns,
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
            CallbackKind::NewConnection => "proxy_on_new_connection",
            CallbackKind::DownstreamData => "proxy_on_downstream_data",
            CallbackKind::UpstreamData => "proxy_on_upstream_data",
            CallbackKind::DownstreamConnectionClose => "proxy_on_downstream_connection_close",
            CallbackKind::UpstreamConnectionClose => "proxy_on_upstream_connection_close",
            CallbackKind::HttpCallResponse => "proxy_on_http_call_response",
            CallbackKind::GrpcReceiveInitialMetadata => "proxy_on_grpc_receive_initial_metadata",
            CallbackKind::GrpcReceive => "proxy_on_grpc_receive",
            CallbackKind::GrpcReceiveTrailingMetadata => "proxy_on_grpc_receive_trailing_metadata",
            CallbackKind::GrpcClose => "proxy_on_grpc_close",
            CallbackKind::QueueReady => "proxy_on_queue_ready",
            CallbackKind::ForeignFunction => "proxy_on_foreign_function",
            CallbackKind::ResolveDns => "envoy_on_resolve_dns",
            CallbackKind::Done => "proxy_on_done",
            CallbackKind::Log => "proxy_on_log",
            CallbackKind::Delete => "proxy_on_delete",
        }
    }

    /// A short name in lower case, fit for a metric label: `request_headers`.
    pub fn as_str(self) -> &'static str {
        match self {
            CallbackKind::Init => "init",
            CallbackKind::ResolveDns => "resolve_dns",
            other => other.export().trim_start_matches("proxy_on_"),
        }
    }

    /// Every export name that is called for this kind, the preferred one first.
    pub(crate) fn exports(self) -> impl Iterator<Item = &'static str> {
        let other = match self {
            CallbackKind::Init => Some("_start"),
            CallbackKind::GrpcReceiveTrailingMetadata => Some(ASSEMBLYSCRIPT_TRAILING_METADATA),
            _ => None,
        };
        [self.export()].into_iter().chain(other)
    }
}

impl fmt::Display for CallbackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const TRAILING_METADATA: &str = "proxy_on_grpc_receive_trailing_metadata";
/// As the AssemblyScript SDK spells it.
const ASSEMBLYSCRIPT_TRAILING_METADATA: &str = "proxy_on_grpc_trailing_metadata";

/// A callback of an exchange or connection after its first.
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
    /// Bytes of the client came; `size` is what the buffer holds in total.
    DownstreamData {
        /// Bytes in the buffer.
        size: usize,
        /// Nothing follows.
        end_of_stream: bool,
    },
    /// Bytes of the upstream came; `size` is what the buffer holds in total.
    UpstreamData {
        /// Bytes in the buffer.
        size: usize,
        /// Nothing follows.
        end_of_stream: bool,
    },
    /// The connection of the client is closed.
    DownstreamClose {
        /// By whom.
        peer: PeerType,
    },
    /// The connection of the upstream is closed.
    UpstreamClose {
        /// By whom.
        peer: PeerType,
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
            StreamCallback::DownstreamData { .. } => CallbackKind::DownstreamData,
            StreamCallback::UpstreamData { .. } => CallbackKind::UpstreamData,
            StreamCallback::DownstreamClose { .. } => CallbackKind::DownstreamConnectionClose,
            StreamCallback::UpstreamClose { .. } => CallbackKind::UpstreamConnectionClose,
        }
    }
}

/// The types of parameters and results that an export may have.
type Shape = (&'static [WireType], &'static [WireType]);

/// The shapes this host can call an export with; empty for names that no host looks up.
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
        "proxy_on_request_body" | "proxy_on_response_body" | "proxy_on_downstream_data" | "proxy_on_upstream_data" => {
            &[(&[I32, I32, I32], &[I32])]
        }
        "proxy_on_new_connection" => &[(&[I32], &[I32])],
        "proxy_on_downstream_connection_close" | "proxy_on_upstream_connection_close" => &[(&[I32, I32], &[])],
        "proxy_on_http_call_response" => &[(&[I32, I32, I32, I32, I32], &[])],
        "proxy_on_grpc_receive_initial_metadata" | TRAILING_METADATA | ASSEMBLYSCRIPT_TRAILING_METADATA => {
            &[(&[I32, I32, I32], &[])]
        }
        "proxy_on_grpc_receive" | "proxy_on_grpc_close" => &[(&[I32, I32, I32], &[])],
        "proxy_on_queue_ready" => &[(&[I32, I32], &[])],
        "proxy_on_foreign_function" | "envoy_on_resolve_dns" => &[(&[I32, I32, I32], &[])],
        "proxy_on_request_trailers" | "proxy_on_response_trailers" => &[(&[I32, I32], &[I32])],
        "proxy_on_done" => &[(&[I32], &[I32])],
        // Envoy looks these up and refuses other types; here they load and are not called.
        "proxy_on_request_metadata" | "proxy_on_response_metadata" | "proxy_validate_configuration" => {
            &[(&[I32, I32], &[I32])]
        }
        "envoy_on_stats_update" => &[(&[I32, I32], &[])],
        _ => &[],
    }
}
