//! Requests that are sent more than once: after what, where, how often, and what is never sent twice.
//! What is repeated without being asked for is in `upstream_failures` and `h2_failures`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc;

use common::clusters::{hosts, proxy, yaml};
use common::h2_origin::{H2Origin, seen, whole};
use common::modules::{probes, probes_with};
use common::origin::{Origin, Peer, ok, refusing};
use common::proxy::TestProxy;
use common::{PATIENCE, frames, h2, until};
use http::{Request, Response};

const UNAVAILABLE: &str = "HTTP/1.1 503 no\r\ncontent-length: 2\r\n\r\nno";

fn unavailable() -> Origin {
    Origin::answering(UNAVAILABLE)
}

fn retries(proxy: &TestProxy, reason: &str) -> f64 {
    proxy.metric("tollgate_upstream_retries_total", &[&format!("reason=\"{reason}\"")])
}

fn route(addresses: &[SocketAddr], retry: &str) -> TestProxy {
    proxy(addresses, "", &format!(", retry: {{ backoff: 1ms, {retry} }}"))
}

#[test]
fn an_answer_of_a_chosen_status_is_asked_for_once_more_at_another_endpoint() {
    for on in ["5xx", "503"] {
        let (bad, good) = (unavailable(), Origin::saying("good"));
        let proxy = route(&[bad.address(), good.address()], &format!("on: [{on}]"));

        for _ in 0..6 {
            assert_eq!(proxy.get("/").text(), "good");
        }

        assert!(!bad.requests().is_empty());
        assert_eq!(retries(&proxy, "status"), bad.requests().len() as f64);
    }
}

#[test]
fn other_statuses_are_passed_on() {
    let (bad, good) = (unavailable(), Origin::saying("good"));
    let proxy = route(&[bad.address(), good.address()], "on: [502, 504, reset, connect]");

    let statuses: Vec<_> = (0..4).map(|_| proxy.get("/").status()).collect();

    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 2);
    assert_eq!(proxy.metric("tollgate_upstream_retries_total", &[]), 0.0);
}

#[test]
fn nothing_is_sent_more_often_than_written_and_the_last_answer_is_passed_on() {
    for tries in [1, 2, 4] {
        let bad = unavailable();
        let proxy = route(&[bad.address()], &format!("on: [5xx], tries: {tries}"));

        let answer = proxy.get("/");

        assert_eq!((answer.status(), answer.text(), bad.requests().len()), (503, "no", tries));
    }
}

#[test]
fn a_cluster_says_it_for_its_routes_and_a_route_goes_before_it() {
    let bad = unavailable();
    let hosts = hosts(&[bad.address()]);
    let of_cluster = TestProxy::with(&yaml(&hosts, ", retry: { on: [5xx], tries: 3, backoff: 1ms }", ""));
    assert_eq!(of_cluster.get("/").status(), 503);
    assert_eq!(bad.requests().len(), 3);

    let of_route = TestProxy::with(&yaml(&hosts, ", retry: { on: [5xx], tries: 3 }", ", retry: { tries: 1 }"));
    assert_eq!(of_route.get("/").status(), 503);

    assert_eq!(bad.requests().len(), 4);
}

#[test]
fn a_broken_connection_is_repeated_where_it_is_asked_for() {
    let broken = || Origin::scripted(|peer| peer.request().and_then(|_| peer.reset()));
    let good = Origin::saying("good");
    let (asked, unasked) = (broken(), broken());

    let proxy = route(&[asked.address(), good.address()], "on: [reset]");
    (0..4).for_each(|_| assert_eq!(proxy.get("/").text(), "good"));
    assert_eq!(retries(&proxy, "reset"), 2.0);

    let proxy = route(&[unasked.address()], "on: [5xx]");
    assert_eq!(proxy.get("/").status(), 502);
    assert_eq!(unasked.requests().len(), 1);
}

#[test]
fn a_request_that_may_have_been_carried_out_is_not_sent_again_unless_the_route_says_so() {
    let broken = Origin::scripted(|peer| peer.request().and_then(|_| peer.reset()));
    for bad in [unavailable(), broken] {
        let good = Origin::saying("good");
        let addresses = [bad.address(), good.address()];

        let careful = route(&addresses, "on: [5xx, reset]");
        let statuses = [careful.post("/", "", "body").status(), careful.post("/", "", "body").status()];
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!((bad.requests().len(), good.requests().len()), (1, 1));

        let bold = route(&addresses, "on: [5xx, reset], non_idempotent: on");
        (0..2).for_each(|_| assert_eq!(bold.post("/", "", "body").text(), "good"));
        assert_eq!(good.requests().last().unwrap().text(), "body");
    }
}

#[test]
fn a_request_that_was_not_begun_is_sent_elsewhere_whatever_it_is() {
    let good = Origin::saying("good");
    let proxy = route(&[refusing(), refusing(), good.address()], "on: [connect], tries: 3");

    for _ in 0..6 {
        let answer = proxy.post("/", "", "body");
        assert_eq!(answer.text(), "good");
    }

    assert!(good.requests().iter().all(|request| request.text() == "body"));
    assert!(retries(&proxy, "connect") > 0.0);
}

#[test]
fn a_body_within_the_bound_is_sent_again_and_one_past_it_is_not() {
    for (length, wanted, sent) in [(1024, 200, 2), (1025, 503, 1)] {
        let (bad, good) = (unavailable(), Origin::saying("good"));
        let proxy = route(&[bad.address(), good.address()], "on: [5xx], replay: 1KiB");
        let body = "x".repeat(length);
        let put = format!("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}");

        assert_eq!(proxy.send(&put).status(), wanted, "{length}");

        let requests = bad.requests().len() + good.requests().len();
        assert_eq!(requests, sent);
        assert!(good.requests().iter().all(|request| request.text() == body));
    }
}

#[test]
fn a_body_that_is_still_coming_goes_whole_to_the_next_endpoint() {
    let bad = Origin::scripted(|peer| {
        peer.head()?;
        peer.read(&mut [0; 4])?;
        peer.send(UNAVAILABLE)?;
        peer.wait_for_end()
    });
    let good = Origin::saying("good");
    let proxy = route(&[bad.address(), good.address()], "on: [5xx]");
    let mut client = proxy.client();

    client.send("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nhalf");
    until("it is sent again", || retries(&proxy, "status") == 1.0);
    client.send("rest");

    assert_eq!(client.answer().text(), "good");
    assert_eq!(good.request().text(), "halfrest");
}

#[test]
fn an_attempt_that_takes_too_long_is_given_up_for_another() {
    let (silent, good) = (Origin::silent(), Origin::saying("good"));
    let proxy = route(&[silent.address(), good.address()], "on: [timeout], try_timeout: 100ms");

    (0..4).for_each(|_| assert_eq!(proxy.get("/").text(), "good"));

    assert_eq!(retries(&proxy, "timeout"), 2.0);
}

#[test]
fn where_every_attempt_takes_too_long_it_is_504() {
    let silent = Origin::silent();
    for (on, tries) in [("timeout", 2), ("5xx", 1)] {
        let before = silent.requests().len();
        let proxy = route(&[silent.address()], &format!("on: [{on}], try_timeout: 50ms"));

        assert_eq!(proxy.get("/").status(), 504);

        assert_eq!(silent.requests().len() - before, tries);
        proxy.counts("tollgate_upstream_failures_total", &["reason=\"timeout\""], 1.0);
    }
}

#[test]
fn over_the_budget_nothing_is_repeated() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let first = std::sync::atomic::AtomicBool::new(true);
    // The first request is refused, and its repetition held: it is the only one that may be under way.
    let origin = Origin::scripted(move |peer| {
        while let Some(request) = peer.request()? {
            if request.target() == "/held" && !first.swap(false, std::sync::atomic::Ordering::SeqCst) {
                let _ = held.lock().unwrap().recv_timeout(PATIENCE);
                peer.send(ok("late"))?;
            } else {
                peer.send(UNAVAILABLE)?;
            }
        }
        Ok(())
    });
    let proxy = proxy(&[origin.address()], ", limits: { retries: 1 }", ", retry: { on: [5xx], backoff: 1ms }");
    let mut client = proxy.client();
    client.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    until("the repetition is under way", || origin.requests().len() == 2);

    assert_eq!(proxy.get("/").status(), 503);
    assert_eq!(origin.requests().len(), 3);
    assert_eq!(proxy.metric("tollgate_upstream_retries_refused_total", &[]), 1.0);
    release.send(()).unwrap();

    assert_eq!(client.answer().text(), "late");
    assert_eq!(proxy.get("/").status(), 503);
    assert_eq!(origin.requests().len(), 5);
}

#[test]
fn a_request_that_waits_for_its_next_attempt_counts_among_those_under_way() {
    let origin = unavailable();
    let retry = ", retry: { on: [5xx], tries: 10, backoff: 10s }";
    let proxy = proxy(&[origin.address()], ", limits: { requests: 1 }", retry);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    until("the first attempt is over", || retries(&proxy, "status") == 1.0);

    let second = proxy.get("/");

    assert_eq!((second.status(), origin.requests().len()), (503, 1));
    proxy.counts("tollgate_upstream_failures_total", &["reason=\"overflow\""], 1.0);
    drop(client);
    proxy.counts("tollgate_http_active_requests", &[], 0.0);
    let mut third = proxy.client();
    third.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    until("its place is free again", || origin.requests().len() == 2);
}

#[test]
fn an_answer_that_is_not_passed_on_gives_its_connection_back() {
    let long = format!("HTTP/1.1 503 no\r\ncontent-length: {0}\r\n\r\n{1:0$}", 16 * 1024, "");
    for answer in [UNAVAILABLE, "HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n", &long] {
        let bad = Origin::answering(answer);
        let proxy = route(&[bad.address()], "on: [5xx], tries: 3, non_idempotent: on");

        assert_eq!(proxy.get("/").status(), 503);
        assert_eq!(proxy.post("/", "", "body").status(), 503);

        assert_eq!((bad.requests().len(), bad.connections()), (6, 1), "{} bytes", answer.len());
    }
}

#[test]
fn an_answer_that_would_take_long_to_read_takes_its_connection_along() {
    let longer = format!("HTTP/1.1 503 no\r\ncontent-length: {0}\r\n\r\n{1:0$}", 16 * 1024 + 1, "");
    let endless = "HTTP/1.1 503 no\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n".to_owned();
    let stuck = "HTTP/1.1 503 no\r\ncontent-length: 2\r\n\r\nx".to_owned();
    for answer in [longer, endless, stuck] {
        let bad = Origin::answering(answer.clone());
        let proxy = route(&[bad.address()], "on: [5xx], tries: 2");
        let mut client = proxy.client();

        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");

        assert_eq!(client.head().status(), 503);
        assert_eq!((bad.requests().len(), bad.connections()), (2, 2), "{} bytes", answer.len());
    }
}

#[test]
fn filters_see_a_request_once_however_often_it_is_sent() {
    let (bad, good) = (unavailable(), Origin::saying("good"));
    let text =
        yaml(&hosts(&[bad.address(), good.address()]), "", ", retry: { on: [5xx], backoff: 1ms }, filters: [probe]");
    let proxy = TestProxy::with(&format!("{}\n{text}", probes(&[("probe", "{}")])));

    for _ in 0..2 {
        let put = "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbody";
        assert_eq!(proxy.send(put).text(), "good");
    }

    assert_eq!((bad.requests().len(), good.requests().len()), (1, 2));
    assert!(good.requests().iter().all(|request| request.text() == "body"));
    let seen = proxy.metric("tollgate_filter_calls_total", &["phase=\"request_headers\""]);
    assert_eq!(seen, 2.0);
}

#[test]
fn a_stream_that_an_endpoint_refuses_goes_to_another_one() {
    let refuses = Origin::scripted(|peer| {
        frames::greet(peer)?;
        loop {
            let stream = frames::request(peer)?;
            frames::reset(peer, stream, frames::REFUSED_STREAM)?;
        }
    });
    let good = H2Origin::serving(100, |request| async move {
        let body = seen(request).await.body;
        Response::new(whole(&[std::str::from_utf8(&body).unwrap()], &[]))
    });
    let retry = ", retry: { on: [refused-stream], backoff: 1ms }";
    let proxy = proxy(&[refuses.address(), good.address()], ", protocol: h2", retry);

    for _ in 0..4 {
        assert_eq!(proxy.post("/", "", "body").text(), "body");
    }

    assert!(retries(&proxy, "refused_stream") > 0.0);
}

#[test]
fn a_status_of_grpc_without_an_answer_is_repeated() {
    let failing = H2Origin::serving(100, |_| async {
        let answer = Response::builder().header("content-type", "application/grpc").header("grpc-status", "14");
        answer.body(whole(&[], &[])).unwrap()
    });
    let good = H2Origin::saying("good");
    let retry = ", retry: { on: [grpc-unavailable], non_idempotent: on, backoff: 1ms }";
    let proxy = proxy(&[failing.address(), good.address()], ", protocol: h2", retry);

    for _ in 0..4 {
        let request = Request::post("http://test/a.B/C").body(h2::body(&["x"], &[])).unwrap();
        assert_eq!(h2::exchange(proxy.address(), request).body, b"good");
    }

    assert_eq!(retries(&proxy, "grpc"), 2.0);
}

#[test]
fn a_client_that_leaves_while_it_waits_for_the_next_attempt_leaves_nothing_behind() {
    let bad = unavailable();
    let proxy = proxy(&[bad.address()], "", ", retry: { on: [5xx], tries: 10, backoff: 10s }");
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    until("the first attempt is over", || retries(&proxy, "status") == 1.0);

    drop(client);

    proxy.counts("tollgate_http_active_requests", &[], 0.0);
}

#[test]
fn an_attempt_of_a_callout_that_takes_too_long_is_told_and_counted_as_such() {
    let tell = "\"raw proxy_get_status out out-bytes -> request-headers x-why\", \"continue request\"";
    for (kind, protocol, call, told) in [
        (
            "http",
            "http1",
            format!("request_headers: [\"call auth 5000 / ''\", pause], call_response: [{tell}]"),
            "timeout",
        ),
        (
            "grpc",
            "h2",
            format!("request_headers: [\"grpc-call auth 5000 S M x\", pause], grpc_close: [{tell}]"),
            "4 timeout",
        ),
    ] {
        let (silent, app) = (Origin::scripted(Peer::wait_for_end), Origin::saying("app"));
        let filters = probes_with("budget: { time: 1s }, allow: { calls: [auth] }", &[("a", &format!("{{ {call} }}"))]);
        let proxy = TestProxy::with(&format!(
            "{filters}clusters: {{ auth: {{ hosts: [\"{}\"], protocol: {protocol}, \
             retry: {{ on: [timeout], tries: 1, try_timeout: 50ms }} }} }}\n\
             routes: [{{ to: {:?}, filters: [a] }}]",
            silent.address(),
            app.url()
        ));

        assert_eq!(proxy.get("/").status(), 200);

        let request = app.request();
        assert!(request.field("x-why").unwrap().ends_with(told), "{request:?}");
        let (cluster, outcome) = ("cluster=\"auth\"", "outcome=\"timeout\"");
        let kind = format!("kind=\"{kind}\"");
        assert_eq!(proxy.metric("tollgate_filter_callouts_total", &[cluster, outcome, &kind]), 1.0);
        assert_eq!(proxy.metric("tollgate_upstream_failures_total", &[cluster, "reason=\"timeout\""]), 1.0);
    }
}
