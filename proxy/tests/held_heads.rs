//! Filters that hold a head while they read its body, and filters that are called for a body that is not there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use common::modules::{probes, probes_with};
use common::origin::{Origin, chunked, ok};
use common::proxy::TestProxy;
use common::wire::Message;

const HEADERS: &str = "header_pause: headers, pause_timeout: 300ms, budget: { time: 1s }";
const CALL: &str = "empty_body: call, budget: { time: 1s }";

/// Probes with the same settings, in order, before an origin.
fn chain(origin: &Origin, settings: &str, more: &str, list: &[(&str, &str)]) -> TestProxy {
    let names: Vec<_> = list.iter().map(|(name, _)| *name).collect();
    TestProxy::with(&format!(
        "{more}\n{}routes: [{{ to: {:?}, filters: [{}] }}]",
        probes_with(settings, list),
        origin.url(),
        names.join(", ")
    ))
}

/// Two requests on one connection, so that wrong framing of the first shows in the second.
fn twice(proxy: &TestProxy, request: &str) -> [Message; 2] {
    let mut client = proxy.client();
    client.send(request.repeat(2));
    [client.answer(), client.answer()]
}

const FRAMED: [&str; 3] = [
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody",
    "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\nx-t: 1\r\n\r\n",
];

#[test]
fn a_request_s_head_follows_from_its_body() {
    let config = "{ request_headers: [pause], request_body: [body-buffer, \"body-len -> request-headers x-length\", \
                  body-upper, \"body-append %2B\"] }";
    for framed in FRAMED {
        let origin = Origin::answering(ok("x"));
        let proxy = chain(&origin, HEADERS, "", &[("a", config)]);

        let answers = twice(&proxy, framed);

        assert_eq!(answers.map(|answer| answer.status()), [200, 200], "{framed}");
        for request in origin.requests() {
            assert_eq!((request.text(), request.field("x-length")), ("BODY+", Some("4")), "{framed}");
        }
    }
}

#[test]
fn an_answer_s_head_follows_from_its_body() {
    let config = "{ response_headers: [pause], response_body: [body-buffer, \"set response-headers :status 203\", \
                  \"set response-headers x-late yes\", body-upper, \"body-append %2B\"] }";
    for answer in
        [ok("body"), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n".to_owned()]
    {
        let origin = Origin::answering(answer.clone());
        let proxy = chain(&origin, HEADERS, "", &[("a", config)]);

        for got in twice(&proxy, FRAMED[0]) {
            assert_eq!((got.status(), got.text(), got.field("x-late")), (203, "BODY+", Some("yes")), "{answer}");
        }
    }
}

#[test]
fn a_pause_holds_the_whole_message_unless_told_otherwise() {
    let origin = Origin::answering(ok("x"));
    let settings = "pause_timeout: 300ms, budget: { time: 1s }";
    let proxy = chain(&origin, settings, "", &[("a", "{ request_headers: [pause], request_body: [body-upper] }")]);

    assert_eq!(proxy.post("/", "", "body").status(), 504);
    assert_eq!(proxy.metric("tollgate_filter_calls_total", &["phase=\"request_body\""]), 0.0);
}

#[test]
fn the_next_filter_sees_the_head_and_then_the_body_in_order() {
    let first = "{ request_headers: [pause], request_body: [body-buffer, \"set request-headers x-first yes\", \"body-append 1\"], \
                 response_headers: [pause], response_body: [body-buffer, \"body-append 1\"] }";
    let next = "{ request_headers: [\"copy request-headers x-first -> request-headers x-saw\"], request_body: [body-buffer, \"body-append 2\"], \
                response_body: [body-buffer, \"body-append 2\"] }";
    let also_holds = next.replace("request_headers: [", "request_headers: [pause, ");
    for next in [next, &also_holds] {
        for framed in FRAMED {
            let origin = Origin::answering(ok("x"));
            let proxy = chain(&origin, HEADERS, "", &[("first", first), ("next", next)]);

            let answers = twice(&proxy, framed);

            assert_eq!(answers.map(|answer| answer.text().to_owned()), ["x21", "x21"], "{framed}");
            for request in origin.requests() {
                assert_eq!((request.text(), request.field("x-saw")), ("body12", Some("yes")), "{framed}");
            }
        }
    }
}

#[test]
fn trailers_reach_their_filters_behind_a_head_that_was_held() {
    let config =
        "{ request_headers: [pause], request_body: [body-buffer], request_trailers: [\"set request-trailers x-t 2\"] }";
    let plain = "{ request_trailers: [\"copy request-trailers x-t -> request-trailers x-copy\"] }";
    let origin = Origin::answering(ok("x"));
    let proxy = chain(&origin, HEADERS, "", &[("holds", config), ("plain", plain)]);

    let answers = twice(&proxy, FRAMED[2]);

    assert_eq!(answers.map(|answer| answer.status()), [200, 200]);
    for request in origin.requests() {
        assert_eq!(request.text(), "body");
        assert!(request.trailers.is_empty() || request.trailer("x-t") == Some("2"), "{request:?}");
    }
    assert_eq!(proxy.metric("tollgate_filter_calls_total", &["phase=\"request_trailers\""]), 4.0);
}

#[test]
fn a_filter_that_continues_lets_head_and_body_go() {
    for config in [
        "{ configure: [\"tick 20\"], request_headers: [\"resume-after-ticks 3\"], request_body: [pause] }",
        "{ request_headers: [pause], request_body: [time] }",
        "{ request_headers: [pause, \"continue request\"], request_body: [time] }",
    ] {
        for framed in FRAMED {
            let origin = Origin::answering(ok("x"));
            let proxy = chain(
                &origin,
                &HEADERS.replace("300ms", "10s"),
                "",
                &[("a", config), ("b", "{ request_body: [body-upper] }")],
            );

            let answers = twice(&proxy, framed);

            assert_eq!(answers.map(|answer| answer.status()), [200, 200], "{config} {framed}");
            assert!(origin.requests().iter().all(|request| request.text() == "BODY"), "{config} {framed}");
        }
    }
}

#[test]
fn no_more_of_a_body_is_kept_behind_a_held_head_than_the_limit() {
    let large = "x".repeat(300_000);
    let origin = Origin::answering(ok(&large));
    let list = [
        ("a", "{ request_headers: [pause], request_body: [body-buffer] }"),
        ("b", "{ response_headers: [pause], response_body: [body-buffer] }"),
    ];
    let proxy = chain(&origin, HEADERS, "limits: { buffer: 4KiB }", &list);

    assert_eq!((proxy.post("/", "", &large).status(), proxy.post("/", "", "body").status()), (413, 502));
}

#[test]
fn a_filter_answers_from_a_body_whose_head_it_holds() {
    let origin =
        Origin::answering(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", chunked("secret")));
    let request = "{ request_headers: [pause], request_body: [body-buffer, \"reply 403 no\"] }";
    let response = "{ response_headers: [pause], response_body: [body-buffer, \"reply 502 hidden\"] }";

    let refused = chain(&origin, HEADERS, "", &[("a", request)]).post("/", "", "body");
    let hidden = chain(&origin, HEADERS, "", &[("a", response)]).get("/");

    assert_eq!((refused.status(), refused.text()), (403, "no"));
    assert_eq!((hidden.status(), hidden.text()), (502, "hidden"));
}

#[test]
fn the_route_is_chosen_by_what_the_body_made_of_the_head() {
    let (old, new) = (Origin::answering(ok("old")), Origin::answering(ok("new")));
    let config = "{ request_headers: [pause], request_body: [body-buffer, \"set request-headers :path /new\"] }";
    let proxy = TestProxy::with(&format!(
        "{}routes:\n- {{ match: {{ path: /new }}, to: {:?} }}\n- {{ to: {:?}, filters: [a] }}\n",
        probes_with(HEADERS, &[("a", config)]),
        new.url(),
        old.url()
    ));

    assert_eq!(proxy.post("/", "", "body").text(), "new");
    assert_eq!((new.request().text(), old.connections()), ("body", 0));
}

#[test]
fn a_filter_that_fails_while_it_holds_a_head_gets_its_policy() {
    for (on_error, status) in [("deny", 503), ("skip", 200)] {
        for callback in ["request", "response"] {
            let origin = Origin::answering(ok("answer"));
            let settings = format!("on_error: {on_error}, {HEADERS}");
            let config =
                format!("{{ {callback}_headers: [pause], {callback}_body: [body-buffer, \"body-set x\", trap] }}");
            let proxy = chain(&origin, &settings, "", &[("a", &config), ("b", "{ request_body: [body-upper] }")]);

            let answer = proxy.post("/", "", "body");

            assert_eq!(answer.status(), status, "{callback} {on_error}");
            if status == 200 {
                assert_eq!((origin.request().text(), answer.text()), ("BODY", "answer"), "{callback}");
            }
        }
    }
}

#[test]
fn a_client_that_stalls_does_not_get_past_a_filter_that_holds_the_head() {
    let origin = Origin::answering(ok("x"));
    let settings = format!("on_error: skip, {HEADERS}");
    let config = "{ request_headers: [pause], request_body: [body-buffer] }";
    for sent in ["", "bo"] {
        let proxy = chain(&origin, &settings, "", &[("a", config)]);
        let mut client = proxy.client();

        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n{sent}"));

        assert_eq!((client.answer().status(), origin.requests().len()), (504, 0), "{sent:?}");
    }
}

#[test]
fn a_message_without_a_body_is_not_called_for_unless_told_so() {
    let config = "{ request_body: [\"body-set made\"], response_body: [\"body-set made\"] }";
    for (settings, sent, got, calls) in [("budget: { time: 1s }", "", "", 0.0), (CALL, "made", "made", 4.0)] {
        for request in ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"]
        {
            let origin = Origin::answering(ok(""));
            let proxy = chain(&origin, settings, "", &[("a", config)]);

            for answer in twice(&proxy, request) {
                let length = got.len().to_string();
                assert_eq!((answer.text(), answer.field("content-length")), (got, Some(length.as_str())), "{request}");
            }
            for asked in origin.requests() {
                assert_eq!(asked.text(), sent, "{request}");
                assert!(!asked.is_chunked(), "{request}");
            }
            let bodies = ["request_body", "response_body"]
                .map(|phase| proxy.metric("tollgate_filter_calls_total", &[&format!("phase=\"{phase}\"")]));
            assert_eq!(bodies[0] + bodies[1], calls, "{request}");
            assert_eq!(origin.connections(), 1);
        }
    }
}

#[test]
fn a_call_for_no_body_that_makes_none_changes_nothing() {
    let origin = Origin::answering(ok(""));
    let proxy = chain(&origin, CALL, "", &[("a", "{ request_body: [body-len], response_body: [body-len] }")]);

    let answers = twice(&proxy, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");

    assert_eq!(answers.map(|answer| answer.all("content-length").concat()), ["0", "0"]);
    for request in origin.requests() {
        assert_eq!((request.field("content-length"), request.field("transfer-encoding")), (None, None));
    }
}

#[test]
fn an_answer_that_has_no_body_by_its_nature_gets_none() {
    for (answer, request) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", "GET"),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", "GET"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n", "HEAD"),
    ] {
        let origin = Origin::scripted(move |peer| {
            while peer.head().is_ok() {
                peer.send(answer)?;
            }
            Ok(())
        });
        let proxy = chain(&origin, CALL, "", &[("a", "{ response_body: [\"body-set made\"] }")]);
        let mut client = proxy.client();

        client.send(format!("{request} / HTTP/1.1\r\nhost: a\r\n\r\n").repeat(2));

        for _ in 0..2 {
            let got = if request == "HEAD" { client.answer_to_head() } else { client.answer() };
            assert_eq!((got.status(), got.text()), (answer[9..12].parse().unwrap(), ""), "{answer}");
        }
    }
}

#[test]
fn an_answer_that_a_filter_gives_a_body_has_the_length_of_that_body() {
    for answer in ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 304 Not Modified\r\ncontent-length: 70\r\n\r\n"] {
        for (body, length) in [("response_body: [\"body-set made\"]", "4"), ("response_body: []", "0")] {
            let origin = Origin::answering(answer);
            let config = format!("{{ response_headers: [\"set response-headers :status 200\"], {body} }}");
            let proxy = chain(&origin, CALL, "", &[("a", &config)]);

            for got in twice(&proxy, "GET / HTTP/1.1\r\nhost: a\r\n\r\n") {
                assert_eq!((got.status(), got.all("content-length")), (200, vec![length]), "{answer}");
            }
        }
    }
}

#[test]
fn the_next_filter_sees_a_body_that_another_one_made() {
    let origin = Origin::answering(ok(""));
    let makes =
        probes_with(CALL, &[("makes", "{ request_body: [\"body-set made\"], response_body: [\"body-set made\"] }")]);
    let sees = probes(&[("sees", "{ request_body: [body-upper], response_body: [body-upper] }")]);
    let proxy = TestProxy::with(&format!(
        "{makes}{}routes: [{{ to: {:?}, filters: [sees, makes, sees] }}]",
        sees.trim_start_matches("filters:\n"),
        origin.url()
    ));

    let answer = proxy.get("/");

    assert_eq!((origin.request().text(), answer.text()), ("MADE", "MADE"));
    // The filter before the maker has no body to see, the one behind it does; it runs twice.
    assert_eq!(proxy.metric("tollgate_filter_calls_total", &["filter=\"sees\"", "phase=\"request_body\""]), 1.0);
}

#[test]
fn a_head_is_held_for_a_body_that_is_not_there() {
    let origin = Origin::answering(ok(""));
    let settings = format!("{HEADERS}, empty_body: call");
    let config = "{ request_headers: [pause], request_body: [\"set request-headers x-late yes\", \"body-set made\"] }";
    let proxy = chain(&origin, &settings, "", &[("a", config)]);

    assert_eq!(proxy.get("/").status(), 200);
    assert_eq!((origin.request().text(), origin.request().field("x-late")), ("made", Some("yes")));
}
