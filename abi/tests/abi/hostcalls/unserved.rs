//! What is linked and not served, and what toolchains leave in modules.

use super::plain;
use crate::common::{on_request, request, start};

#[test]
fn no_foreign_function_is_known() {
    let ran = request(
        r#"(data (i32.const 4096) "compress")"#,
        "(call $tell (call $proxy_call_foreign_function
            (i32.const 4096) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))",
        plain(),
    );

    assert_eq!(ran.told(), [1]);
}

#[test]
fn callouts_and_queues_without_arguments_are_answered_with_what_is_wrong() {
    let zeros = |count: usize| "(i32.const 0)".repeat(count);
    let calls = [
        ("proxy_get_status", 3, 0),
        ("proxy_http_call", 10, 2),
        ("proxy_grpc_call", 12, 4),
        ("proxy_grpc_stream", 9, 4),
        ("proxy_grpc_send", 4, 2),
        ("proxy_grpc_cancel", 1, 2),
        ("proxy_grpc_close", 1, 2),
        ("proxy_resolve_shared_queue", 5, 1),
        ("proxy_register_shared_queue", 3, 0),
        ("proxy_enqueue_shared_queue", 3, 1),
        ("proxy_dequeue_shared_queue", 3, 1),
        ("proxy_clear_route_cache", 0, 0),
    ];
    let body: String =
        calls.iter().map(|(name, count, _)| format!("(call $tell (call ${name} {}))", zeros(*count))).collect();

    assert_eq!(request("", &body, plain()).told(), calls.map(|(_, _, status)| status));
}

#[test]
fn imports_of_toolchains_and_forks_do_what_they_say() {
    let ran = request(
        "",
        "(call $emscripten_notify_memory_growth (i32.const 0))
         (call $tell (call $pthread_equal (i32.const 7) (i32.const 7)))
         (call $tell (call $pthread_equal (i32.const 7) (i32.const 8)))
         (call $tell (call $proxy_set_active_span_tag (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))",
        plain(),
    );

    assert_eq!(ran.told(), [1, 0, 0]);
}

#[test]
fn an_abort_of_assemblyscript_tells_its_message_and_place() {
    let mut vm = start(&on_request(
        r#"(data (i32.const 4096) "\04\00\00\00n\00o\00") (data (i32.const 4112) "\08\00\00\00a\00.\00t\00s\00")"#,
        "(call $abort (i32.const 4100) (i32.const 4116) (i32.const 3) (i32.const 9))",
    ));

    let failure = vm.begin_stream(plain(), 0, true).1.unwrap_err();

    assert_eq!(failure.message, "abort: no (a.ts:3:9)");
}
