//! Who shares a VM: all exchanges of a worker, or none.

#[path = "common/common.rs"]
mod common;

use common::modules::Guest;
use common::proxy::TestProxy;
use tollgate::app::AppError;

/// A filter that counts the requests its memory has seen from what its configuration begins with, says the count in the
/// field `x-count` of the answer, and traps at `x-trap`.
const COUNTER: &str = r#"(module
    (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "x-count")
    (data (i32.const 16) "x-trap")
    (global $count (mut i32) (i32.const 0))
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 4096))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (global.set $count (i32.const 4))
        (i32.store8 (i32.const 64) (i32.const 48))
        (drop (call $tick (i32.const 10)))
        (i32.const 1))
    (func (export "proxy_on_tick") (param i32) (global.set $count (i32.const 1)))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (i32.store8 (i32.const 64) (i32.add (global.get $count) (i32.const 48)))
        (if (i32.eqz (call $get (i32.const 0) (i32.const 16) (i32.const 6) (i32.const 128) (i32.const 132)))
            (then unreachable))
        (i32.const 0))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        (drop (call $add (i32.const 2) (i32.const 0) (i32.const 7) (i32.const 64) (i32.const 1)))
        (i32.const 0)))"#;

fn proxy(guest: &Guest, isolation: &str) -> TestProxy {
    TestProxy::with(&format!(
        "filters: {{ f: {{ wasm: {:?}, isolation: {isolation} }} }}\nroutes: [{{ to: echo, filters: [f] }}]",
        guest.path()
    ))
}

fn count(proxy: &TestProxy) -> String {
    proxy.get("/").field("x-count").unwrap_or_default().to_owned()
}

#[test]
fn an_exchange_of_its_own_vm_sees_the_configured_one_and_nothing_of_another() {
    let guest = Guest::from_wat(COUNTER);
    let proxy = proxy(&guest, "request");

    let counts: Vec<String> = (0..200).map(|_| count(&proxy)).collect();

    assert!(counts.iter().all(|count| count == "5"), "{counts:?}");
    // The VM that stays ticks all the same.
    proxy.counts("tollgate_filter_instances", &["filter=\"f\""], 1.0);
    common::until("the plugin has ticked", || proxy.metric("tollgate_filter_calls_total", &["phase=\"tick\""]) > 0.0);
}

#[test]
fn a_trap_in_a_vm_of_one_exchange_is_nobody_elses() {
    let guest = Guest::from_wat(COUNTER);
    let proxy = proxy(&guest, "request");

    for _ in 0..300 {
        assert_eq!(proxy.ask("/", "x-trap: 1\r\n").status(), 503);
        assert_eq!(count(&proxy), "5");
    }

    proxy.counts("tollgate_filter_failures_total", &["kind=\"trap\""], 300.0);
}

#[test]
fn a_trapped_vm_is_replaced_by_the_image_of_the_configured_one_as_often_as_it_takes() {
    let guest = Guest::from_wat(&COUNTER.replace("proxy_on_tick", "proxy_on_nothing"));
    let proxy = proxy(&guest, "worker");
    assert_eq!(count(&proxy), "5");
    assert_eq!(count(&proxy), "6");

    for _ in 0..90 {
        assert_eq!(proxy.ask("/", "x-trap: 1\r\n").status(), 503);
    }

    assert_eq!(count(&proxy), "5");
    // None of those VMs ran its start: only the worker's first one and the spare did.
    proxy.counts("tollgate_filter_calls_total", &["phase=\"configure\""], 2.0);
}

#[test]
fn a_module_without_an_image_is_refused_where_each_exchange_is_to_have_one() {
    let guest = Guest::from_wat(&COUNTER.replace(
        "(memory (export \"memory\") 1)",
        "(memory (export \"memory\") 1) (table 1 funcref)
         (func (export \"turn\") (table.set (i32.const 0) (ref.null func)))",
    ));
    let yaml = format!(
        "filters: {{ f: {{ wasm: {:?}, isolation: request }} }}\nroutes: [{{ to: echo, filters: [f] }}]",
        guest.path()
    );

    let Err(AppError::Modules(faults)) = common::proxy::prepare(&yaml) else { panic!("it must not load") };

    assert!(faults[0].to_string().starts_with("error[TG0209]"), "{}", faults[0]);
}
