//! gRPC callouts of filters: calls and streams, what goes over the wire, and how each ending is told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::sync::{Arc, Mutex};

use common::h2_origin::{Body, H2Origin, Seen, seen, whole};
use common::modules::probes_with;
use common::origin::{Origin, refusing};
use common::proxy::TestProxy;
use common::{log, until};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt;

/// The message of a frame that no length of more than a byte is needed for.
fn framed(message: &str) -> String {
    format!("\0\0\0\0{}{message}", char::from(u8::try_from(message.len()).unwrap()))
}

fn grpc(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

/// An origin that gives this answer to every request, and what it was asked.
fn answering(answer: impl Fn() -> Response<Body> + Send + Sync + 'static) -> (H2Origin, Arc<Mutex<Vec<Seen>>>) {
    let requests = Arc::<Mutex<Vec<Seen>>>::default();
    let (known, answer) = (Arc::clone(&requests), Arc::new(answer));
    let origin = H2Origin::serving(100, move |request| {
        let (known, answer) = (Arc::clone(&known), Arc::clone(&answer));
        async move {
            let request = seen(request).await;
            known.lock().unwrap().push(request);
            answer()
        }
    });
    (origin, requests)
}

/// Sends back what it is sent, message by message, and ends when it is ended.
fn echoing() -> H2Origin {
    H2Origin::serving(100, |request| async move {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert("x-sum", HeaderValue::from_static("42"));
        grpc(request.into_body().with_trailers(async { Some(Ok(trailers)) }).boxed_unsync())
    })
}

/// The only route runs one probe that may call the cluster `idp`.
fn calling(idp: &str, to: &Origin, config: &str) -> TestProxy {
    let filters = probes_with(
        "budget: { time: 1s }, allow: { calls: [idp, plain] }, quota: { callout_body: 64B }",
        &[("a", config)],
    );
    TestProxy::with(&format!(
        "{filters}clusters: {{ idp: {{ hosts: [\"{idp}\"], protocol: h2 }}, plain: {{ hosts: [\"{idp}\"] }} }}\n\
         routes: [{{ to: {:?}, filters: [a] }}]",
        to.url()
    ))
}

fn ended(proxy: &TestProxy, cluster: &str, outcome: &str) -> f64 {
    let labels = [format!("cluster=\"{cluster}\""), format!("outcome=\"{outcome}\"")];
    proxy.metric("tollgate_filter_callouts_total", &["filter=\"a\"", "kind=\"grpc\"", &labels[0], &labels[1]])
}

const TELL: &str = "grpc_message: [\"body-get -> request-headers x-message\", \"continue request\"], \
                    grpc_close: [\"raw proxy_get_status out out-bytes -> request-headers x-closed\", \"continue request\"]";

#[test]
fn a_call_brings_its_message_to_the_exchange_that_waits() {
    let (idp, asked) = answering(|| grpc(whole(&[&framed("al"), ""], &[("grpc-status", "0")])));
    let origin = Origin::saying("upstream");
    let config = format!(
        "{{ request_headers: [\"grpc-call idp 5000 pkg.Users Find token x-a-bin=AAE= content-type=text/html\", pause], {TELL} }}"
    );
    let proxy = calling(&idp.address().to_string(), &origin, &config);

    let answer = proxy.get("/");

    let requests = asked.lock().unwrap();
    assert_eq!((answer.status(), answer.text()), (200, "upstream"));
    assert_eq!((origin.request().field("x-message"), origin.request().field("x-closed")), (Some("al"), None));
    assert_eq!((requests[0].method.as_str(), requests[0].uri.path()), ("POST", "/pkg.Users/Find"));
    assert_eq!(requests[0].uri.authority().unwrap().as_str(), "idp");
    assert_eq!(requests[0].body, framed("token").as_bytes());
    for (name, value) in [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "5000m"),
        ("x-a-bin", "AAE="),
        ("x-tollgate-callout-hops", "1"),
    ] {
        assert_eq!(requests[0].headers.get(name).unwrap(), value);
    }
    assert_eq!(ended(&proxy, "idp", "ok"), 1.0);
}

#[test]
fn a_message_in_parts_is_whole() {
    let (idp, _) = answering(|| grpc(whole(&["\0\0", "\0\0\x05he", "l", "lo"], &[("grpc-status", "0")])));
    let origin = Origin::saying("upstream");
    let config = format!("{{ request_headers: [\"grpc-call idp 5000 S M x\", pause], {TELL} }}");
    let proxy = calling(&idp.address().to_string(), &origin, &config);

    proxy.get("/");

    assert_eq!(origin.request().field("x-message"), Some("hello"));
}

#[test]
fn an_upstream_may_be_named_in_envoy_s_way() {
    let (idp, _) = answering(|| grpc(whole(&[&framed("al")], &[("grpc-status", "0")])));
    let origin = Origin::saying("upstream");
    let config = format!("{{ request_headers: [\"grpc-call %0a%05%0a%03idp 5000 S M x\", pause], {TELL} }}");
    let proxy = calling(&idp.address().to_string(), &origin, &config);

    proxy.get("/");

    assert_eq!(origin.request().field("x-message"), Some("al"));
}

/// What the guest hears when this is the answer to a call: the number and words of its end.
fn ends_with(answer: impl Fn() -> Response<Body> + Send + Sync + 'static, told: &str, outcome: &str) {
    let (idp, _) = answering(answer);
    call_ends_with(&idp.address().to_string(), 5_000, told, outcome);
}

fn call_ends_with(idp: &str, timeout: u32, told: &str, outcome: &str) {
    let origin = Origin::saying("upstream");
    let config = format!("{{ request_headers: [\"grpc-call idp {timeout} S M x\", pause], {TELL} }}");
    let proxy = calling(idp, &origin, &config);

    let answer = proxy.get("/");

    let sent = origin.request();
    assert_eq!(answer.status(), 200, "{told}");
    assert_eq!((sent.field("x-closed"), sent.field("x-message")), (Some(format!("0 {told}").as_str()), None));
    assert_eq!(ended(&proxy, "idp", outcome), 1.0, "{told}: {}", proxy.metrics());
    assert_eq!(proxy.metric("tollgate_filter_callouts_active", &[]), 0.0);
}

#[test]
fn a_status_and_its_message_are_told() {
    let trailers = [("grpc-status", "5"), ("grpc-message", "no such%20user")];
    ends_with(move || grpc(whole(&[], &trailers)), "5 no such user", "ok");
    ends_with(
        || {
            let mut response = grpc(whole(&[], &[]));
            response.headers_mut().insert("grpc-status", HeaderValue::from_static("7"));
            response.headers_mut().insert("grpc-message", HeaderValue::from_static("not you"));
            response
        },
        "7 not you",
        "ok",
    );
}

#[test]
fn answers_that_are_not_grpc_are_given_its_numbers() {
    for (status, number) in [(400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (503, 14), (500, 2), (302, 2)] {
        let answer = move || {
            let mut response = Response::new(whole(&["page"], &[]));
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            response
        };
        ends_with(answer, &format!("{number} HTTP status {status}"), "ok");
    }
    ends_with(|| Response::new(whole(&["page"], &[])), "2 the answer is not application/grpc", "protocol");
}

#[test]
fn broken_answers_are_told() {
    ends_with(|| grpc(whole(&[&framed("al")], &[])), "2 no grpc-status", "protocol");
    ends_with(|| grpc(whole(&[&framed("al")], &[("x", "1")])), "2 no grpc-status", "protocol");
    ends_with(|| grpc(whole(&["\0\0\0\0\x05al"], &[("grpc-status", "0")])), "13 half a message", "protocol");
    ends_with(|| grpc(whole(&[], &[("grpc-status", "0")])), "13 no message", "protocol");
    ends_with(
        || grpc(whole(&["\x01\0\0\0\x02al"], &[("grpc-status", "0")])),
        "13 a message is compressed, or is none",
        "protocol",
    );
    let two = || grpc(whole(&[&framed("al"), &framed("bo")], &[("grpc-status", "0")]));
    ends_with(two, "13 more than one message", "protocol");
    ends_with(|| grpc(whole(&["\0\0\0\0\x41"], &[("grpc-status", "0")])), "8 too large", "too_large");
}

#[test]
fn failures_of_the_connection_are_told() {
    call_ends_with(&refusing().to_string(), 5_000, "14 connect", "connect");
    let silent = H2Origin::serving(100, |_| async { std::future::pending().await });
    call_ends_with(&silent.address().to_string(), 50, "4 timeout", "timeout");
    let reset = Origin::scripted(|peer| {
        common::frames::greet(peer)?;
        common::frames::next(peer)?;
        peer.reset()
    });
    call_ends_with(&reset.address().to_string(), 5_000, "14 reset", "reset");
}

#[test]
fn a_cluster_that_does_not_speak_http_2_is_refused_with_the_key_to_write() {
    log::keep();
    let origin = Origin::saying("upstream");
    for (name, status, outcome) in [("plain", "status 10", "invalid"), ("nobody", "status 4", "unknown_upstream")] {
        for call in [format!("grpc-call {name} 5000 S M x"), format!("grpc-stream {name} S M")] {
            let config = format!("{{ request_headers: [\"{call} -> request-headers x-call\"] }}");
            let proxy = calling(&refusing().to_string(), &origin, &config);

            proxy.get("/");

            assert_eq!(origin.requests().last().unwrap().field("x-call"), Some(status), "{call}");
            assert_eq!(ended(&proxy, "none", outcome), 1.0, "{call}");
        }
    }
    assert!(!log::lines_with("cluster \"plain\" speaks HTTP/1.1, and gRPC needs one with `protocol: h2`").is_empty());
}

#[test]
fn a_stream_carries_messages_both_ways_until_it_is_closed() {
    let (idp, origin) = (echoing(), Origin::saying("upstream"));
    let config = "{ request_headers: [\"grpc-stream idp S M x-a=1\", \"grpc-send one\", \"grpc-last two\", pause], \
        grpc_initial: [\"copy grpc-initial content-type -> request-headers x-initial\"], \
        grpc_message: [\"body-len -> request-headers x-last\", \"metric counter messages 1\"], \
        grpc_trailers: [\"copy grpc-trailing x-sum -> request-headers x-sum\"], \
        grpc_close: [\"raw proxy_get_status out out-bytes -> request-headers x-closed\", \"continue request\"] }";
    let proxy = calling(&idp.address().to_string(), &origin, config);

    let answer = proxy.get("/");

    let sent = origin.request();
    assert_eq!(answer.status(), 200);
    assert_eq!((sent.field("x-initial"), sent.field("x-sum")), (Some("application/grpc"), Some("42")));
    assert_eq!((sent.field("x-last"), sent.field("x-closed")), (Some("3"), Some("0 0")));
    assert_eq!(proxy.metric("tollgate_guest_messages", &[]), 2.0);
    assert_eq!(ended(&proxy, "idp", "ok"), 1.0);
}

#[test]
fn a_stream_answers_while_the_guest_still_sends() {
    let (idp, origin) = (echoing(), Origin::saying("upstream"));
    let config = "{ request_headers: [\"grpc-stream idp S M\", \"grpc-send one\", pause], \
        grpc_message: [\"continue request\", grpc-close], grpc_close: [\"metric counter closed 1\"] }";
    let proxy = calling(&idp.address().to_string(), &origin, config);

    assert_eq!(proxy.get("/").status(), 200);

    proxy.counts("tollgate_filter_callouts_total", &["kind=\"grpc\"", "outcome=\"ok\""], 1.0);
}

#[test]
fn a_cancelled_callout_is_given_up_and_not_heard_of() {
    for open in ["grpc-stream idp S M", "grpc-call idp 5000 S M x"] {
        let (idp, origin) = (H2Origin::serving(100, |_| async { std::future::pending().await }), Origin::saying("x"));
        let config = format!(
            "{{ request_headers: [\"{open}\"], response_headers: [\"grpc-cancel -> response-headers x-first\", \
             \"grpc-cancel -> response-headers x-again\"], grpc_close: [trap] }}"
        );
        let proxy = calling(&idp.address().to_string(), &origin, &config);

        let answer = proxy.get("/");

        assert_eq!((answer.field("x-first"), answer.field("x-again")), (Some("ok"), Some("status 1")), "{open}");
        proxy.counts("tollgate_filter_callouts_total", &["cluster=\"idp\"", "outcome=\"cancelled\""], 1.0);
        assert_eq!(proxy.metric("tollgate_filter_failures_total", &[]), 0.0, "{open}");
    }
}

#[test]
fn a_guest_that_sends_faster_than_its_peer_reads_is_cut_off() {
    let (idp, origin) = (H2Origin::serving(100, |_| async { std::future::pending().await }), Origin::saying("x"));
    let send = format!("\"grpc-send {}\"", "a".repeat(40));
    let config = format!(
        "{{ request_headers: [\"grpc-stream idp S M\", {send}, {send}, pause], \
         grpc_close: [\"raw proxy_get_status out out-bytes -> request-headers x-closed\", \"continue request\"] }}"
    );
    let proxy = calling(&idp.address().to_string(), &origin, &config);

    proxy.get("/");

    assert_eq!(origin.request().field("x-closed"), Some("0 8 too many bytes wait to be sent"));
    assert_eq!(ended(&proxy, "idp", "overflow"), 1.0);
}

#[test]
fn a_stream_of_a_starting_vm_is_opened_when_it_serves() {
    let (idp, origin) = (echoing(), Origin::saying("upstream"));
    let config =
        "{ configure: [\"grpc-stream idp S M\", \"grpc-send one\"], grpc_message: [\"metric counter told 1\"] }";
    let proxy = calling(&idp.address().to_string(), &origin, config);

    until("the stream answers", || proxy.metric("tollgate_guest_told", &[]) == 1.0);

    // The spare VM has opened none.
    assert_eq!(idp.requests(), 1);
}
