//! Connections that change to another protocol as filters, their generations and the access log see them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use common::access::AccessLog;
use common::modules::Guest;
use common::origin::{Origin, ok};
use common::proxy::TestProxy;
use common::swaps::{hearing, speaker};
use common::tcp::{calls, exactly};
use common::until;
use common::upgrades::{HANDSHAKE, echo, ordinary, proxy_with, switched};
use tollgate::app::reload::Done;

fn filtered(limits: &str, guest: &Guest, origin: &Origin) -> TestProxy {
    proxy_with(limits, &guest.as_f(), "filters: [f]", origin)
}

#[test]
fn filters_see_the_heads_and_the_end_and_nothing_between() {
    let (guest, origin) = (Guest::from_bytes(&hearing("me")), echo());
    let proxy = filtered("", &guest, &origin);
    let mut client = proxy.client();

    client.send(HANDSHAKE);
    let answer = client.any_head();
    client.send("some bytes");
    assert_eq!(exactly(client.reader(), 10), "some bytes");

    assert_eq!((answer.status(), answer.field("x-by")), (101, Some("me")));
    assert_eq!((answer.all("upgrade"), answer.all("connection")), (vec!["websocket"], vec!["upgrade"]));
    assert_eq!((calls(&proxy, "done"), calls(&proxy, "log")), (0.0, 0.0));
    client.end();
    assert!(client.is_closed());
    until("the filter hears of the end", || calls(&proxy, "log") == 1.0);
    assert_eq!((calls(&proxy, "request_body"), calls(&proxy, "response_body")), (0.0, 0.0));
}

#[test]
fn a_filter_may_answer_instead() {
    let origin = echo();
    for (phase, asked) in [("proxy_on_request_headers", 0), ("proxy_on_response_headers", 1)] {
        let before = origin.requests().len();
        let guest = Guest::answering(phase, 403);
        let proxy = filtered("", &guest, &origin);
        let mut client = proxy.client();

        client.send(HANDSHAKE);
        let answer = client.answer();

        assert_eq!((answer.status(), answer.field("upgrade")), (403, None), "{phase}");
        assert_eq!(origin.requests().len() - before, asked);
        assert_eq!(proxy.metric("tollgate_http_upgrades_total", &[]), 0.0);
        until("no connection is left", || proxy.metric("tollgate_upstream_connections_active", &[]) == 0.0);
    }
}

fn is_draining(proxy: &TestProxy, generations: &[u64]) -> bool {
    proxy.plugin("f").draining.iter().map(|brief| brief.number).eq(generations.iter().copied())
}

fn swap(proxy: &TestProxy, guest: &Guest, word: &str) {
    guest.replace(&hearing(word));
    assert_eq!(proxy.order(guest.look()).unwrap(), Done::Serving);
}

#[test]
fn a_changed_connection_keeps_its_generation_however_long_it_lasts() {
    let (guest, origin) = (Guest::from_bytes(&hearing("one")), echo());
    let proxy = filtered("retire_timeout: 100ms", &guest, &origin);
    let mut old = switched(&proxy);

    swap(&proxy, &guest, "two");
    let mut new = switched(&proxy);
    // Its time is over by far once another generation has come and gone.
    swap(&proxy, &guest, "three");
    new.end();
    assert!(new.is_closed());
    until("the second generation is gone", || is_draining(&proxy, &[1]));
    old.send("still here");

    assert_eq!(exactly(old.reader(), 10), "still here");
    assert_eq!(calls(&proxy, "done"), 1.0);
    old.end();
    assert!(old.is_closed());
    until("the first generation ends with its connection", || is_draining(&proxy, &[]));
    assert_eq!(calls(&proxy, "done"), 2.0);
}

#[test]
fn a_changed_connection_ends_with_its_generation_where_that_may_not_grow_old() {
    let (guest, origin) = (Guest::from_bytes(&hearing("one")), echo());
    let proxy = filtered("upgrade_age: 200ms", &guest, &origin);
    let mut old = switched(&proxy);

    guest.replace(&speaker("two"));
    assert_eq!(proxy.order(guest.look()).unwrap(), Done::Serving);

    assert!(old.is_closed());
    until("the generation is gone", || is_draining(&proxy, &[]));
    drop(switched(&proxy));
}

#[test]
fn a_request_that_a_filter_sends_elsewhere_asks_only_what_that_route_allows() {
    let (origin, elsewhere) = (echo(), Origin::answering(ok("elsewhere")));
    let guest = Guest::setting("proxy_on_request_headers", 0, ":path", "/other");
    let proxy = TestProxy::with(&format!(
        "filters: {{ f: {{ wasm: {:?} }} }}\nroutes:\n- {{ to: {:?}, upgrade: [websocket], filters: [f] }}\n\
         - {{ match: {{ path: /other }}, to: {:?} }}",
        guest.path(),
        origin.url(),
        elsewhere.url()
    ));

    let (answer, asked) = ordinary(&proxy, &elsewhere, HANDSHAKE);

    assert_eq!((answer.text(), asked.target()), ("elsewhere", "/other"));
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn the_access_log_has_one_line_for_all_of_it() {
    let (log, origin) = (AccessLog::new(), echo());
    let proxy = proxy_with("", &log.yaml(), "", &origin);
    let mut client = switched(&proxy);

    client.send("12345");
    assert_eq!(exactly(client.reader(), 5), "12345");
    client.end();
    assert!(client.is_closed());

    let line = log.line();
    assert_eq!((&line["status"], &line["path"]), (&101.into(), &"/chat".into()));
    assert_eq!((&line["request_bytes"], &line["response_bytes"]), (&5.into(), &5.into()), "{line}");
    assert!(line.get("reason").is_none_or(serde_json::Value::is_null), "{line}");
}
