//! Tunnels of CONNECT over HTTP/1.1 as filters, their generations and the access log see them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::ErrorKind;

use common::modules::Guest;
use common::origin::{Origin, refusing};
use common::proxy::TestProxy;
use common::tcp::{echo, exactly, to_end};
use common::tunnels::{CONNECT, connected, proxy_with, refused};
use common::until;

fn filtered(limits: &str, guest: &Guest, origin: &Origin) -> TestProxy {
    let filters = format!("watch: off\nfilters: {{ f: {{ wasm: {:?}, on_error: deny }} }}", guest.path());
    proxy_with(limits, &filters, "filters: [f]", origin)
}

fn calls(proxy: &TestProxy, phase: &str) -> f64 {
    proxy.metric("tollgate_filter_calls_total", &["filter=\"f\"", &format!("phase=\"{phase}\"")])
}

#[test]
fn filters_see_the_heads_and_the_end_and_nothing_between() {
    let more = r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 0))
        (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (i32.const 0))
        (func (export "proxy_on_log") (param i32))"#;
    let (guest, origin) = (Guest::from_bytes(&common::swaps::module("me", more)), echo());
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
    let (guest, origin) = (Guest::from_bytes(&common::swaps::speaker("one")), echo());
    let proxy = filtered("upgrade_age: 200ms", &guest, &origin);
    let mut old = connected(&proxy);

    guest.replace(&common::swaps::speaker("two"));
    proxy.order(guest.look()).unwrap();

    let ended = to_end(old.reader());
    assert!(ended.as_ref().map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, Vec::is_empty), "{ended:?}");
    until("the generation is gone", || proxy.plugin("f").draining.is_empty());
    drop(connected(&proxy));
}

/// A guest that answers with this status in a phase.
fn answering(phase: &str, status: u16) -> Guest {
    Guest::from_wat(&format!(
        r#"(module
        (import "env" "proxy_send_local_response"
            (func $respond (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 4096))
        (func (export "proxy_on_context_create") (param i32 i32))
        (func (export "{phase}") (param i32 i32 i32) (result i32)
            (drop (call $respond (i32.const {status}) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const -1)))
            (i32.const 1)))"#
    ))
}

/// A guest that sets a field, or a pseudo-header field, of the request or of the answer.
fn setting(phase: &str, map: u32, name: &str, value: &str) -> Guest {
    let (long, longer) = (name.len(), value.len());
    Guest::from_wat(&format!(
        r#"(module
        (import "env" "proxy_replace_header_map_value" (func $put (param i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "{name}")
        (data (i32.const 16) "{value}")
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 4096))
        (func (export "proxy_on_context_create") (param i32 i32))
        (func (export "{phase}") (param i32 i32 i32) (result i32)
            (drop (call $put (i32.const {map}) (i32.const 0) (i32.const {long}) (i32.const 16) (i32.const {longer})))
            (i32.const 0)))"#
    ))
}

#[test]
fn a_filter_may_refuse_and_its_success_is_no_tunnel() {
    for (phase, asked) in [("proxy_on_request_headers", 0), ("proxy_on_response_headers", 1)] {
        for (status, answered) in [(403, 403), (302, 302), (200, 500), (204, 500)] {
            let origin = echo();
            let guest = answering(phase, status);
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
    let (success, denial) = (setting("proxy_on_response_headers", 2, ":status", "200"), |status: &str| {
        setting("proxy_on_response_headers", 2, ":status", status)
    });
    let unreachable = TestProxy::with(&format!(
        "filters: {{ f: {{ wasm: {:?} }} }}\n\
         routes: [{{ to: 'http://{}', upgrade: [connect], filters: [f] }}]",
        success.path(),
        refusing()
    ));
    let denied = denial("451");
    let denying = filtered("", &denied, &dead);

    assert_eq!(refused(&unreachable, CONNECT), 500);
    assert_eq!(refused(&denying, CONNECT), 451);
    until("no connection is left", || denying.metric("tollgate_upstream_connections_active", &[]) == 0.0);
}

#[test]
fn a_filter_that_changes_the_host_gets_a_route_with_tunnels_or_none() {
    let (near, far) = (echo(), Origin::scripted(|peer| peer.send("far")));
    for (authority, greeting) in [("far.test:1", Some("far")), ("plain.test:1", None)] {
        let guest = setting("proxy_on_request_headers", 0, ":authority", authority);
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
        let (guest, origin) = (setting("proxy_on_request_headers", 0, name, value), echo());
        let proxy = filtered("", &guest, &origin);
        let mut client = connected(&proxy);

        client.send("x");

        assert_eq!(exactly(client.reader(), 1), "x", "{name}");
    }
}

#[test]
fn the_access_log_has_one_line_for_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let log = format!("telemetry: {{ access_log: {{ format: json, to: {:?} }} }}", file.display().to_string());
    let origin = echo();
    let proxy = proxy_with("", &log, "", &origin);
    let mut client = connected(&proxy);

    client.send("12345");
    assert_eq!(exactly(client.reader(), 5), "12345");
    client.end();
    assert!(client.is_closed());

    let line = || std::fs::read_to_string(&file).unwrap_or_default();
    until("the line is written", || line().ends_with('\n'));
    let line: serde_json::Value = serde_json::from_str(&line()).unwrap();
    assert_eq!((&line["method"], &line["path"]), (&"CONNECT".into(), &"nowhere.test:9".into()));
    assert_eq!((&line["status"], &line["upstream"]), (&200.into(), &origin.address().to_string().into()));
    assert_eq!((&line["request_bytes"], &line["response_bytes"]), (&5.into(), &5.into()), "{line}");
    assert!(line.get("reason").is_none_or(serde_json::Value::is_null), "{line}");
}
