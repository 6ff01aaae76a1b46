//! The whole configuration taken over while the proxy serves: listeners by address, routes, limits, clusters, plugins. What
//! did not change keeps what it has, and a bad configuration changes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;

use common::client::Client;
use common::modules::{Guest, probes_with};
use common::origin::{Origin, free};
use common::process::Tollgate;
use common::proxy::TestProxy;
use common::swaps::{module, speaker};
use common::{PATIENCE, log, until};
use tempfile::TempDir;
use tollgate::app::reload::{Done, Order, Refused};
use tollgate::filter::rollout::Trigger;

const ASK: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

fn get(client: &mut Client) -> String {
    client.send(ASK);
    client.answer().text().to_owned()
}

fn success(proxy: &TestProxy) -> f64 {
    proxy.metric("tollgate_config_last_reload_successful", &[])
}

fn since(proxy: &TestProxy) -> f64 {
    proxy.metric("tollgate_config_last_reload_success_timestamp_seconds", &[])
}

/// A proxy whose configuration is in a file.
struct Filed {
    folder: TempDir,
    proxy: TestProxy,
}

impl Filed {
    /// Everything that is not said here is the same in each configuration.
    fn new(yaml: &str) -> Filed {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tollgate.yaml");
        fs::write(&path, Filed::whole(yaml)).unwrap();
        Filed { proxy: TestProxy::of_file(&path), folder }
    }

    fn whole(yaml: &str) -> String {
        format!("workers: 1\nadmin: off\nlisten: 127.0.0.1:0\n{yaml}")
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tollgate.yaml")
    }

    /// As a deployment replaces it.
    fn write(&self, text: &str) {
        let fresh = self.folder.path().join("fresh");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, self.path()).unwrap();
    }
}

fn to(origin: &Origin) -> String {
    format!("routes: [{{ to: {:?} }}]", origin.url())
}

#[test]
fn routes_are_replaced_in_one_store() {
    let (one, two) = (Origin::saying("one"), Origin::saying("two"));
    let proxy = TestProxy::with(&to(&one));
    let mut client = proxy.client();
    assert_eq!(get(&mut client), "one");

    assert_eq!(proxy.configure(&to(&two)).unwrap(), Done::Serving);

    // The client keeps its connection.
    assert_eq!(get(&mut client), "two");
}

#[test]
fn a_file_that_changes_is_taken_over() {
    let (one, two) = (Origin::saying("one"), Origin::saying("two"));
    let filed = Filed::new(&to(&one));
    let mut client = filed.proxy.client();
    assert_eq!(get(&mut client), "one");

    filed.write(&Filed::whole(&to(&two)));

    until("the new configuration serves", || get(&mut client) == "two");
    until("it is told", || filed.proxy.sight().last_reload.is_some());
    let last = filed.proxy.sight().last_reload.clone().unwrap();
    assert_eq!((last.trigger, last.refused), (Trigger::File, None));
}

#[test]
fn a_reload_reads_the_file_and_every_module_again() {
    let guest = Guest::from_bytes(&speaker("one"));
    let yaml = |word: &str| {
        format!(
            "watch: off\nfilters: {{ {word}: {{ wasm: {:?} }} }}\nroutes: [{{ to: echo, filters: [{word}] }}]",
            guest.path()
        )
    };
    let filed = Filed::new(&yaml("a"));
    assert_eq!(filed.proxy.get("/").field("x-by"), Some("one"));

    guest.replace(&speaker("two"));
    assert_eq!(filed.proxy.order(Order::Reload(Trigger::Admin)).unwrap(), Done::Serving);
    assert_eq!(filed.proxy.get("/").field("x-by"), Some("two"));
    filed.write(&Filed::whole(&yaml("b")));
    assert_eq!(filed.proxy.order(Order::Reload(Trigger::Admin)).unwrap(), Done::Serving);

    assert_eq!(filed.proxy.sight().plugins[0].name, "b");
    assert_eq!(filed.proxy.get("/").field("x-by"), Some("two"));
}

#[test]
fn a_bad_configuration_changes_nothing_and_is_told() {
    let origin = Origin::saying("one");
    let filed = Filed::new(&format!("watch: off\n{}", to(&origin)));
    let (proxy, before) = (&filed.proxy, since(&filed.proxy));
    assert_eq!(success(proxy), 1.0);

    // Cut off in the middle, as when it is read while somebody writes it; and a name that leads nowhere.
    for bad in [Filed::whole("routes: [{ to: echo, matc"), Filed::whole("routes: [{ to: nowhere }]")] {
        filed.write(&bad);
        let refused = proxy.order(Order::Reload(Trigger::Signal)).unwrap_err();

        assert!(matches!(refused, Refused::Config(_)), "{refused}");
        assert_eq!(proxy.get("/").text(), "one");
        let last = proxy.sight().last_reload.clone().unwrap();
        assert_eq!((last.trigger, last.refused), (Trigger::Signal, Some(refused.to_string())));
        assert_eq!((success(proxy), since(proxy)), (0.0, before));
    }
    filed.write(&Filed::whole(&to(&origin)));
    assert_eq!(proxy.order(Order::Reload(Trigger::Signal)).unwrap(), Done::Serving);
    assert_eq!(success(proxy), 1.0);
    assert!(since(proxy) > before);
    assert_eq!(proxy.sight().last_reload.clone().unwrap().refused, None);
}

#[test]
fn what_is_refused_is_logged_whoever_asked_for_it() {
    log::keep();
    let proxy = TestProxy::to(&Origin::saying("one").url());

    let refused = proxy.order(Order::Promote("nobody-knows-this".to_owned())).unwrap_err();

    let lines = log::lines_with("nobody-knows-this");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("WARN") && lines[0].contains(&refused.to_string()), "{lines:?}");
}

#[test]
fn a_configuration_with_a_plugin_that_does_not_run_changes_nothing() {
    let (origin, bad) = (Origin::saying("one"), Guest::from_bytes(b"nonsense"));
    let proxy = TestProxy::with(&to(&origin));
    let with_bad = format!("routes: [{{ to: echo, filters: [{{ wasm: {:?} }}] }}]", bad.path());

    let refused = proxy.configure(&with_bad).unwrap_err();

    assert!(matches!(refused, Refused::Modules(_)), "{refused}");
    assert_eq!(proxy.get("/").text(), "one");
    assert!(proxy.sight().plugins.is_empty());
    assert_eq!(success(&proxy), 0.0);
}

/// An HTTP listener of that name, address and body of answers.
fn listener(name: &str, address: SocketAddr, origin: &Origin) -> String {
    format!("- {{ name: {name}, listen: \"{address}\", {} }}\n", to(origin))
}

fn connects(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, PATIENCE).is_ok()
}

#[test]
fn a_listener_that_is_added_serves_and_the_others_go_on() {
    let (one, two) = (Origin::saying("one"), Origin::saying("two"));
    let (first, second) = (free(), free());
    let proxy = TestProxy::with(&format!("listeners:\n{}", listener("a", first, &one)));
    let mut client = proxy.client();
    assert_eq!(get(&mut client), "one");

    let both = format!("listeners:\n{}{}", listener("a", first, &one), listener("b", second, &two));
    assert_eq!(proxy.configure(&both).unwrap(), Done::Serving);

    assert_eq!(get(&mut Client::connect(second)), "two");
    assert_eq!(get(&mut client), "one");
}

#[test]
fn a_listener_that_is_removed_lets_its_connections_end() {
    let (slow, say) = Origin::held("slow");
    let one = Origin::saying("one");
    let (first, second) = (free(), free());
    let proxy = TestProxy::with(&format!("listeners:\n{}{}", listener("a", first, &one), listener("b", second, &slow)));
    let (mut idle, mut busy) = (Client::connect(second), Client::connect(second));
    idle.send(ASK);
    until("the upstream was asked", || slow.requests().len() == 1);
    say.send(()).unwrap();
    assert_eq!(idle.answer().text(), "slow");
    busy.send(ASK);
    until("the upstream was asked again", || slow.requests().len() == 2);

    proxy.configure(&format!("listeners:\n{}", listener("a", first, &one))).unwrap();

    assert!(idle.is_closed(), "a connection without an exchange closes");
    until("nobody listens there", || !connects(second));
    say.send(()).unwrap();
    assert_eq!(busy.answer().text(), "slow");
    assert!(busy.is_closed(), "a connection closes after its exchange");
    assert_eq!(get(&mut proxy.client()), "one");
}

#[test]
fn a_listener_that_is_removed_serves_whoever_waits_at_its_socket_once() {
    log::keep();
    let (origin, first, second) = (Origin::saying("one"), free(), free());
    let looping = "{ request_headers: [\"log warn looping-from-here\", loop] }";
    let filters = probes_with("on_error: skip, budget: { time: 1s }", &[("busy", looping)]);
    let busy = format!(
        "{filters}listeners:\n- {{ name: a, listen: \"{first}\", routes: [{{ to: {:?}, filters: [busy] }}] }}\n",
        origin.url()
    );
    let proxy = TestProxy::with(&format!("{busy}{}", listener("b", second, &origin)));
    let mut looped = proxy.client();
    looped.send(ASK);
    until("the filter loops", || !log::lines_with("looping-from-here").is_empty());
    // One that the worker's only thread cannot let in while the filter loops.
    let mut waiting = Client::connect(second);
    waiting.send(ASK);

    proxy.configure(&busy).unwrap();

    assert_eq!(waiting.answer().text(), "one");
    assert!(waiting.is_closed(), "it stays at a listener that is gone");
    assert_eq!(looped.answer().text(), "one");
}

#[test]
fn a_listener_that_is_renamed_keeps_its_connections() {
    let origin = Origin::saying("one");
    let address = free();
    let proxy = TestProxy::with(&format!("listeners:\n{}", listener("a", address, &origin)));
    let mut client = proxy.client();
    assert_eq!(get(&mut client), "one");

    proxy.configure(&format!("listeners:\n{}", listener("b", address, &origin))).unwrap();

    assert_eq!(get(&mut client), "one");
    assert_eq!(proxy.metric("tollgate_http_requests_total", &["listener=\"b\""]), 1.0);
}

#[test]
fn limits_change_for_requests_that_come_after() {
    let origin = Origin::saying("one");
    let limited = |fields: usize| format!("limits: {{ headers: {fields} }}\n{}", to(&origin));
    let proxy = TestProxy::with(&limited(100));
    let many: String = (0..20).map(|n| format!("x-{n}: y\r\n")).collect();
    assert_eq!(proxy.ask("/", &many).status(), 200);

    proxy.configure(&limited(10)).unwrap();
    assert_eq!(proxy.ask("/", &many).status(), 431);
    proxy.configure(&limited(100)).unwrap();

    assert_eq!(proxy.ask("/", &many).status(), 200);
}

#[test]
fn an_address_that_is_busy_refuses_the_whole_configuration() {
    let (one, two) = (Origin::saying("one"), Origin::saying("two"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (first, free) = (free(), free());
    let proxy = TestProxy::with(&format!("listeners:\n{}", listener("a", first, &one)));

    let more = format!(
        "listeners:\n{}{}{}",
        listener("a", first, &two),
        listener("b", free, &two),
        listener("c", taken.local_addr().unwrap(), &two)
    );
    let refused = proxy.configure(&more).unwrap_err();

    assert!(matches!(refused, Refused::Bind(_)), "{refused}");
    assert!(refused.to_string().contains("listener \"c\""), "{refused}");
    assert_eq!(get(&mut proxy.client()), "one");
    assert!(!connects(free), "what could be bound is let go of");
    assert_eq!(success(&proxy), 0.0);
    drop(taken);
    assert_eq!(proxy.configure(&more).unwrap(), Done::Serving);
    assert_eq!(get(&mut Client::connect(free)), "two");
}

#[test]
fn a_listener_moves_from_one_address_to_all_of_them_at_its_port() {
    let (origin, address) = (Origin::saying("one"), free());
    let all = |host: &str| SocketAddr::new(host.parse().unwrap(), address.port());
    let proxy = TestProxy::with(&format!("listeners:\n{}", listener("a", address, &origin)));
    assert_eq!(get(&mut proxy.client()), "one");

    let moved = proxy.configure(&format!("listeners:\n{}", listener("a", all("0.0.0.0"), &origin)));

    assert_eq!(moved.unwrap(), Done::Serving);
    assert_eq!(get(&mut Client::connect(all("127.0.0.2"))), "one");
}

fn clustered(kept: &Origin, others: &[&Origin]) -> String {
    let hosts: Vec<_> = others.iter().map(|origin| format!("{:?}", origin.address().to_string())).collect();
    format!(
        "clusters:\n  kept: {{ hosts: [\"{}\"] }}\n  other: {{ hosts: [{}] }}\n\
         routes:\n- {{ match: {{ path: /other }}, to: other }}\n- {{ to: kept, timeout: 7s }}",
        kept.address(),
        hosts.join(", ")
    )
}

#[test]
fn clusters_and_endpoints_that_did_not_change_keep_their_connections() {
    let (kept, other, more) = (Origin::saying("kept"), Origin::saying("other"), Origin::saying("other"));
    let proxy = TestProxy::with(&clustered(&kept, &[&other]));
    assert_eq!((proxy.get("/").text(), proxy.get("/other").text()), ("kept", "other"));

    proxy.configure(&clustered(&kept, &[&other, &more])).unwrap();

    assert_eq!((proxy.get("/").text(), proxy.get("/other").text()), ("kept", "other"));
    assert_eq!(proxy.get("/other").text(), "other");
    assert_eq!((kept.connections(), other.connections(), more.connections()), (1, 1, 1));
}

/// Says in `x-by` how many requests this VM has seen, as a digit.
fn counter() -> Guest {
    let counts = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (i32.store8 (i32.const 16) (i32.add (i32.load8_u (i32.const 16)) (i32.const 1))) (i32.const 0))"#;
    Guest::from_bytes(&module("0", counts))
}

#[test]
fn a_plugin_that_did_not_change_keeps_its_vm() {
    let (guest, origin) = (counter(), Origin::saying("x"));
    let yaml = |settings: &str, route: &str| {
        format!(
            "filters: {{ f: {{ wasm: {:?}{settings} }} }}\nroutes: [{{ to: {:?}, filters: [f]{route} }}]",
            guest.path(),
            origin.url()
        )
    };
    let proxy = TestProxy::with(&yaml("", ""));
    let counted = || proxy.get("/").field("x-by").unwrap().to_owned();
    assert_eq!([counted(), counted()], ["1", "2"]);

    // Neither the routes, nor what a successor is tested with, make it another one.
    proxy.configure(&yaml("", ", timeout: 7s")).unwrap();
    assert_eq!(counted(), "3");
    proxy.configure(&yaml(", selftest: [{ expect: { status: 200 } }]", "")).unwrap();
    assert_eq!(counted(), "4");
    assert_eq!(proxy.plugin("f").serving.unwrap().number, 1);
    proxy.configure(&yaml(", config: other", "")).unwrap();

    assert_eq!(counted(), "1");
    assert_eq!(proxy.plugin("f").serving.unwrap().number, 2);
}

#[test]
fn a_plugin_that_did_not_change_calls_the_cluster_as_it_is_now() {
    let (guest_origin, before, after) = (Origin::saying("x"), Origin::saying("before"), Origin::saying("after"));
    let config = "{ request_headers: [\"call auth 5000 / ''\", pause], \
                    call_response: [\"body-get -> request-headers x-auth\", \"continue request\"] }";
    let filters = common::modules::probes_with("budget: { time: 1s }, allow: { calls: [auth] }", &[("f", config)]);
    let yaml = |auth: &Origin| {
        format!(
            "{filters}clusters: {{ auth: {{ hosts: [\"{}\"] }} }}\nroutes: [{{ to: {:?}, filters: [f] }}]",
            auth.address(),
            guest_origin.url()
        )
    };
    let proxy = TestProxy::with(&yaml(&before));
    proxy.get("/");

    proxy.configure(&yaml(&after)).unwrap();
    proxy.get("/");

    let told: Vec<_> = guest_origin.requests().iter().map(|asked| asked.field("x-auth").unwrap().to_owned()).collect();
    assert_eq!(told, ["before", "after"]);
    assert_eq!(proxy.plugin("f").serving.unwrap().number, 1);
}

#[test]
fn a_generation_that_comes_back_calls_the_cluster_of_that_name_or_stays_away() {
    let (origin, auth, other) = (Origin::saying("x"), Origin::saying("auth"), Origin::saying("other"));
    let yaml = |clusters: &[(&str, &Origin)], allow: &str, word: &str| {
        let call = format!(
            "{{ request_headers: [\"call auth 5000 / ''\", pause], call_response: [\"body-get -> request-headers x-auth\", \
                \"continue request\"], response_headers: [\"add response-headers x-by {word}\"] }}"
        );
        let settings = format!("budget: {{ time: 1s }}, allow: {{ calls: [{allow}] }}");
        let cluster = |(name, to): &(&str, &Origin)| format!("  {name}: {{ hosts: [\"{}\"] }}\n", to.address());
        let clusters: String = clusters.iter().map(cluster).collect();
        let filters = common::modules::probes_with(&settings, &[("f", &call)]);
        format!("{filters}clusters:\n{clusters}routes: [{{ to: {:?}, filters: [f] }}]", origin.url())
    };
    let proxy = TestProxy::with(&yaml(&[("auth", &auth)], "auth", "one"));
    proxy.configure(&yaml(&[("auth", &auth)], "auth", "two")).unwrap();
    proxy.configure(&yaml(&[("another", &other), ("auth", &auth)], "auth", "two")).unwrap();

    assert_eq!(proxy.order(Order::Rollback("f".into())).unwrap(), Done::Serving);

    assert_eq!(proxy.get("/").field("x-by"), Some("one"));
    assert_eq!(origin.request().field("x-auth"), Some("auth"));
    assert_eq!(other.connections(), 0);
    proxy.configure(&yaml(&[("another", &other)], "another", "three")).unwrap();
    let refused = proxy.order(Order::Rollback("f".into())).unwrap_err();
    assert!(refused.to_string().contains("no longer has"), "{refused}");
}

#[test]
fn a_plugin_that_is_no_longer_named_ends_with_its_exchanges() {
    let guest = Guest::from_bytes(&speaker("one"));
    let proxy = TestProxy::with(&format!("routes: [{{ to: echo, filters: [{{ wasm: {:?} }}] }}]", guest.path()));
    assert_eq!(proxy.get("/").field("x-by"), Some("one"));

    proxy.configure("routes: [{ to: echo }]").unwrap();

    assert_eq!(proxy.get("/").field("x-by"), None);
    assert!(proxy.sight().plugins.is_empty());
    until("its VM is gone", || proxy.metric("tollgate_filter_instances", &[]) == 0.0);
}

/// The binary with a filter in a file, told to read everything again by SIGHUP.
#[test]
fn a_hang_up_has_everything_read_again_however_often_it_comes() {
    let (one, two) = (Origin::saying("one"), Origin::saying("two"));
    let yaml = |origin: &Origin| format!("listen: 127.0.0.1:0\nadmin: off\nwatch: off\n{}", to(origin));
    let mut tollgate = Tollgate::run(&yaml(&one));
    let mut client = Client::connect(tollgate.address_after("http://"));
    assert_eq!(get(&mut client), "one");

    fs::write(tollgate.folder().join("tollgate.yaml"), yaml(&two)).unwrap();
    tollgate.signal("HUP");
    until("the new configuration serves", || get(&mut client) == "two");
    fs::write(tollgate.folder().join("tollgate.yaml"), "routes: [{ to: ").unwrap();
    hang_up(&tollgate, 10_000);
    assert_eq!(get(&mut client), "two");
    fs::write(tollgate.folder().join("tollgate.yaml"), yaml(&one)).unwrap();
    hang_up(&tollgate, 1);

    until("the last word holds", || get(&mut client) == "one");
    // Signals that come faster than reloads are one reload.
    let refused = tollgate.log().matches("TG0").count();
    assert!((1..5_000).contains(&refused), "{refused}");
    tollgate.signal("TERM");
    assert_eq!(tollgate.code(), Some(0));
}

/// So many signals, as fast as they can be sent.
fn hang_up(tollgate: &Tollgate, times: usize) {
    let line = format!("i=0; while [ $i -lt {times} ]; do kill -HUP {}; i=$((i+1)); done", tollgate.id());
    assert!(std::process::Command::new("sh").args(["-c", &line]).status().unwrap().success());
}
