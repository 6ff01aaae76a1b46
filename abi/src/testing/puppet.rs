//! A guest that makes whatever hostcalls the host tells it to, with whatever arguments: for property tests and fuzzing.
//!
//! Every callback asks for the property `script` and does what it lists: the number that the callback answers, then calls,
//! each as the place in `CALLS` and eight arguments, all `u32`.

use crate::testing::guest;

/// The property that holds the script of the next callback.
pub const SCRIPT: &str = "script";

/// Where the puppet keeps names and lists worth pointing at, sixteen bytes apart.
pub const DATA: u32 = 4096;

/// What may be called, with its parameters (`l` is an `i64`, cut from an `i32`).
pub const CALLS: [(&str, &str); 52] = [
    ("proxy_log", "iii"),
    ("proxy_get_log_level", "i"),
    ("proxy_get_current_time_nanoseconds", "i"),
    ("proxy_set_tick_period_milliseconds", "i"),
    ("proxy_set_effective_context", "i"),
    ("proxy_done", ""),
    ("proxy_call_foreign_function", "iiiiii"),
    ("proxy_get_property", "iiii"),
    ("proxy_set_property", "iiii"),
    ("proxy_get_buffer_bytes", "iiiii"),
    ("proxy_get_buffer_status", "iii"),
    ("proxy_set_buffer_bytes", "iiiii"),
    ("proxy_get_header_map_pairs", "iii"),
    ("proxy_set_header_map_pairs", "iii"),
    ("proxy_get_header_map_value", "iiiii"),
    ("proxy_add_header_map_value", "iiiii"),
    ("proxy_replace_header_map_value", "iiiii"),
    ("proxy_remove_header_map_value", "iii"),
    ("proxy_get_header_map_size", "ii"),
    ("proxy_continue_stream", "i"),
    ("proxy_close_stream", "i"),
    ("proxy_send_local_response", "iiiiiiii"),
    ("proxy_get_shared_data", "iiiii"),
    ("proxy_set_shared_data", "iiiii"),
    ("proxy_define_metric", "iiii"),
    ("proxy_increment_metric", "il"),
    ("proxy_record_metric", "il"),
    ("proxy_get_metric", "ii"),
    ("proxy_get_configuration", "ii"),
    ("proxy_http_call", "iiiiiiiiii"),
    ("proxy_grpc_call", "iiiiiiiiiiii"),
    ("proxy_grpc_stream", "iiiiiiiii"),
    ("proxy_grpc_send", "iiii"),
    ("proxy_grpc_cancel", "i"),
    ("proxy_grpc_close", "i"),
    ("proxy_get_status", "iii"),
    ("proxy_register_shared_queue", "iii"),
    ("proxy_resolve_shared_queue", "iiiii"),
    ("proxy_enqueue_shared_queue", "iii"),
    ("proxy_dequeue_shared_queue", "iii"),
    ("proxy_clear_route_cache", ""),
    ("proxy_continue_request", ""),
    ("proxy_continue_response", ""),
    ("proxy_set_active_span_tag", "iiii"),
    ("envoy_resolve_dns", "iii"),
    ("fd_write", "iiii"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("random_get", "ii"),
    ("clock_time_get", "ili"),
    ("fd_fdstat_get", "ii"),
    ("poll_oneoff", "iiii"),
];

/// Arguments that a script gives to each call; longer calls start over with the first.
const ARGUMENTS: usize = 8;

/// Bytes of the puppet.
pub fn module() -> Vec<u8> {
    let calls: String = CALLS.iter().enumerate().map(|(index, (name, params))| branch(index, name, params)).collect();
    let record = 4 + 4 * ARGUMENTS;
    guest(&format!(
        r#"{data}
        (data (i32.const 1024) "{SCRIPT}")
        (func $play (result i32)
            (local $at i32) (local $end i32) (local $answer i32)
            (if (call $proxy_get_property (i32.const 1024) (i32.const 6) (i32.const 32) (i32.const 36))
                (then (return (i32.const 0))))
            (local.set $at (i32.load (i32.const 32)))
            (local.set $end (i32.add (local.get $at) (i32.load (i32.const 36))))
            (if (i32.lt_u (i32.load (i32.const 36)) (i32.const 4)) (then (return (i32.const 0))))
            (local.set $answer (i32.load (local.get $at)))
            (local.set $at (i32.add (local.get $at) (i32.const 4)))
            (block (loop
                (br_if 1 (i32.ge_u (local.get $at) (local.get $end)))
                {calls}
                (local.set $at (i32.add (local.get $at) (i32.const {record})))
                (br 0)))
            (local.get $answer))
        {callbacks}"#,
        data = data(),
        callbacks = callbacks(),
    ))
}

fn branch(index: usize, name: &str, params: &str) -> String {
    let arguments: String = params
        .chars()
        .enumerate()
        .map(|(argument, kind)| {
            let load = format!("(i32.load offset={} (local.get $at))", 4 + 4 * (argument % ARGUMENTS));
            if kind == 'l' { format!("(i64.extend_i32_s {load})") } else { load }
        })
        .collect();
    format!("(if (i32.eq (i32.load (local.get $at)) (i32.const {index})) (then (drop (call ${name} {arguments}))))")
}

/// Names of fields, properties, upstreams and foreign functions; then lists of pairs.
fn data() -> String {
    let texts = [
        "x-name",
        "value",
        ":path",
        ":status",
        "up",
        "service",
        "Method",
        "queue",
        "vm",
        "a.host",
        "metric;k=v",
        "request\\00path",
        "compress",
        "uncompress",
        "sign",
        "verify_signature",
        "declare_property",
        "set_envoy_filter_state",
        "clear_route_cache",
        "tollgate.sha256",
        "tollgate.hmac_sha256",
        "tollgate.jwt_verify",
        "tollgate.shared_data_delete",
        "tollgate.shared_data_keys",
        "tollgate.shared_data_set_ttl",
        "tollgate.header_values",
        "tollgate.set_timer",
        "tollgate.cancel_timer",
        "tollgate.resolve_dns",
    ];
    let texts = texts.iter().enumerate().map(|(index, text)| {
        let at = DATA + 32 * u32::try_from(index).unwrap_or_default();
        format!("(data (i32.const {at}) \"{text}\")")
    });
    let fields: [(&[u8], &[u8]); 3] = [(b":method", b"GET"), (b":path", b"/"), (b":authority", b"up")];
    let pairs = crate::pairs::encode(&crate::storage::VecHeaderMap::new(fields));
    let escaped: String = pairs.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let list = format!("(data (i32.const {}) \"{escaped}\")", DATA + 1024);
    texts.chain([list]).collect()
}

/// Every callback in its type, each playing the script.
fn callbacks() -> String {
    let answering = [
        ("request_headers", 3),
        ("response_headers", 3),
        ("request_body", 3),
        ("response_body", 3),
        ("request_trailers", 2),
        ("response_trailers", 2),
        ("new_connection", 1),
        ("downstream_data", 3),
        ("upstream_data", 3),
        ("done", 1),
    ];
    let silent = [
        ("tick", 1),
        ("log", 1),
        ("delete", 1),
        ("http_call_response", 5),
        ("grpc_receive_initial_metadata", 3),
        ("grpc_receive", 3),
        ("grpc_receive_trailing_metadata", 3),
        ("grpc_close", 3),
        ("queue_ready", 2),
        ("foreign_function", 3),
        ("downstream_connection_close", 2),
        ("upstream_connection_close", 2),
    ];
    let params = |count: usize| "i32 ".repeat(count);
    let answering = answering.iter().map(|(name, count)| {
        let params = params(*count);
        format!("(func (export \"proxy_on_{name}\") (param {params}) (result i32) (call $play))")
    });
    let silent = silent.iter().map(|(name, count)| {
        let params = params(*count);
        format!("(func (export \"proxy_on_{name}\") (param {params}) (drop (call $play)))")
    });
    answering.chain(silent).collect()
}
