//! A filter that does not come back: who says so, what comes after it, and that the process ends all the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::net::SocketAddr;

use common::client::Client;
use common::modules::{Guest, probes_with};
use common::process::{Tollgate, ask};
use common::proxy::TestProxy;
use common::swaps::speaker;
use common::until;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// A guest of which one callback, given by its export and type, never returns.
fn endless(callback: &str, kind: &str) -> Guest {
    guest(&format!("(func (export {callback:?}) {kind} (loop $again (br $again)) unreachable)"))
}

/// A guest with these functions, to which only what every filter has is added.
fn guest(functions: &str) -> Guest {
    Guest::from_wat(&format!(
        "(module
           (import \"env\" \"proxy_set_tick_period_milliseconds\" (func $tick (param i32) (result i32)))
           (memory (export \"memory\") 1)
           (func (export \"proxy_abi_version_0_2_1\"))
           (func (export \"proxy_on_memory_allocate\") (param i32) (result i32) i32.const 1024)
           {functions})"
    ))
}

/// Everything is answered by the echo, after the guest; what is asked at `/probe`, after a probe that shares its data.
fn config(guest: &Guest, budget: &str) -> String {
    format!(
        "admin: {{ listen: \"127.0.0.1:0\" }}\nlisten: 127.0.0.1:0\nlimits: {{ drain_timeout: 1s }}\n\
         {}  mine: {{ wasm: {:?}, vm_id: shared, budget: {{ {budget} }} }}\nroutes:\n\
         - {{ match: {{ path: /probe }}, to: echo, filters: [probe] }}\n- {{ to: echo, filters: [mine] }}\n",
        probes_with("vm_id: shared, budget: { time: 1s }", &[("probe", "{ request_headers: [] }")]),
        guest.path()
    )
}

#[test]
fn live_and_ready_name_a_worker_that_a_filter_holds_until_it_comes_back() {
    let guest = endless("proxy_on_request_headers", "(param i32 i32 i32) (result i32)");
    let proxy = TestProxy::with(&config(&guest, "time: 4s"));
    let admin = proxy.admin();
    until("it is ready", || ask(admin, "/ready").status() == 200);
    assert_eq!(ask(admin, "/live").text(), "live\n");
    assert_eq!(proxy.metric("tollgate_worker_stuck", &["worker=\"0\""]), 0.0);
    let mut client = proxy.client();

    client.send(GET);
    until("it does not live", || ask(admin, "/live").status() == 503);
    let (live, ready) = (ask(admin, "/live"), ask(admin, "/ready?verbose"));
    let stuck = proxy.metric("tollgate_worker_stuck", &["worker=\"0\""]);

    assert!(live.text().starts_with("worker 0: stuck for "), "{}", live.text());
    assert_eq!((live.status(), ready.status(), stuck), (503, 503, 1.0));
    assert!(ready.text().contains("[+] stage: ready\n[-] worker 0: stuck for "), "{}", ready.text());
    assert_eq!(client.answer().status(), 503);
    until("it lives again", || ask(admin, "/live").status() == 200);
    until("it is ready again", || ask(admin, "/ready").status() == 200);
}

#[test]
fn what_was_asked_while_a_filter_held_the_worker_is_served_though_the_end_was_told_meanwhile() {
    let guest = endless("proxy_on_request_headers", "(param i32 i32 i32) (result i32)");
    let plain = "- { match: { path: /plain }, to: echo }\n- { to: echo, filters: [mine] }";
    let mut proxy = TestProxy::with(&config(&guest, "time: 3s").replace("- { to: echo, filters: [mine] }", plain));
    let mut idle = proxy.client();
    idle.send("GET /plain HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(idle.answer().status(), 200);
    let mut holds = proxy.client();
    holds.send(GET);
    until("the worker is held", || ask(proxy.admin(), "/live").status() == 503);

    idle.send("GET /plain HTTP/1.1\r\nhost: a\r\n\r\n");
    proxy.drain();

    assert_eq!(idle.answer().status(), 200);
    assert_eq!(holds.answer().status(), 503);
    proxy.ended();
}

/// Starts the guest's proxy, does what makes the guest hold its worker, and asks the process to end.
fn ends(guest: &Guest, held: impl FnOnce(&Tollgate, SocketAddr)) {
    let mut tollgate = Tollgate::run(&config(guest, "time: 60s, start: 60s"));
    let address = tollgate.address_after("listening on http://");

    held(&tollgate, address);
    tollgate.signal("TERM");

    assert_eq!(tollgate.code(), Some(0), "{}", tollgate.log());
}

/// Waits until the process says that its worker is stuck.
fn until_stuck(tollgate: &Tollgate) {
    let admin = tollgate.address_after("admin on http://");
    until("the worker is stuck", || ask(admin, "/live").status() == 503);
}

#[test]
fn a_filter_that_never_leaves_a_request_does_not_keep_the_process_from_ending() {
    let guest = endless("proxy_on_request_headers", "(param i32 i32 i32) (result i32)");

    ends(&guest, |tollgate, address| {
        let mut client = Client::connect(address);
        client.send(GET);
        until_stuck(tollgate);
    });
}

#[test]
fn a_filter_that_never_leaves_its_tick_does_not_keep_the_process_from_ending() {
    let guest = guest(
        "(func (export \"proxy_on_configure\") (param i32 i32) (result i32) (drop (call $tick (i32.const 10))) i32.const 1)
         (func (export \"proxy_on_tick\") (param i32) (loop $again (br $again)))",
    );

    ends(&guest, |tollgate, _| until_stuck(tollgate));
}

#[test]
fn a_filter_that_never_agrees_to_go_away_does_not_keep_the_process_from_ending() {
    let guest = endless("proxy_on_done", "(param i32) (result i32)");

    ends(&guest, |_, _| {});
}

/// A guest that loops in its start where this condition holds, once it has put `loops` into its data, and dies of its
/// first request, once it has put `asked` there. It may drop a segment: of such a module there is no image, and each VM
/// is started.
fn never_starting(condition: &str) -> Guest {
    Guest::from_wat(&format!(
        "(module
           (import \"env\" \"proxy_set_shared_data\" (func $set (param i32 i32 i32 i32 i32) (result i32)))
           (import \"env\" \"proxy_get_shared_data\" (func $get (param i32 i32 i32 i32 i32) (result i32)))
           (memory (export \"memory\") 1)
           (data (i32.const 0) \"askedloops\")
           (data $unused \"x\")
           (func (export \"proxy_abi_version_0_2_1\"))
           (func (export \"proxy_on_memory_allocate\") (param i32) (result i32) i32.const 1024)
           (func $drop (data.drop $unused))
           (func (export \"proxy_on_vm_start\") (param i32 i32) (result i32)
             (if {condition} (then
               (drop (call $set (i32.const 5) (i32.const 5) (i32.const 5) (i32.const 5) (i32.const 0)))
               (loop $again (br $again))))
             i32.const 1)
           (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
             (drop (call $set (i32.const 0) (i32.const 5) (i32.const 0) (i32.const 5) (i32.const 0)))
             unreachable))"
    ))
}

/// Waits until a VM of the guest is in a start that has no end.
fn until_it_loops(address: SocketAddr) {
    let get = "GET /probe HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
        x-probe-response-headers: shared-get loops -> response-headers x-start\r\n\r\n";
    until("a start loops", || {
        let mut client = Client::connect(address);
        client.send(get);
        client.answer().field("x-start") == Some("loops")
    });
}

#[test]
fn a_filter_that_never_starts_again_does_not_keep_the_process_from_ending() {
    // Shared data outlives VMs: those that start before the process serves find none, the next one loops.
    let guest = never_starting(
        "(i32.eqz (call $get (i32.const 0) (i32.const 5) (i32.const 16) (i32.const 20) (i32.const 24)))",
    );

    ends(&guest, |_, address| {
        let mut client = Client::connect(address);
        client.send(GET);
        assert_eq!(client.answer().status(), 503);
        until_it_loops(address);
    });
}

#[test]
fn an_uploaded_module_that_never_starts_does_not_keep_the_process_from_ending() {
    let guest = Guest::from_bytes(&speaker("one"));
    let module = std::fs::read(never_starting("(i32.const 1)").path()).unwrap();

    ends(&guest, |tollgate, address| {
        let mut client = Client::connect(tollgate.address_after("admin on http://"));
        let head = format!("PUT /filters/mine/module HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}", module.len());
        client.send([head.as_bytes(), b"\r\n\r\n", &module].concat());

        until_it_loops(address);
    });
}
