//! A filter that does not come back: who says so, what comes after it, and that the process ends all the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use common::client::Client;
use common::modules::Guest;
use common::process::{Tollgate, ask};
use common::proxy::TestProxy;
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

/// Everything is answered by the echo, after the guest.
fn config(guest: &Guest, budget: &str) -> String {
    format!(
        "admin: {{ listen: \"127.0.0.1:0\" }}\nlisten: 127.0.0.1:0\nlimits: {{ drain_timeout: 1s }}\n\
         filters:\n  mine: {{ wasm: {:?}, budget: {{ {budget} }} }}\nroutes: [{{ to: echo, filters: [mine] }}]\n",
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

/// Starts the guest's proxy, does what makes the guest hold its worker, and asks the process to end.
fn ends(guest: &Guest, held: impl FnOnce(&Tollgate, std::net::SocketAddr)) {
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

#[test]
fn a_filter_that_never_starts_again_does_not_keep_the_process_from_ending() {
    // Shared data outlives VMs: those that start before the process serves find none, the one after the first death loops.
    let guest = Guest::from_wat(
        "(module
           (import \"env\" \"proxy_set_shared_data\" (func $set (param i32 i32 i32 i32 i32) (result i32)))
           (import \"env\" \"proxy_get_shared_data\" (func $get (param i32 i32 i32 i32 i32) (result i32)))
           (memory (export \"memory\") 1)
           (data (i32.const 0) \"key\")
           (func (export \"proxy_abi_version_0_2_1\"))
           (func (export \"proxy_on_memory_allocate\") (param i32) (result i32) i32.const 1024)
           (func (export \"proxy_on_vm_start\") (param i32 i32) (result i32)
             (if (i32.eqz (call $get (i32.const 0) (i32.const 3) (i32.const 16) (i32.const 20) (i32.const 24)))
               (then (loop $again (br $again))))
             i32.const 1)
           (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
             (drop (call $set (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 3) (i32.const 0)))
             unreachable))",
    );

    ends(&guest, |_, address| {
        let mut client = Client::connect(address);
        client.send(GET);
        // Its VM died, and the start of the next spare has begun or begins now.
        assert_eq!(client.answer().status(), 503);
    });
}
