//! What filters do to the heads of an exchange, in which order, and what they may learn about it.
//! Bodies, trailers and pauses are in `filter_bodies`, failures in `containment`.

#[path = "common/common.rs"]
mod common;

use common::h2;
use common::modules::{filter, probes, probes_with};
use common::origin::Origin;
use common::proxy::TestProxy;
use http::Request;

/// A proxy whose only route runs these probes, in order, before `to`.
fn chain(to: &str, list: &[(&str, &str)]) -> TestProxy {
    chain_of(to, &probes(list), list)
}

fn chain_of(to: &str, filters: &str, list: &[(&str, &str)]) -> TestProxy {
    let names: Vec<_> = list.iter().map(|(name, _)| *name).collect();
    TestProxy::with(&format!("{filters}routes: [{{ name: main, to: {to:?}, filters: [{}] }}]", names.join(", ")))
}

/// One probe before an origin that answers 200.
fn probe(config: &str) -> (Origin, TestProxy) {
    let origin = Origin::saying("upstream");
    let proxy = chain(&origin.url(), &[("a", config)]);
    (origin, proxy)
}

#[test]
fn filters_see_a_request_in_order_and_the_answer_in_reverse() {
    let origin = Origin::saying("x");
    let says = |name: &str| {
        format!(
            "{{ request_headers: [\"add request-headers x-seen {name}\"], response_headers: [\"add response-headers x-seen {name}\"] }}"
        )
    };
    let proxy = chain(&origin.url(), &[("a", &says("a")), ("b", &says("b")), ("c", &says("c"))]);

    let answer = proxy.get("/");

    assert_eq!(origin.request().all("x-seen"), ["a", "b", "c"]);
    assert_eq!(answer.all("x-seen"), ["c", "b", "a"]);
}

#[test]
fn filters_of_a_listener_run_before_those_of_a_route() {
    let origin = Origin::saying("x");
    let says = |name| format!("{{ request_headers: [\"add request-headers x-seen {name}\"] }}");
    let proxy = TestProxy::with(&format!(
        "{}listeners: [{{ listen: \"127.0.0.1:0\", filters: [a], routes: [{{ to: {:?}, filters: [b] }}] }}]",
        probes(&[("b", &says("b")), ("a", &says("a"))]),
        origin.url()
    ));

    proxy.get("/");

    assert_eq!(origin.request().all("x-seen"), ["a", "b"]);
}

#[test]
fn one_module_runs_twice_with_two_configurations() {
    let (origin, module) = (Origin::saying("x"), filter("headers"));
    let proxy = TestProxy::with(&format!(
        "routes:\n- to: {:?}\n  filters:\n\
         \x20 - {{ wasm: {module:?}, config: {{ request: {{ set: {{ x-a: one }} }} }} }}\n\
         \x20 - {{ wasm: {module:?}, config: {{ request: {{ set: {{ x-b: two }} }}, response: {{ remove: [server] }} }} }}\n",
        origin.url()
    ));

    proxy.get("/");

    let request = origin.request();
    assert_eq!((request.field("x-a"), request.field("x-b")), (Some("one"), Some("two")));
}

#[test]
fn a_header_gets_another_name_and_one_that_is_not_there_none() {
    let (origin, module) = (Origin::saying("x"), filter("headers"));
    let side = "{ copy: { x-new: x-old, x-none: x-absent }, remove: [x-old] }";
    let proxy = TestProxy::with(&format!(
        "filters: [{{ wasm: {module:?}, config: {{ request: {side} }} }}]\nroutes: [{{ to: {:?} }}]",
        origin.url()
    ));

    proxy.ask("/", "x-old: value\r\n");

    let request = origin.request();
    assert_eq!((request.all("x-new"), request.all("x-old"), request.field("x-none")), (vec!["value"], vec![], None));
}

#[test]
fn an_api_key_is_asked_for_before_the_origin_is() {
    let (origin, module) = (Origin::saying("x"), filter("api_key"));
    let proxy = TestProxy::with(&format!(
        "filters: [{{ wasm: {module:?}, config: {{ keys: {{ app: secret }} }} }}]\nroutes: [{{ to: {:?} }}]",
        origin.url()
    ));

    let statuses = ["", "x-api-key: wrong\r\n", "x-api-key: secret\r\n"].map(|lines| proxy.ask("/", lines).status());

    assert_eq!(statuses, [401, 403, 200]);
    assert_eq!((origin.request().field("x-api-client"), origin.request().field("x-api-key")), (Some("app"), None));
}

#[test]
fn a_filter_changes_method_path_and_authority() {
    let (origin, proxy) = probe(
        "{ request_headers: [\"set request-headers :method PUT\", \"set request-headers :path /new?q\", \
         \"set request-headers :authority other:81\"] }",
    );

    proxy.get("/old");

    let request = origin.request();
    assert_eq!((request.start.as_str(), request.all("host")), ("PUT /new?q HTTP/1.1", vec!["other:81"]));
}

#[test]
fn a_filter_changes_the_status_of_the_answer() {
    let (_origin, proxy) = probe("{ response_headers: [\"set response-headers :status 203\"] }");

    let answer = proxy.get("/");

    assert_eq!((answer.status(), answer.text()), (203, "upstream"));
}

#[test]
fn a_reply_to_the_request_s_head_never_reaches_the_origin() {
    let (origin, proxy) = probe("{ request_headers: [\"reply 418 short x-a=b\"] }");
    let mut client = proxy.client();

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let answers = [client.answer(), client.answer()];

    for answer in answers {
        assert_eq!((answer.status(), answer.text(), answer.field("x-a")), (418, "short", Some("b")));
        assert_eq!(answer.all("content-length"), ["5"]);
    }
    assert_eq!(origin.connections(), 0);
    proxy.counts("tollgate_filter_local_replies_total", &["filter=\"a\"", "class=\"4xx\""], 2.0);
}

#[test]
fn a_reply_to_head_has_no_body() {
    let (_origin, proxy) = probe("{ request_headers: [\"reply 403 no\"] }");
    let mut client = proxy.client();

    client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\nHEAD / HTTP/1.1\r\nhost: a\r\n\r\n");

    assert_eq!([client.answer_to_head().status(), client.answer_to_head().status()], [403, 403]);
}

#[test]
fn a_reply_to_the_answer_s_head_replaces_the_answer() {
    let (_origin, proxy) = probe("{ response_headers: [\"reply 502 hidden x-a=b\"] }");

    let answer = proxy.get("/");

    assert_eq!((answer.status(), answer.text(), answer.field("x-a")), (502, "hidden", Some("b")));
}

#[test]
fn a_reply_goes_back_through_the_filters_that_saw_the_request() {
    let origin = Origin::saying("x");
    let seen = |name| format!("response_headers: [\"add response-headers x-seen {name}\"]");
    let (a, c) = (format!("{{ {} }}", seen("a")), format!("{{ {} }}", seen("c")));
    let b = format!("{{ request_headers: [\"reply 403 no\"], {} }}", seen("b"));
    let proxy = chain(&origin.url(), &[("a", &a), ("b", &b), ("c", &c)]);

    let answer = proxy.get("/");

    assert_eq!((answer.status(), answer.all("x-seen")), (403, vec!["b", "a"]));
    assert_eq!(origin.connections(), 0);
}

#[test]
fn the_proxy_s_own_answer_goes_through_the_filters_too() {
    let refusing = common::origin::refusing();
    let config = "{ response_headers: [\"set response-headers x-seen yes\"] }";
    let proxy = chain(&format!("http://{refusing}"), &[("a", config)]);

    let answer = proxy.get("/");

    assert_eq!((answer.status(), answer.field("x-seen")), (503, Some("yes")));
}

#[test]
fn a_reply_to_grpc_is_told_in_grpc_s_words() {
    let (_origin, proxy) = probe("{ request_headers: [\"reply 403 no%20way\"] }");
    let request = Request::post("http://test/s/m").header("content-type", "application/grpc");

    let answer = h2::exchange(proxy.address(), request.body(h2::body(&["x"], &[])).unwrap());

    assert_eq!(answer.status, 200);
    assert_eq!(
        (&answer.headers["grpc-status"], &answer.headers["grpc-message"]),
        (&"7".parse().unwrap(), &"no way".parse().unwrap())
    );
}

#[test]
fn a_filter_that_closes_the_stream_ends_it_without_an_answer() {
    for callback in ["request_headers", "response_headers"] {
        let (_origin, proxy) = probe(&format!("{{ {callback}: [\"close downstream\"] }}"));
        let mut client = proxy.client();

        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");

        assert!(client.is_closed(), "{callback}");
        let outcome = h2::talk(proxy.address(), |mut sender| async move { sender.send_request(h2::get("/")).await });
        assert!(outcome.is_err(), "{callback}");
    }
}

#[test]
fn no_filter_puts_a_line_of_its_own_on_the_wire() {
    let evil = "a%0D%0Ax-evil: 1".replace(' ', "%20");
    let (origin, proxy) = probe(&format!(
        "{{ request_headers: [\"set request-headers x-a {evil}\", \"add request-headers x-b%0D%0Ax-evil: 1\", \
         \"set request-headers :path /{evil}\", \"set request-headers :authority {evil}\", \
         \"set request-headers :method G{evil}\", \"set-pairs request-headers :method=GET,:path=/,:authority=a,x-c={evil}\"], \
         response_headers: [\"set response-headers x-a {evil}\", \"add response-headers x-b%0Ax-evil: 1\", \
         \"set-pairs response-headers :status=200,x-c={evil}\"] }}"
    ));

    let answer = proxy.get("/");

    assert_eq!((answer.status(), answer.text()), (200, "upstream"));
    for message in [answer, origin.request()] {
        assert!(!format!("{message:?}").contains("evil"), "{message:?}");
    }
}

#[test]
fn no_reply_puts_a_line_of_its_own_on_the_wire() {
    let (_origin, proxy) =
        probe("{ request_headers: [\"reply 200 body x-a=a%0D%0Ax-evil:1 x-b=b content-length=9\"] }");

    let answer = proxy.get("/");

    assert_eq!((answer.status(), answer.text(), answer.all("content-length")), (200, "body", vec!["4"]));
    assert!(!format!("{answer:?}").contains("evil"), "{answer:?}");
    assert_eq!(answer.field("x-b"), Some("b"));
}

#[test]
fn framing_is_the_proxy_s_alone() {
    let set = |map: &str| {
        format!(
            "\"set {map} content-length 99\", \"add {map} transfer-encoding gzip\", \"set {map} connection close\", \
             \"add {map} upgrade x\", \"add {map} keep-alive x\", \"set {map} host evil\""
        )
    };
    let (request, response) = (set("request-headers"), set("response-headers"));
    let (origin, proxy) = probe(&format!("{{ request_headers: [{request}], response_headers: [{response}] }}"));
    let mut client = proxy.client();

    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc");
        let answer = client.answer();

        assert_eq!((answer.text(), answer.all("content-length")), ("upstream", vec!["8"]));
        assert_eq!([answer.field("transfer-encoding"), answer.field("connection"), answer.field("upgrade")], [None; 3]);
    }
    for request in origin.requests() {
        assert_eq!((request.text(), request.all("content-length"), request.all("host")), ("abc", vec!["3"], vec!["a"]));
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_filter_that_is_strict_about_mistakes_is_told_of_them() {
    let origin = Origin::saying("x");
    let config = "{ request_headers: [\"raw proxy_add_header_map_value 0 ptr:content-length ptr:9 -> request-headers x-status\"] }";
    for (settings, status) in [("guest_errors: strict", "2"), ("guest_errors: lenient", "0")] {
        let filters = probes_with(&format!("{settings}, budget: {{ time: 1s }}"), &[("a", config)]);
        let proxy = chain_of(&origin.url(), &filters, &[("a", config)]);

        proxy.get("/");

        assert_eq!(origin.requests().last().unwrap().field("x-status"), Some(status), "{settings}");
    }
}
