//! Upstreams that refuse, stall, lie or leave: which answer the client gets for it, and what is tried again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::net::SocketAddr;

use common::hole::BlackHole;
use common::origin::{Origin, ok, refusing};
use common::proxy::TestProxy;
use common::{frames, until};

/// A cluster of these hosts behind the only route.
fn cluster(limits: &str, hosts: &[SocketAddr]) -> TestProxy {
    let hosts: Vec<_> = hosts.iter().map(|host| format!("{:?}", host.to_string())).collect();
    TestProxy::with(&format!(
        "limits: {{ {limits} }}\nclusters: {{ app: {{ hosts: [{}] }} }}\nroutes: [{{ to: app, timeout: 1s }}]",
        hosts.join(", ")
    ))
}

/// An origin that reads a request and says these bytes, then waits.
fn saying(bytes: impl Into<Vec<u8>>) -> Origin {
    let bytes = bytes.into();
    Origin::scripted(move |peer| {
        peer.request()?;
        peer.send(&bytes)?;
        peer.wait_for_end()
    })
}

fn failures(proxy: &TestProxy, reason: &str) -> f64 {
    proxy.metric("tollgate_upstream_failures_total", &["cluster=\"app\"", &format!("reason=\"{reason}\"")])
}

/// The status for a cluster whose only host is this one.
fn status(host: SocketAddr) -> u16 {
    cluster("connect_timeout: 500ms", &[host]).get("/").status()
}

#[test]
fn a_refused_connection_is_503() {
    let proxy = cluster("", &[refusing()]);

    let answer = proxy.get("/");

    assert_eq!((answer.status(), answer.text()), (503, "tollgate: 503 service unavailable\n"));
    assert_eq!(failures(&proxy, "connect"), 1.0);
}

#[test]
fn a_connection_that_nobody_takes_is_503_within_its_time() {
    let hole = BlackHole::dig();
    let proxy = cluster("connect_timeout: 300ms", &[hole.address()]);

    // The system itself would go on for minutes, and a client is not as patient; of the route's time it would be 504.
    assert_eq!(proxy.get("/").status(), 503);
}

#[test]
fn a_tunnel_that_is_not_there_in_time_is_504() {
    let hole = BlackHole::dig();
    let proxy = TestProxy::with(&format!(
        "limits: {{ connect_timeout: 1h }}\nclusters: {{ app: {{ hosts: [{:?}] }} }}\n\
         routes: [{{ to: app, upgrade: [connect], timeout: 300ms }}]",
        hole.address().to_string()
    ));

    let answer = proxy.send("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n");

    assert_eq!((answer.status(), answer.field("connection")), (504, Some("close")));
    assert_eq!(failures(&proxy, "timeout"), 1.0);
}

#[test]
fn an_answer_that_does_not_begin_is_504() {
    let origin = Origin::silent();
    let proxy = cluster("", &[origin.address()]);

    let answer = proxy.post("/", "", "body");

    assert_eq!(answer.status(), 504);
    until("it is counted", || failures(&proxy, "timeout") == 1.0);
}

#[test]
fn a_head_that_does_not_end_is_504() {
    let origin = saying("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n");

    assert_eq!(status(origin.address()), 504);
}

#[test]
fn what_is_not_http_is_502() {
    for garbage in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ncontent-length: one\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
    ] {
        let origin = saying(garbage);
        let proxy = cluster("", &[origin.address()]);

        assert_eq!(proxy.get("/").status(), 502, "{garbage}");
        assert_eq!(failures(&proxy, "protocol"), 1.0, "{garbage}");
    }
}

#[test]
fn a_head_that_is_too_large_is_502() {
    let fields = (0..200).map(|at| format!("x-{at}: 1\r\n")).collect::<String>();
    let origins = [
        saying(format!("HTTP/1.1 200 OK\r\n{fields}\r\n")),
        saying(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1 << 18))),
    ];

    for origin in origins {
        assert_eq!(status(origin.address()), 502);
    }
}

#[test]
fn a_protocol_change_that_nobody_asked_for_is_502() {
    let origin = saying("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");

    assert_eq!(status(origin.address()), 502);
}

#[test]
fn a_connection_that_ends_before_the_answer_is_502() {
    let close = Origin::scripted(|peer| peer.request().map(drop));
    let half = Origin::scripted(|peer| peer.request().and_then(|_| peer.send("HTTP/1.1 200")));
    let reset = Origin::scripted(|peer| peer.request().and_then(|_| peer.reset()));

    for origin in [close, half, reset] {
        assert_eq!(status(origin.address()), 502);
    }
}

#[test]
fn a_connection_is_used_again() {
    let origin = Origin::saying("x");
    let proxy = cluster("", &[origin.address()]);

    (0..10).for_each(|_| assert_eq!(proxy.get("/").status(), 200));
    assert_eq!(proxy.post("/", "", "body").status(), 200);

    assert_eq!((origin.requests().len(), origin.connections()), (11, 1));
    assert_eq!(proxy.metric("tollgate_upstream_connections_total", &[]), 1.0);
}

#[test]
fn a_connection_that_the_origin_closes_is_not_used_again() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx");
    let proxy = cluster("", &[origin.address()]);

    (0..3).for_each(|_| assert_eq!(proxy.get("/").text(), "x"));

    assert_eq!(origin.connections(), 3);
}

#[test]
fn an_unused_connection_is_closed_after_its_time() {
    let origin = Origin::saying("x");
    let proxy = cluster("upstream_idle_timeout: 200ms", &[origin.address()]);

    assert_eq!(proxy.get("/").status(), 200);

    proxy.counts("tollgate_upstream_connections_active", &[], 0.0);
}

/// An origin whose first connection answers once and is then closed by the second request, unanswered.
fn racing() -> Origin {
    Origin::scripted(|peer| {
        peer.request()?;
        peer.send(ok("x"))?;
        if peer.number == 0 {
            return peer.request().map(drop);
        }
        while peer.request()?.is_some() {
            peer.send(ok("again"))?;
        }
        Ok(())
    })
}

#[test]
fn a_get_that_met_a_closing_connection_is_sent_again() {
    let origin = racing();
    let proxy = cluster("", &[origin.address()]);

    assert_eq!(proxy.get("/1").status(), 200);
    let answer = proxy.get("/2");

    assert_eq!(answer.status(), 200);
    let targets: Vec<_> = origin.requests().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(targets, ["/1", "/2", "/2"]);
    assert_eq!(proxy.metric("tollgate_upstream_retries_total", &[]), 1.0);
}

#[test]
fn a_post_that_met_a_closing_connection_is_not_sent_again() {
    for body in ["body", ""] {
        let origin = racing();
        let proxy = cluster("", &[origin.address()]);

        assert_eq!(proxy.get("/1").status(), 200);
        let answer = proxy.post("/2", "", body);

        assert_eq!(answer.status(), 502);
        assert_eq!(origin.requests().len(), 2);
    }
}

#[test]
fn a_get_on_a_fresh_connection_is_not_sent_again() {
    let origin = Origin::scripted(|peer| peer.request().map(drop));
    let proxy = cluster("", &[origin.address()]);

    assert_eq!(proxy.get("/").status(), 502);

    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn a_dead_host_is_stepped_over() {
    let origin = Origin::saying("alive");
    let proxy = cluster("", &[refusing(), origin.address()]);

    for _ in 0..6 {
        let answers = [proxy.get("/"), proxy.post("/", "", "body")];

        assert_eq!(answers.map(|answer| answer.text().to_owned()), ["alive", "alive"]);
    }
    assert!(proxy.metric("tollgate_upstream_retries_total", &[]) > 0.0);
}

#[test]
fn hosts_take_turns() {
    let origins = [Origin::saying("0"), Origin::saying("1"), Origin::saying("2")];
    let proxy = cluster("", &origins.each_ref().map(Origin::address));

    (0..9).for_each(|_| assert_eq!(proxy.get("/").status(), 200));

    assert_eq!(origins.each_ref().map(|origin| origin.requests().len()), [3, 3, 3]);
}

#[test]
fn over_its_connections_an_exchange_waits_and_over_the_queue_it_is_503() {
    let (origin, release) = Origin::held("x");
    let limits = "upstream_connections: 1, pending: 1, pool_timeout: 10s";
    let proxy = TestProxy::with(&format!("limits: {{ {limits} }}\nroutes: [{{ to: {:?} }}]", origin.url()));
    let mut clients = [proxy.client(), proxy.client()];

    clients[0].send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\n");
    until("the first has the connection", || origin.requests().len() == 1);
    clients[1].send("GET /2 HTTP/1.1\r\nhost: a\r\n\r\n");
    until("the second waits", || proxy.metric("tollgate_http_active_requests", &[]) == 2.0);
    let third = proxy.get("/3");
    release.send(()).unwrap();
    release.send(()).unwrap();

    assert_eq!(third.status(), 503);
    assert_eq!(clients.each_mut().map(|client| client.answer().status()), [200, 200]);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_exchange_that_waits_too_long_for_a_connection_is_503() {
    let silent = || {
        Origin::scripted(|peer| {
            frames::greet(peer)?;
            frames::request(peer)?;
            peer.wait_for_end()
        })
    };
    for (origin, keys) in [(Origin::silent(), ""), (silent(), ", protocol: h2")] {
        let proxy = TestProxy::with(&format!(
            "limits: {{ upstream_connections: 1, streams: 1, pool_timeout: 1h }}\n\
             clusters: {{ app: {{ hosts: [\"{}\"], limits: {{ pool_timeout: 100ms }}{keys} }} }}\nroutes: [{{ to: app }}]",
            origin.address()
        ));
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        until("the first has the connection", || origin.connections() == 1);

        assert_eq!(proxy.get("/").status(), 503, "{keys}");

        assert_eq!((failures(&proxy, "pool_timeout"), failures(&proxy, "overflow")), (1.0, 0.0), "{keys}");
        assert_eq!(origin.connections(), 1);
    }
}

#[test]
fn a_name_that_nobody_knows_is_503() {
    let proxy = TestProxy::with("limits: { connect_timeout: 5s }\nroutes: [{ to: \"http://nowhere.invalid\" }]");

    assert_eq!(proxy.get("/").status(), 503);
}

#[test]
fn a_name_is_looked_up() {
    let origin = Origin::saying("x");
    let proxy = TestProxy::to(&format!("http://localhost:{}", origin.address().port()));

    assert_eq!(proxy.get("/").text(), "x");
}

#[test]
fn an_exchange_waits_for_a_connection_for_so_long_and_is_then_503() {
    let (origin, release) = Origin::held("x");
    let proxy = TestProxy::with(&format!(
        "limits: {{ upstream_connections: 1, connect_timeout: 300ms }}\nroutes: [{{ to: {:?}, timeout: 10m }}]",
        origin.url()
    ));
    let mut first = proxy.client();
    first.send("GET /first HTTP/1.1\r\nhost: a\r\n\r\n");
    until("the only connection is used", || origin.requests().len() == 1);

    let queued = proxy.get("/queued").status();
    release.send(()).unwrap();

    assert_eq!((queued, first.answer().text()), (503, "x"));
    assert_eq!(origin.request().target(), "/first");
    // Whoever gave up has left the queue.
    release.send(()).unwrap();
    assert_eq!((proxy.get("/next").text(), origin.connections()), ("x", 1));
}
