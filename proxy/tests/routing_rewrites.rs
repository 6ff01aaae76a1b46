//! What upstreams get in place of what clients asked for, and clients in place of what upstreams said.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use common::access::AccessLog;
use common::h2;
use common::modules::probes;
use common::origin::Origin;
use common::proxy::TestProxy;

/// One route with these keys to an origin, under these keys of a listener.
fn proxy(origin: &Origin, listener: &str, route: &str) -> TestProxy {
    TestProxy::with(&format!(
        "listeners:\n- {{ name: edge, listen: '127.0.0.1:0'{listener}, routes: [{{ name: r, to: {:?}, {route} }}] }}\n",
        origin.url()
    ))
}

#[test]
fn the_upstream_is_asked_for_the_rewritten_path_with_the_clients_query() {
    for (route, asked, got) in [
        ("match: { path: /v1/ }, rewrite: { path: /api/ }", "/v1/a/b?c=d", "/api/a/b?c=d"),
        ("match: { path: /v1 }, rewrite: { path: / }", "/v1?c", "/?c"),
        ("match: { path: /v1 }, rewrite: { path: / }", "/v1/a", "/a"),
        ("match: { exact: /v1 }, rewrite: { path: /v2/ }", "/v1?c", "/v2/?c"),
        ("rewrite: { path: /under }", "/a", "/under/a"),
        (
            "match: { regex: '^/u/' }, rewrite: { regex: { pattern: '^/u/([0-9]+)', with: /user/$1 } }",
            "/u/7/x?y",
            "/user/7/x?y",
        ),
        ("rewrite: { regex: { pattern: '/+', with: / } }", "/a//b///c", "/a/b/c"),
        ("rewrite: { regex: { pattern: '^/(a)', with: '/$${1}x' } }", "/a/b", "/ax/b"),
    ] {
        let origin = Origin::saying("ok");
        let proxy = proxy(&origin, "", route);

        assert_eq!(proxy.get(asked).status(), 200, "{route}");
        assert_eq!(origin.request().target(), got, "{route}");
    }
}

#[test]
fn a_rewritten_host_is_what_the_upstream_gets() {
    let origin = Origin::saying("ok");
    let proxy = proxy(&origin, "", "rewrite: { host: 'App.Local:8080' }");

    proxy.get("/a");
    let request = origin.request();

    assert_eq!((request.all("host"), request.target()), (vec!["app.local:8080"], "/a"));
    assert_eq!(request.field("x-forwarded-host"), Some("test"));
}

#[test]
fn a_path_that_a_rewrite_makes_impossible_is_not_sent() {
    let origin = Origin::saying("ok");
    let proxy = proxy(&origin, "", "rewrite: { regex: { pattern: '^/bad', with: 'no path' } }");

    assert_eq!(proxy.get("/bad").status(), 500);
    assert_eq!(proxy.get("/good").status(), 200);
    assert_eq!(origin.request().target(), "/good");
}

#[test]
fn filters_and_the_access_log_see_what_the_client_asked_for() {
    let origin = Origin::saying("ok");
    let log = AccessLog::new();
    let show = "property request.path -> response-headers x-path; property request.host -> response-headers x-host";
    let filters = probes(&[("f", "{}")]);
    let proxy = TestProxy::with(&format!(
        "{filters}{}\
         routes:\n- {{ match: {{ path: /v1 }}, to: {:?}, rewrite: {{ path: /v2, host: inside }}, filters: [f] }}\n",
        log.yaml(),
        origin.url()
    ));

    let answer = proxy.ask("/v1/x?y", &format!("x-probe-response-headers: {show}\r\n"));

    assert_eq!((answer.field("x-path"), answer.field("x-host")), (Some("/v1/x?y"), Some("test")));
    let request = origin.request();
    assert_eq!((request.target(), request.field("host")), ("/v2/x?y", Some("inside")));
    let line = log.line();
    assert_eq!((&line["path"], &line["authority"]), (&"/v1/x?y".into(), &"test".into()));
}

#[test]
fn a_path_that_a_filter_changed_is_rewritten_by_the_route_it_leads_to() {
    let origin = Origin::saying("ok");
    let filters = probes(&[("f", "{ request_headers: [\"set request-headers :path /new/x\"] }")]);
    let proxy = TestProxy::with(&format!(
        "{filters}routes:\n- {{ match: {{ path: /new }}, to: {to:?}, rewrite: {{ path: /newer }} }}\n\
         - {{ match: {{ path: /old }}, to: {to:?}, rewrite: {{ path: /older }}, filters: [f] }}\n",
        to = origin.url()
    ));

    proxy.get("/old/x");

    assert_eq!(origin.request().target(), "/newer/x");
}

#[test]
fn headers_of_the_listener_are_changed_before_those_of_the_route() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nserver: secret\r\nx-both: origin\r\nvary: accept\r\n\r\nok",
    );
    let proxy = proxy(
        &origin,
        ", headers: { request: { set: { x-a: listener, x-b: listener }, remove: [cookie] }, \
           response: { remove: [Server], set: { x-both: listener } } }",
        "headers: { request: { set: { x-a: route }, add: { x-c: '2' } }, response: { add: { Vary: origin, x-both: route } } }",
    );

    let answer = proxy.ask("/", "x-a: client\r\nx-a: client\r\nx-c: 1\r\ncookie: a=b\r\n");
    let request = origin.request();

    assert_eq!((request.all("x-a"), request.all("x-b")), (vec!["route"], vec!["listener"]));
    assert_eq!((request.all("x-c"), request.field("cookie")), (vec!["1", "2"], None));
    assert_eq!((answer.field("server"), answer.all("x-both")), (None, vec!["listener", "route"]));
    assert_eq!(answer.all("vary"), ["accept", "origin"]);
}

#[test]
fn headers_are_changed_after_the_filters_both_ways() {
    let origin = Origin::saying("ok");
    let filters = probes(&[(
        "f",
        "{ request_headers: [\"set request-headers x-last filter\"], response_headers: [\"set response-headers x-last filter\"] }",
    )]);
    let proxy = TestProxy::with(&format!(
        "{filters}routes:\n- {{ to: {:?}, filters: [f], headers: {{ request: {{ set: {{ x-last: route }} }}, \
         response: {{ set: {{ x-last: route }} }} }} }}\n",
        origin.url()
    ));

    let answer = proxy.get("/");

    assert_eq!((origin.request().all("x-last"), answer.all("x-last")), (vec!["route"], vec!["route"]));
}

#[test]
fn answers_of_the_proxy_and_of_filters_have_the_headers_of_the_listener_too() {
    let filters = probes(&[("f", "{ request_headers: [\"reply 418 teapot\"] }")]);
    let proxy = TestProxy::with(&format!(
        "{filters}listeners:\n- name: edge\n  listen: '127.0.0.1:0'\n  headers: {{ response: {{ set: {{ x-safe: '1' }} }} }}\n\
         \x20 routes:\n  - {{ match: {{ path: /echo }}, to: echo }}\n\
         \x20 - {{ match: {{ path: /own }}, respond: {{ status: 200 }} }}\n\
         \x20 - {{ match: {{ path: /filter }}, to: echo, filters: [f] }}\n\
         \x20 - {{ match: {{ path: /dead }}, to: 'http://127.0.0.1:1' }}\n"
    ));

    for (path, status) in [("/echo", 200), ("/own", 200), ("/filter", 418), ("/dead", 503), ("/nowhere", 404)] {
        let answer = proxy.get(path);

        assert_eq!((answer.status(), answer.all("x-safe")), (status, vec!["1"]), "{path}");
    }
}

#[test]
fn http_2_is_rewritten_and_edited_alike() {
    let origin = Origin::saying("ok");
    let proxy = proxy(
        &origin,
        "",
        "match: { path: /v1 }, rewrite: { path: /v2, host: inside }, headers: { response: { set: { x-a: b } } }",
    );

    let answer = h2::exchange(proxy.address(), h2::get("/v1/x?y"));
    let request = origin.request();

    assert_eq!((request.target(), request.field("host")), ("/v2/x?y", Some("inside")));
    assert_eq!(answer.headers["x-a"], "b");
}
