//! Pointers, lengths and allocators that lie: the guest gets a status, the host gets nothing.

use tollgate_abi::PluginSettings;
use tollgate_abi::testing::{RecordingStream, wat};

use crate::common::{compile, request, try_start};

/// Every pointer of every hostcall, one call each; `BAD` is a pointer past the end and `LEN` a length that wraps.
const CALLS: [&str; 48] = [
    "proxy_log (i32.const 2) BAD (i32.const 1)",
    "proxy_log (i32.const 2) (i32.const 8) LEN",
    "proxy_get_log_level BAD",
    "proxy_get_current_time_nanoseconds BAD",
    "proxy_get_property BAD (i32.const 1) (i32.const 32) (i32.const 36)",
    "proxy_get_property (i32.const 8) (i32.const 1) BAD (i32.const 36)",
    "proxy_get_property (i32.const 8) (i32.const 1) (i32.const 32) BAD",
    "proxy_set_property BAD (i32.const 1) (i32.const 8) (i32.const 1)",
    "proxy_set_property (i32.const 8) (i32.const 1) (i32.const 8) LEN",
    "proxy_get_buffer_bytes (i32.const 7) (i32.const 0) (i32.const 9) BAD (i32.const 36)",
    "proxy_get_buffer_bytes (i32.const 7) (i32.const 0) (i32.const 9) (i32.const 32) BAD",
    "proxy_get_buffer_status (i32.const 7) BAD (i32.const 36)",
    "proxy_get_buffer_status (i32.const 7) (i32.const 32) BAD",
    "proxy_set_buffer_bytes (i32.const 0) (i32.const 0) (i32.const 0) BAD (i32.const 1)",
    "proxy_get_header_map_pairs (i32.const 0) BAD (i32.const 36)",
    "proxy_get_header_map_pairs (i32.const 0) (i32.const 32) BAD",
    "proxy_set_header_map_pairs (i32.const 0) BAD (i32.const 1)",
    "proxy_set_header_map_pairs (i32.const 0) (i32.const 8) LEN",
    "proxy_get_header_map_value (i32.const 0) BAD (i32.const 1) (i32.const 32) (i32.const 36)",
    "proxy_get_header_map_value (i32.const 0) (i32.const 8) (i32.const 1) BAD (i32.const 36)",
    "proxy_add_header_map_value (i32.const 0) BAD (i32.const 1) (i32.const 8) (i32.const 1)",
    "proxy_add_header_map_value (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 8) LEN",
    "proxy_replace_header_map_value (i32.const 0) (i32.const 8) LEN (i32.const 8) (i32.const 1)",
    "proxy_remove_header_map_value (i32.const 0) BAD (i32.const 1)",
    "proxy_get_header_map_size (i32.const 0) BAD",
    "proxy_send_local_response (i32.const 200) BAD (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)",
    "proxy_send_local_response (i32.const 200) (i32.const 0) (i32.const 0) BAD (i32.const 1) (i32.const 0) (i32.const 0) (i32.const -1)",
    "proxy_send_local_response (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 8) LEN (i32.const -1)",
    "proxy_get_shared_data BAD (i32.const 1) (i32.const 32) (i32.const 36) (i32.const 40)",
    "proxy_get_shared_data (i32.const 8) (i32.const 1) (i32.const 32) (i32.const 36) BAD",
    "proxy_set_shared_data (i32.const 8) (i32.const 1) (i32.const 8) LEN (i32.const 0)",
    "proxy_define_metric (i32.const 0) BAD (i32.const 1) (i32.const 32)",
    "proxy_define_metric (i32.const 0) (i32.const 8) (i32.const 1) BAD",
    "proxy_call_foreign_function BAD (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)",
    "proxy_call_foreign_function (i32.const 8) (i32.const 1) (i32.const 8) LEN (i32.const 0) (i32.const 0)",
    "proxy_call_foreign_function (i32.const 8) (i32.const 1) (i32.const 0) (i32.const 0) BAD (i32.const 36)",
    "proxy_call_foreign_function (i32.const 8) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 32) BAD",
    "proxy_get_configuration BAD (i32.const 36)",
    "proxy_get_status BAD (i32.const 32) (i32.const 36)",
    "proxy_get_status (i32.const 40) BAD (i32.const 36)",
    "proxy_get_status (i32.const 40) (i32.const 32) BAD",
    "proxy_register_shared_queue BAD (i32.const 1) (i32.const 32)",
    "proxy_register_shared_queue (i32.const 8) (i32.const 1) BAD",
    "proxy_resolve_shared_queue (i32.const 8) LEN (i32.const 8) (i32.const 1) (i32.const 32)",
    "proxy_resolve_shared_queue (i32.const 8) (i32.const 1) (i32.const 8) (i32.const 1) BAD",
    "proxy_enqueue_shared_queue (i32.const 1) (i32.const 8) LEN",
    "proxy_dequeue_shared_queue (i32.const 1) BAD (i32.const 36)",
    "envoy_resolve_dns (i32.const 8) (i32.const 1) BAD",
];

#[test]
fn a_pointer_or_length_outside_memory_is_status_six_and_has_no_effect() {
    let stream = || RecordingStream::request([("a", "b")]).with_buffer(tollgate_abi::BufferType::RequestBody, b"body");
    let calls = CALLS.map(|call| {
        // The last byte of 16 pages, so that numbers of four and eight bytes do not fit either.
        let call = call.replace("BAD", "(i32.const 1048575)").replace("LEN", "(i32.const -1)");
        // One byte fits there, so one-byte slices start a byte later.
        let call = call.replace("(i32.const 1048575) (i32.const 1)", "(i32.const 1048576) (i32.const 1)");
        format!("(call $tell (call ${call}))")
    });

    let ran = request("", &calls.concat(), stream());

    assert_eq!(ran.told(), [6; CALLS.len()]);
    assert_eq!(ran.stream, stream());
    assert!(ran.vm.host().refused.is_empty());
    assert!(ran.vm.host().metrics.is_empty());
    assert!(ran.vm.host().queues.is_empty());
    assert!(ran.vm.host().lookups.is_empty());
}

#[test]
fn a_result_pointer_is_checked_before_the_allocator_is_called() {
    let ran = request(
        "",
        "(drop (call $proxy_get_header_map_pairs (i32.const 0) (i32.const 32) (i32.const -1)))
         (call $tell (global.get $next))",
        RecordingStream::request([("a", "b")]),
    );

    assert_eq!(ran.told(), [65536]);
}

/// Asks for the plugin configuration with an allocator of the given body, and tells the answer.
fn with_allocator(body: &str) -> Vec<u32> {
    let bytes = wat(&format!(
        r#"(module
            (import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) {body})
            (func (export "proxy_on_tick") (param i32)
                (i32.store (i32.const 64)
                    (call $get (i32.const 7) (i32.const 0) (i32.const 9) (i32.const 0) (i32.const 4)))
                (drop (call $log (i32.const 0) (i32.const 64) (i32.const 4)))))"#
    ));
    let settings = PluginSettings { config: b"123456789".to_vec(), ..PluginSettings::default() };
    let mut vm = try_start(&compile(&bytes).unwrap(), settings).unwrap();
    vm.tick().unwrap();
    vm.host().told()
}

#[test]
fn an_allocator_that_gives_nothing_or_what_it_has_not_is_status_six() {
    assert_eq!(with_allocator("(i32.const 0)"), [6]);
    assert_eq!(with_allocator("(i32.const -1)"), [6]);
    assert_eq!(with_allocator("(i32.const 65528)"), [6]);
    assert_eq!(with_allocator("(i32.const 65527)"), [0]);
}

#[test]
fn an_allocator_may_grow_memory() {
    let grow = "(i32.mul (memory.grow (i32.const 1)) (i32.const 65536))";

    assert_eq!(with_allocator(grow), [0]);
}
