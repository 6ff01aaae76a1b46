//! What bounds a guest, each at its bound and past it.

use std::time::{Duration, Instant};

use tollgate_abi::testing::{RecordingStream, guest};
use tollgate_abi::{Cause, Limits, MapType, Module, ModuleError, ModuleLimits, PluginSettings, Refusal};

use crate::common::{ENGINE, TestVm, module, on_request, request, start, start_with, try_start};

fn limited(limits: Limits) -> PluginSettings {
    PluginSettings { limits, ..PluginSettings::default() }
}

fn fail(body: &str) -> tollgate_abi::Failure {
    let mut vm = start(&on_request("", body));
    vm.begin_stream(RecordingStream::request([]), 0, true).1.unwrap_err()
}

// time

#[test]
fn an_endless_loop_ends_at_its_deadline() {
    let started = Instant::now();

    let failure = fail("(loop (br 0))");

    assert_eq!(failure.cause, Cause::Deadline);
    assert!(started.elapsed() >= Duration::from_millis(10));
    assert!(!failure.backtrace.is_empty());
}

#[test]
fn an_endless_loop_of_hostcalls_ends_at_its_deadline() {
    let failure = fail("(loop (drop (call $proxy_get_current_time_nanoseconds (i32.const 64))) (br 0))");

    assert_eq!(failure.cause, Cause::Deadline);
}

#[test]
fn an_endless_loop_at_the_start_ends_at_the_deadline_of_the_start() {
    let limits = Limits { start: Duration::from_millis(20), ..Limits::default() };
    for body in [
        "(func $go (loop (br 0))) (start $go)",
        r#"(func (export "_initialize") (loop (br 0)))"#,
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (loop (br 0)) (i32.const 1))"#,
    ] {
        let (failure, _) = try_start(&module(body), limited(limits.clone())).unwrap_err();

        assert_eq!(failure.cause, Cause::Deadline, "{body}");
    }
}

#[test]
fn an_endless_loop_in_the_allocator_ends_at_its_deadline() {
    let bytes = tollgate_abi::testing::wat(
        r#"(module
            (import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (loop (br 0)) (i32.const 0))
            (func (export "proxy_on_tick") (param i32)
                (drop (call $get (i32.const 7) (i32.const 0) (i32.const 9) (i32.const 0) (i32.const 4)))))"#,
    );
    let module = crate::common::compile(&bytes).unwrap();
    let settings = PluginSettings { config: b"configuration".to_vec(), ..PluginSettings::default() };
    let mut vm: TestVm = try_start(&module, settings).unwrap();

    assert_eq!(vm.tick().unwrap_err().cause, Cause::Deadline);
}

#[test]
fn each_entry_has_the_whole_budget_again() {
    // Each spins for 80 ms of wall-clock time: one fits, three do not.
    let limits = Limits { callback: Duration::from_millis(200), ..Limits::default() };
    let now = "(drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 64)))";
    let body = format!(
        r#"(func (export "proxy_on_tick") (param i32) (local $end i64)
            {now} (local.set $end (i64.add (i64.load (i32.const 64)) (i64.const 80000000)))
            (loop {now} (br_if 0 (i64.lt_u (i64.load (i32.const 64)) (local.get $end)))))"#
    );
    let mut vm = start_with(&body, limited(limits));

    for _ in 0..3 {
        vm.tick().unwrap();
    }
}

// memory and table

#[test]
fn memory_grows_to_its_limit_and_the_page_after_it_answers_minus_one() {
    let limits = Limits { memory: 20 * 65536, ..Limits::default() };
    let grow = r#"(func (export "proxy_on_tick") (param i32)
        (call $tell (memory.grow (i32.const 4))) (call $tell (memory.grow (i32.const 1))))"#;
    let mut vm = start_with(grow, limited(limits));
    assert_eq!(vm.memory_bytes(), 16 * 65536);

    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [16, u32::MAX]);
    assert_eq!(vm.memory_bytes(), 20 * 65536);
}

#[test]
fn a_trap_after_refused_growth_counts_as_memory() {
    let failure = fail("(if (i32.eq (memory.grow (i32.const 60000)) (i32.const -1)) (then unreachable))");

    assert_eq!(failure.cause, Cause::Memory);
}

#[test]
fn a_trap_in_a_later_entry_does_not() {
    let mut vm = start(
        r#"(global $ticks (mut i32) (i32.const 0))
        (func (export "proxy_on_tick") (param i32)
            (if (global.get $ticks) (then unreachable))
            (global.set $ticks (i32.const 1))
            (drop (memory.grow (i32.const 60000))))"#,
    );

    vm.tick().unwrap();

    assert_eq!(vm.tick().unwrap_err().cause, Cause::Trap);
}

#[test]
fn a_module_that_starts_larger_than_its_limit_does_not_start() {
    let limits = Limits { memory: 15 * 65536, ..Limits::default() };

    let (failure, _) = try_start(&module(""), limited(limits)).unwrap_err();

    assert_eq!(failure.cause, Cause::Memory);
}

#[test]
fn the_table_grows_to_its_limit_and_one_more_answers_minus_one() {
    let limits = Limits { table_elements: 10, ..Limits::default() };
    let body = r#"(table $t 4 funcref)
        (func (export "proxy_on_tick") (param i32)
            (call $tell (table.grow $t (ref.null func) (i32.const 6)))
            (call $tell (table.grow $t (ref.null func) (i32.const 1))))"#;
    let mut vm = start_with(body, limited(limits.clone()));

    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [4, u32::MAX]);
    let (failure, _) = try_start(&module("(table 11 funcref)"), limited(limits)).unwrap_err();
    assert_eq!(failure.cause, Cause::Memory);
}

#[test]
fn a_second_table_does_not_load() {
    let refused = compile_with("(table 1 funcref) (table 1 funcref)", &ModuleLimits::default()).unwrap_err();

    assert_eq!(refused.to_string(), "2 tables, over the limit of 1");
}

// stack

#[test]
fn endless_recursion_is_a_trap() {
    let mut vm = start(&on_request("(func $down (call $down) (call $tell (i32.const 0)))", "(call $down)"));

    let failure = vm.begin_stream(RecordingStream::request([]), 0, true).1.unwrap_err();

    assert_eq!(failure.cause, Cause::Trap);
    assert!(failure.message.contains("call stack exhausted"), "{failure}");
}

#[test]
fn hostcalls_are_closed_inside_the_allocator() {
    let bytes = tollgate_abi::testing::wat(
        r#"(module
            (import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 64) "ok")
            (func (export "proxy_abi_version_0_2_1"))
            (func $malloc (export "malloc") (param i32) (result i32)
                (drop (call $log (i32.const 2) (i32.const 64) (i32.const 2)))
                (call $get (i32.const 7) (i32.const 0) (i32.const 9) (i32.const 0) (i32.const 4)))
            (func (export "proxy_on_tick") (param i32) (drop (call $malloc (i32.const 1)))))"#,
    );
    let module = crate::common::compile(&bytes).unwrap();
    let settings = PluginSettings { config: b"configuration".to_vec(), ..PluginSettings::default() };
    let mut vm: TestVm = try_start(&module, settings).unwrap();

    let failure = vm.tick().unwrap_err();

    assert_eq!(failure.message, "proxy_get_buffer_bytes may not be called inside the allocator");
    assert_eq!(vm.host().text(), ["ok", "ok"]);
}

// what one entry may queue

#[test]
fn an_entry_queues_a_thousand_and_twenty_four_actions_and_no_more() {
    let body = "(local $n i32) (local.set $n (i32.const 1025))
        (loop (drop (call $proxy_continue_stream (i32.const 0)))
              (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))";

    let ran = request("", body, RecordingStream::request([]));

    assert_eq!(ran.stream.events.len(), 1024);
    assert_eq!(ran.refused(), ["proxy_continue_stream"]);
}

#[test]
fn one_write_to_a_buffer_takes_sixteen_megabytes_and_no_more() {
    let write = |size: u32| {
        format!(
            "(call $tell (call $proxy_set_buffer_bytes
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const {size})))"
        )
    };
    let bytes = 16 * 1024 * 1024;
    let body = format!("(drop (memory.grow (i32.const 300))) {} {}", write(bytes), write(bytes + 1));
    let stream = RecordingStream::default().with_buffer(tollgate_abi::BufferType::RequestBody, b"");

    let ran = request("", &body, stream);

    assert_eq!(ran.stream.buffers[&tollgate_abi::BufferType::RequestBody].len(), 16 * 1024 * 1024);
    assert_eq!(ran.refused(), ["proxy_set_buffer_bytes"]);
}

#[test]
fn a_list_of_pairs_takes_one_megabyte_and_no_more() {
    // One pair whose key fills the megabyte: 12 bytes of sizes, the key, two NULs.
    let key = 1024 * 1024 - 14;
    let set = |size: u32| {
        format!("(drop (call $proxy_set_header_map_pairs (i32.const 0) (i32.const 1048576) (i32.const {size})))")
    };
    let body = format!(
        "(drop (memory.grow (i32.const 32)))
         (i32.store (i32.const 1048576) (i32.const 1)) (i32.store (i32.const 1048580) (i32.const {key}))
         (memory.fill (i32.const 1048588) (i32.const 97) (i32.const {key}))
         {} {}",
        set(1024 * 1024),
        set(1024 * 1024 + 1)
    );

    let ran = request("", &body, RecordingStream::request([("a", "b")]));

    let fields = ran.stream.maps[&MapType::RequestHeaders].fields();
    assert_eq!(fields[0].0.len(), 1024 * 1024 - 14);
    assert_eq!(ran.vm.host().refused, [("proxy_set_header_map_pairs", Refusal::Limit("bytes of a list of pairs"))]);
}

#[test]
fn a_local_response_and_a_property_take_sixteen_megabytes_and_no_more() {
    let respond = |size: u32| {
        format!(
            "(drop (call $proxy_send_local_response (i32.const 200) (i32.const 0) (i32.const 0)
                (i32.const 0) (i32.const {size}) (i32.const 0) (i32.const 0) (i32.const -1)))"
        )
    };
    let property = |size: u32| {
        format!("(drop (call $proxy_set_property (i32.const 8) (i32.const 1) (i32.const 0) (i32.const {size})))")
    };
    let bytes = 16 * 1024 * 1024;
    let body = format!(
        "(drop (memory.grow (i32.const 300))) {} {} {} {}",
        respond(bytes + 1),
        respond(bytes),
        property(bytes),
        property(bytes + 1)
    );

    let ran = request("", &body, RecordingStream::default());

    assert_eq!(ran.stream.events.len(), 1);
    assert_eq!(ran.stream.properties.len(), 1);
    assert_eq!(ran.refused(), ["proxy_send_local_response", "proxy_set_property"]);
}

#[test]
fn an_entry_borrows_a_thousand_and_twenty_four_streams_and_no_more() {
    let mut vm = start(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))
        (func (export "proxy_on_tick") (param i32) (local $id i32)
            (local.set $id (i32.const 2))
            (loop (drop (call $proxy_set_effective_context (local.get $id)))
                  (local.set $id (i32.add (local.get $id) (i32.const 1)))
                  (br_if 0 (i32.lt_u (local.get $id) (i32.const 1027))))
            (drop (call $proxy_continue_stream (i32.const 0))))"#,
    );
    for _ in 0..1025 {
        let (stream, begun) = vm.begin_stream(RecordingStream::default(), 0, true);
        vm.host_mut().lendable.insert(begun.unwrap().0, stream);
    }

    vm.tick().unwrap();

    let refused: Vec<&str> = vm.host().refused.iter().map(|(hostcall, _)| *hostcall).collect();
    assert_eq!(refused, ["proxy_set_effective_context", "proxy_continue_stream"]);
    assert_eq!(vm.host().lendable.len(), 1025);
    assert!(vm.host().lendable.values().all(|stream| stream.events.is_empty()));
}

// what a module may be

fn compile_with(body: &str, limits: &ModuleLimits) -> Result<Module, ModuleError> {
    Module::compile(&ENGINE, &guest(body), limits)
}

#[test]
fn each_bound_of_a_module_holds_at_its_value_and_one_past_it() {
    let bytes = guest("");
    let body = "(func $tall (i64.store (i32.const 0) (i64.add (i64.const 1) (i64.const 2))))";
    // The helpers of a guest are four functions, one import, three exports.
    let exact = ModuleLimits { bytes: bytes.len(), functions: 4, body_bytes: 100, imports: 1, exports: 3 };
    assert!(compile_with("", &exact).is_ok());

    for (what, limits) in [
        ("bytes", ModuleLimits { bytes: bytes.len() - 1, ..exact.clone() }),
        ("functions", ModuleLimits { functions: 3, ..exact.clone() }),
        ("bytes in one function", ModuleLimits { body_bytes: 5, ..exact.clone() }),
        ("imports", ModuleLimits { imports: 0, ..exact.clone() }),
        ("exports", ModuleLimits { exports: 2, ..exact.clone() }),
    ] {
        let refused = compile_with("", &limits).unwrap_err();
        assert!(matches!(refused, ModuleError::TooMany { what: found, .. } if found == what), "{what}: {refused}");
    }
    assert!(compile_with(body, &ModuleLimits::default()).is_ok());
}
