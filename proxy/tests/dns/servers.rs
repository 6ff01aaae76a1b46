//! Name servers: answers are used as long as they say, trouble changes nothing, and no name waits for another.

use std::collections::BTreeSet;

use crate::common::admin::LOOPBACK;
use crate::common::clusters::{answers, endpoints};
use crate::common::log;
use crate::common::modules::probes_with;
use crate::common::origin::Origin;
use crate::common::proxy::TestProxy;
use crate::common::until;
use crate::name_server::{NameServer, Says, addresses};
use crate::sockets;

/// A configuration of clusters, each with a name, a host and what else there is of it in flow style; `/NAME` leads to each.
fn yaml(dns: &str, clusters: &[(&str, &str, &str)]) -> String {
    let route =
        |(name, ..): &(&str, &str, &str)| format!("- {{ match: {{ path: /{name} }}, to: {name}, timeout: 5s }}\n");
    let cluster = |(name, host, more): &(&str, &str, &str)| format!("  {name}: {{ hosts: [\"{host}\"]{more} }}\n");
    let routes: String = clusters.iter().map(route).collect();
    let clusters: String = clusters.iter().map(cluster).collect();
    format!("{LOOPBACK}dns: {{ {dns} }}\nroutes:\n{routes}clusters:\n{clusters}")
}

fn asking(server: &NameServer, more: &str) -> String {
    format!("servers: [\"{}\"]{more}", server.address())
}

/// A proxy with the cluster `app` of `app.test`.
fn proxy(server: &NameServer, port: u16, more: &str) -> TestProxy {
    TestProxy::with(&yaml(&asking(server, more), &[("app", &format!("app.test:{port}"), "")]))
}

/// The addresses of the endpoints of the first cluster.
fn shown(proxy: &TestProxy) -> Vec<String> {
    endpoints(proxy).iter().map(|endpoint| endpoint["address"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn an_answer_is_used_as_long_as_it_says_and_then_asked_for_again() {
    let server = NameServer::start();
    server.says("long.test", addresses(&["127.0.0.1"], 3600));
    server.says("short.test", addresses(&["127.0.0.1"], 1));
    let origin = Origin::saying("x");
    let port = origin.address().port();
    let (long, short) = (format!("long.test:{port}"), format!("short.test:{port}"));
    let proxy = TestProxy::with(&yaml(&asking(&server, ""), &[("long", &long, ""), ("short", &short, "")]));
    assert_eq!((proxy.get("/long").text(), proxy.get("/short").text()), ("x", "x"));

    server.is_asked_again("short.test", 2);

    assert_eq!(server.asked("long.test"), 1);
    // Addresses of the other kind are of no concern while there are some.
    assert!(!server.was_asked_for_ipv6("short.test"));
}

#[test]
fn an_answer_that_may_not_be_used_at_all_brings_no_storm() {
    let server = NameServer::start();
    server.says("zero.test", addresses(&["127.0.0.1"], 0));
    server.says("often.test", addresses(&["127.0.0.1"], 3600));
    let clusters = [("zero", "zero.test:1", ""), ("often", "often.test:1", ", dns: { refresh: 100ms }")];
    let _proxy = TestProxy::with(&yaml(&asking(&server, ""), &clusters));

    server.is_asked_again("often.test", 25);

    // It is asked for once a second at the most, the other one ten times a second at the most.
    let (zero, often) = (server.asked("zero.test"), server.asked("often.test"));
    assert!((1..often).contains(&zero), "{zero} and {often}");
}

#[test]
fn addresses_that_change_are_used_when_the_answer_before_has_passed() {
    let ([one, two], port) = sockets([2, 3]);
    let _origins = [Origin::saying_at(one, "2"), Origin::saying_at(two, "3")];
    let server = NameServer::start();
    server.says("app.test", addresses(&["127.0.0.2"], 1));
    let proxy = proxy(&server, port, "");
    assert_eq!(proxy.get("/app").text(), "2");

    server.says("app.test", addresses(&["127.0.0.3", "127.0.0.2"], 1));
    until("both are used", || shown(&proxy).len() == 2);
    server.says("app.test", addresses(&["127.0.0.3"], 1));
    until("one is used", || shown(&proxy) == [format!("127.0.0.3:{port}")]);

    assert_eq!(proxy.get("/app").text(), "3");
}

#[test]
fn the_last_good_answer_is_used_whatever_name_servers_say_afterwards() {
    let origin = Origin::saying("x");
    let server = NameServer::start();
    server.says("app.test", addresses(&["127.0.0.1"], 1));
    let proxy = proxy(&server, origin.address().port(), ", refresh: 100ms");
    assert_eq!(proxy.get("/app").text(), "x");

    for trouble in [Says::Nobody, Says::Broken, Says::Garbage, Says::Silence, addresses(&[], 1)] {
        server.says("app.test", trouble.clone());
        // One that begins from here on has three attempts of both kinds at the most, so one of seven is a second look-up.
        server.is_asked_again("app.test", 7);
        assert_eq!(shown(&proxy).len(), 1, "{trouble:?}");
    }

    server.says("app.test", addresses(&["127.0.0.2"], 1));
    until("a new answer is used", || shown(&proxy) == [format!("127.0.0.2:{}", origin.address().port())]);
}

/// More names than are asked for at a time before they have taken long, several times over.
const MANY: usize = 250;

#[test]
fn names_that_nobody_answers_for_hold_no_other() {
    let origin = Origin::saying("x");
    let server = NameServer::start();
    server.says("app.test", addresses(&["127.0.0.1"], 1));
    let hosts: Vec<String> = (0..MANY).map(|number| format!("silent{number}.test:1")).collect();
    let names: Vec<String> = (0..MANY).map(|number| format!("silent{number}")).collect();
    names.iter().for_each(|name| server.says(&format!("{name}.test"), Says::Silence));
    let app = format!("app.test:{}", origin.address().port());
    let mut clusters: Vec<_> =
        names.iter().zip(&hosts).map(|(name, host)| (name.as_str(), host.as_str(), "")).collect();
    clusters.push(("app", &app, ", limits: { connect_timeout: 5s }"));
    let proxy = TestProxy::with(&yaml(&asking(&server, ""), &clusters));

    assert_eq!(proxy.get("/app").text(), "x");

    // The others are still being asked for, and it is asked for again.
    server.is_asked_again("app.test", 1);
    assert_eq!(proxy.get("/app").text(), "x");
}

#[test]
fn an_answer_that_does_not_fit_a_datagram_comes_over_a_connection() {
    let server = NameServer::start();
    let many: Vec<String> = (1..=60).map(|last| format!("127.0.0.{last}")).collect();
    let many = many.iter().map(|address| address.parse().unwrap()).collect();
    server.says("app.test", Says::Cut(many, 1));
    let proxy = proxy(&server, 1, "");

    until("every address is an endpoint", || shown(&proxy).len() == 60);
    // The connection of before is closed, which is no trouble.
    server.is_asked_again("app.test", 4);
    assert_eq!(shown(&proxy).len(), 60);
}

#[test]
fn another_name_of_a_name_is_followed() {
    let server = NameServer::start();
    server.says("app.test", Says::Alias("real.test", 3600));
    server.says("real.test", addresses(&["127.0.0.7"], 1));
    let proxy = proxy(&server, 1, "");

    until("the address is an endpoint", || shown(&proxy) == ["127.0.0.7:1"]);

    // The shorter life of both is the answer's.
    server.is_asked_again("app.test", 1);
}

#[test]
fn the_kind_of_addresses_is_the_one_that_is_configured() {
    let server = NameServer::start();
    server.says("both.test", addresses(&["10.0.0.1", "2001:db8::1"], 3600));
    server.says("six.test", addresses(&["2001:db8::2"], 3600));
    let of = |host: &str, family: &str| {
        let proxy = TestProxy::with(&yaml(&asking(&server, family), &[("app", &format!("{host}:80"), "")]));
        until("there are endpoints", || !shown(&proxy).is_empty());
        shown(&proxy)
    };

    assert_eq!(of("both.test", ""), ["10.0.0.1:80"]);
    assert_eq!(of("six.test", ""), ["[2001:db8::2]:80"]);
    assert_eq!(of("both.test", ", family: ipv6"), ["[2001:db8::1]:80"]);
    assert_eq!(of("both.test", ", family: prefer_ipv6"), ["[2001:db8::1]:80"]);
    assert_eq!(of("both.test", ", family: all"), ["10.0.0.1:80", "[2001:db8::1]:80"]);
}

#[test]
fn the_next_server_is_asked_where_one_is_silent_and_goes_on_being_asked() {
    let (silent, other) = (NameServer::start(), NameServer::start());
    silent.says("app.test", Says::Silence);
    other.says("app.test", addresses(&["127.0.0.1"], 1));
    let dns = format!("servers: [\"{}\", \"{}\"]", silent.address(), other.address());
    let proxy = TestProxy::with(&yaml(&dns, &[("app", "app.test:1", "")]));
    until("the other is believed", || shown(&proxy) == ["127.0.0.1:1"]);
    let before = silent.asked("app.test");

    other.is_asked_again("app.test", 2);

    assert_eq!(silent.asked("app.test"), before);
}

#[test]
fn who_comes_first_is_believed_and_others_are_asked_only_where_it_cannot_say() {
    let (first, second) = (NameServer::start(), NameServer::start());
    first.says("app.test", addresses(&["127.0.0.1"], 1));
    first.says("broken.test", Says::Broken);
    for name in ["app.test", "broken.test", "nobody.test"] {
        second.says(name, addresses(&["127.0.0.2"], 1));
    }
    let dns = format!("servers: [\"{}\", \"{}\"]", first.address(), second.address());
    let clusters = [("broken", "broken.test:1", ""), ("app", "app.test:1", ""), ("nobody", "nobody.test:1", "")];
    let proxy = TestProxy::with(&yaml(&dns, &clusters));

    until("the second is believed", || shown(&proxy) == ["127.0.0.2:1"]);

    first.is_asked_again("app.test", 2);
    first.is_asked_again("nobody.test", 4);
    assert_eq!((second.asked("app.test"), second.asked("nobody.test")), (0, 0));
}

#[test]
fn other_name_servers_are_asked_after_a_reload_and_what_is_known_serves_until_then() {
    let origin = Origin::saying("x");
    let (before, after) = (NameServer::start(), NameServer::start());
    before.says("app.test", addresses(&["127.0.0.1"], 3600));
    after.says("app.test", Says::Silence);
    let port = origin.address().port();
    let proxy = proxy(&before, port, "");
    assert_eq!(proxy.get("/app").text(), "x");

    proxy.configure(&yaml(&asking(&after, ""), &[("app", &format!("app.test:{port}"), "")])).unwrap();
    until("the other server is asked", || after.asked("app.test") > 0);
    assert_eq!(proxy.get("/app").text(), "x");

    after.says("app.test", addresses(&["127.0.0.2"], 3600));
    until("it is believed", || shown(&proxy) == [format!("127.0.0.2:{port}")]);
    assert_eq!(before.asked("app.test"), 1);
}

#[test]
fn the_resolver_of_the_system_is_asked_where_that_is_configured() {
    let origin = Origin::saying("x");
    let host = format!("localhost:{}", origin.address().port());
    let proxy = TestProxy::with(&yaml("resolver: system", &[("app", &host, "")]));

    assert_eq!(proxy.get("/app").text(), "x");
}

#[test]
fn filters_ask_the_same_name_servers_and_hear_how_long_an_answer_may_be_used() {
    log::keep();
    let server = NameServer::start();
    server.says("app.test", addresses(&["127.0.0.9"], 7));
    let config = "{ request_headers: [\"foreign tollgate.resolve_dns app.test\", pause, \"resume-after-ticks 2\"], \
                  configure: [\"tick 100\"], foreign_function: [\"body-get\", \"metric counter resolved 1\"] }";
    let filters = probes_with("budget: { time: 1s }, allow: { resolve: [\"app.test\"] }", &[("a", config)]);
    let dns = asking(&server, "");
    let proxy =
        TestProxy::with(&format!("dns: {{ {dns} }}\n{filters}routes: [{{ to: echo, filters: [a] }}]\n{LOOPBACK}"));

    assert_eq!(proxy.get("/").status(), 200);

    proxy.counts("tollgate_guest_resolved", &[], 1.0);
    // One record, seven seconds, and the address with its NUL.
    assert_eq!(log::lines_with("01000000070000003132372e302e302e3900").len(), 1);
    assert_eq!(server.asked("app.test"), 1);
}

#[test]
fn a_round_of_requests_reaches_every_address() {
    let ([one, two], port) = sockets([4, 5]);
    let _origins = [Origin::saying_at(one, "4"), Origin::saying_at(two, "5")];
    let server = NameServer::start();
    server.says("app.test", addresses(&["127.0.0.5", "127.0.0.4"], 3600));
    let proxy = TestProxy::with(&format!(
        "{LOOPBACK}dns: {{ {} }}\nroutes: [{{ to: \"http://app.test:{port}\" }}]\n",
        asking(&server, "")
    ));

    let answers: BTreeSet<String> = answers(&proxy, 4).into_iter().collect();

    assert_eq!(answers, ["4", "5"].map(str::to_owned).into());
}
