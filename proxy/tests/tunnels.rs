//! CONNECT over HTTP/1.1: who gets a tunnel and who does not, where it leads, and what it counts against.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::ErrorKind;
use std::net::Shutdown;

use common::origin::{Origin, refusing};
use common::proxy::TestProxy;
use common::tcp::{connect, echo, exactly, listening};
use common::tls::{Authority, Files, Hand, named, shake_on};
use common::tunnels::{CONNECT, HIDDEN, connected, proxy, proxy_with, refused};
use common::upgrades::active;
use common::wire::read_head;
use common::{PATIENCE, until};
use rustls::version::TLS13;

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
    assert_eq!(exactly(client.reader(), 19), "\x16\x03\0GET / HTTP/1.1\n\n");
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
    assert_eq!(exactly(client.reader(), 4), "tail");
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
    assert_eq!(exactly(client.reader(), 1), "x");
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
    assert_eq!(exactly(client.reader(), told.len()), told);
}

#[test]
fn a_client_of_tls_that_breaks_off_in_a_tunnel_has_not_said_its_end() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let identity = files.identity("near", &authority.issue(&named(&["near.test"])));
    let (origin, told) = listening();
    let proxy = TestProxy::with(&format!(
        "listeners:\n- listen: 127.0.0.1:0\n  tls: {{ certificates: [{{ {identity} }}] }}\n  \
         routes: [{{ to: {:?}, upgrade: [connect] }}]",
        origin.url()
    ));
    let hand = Hand::new(&authority, &[&TLS13], None);
    let mut client = shake_on(&hand.config(), connect(&proxy), "near.test").unwrap();
    client.send(CONNECT).unwrap();
    assert_eq!(read_head(client.reader()).unwrap().unwrap().status(), 200);

    client.send("half").unwrap();
    // Whoever is on the way could do this.
    client.stream().shutdown(Shutdown::Write).unwrap();

    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset));
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
