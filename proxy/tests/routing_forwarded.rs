//! What upstreams, filters and the access log are told about clients, and who is believed about that.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use common::access::AccessLog;
use common::h2;
use common::modules::probes;
use common::origin::Origin;
use common::proxy::TestProxy;
use http::Request;

/// Everything goes to an origin, through a listener with this `http`.
fn proxy(origin: &Origin, http: &str, route: &str, rest: &str) -> TestProxy {
    TestProxy::with(&format!(
        "{rest}listeners:\n- {{ name: edge, listen: '127.0.0.1:0', http: {http}, routes: [{{ to: {:?}{route} }}] }}\n",
        origin.url()
    ))
}

const LIES: &str = "x-forwarded-for: 10.9.9.9\r\nx-forwarded-host: evil\r\nx-forwarded-proto: https\r\n\
                    x-forwarded-port: 1\r\nforwarded: for=10.9.9.9\r\nx-request-id: mine\r\n";

#[test]
fn by_default_the_peer_is_told_and_nobody_is_believed() {
    let origin = Origin::saying("ok");
    let proxy = proxy(&origin, "{}", "", "");

    proxy.ask("/", LIES);
    let request = origin.request();

    assert_eq!(request.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!((request.all("x-forwarded-host"), request.all("x-forwarded-proto")), (vec!["test"], vec!["http"]));
    assert_eq!((request.field("x-forwarded-port"), request.field("forwarded")), (None, None));
    assert_eq!((request.all("x-request-id").len(), request.field("via")), (1, None));
    assert_ne!(request.field("x-request-id"), Some("mine"));
}

#[test]
fn every_request_has_a_number_of_its_own_that_filters_and_upstream_read_alike() {
    let origin = Origin::saying("ok");
    let filters = probes(&[("f", "{ response_headers: [\"property request.id -> response-headers x-id\"] }")]);
    let proxy = proxy(&origin, "{}", ", filters: [f]", &filters);

    let shown = [(); 3].map(|()| proxy.get("/").field("x-id").unwrap().to_owned());

    let sent: Vec<String> =
        origin.requests().iter().map(|request| request.field("x-request-id").unwrap().to_owned()).collect();
    assert_eq!(sent, shown);
    assert!(sent[0] != sent[1] && sent[1] != sent[2], "{sent:?}");
}

#[test]
fn a_trusted_peer_is_continued_and_the_access_log_names_its_client_beside_it() {
    let origin = Origin::saying("ok");
    let log = AccessLog::new();
    let proxy = proxy(&origin, "{ forwarded: { trusted: [127.0.0.0/8], standard: on }, via: on }", "", &log.yaml());

    let answer =
        proxy.ask("/", "x-forwarded-for: 6.6.6.6, 192.0.2.1\r\nx-forwarded-proto: https\r\nx-request-id: theirs\r\n");
    let request = origin.request();

    assert_eq!(request.all("x-forwarded-for"), ["6.6.6.6, 192.0.2.1, 127.0.0.1"]);
    assert_eq!((request.field("x-forwarded-proto"), request.field("x-request-id")), (Some("https"), Some("theirs")));
    assert_eq!(request.all("forwarded"), ["for=127.0.0.1;host=\"test\";proto=http"]);
    assert_eq!((request.all("via"), answer.all("via")), (vec!["1.1 tollgate"], vec!["1.1 tollgate"]));
    let line = log.line();
    assert_eq!((&line["client_address"], &line["request_id"]), (&"192.0.2.1".into(), &"theirs".into()));
    assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
}

#[test]
fn filters_see_the_marks_and_the_peer_as_it_is() {
    let origin = Origin::saying("ok");
    let show = "property source.address -> response-headers x-source; property request.headers.x-forwarded-for -> response-headers x-for";
    let filters = probes(&[("f", &format!("{{ response_headers: [{show:?}] }}"))]);
    let proxy = proxy(&origin, "{ forwarded: { hops: 1 } }", ", filters: [f]", &filters);

    let answer = proxy.ask("/", "x-forwarded-for: 192.0.2.1\r\n");

    assert_eq!(answer.field("x-for"), Some("192.0.2.1, 127.0.0.1"));
    assert!(answer.field("x-source").unwrap().starts_with("127.0.0.1:"), "{answer:?}");
}

#[test]
fn a_route_is_chosen_by_the_marks_and_not_by_what_a_stranger_says() {
    let proxy = TestProxy::with(
        "routes:\n- { match: { headers: { x-forwarded-proto: https } }, respond: { status: 200, body: tls } }\n\
         - { match: { headers: { x-forwarded-for: 127.0.0.1 } }, respond: { status: 200, body: plain } }\n",
    );

    assert_eq!(proxy.ask("/", "x-forwarded-proto: https\r\n").text(), "plain");
}

#[test]
fn switched_off_nothing_is_told_and_strangers_are_not_passed_on() {
    let origin = Origin::saying("ok");
    let proxy = proxy(&origin, "{ forwarded: { for: off }, request_id: off }", "", "");

    proxy.ask("/", "x-forwarded-for: 10.9.9.9\r\nforwarded: for=10.9.9.9\r\nx-request-id: mine\r\n");
    let request = origin.request();

    assert!(request.fields.iter().all(|(name, _)| !name.contains("forwarded")), "{request:?}");
    assert_eq!(request.field("x-request-id"), Some("mine"));
}

#[test]
fn names_with_underscores_are_refused_from_strangers_and_the_connection_ends() {
    let origin = Origin::saying("ok");
    let strict = proxy(&origin, "{}", "", "");
    let mut client = strict.client();

    client.send("GET / HTTP/1.1\r\nhost: a\r\nx_forwarded_for: 10.9.9.9\r\n\r\n");
    let refused = client.answer();

    assert_eq!((refused.status(), refused.field("connection")), (400, Some("close")));
    assert!(client.is_closed());
    assert_eq!(origin.connections(), 0);
}

#[test]
fn names_with_underscores_are_left_out_or_passed_where_it_is_said() {
    for (underscores, got) in [("drop", None), ("allow", Some("1"))] {
        let origin = Origin::saying("ok");
        let proxy = proxy(&origin, &format!("{{ underscores: {underscores} }}"), "", "");

        proxy.ask("/", "x_a: 1\r\nx-b: 2\r\n");

        assert_eq!((origin.request().field("x_a"), origin.request().field("x-b")), (got, Some("2")));
    }
}

#[test]
fn http_2_requests_are_marked_alike() {
    let origin = Origin::saying("ok");
    let proxy = proxy(&origin, "{ via: on }", "", "");
    let request = Request::get("http://api.local:81/").header("x-forwarded-for", "10.9.9.9").body(h2::body(&[], &[]));

    let answer = h2::exchange(proxy.address(), request.unwrap());
    let sent = origin.request();
    let refused =
        h2::exchange(proxy.address(), Request::get("http://a/").header("x_a", "1").body(h2::body(&[], &[])).unwrap());

    assert_eq!((sent.all("x-forwarded-for"), sent.all("x-forwarded-host")), (vec!["127.0.0.1"], vec!["api.local:81"]));
    assert_eq!((sent.all("via"), &answer.headers["via"]), (vec!["2 tollgate"], &"1.1 tollgate".parse().unwrap()));
    assert_eq!(refused.status, 400);
}
