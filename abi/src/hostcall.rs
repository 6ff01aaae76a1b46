//! The table of imports: one row per name and type, whatever ABI version introduced it.
//!
//! Imports are linked by type, not by the module's marker, so modules that mix generations load. What a row does is in
//! `hostcall/*` and `wasi`.

use wasmtime::{Engine, Extern, InstancePre, Linker, Module, Store};

use crate::error::UnknownImport;
use crate::host::{Host, Stream};
use crate::row::{Row, rows};
use crate::signature::Signature;
use crate::state::State;
use crate::storage::{Buffer, HeaderMap};
use crate::types::{BufferType, LogLevel, MapType, Status};
use crate::wasi;

mod buffer;
mod callout;
mod clock;
mod context;
mod foreign;
mod grpc;
mod headers;
mod hint;
mod legacy;
mod log;
mod metrics;
mod property;
mod shared_data;
mod shared_queue;
mod stream;
#[cfg(feature = "testing")]
mod stub;
mod timer;

pub(crate) use clock::wall_clock;

/// An import as a module asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Import {
    pub(crate) module: String,
    pub(crate) name: String,
    pub(crate) signature: Signature,
}

/// The functions that `imports` name, in their order; they have passed `check`.
pub(crate) fn link<H: Host>(store: &mut Store<State<H>>, imports: &[Import]) -> wasmtime::Result<Vec<Extern>> {
    let tables = Tables::<H>::new();
    let mut linker = Linker::new(store.engine());
    // A linker knows a name once, and a module may import one in two types: each is taken as soon as it is defined.
    linker.allow_shadowing(true);
    imports.iter().map(|import| tables.function(&mut linker, store, import)).collect()
}

/// The same for any number of instances of `module`, whose `imports` name nothing in two types.
pub(crate) fn prelink<H: Host>(
    engine: &Engine,
    module: &Module,
    imports: &[Import],
) -> wasmtime::Result<InstancePre<State<H>>> {
    let tables = Tables::<H>::new();
    let mut linker = Linker::new(engine);
    linker.allow_shadowing(true);
    imports.iter().try_for_each(|import| tables.define(&mut linker, import))?;
    linker.instantiate_pre(module)
}

/// What the table lacks for `import`, or `None` when it has it.
pub(crate) fn check(import: &Import) -> Option<UnknownImport> {
    let tables = Tables::<Nobody>::new();
    if tables.find(import).is_some() {
        return None;
    }
    Some(UnknownImport {
        module: import.module.clone(),
        name: import.name.clone(),
        wanted: import.signature.to_string(),
        known: tables.named(&import.module, &import.name).map(Row::signature).collect(),
        meant: tables.meant(import),
    })
}

/// The types under which the table knows a name; empty when it does not.
#[cfg(feature = "testing")]
pub(crate) fn signatures(module: &str, name: &str) -> Vec<Signature> {
    Tables::<Nobody>::new().named(module, name).map(Row::signature).collect()
}

/// The parts of a property path.
#[cfg(feature = "testing")]
pub(crate) fn property_path(path: &[u8]) -> Option<Vec<&[u8]>> {
    property::parts(path)
}

/// Every import, with the name of its module.
#[cfg(feature = "testing")]
pub(crate) fn every_import() -> Vec<(&'static str, String, Signature)> {
    let tables = Tables::<Nobody>::new();
    let modules = ["env", "wasi_snapshot_preview1", "wasi_unstable"];
    let of = |module| tables.rows(module).iter().map(move |row| (module, row.name.to_owned(), row.signature()));
    modules.into_iter().flat_map(of).collect()
}

/// Every row, by module name.
struct Tables<H: Host> {
    env: Vec<Row<H>>,
    wasi: Vec<Row<H>>,
}

impl<H: Host> Tables<H> {
    fn new() -> Self {
        let mut env = served();
        env.extend(callouts());
        env.extend(legacy_rows());
        env.extend(dialects());
        Tables { env, wasi: wasi::rows() }
    }

    fn named<'a>(&'a self, module: &str, name: &'a str) -> impl Iterator<Item = &'a Row<H>> {
        self.rows(module).iter().filter(move |row| row.name == name)
    }

    fn function(
        &self,
        linker: &mut Linker<State<H>>,
        store: &mut Store<State<H>>,
        import: &Import,
    ) -> wasmtime::Result<Extern> {
        self.define(linker, import)?;
        linker.get(store, &import.module, &import.name)
    }

    fn define(&self, linker: &mut Linker<State<H>>, import: &Import) -> wasmtime::Result<()> {
        if let Some(row) = self.find(import) {
            (row.define)(linker, &import.module)?;
        }
        #[cfg(feature = "testing")]
        stub::define(linker, import)?;
        Ok(())
    }

    /// The import whose name `import` has under another module, or nearly has.
    fn meant(&self, import: &Import) -> Option<String> {
        let modules = [("env", &self.env), ("wasi_snapshot_preview1", &self.wasi)];
        let names = |rows: &'_ [Row<H>]| rows.iter().map(|row| row.name).collect::<Vec<_>>();
        if self.named(&import.module, &import.name).next().is_some() {
            return None;
        }
        modules.iter().find_map(|(module, rows)| {
            let known = names(rows);
            let same = known.contains(&import.name.as_str()).then_some(import.name.as_str());
            let near = || hint::nearest(&import.name, known.iter().copied());
            same.or_else(near).map(|name| format!("{module}.{name}"))
        })
    }

    fn rows(&self, module: &str) -> &[Row<H>] {
        match module {
            "env" => &self.env,
            "wasi_snapshot_preview1" | "wasi_unstable" => &self.wasi,
            _ => &[],
        }
    }

    fn find(&self, import: &Import) -> Option<&Row<H>> {
        let mut rows = self.rows(&import.module).iter();
        rows.find(|row| row.name == import.name && row.has_type(&import.signature))
    }
}

fn served<H: Host>() -> Vec<Row<H>> {
    rows! {
        open proxy_log(level: u32, text: u32, size: u32) -> status = log::proxy_log;
        closed proxy_get_log_level(level: u32) -> status = log::proxy_get_log_level;
        closed proxy_get_current_time_nanoseconds(time: u32) -> status = clock::proxy_get_current_time_nanoseconds;
        closed proxy_set_tick_period_milliseconds(period: u32) -> status = timer::proxy_set_tick_period_milliseconds;
        closed proxy_set_effective_context(context: u32) -> status = context::proxy_set_effective_context;
        closed proxy_done() -> status = context::proxy_done;
        closed proxy_call_foreign_function(name: u32, name_size: u32, args: u32, args_size: u32, data: u32, size: u32) -> status
            = foreign::proxy_call_foreign_function;

        closed proxy_get_property(path: u32, path_size: u32, data: u32, size: u32) -> status = property::proxy_get_property;
        closed proxy_set_property(path: u32, path_size: u32, value: u32, size: u32) -> status = property::proxy_set_property;

        closed proxy_get_buffer_bytes(buffer: u32, start: u32, max: u32, data: u32, size: u32) -> status
            = buffer::proxy_get_buffer_bytes;
        closed proxy_get_buffer_status(buffer: u32, size: u32, flags: u32) -> status = buffer::proxy_get_buffer_status;
        closed proxy_set_buffer_bytes(buffer: u32, start: u32, replaced: u32, data: u32, size: u32) -> status
            = buffer::proxy_set_buffer_bytes;

        closed proxy_get_header_map_pairs(map: u32, data: u32, size: u32) -> status = headers::proxy_get_header_map_pairs;
        closed proxy_set_header_map_pairs(map: u32, data: u32, size: u32) -> status = headers::proxy_set_header_map_pairs;
        closed proxy_get_header_map_value(map: u32, key: u32, key_size: u32, data: u32, size: u32) -> status
            = headers::proxy_get_header_map_value;
        closed proxy_add_header_map_value(map: u32, key: u32, key_size: u32, value: u32, size: u32) -> status
            = headers::proxy_add_header_map_value;
        closed proxy_replace_header_map_value(map: u32, key: u32, key_size: u32, value: u32, size: u32) -> status
            = headers::proxy_replace_header_map_value;
        closed proxy_remove_header_map_value(map: u32, key: u32, key_size: u32) -> status
            = headers::proxy_remove_header_map_value;
        closed proxy_get_header_map_size(map: u32, size: u32) -> status = headers::proxy_get_header_map_size;

        closed proxy_continue_stream(half: u32) -> status = stream::proxy_continue_stream;
        closed proxy_close_stream(half: u32) -> status = stream::proxy_close_stream;
        closed proxy_send_local_response(
            code: u32, details: u32, details_size: u32, body: u32, body_size: u32, headers: u32, headers_size: u32, grpc: u32
        ) -> status = stream::proxy_send_local_response;

        closed proxy_get_shared_data(key: u32, key_size: u32, data: u32, size: u32, cas: u32) -> status
            = shared_data::proxy_get_shared_data;
        closed proxy_set_shared_data(key: u32, key_size: u32, value: u32, size: u32, cas: u32) -> status
            = shared_data::proxy_set_shared_data;

        closed proxy_define_metric(kind: u32, name: u32, name_size: u32, metric: u32) -> status = metrics::proxy_define_metric;
        closed proxy_increment_metric(metric: u32, delta: i64) -> status = metrics::proxy_increment_metric;
        closed proxy_record_metric(metric: u32, value: u64) -> status = metrics::proxy_record_metric;
        closed proxy_get_metric(metric: u32, value: u32) -> status = metrics::proxy_get_metric;
    }
}

fn callouts<H: Host>() -> Vec<Row<H>> {
    rows! {
        closed proxy_get_status(code: u32, data: u32, size: u32) -> status = callout::proxy_get_status;
        closed proxy_http_call(
            upstream: u32, upstream_size: u32, headers: u32, headers_size: u32, body: u32, body_size: u32,
            trailers: u32, trailers_size: u32, timeout: u32, call: u32
        ) -> status = callout::proxy_http_call;
        closed proxy_grpc_call(
            upstream: u32, upstream_size: u32, service: u32, service_size: u32, method: u32, method_size: u32,
            metadata: u32, metadata_size: u32, message: u32, message_size: u32, timeout: u32, call: u32
        ) -> status = grpc::proxy_grpc_call;
        // Older C++ and AssemblyScript SDKs send no initial metadata.
        closed proxy_grpc_call(
            upstream: u32, upstream_size: u32, service: u32, service_size: u32, method: u32, method_size: u32,
            message: u32, message_size: u32, timeout: u32, call: u32
        ) -> status = grpc::proxy_grpc_call_without_metadata;
        closed proxy_grpc_stream(
            upstream: u32, upstream_size: u32, service: u32, service_size: u32, method: u32, method_size: u32,
            metadata: u32, metadata_size: u32, call: u32
        ) -> status = grpc::proxy_grpc_stream;
        closed proxy_grpc_stream(
            upstream: u32, upstream_size: u32, service: u32, service_size: u32, method: u32, method_size: u32, call: u32
        ) -> status = grpc::proxy_grpc_stream_without_metadata;
        closed proxy_grpc_send(call: u32, message: u32, message_size: u32, end: u32) -> status = grpc::proxy_grpc_send;
        closed proxy_grpc_cancel(call: u32) -> status = grpc::proxy_grpc_cancel;
        closed proxy_grpc_close(call: u32) -> status = grpc::proxy_grpc_close;

        closed proxy_register_shared_queue(name: u32, name_size: u32, queue: u32) -> status
            = shared_queue::proxy_register_shared_queue;
        closed proxy_resolve_shared_queue(vm: u32, vm_size: u32, name: u32, name_size: u32, queue: u32) -> status
            = shared_queue::proxy_resolve_shared_queue;
        closed proxy_enqueue_shared_queue(queue: u32, value: u32, size: u32) -> status
            = shared_queue::proxy_enqueue_shared_queue;
        closed proxy_dequeue_shared_queue(queue: u32, data: u32, size: u32) -> status
            = shared_queue::proxy_dequeue_shared_queue;
    }
}

/// What only older ABI versions, Envoy and toolchains import.
fn legacy_rows<H: Host>() -> Vec<Row<H>> {
    rows! {
        closed proxy_continue_request() -> status = stream::proxy_continue_request;
        closed proxy_continue_response() -> status = stream::proxy_continue_response;
        closed proxy_clear_route_cache() -> status = stream::proxy_clear_route_cache;
        closed proxy_get_configuration(data: u32, size: u32) -> status = buffer::proxy_get_configuration;
        closed envoy_resolve_dns(name: u32, name_size: u32, token: u32) -> status = foreign::envoy_resolve_dns;
        open emscripten_notify_memory_growth(memory: u32) = legacy::emscripten_notify_memory_growth;
        open pthread_equal(one: u32, other: u32) -> number = legacy::pthread_equal;
        open abort(message: u32, file: u32, line: u32, column: u32) = legacy::abort;
    }
}

/// What forks of hosts offer. It links, so that a filter loads and finds out what it cannot have.
fn dialects<H: Host>() -> Vec<Row<H>> {
    rows! {
        // Of Istio's fork; a tag that nobody reads is no reason to fail.
        closed proxy_set_active_span_tag(key: u32, key_size: u32, value: u32, size: u32) -> status = always(Status::Ok);
        // Of Higress.
        closed proxy_redis_init(
            upstream: u32, upstream_size: u32, user: u32, user_size: u32, password: u32, password_size: u32, timeout: u32
        ) -> status = always(Status::Unimplemented);
        closed proxy_redis_call(upstream: u32, upstream_size: u32, query: u32, query_size: u32, call: u32) -> status
            = always(Status::Unimplemented);
        closed proxy_get_upstream_hosts(data: u32, size: u32) -> status = always(Status::Unimplemented);
        closed proxy_set_upstream_override_host(host: u32, size: u32) -> status = always(Status::Unimplemented);
        closed proxy_inject_encoded_data_to_filter_chain(data: u32, size: u32, end: u32) -> status
            = always(Status::Unimplemented);
    }
}

/// The embedder of a table that is only read.
enum Nobody {}

impl Host for Nobody {
    type Stream = Nobody;

    fn log(&mut self, _: LogLevel, _: &[u8]) {}
}

impl Stream for Nobody {
    fn headers(&mut self, _: MapType) -> Option<&mut dyn HeaderMap> {
        None
    }

    fn buffer(&mut self, _: BufferType) -> Option<&mut dyn Buffer> {
        None
    }
}
