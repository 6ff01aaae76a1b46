//! Answers that filters give in place of the upstream's: where they work, and what becomes of those that cannot be sent.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use common::modules::{probes, probes_with};
use common::origin::{Origin, chunked, ok};
use common::proxy::TestProxy;
use common::{h2, log, until};

/// One probe of that name before `origin`.
fn probe(name: &str, settings: &str, config: &str, origin: &Origin) -> TestProxy {
    let filters = probes_with(&format!("budget: {{ time: 1s }}, {settings}"), &[(name, config)]);
    TestProxy::with(&format!("{filters}routes: [{{ to: {:?}, filters: [{name}] }}]", origin.url()))
}

fn refusals(proxy: &TestProxy) -> f64 {
    proxy.metric("tollgate_filter_refusals_total", &[])
}

/// Calls that no answer can come of: an impossible status, and headers that are none.
const IMPOSSIBLE: [&str; 4] =
    ["reply 199 x", "reply 600 x", "reply 66136 x", "raw proxy_send_local_response 403 ptr: ptr:no ptr:garbage -1"];

#[test]
fn an_answer_that_cannot_be_sent_ends_a_paused_exchange_with_500() {
    let origin = Origin::answering(ok("upstream"));
    for mode in ["lenient", "strict"] {
        let proxy = probe("a", &format!("guest_errors: {mode}"), "{ request_headers: [] }", &origin);
        let mut refused = 0.0;
        for callback in ["request-headers", "request-body", "response-headers", "response-body"] {
            for reply in IMPOSSIBLE {
                let answer = proxy.post("/", &format!("x-probe-{callback}: {reply}; pause\r\n"), "body");

                refused += 1.0;
                assert_eq!((answer.status(), refusals(&proxy)), (500, refused), "{callback} {reply} {mode}");
            }
        }
    }
}

#[test]
fn a_filter_that_meant_to_answer_and_could_not_does_not_let_the_request_through() {
    let origin = Origin::answering(ok("upstream"));
    let proxy = probe("a", "", "{ request_headers: [\"reply 1000 no\"] }", &origin);

    assert_eq!((proxy.get("/").status(), origin.connections()), (500, 0));
}

#[test]
fn a_strict_filter_hears_of_it_and_a_lenient_one_does_not() {
    log::keep();
    let origin = Origin::answering(ok("upstream"));
    for (mode, status) in [("lenient", 0), ("strict", 2)] {
        let name = format!("hears-{mode}");
        let proxy = probe(&name, &format!("guest_errors: {mode}"), "{ request_headers: [] }", &origin);

        for reply in IMPOSSIBLE.iter().filter(|reply| reply.starts_with("raw")) {
            proxy.ask("/", &format!("x-probe-request-headers: {reply}\r\n"));
        }

        let told = format!("ptr:garbage -1 = {status}");
        let line = |line: &String| line.contains(&format!("filter=\"{name}\"")) && line.contains(&told);
        until("the filter was told", || log::lines_with("probe: raw").iter().any(line));
    }
}

#[test]
fn an_answer_that_can_be_sent_makes_up_for_one_that_cannot() {
    let origin = Origin::answering(ok("upstream"));
    let proxy = probe("a", "", "{ request_headers: [\"reply 1000 no\", \"reply 403 yes\"] }", &origin);

    let answer = proxy.get("/");

    assert_eq!((answer.status(), answer.text()), (403, "yes"));
}

#[test]
fn an_answer_goes_without_a_field_that_cannot_be_sent_unless_the_filter_is_strict() {
    let origin = Origin::answering(ok("upstream"));
    for (name, value) in [("x-a", "a%0D%0Ax-evil:1"), ("x%20b", "1"), (":status", "200"), ("''", "1")] {
        let name = if name == "''" { "" } else { name };
        let config = format!("{{ request_headers: [\"reply 403 no x-kept=1 {name}={value}\"] }}");
        let lenient = probe("a", "guest_errors: lenient", &config, &origin);
        let strict = probe("a", "guest_errors: strict", &config, &origin);

        let answer = lenient.get("/");

        assert_eq!((answer.status(), answer.field("x-kept"), refusals(&lenient)), (403, Some("1"), 1.0), "{name}");
        assert!(!format!("{answer:?}").contains("evil"), "{answer:?}");
        assert_eq!((strict.get("/").status(), refusals(&strict)), (500, 1.0), "{name}");
    }
}

#[test]
fn an_answer_that_comes_too_late_breaks_the_exchange_off_and_is_counted() {
    let body = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", chunked("upstream"));
    for mode in ["lenient", "strict"] {
        let origin = Origin::answering(body.clone());
        let proxy =
            probe("a", &format!("guest_errors: {mode}"), "{ response_body: [\"reply 502 late\", pause] }", &origin);
        let mut client = proxy.client();

        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let outcome = client.try_answer();

        assert!(outcome.is_err(), "{mode}: {outcome:?}");
        assert_eq!(refusals(&proxy), 1.0, "{mode}");
    }
}

#[test]
fn the_root_context_answers_an_exchange_that_is_paused_or_waits_for_its_upstream() {
    for (hold, reply, status) in [
        ("pause", "reply 403 rooted", 403),
        ("pause", "reply 1000 no", 500),
        ("time", "reply 403 rooted", 403),
        ("time", "reply 1000 no", 500),
    ] {
        let silent = Origin::silent();
        let config =
            format!("{{ configure: [\"tick 50\"], request_headers: [{hold}], tick: [\"effective 2\", \"{reply}\"] }}");
        let proxy = probe("a", "", &config, &silent);

        let answer = proxy.get("/");

        assert_eq!(answer.status(), status, "{hold} {reply}");
        // The exchange is over, so the next tick finds no such context.
        proxy.counts("tollgate_http_active_requests", &[], 0.0);
    }
}

#[test]
fn the_root_context_cannot_answer_once_the_head_has_left_and_the_client_sees_the_failure() {
    let slow = Origin::scripted(|peer| {
        peer.request()?;
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")?;
        peer.wait_for_end()
    });
    for more in ["", ", response_body: [time]"] {
        // The ticks begin with the head of the answer, which has left before the first of them.
        let config =
            format!("{{ response_headers: [\"tick 100\"]{more}, tick: [\"effective 2\", \"reply 403 late\"] }}");
        let proxy = probe("a", "", &config, &slow);
        let mut client = proxy.client();

        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let mut head = client.head();
        let outcome = client.body(&mut head);

        assert_eq!(head.status(), 200);
        assert!(outcome.is_err(), "{outcome:?}");
        assert!(refusals(&proxy) >= 1.0);
    }
}

/// The status and the three fields that make a gRPC answer.
fn grpc(proxy: &TestProxy, command: &str) -> (u16, [Option<String>; 3]) {
    let request = http::Request::post("http://test/s/m").header("content-type", "application/grpc+proto");
    let request = request.header("x-probe-request-headers", command);
    let answer = h2::exchange(proxy.address(), request.body(h2::body(&["x"], &[])).unwrap());
    assert_eq!(answer.body, b"");
    let field = |name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    (answer.status, ["grpc-status", "grpc-message", "x-more"].map(field))
}

#[test]
fn an_answer_to_grpc_carries_its_own_code_or_that_of_its_status() {
    let origin = Origin::answering(ok("upstream"));
    let filters = probes(&[("a", "{ request_headers: [] }")]);
    let proxy = TestProxy::with(&format!("{filters}routes: [{{ to: {:?}, filters: [a] }}]", origin.url()));
    for (status, code) in [
        (400, 13),
        (401, 16),
        (403, 7),
        (404, 12),
        (429, 14),
        (502, 14),
        (503, 14),
        (504, 14),
        (500, 2),
        (418, 2),
        (200, 2),
    ] {
        let (answered, fields) = grpc(&proxy, &format!("reply {status} no%0Away x-more=1"));

        assert_eq!(answered, 200);
        assert_eq!(fields.map(Option::unwrap), [code.to_string(), "no%0Away".to_owned(), "1".to_owned()]);
    }
    for (given, code) in [("5", "5"), ("0", "0"), ("16", "16"), ("17", "7"), ("-1", "7"), ("4294967295", "7")] {
        let command =
            format!("raw proxy_send_local_response 403 ptr:why ptr: pairs:grpc-status=9,content-type=x {given}");
        let (answered, [status, message, _]) = grpc(&proxy, &command);

        assert_eq!((answered, status.as_deref(), message), (200, Some(code), None), "{given}");
    }
}
