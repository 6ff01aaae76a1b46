//! Filters that outlive their exchanges: `proxy_on_done` answered false, and `proxy_done` comes later or never.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::time::{Duration, Instant};

use common::modules::probes;
use common::origin::{Origin, ok};
use common::proxy::TestProxy;
use common::{log, until};

/// How long a context may linger.
const PATIENCE: Duration = Duration::from_secs(5);

fn proxy(name: &str, config: &str, origin: &Origin) -> TestProxy {
    let filters = probes(&[(name, config)]);
    TestProxy::with(&format!("{filters}routes: [{{ to: {:?}, filters: [{name}] }}]", origin.url()))
}

/// True once the filter's stream contexts were told of their end.
fn logged(name: &str) -> usize {
    let lines = log::lines_with("probe: property request.path = /");
    lines.iter().filter(|line| line.contains(&format!("filter=\"{name}\""))).count()
}

#[test]
fn a_filter_that_never_says_it_is_ready_is_ended_after_a_while_and_nobody_waits() {
    log::keep();
    let origin = Origin::answering(ok("x"));
    let proxy = proxy("never", "{ done: [refuse], log: [\"property request.path\"] }", &origin);
    let begun = Instant::now();

    let answer = proxy.get("/");
    proxy.counts("tollgate_http_active_requests", &[], 0.0);
    let early = logged("never");

    assert_eq!((answer.status(), early), (200, 0));
    until("the filter logs", || logged("never") == 1);
    assert!(begun.elapsed() >= PATIENCE);
}

#[test]
fn a_filter_that_says_it_is_ready_is_ended_then_and_reads_its_exchange_meanwhile() {
    log::keep();
    let origin = Origin::answering(ok("x"));
    let config = "{ configure: [\"tick 300\"], done: [refuse], log: [\"property request.path\"], \
                  tick: [\"effective 2\", \"property response.code\", \"get request-headers :path\", done] }";
    let filters = probes(&[("unready", "{ done: [refuse], log: [\"property request.path\"] }"), ("ready", config)]);
    let proxy = TestProxy::with(&format!("{filters}routes: [{{ to: {:?}, filters: [unready, ready] }}]", origin.url()));

    proxy.get("/");

    until("the filter logs", || logged("ready") == 1);
    assert_eq!(logged("unready"), 0, "the one that says nothing goes on");
    let read = log::lines_with("probe: get request-headers :path = /");
    assert!(read.iter().any(|line| line.contains("filter=\"ready\"")), "{read:?}");
}

#[test]
fn a_filter_is_asked_once_and_the_others_of_its_chain_are_ended_at_once() {
    let origin = Origin::answering(ok("x"));
    let filters = probes(&[("asks", "{ done: [refuse] }"), ("plain", "{}")]);
    let proxy = TestProxy::with(&format!("{filters}routes: [{{ to: {:?}, filters: [asks, plain] }}]", origin.url()));

    proxy.get("/");

    // One entry for the plain one; done, and later log with delete, for the one that asked.
    proxy.counts("tollgate_filter_calls_total", &["filter=\"plain\"", "phase=\"log\""], 1.0);
    proxy.counts("tollgate_filter_calls_total", &["filter=\"asks\"", "phase=\"log\""], 2.0);
}

#[test]
fn a_vm_that_dies_takes_those_that_linger_along() {
    log::keep();
    let origin = Origin::answering(ok("x"));
    let proxy = proxy("dies", "{ done: [refuse], log: [\"property request.path\"] }", &origin);

    proxy.get("/");
    assert_eq!(proxy.ask("/", "x-probe-request-headers: trap\r\n").status(), 503);
    let after = proxy.get("/after");

    assert_eq!(after.status(), 200);
    until("the one of the fresh VM is ended", || logged("dies") > 0);
    assert_eq!(logged("dies"), 1);
    assert!(log::lines_with("probe: property request.path = /after").len() == 1);
}

#[test]
fn those_that_linger_are_ended_with_their_worker() {
    log::keep();
    let origin = Origin::answering(ok("x"));
    let config = "{ done: [refuse], log: [\"property request.path\"] }";
    let (other, mut proxy) = (proxy("other", config, &origin), proxy("worker", config, &origin));
    other.get("/");

    proxy.get("/");
    proxy.drain();
    proxy.ended();

    // One that began before it goes on where its worker does.
    assert_eq!((logged("worker"), logged("other")), (1, 0));
}

#[test]
fn a_thousand_may_linger_and_not_one_more() {
    let origin = Origin::answering(ok("x"));
    // A machine that is too busy to serve a thousand requests in the time tells nothing; it is asked again.
    let told = (0..5).any(|_| {
        let proxy = proxy("a", "{ request_headers: [\"reply 200 x\"], done: [refuse] }", &origin);
        let ended = || proxy.metric("tollgate_filter_calls_total", &["phase=\"log\""]);
        let (begun, mut client) = (Instant::now(), proxy.client());
        for _ in 0..10 {
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(100));
            (0..100).for_each(|_| drop(client.answer()));
        }
        proxy.counts("tollgate_http_active_requests", &[], 0.0);
        let thousand = ended();
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        client.answer();
        proxy.counts("tollgate_http_active_requests", &[], 0.0);
        let one_more = ended();
        if begun.elapsed() >= PATIENCE {
            return false;
        }
        // Every exchange is an entry to ask; the last one is a second entry at once.
        assert_eq!((thousand, one_more), (1_000.0, 1_002.0));
        true
    });
    assert!(told, "a thousand exchanges took longer than a context may linger");
}
