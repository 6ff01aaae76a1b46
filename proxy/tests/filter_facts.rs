//! What filters may learn about an exchange, keep beside it, and tell about it: properties, shared data, metrics, log lines.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use common::modules::{probes, probes_with};
use common::origin::{Origin, ok};
use common::proxy::TestProxy;
use common::{log, until};

/// A route named `main` with one probe named `a`.
fn proxy(to: &str, config: &str) -> TestProxy {
    TestProxy::with(&format!("{}routes: [{{ name: main, to: {to:?}, filters: [a] }}]", probes(&[("a", config)])))
}

/// The command that shows a property in a header of the same name.
fn show(property: &str, map: &str) -> String {
    format!("\"property {property} -> {map} x-{}\"", property.replace(['.', '_'], "-"))
}

/// Bytes that the probe shows as a number: eight of them, least first.
fn number(shown: &str) -> u64 {
    let digits = shown.strip_prefix("0x").unwrap_or_else(|| panic!("{shown} is no number"));
    u64::from_str_radix(digits, 16).unwrap().swap_bytes()
}

#[test]
fn a_filter_learns_the_request() {
    let origin = Origin::saying("x");
    let texts =
        ["request.path", "request.url_path", "request.query", "request.method", "request.host", "request.scheme"];
    let more = ["request.protocol", "request.useragent", "request.id", "request.headers.x-a"];
    let list: Vec<_> = texts.iter().chain(&more).map(|property| show(property, "request-headers")).collect();
    let proxy = proxy(&origin.url(), &format!("{{ request_headers: [{}] }}", list.join(", ")));

    proxy.ask("/a/b?c=d", "user-agent: test\r\nx-request-id: 7\r\nx-a: 1\r\nx-a: 2\r\n");

    let request = origin.request();
    let shown = |name: &str| request.field(&format!("x-request-{name}")).unwrap().to_owned();
    assert_eq!(
        ["path", "url-path", "query", "method", "host", "scheme", "protocol", "useragent", "headers-x-a"].map(shown),
        ["/a/b?c=d", "/a/b", "c=d", "GET", "test", "http", "HTTP/1.1", "test", "1,2"]
    );
    // A stranger's number is not believed; the request has one of its own.
    assert_eq!(shown("id").len(), 36);
}

#[test]
fn a_filter_learns_where_it_runs() {
    let origin = Origin::saying("x");
    let names = ["plugin_name", "plugin_root_id", "plugin_vm_id", "route_name", "listener_name", "cluster_name"];
    let list: Vec<_> = names.iter().map(|property| show(property, "request-headers")).collect();
    let filters = probes_with(
        "root_id: root, vm_id: vm, budget: { time: 1s }",
        &[("a", &format!("{{ request_headers: [{}] }}", list.join(", ")))],
    );
    let proxy = TestProxy::with(&format!(
        "{filters}clusters: {{ app: {{ hosts: [{:?}] }} }}\n\
         listeners: [{{ name: edge, listen: \"127.0.0.1:0\", routes: [{{ name: main, to: app, filters: [a] }}] }}]",
        origin.address().to_string()
    ));

    proxy.get("/");

    let request = origin.request();
    let shown = names.map(|name| request.field(&format!("x-{}", name.replace('_', "-"))).unwrap_or_default());
    assert_eq!(shown, ["a", "root", "vm", "main", "edge", "app"]);
}

#[test]
fn a_filter_learns_who_talks_to_whom() {
    let origin = Origin::saying("x");
    let list = ["source.address", "source.port", "destination.address", "connection.id"]
        .map(|name| show(name, "request-headers"));
    let answer =
        ["upstream.address", "response.code", "response.backend_latency"].map(|name| show(name, "response-headers"));
    let config = format!("{{ request_headers: [{}], response_headers: [{}] }}", list.join(", "), answer.join(", "));
    let proxy = proxy(&origin.url(), &config);
    let mut client = proxy.client();
    let source = client.stream().local_addr().unwrap();

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let answer = client.answer();

    let request = origin.request();
    assert_eq!(request.field("x-source-address"), Some(source.to_string().as_str()));
    assert_eq!(number(request.field("x-source-port").unwrap()), u64::from(source.port()));
    assert_eq!(request.field("x-destination-address"), Some(proxy.address().to_string().as_str()));
    assert_eq!(answer.field("x-upstream-address"), Some(origin.address().to_string().as_str()));
    assert_eq!(number(answer.field("x-response-code").unwrap()), 200);
    // In nanoseconds: more than nothing, less than the test may take.
    let latency = number(answer.field("x-response-backend-latency").unwrap());
    assert!((1..20_000_000_000).contains(&latency), "{latency}");
}

#[test]
fn a_filter_learns_the_sizes_of_both_bodies_when_it_logs() {
    log::keep();
    let origin = Origin::saying("answer");
    let config = "{ log: [\"log info sizes-follow\", \"property request.size\", \"property response.size\"] }";
    let proxy = proxy(&origin.url(), config);

    let answer = proxy.send(
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );

    assert_eq!(answer.text(), "answer");
    until("the sizes are logged", || !log::lines_with("property response.size = ").is_empty());
    let shown = |property: &str| log::lines_with(&format!("property {property} = ")).concat();
    assert!(shown("request.size").contains("= 0x0300000000000000"), "{}", shown("request.size"));
    assert!(shown("response.size").contains("= 0x0600000000000000"), "{}", shown("response.size"));
}

#[test]
fn a_property_that_a_filter_sets_is_seen_by_the_next() {
    let origin = Origin::saying("x");
    let filters = probes(&[
        ("a", "{ request_headers: [\"set-property my.own value\"] }"),
        ("b", "{ request_headers: [\"property my.own -> request-headers x-own\"] }"),
    ]);
    let proxy = TestProxy::with(&format!("{filters}routes: [{{ to: {:?}, filters: [a, b] }}]", origin.url()));

    proxy.get("/");

    assert_eq!(origin.request().field("x-own"), Some("value"));
}

#[test]
fn filters_of_one_vm_id_share_data_and_others_do_not() {
    let origin = Origin::saying("x");
    let get = "{ request_headers: [\"shared-get key -> request-headers x-got\"] }";
    let with =
        |vm_id: &str, list: &[(&str, &str)]| probes_with(&format!("vm_id: {vm_id}, budget: {{ time: 1s }}"), list);
    let together = with("one", &[("set", "{ request_headers: [\"shared-set key value\"] }"), ("same", get)]);
    let apart = with("two", &[("other", get)]);
    let route = |name| format!("- {{ match: {{ path: /{name} }}, to: {:?}, filters: [{name}] }}\n", origin.url());
    let proxy = TestProxy::with(&format!(
        "{together}{}workers: 2\nroutes:\n{}",
        apart.trim_start_matches("filters:\n"),
        ["set", "same", "other"].map(route).concat()
    ));

    for path in ["/set", "/same", "/other"] {
        proxy.get(path);
    }

    let got: Vec<_> = origin.requests().iter().map(|request| request.field("x-got").map(str::to_owned)).collect();
    assert_eq!(got, [None, Some("value".to_owned()), Some("status 1".to_owned())]);
}

#[test]
fn what_a_filter_counts_is_on_the_page_of_metrics() {
    let origin = Origin::saying("x");
    let config =
        "{ request_headers: [\"metric counter hits 2\", \"metric gauge level 7\", \"metric histogram spread 5\"] }";
    let proxy = proxy(&origin.url(), config);

    (0..3).for_each(|_| drop(proxy.get("/")));

    let a = &["filter=\"a\""];
    assert_eq!(
        proxy.metric("tollgate_guest_hits", a) + proxy.metric("tollgate_guest_hits_total", a),
        6.0,
        "{}",
        proxy.metrics()
    );
    assert_eq!(proxy.metric("tollgate_guest_level", a), 7.0);
    assert_eq!(proxy.metric("tollgate_guest_spread_count", a), 3.0);
}

#[test]
fn the_labels_of_a_filter_s_metric_are_on_the_page_in_either_spelling() {
    let origin = Origin::saying("x");
    let config = r#"{ request_headers: ["metric counter hits%3Bzone=b%3Btenant=a 2", 'metric counter hits{tenant="a",zone="b"} 3', "metric counter hits 1"] }"#;
    let proxy = proxy(&origin.url(), config);

    (0..2).for_each(|_| drop(proxy.get("/")));

    let page = proxy.metrics();
    for line in ["{filter=\"a\",tenant=\"a\",zone=\"b\"} 10", "{filter=\"a\"} 2"] {
        assert!(page.contains(&format!("\ntollgate_guest_hits{line}\n")), "{line}\n{page}");
    }
}

#[test]
fn a_metric_with_unreadable_labels_counts_nowhere_warns_once_and_costs_nothing_else() {
    log::keep();
    let origin = Origin::saying("x");
    let config = r#"{ request_headers: ["metric counter odd%3Bfilter=me 2", "metric-get counter odd%3Bfilter=me", "metric gauge odder%3Bx 1", "metric counter even 1"] }"#;
    let proxy = proxy(&origin.url(), config);

    (0..3).for_each(|_| assert_eq!(proxy.get("/").status(), 200));

    assert_eq!(proxy.metric("tollgate_guest_even", &["filter=\"a\""]), 3.0);
    assert!(!proxy.metrics().contains("tollgate_guest_odd"));
    assert_eq!(proxy.metric("tollgate_metrics_dropped_total", &["filter=\"a\""]), 2.0);
    let warned = log::lines_with("labels cannot be read");
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("WARN") && warned[0].contains("odd;filter=me"), "{warned:?}");
}

/// What `proxy` gives, with quotas.
fn bounded(quota: &str, config: &str) -> TestProxy {
    let filters = probes_with(&format!("quota: {{ {quota} }}, budget: {{ time: 1s }}"), &[("a", config)]);
    TestProxy::with(&format!("{filters}routes: [{{ to: echo, filters: [a] }}]"))
}

#[test]
fn metrics_over_their_quota_count_nowhere_and_are_counted() {
    let define = ["metric counter many 1", "metric counter many%3Bat=1 1", "metric gauge one 1", "metric gauge two 1"];
    let proxy = bounded("metric_series: 3", &serde_json::json!({ "configure": define }).to_string());

    assert_eq!(proxy.get("/").status(), 200);

    let shown = |name| proxy.metrics().lines().filter(|line| line.starts_with(name)).count();
    assert_eq!((shown("tollgate_guest_many{"), shown("tollgate_guest_one{"), shown("tollgate_guest_two{")), (2, 1, 0));
    // Each VM asks again: the worker's and the one to spare.
    assert_eq!(proxy.metric("tollgate_filter_quota_exceeded_total", &["filter=\"a\"", "quota=\"metric_series\""]), 2.0);
}

#[test]
fn lines_over_their_quota_are_dropped_and_counted_and_long_ones_cut() {
    log::keep();
    let lines = ["log warn quota-é-one", "log warn quota-é-two", "log warn quota-é-three", "log warn quota-é-four"];
    let config = serde_json::json!({ "request_headers": lines }).to_string();
    let proxy = bounded("log_burst: 2, log_lines: 1, log_line: 7B", &config);

    assert_eq!(proxy.get("/").status(), 200);

    // A line comes back each second that the callback takes.
    let a = "filter=\"a\"";
    let dropped = proxy.metric("tollgate_filter_log_lines_dropped_total", &[a]);
    assert!((1.0..=2.0).contains(&dropped), "{dropped}");
    assert_eq!(proxy.metric("tollgate_filter_quota_exceeded_total", &[a, "quota=\"log\""]), dropped);
    let logged = log::lines_with("quota-");
    assert!(logged[0].contains(": quota- … 6 bytes more filter="), "{logged:?}");
}

#[test]
fn a_fresh_vm_has_what_the_one_before_left_of_the_quota_of_lines() {
    for settings in ["isolation: request", "on_error: skip"] {
        let config = "{ request_headers: [\"log warn once-each\", trap] }";
        let settings = format!("quota: {{ log_burst: 2, log_lines: 1 }}, budget: {{ time: 1s }}, {settings}");
        let filters = probes_with(&settings, &[("a", config)]);
        let proxy = TestProxy::with(&format!("{filters}routes: [{{ to: echo, filters: [a] }}]"));

        (0..20).for_each(|_| drop(proxy.get("/")));

        let dropped = proxy.metric("tollgate_filter_log_lines_dropped_total", &["filter=\"a\""]);
        assert!(dropped > 0.0, "{settings}");
    }
}

#[test]
fn lines_below_the_level_of_the_log_take_nothing_from_its_quota() {
    log::keep();
    let mut lines = vec!["log trace unseen"; 50];
    lines.push("log warn seen-after-all");
    let config = serde_json::json!({ "request_headers": lines }).to_string();
    let proxy = bounded("log_burst: 2, log_lines: 1", &config);

    assert_eq!(proxy.get("/").status(), 200);

    assert_eq!(proxy.metric("tollgate_filter_log_lines_dropped_total", &["filter=\"a\""]), 0.0);
    assert_eq!(log::lines_with("seen-after-all").len(), 1);
}

#[test]
fn a_filter_s_line_is_logged_under_its_name() {
    log::keep();
    let origin = Origin::saying("x");
    let proxy = proxy(&origin.url(), "{ request_headers: [\"log warn mind%0Athe%0D%1Bgap\"] }");

    proxy.get("/");

    let lines = log::lines_with("mind");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("filter=\"a\""), "{lines:?}");
    assert!(lines[0].contains("mind\\nthe\\r"), "{lines:?}");
}

#[test]
fn every_exchange_is_ended_for_its_filter_once() {
    let origin = Origin::answering(ok("x"));
    let proxy = proxy(&origin.url(), "{ request_headers: [] }");
    let mut client = proxy.client();

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(5));
    (0..5).for_each(|_| drop(client.answer()));

    // The end of an exchange is one call with three callbacks.
    for phase in ["request_headers", "response_headers", "log"] {
        proxy.counts("tollgate_filter_calls_total", &["filter=\"a\"", &format!("phase=\"{phase}\"")], 5.0);
    }
}
