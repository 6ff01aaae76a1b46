//! Every property that a filter may read, row by row of Envoy's table, read by a filter through real exchanges.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use common::modules::{probes, probes_with};
use common::origin::{Origin, ok, refusing};
use common::proxy::TestProxy;
use common::{h2, log, until};
use tollgate::app::reload::Order;
use tollgate_abi::{VecHeaderMap, pairs};

/// What a property should be.
#[derive(Debug)]
enum Want {
    Text(&'static str),
    Number(u64),
    /// At least the one, less than the other.
    Between(u64, u64),
    Truth(bool),
    Bytes(Vec<u8>),
    Map(&'static [(&'static str, &'static str)]),
    /// NOT_FOUND.
    Absent,
}

use Want::{Absent, Between, Bytes, Map, Number, Text, Truth};

/// The bytes that the probe shows as text, or in hexadecimal when they are none.
fn shown(text: &str) -> Vec<u8> {
    let Some(digits) = text.strip_prefix("0x") else { return text.as_bytes().to_vec() };
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap_or_else(|_| panic!("{bytes:?} is no number of eight bytes")))
}

/// True when what the probe says is what was wanted.
fn is(want: &Want, said: &str) -> bool {
    match want {
        Text(text) => said == *text,
        Number(value) => number(&shown(said)) == *value,
        Between(least, past) => (*least..*past).contains(&number(&shown(said))),
        Truth(truth) => shown(said) == [u8::from(*truth)],
        Bytes(bytes) => shown(said) == *bytes,
        Map(entries) => shown(said) == pairs::encode(&VecHeaderMap::new(entries.iter().copied())),
        Absent => said == "status 1",
    }
}

/// What the filter learns of `path` in a callback of a GET of `/a/b?c=d` with some fields.
fn learn(proxy: &TestProxy, origin: &Origin, callback: &str, path: &str) -> String {
    let fields = "referer: from\r\nuser-agent: test\r\nx-request-id: 7\r\nx-a: 1\r\nx-a: 2\r\n";
    let command = format!("x-probe-{callback}: property {path} -> {callback} x-value\r\n");
    let answer = proxy.ask("/a/b?c=d", &format!("{fields}{command}"));
    let value = match callback {
        "request-headers" => origin.requests().last().and_then(|request| request.field("x-value").map(str::to_owned)),
        _ => answer.field("x-value").map(str::to_owned),
    };
    value.unwrap_or_else(|| panic!("{path} was not read: {answer:?}"))
}

fn check(proxy: &TestProxy, origin: &Origin, callback: &str, rows: &[(&str, Want)]) {
    for (path, want) in rows {
        let said = learn(proxy, origin, callback, path);
        assert!(is(want, &said), "{path} is {said}, wanted {want:?}");
    }
}

/// A proxy that introduces itself, with a cluster of two endpoints that are one, and one probe named `a`.
fn proxy(origin: &Origin, config: &str) -> TestProxy {
    let address = origin.address().to_string();
    let probe = probes_with("root_id: root, vm_id: vm, budget: { time: 1s }", &[("a", config)]);
    TestProxy::with(&format!(
        "node: {{ id: n1, cluster: mesh, metadata: {{ NAME: web, WEIGHT: 2.5, MESH: true, NOTHING: null, \
         LABELS: {{ app: shop }}, PORTS: [http, 8] }} }}\n\
         {probe}clusters: {{ app: {{ hosts: [{address:?}, {address:?}] }} }}\n\
         listeners: [{{ name: edge, listen: \"127.0.0.1:0\", http: {{ request_id: off }}, routes: [\
         {{ name: main, match: {{ host: test }}, to: app, filters: [a] }}, {{ name: other, to: echo, filters: [a] }}] }}]"
    ))
}

#[test]
fn the_request_is_known_from_its_head_on() {
    let origin = Origin::saying("x");
    let proxy = proxy(&origin, "{}");
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap();
    let minute = 60_000_000_000;

    check(
        &proxy,
        &origin,
        "request-headers",
        &[
            ("request.path", Text("/a/b?c=d")),
            ("request.url_path", Text("/a/b")),
            ("request.query", Text("c=d")),
            ("request.host", Text("test")),
            ("request.scheme", Text("http")),
            ("request.method", Text("GET")),
            ("request.referer", Text("from")),
            ("request.useragent", Text("test")),
            ("request.id", Text("7")),
            ("request.protocol", Text("HTTP/1.1")),
            ("request.time", Between(now - minute, now + minute)),
            ("request.headers.x-a", Text("1,2")),
            ("request.headers.X-A", Text("1,2")),
            ("request.headers.x-none", Absent),
            ("request.size", Number(0)),
            ("request.headers_bytes", Between(100, 300)),
            ("request.total_size", Between(100, 300)),
            ("request.duration", Absent),
            ("request.trailers", Absent),
            ("request.none", Absent),
            ("request", Absent),
        ],
    );
}

#[test]
fn fields_are_a_map_in_which_a_repeated_name_is_joined() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nx-a: 1\r\nx-b: 2\r\nx-a: 3\r\ncontent-length: 1\r\n\r\nx");
    let proxy = proxy(&origin, "{ request_headers: [\"property request.headers -> response-headers x-value\"] }");

    check(
        &proxy,
        &origin,
        "response-headers",
        &[
            ("response.headers", Map(&[(":status", "200"), ("x-a", "1,3"), ("x-b", "2")])),
            ("response.headers.x-a", Text("1,3")),
            ("response.headers.x-none", Absent),
        ],
    );
    let said = learn(&proxy, &origin, "request-headers", "request.headers");
    let map = shown(&said);
    let map = pairs::decode(&map).unwrap();
    let value = |name: &str| map.iter().find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| value.to_vec());
    assert_eq!(value(":path"), Some(b"/a/b?c=d".to_vec()));
    assert_eq!(value("x-a"), Some(b"1,2".to_vec()));
    assert_eq!(map.iter().filter(|(name, _)| *name == b"x-a").count(), 1);
}

#[test]
fn a_request_without_a_query_has_an_empty_one_and_what_it_lacks_is_absent() {
    let origin = Origin::saying("x");
    let proxy = proxy(&origin, "{}");
    for (path, want) in [
        ("request.query", ""),
        ("request.referer", "status 1"),
        ("request.useragent", "status 1"),
        ("request.id", "status 1"),
    ] {
        proxy.ask("/", &format!("x-probe-request-headers: property {path} -> request-headers x-value\r\n"));
        assert_eq!(origin.requests().last().unwrap().field("x-value"), Some(want), "{path}");
    }
    let request = h2::get("/");
    let (mut parts, body) = request.into_parts();
    let command = "property request.protocol -> request-headers x-value";
    parts.headers.insert("x-probe-request-headers", command.parse().unwrap());
    h2::exchange(proxy.address(), http::Request::from_parts(parts, body));
    assert_eq!(origin.requests().last().unwrap().field("x-value"), Some("HTTP/2"));
}

#[test]
fn both_ends_of_the_client_s_connection_are_known_at_once() {
    let origin = Origin::saying("x");
    let proxy = proxy(&origin, "{}");
    let port = proxy.address().port().into();
    let mut client = proxy.client();
    let source = client.stream().local_addr().unwrap();

    for (path, want) in [
        ("source.address", Bytes(source.to_string().into_bytes())),
        ("source.port", Number(source.port().into())),
        ("destination.address", Bytes(proxy.address().to_string().into_bytes())),
        ("destination.port", Number(port)),
        ("connection.id", Between(0, 10_000)),
        ("connection_id", Between(0, 10_000)),
        ("connection.mtls", Truth(false)),
        ("source.address.x", Absent),
    ] {
        let command = format!("property {path} -> request-headers x-value");
        client.send(format!("GET / HTTP/1.1\r\nhost: test\r\nx-probe-request-headers: {command}\r\n\r\n"));
        client.answer();
        let said = origin.requests().last().unwrap().field("x-value").unwrap().to_owned();
        assert!(is(&want, &said), "{path} is {said}, wanted {want:?}");
    }
}

#[test]
fn what_needs_a_control_plane_is_absent() {
    let origin = Origin::saying("x");
    let proxy = proxy(&origin, "{}");
    let page = include_str!("../../abi/SUPPORTED.md");
    let rows = page.lines().filter(|line| line.contains("| no: NOT_FOUND"));
    let listed: Vec<&str> =
        rows.filter_map(|row| row.split('`').nth(1)).filter(|name| !name.contains("expr")).collect();
    assert!(listed.len() > 10, "the table is where the test looks");

    for path in listed.into_iter().chain(["metadata.filter_metadata.ns.key", "node.locality"]) {
        assert_eq!(learn(&proxy, &origin, "response-headers", path), "status 1", "{path}");
    }
}

#[test]
fn names_of_the_configuration_stand_for_those_of_xds() {
    let origin = Origin::saying("x");
    let proxy = proxy(&origin, "{}");

    check(
        &proxy,
        &origin,
        "request-headers",
        &[
            ("xds.route_name", Text("main")),
            ("route_name", Text("main")),
            ("xds.cluster_name", Text("app")),
            ("cluster_name", Text("app")),
            ("xds.virtual_host_name", Text("test")),
            ("xds.filter_chain_name", Text("edge")),
            ("xds.listener_direction", Number(0)),
            ("listener_direction", Number(0)),
            ("listener_name", Text("edge")),
            ("plugin_name", Text("a")),
            ("plugin_root_id", Text("root")),
            ("plugin_vm_id", Text("vm")),
            ("route_name.x", Absent),
            ("xds", Absent),
        ],
    );
}

#[test]
fn the_node_is_known_whole_and_in_parts() {
    let origin = Origin::saying("x");
    let proxy = proxy(&origin, "{}");
    let list = VecHeaderMap::new([(b"http".to_vec(), vec![]), (8.0_f64.to_le_bytes().to_vec(), vec![])]);

    check(
        &proxy,
        &origin,
        "request-headers",
        &[
            ("node.id", Text("n1")),
            ("xds.node.cluster", Text("mesh")),
            ("node.metadata.NAME", Text("web")),
            ("node.metadata.WEIGHT", Bytes(2.5_f64.to_le_bytes().to_vec())),
            ("node.metadata.MESH", Truth(true)),
            ("node.metadata.NOTHING", Absent),
            ("node.metadata.LABELS", Map(&[("app", "shop")])),
            ("node.metadata.LABELS.app", Text("shop")),
            ("node.metadata.PORTS", Bytes(pairs::encode(&list))),
            ("node.metadata.PORTS.0", Text("http")),
            ("node.metadata.PORTS.2", Absent),
            ("node.metadata.NAME.x", Absent),
        ],
    );
    for path in ["node", "xds.node"] {
        let wire = shown(&learn(&proxy, &origin, "request-headers", path));
        assert!(wire.starts_with(b"\x0a\x02n1\x12\x04mesh\x1a"), "{path}: {wire:?}");
    }
    // The probe writes a path without a NUL at its end, so this one gets it by hand.
    let command = "raw proxy_get_property ptr:node%00id%00 out-bytes -> request-headers x-value";
    proxy.ask("/", &format!("x-probe-request-headers: {command}\r\n"));
    assert!(origin.requests().last().unwrap().field("x-value").unwrap().contains("n1"));
}

#[test]
fn a_root_context_knows_the_node_and_its_own_names_and_no_exchange() {
    log::keep();
    let origin = Origin::saying("x");
    let config =
        "{ configure: [\"property node.metadata.NAME\", \"property plugin_name\", \"property request.path\"] }";
    let _proxy = proxy(&origin, config);

    until("the root has asked", || !log::lines_with("property request.path = status 1").is_empty());
    assert!(!log::lines_with("property node.metadata.NAME = web").is_empty());
}

#[test]
fn the_answer_is_known_from_its_head_on() {
    let origin = Origin::answering("HTTP/1.1 203 x\r\ngrpc-status: 5\r\ncontent-length: 1\r\n\r\nx");
    let proxy = proxy(&origin, "{}");

    check(
        &proxy,
        &origin,
        "response-headers",
        &[
            ("response.code", Number(203)),
            ("response.code_details", Text("via_upstream")),
            ("response.flags", Number(0)),
            ("response.grpc_status", Number(5)),
            ("response.headers_bytes", Number(":status203grpc-status5".len() as u64)),
            ("response.trailers", Absent),
            ("response.code.x", Absent),
            ("response", Absent),
        ],
    );
}

#[test]
fn the_upstream_is_known_once_it_answered() {
    let origin = Origin::saying("x");
    let proxy = proxy(&origin, "{}");
    let minute = 60_000_000_000;

    check(
        &proxy,
        &origin,
        "response-headers",
        &[
            ("upstream.address", Bytes(origin.address().to_string().into_bytes())),
            ("upstream.port", Number(origin.address().port().into())),
            ("upstream.local_port", Between(1, 65_536)),
            ("upstream.num_endpoints", Number(2)),
            ("upstream.request_attempt_count", Number(1)),
            ("upstream.cx_pool_ready_duration", Between(0, minute)),
            ("response.backend_latency", Between(1, minute)),
        ],
    );
    let local = learn(&proxy, &origin, "response-headers", "upstream.local_address");
    assert!(local.starts_with("127.0.0.1:"), "{local}");
    assert_eq!(learn(&proxy, &origin, "request-headers", "upstream.address"), "status 1");
}

#[test]
fn an_upstream_that_cannot_be_reached_is_told_with_its_reason() {
    let filters = probes(&[("a", "{}")]);
    let proxy = TestProxy::with(&format!("{filters}routes: [{{ to: \"http://{}\", filters: [a] }}]", refusing()));
    let ask = |path: &str| {
        let answer =
            proxy.ask("/", &format!("x-probe-response-headers: property {path} -> response-headers x-value\r\n"));
        assert_eq!(answer.status(), 503);
        answer.field("x-value").unwrap().to_owned()
    };

    assert!(ask("upstream.transport_failure_reason").contains("refused"));
    assert!(is(&Number(1), &ask("upstream.request_attempt_count")));
    assert!(is(&Number(0x20), &ask("response.flags")));
    assert_eq!(ask("response.code_details"), "upstream_connect");
    assert_eq!(ask("upstream.address"), "status 1");
}

/// What filter `name` logs of each property when an exchange has ended.
fn at_the_end(name: &str, rows: &[(&str, Want)], talk: impl Fn(&TestProxy)) {
    log::keep();
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\ngrpc-status: 2\r\n\r\n",
    );
    let commands: Vec<_> = rows.iter().map(|(path, _)| format!("\"property {path}\"")).collect();
    let filters = probes(&[(name, &format!("{{ log: [{}] }}", commands.join(", ")))]);
    let proxy = TestProxy::with(&format!("{filters}routes: [{{ to: {:?}, filters: [{name}] }}]", origin.url()));

    talk(&proxy);

    let said = |path: &str| {
        let lines = log::lines_with(&format!("probe: property {path} = "));
        lines.into_iter().find(|line| line.contains(&format!("filter=\"{name}\"")))
    };
    until("everything is logged", || rows.iter().all(|(path, _)| said(path).is_some()));
    for (path, want) in rows {
        let line = said(path).unwrap();
        let value = line.split_once(&format!("property {path} = ")).unwrap().1.split(' ').next().unwrap();
        assert!(is(want, value), "{path} is {value}, wanted {want:?}");
    }
}

#[test]
fn the_whole_exchange_is_known_when_it_is_logged() {
    let minute = 60_000_000_000;
    let rows = [
        ("request.duration", Between(1, minute)),
        ("request.size", Number(5)),
        ("request.total_size", Between(5, 200)),
        ("request.trailers", Map(&[("x-end", "2")])),
        ("response.code", Number(200)),
        ("response.size", Number(3)),
        ("response.total_size", Number(3 + ":status200".len() as u64)),
        ("response.trailers", Map(&[("x-sum", "1"), ("grpc-status", "2")])),
        ("response.trailers.x-sum", Text("1")),
        ("response.grpc_status", Number(2)),
        ("response.flags", Number(0)),
        ("response.backend_latency", Between(1, minute)),
        ("request.headers.x-a", Text("1")),
    ];
    at_the_end("ended", &rows, |proxy| {
        let request = http::Request::post("http://test/").header("x-a", "1");
        h2::exchange(proxy.address(), request.body(h2::body(&["ab", "cde"], &[("x-end", "2")])).unwrap());
    });
}

#[test]
fn a_filter_s_own_answer_is_known_with_its_words() {
    let rows = [("response.code", Number(418)), ("response.code_details", Text("probe")), ("response.size", Number(5))];
    at_the_end("replied", &rows, |proxy| {
        assert_eq!(proxy.ask("/", "x-probe-request-headers: reply 418 short\r\n").status(), 418);
    });
}

#[test]
fn what_a_filter_sets_is_found_by_the_next_and_never_over_what_is_built_in() {
    let origin = Origin::answering(ok("x"));
    let set = "{ request_headers: [\"set-property user bob\", \"set-property deep.er 1\", \"set-property request.path x\", \
               \"set-property node x\"] }";
    let read = "{ request_headers: [\"property user -> request-headers x-user\", \
                \"property deep.er -> request-headers x-deep\", \
                \"property deep -> request-headers x-part\", \
                \"property filter_state.wasm%2Euser -> request-headers x-state\", \
                \"property filter_state.wasm%2Erequest.path -> request-headers x-hidden\", \
                \"property filter_state -> request-headers x-map\", \
                \"property filter_state.user -> request-headers x-bare\", \
                \"property request.path -> request-headers x-path\"], \
                response_headers: [\"property user -> response-headers x-user\"] }";
    let filters = probes(&[("set", set), ("read", read)]);
    let proxy = TestProxy::with(&format!("{filters}routes: [{{ to: {:?}, filters: [set, read] }}]", origin.url()));

    let answer = proxy.get("/real");

    let request = origin.request();
    let field = |name: &str| request.field(name).unwrap_or("none").to_owned();
    assert_eq!(
        ["x-user", "x-deep", "x-part", "x-state", "x-hidden", "x-bare", "x-path"].map(field),
        ["bob", "1", "status 1", "bob", "x", "status 1", "/real"]
    );
    let map = shown(&field("x-map"));
    assert_eq!(pairs::decode(&map).unwrap()[0], (&b"wasm.user"[..], &b"bob"[..]));
    assert_eq!(answer.field("x-user"), Some("bob"));
}

#[test]
fn the_direction_of_a_listener_is_one_of_the_mesh() {
    let origin = Origin::saying("x");
    for (direction, number) in [("inbound", 1), ("outbound", 2)] {
        let probe = probes_with("budget: { time: 1s }", &[("a", "{}")]);
        let proxy = TestProxy::with(&format!(
            "{probe}listeners: [{{ listen: \"127.0.0.1:0\", direction: {direction}, filters: [a], \
             routes: [{{ to: {:?} }}] }}]",
            origin.url()
        ));

        let rows = [("listener_direction", Number(number)), ("xds.listener_direction", Number(number))];
        check(&proxy, &origin, "request-headers", &rows);
    }
}

/// What a strict filter with a quota of two properties of eight bytes is told of each command.
#[test]
fn a_filter_sets_as_much_as_its_quota_and_no_more() {
    let origin = Origin::answering(ok("x"));
    let set = |path: &str, value: &str, at: usize| {
        format!("\"raw proxy_set_property ptr:{path} ptr:{value} -> request-headers x-{at}\"")
    };
    let commands = [
        set("one", "1", 0),
        set("two", "12345678", 1),
        set("two", "123456789", 2),
        set("three", "3", 3),
        set("one", "again", 4),
        set("ninebytes", "1", 5),
    ];
    for (settings, refused) in [("guest_errors: strict", "2"), ("guest_errors: lenient", "0")] {
        let both = format!("{settings}, budget: {{ time: 1s }}, quota: {{ properties: 2, property: 8B }}");
        let config = format!("{{ request_headers: [{}] }}", commands.join(", "));
        let second = "{ request_headers: [\"set-property three 3\", \"property one -> request-headers x-one\", \
                      \"property two -> request-headers x-two\", \"property three -> request-headers x-three\"] }";
        let filters = probes_with(&both, &[("first", &config), ("second", second)]);
        let proxy =
            TestProxy::with(&format!("{filters}routes: [{{ to: {:?}, filters: [first, second] }}]", origin.url()));

        proxy.get("/");

        let request = origin.requests().pop().unwrap();
        let field = |name: &str| request.field(name).unwrap().to_owned();
        let told: Vec<_> = (0..6).map(|at| field(&format!("x-{at}"))).collect();
        assert_eq!(told, ["0", "0", refused, refused, "0", refused], "{settings}");
        // The second filter has a quota of its own.
        assert_eq!(["x-one", "x-two", "x-three"].map(field), ["again", "12345678", "3"], "{settings}");
        assert_eq!(proxy.metric("tollgate_filter_refusals_total", &["filter=\"first\""]), 3.0, "{}", proxy.metrics());
    }
}

#[test]
fn a_generation_that_comes_back_brings_its_quota() {
    let origin = Origin::answering(ok("x"));
    let commands = "\"raw proxy_set_property ptr:one ptr:1 -> request-headers x-0\", \
                    \"raw proxy_set_property ptr:two ptr:2 -> request-headers x-1\"";
    let yaml = |most: usize| {
        let settings = format!("guest_errors: strict, budget: {{ time: 1s }}, quota: {{ properties: {most} }}");
        let filters = probes_with(&settings, &[("first", &format!("{{ request_headers: [{commands}] }}"))]);
        format!("{filters}routes: [{{ to: {:?}, filters: [first] }}]", origin.url())
    };
    let proxy = TestProxy::with(&yaml(1));
    proxy.configure(&yaml(2)).unwrap();
    proxy.get("/");

    proxy.order(Order::Rollback("first".into())).unwrap();
    proxy.get("/");

    let told = origin.requests().into_iter().map(|request| request.field("x-1").unwrap().to_owned());
    assert_eq!(told.collect::<Vec<_>>(), ["0", "2"]);
}

#[test]
fn what_a_filter_sets_stays_until_the_exchange_is_logged() {
    log::keep();
    let origin = Origin::answering(ok("x"));
    let config = "{ request_headers: [\"set-property stays-until 1\"], log: [\"property stays-until\"] }";
    let proxy = proxy(&origin, config);

    proxy.get("/");

    until("it was read", || !log::lines_with("probe: property stays-until = 1").is_empty());
}
