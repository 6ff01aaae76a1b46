//! Routes with several targets, routes with bounds of their own, and listeners with very many routes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use common::client::Client;
use common::h2;
use common::modules::probes;
use common::origin::Origin;
use common::proxy::TestProxy;

/// A proxy whose only route shares exchanges among origins that answer with their names.
fn shared(weights: &[(&str, u32)], route: &str, rest: &str) -> (Vec<Origin>, TestProxy) {
    let origins: Vec<Origin> = weights.iter().map(|(name, _)| Origin::saying(name)).collect();
    let named = || weights.iter().zip(&origins);
    let clusters: String =
        named().map(|((name, _), origin)| format!("  {name}: {{ hosts: ['{}'] }}\n", origin.address())).collect();
    let to: Vec<String> = weights.iter().map(|(name, weight)| format!("{name}: {weight}")).collect();
    let proxy = TestProxy::with(&format!(
        "{rest}clusters:\n{clusters}routes:\n- {{ name: r, to: {{ {} }}{route} }}\n",
        to.join(", ")
    ));
    (origins, proxy)
}

fn answers(proxy: &TestProxy, number: usize) -> Vec<String> {
    let mut client = proxy.client();
    let ask = |_| {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        client.answer().text().to_owned()
    };
    (0..number).map(ask).collect()
}

#[test]
fn every_target_gets_its_share_evenly_spread() {
    let (_origins, proxy) = shared(&[("a", 5), ("b", 1), ("c", 1)], "", "");

    let answers = answers(&proxy, 14);

    assert_eq!(answers.concat(), "aabacaaaabacaa");
}

#[test]
fn a_target_of_no_weight_gets_nothing() {
    let (origins, proxy) = shared(&[("a", 1), ("b", 0), ("c", 1)], "", "");

    let answers = answers(&proxy, 6);

    assert_eq!((answers.concat().as_str(), origins[1].connections()), ("acacac", 0));
}

#[test]
fn each_target_is_counted_under_its_own_name() {
    let (_origins, proxy) = shared(&[("a", 3), ("b", 1)], "", "");

    answers(&proxy, 8);

    for (cluster, count) in [("a", 6.0), ("b", 2.0)] {
        let label = format!("cluster=\"{cluster}\"");
        proxy.counts("tollgate_http_requests_total", &["route=\"r\"", &label], count);
    }
    assert!(!proxy.metrics().contains("route=\"r\",cluster=\"none\""));
}

#[test]
fn a_filter_that_changes_the_path_within_the_route_keeps_its_target() {
    let filters = probes(&[("f", "{ request_headers: [\"set request-headers :path /other\"] }")]);
    let (_origins, proxy) = shared(&[("a", 1), ("b", 1)], ", filters: [f]", &filters);

    assert_eq!(answers(&proxy, 4).concat(), "abab");
}

#[test]
fn http_2_takes_turns_like_any_other() {
    let (_origins, proxy) = shared(&[("a", 1), ("b", 1)], "", "");

    let bodies = [(); 4].map(|()| h2::exchange(proxy.address(), h2::get("/")).body);

    assert_eq!(bodies.concat(), b"abab");
}

#[test]
fn the_idle_timeout_of_a_route_holds_in_place_of_the_listeners() {
    let stalling = Origin::scripted(|peer| {
        peer.request()?;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")?;
        peer.wait_for_end()
    });
    let proxy = TestProxy::with(&format!("routes:\n- {{ name: r, to: {:?}, idle_timeout: 200ms }}\n", stalling.url()));
    let mut client = proxy.client();

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let ended = client.try_answer();

    assert!(ended.is_err(), "{ended:?}");
    proxy.counts("tollgate_http_active_requests", &[], 0.0);
}

/// A client that has sent half of a request for `path`.
fn half(proxy: &TestProxy, path: &str) -> Client {
    let mut client = proxy.client();
    client.send(format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab"));
    client
}

#[test]
fn the_request_timeout_of_a_route_holds_in_place_of_the_listeners() {
    let origin = Origin::saying("late");
    let route = format!("to: {:?}, request_timeout: 50ms", origin.url());
    let proxy = TestProxy::with(&format!("routes: [{{ {route} }}]\n"));

    assert_eq!(half(&proxy, "/").answer().status(), 408);
}

#[test]
fn a_longer_request_timeout_and_a_stream_outlast_the_one_of_the_listener() {
    let origin = Origin::saying("late");
    let proxy = TestProxy::with(&format!(
        "limits: {{ request_timeout: 50ms }}\nroutes:\n\
         - {{ match: {{ path: /stream }}, to: {to:?}, stream: true }}\n\
         - {{ match: {{ path: /long }}, to: {to:?}, request_timeout: 1h }}\n\
         - {{ to: {to:?} }}\n",
        to = origin.url()
    ));
    let (mut stream, mut long) = (half(&proxy, "/stream"), half(&proxy, "/long"));
    proxy.counts("tollgate_http_active_requests", &[], 2.0);

    // It comes last and is ended, so for those before it the time of the listener is over as well.
    let limited = half(&proxy, "/").answer().status();
    stream.send("cd");
    long.send("cd");

    assert_eq!(limited, 408);
    assert_eq!((stream.answer().text(), long.answer().text()), ("late", "late"));
}

/// A listener with so many routes that they are made when they are asked for.
fn many(number: usize, more: &str) -> String {
    let routes: String = (0..number)
        .map(|n| format!("- {{ name: r{n}, match: {{ path: /r/{n} }}, respond: {{ status: 200, body: 'r{n}' }} }}\n"))
        .collect();
    format!("routes:\n{more}{routes}")
}

#[test]
fn of_very_many_routes_each_is_found_and_counted_from_its_first_exchange_on() {
    let proxy = TestProxy::with(&many(5_000, ""));

    let texts = [0, 1, 2_500, 4_999].map(|n| proxy.get(&format!("/r/{n}/x")).text().to_owned());

    assert_eq!(texts, ["r0", "r1", "r2500", "r4999"]);
    proxy.counts("tollgate_http_requests_total", &["route=\"r2500\"", "class=\"2xx\""], 1.0);
    assert!(!proxy.metrics().contains("route=\"r17\""));
}

#[test]
fn what_a_route_of_very_many_counted_outlives_a_reload() {
    let proxy = TestProxy::with(&many(5_000, ""));
    let counted = |count| proxy.counts("tollgate_http_requests_total", &["route=\"r7\"", "class=\"2xx\""], count);
    proxy.get("/r/7");
    counted(1.0);

    proxy.configure(&many(5_000, "- { match: { path: /new }, respond: { status: 201 } }\n")).unwrap();
    let fresh = proxy.get("/new");
    proxy.get("/r/7");

    assert_eq!(fresh.status(), 201);
    counted(2.0);
}

#[test]
fn filters_run_on_routes_that_are_made_when_they_are_asked_for() {
    let filters = probes(&[("f", "{ response_headers: [\"add response-headers x-seen f\"] }")]);
    let routes = many(2_000, "- { match: { path: /filtered }, to: echo, filters: [f] }\n");
    let proxy = TestProxy::with(&format!("{filters}{routes}"));

    assert_eq!(proxy.get("/filtered").all("x-seen"), ["f"]);
}
