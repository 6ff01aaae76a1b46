//! Whatever a guest passes to whatever it calls, the host neither panics nor loses the stream.

use proptest::prelude::*;
use std::sync::LazyLock;

use tollgate_abi::testing::RecordingStream;
use tollgate_abi::{BufferType, Cause, MapType, Module, PluginSettings};

use crate::common::{module, try_start};

/// What may be called, with its parameters (`l` is an i64).
const CALLS: [(&str, &str); 35] = [
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
    ("fd_write", "iiii"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("random_get", "ii"),
    ("clock_time_get", "ili"),
    ("fd_fdstat_get", "ii"),
];

/// Bytes of one call in the configuration: which one, and eight arguments.
const RECORD: usize = 36;

/// Makes the calls that its configuration lists.
static PUPPET: LazyLock<Module> = LazyLock::new(|| {
    let calls: String = CALLS.iter().enumerate().map(|(index, (name, params))| branch(index, name, params)).collect();
    module(&format!(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (local $at i32) (local $end i32)
            (drop (call $proxy_get_buffer_bytes
                (i32.const 7) (i32.const 0) (i32.const -1) (i32.const 32) (i32.const 36)))
            (local.set $at (i32.load (i32.const 32)))
            (local.set $end (i32.add (local.get $at) (i32.load (i32.const 36))))
            (block (loop
                (br_if 1 (i32.ge_u (local.get $at) (local.get $end)))
                {calls}
                (local.set $at (i32.add (local.get $at) (i32.const {RECORD})))
                (br 0)))
            (i32.const 0))"#
    ))
});

fn branch(index: usize, name: &str, params: &str) -> String {
    let arguments: String = params
        .chars()
        .enumerate()
        .map(|(argument, kind)| {
            let load = format!("(i32.load offset={} (local.get $at))", 4 + 4 * argument);
            if kind == 'l' { format!("(i64.extend_i32_s {load})") } else { load }
        })
        .collect();
    format!("(if (i32.eq (i32.load (local.get $at)) (i32.const {index})) (then (drop (call ${name} {arguments}))))")
}

/// Arguments that are often a valid enum, pointer or size, and often just wrong.
fn argument() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => 0_u32..10,
        3 => 4096_u32..8192,
        1 => 0_u32..2_000_000,
        1 => 1_048_560_u32..1_048_592,
        1 => any::<u32>(),
        1 => Just(u32::MAX),
    ]
}

fn call() -> impl Strategy<Value = Vec<u8>> {
    let which = 0..u32::try_from(CALLS.len()).unwrap();
    (which, proptest::array::uniform8(argument())).prop_map(|(which, arguments)| {
        [&[which][..], &arguments].concat().iter().flat_map(|number| number.to_le_bytes()).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_calls_with_any_arguments_leave_the_host_standing(calls in proptest::collection::vec(call(), 1..40)) {
        let settings = PluginSettings {
            config: calls.concat(),
            env: vec![("NAME".into(), "value".into())],
            ..PluginSettings::default()
        };
        let mut vm = try_start(&PUPPET, settings).unwrap();
        let stream = RecordingStream::request([(":path", "/"), ("a", "b")])
            .with_map(MapType::ResponseHeaders, [(":status", "200")])
            .with_buffer(BufferType::RequestBody, b"body");

        let (stream, begun) = vm.begin_stream(stream, 2, false);

        prop_assert!(stream.maps.len() == 2);
        if let Err(failure) = begun {
            prop_assert_ne!(failure.cause, Cause::Host, "{}", failure);
        }
    }
}
