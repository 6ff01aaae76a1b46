//! Routes that answer themselves: what clients get, what becomes of the connection, and what filters and counters see.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use common::access::AccessLog;
use common::h2;
use common::modules::probes;
use common::origin::Origin;
use common::proxy::TestProxy;
use http::Request;

fn answering(keys: &str) -> TestProxy {
    TestProxy::with(&format!("routes:\n- {{ name: own, {keys} }}\n"))
}

#[test]
fn a_fixed_answer_has_its_status_its_headers_and_its_body() {
    let proxy = answering("respond: { status: 503, headers: { Retry-After: '60', x-a: b }, body: 'back soon' }");

    let answer = proxy.get("/");

    assert_eq!((answer.status(), answer.text()), (503, "back soon"));
    assert_eq!((answer.field("retry-after"), answer.field("x-a")), (Some("60"), Some("b")));
    assert_eq!(answer.field("content-length"), Some("9"));
    assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
}

#[test]
fn the_content_type_that_is_written_is_the_one_that_is_sent() {
    let proxy = answering("respond: { status: 200, headers: { content-type: application/json }, body: '{}' }");

    assert_eq!(proxy.get("/").all("content-type"), ["application/json"]);
}

#[test]
fn an_answer_without_a_body_says_so() {
    for (status, length) in [(204, None), (304, None), (200, Some("0")), (404, Some("0"))] {
        let proxy = answering(&format!("respond: {{ status: {status} }}"));

        let answer = proxy.get("/");

        assert_eq!((answer.status(), answer.field("content-length")), (status, length));
        assert_eq!((answer.body.len(), answer.field("content-type")), (0, None));
    }
}

#[test]
fn head_gets_the_length_and_no_body() {
    let proxy = answering("respond: { status: 200, body: hello }");
    let mut client = proxy.client();

    client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n");
    let answer = client.answer_to_head();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");

    assert_eq!((answer.status(), answer.field("content-length")), (200, Some("5")));
    assert_eq!(client.answer().text(), "hello");
}

#[test]
fn a_body_is_read_to_its_end_and_never_taken_for_the_next_request() {
    let hidden = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";
    let proxy = TestProxy::with(
        "routes:\n- { name: hidden, match: { path: /hidden }, respond: { status: 410 } }\n\
         - { match: { path: /redirect }, redirect: { path: / } }\n- { respond: { status: 403 } }\n",
    );
    for (path, status) in [("/", 403), ("/redirect", 302)] {
        let mut client = proxy.client();

        client.send(format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{hidden}", hidden.len()));
        let first = client.answer();
        let chunk = format!("{:x}\r\n{hidden}\r\n", hidden.len());
        client.send(format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
        ));
        let second = client.answer();
        client.send(format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 3000000\r\n\r\n"));
        client.send(vec![b'x'; 3_000_000]);
        let third = client.answer();
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");

        let statuses = [first.status(), second.status(), third.status(), client.answer().status()];
        assert_eq!(statuses, [status, status, status, 403], "{path}");
    }
    proxy.counts("tollgate_http_requests_total", &["route=\"hidden\""], 0.0);
}

#[test]
fn the_answer_to_a_body_that_breaks_off_is_none() {
    let proxy = answering("respond: { status: 200, body: hello }");
    let mut client = proxy.client();

    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc");
    client.end();

    assert!(client.is_closed());
    proxy.counts("tollgate_http_active_requests", &[], 0.0);
}

#[test]
fn a_redirect_keeps_the_query_and_what_it_does_not_name() {
    let proxy = TestProxy::with(
        "routes:\n- { match: { path: /tls }, redirect: { scheme: https, status: 308 } }\n\
         - { match: { path: /docs/ }, redirect: { prefix: /manual/, status: 301 } }\n\
         - { match: { host: old.local }, redirect: { host: new.local, port: 8080, path: /start, status: 303 } }\n",
    );
    let ask = |host: &str, target: &str| {
        let answer = proxy.send(format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"));
        (answer.status(), answer.field("location").unwrap_or_default().to_owned(), answer.body.len())
    };

    assert_eq!(ask("a.local:8000", "/tls/x?y=z&y"), (308, "https://a.local/tls/x?y=z&y".to_owned(), 0));
    assert_eq!(ask("a.local:8000", "/docs/x?"), (301, "http://a.local:8000/manual/x?".to_owned(), 0));
    assert_eq!(ask("OLD.local", "/any?q"), (303, "http://new.local:8080/start?q".to_owned(), 0));
    assert_eq!(ask("a.local", "http://b.local/docs"), (301, "http://b.local/manual".to_owned(), 0));
}

#[test]
fn http_2_clients_get_the_same_and_need_not_send_their_body_first() {
    let proxy = TestProxy::with(
        "routes:\n- { match: { path: /own }, respond: { status: 401, headers: { www-authenticate: Basic }, body: who } }\n\
         - { redirect: { scheme: https } }\n",
    );

    let own = h2::exchange(proxy.address(), Request::post("http://a/own").body(h2::body(&["a", "b"], &[])).unwrap());
    let moved = h2::exchange(proxy.address(), h2::get("/x?y"));

    assert_eq!(
        (own.status, &*own.body, &own.headers["www-authenticate"]),
        (401, &b"who"[..], &"Basic".parse().unwrap())
    );
    assert_eq!((moved.status, &moved.headers["location"]), (302, &"https://test/x?y".parse().unwrap()));
}

#[test]
fn filters_see_the_request_with_its_body_and_change_the_answer() {
    let filters = probes(&[(
        "f",
        "{ request_headers: [\"add request-headers x-seen 1\"], request_body: [body-len], \
           response_headers: [\"add response-headers x-after filter\"], response_body: [body-len] }",
    )]);
    for own in ["respond: { status: 200, body: hello }", "redirect: { path: /new }"] {
        let proxy = TestProxy::with(&format!("{filters}routes:\n- {{ {own}, filters: [f] }}\n"));
        let mut client = proxy.client();

        client.send("POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody");
        let answer = client.answer();
        client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n");

        assert_eq!(answer.field("x-after"), Some("filter"), "{answer:?}");
        assert_eq!(client.answer().status(), answer.status());
        let phase = |phase: &str| proxy.metric("tollgate_filter_calls_total", &[&format!("phase=\"{phase}\"")]);
        assert!(phase("request_body") > 0.0, "{}", proxy.metrics());
    }
}

#[test]
fn a_filter_that_answers_does_so_in_place_of_the_route() {
    let filters = probes(&[("f", "{ request_headers: [\"reply 418 teapot\"] }")]);
    let proxy =
        TestProxy::with(&format!("{filters}routes:\n- {{ respond: {{ status: 200, body: hello }}, filters: [f] }}\n"));

    assert_eq!(proxy.get("/").status(), 418);
}

#[test]
fn a_filter_that_answers_to_the_body_does_so_in_place_of_the_route_and_of_the_echo() {
    let filters = probes(&[("f", "{ request_body: [\"reply 418 teapot\"] }")]);
    for target in ["respond: { status: 200, body: hello }", "to: echo"] {
        let proxy = TestProxy::with(&format!("{filters}routes:\n- {{ {target}, filters: [f] }}\n"));

        assert_eq!(proxy.post("/", "", "body").status(), 418, "{target}");
    }
}

#[test]
fn a_filter_that_changes_the_path_leads_to_another_answer() {
    let filters = probes(&[("f", "{ request_headers: [\"set request-headers :path /new/x?q=1\"] }")]);
    let proxy = TestProxy::with(&format!(
        "{filters}routes:\n- {{ match: {{ path: /new }}, redirect: {{ prefix: /newer }} }}\n\
         - {{ respond: {{ status: 200 }}, filters: [f] }}\n"
    ));

    let answer = proxy.get("/old");

    assert_eq!((answer.status(), answer.field("location")), (302, Some("http://test/newer/x?q=1")));
}

#[test]
fn an_answer_of_a_route_is_counted_and_logged_like_any_other() {
    let log = AccessLog::new();
    let proxy =
        TestProxy::with(&format!("{}routes:\n- {{ name: own, respond: {{ status: 429, body: slow }} }}\n", log.yaml()));

    proxy.post("/a?b", "", "abc");

    proxy.counts("tollgate_http_requests_total", &["route=\"own\"", "cluster=\"none\"", "class=\"4xx\""], 1.0);
    let line = log.line();
    assert_eq!((&line["status"], &line["path"], &line["route"]), (&429.into(), &"/a?b".into(), &"own".into()));
    assert_eq!((&line["request_bytes"], &line["response_bytes"]), (&3.into(), &4.into()));
    assert_eq!(line.get("reason"), None);
}

#[test]
fn a_route_that_answers_connects_to_nobody() {
    let origin = Origin::saying("never");
    let proxy = TestProxy::with(&format!(
        "routes:\n- {{ match: {{ path: /x }}, respond: {{ status: 200, body: own }} }}\n- {{ to: {:?} }}\n",
        origin.url()
    ));

    assert_eq!(proxy.get("/x").text(), "own");
    assert_eq!(origin.connections(), 0);
}
