//! What a configuration means once it is checked: listeners, routes, clusters, limits and the process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use common::{config, good};
use tollgate_config::{
    AccessLog, Admin, Alpn, Balance, Budget, ByteSize, Cache, ClientTls, ClusterId, Direction, Dns, Family,
    GuestErrors, HashKey, HostMatch, Initial, Intercept, Isolation, Keeping, Limits, LogFormat, LogTarget, MemoryLimit,
    OnError, Original, Outliers, PathMatch, PathSpelling, PeerName, Pick, PluginId, Policy, Probe, Protocol,
    ProxyProtocol, Ratio, Reach, Resolver, Rollout, Senders, Target, Tcp, TlsVersion, ValueMatch,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn six_lines_make_a_proxy() {
    let text = fs::read_to_string("tests/good/six_lines.yaml").unwrap();

    let config = config(&text);

    let [listener] = config.listeners.as_slice() else { panic!("one listener") };
    let [route] = listener.routes.as_slice() else { panic!("one route") };
    let [plugin] = config.plugins.as_slice() else { panic!("one plugin") };
    let [cluster] = config.clusters.as_slice() else { panic!("one cluster") };
    assert_eq!(listener.name, "127.0.0.1:8000");
    assert_eq!(listener.balance, Balance::Kernel);
    assert_eq!(route.name, "127.0.0.1:8000/0");
    assert_eq!(route.timeout, Duration::from_secs(15));
    assert_eq!(route.chain, [PluginId(0)]);
    assert!(matches!(route.matcher.path, PathMatch::Any));
    assert_eq!(route.matcher.host, HostMatch::Any);
    assert_eq!(plugin.name, "addh");
    assert_eq!(plugin.module, PathBuf::from("conf/addh.wasm"));
    assert_eq!(plugin.config, br#"{"header":"x"}"#);
    assert_eq!((plugin.on_error, plugin.guest_errors), (OnError::all(Policy::Deny), GuestErrors::Lenient));
    assert_eq!((plugin.place.line, plugin.place.column), (5, 5));
    assert_eq!(cluster.name, "127.0.0.1:8080");
    assert_eq!((cluster.endpoints[0].host.as_str(), cluster.endpoints[0].port), ("127.0.0.1", 8080));
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.admin, Admin::Default("127.0.0.1:9901".parse().unwrap()));
    assert_eq!(config.telemetry.access_log, None);
    assert_eq!(config.workers, None);
    assert_eq!((config.admin_token, config.cache, config.watch), (None, Cache::Default, true));
    assert_eq!((plugin.state, plugin.isolation), (Keeping::Keep, Isolation::Worker));
    assert_eq!((&plugin.rollout, plugin.budget), (&Rollout::default(), Budget::default()));
    assert!(plugin.selftest.is_empty());
}

#[test]
fn every_key_has_its_effect() {
    let text = fs::read_to_string("tests/good/all_keys.yaml").unwrap();

    let config = config(&text);

    assert_eq!(config.workers.map(|workers| workers.get()), Some(2));
    assert_eq!(config.admin, Admin::Listen("0.0.0.0:9902".parse().unwrap()));
    assert!(config.admin_token.unwrap().matches(b"a-token-of-22-letters"));
    assert_eq!((config.watch, config.cache), (false, Cache::Dir("conf/modules/cache".into())));
    let limits = config.limits;
    assert_eq!((limits.headers, limits.connections, limits.pending), (50, 1000, 128));
    assert_eq!((limits.upstream_connections, limits.streams), (64, 10));
    assert_eq!((limits.header_bytes, limits.buffer), (ByteSize::kib(32), ByteSize::new(10_000_000)));
    assert_eq!(limits.header_timeout, Duration::from_secs(5));
    assert_eq!(limits.idle_timeout, Duration::from_secs(120));
    assert_eq!(limits.request_timeout, Duration::from_secs(3600));
    assert_eq!((limits.body_rate, limits.body_grace), (None, Duration::from_secs(15)));
    assert_eq!(limits.stream_idle_timeout, Duration::from_secs(90));
    assert_eq!(limits.write_timeout, Duration::from_millis(1500));
    assert_eq!(limits.drain_timeout, Duration::from_secs(10));
    assert_eq!((limits.connect_timeout, limits.pool_timeout), (Duration::from_millis(500), Duration::from_millis(700)));
    assert_eq!(limits.upstream_idle_timeout, Duration::from_secs(30));
    assert_eq!(limits.retire_timeout, Duration::from_secs(120));
    assert_eq!(limits.upgrade_age, Some(Duration::from_secs(3600)));
    assert_eq!(limits.memory, MemoryLimit::Size(ByteSize::kib(256 * 1024)));
    assert_eq!((limits.compile_time, limits.compile_memory), (Duration::from_secs(20), 512 << 20));
    let to = LogTarget::File("conf/access.log".into());
    let properties = vec!["user".to_owned(), "wasm.plan".to_owned()];
    assert_eq!(config.telemetry.access_log, Some(AccessLog { format: LogFormat::Text, to, properties }));

    let plugin = &config.plugins[0];
    assert_eq!(plugin.module, PathBuf::from("conf/modules/every.wasm"));
    assert_eq!(plugin.sha256.unwrap()[..3], [0x9f, 0x86, 0xd0]);
    assert_eq!((plugin.root_id.as_str(), plugin.vm_id.as_str()), ("root", "shared"));
    assert_eq!(plugin.config, b"just text");
    assert_eq!(plugin.vm_config, br#"[1,"two",{"three":3.5}]"#);
    assert_eq!(plugin.env, [("MODE".into(), "on".into()), ("LEVEL".into(), "on".into())]);
    assert_eq!((plugin.on_error, plugin.guest_errors), (OnError::all(Policy::Skip), GuestErrors::Strict));
    assert_eq!(plugin.budget.time, Duration::from_millis(5));
    assert_eq!(plugin.budget.start, Duration::from_secs(2));
    assert_eq!(plugin.budget.memory, 1 << 30);
    assert_eq!(plugin.budget.share.unwrap().parts_per_million(), 125_000);
    assert_eq!(plugin.budget.recycle, Some(512 << 20));
    assert_eq!((plugin.state, plugin.isolation), (Keeping::Reset, Isolation::Request));
    assert_eq!(plugin.rollout, Rollout::default());

    let cluster = &config.clusters[0];
    assert_eq!(cluster.endpoints.len(), 2);
    assert_eq!(cluster.endpoints[0].host, "2001:db8::1");
    assert_eq!(cluster.connect_timeout, Duration::from_millis(500));
    assert_eq!(cluster.pool_timeout, Duration::from_millis(700));
    assert_eq!((cluster.upstream_connections, cluster.pending), (64, 128));
}

#[test]
fn a_listener_of_tcp_has_a_cluster_and_a_chain_and_no_routes() {
    let text = fs::read_to_string("tests/good/all_keys.yaml").unwrap();

    let config = config(&text);

    let [http, _, db, plain] = config.listeners.as_slice() else { panic!("four listeners") };
    assert_eq!(http.tcp, None);
    let url = config.clusters.iter().position(|cluster| cluster.name == "db.local:5432").map(ClusterId).unwrap();
    assert_eq!(db.tcp, Some(Tcp { cluster: url, chain: vec![PluginId(0), PluginId(1)] }));
    assert_eq!(plain.tcp, Some(Tcp { cluster: ClusterId(0), chain: vec![] }));
    assert!(db.routes.is_empty() && plain.routes.is_empty());
    assert_eq!((db.name.as_str(), db.balance, db.limits.connections), ("db", Balance::Even, 10));
}

#[test]
fn the_target_original_is_a_cluster_of_each_listener_that_leads_there() {
    let text = fs::read_to_string("tests/good/sidecar.yaml").unwrap();

    let config = config(&text);

    let [inbound, outbound, tcp] = config.listeners.as_slice() else { panic!("three listeners") };
    assert_eq!((inbound.intercept, inbound.direction), (Some(Intercept::Redirect), Direction::Inbound));
    assert_eq!((outbound.intercept, outbound.direction), (Some(Intercept::Redirect), Direction::Outbound));
    assert_eq!((tcp.intercept, tcp.direction), (Some(Intercept::Tproxy), Direction::Unspecified));
    let id = |name: &str| config.clusters.iter().position(|cluster| cluster.name == name).map(ClusterId).unwrap();
    let of_inbound = id("inbound/original");
    assert_eq!(inbound.routes[0].target, Target::Split(vec![(of_inbound, 9), (id("127.0.0.1:8080"), 1)]));
    assert_eq!(inbound.routes[1].target, Target::Cluster(of_inbound));
    assert_eq!(outbound.routes[0].target, Target::Cluster(id("outbound/original")));
    assert_eq!(tcp.tcp.as_ref().map(|tcp| tcp.cluster), Some(id("127.0.0.1:15002/original")));
    let original = |name| (config.clusters[id(name).0].original.unwrap(), config.clusters[id(name).0].mark);
    let plain = Original::default();
    assert_eq!(original("inbound/original"), (Original { reach: Reach::Loopback, ..plain }, Some(0x7467)));
    assert_eq!(original("outbound/original"), (plain, None));
    let permissive = Original { loopback: true, link_local: true, ..plain };
    assert_eq!(original("127.0.0.1:15002/original"), (permissive, None));
    assert!(config.clusters.iter().all(|cluster| cluster.endpoints.is_empty() == cluster.original.is_some()));
    assert_eq!(config.clusters[id("app").0].mark, Some(0x7467));
}

#[test]
fn listeners_of_one_name_have_original_destinations_of_their_own() {
    let one = "{ listen: \"127.0.0.1:0\", intercept: redirect, routes: [{ to: original }] }";

    let config = config(&format!("listeners: [{one}, {one}]"));

    let mut names: Vec<_> = config.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    names.dedup();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn a_cluster_speaks_what_is_written_and_a_url_the_older_protocol() {
    let text = fs::read_to_string("tests/good/all_keys.yaml").unwrap();

    let config = config(&text);

    let spoken = config.clusters.iter().map(|cluster| (cluster.name.as_str(), cluster.protocol));
    let (one, two) = (Protocol::Http1, Protocol::H2);
    let expected = [("app", one), ("grpc", two), ("told", one), ("127.0.0.1:80", one)];
    assert_eq!(spoken.take(4).collect::<Vec<_>>(), expected);
}

#[test]
fn connections_begin_with_a_proxy_header_where_it_is_written_and_change_their_protocol_where_a_route_says_which() {
    let text = fs::read_to_string("tests/good/all_keys.yaml").unwrap();

    let config = config(&text);

    let [http, off, db, plain] = config.listeners.as_slice() else { panic!("four listeners") };
    let Some(Senders::Networks(networks)) = &http.proxy_protocol else { panic!("networks") };
    assert!(networks.iter().map(ToString::to_string).eq(["10.0.0.0/8", "::1/128"]));
    assert_eq!(db.proxy_protocol, Some(Senders::Everybody));
    assert_eq!((&off.proxy_protocol, &plain.proxy_protocol), (&None, &None));
    let told = config.clusters.iter().map(|cluster| cluster.proxy_protocol);
    assert_eq!(told.take(4).collect::<Vec<_>>(), [None, None, Some(ProxyProtocol::V2), None]);
    assert_eq!(http.routes[0].upgrade, ["websocket", "spdy/3.1"]);
    assert!(http.routes[1].upgrade.is_empty());
}

#[test]
fn tunnels_are_made_where_a_route_says_connect_which_is_the_name_of_no_protocol() {
    let config = good("tunnels");

    let routes = config.listeners[0].routes.iter().map(|route| (route.connect, route.upgrade.join(",")));
    let expected = [(true, ""), (true, "websocket"), (false, "websocket"), (true, "")];
    assert!(routes.eq(expected.map(|(connect, upgrade)| (connect, upgrade.to_owned()))));
}

#[test]
fn a_listener_narrows_the_limits_for_itself() {
    let text = fs::read_to_string("tests/good/all_keys.yaml").unwrap();

    let config = config(&text);

    let (edge, other) = (config.listeners[0].limits, config.listeners[1].limits);
    assert_eq!(other, config.limits);
    assert_eq!((edge.headers, edge.connections, edge.streams), (20, 100, 5));
    assert_eq!((edge.header_bytes, edge.buffer), (ByteSize::kib(16), ByteSize::new(512)));
    assert_eq!(edge.drain_timeout, config.limits.drain_timeout);
}

#[test]
fn a_match_is_read_in_all_its_parts() {
    let text = fs::read_to_string("tests/good/all_keys.yaml").unwrap();

    let config = config(&text);

    let [api, exact, regex] = config.listeners[0].routes.as_slice() else { panic!("three routes") };
    assert_eq!(api.matcher.host, HostMatch::Suffix(".example.com".into()));
    assert!(matches!(&api.matcher.path, PathMatch::Prefix(path) if path == "/v1"));
    assert_eq!(api.matcher.methods, ["GET", "POST"]);
    for (conditions, name, wanted) in [(&api.matcher.headers, "x-a", "b"), (&api.matcher.query, "q", "1")] {
        assert!(
            matches!(conditions.as_slice(), [(known, ValueMatch::Equal(value))] if known == name && value == wanted),
            "{conditions:?}"
        );
    }
    assert!(matches!(&exact.matcher.path, PathMatch::Exact(path) if path == "/x"));
    assert!(matches!(&regex.matcher.path, PathMatch::Regex(regex) if regex.is_match("/yes")));
    assert_eq!((exact.name.as_str(), regex.name.as_str()), ("edge/1", "edge/2"));
    assert_eq!(regex.target, Target::Echo);
}

#[test]
fn only_names_the_user_wrote_must_be_unique() {
    let listener = "- { listen: '127.0.0.1:0', routes: [{ to: echo }, { to: echo }] }\n";

    let config = config(&format!("listeners:\n{listener}{listener}"));

    assert_eq!(config.listeners[0].name, config.listeners[1].name);
    assert_eq!(config.listeners[0].routes[1].name, config.listeners[1].routes[1].name);
}

#[test]
fn equal_urls_are_one_cluster_beside_a_named_one() {
    let text = fs::read_to_string("tests/good/urls.yaml").unwrap();

    let config = config(&text);

    let names: Vec<&str> = config.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    let targets: Vec<_> = config.listeners[0].routes.iter().map(|route| route.target.clone()).collect();
    assert_eq!(names, ["app:80", "app:80-2"]);
    assert_eq!(targets[0], targets[1]);
    assert_ne!(targets[0], targets[2]);
}

#[test]
fn admin_is_off_only_as_a_word() {
    let text = fs::read_to_string("tests/good/words.yaml").unwrap();

    assert_eq!(config(&text).admin, Admin::Off);
}

#[test]
fn a_loopback_address_of_version_six_is_a_loopback_address() {
    let text = "admin: { listen: '[::1]:9901' }\nlisten: 127.0.0.1:0\nroutes: []\n";

    assert_eq!(config(text).admin, Admin::Listen("[::1]:9901".parse().unwrap()));
}

#[test]
fn a_cluster_says_how_its_endpoints_are_picked_and_asked_and_when_requests_are_repeated() {
    let config = good("clusters");

    let [app, ring, table, near] = config.clusters.as_slice() else { panic!("four clusters") };
    let endpoints: Vec<_> = app.endpoints.iter().map(|known| (known.port, known.weight, known.priority)).collect();
    assert_eq!(endpoints, [(8080, 1, 0), (8080, 3, 0), (8080, 1, 1), (8080, 1, 0)]);
    assert_eq!((&app.pick, app.panic, app.slow_start), (&Pick::LeastRequest, Ratio::of_percent(0), Some(SECOND * 30)));
    assert_eq!((app.requests, app.retries, app.upstream_connections, app.pending), (Some(30), Some(4), 10, 20));
    assert_eq!((app.connect_timeout, app.upstream_idle_timeout), (SECOND * 3 / 10, SECOND * 5));
    assert_eq!(app.pool_timeout, SECOND * 4 / 10);
    assert_eq!(app.dns, Dns { refresh: SECOND / 10, keep: SECOND * 3600, ..Dns::default() });
    let health = app.health.as_ref().unwrap();
    let Probe::Http { path, statuses } = &health.probe else { panic!("a path") };
    assert_eq!((path.as_str(), health.initial), ("/health?full", Initial::Unhealthy));
    assert_eq!([200, 404, 302, 201].map(|status| statuses.contains(status)), [true, true, true, false]);
    let outliers = Outliers { failures: 2, base: SECOND, max: SECOND * 60, max_ejected: Ratio::of_percent(10) };
    assert_eq!((app.outliers, ring.outliers, near.outliers), (Some(outliers), None, None));
    assert_eq!(table.outliers, Some(Outliers::default()));
    let cookie = HashKey::Cookie { name: "who".to_owned(), ttl: Some(SECOND * 3600) };
    assert_eq!((&ring.pick, &near.pick), (&Pick::RingHash(cookie), &Pick::Maglev(HashKey::Source)));
    assert_eq!(table.pick, Pick::Maglev(HashKey::Header("x-user".to_owned())));
    assert_eq!(table.health.as_ref().unwrap().probe, Probe::Grpc(String::new()));
}

#[test]
fn names_are_looked_up_as_a_cluster_says_and_else_as_the_configuration_does() {
    let config = good("dns");

    let [plain, own, library, short, url] = config.clusters.as_slice() else { panic!("five clusters") };
    let servers = ["10.0.0.10:53", "[fd00::10]:5353"].map(|server| server.parse().unwrap());
    let global = Dns {
        resolver: Resolver::Servers(servers.into()),
        family: Family::All,
        refresh: SECOND * 300,
        keep: SECOND * 60,
    };
    assert_eq!((&config.dns, &plain.dns, &url.dns), (&global, &global, &global));
    let other = Resolver::Servers(vec!["127.0.0.1:5353".parse().unwrap()]);
    assert_eq!(own.dns, Dns { resolver: other, family: Family::Ipv6, ..global.clone() });
    assert_eq!(library.dns, Dns { resolver: Resolver::System, refresh: SECOND * 5, ..global.clone() });
    assert_eq!(short.dns, Dns { refresh: SECOND, keep: SECOND * 3600, ..global });
}

#[test]
fn names_are_looked_up_by_name_servers_unless_something_else_is_written() {
    let config = config("listen: 127.0.0.1:0\nroutes: []\n");

    let usual = Dns { resolver: Resolver::Dns, family: Family::PreferIpv4, refresh: SECOND * 300, keep: SECOND * 300 };
    assert_eq!((&config.dns, &Dns::default()), (&usual, &usual));
    let text = "listen: 127.0.0.1:0\nroutes: [{ to: app }]\ndns: { resolver: system, refresh: 1m }\n\
                clusters: { app: { hosts: ['a:80'], dns: { servers: [10.0.0.1] } } }\n";
    let config = self::config(text);
    let [app] = config.clusters.as_slice() else { panic!("one cluster") };
    assert_eq!((&config.dns.resolver, config.dns.refresh), (&Resolver::System, SECOND * 60));
    assert_eq!(app.dns.resolver, Resolver::Servers(vec!["10.0.0.1:53".parse().unwrap()]));
    assert_eq!(app.dns.refresh, SECOND * 60);
}

#[test]
fn a_route_says_when_requests_are_repeated_and_else_its_cluster_does() {
    let config = good("clusters");

    let [first, second] = config.listeners[0].routes.as_slice() else { panic!("two routes") };
    let retry = first.retry.as_ref().unwrap();
    assert_eq!([500, 409, 400].map(|status| retry.on.statuses.contains(status)), [true, true, false]);
    assert_eq!((retry.on.grpc.as_slice(), retry.on.timeout, retry.on.connect), (&[14][..], true, false));
    assert_eq!((retry.tries, retry.try_timeout, retry.non_idempotent), (3, Some(SECOND / 4), true));
    assert_eq!((retry.replay.bytes(), retry.budget.to_string()), (1 << 20, "12.5%".to_owned()));
    let none = second.retry.as_ref().unwrap();
    assert_eq!((none.tries, none.on.connect, none.on.refused_stream, none.on.reset), (1, true, true, false));
    assert!(config.clusters[0].retry.as_ref().unwrap().on.reset);
}

#[test]
fn a_listener_spells_paths_unless_it_says_otherwise() {
    let path = |said: &str| {
        let text = format!("listeners:\n- listen: 127.0.0.1:0\n  http: {said}\n  routes: []\n");
        config(&text).listeners[0].http.path
    };

    assert_eq!(config("listen: 127.0.0.1:0\nroutes: []\n").listeners[0].http.path, PathSpelling::Normalize);
    assert_eq!(path("{}"), PathSpelling::Normalize);
    assert_eq!(path("{ path: keep }"), PathSpelling::Keep);
}

#[test]
fn tls_of_a_listener_has_files_beside_the_configuration_and_asks_for_what_is_written() {
    let text = fs::read_to_string("tests/good/tls.yaml").unwrap();

    let config = config(&text);

    let edge = config.listeners[0].tls.as_ref().unwrap();
    let paths = edge.certificates.iter().map(|certificate| (certificate.cert.clone(), certificate.key.clone()));
    assert_eq!(
        paths.collect::<Vec<_>>(),
        [("conf/tls/api.pem".into(), "conf/tls/api.key".into()), ("/etc/other.pem".into(), "/etc/other.key".into())]
    );
    assert_eq!(edge.certificates[0].names, ["api.local", "*.example.com"]);
    assert!(edge.certificates[1].names.is_empty());
    let clients = edge.clients.as_ref().unwrap();
    assert_eq!((clients.ca.clone(), clients.required), (PathBuf::from("conf/tls/clients.pem"), false));
    assert_eq!(clients.crl, Some("conf/tls/clients.crl".into()));
    assert_eq!(clients.names[1], PeerName::Below("clients.local".into()));
    assert_eq!(clients.names[4], PeerName::UrisBelow("spiffe://example.org/".into()));
    assert_eq!((edge.min_version, edge.tickets, edge.alpn.as_slice()), (TlsVersion::V13, None, &[Alpn::Http1][..]));
    let other = config.listeners[1].tls.as_ref().unwrap();
    assert!(other.clients.as_ref().unwrap().required, "a CA alone asks for a certificate");
    assert_eq!((other.min_version, other.tickets), (TlsVersion::V12, Some(Duration::from_secs(6 * 3600))));
    assert_eq!(other.alpn, [Alpn::H2, Alpn::Http1]);
    let tcp = config.listeners[2].tls.as_ref().unwrap();
    assert!(tcp.alpn.is_empty(), "who passes bytes on does not know what is spoken");
}

#[test]
fn tls_of_a_cluster_comes_from_its_key_or_its_url() {
    let text = fs::read_to_string("tests/good/tls.yaml").unwrap();

    let config = config(&text);

    let tls = |name: &str| config.clusters.iter().find(|cluster| cluster.name == name).unwrap().tls.clone();
    assert_eq!(tls("idp"), Some(ClientTls::default()));
    assert_eq!(tls("app.local:443"), Some(ClientTls::default()));
    // One endpoint, with TLS and without.
    assert_eq!((tls("10.0.0.2:8443"), tls("10.0.0.2:8443-2")), (Some(ClientTls::default()), None));
    assert_eq!(
        tls("mesh"),
        Some(ClientTls {
            sni: Some("mesh.local".into()),
            ca: Some("conf/mesh.pem".into()),
            identity: Some(("conf/own.pem".into(), "conf/own.key".into())),
            names: vec![PeerName::Uri("spiffe://example.org/mesh".into())],
            verify: true,
        })
    );
    assert!(!tls("lab").unwrap().verify);
}
