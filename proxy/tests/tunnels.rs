//! CONNECT over HTTP/1.1: who gets a tunnel and who does not, what goes through it, and how all of it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::client::Client;
use common::modules::Guest;
use common::origin::{Origin, refusing};
use common::proxy::TestProxy;
use common::tcp::{connect, echo, listening, pattern, to_end};
use common::tls::{Authority, Files, Hand, named, shake_on};
use common::wire::read_head;
use common::{PATIENCE, until};
use rustls::version::TLS13;
use socket2::SockRef;

/// Nothing listens where this leads.
const CONNECT: &str = "CONNECT nowhere.test:9 HTTP/1.1\r\nhost: nowhere.test:9\r\n\r\n";
/// What a client may send in the belief that it is connected.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";

/// A proxy that makes tunnels to `origin`, under these limits, with further top-level lines and more of the route.
fn proxy_with(limits: &str, lines: &str, route: &str, origin: &Origin) -> TestProxy {
    TestProxy::with(&format!(
        "limits: {{ {limits} }}\n{lines}\nroutes: [{{ name: r, to: {:?}, upgrade: [connect], {route} }}]",
        origin.url()
    ))
}

fn proxy(origin: &Origin) -> TestProxy {
    proxy_with("", "", "", origin)
}

/// A client with a tunnel.
fn connected(proxy: &TestProxy) -> Client {
    let mut client = proxy.client();
    client.send(CONNECT);
    let answer = client.any_head();
    assert_eq!(answer.status(), 200, "{answer:?}");
    client
}

fn exactly(client: &mut Client, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    client.reader().read_exact(&mut bytes).unwrap();
    bytes
}

fn active(proxy: &TestProxy) -> f64 {
    proxy.metric("tollgate_http_upgraded_active", &["route=\"r\""])
}

/// Sends a request with something behind it, and answers with the status once the connection is closed.
#[track_caller]
fn refused(proxy: &TestProxy, request: &str) -> u16 {
    let mut client = proxy.client();
    client.send([request, HIDDEN].concat());
    let answer = client.answer();
    assert_eq!(answer.field("connection"), Some("close"), "{request}: {answer:?}");
    assert!(client.is_closed(), "{request}");
    answer.status()
}

#[test]
fn a_tunnel_leads_to_the_endpoint_and_never_to_the_host_that_is_named() {
    let origin = echo();
    let proxy = proxy(&origin);
    let mut client = proxy.client();

    client.send(CONNECT);
    let answer = client.any_head();
    client.send("\x16\x03\0GET / HTTP/1.1\n\n");

    assert_eq!(answer.start, "HTTP/1.1 200 OK");
    let framing = ["content-length", "transfer-encoding", "connection", "upgrade"];
    assert!(framing.iter().all(|name| answer.field(name).is_none()), "{answer:?}");
    assert_eq!(exactly(&mut client, 19), b"\x16\x03\0GET / HTTP/1.1\n\n");
    assert_eq!(active(&proxy), 1.0);
    assert_eq!(proxy.metric("tollgate_upstream_connections_active", &[]), 1.0);
    client.end();
    assert!(client.is_closed());
    until("it is over", || active(&proxy) == 0.0);
    assert_eq!(origin.connections(), 1);
    assert_eq!(proxy.metric("tollgate_http_upgrades_total", &["route=\"r\""]), 1.0);
    assert_eq!(proxy.metric("tollgate_http_requests_total", &["class=\"2xx\""]), 1.0);
    let bytes = |way| proxy.metric("tollgate_http_body_bytes_total", &["route=\"r\"", way]);
    assert_eq!((bytes("\"request\""), bytes("\"response\"")), (19.0, 19.0));
    until("the connection is gone", || proxy.metric("tollgate_upstream_connections_active", &[]) == 0.0);
}

fn pour(stream: &mut impl Write, length: usize) {
    for start in (0..length).step_by(1 << 16) {
        let bytes: Vec<u8> = (start..start + (1 << 16)).map(pattern).collect();
        stream.write_all(&bytes).unwrap();
    }
}

fn check(reader: &mut impl Read, length: usize) {
    let (mut at, mut bytes) = (0, vec![0; 1 << 16]);
    while at < length {
        let read = reader.read(&mut bytes).unwrap();
        assert!(read > 0, "ended after {at} bytes");
        assert!(bytes[..read].iter().enumerate().all(|(offset, byte)| *byte == pattern(at + offset)));
        at += read;
    }
}

#[test]
fn eight_mebibytes_go_both_ways_at_once() {
    let length = 8 << 20;
    let origin = Origin::scripted(move |peer| {
        let mut writer = peer.stream().try_clone()?;
        let pouring = thread::spawn(move || pour(&mut writer, length));
        check(peer.reader(), length);
        pouring.join().unwrap();
        peer.wait_for_end()
    });
    let proxy = proxy(&origin);
    let mut client = connected(&proxy);
    let mut writer = client.stream().try_clone().unwrap();

    let pouring = thread::spawn(move || {
        pour(&mut writer, length);
        writer.shutdown(Shutdown::Write).unwrap();
    });
    check(client.reader(), length);
    pouring.join().unwrap();

    assert!(client.is_closed());
}

#[test]
fn the_end_of_one_way_leaves_the_other_open() {
    let (origin, heard) = listening();
    let proxy = proxy(&origin);
    let mut client = connected(&proxy);

    client.send("all of it");
    client.end();

    assert_eq!(heard.recv_timeout(PATIENCE).unwrap().unwrap(), b"all of it");
    assert_eq!(to_end(client.reader()).unwrap(), b"bye");
}

#[test]
fn an_endpoint_may_speak_first_and_end_first_and_still_listen() {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let origin = Origin::scripted(move |peer| {
        peer.send("220 hello")?;
        peer.stream().shutdown(Shutdown::Write)?;
        tell.lock().unwrap().send(to_end(peer.reader())?).unwrap();
        Ok(())
    });
    let proxy = proxy(&origin);
    let mut client = connected(&proxy);

    assert_eq!(to_end(client.reader()).unwrap(), b"220 hello");
    client.send("one more thing");
    client.end();

    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), b"one more thing");
}

#[test]
fn what_is_sent_behind_the_request_goes_through_as_it_is() {
    let origin = echo();
    let proxy = proxy(&origin);
    let mut client = proxy.client();

    // As one piece, and with a line end of its own that a reader of HTTP would trip over.
    client.send([CONNECT.as_bytes(), b"\x16\x03early\n\nmore"].concat());

    assert_eq!(client.any_head().status(), 200);
    assert_eq!(exactly(&mut client, 13), b"\x16\x03early\n\nmore");
}

#[test]
fn a_connection_that_served_requests_may_become_a_tunnel() {
    let (origin, tunnels) = (Origin::saying("plain"), echo());
    let proxy = TestProxy::with(&format!(
        "routes:\n- {{ to: {:?} }}\n- {{ name: r, to: {:?}, match: {{ method: CONNECT }}, upgrade: [connect] }}",
        origin.url(),
        tunnels.url()
    ));
    let mut client = proxy.client();

    client.send([HIDDEN, HIDDEN, CONNECT, "tail"].concat());

    assert_eq!([client.answer(), client.answer()].map(|answer| answer.text().to_owned()), ["plain", "plain"]);
    assert_eq!(client.any_head().status(), 200);
    assert_eq!(exactly(&mut client, 4), b"tail");
}

#[test]
fn a_side_that_breaks_off_is_told_to_the_other() {
    let cutting = Origin::scripted(|peer| {
        peer.reader().read_exact(&mut [0])?;
        peer.reset()
    });
    let (origin, heard) = listening();
    let (cut, whole) = (proxy(&cutting), proxy(&origin));

    let mut client = connected(&cut);
    client.send("!");
    let gone = connected(&whole);
    whole.counts("tollgate_http_upgraded_active", &["route=\"r\""], 1.0);
    SockRef::from(&*{ gone }.stream()).set_linger(Some(Duration::ZERO)).unwrap();

    assert_eq!(to_end(client.reader()).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset));
    until("both are over", || active(&cut) + active(&whole) == 0.0);
}

#[test]
fn routes_that_do_not_allow_it_are_passed_by() {
    let (origin, tunnels) = (Origin::saying("plain"), echo());
    let (plain, far) = (origin.url(), tunnels.url());
    let proxy = TestProxy::with(&format!(
        "routes:\n- {{ match: {{ host: nowhere.test }}, to: {plain:?}, upgrade: [websocket] }}\n\
         - {{ match: {{ method: CONNECT }}, to: {plain:?} }}\n\
         - {{ name: r, match: {{ host: '*.test', headers: {{ x-a: b }} }}, to: {far:?}, upgrade: [connect] }}\n\
         - {{ to: {plain:?} }}"
    ));
    let with = |line: &str| format!("CONNECT nowhere.test:9 HTTP/1.1\r\nhost: nowhere.test:9\r\n{line}\r\n");
    let mut client = proxy.client();

    client.send(with("x-a: b\r\n"));

    assert_eq!(client.any_head().status(), 200);
    client.send("x");
    assert_eq!(exactly(&mut client, 1), b"x");
    assert_eq!(refused(&proxy, &with("x-a: c\r\n")), 400);
    assert_eq!(refused(&proxy, "CONNECT other:9 HTTP/1.1\r\nhost: other:9\r\nx-a: b\r\n\r\n"), 400);
    assert_eq!((tunnels.connections(), origin.connections()), (1, 0));
    // Nor does the route keep what is no CONNECT from others that match better.
    assert_eq!(proxy.send("GET / HTTP/1.1\r\nhost: nowhere.test\r\nx-a: b\r\n\r\n").text(), "plain");
}

#[test]
fn a_route_with_tunnels_serves_requests_as_well() {
    let origin = Origin::saying("plain");
    let proxy = proxy(&origin);

    assert_eq!(proxy.get("/").text(), "plain");
    assert_eq!(
        proxy.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: connect\r\n\r\n").status(),
        200
    );
    assert!(origin.requests().iter().all(|request| request.field("upgrade").is_none()));
}

#[test]
fn what_is_no_connect_that_could_be_made_is_refused() {
    let origin = echo();
    let proxy = proxy(&origin);
    let with = |target: &str, lines: &str| format!("CONNECT {target} HTTP/1.1\r\n{lines}\r\n");

    for request in [
        with("a:1", ""),
        with("a:1", "host: b:1\r\n"),
        with("a:1", "host: a\r\n"),
        with("a:1", "host: a:1\r\nhost: a:1\r\n"),
        with("a", "host: a\r\n"),
        with("a:", "host: a:\r\n"),
        with("a:0", "host: a:0\r\n"),
        with("a:65536", "host: a:65536\r\n"),
        with("u@a:1", "host: a:1\r\n"),
        with("/", "host: a\r\n"),
        with("*", "host: a\r\n"),
        with("http://a:1/", "host: a:1\r\n"),
        with("a:1/x", "host: a:1\r\n"),
        with("a:1", "host: a:1\r\ncontent-length: 0\r\n"),
        with("a:1", "host: a:1\r\ncontent-length: 5\r\n"),
        with("a:1", "host: a:1\r\ntransfer-encoding: chunked\r\n"),
        "CONNECT a:1 HTTP/1.0\r\nhost: a:1\r\n\r\n".to_owned(),
    ] {
        assert_eq!(refused(&proxy, &request), 400, "{request}");
    }
    assert_eq!((origin.connections(), proxy.metric("tollgate_http_upgrades_total", &[])), (0, 0.0));
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_503_and_another_one_is_tried() {
    let origin = echo();
    let to = |hosts: &[String]| {
        TestProxy::with(&format!(
            "clusters: {{ app: {{ hosts: [{}] }} }}\nroutes: [{{ name: r, to: app, upgrade: [connect] }}]",
            hosts.join(", ")
        ))
    };
    let (dead, alive) = (format!("{:?}", refusing().to_string()), format!("{:?}", origin.address().to_string()));
    let (alone, both) = (to(std::slice::from_ref(&dead)), to(&[dead, alive]));

    assert_eq!(refused(&alone, CONNECT), 503);
    assert_eq!(alone.metric("tollgate_upstream_failures_total", &["reason=\"connect\""]), 1.0);
    for _ in 0..2 {
        drop(connected(&both));
    }
    assert_eq!(both.metric("tollgate_upstream_retries_total", &["reason=\"connect\""]), 1.0);
}

#[test]
fn a_tunnel_counts_against_the_bounds_of_its_cluster_until_it_ends() {
    let origin = echo();
    let proxy = proxy_with("upstream_connections: 1, pending: 1, connect_timeout: 200ms", "", "", &origin);
    let mut client = connected(&proxy);

    assert_eq!(refused(&proxy, CONNECT), 503);
    client.end();
    assert!(client.is_closed());

    until("its place is free", || active(&proxy) == 0.0);
    drop(connected(&proxy));
    until("the endpoint knows of both", || origin.connections() == 2);
}

#[test]
fn a_cluster_takes_no_more_tunnels_than_requests() {
    let origin = echo();
    let address = origin.address().to_string();
    let proxy = TestProxy::with(&format!(
        "workers: 1\nclusters: {{ app: {{ hosts: [{address:?}], limits: {{ requests: 1 }} }} }}\n\
         routes: [{{ name: r, to: app, upgrade: [connect] }}]"
    ));
    let _client = connected(&proxy);

    assert_eq!(refused(&proxy, CONNECT), 503);
    assert_eq!(proxy.metric("tollgate_upstream_failures_total", &["reason=\"overflow\""]), 1.0);
}

#[test]
fn an_endpoint_is_told_whose_tunnel_it_is_and_the_client_may_speak_tls() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let identity = files.identity("near", &authority.issue(&named(&["near.test"])));
    let origin = echo();
    let proxy = TestProxy::with(&format!(
        "clusters: {{ app: {{ hosts: [{:?}], proxy_protocol: v1 }} }}\n\
         listeners:\n- listen: 127.0.0.1:0\n  tls: {{ certificates: [{{ {identity} }}] }}\n  \
         routes: [{{ to: app, upgrade: [connect] }}]",
        origin.address().to_string()
    ));
    let stream = connect(&proxy);
    let port = stream.local_addr().unwrap().port();
    let hand = Hand::new(&authority, &[&TLS13], None);
    let mut client = shake_on(&hand.config(), stream, "near.test").unwrap();

    client.send(CONNECT).unwrap();
    let answer = read_head(client.reader()).unwrap().unwrap();
    client.send("hello").unwrap();

    assert_eq!(answer.status(), 200);
    let told = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {}\r\nhello", proxy.address().port());
    let mut bytes = vec![0; told.len()];
    client.reader().read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), told);
}

#[test]
fn a_tunnel_begins_tls_towards_an_endpoint_that_speaks_it_and_believes_only_the_right_one() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let identity = files.identity("far", &authority.issue(&named(&["127.0.0.1"])));
    let (ca, other) = (files.write("ca.pem", authority.pem()), files.write("other.pem", Authority::new("other").pem()));
    let origin = Origin::saying("inside");
    let far = TestProxy::with(&format!(
        "listeners:\n- listen: 127.0.0.1:0\n  tls: {{ certificates: [{{ {identity} }}] }}\n  routes: [{{ to: {:?} }}]",
        origin.url()
    ));
    let to = |ca: &str| {
        TestProxy::with(&format!(
            "clusters: {{ app: {{ hosts: [{:?}], tls: {{ ca: {ca} }} }} }}\nroutes: [{{ to: app, upgrade: [connect] }}]",
            far.address().to_string()
        ))
    };
    let (near, wary) = (to(&ca), to(&other));
    let mut client = connected(&near);

    client.send("GET /a HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n");

    assert_eq!(client.answer().text(), "inside");
    assert!(client.is_closed());
    assert_eq!(refused(&wary, CONNECT), 503);
    assert_eq!(wary.metric("tollgate_upstream_failures_total", &["reason=\"tls\""]), 1.0);
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_ended() {
    let (origin, heard) = listening();
    let proxy = proxy_with("stream_idle_timeout: 300ms", "", "", &origin);
    let mut client = connected(&proxy);

    client.send("last words");

    assert_eq!(heard.recv_timeout(PATIENCE).unwrap().unwrap(), b"last words");
    assert!(to_end(client.reader()).unwrap().len() <= 3);
}

#[test]
fn a_drain_waits_for_a_tunnel_but_not_for_ever() {
    let origin = echo();
    let mut patient = proxy(&origin);
    let mut hasty = proxy_with("drain_timeout: 300ms", "", "", &origin);
    let (mut waited_for, mut cut) = (connected(&patient), connected(&hasty));
    let mut idle = patient.client();
    idle.send(HIDDEN);
    let asked = idle.any_head();
    assert!(asked.status() >= 200);

    patient.drain();
    hasty.drain();
    waited_for.send("still here");
    assert_eq!(exactly(&mut waited_for, 10), b"still here");
    waited_for.end();

    assert!(waited_for.is_closed() && cut.is_closed());
    patient.ended();
    hasty.ended();
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
    assert_eq!(exactly(&mut client, 5), b"12345");
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
    assert_eq!(exactly(&mut client, 10), b"some bytes");

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

        assert_eq!(exactly(&mut client, 1), b"x", "{name}");
    }
}
