//! Filters that read, rewrite and hold back bodies and trailers, and the framing that follows.

#[path = "common/common.rs"]
mod common;

use common::h2;
use common::modules::probes;
use common::origin::{Origin, chunked, ok};
use common::proxy::TestProxy;
use common::until;
use http::Request;

/// One probe before an origin that gives this answer.
fn probe(config: &str, answer: impl Into<Vec<u8>>) -> (Origin, TestProxy) {
    let origin = Origin::answering(answer);
    let proxy = chain(&origin, "", &[("a", config)]);
    (origin, proxy)
}

/// These probes, in order, before an origin; `more` goes to the top of the configuration.
fn chain(origin: &Origin, more: &str, list: &[(&str, &str)]) -> TestProxy {
    let names: Vec<_> = list.iter().map(|(name, _)| *name).collect();
    TestProxy::with(&format!(
        "{more}\n{}routes: [{{ to: {:?}, filters: [{}] }}]",
        probes(list),
        origin.url(),
        names.join(", ")
    ))
}

/// Two requests on one connection, so that wrong framing of the first shows in the second.
fn post_twice(proxy: &TestProxy, framed: &str) -> Vec<common::wire::Message> {
    let mut client = proxy.client();
    let one = || format!("POST / HTTP/1.1\r\nhost: a\r\n{framed}");
    client.send(one() + &one());
    vec![client.answer(), client.answer()]
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn a_request_body_is_buffered_and_rewritten_whatever_its_framing() {
    let config = "{ request_body: [body-buffer, \"body-upper\", \"body-append %2B%2B\"] }";
    for (framed, body, length) in [
        ("content-length: 3\r\n\r\nabc", "ABC++", Some("5")),
        ("transfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "ABC++", None),
        ("transfer-encoding: chunked\r\n\r\n0\r\n\r\n", "++", None),
    ] {
        let (origin, proxy) = probe(config, ok("x"));

        let answers = post_twice(&proxy, framed);

        assert_eq!([answers[0].text(), answers[1].text()], ["x", "x"]);
        for request in origin.requests() {
            assert_eq!((request.text(), request.field("content-length")), (body, length), "{framed}");
            assert_eq!(request.is_chunked(), length.is_none(), "{framed}");
        }
        assert_eq!(origin.connections(), 1);
    }
}

#[test]
fn an_answer_s_body_is_buffered_and_rewritten_whatever_its_framing() {
    let config = "{ response_body: [body-buffer, \"body-upper\", \"body-append %2B%2B\"] }";
    for (answer, body, length) in [
        (ok("abc"), "ABC++", Some("5")),
        (format!("{CHUNKED}1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"), "ABC++", None),
        (format!("{CHUNKED}0\r\n\r\n"), "++", None),
    ] {
        let (_origin, proxy) = probe(config, answer.clone());

        let answers = post_twice(&proxy, "content-length: 1\r\n\r\nx");

        for got in answers {
            assert_eq!((got.text(), got.field("content-length")), (body, length), "{answer}");
            assert_eq!(got.is_chunked(), length.is_none(), "{answer}");
        }
    }
}

#[test]
fn a_body_may_become_empty() {
    let config = "{ request_body: [body-buffer, \"body-set ''\"], response_body: [body-buffer, \"body-set ''\"] }";
    let (origin, proxy) = probe(config, ok("abc"));

    let answers = post_twice(&proxy, "content-length: 3\r\n\r\nabc");

    for answer in answers {
        assert_eq!((answer.text(), answer.field("content-length")), ("", Some("0")));
    }
    for request in origin.requests() {
        assert_eq!((request.text(), request.field("content-length")), ("", Some("0")));
    }
}

#[test]
fn a_body_without_a_byte_is_no_body_to_a_filter() {
    let config = "{ request_body: [\"body-set x\"], response_body: [\"body-set x\"] }";
    let (origin, proxy) = probe(config, ok(""));

    let answers = post_twice(&proxy, "content-length: 0\r\n\r\n");

    assert_eq!([answers[0].text(), answers[1].text()], ["", ""]);
    assert_eq!(origin.requests().iter().map(|request| request.body.len()).sum::<usize>(), 0);
}

#[test]
fn two_filters_buffer_one_after_the_other() {
    let origin = Origin::answering(ok("abc"));
    let says = |text: &str| {
        format!(
            "{{ request_body: [body-buffer, \"body-append {text}\"], response_body: [body-buffer, \"body-append {text}\"] }}"
        )
    };
    let proxy = chain(&origin, "", &[("a", &says("-a")), ("b", &says("-b"))]);

    let answers = post_twice(&proxy, "transfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n");

    assert_eq!([answers[0].text(), answers[1].text()], ["abc-b-a", "abc-b-a"]);
    assert_eq!(origin.requests()[0].text(), "abc-a-b");
}

#[test]
fn what_a_filter_makes_of_a_body_never_shows_in_an_answer_without_one() {
    let config =
        "{ response_headers: [\"set response-headers x-a b\"], response_body: [body-buffer, \"body-set evil\"] }";
    let heads = ["204 No Content\r\n", "304 Not Modified\r\n"];
    for head in heads {
        let (_origin, proxy) = probe(config, format!("HTTP/1.1 {head}\r\n"));

        let answers = post_twice(&proxy, "content-length: 0\r\n\r\n");

        for answer in answers {
            assert_eq!((answer.field("x-a"), answer.text()), (Some("b"), ""), "{head}");
        }
    }
}

#[test]
fn a_filter_that_makes_a_status_bodiless_takes_the_body_away() {
    let (_origin, proxy) = probe("{ response_headers: [\"set response-headers :status 204\"] }", ok("evil"));

    let answers = post_twice(&proxy, "content-length: 0\r\n\r\n");

    assert_eq!([answers[0].status(), answers[1].status()], [204, 204]);
}

/// What resumes at the second tick of a probe.
const LATER: &str = "\"resume-after-ticks 2\"";

#[test]
fn a_pause_ends_with_the_filter_s_own_tick() {
    for callback in ["request_headers", "request_body", "response_headers", "response_body"] {
        let config = format!("{{ configure: [\"tick 10\"], {callback}: [{LATER}] }}");
        let (origin, proxy) = probe(&config, ok("answer"));

        let answers = post_twice(&proxy, "content-length: 4\r\n\r\nbody");

        assert_eq!([answers[0].text(), answers[1].text()], ["answer", "answer"], "{callback}");
        let bodies: Vec<_> = origin.requests().iter().map(|request| request.text().to_owned()).collect();
        assert_eq!(bodies, ["body", "body"], "{callback}");
    }
}

#[test]
fn trailers_wait_with_the_pause_of_their_filter() {
    for callback in ["request_trailers", "response_trailers"] {
        let config = format!("{{ configure: [\"tick 10\"], {callback}: [{LATER}] }}");
        let (origin, proxy) = probe(&config, format!("{CHUNKED}2\r\nok\r\n0\r\nx-sum: answer\r\n\r\n"));
        let request = Request::post("http://test/").header("trailer", "x-sum");

        let answer =
            h2::exchange(proxy.address(), request.body(h2::body(&["a", "b"], &[("x-sum", "request")])).unwrap());

        assert_eq!((answer.body.as_slice(), &answer.trailers["x-sum"]), (&b"ok"[..], &"answer".parse().unwrap()));
        let request = origin.request();
        assert_eq!((request.text(), request.trailer("x-sum")), ("ab", Some("request")), "{callback}");
    }
}

#[test]
fn a_filter_changes_trailers() {
    let change =
        |map: &str| format!("\"copy {map} x-sum -> {map} x-old\", \"set {map} x-sum new\", \"remove {map} x-gone\"");
    let (of_request, of_response) = (change("request-trailers"), change("response-trailers"));
    let config = format!("{{ request_trailers: [{of_request}], response_trailers: [{of_response}] }}");
    let (origin, proxy) = probe(&config, format!("{CHUNKED}2\r\nok\r\n0\r\nx-sum: answer\r\nx-gone: 1\r\n\r\n"));
    let request = Request::post("http://test/").header("trailer", "x-sum, x-old, x-gone");
    let body = h2::body(&["a"], &[("x-sum", "request"), ("x-gone", "1")]);

    let answer = h2::exchange(proxy.address(), request.body(body).unwrap());

    let shown = |name: &str| answer.trailers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!([shown("x-sum"), shown("x-old"), shown("x-gone")], [Some("new"), Some("answer"), None]);
    let request = origin.request();
    let shown = ["x-sum", "x-old", "x-gone"].map(|name| request.trailer(name));
    assert_eq!(shown, [Some("new"), Some("request"), None]);
}

#[test]
fn a_filter_makes_trailers_where_there_were_none() {
    let config = "{ response_body: [\"add response-trailers x-sum made\"] }";
    let (_origin, proxy) = probe(config, format!("{CHUNKED}{}", chunked("ok")));

    let answer = h2::exchange(proxy.address(), h2::get("/"));

    assert_eq!((answer.body.as_slice(), &answer.trailers["x-sum"]), (&b"ok"[..], &"made".parse().unwrap()));
}

#[test]
fn a_buffering_filter_sees_a_body_that_ends_with_trailers() {
    let config = "{ request_body: [body-buffer, body-upper], response_body: [body-buffer, body-upper] }";
    let (origin, proxy) = probe(config, format!("{CHUNKED}2\r\nok\r\n0\r\nx-sum: answer\r\n\r\n"));
    let request = Request::post("http://test/").header("trailer", "x-sum");

    let answer = h2::exchange(proxy.address(), request.body(h2::body(&["a", "b"], &[("x-sum", "request")])).unwrap());

    assert_eq!((answer.body.as_slice(), &answer.trailers["x-sum"]), (&b"OK"[..], &"answer".parse().unwrap()));
    assert_eq!((origin.request().text(), origin.request().trailer("x-sum")), ("AB", Some("request")));
}

#[test]
fn a_reply_to_the_request_s_body_ends_the_request() {
    let (origin, proxy) = probe("{ request_body: [\"reply 403 no\"] }", ok("upstream"));

    for framed in ["content-length: 4\r\n\r\nbody", "transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"] {
        let answer = proxy.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{framed}"));

        assert_eq!((answer.status(), answer.text()), (403, "no"), "{framed}");
    }
    assert!(origin.requests().iter().all(|request| request.body.is_empty()), "{:?}", origin.requests());
}

#[test]
fn a_reply_to_the_answer_s_body_is_sent_as_long_as_nothing_else_was() {
    let (_origin, proxy) = probe("{ response_body: [body-buffer, \"reply 502 hidden\"] }", ok("upstream"));

    let answers = post_twice(&proxy, "content-length: 0\r\n\r\n");

    for answer in answers {
        assert_eq!((answer.status(), answer.text()), (502, "hidden"));
    }
}

#[test]
fn a_reply_that_comes_too_late_makes_the_answer_visibly_broken() {
    let (_origin, proxy) =
        probe("{ response_body: [\"reply 502 late\"] }", format!("{CHUNKED}{}", chunked("upstream")));
    let mut client = proxy.client();

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let outcome = client.try_answer();

    assert!(outcome.is_err(), "{outcome:?}");
}

#[test]
fn a_filter_holds_no_more_than_its_limit_of_a_body() {
    let large = "x".repeat(300_000);
    let origin = Origin::answering(ok(&large));
    let list = [("a", "{ request_body: [body-buffer] }"), ("b", "{ response_body: [body-buffer] }")];
    let proxy = chain(&origin, "limits: { buffer: 4KiB }", &list);

    let request = proxy.post("/", "", &large);
    let answer = proxy.get("/");

    assert_eq!((request.status(), answer.status()), (413, 502));
}

#[test]
fn an_answer_whose_head_has_left_breaks_off_at_the_limit_of_its_filter() {
    let half = format!("bb8\r\n{}\r\n", "x".repeat(0xbb8));
    let origin = Origin::answering(format!("{CHUNKED}{half}{half}0\r\n\r\n"));
    let proxy = chain(&origin, "limits: { buffer: 4KiB }", &[("a", "{ response_body: [body-buffer] }")]);
    let mut client = proxy.client();

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let outcome = client.try_answer();

    assert!(outcome.is_err(), "{outcome:?}");
}

#[test]
fn a_filter_that_never_continues_is_given_up() {
    let origin = Origin::answering(ok("x"));
    for callback in ["request_headers", "request_body", "response_headers", "response_body"] {
        let config = format!("{{ {callback}: [pause] }}");
        let proxy = chain(&origin, "limits: { stream_idle_timeout: 300ms }", &[("a", &config)]);

        let answer = proxy.post("/", "", "body");

        assert_eq!(answer.status(), 504, "{callback}");
    }
}

#[test]
fn a_client_that_leaves_ends_the_pause_of_a_filter() {
    let (origin, proxy) = probe("{ request_headers: [pause] }", ok("x"));
    let calls = |phase: &str| proxy.metric("tollgate_filter_calls_total", &[&format!("phase=\"{phase}\"")]);

    h2::talk(proxy.address(), |mut sender| async move {
        let left = tokio::time::timeout(std::time::Duration::from_millis(200), sender.send_request(h2::get("/"))).await;
        assert!(left.is_err(), "{left:?}");
    });

    until("the filter was told of the end", || calls("request_headers") == 1.0 && calls("log") == 1.0);
    proxy.counts("tollgate_http_active_requests", &[], 0.0);
    assert_eq!(origin.connections(), 0);
}
