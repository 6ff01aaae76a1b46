//! Whoever waits for a connection that others have waits for the proxy, and whoever waits for one that is being made, for its
//! endpoint.

use std::future::pending;
use std::net::SocketAddr;

use http::{Response, StatusCode};
use tokio::sync::watch;

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
const BAD: &str = "HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n";
const OUTLIERS: &str = "outliers: { failures: 1, base: 1h, max: 1h }";

/// Who answers `/hold` when it is told, and `/queue` never; what else it is asked for succeeds, but for `/fail`.
struct Holding<T> {
    origin: T,
    told: watch::Sender<bool>,
}

impl Holding<Origin> {
    fn http1() -> Self {
        let (told, hears) = watch::channel(false);
        let origin = Origin::scripted(move |peer| {
            while let Some(request) = peer.request()? {
                match request.target() {
                    "/hold" => until("it is told", || *hears.borrow() || hears.has_changed().is_err()),
                    "/queue" => peer.wait_for_end()?,
                    _ => {}
                }
                let is_bad = request.target() == "/fail";
                peer.send(if is_bad { BAD.to_owned() } else { ok("x") })?;
            }
            Ok(())
        });
        Self { origin, told }
    }
}

impl Holding<H2Origin> {
    fn h2() -> Self {
        let (told, hears) = watch::channel(false);
        let origin = H2Origin::serving(100, move |request| {
            let mut hears = hears.clone();
            async move {
                let mut response = Response::new(whole(&["x"], &[]));
                match request.uri().path() {
                    "/hold" => drop(hears.wait_for(|told| *told).await),
                    "/queue" => pending().await,
                    "/fail" => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
                    _ => {}
                }
                response
            }
        });
        Self { origin, told }
    }
}

/// The ways in which somebody gives up who waits.
const QUEUES: [&str; 3] = [
    "to: app, timeout: 600ms",
    "to: app, timeout: 1h, retry: { on: [timeout], tries: 1, try_timeout: 600ms }",
    "to: echo, filters: [a]",
];

/// Has somebody wait for a connection of the first of two endpoints, in all of these ways, and checks that it is not held
/// against that endpoint: neither where none comes, nor where the one that comes at last brings no answer.
fn is_held_against_nobody<T>(of: impl Fn() -> Holding<T>, at: impl Fn(&T) -> (SocketAddr, usize), more: &str) {
    for (queue, comes) in QUEUES.into_iter().flat_map(|queue| [(queue, false), (queue, true)]) {
        let (one, two) = (of(), of());
        let asked = || at(&one.origin).1;
        let proxy = queueing([at(&one.origin).0, at(&two.origin).0], more, queue);
        let (mut client, mut waiting) = (proxy.client(), proxy.client());
        client.send("GET /hold HTTP/1.1\r\nhost: a\r\n\r\n");
        until("the connection is taken", || asked() == 1);
        assert_eq!(proxy.get("/").status(), 200);

        waiting.send("GET /queue HTTP/1.1\r\nhost: a\r\n\r\n");
        proxy.counts("tollgate_http_active_requests", &[], 2.0);
        if comes {
            one.told.send_replace(true);
            until("the one that waited is asked for", || asked() == 2);
        }
        assert!([200, 504].contains(&waiting.answer().status()));
        assert_eq!(asked(), if comes { 2 } else { 1 });

        // Of two, only one is left alone, and who is reported first is.
        assert_eq!(proxy.get("/fail").status(), 503);
        becomes(&proxy, &["healthy", "ejected"]);
    }
}

/// A proxy with one connection to each endpoint, and a route of this kind for `/queue`.
fn queueing(addresses: [SocketAddr; 2], more: &str, queue: &str) -> TestProxy {
    let limits = "limits: { connections: 1, pool_timeout: 10s }";
    let filters = probes_with(
        "budget: { time: 1s }, allow: { calls: [app] }",
        &[("a", "{ request_headers: [\"call app 600 /queue ''\", pause], call_response: [\"continue request\"] }")],
    );
    TestProxy::with(&format!(
        "workers: 1\n{ONE}\n{LOOPBACK}{filters}clusters: {{ app: {{ hosts: [{}], {OUTLIERS}, {limits}{more} }} }}\n\
         routes: [{{ match: {{ exact: /queue }}, {queue} }}, {{ to: app, timeout: 1h }}]",
        hosts(&addresses),
    ))
}

#[test]
fn the_wait_for_a_connection_that_others_have_is_no_failure_of_its_endpoint() {
    is_held_against_nobody(Holding::http1, |origin| (origin.address(), origin.requests().len()), "");
}

#[test]
fn the_wait_for_a_stream_that_others_have_is_no_failure_of_its_endpoint() {
    is_held_against_nobody(Holding::h2, |origin| (origin.address(), origin.requests()), ", protocol: h2");
}

#[test]
fn the_wait_for_a_connection_that_is_being_made_is_held_against_its_endpoint() {
    let (good, good_h2) = (Origin::saying("good"), H2Origin::saying("good"));
    for (protocol, good) in [("http1", good.address()), ("h2", good_h2.address())] {
        let hole = BlackHole::dig();
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
