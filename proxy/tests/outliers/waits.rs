//! Whoever waits for a connection that others have waits for the proxy, and whoever waits for one that is being made, for its
//! endpoint.

use std::future::pending;
use std::net::SocketAddr;

use http::{Response, StatusCode};

use crate::common::admin::LOOPBACK;
use crate::common::clusters::{becomes, hosts};
use crate::common::h2_origin::{H2Origin, whole};
use crate::common::hole::BlackHole;
use crate::common::modules::probes_with;
use crate::common::origin::{Origin, ok};
use crate::common::proxy::TestProxy;
use crate::common::until;

/// What there may be but one of at a time, and is waited for.
const ONE: &str = "limits: { streams: 1 }";
const OUTLIERS: &str = "outliers: { failures: 1, base: 1h, max: 1h }";

/// Does not answer `/hold`; what else it is asked for succeeds, but for `/fail`.
fn holding() -> Origin {
    Origin::scripted(|peer| {
        while let Some(request) = peer.request()? {
            match request.target() {
                "/hold" => peer.wait_for_end()?,
                "/fail" => peer.send("HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n")?,
                _ => peer.send(ok("x"))?,
            }
        }
        Ok(())
    })
}

fn holding_h2() -> H2Origin {
    H2Origin::serving(100, |request| async move {
        let mut response = Response::new(whole(&["x"], &[]));
        match request.uri().path() {
            "/hold" => pending().await,
            "/fail" => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
            _ => {}
        }
        response
    })
}

/// Has somebody wait for a connection of the first of two endpoints, as `queue`, a route but for its path, does it, and checks
/// that it is not held against that endpoint.
fn is_held_against_nobody(addresses: [SocketAddr; 2], is_asked: impl Fn() -> bool, cluster: &str, queue: &str) {
    let limits = "limits: { connections: 1, pool_timeout: 10s }";
    let filters = probes_with(
        "budget: { time: 1s }, allow: { calls: [app] }",
        &[("a", "{ request_headers: [\"call app 100 / ''\", pause], call_response: [\"continue request\"] }")],
    );
    let proxy = TestProxy::with(&format!(
        "workers: 1\n{ONE}\n{LOOPBACK}{filters}clusters: {{ app: {{ hosts: [{}], {OUTLIERS}, {limits}{cluster} }} }}\n\
         routes: [{{ match: {{ exact: /queue }}, {queue} }}, {{ to: app, timeout: 1h }}]",
        hosts(&addresses),
    ));
    let mut client = proxy.client();
    client.send("GET /hold HTTP/1.1\r\nhost: a\r\n\r\n");
    until("the connection is taken", is_asked);
    assert_eq!(proxy.get("/").status(), 200);

    assert!([200, 504].contains(&proxy.get("/queue").status()));

    // Of two, only one is left alone, and who is reported first is.
    assert_eq!(proxy.get("/fail").status(), 503);
    becomes(&proxy, &["healthy", "ejected"]);
}

/// The ways in which somebody gives up who waits.
const QUEUES: [&str; 3] = [
    "to: app, timeout: 100ms",
    "to: app, timeout: 1h, retry: { on: [timeout], tries: 1, try_timeout: 100ms }",
    "to: echo, filters: [a]",
];

#[test]
fn the_wait_for_a_connection_that_others_have_is_no_failure_of_its_endpoint() {
    for queue in QUEUES {
        let (one, two) = (holding(), holding());

        is_held_against_nobody([one.address(), two.address()], || one.requests().len() == 1, "", queue);

        assert_eq!(one.requests().len(), 1);
    }
}

#[test]
fn the_wait_for_a_stream_that_others_have_is_no_failure_of_its_endpoint() {
    for queue in QUEUES {
        let (one, two) = (holding_h2(), holding_h2());

        is_held_against_nobody([one.address(), two.address()], || one.requests() == 1, ", protocol: h2", queue);

        assert_eq!(one.requests(), 1);
    }
}

#[test]
fn the_wait_for_a_connection_that_is_being_made_is_held_against_its_endpoint() {
    for (protocol, good) in [("http1", Some(holding())), ("h2", None)] {
        let (hole, good_h2) = (BlackHole::dig(), holding_h2());
        let good = good.as_ref().map_or(good_h2.address(), Origin::address);
        let proxy = TestProxy::with(&format!(
            "{LOOPBACK}clusters: {{ app: {{ hosts: [{}], {OUTLIERS}, protocol: {protocol}, \
             limits: {{ connect_timeout: 1h }} }} }}\nroutes: [{{ to: app, timeout: 100ms }}]",
            hosts(&[hole.address(), good])
        ));

        until("it is ejected", || {
            proxy.get("/");
            crate::health(&proxy) == ["ejected", "healthy"]
        });
    }
}
