//! Tunnels of CONNECT over HTTP/1.1 as filters, their generations and the access log see them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use common::access::AccessLog;
use common::modules::Guest;
use common::origin::{Origin, refusing};
use common::proxy::TestProxy;
use common::swaps::{hearing, speaker};
use common::tcp::{calls, echo, exactly, to_end};
use common::tunnels::{CONNECT, connected, proxy_with, refused};
use common::until;

fn filtered(limits: &str, guest: &Guest, origin: &Origin) -> TestProxy {
    proxy_with(limits, &guest.as_f(), "filters: [f]", origin)
}

#[test]
fn filters_see_the_heads_and_the_end_and_nothing_between() {
    let (guest, origin) = (Guest::from_bytes(&hearing("me")), echo());
    let proxy = filtered("", &guest, &origin);
    let mut client = proxy.client();

    client.send(CONNECT);
    let answer = client.any_head();
    client.send("some bytes");
    assert_eq!(exactly(client.reader(), 10), "some bytes");

    assert_eq!((answer.status(), answer.field("x-by")), (200, Some("me")));
    assert_eq!(calls(&proxy, "log"), 0.0);
    client.end();
    assert!(client.is_closed());
    until("the filter hears of the end", || calls(&proxy, "log") == 1.0);
    assert_eq!((calls(&proxy, "request_body"), calls(&proxy, "response_body")), (0.0, 0.0));
}

#[test]
fn a_tunnel_ends_with_the_generation_of_its_filter_where_that_may_not_grow_old() {
    let (guest, origin) = (Guest::from_bytes(&speaker("one")), echo());
    let proxy = filtered("upgrade_age: 200ms", &guest, &origin);
    let mut old = connected(&proxy);

    guest.replace(&speaker("two"));
    proxy.order(guest.look()).unwrap();

    assert!(old.is_closed());
    until("the generation is gone", || proxy.plugin("f").draining.is_empty());
    drop(connected(&proxy));
}

#[test]
fn a_filter_may_refuse_and_its_success_is_no_tunnel() {
    for (phase, asked) in [("proxy_on_request_headers", 0), ("proxy_on_response_headers", 1)] {
        for (status, answered) in [(403, 403), (302, 302), (200, 500), (204, 500)] {
            let origin = echo();
            let guest = Guest::answering(phase, status);
            let proxy = filtered("", &guest, &origin);

            assert_eq!(refused(&proxy, CONNECT), answered, "{phase} {status}");

            until("the endpoint was connected to or not", || origin.connections() == asked);
            assert_eq!(proxy.metric("tollgate_http_upgrades_total", &[]), 0.0);
            until("no connection is left", || proxy.metric("tollgate_upstream_connections_active", &[]) == 0.0);
        }
    }
}

#[test]
fn a_filter_that_changes_the_answer_makes_no_tunnel_of_a_failure_nor_keeps_one_that_it_denies() {
    let dead = Origin::silent();
    let answering = |status: &str| Guest::setting("proxy_on_response_headers", 2, ":status", status);
    let (success, denial) = (answering("200"), answering("451"));
    let unreachable = TestProxy::with(&format!(
        "filters: {{ f: {{ wasm: {:?} }} }}\n\
         routes: [{{ to: 'http://{}', upgrade: [connect], filters: [f] }}]",
        success.path(),
        refusing()
    ));
    let denying = filtered("", &denial, &dead);

    assert_eq!(refused(&unreachable, CONNECT), 500);
    assert_eq!(refused(&denying, CONNECT), 451);
    until("no connection is left", || denying.metric("tollgate_upstream_connections_active", &[]) == 0.0);
}

#[test]
fn a_filter_that_changes_the_host_gets_a_route_with_tunnels_or_none() {
    let (near, far) = (echo(), Origin::scripted(|peer| peer.send("far")));
    for (authority, greeting) in [("far.test:1", Some("far")), ("plain.test:1", None)] {
        let guest = Guest::setting("proxy_on_request_headers", 0, ":authority", authority);
        let proxy = TestProxy::with(&format!(
            "filters: {{ f: {{ wasm: {:?} }} }}\nroutes:\n\
             - {{ match: {{ host: nowhere.test }}, to: {:?}, upgrade: [connect], filters: [f] }}\n\
             - {{ match: {{ host: far.test }}, to: {:?}, upgrade: [connect] }}\n\
             - {{ match: {{ host: plain.test }}, to: {:?} }}",
            guest.path(),
            near.url(),
            far.url(),
            near.url(),
        ));
        match greeting {
            Some(greeting) => assert_eq!(to_end(connected(&proxy).reader()).unwrap(), greeting.as_bytes()),
            None => assert_eq!(refused(&proxy, CONNECT), 404),
        }
    }
    assert_eq!(near.connections(), 0);
}

#[test]
fn a_filter_makes_no_other_request_of_it_and_sees_no_path() {
    for (name, value) in [(":method", "GET"), (":path", "/")] {
        let (guest, origin) = (Guest::setting("proxy_on_request_headers", 0, name, value), echo());
        let proxy = filtered("", &guest, &origin);
        let mut client = connected(&proxy);

        client.send("x");

        assert_eq!(exactly(client.reader(), 1), "x", "{name}");
    }
}

#[test]
fn the_access_log_has_one_line_for_all_of_it() {
    let (log, origin) = (AccessLog::new(), echo());
    let proxy = proxy_with("", &log.yaml(), "", &origin);
    let mut client = connected(&proxy);

    client.send("12345");
    assert_eq!(exactly(client.reader(), 5), "12345");
    client.end();
    assert!(client.is_closed());

    let line = log.line();
    assert_eq!((&line["method"], &line["path"]), (&"CONNECT".into(), &"nowhere.test:9".into()));
    assert_eq!((&line["status"], &line["upstream"]), (&200.into(), &origin.address().to_string().into()));
    assert_eq!((&line["request_bytes"], &line["response_bytes"]), (&5.into(), &5.into()), "{line}");
    assert!(line.get("reason").is_none_or(serde_json::Value::is_null), "{line}");
}
