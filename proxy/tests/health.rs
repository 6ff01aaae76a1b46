//! Health checks: who fails them gets no requests, whoever comes back does, and what is asked is what is written.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::SeqCst};

use bytes::Bytes;
use common::clusters::{answers, becomes, health, hosts, numbered, proxy, yaml};
use common::h2;
use common::h2_origin::{H2Origin, seen, whole};
use common::origin::{Origin, ok, refusing};
use common::until;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;

/// Questions in quick succession, of which one is enough.
const QUICK: &str = "interval: 20ms, timeout: 10s, healthy: 1, unhealthy: 1, jitter: 0%";

/// An origin that answers its health checks with a status that may change, and everything else with its name.
fn moody(name: &'static str) -> (Origin, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let told = Arc::clone(&status);
    let origin = Origin::scripted(move |peer| {
        while let Some(request) = peer.request()? {
            if request.target() == "/health" {
                let status = told.load(SeqCst);
                peer.send(format!("HTTP/1.1 {status} so\r\ncontent-length: 0\r\n\r\n"))?;
            } else {
                peer.send(ok(name))?;
            }
        }
        Ok(())
    });
    (origin, status)
}

fn checks(origin: &Origin) -> usize {
    origin.requests().iter().filter(|request| request.target() == "/health").count()
}

fn distinct(answers: Vec<String>) -> BTreeSet<String> {
    answers.into_iter().collect()
}

#[test]
fn an_endpoint_that_fails_its_checks_gets_no_requests_until_it_passes_them() {
    let ((one, mood), (two, _)) = (moody("one"), moody("two"));
    let check = format!(", health: {{ http: /health, {QUICK} }}");
    let proxy = proxy(&[one.address(), two.address()], &check, "");
    becomes(&proxy, &["healthy", "healthy"]);

    mood.store(503, SeqCst);
    becomes(&proxy, &["unhealthy", "healthy"]);
    assert_eq!(distinct(answers(&proxy, 8)).len(), 1);
    let endpoint = format!("endpoint=\"{}\"", one.address());
    assert_eq!(proxy.metric("tollgate_upstream_host_healthy", &[&endpoint]), 0.0);

    mood.store(204, SeqCst);
    becomes(&proxy, &["healthy", "healthy"]);
    assert_eq!(distinct(answers(&proxy, 8)).len(), 2);
}

#[test]
fn a_check_is_a_get_of_the_path_with_the_host_of_the_endpoint() {
    let (origin, _) = moody("x");
    let _proxy = proxy(&[origin.address()], &format!(", health: {{ http: /health, {QUICK} }}"), "");

    until("it was asked", || checks(&origin) > 0);

    let request = origin.requests().into_iter().next().unwrap();
    assert_eq!((request.method(), request.field("host")), ("GET", Some(&*origin.address().to_string())));
    assert!(request.field("user-agent").unwrap().starts_with("tollgate-health/"));
}

#[test]
fn only_the_statuses_that_are_written_are_good() {
    let (origin, mood) = moody("x");
    let check = format!(", health: {{ http: /health, statuses: [404], {QUICK} }}, panic: 0%");
    let proxy = proxy(&[origin.address()], &check, "");
    becomes(&proxy, &["unhealthy"]);
    assert_eq!(proxy.get("/").status(), 503);

    mood.store(404, SeqCst);

    becomes(&proxy, &["healthy"]);
    assert_eq!(proxy.get("/").status(), 200);
}

#[test]
fn where_too_few_are_healthy_all_get_requests() {
    let origins = numbered::<2>();
    let check = format!(", health: {{ http: /health, statuses: [599], {QUICK} }}, panic: 50%");
    let proxy = proxy(&[origins[0].address(), origins[1].address()], &check, "");
    becomes(&proxy, &["unhealthy", "unhealthy"]);

    assert_eq!(distinct(answers(&proxy, 8)).len(), 2);
}

#[test]
fn it_takes_several_answers_in_a_row_after_the_first() {
    let (origin, mood) = moody("x");
    let check = ", health: { http: /health, interval: 20ms, timeout: 10s, healthy: 3, unhealthy: 4, jitter: 0% }";
    let proxy = proxy(&[origin.address()], check, "");
    until("it was asked", || checks(&origin) > 1);

    mood.store(500, SeqCst);
    becomes(&proxy, &["unhealthy"]);
    let failed = checks(&origin);
    mood.store(200, SeqCst);
    becomes(&proxy, &["healthy"]);

    assert!(checks(&origin) >= failed + 3);
}

#[test]
fn an_endpoint_that_is_not_trusted_before_its_first_answer_gets_nothing() {
    let silent = Origin::silent();
    let check = ", health: { http: /health, timeout: 1h, initial: unhealthy }, panic: 0%";
    let proxy = proxy(&[silent.address()], check, "");

    assert_eq!(proxy.get("/").status(), 503);
    assert_eq!(health(&proxy), ["unhealthy"]);
}

#[test]
fn an_endpoint_that_does_not_answer_in_time_is_unhealthy() {
    let silent = Origin::silent();
    let check = ", health: { http: /health, timeout: 100ms, interval: 20ms }";

    becomes(&proxy(&[silent.address()], check, ""), &["unhealthy"]);
}

#[test]
fn a_connection_is_enough_where_no_more_is_asked() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = socket.local_addr().unwrap();
    let proxy = proxy(&[open, refusing()], &format!(", health: {{ tcp: true, {QUICK} }}"), "");

    becomes(&proxy, &["healthy", "unhealthy"]);
}

/// An origin of gRPC whose service `a` serves while it is told so.
fn grpc(serves: &Arc<AtomicBool>) -> H2Origin {
    let serves = Arc::clone(serves);
    H2Origin::serving(100, move |request: Request<hyper::body::Incoming>| {
        let serves = serves.load(SeqCst);
        async move {
            let seen = seen(request).await;
            assert_eq!(seen.uri.path(), "/grpc.health.v1.Health/Check");
            assert_eq!(seen.body, [0, 0, 0, 0, 3, 0x0a, 1, b'a']);
            let message: &'static str = if serves { "\0\0\0\0\u{2}\u{8}\u{1}" } else { "\0\0\0\0\u{2}\u{8}\u{2}" };
            let body: UnsyncBoxBody<Bytes, hyper::Error> = whole(&[message], &[("grpc-status", "0")]);
            Response::builder().header("content-type", "application/grpc").body(body).unwrap()
        }
    })
}

#[test]
fn a_service_of_grpc_is_asked_whether_it_serves() {
    let serves = Arc::new(AtomicBool::new(true));
    let origin = grpc(&serves);
    let check = format!(", protocol: h2, health: {{ grpc: a, {QUICK} }}");
    let proxy = proxy(&[origin.address()], &check, "");
    until("it was asked", || origin.requests() > 1);
    assert_eq!(health(&proxy), ["healthy"]);

    serves.store(false, SeqCst);
    becomes(&proxy, &["unhealthy"]);
    serves.store(true, SeqCst);
    becomes(&proxy, &["healthy"]);
}

#[test]
fn a_check_speaks_what_the_cluster_speaks() {
    let origin = H2Origin::saying("x");
    let check = format!(", protocol: h2, health: {{ http: /health, initial: unhealthy, {QUICK} }}, panic: 0%");
    let proxy = proxy(&[origin.address()], &check, "");

    becomes(&proxy, &["healthy"]);

    assert_eq!(h2::exchange(proxy.address(), h2::get("/")).status, 200);
}

/// Two endpoints, of which the first fails its only check.
fn reloadable(first: SocketAddr, second: SocketAddr, more: &str) -> String {
    let check = ", health: { http: /health, interval: 1h, healthy: 1, unhealthy: 1 }";
    yaml(&hosts(&[first, second]), &format!("{check}{more}"), "")
}

#[test]
fn a_reload_keeps_the_health_of_endpoints_that_stay() {
    let ((one, mood), (two, _)) = (moody("one"), moody("two"));
    mood.store(500, SeqCst);
    let proxy = common::proxy::TestProxy::with(&reloadable(one.address(), two.address(), ""));
    becomes(&proxy, &["unhealthy", "healthy"]);
    mood.store(200, SeqCst);

    // The same definition with another neighbour: nobody asks anew.
    let asked = checks(&one);
    let text = reloadable(one.address(), two.address(), "");
    proxy.configure(&format!("{text}\nwatch: off")).unwrap();
    assert_eq!(health(&proxy), ["unhealthy", "healthy"]);
    assert_eq!(checks(&one), asked);

    // Another definition: what was known holds until there is an answer. The first is asked, and now it is well.
    let (three, _) = moody("three");
    proxy
        .configure(&yaml(&hosts(&[three.address(), one.address()]), ", health: { http: /none, interval: 1h }", ""))
        .unwrap();
    assert_eq!(health(&proxy)[1], "unhealthy");

    // Nothing is asked any more: nothing speaks against it.
    proxy.configure(&yaml(&hosts(&[one.address()]), "", "")).unwrap();
    assert_eq!(health(&proxy), ["healthy"]);
}

#[test]
fn checks_end_with_their_cluster() {
    let (origin, _) = moody("x");
    let check = format!(", health: {{ http: /health, {QUICK} }}");
    let proxy = proxy(&[origin.address()], &check, "");
    until("it was asked", || checks(&origin) > 2);

    let other = Origin::saying("y");
    proxy.configure(&yaml(&hosts(&[other.address()]), &check, "")).unwrap();
    // One that was under way may come in.
    until("the other is asked", || other.requests().len() > 3);
    let asked = checks(&origin);
    until("the other is asked more", || other.requests().len() > 20);

    assert_eq!(checks(&origin), asked);
}
