//! A sidecar as far as it goes without rules of the kernel: what nobody redirected is refused, and drain in its order.
//! With them it is tested by `make test-netns`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::net::SocketAddr;

use common::client::Client;
use common::origin::{Origin, ok};
use common::process::Tollgate;
use common::proxy::TestProxy;
use common::{tcp, until};

/// Listeners of both directions that answer themselves, but for `/held` of the inbound one.
fn proxy(limits: &str, origin: &Origin) -> TestProxy {
    TestProxy::with(&format!(
        "limits: {{ {limits} }}
listeners:
- name: inbound
  listen: 127.0.0.1:0
  direction: inbound
  routes:
  - {{ match: {{ path: /held }}, to: {:?}, timeout: 1m }}
  - {{ to: echo }}
- name: outbound
  listen: 127.0.0.1:0
  direction: outbound
  routes: [{{ to: echo }}]
",
        origin.url()
    ))
}

fn get(client: &mut Client, path: &str) -> (u16, Option<String>) {
    client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
    let answer = client.answer();
    (answer.status(), answer.field("connection").map(str::to_owned))
}

/// A client of the inbound listener whose exchange waits for the origin.
fn waiting(proxy: &TestProxy, origin: &Origin) -> Client {
    let mut client = Client::connect(proxy.address_of("inbound"));
    client.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    until("the exchange is under way", || origin.requests().len() == 1);
    client
}

#[test]
fn what_the_application_sends_out_is_served_as_usual_until_what_came_in_is_done() {
    let (origin, release) = Origin::held("finished");
    let mut proxy = proxy("", &origin);
    let (inbound, outbound) = (proxy.address_of("inbound"), proxy.address_of("outbound"));
    let mut client = waiting(&proxy, &origin);
    let mut idle = [inbound, outbound].map(Client::connect);
    idle.iter_mut().for_each(|idle| assert_eq!(get(idle, "/").0, 200));
    let [mut came_in, mut goes_out] = idle;

    proxy.drain();

    assert!(came_in.is_closed(), "what came in hears of the end first");
    // The connection from before and a new one, each more than once.
    let mut fresh = Client::connect(outbound);
    for _ in 0..3 {
        assert_eq!(get(&mut goes_out, "/"), (200, None));
        assert_eq!(get(&mut fresh, "/"), (200, None));
    }
    let mut late = Client::connect(inbound);
    assert_eq!(get(&mut late, "/"), (200, Some("close".to_owned())), "who comes late is served once");
    release.send(()).unwrap();
    let answer = client.answer();
    assert_eq!((answer.text(), answer.field("connection")), ("finished", Some("close")));
    assert!(goes_out.is_closed() && fresh.is_closed(), "what goes out hears of it last");
    proxy.ended();
}

#[test]
fn what_came_in_and_does_not_end_leaves_what_goes_out_a_part_of_the_time() {
    let (origin, _release) = Origin::held("finished");
    let mut proxy = proxy("drain_timeout: 5s", &origin);
    let (_client, outbound) = (waiting(&proxy, &origin), proxy.address_of("outbound"));
    assert_eq!(get(&mut Client::connect(outbound), "/"), (200, None));

    proxy.drain();

    // Whoever connects at the end of the time is served once and told so, not cut off.
    until("what goes out drains", || get(&mut Client::connect(outbound), "/") == (200, Some("close".to_owned())));
    proxy.ended();
}

#[test]
fn told_twice_it_ends_at_once_whatever_came_in() {
    let (origin, _release) = Origin::held("finished");
    let mut proxy = proxy("drain_timeout: 1h", &origin);
    let mut client = waiting(&proxy, &origin);

    proxy.drain();
    proxy.drain();

    proxy.ended();
    assert!(client.is_closed());
}

#[test]
fn a_connection_that_came_in_and_is_passed_on_keeps_the_way_out_open() {
    let origin = tcp::echo();
    let mut proxy = TestProxy::with(&format!(
        "listeners:
- {{ name: inbound, listen: \"127.0.0.1:0\", tcp: {{ to: \"tcp://{}\" }} }}
- {{ name: outbound, listen: \"127.0.0.1:0\", direction: outbound, routes: [{{ to: echo }}] }}
",
        origin.address()
    ));
    let mut passed = Client::connect(proxy.address_of("inbound"));
    passed.send("over");
    assert_eq!(tcp::exactly(passed.reader(), 4), "over");
    let mut goes_out = Client::connect(proxy.address_of("outbound"));

    proxy.drain();

    for _ in 0..3 {
        assert_eq!(get(&mut goes_out, "/"), (200, None));
    }
    drop(passed);
    assert!(goes_out.is_closed());
    proxy.ended();
}

/// One that sends everything where it was meant to go.
fn original(intercept: &str, target: &str) -> TestProxy {
    TestProxy::with(&format!("listeners:\n- {{ listen: \"127.0.0.1:0\", intercept: {intercept}, {target} }}\n"))
}

fn loops(proxy: &TestProxy, address: SocketAddr) -> f64 {
    let cluster = format!("cluster=\"{address}/original\"");
    proxy.metric("tollgate_upstream_failures_total", &[&cluster, "reason=\"loop\""])
}

#[test]
fn a_request_that_nobody_redirected_would_come_back_and_is_refused() {
    let proxy = original("redirect", "name: out, routes: [{ to: original }]");

    let (mut client, mut again) = (proxy.client(), proxy.client());

    assert_eq!(get(&mut client, "/"), (502, None));
    assert_eq!(get(&mut again, "/"), (502, None));
    let cluster = ["cluster=\"out/original\"", "reason=\"loop\""];
    assert_eq!(proxy.metric("tollgate_upstream_failures_total", &cluster), 2.0);
    assert_eq!(proxy.metric("tollgate_upstream_connections_total", &["cluster=\"out/original\""]), 0.0);
}

#[test]
fn a_connection_that_nobody_redirected_would_come_back_and_is_reset() {
    let proxy = original("redirect", "tcp: { to: original }");

    assert!(tcp::is_refused(&proxy));

    until("it is counted", || loops(&proxy, "127.0.0.1:0".parse().unwrap()) == 1.0);
}

#[test]
fn a_request_may_take_turns_between_where_it_was_meant_to_go_and_a_cluster() {
    let origin = Origin::answering(ok("from the cluster"));
    let to = format!("{{ to: {{ original: 1, \"{}\": 1 }} }}", origin.url());
    let proxy = original("redirect", &format!("routes: [{to}]"));

    let mut statuses = [proxy.get("/").status(), proxy.get("/").status()];

    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502]);
}

/// What it says at its end when it may do nothing that takes a capability.
fn said_without_capabilities(intercept: &str) -> String {
    let shell = "if [ \"$(id -u)\" = 0 ]; then set -- setpriv --bounding-set=-all --inh-caps=-all \"$0\" \"$@\"; \
                 else set -- \"$0\" \"$@\"; fi; exec \"$@\"";
    let listener = format!("{{ listen: \"127.0.0.1:0\", intercept: {intercept}, tcp: {{ to: original }} }}");
    let mut tollgate = Tollgate::run_under(shell, &format!("admin: off\nlisteners:\n- {listener}\n"));
    assert_eq!(tollgate.code(), Some(3), "{}", tollgate.log());
    until("it says why", || tollgate.log().contains("error[TG03"));
    tollgate.log()
}

#[test]
fn a_process_that_may_not_have_transparent_sockets_does_not_start() {
    let said = said_without_capabilities("tproxy");

    let why = "cannot listen on 127.0.0.1:0: \"intercept: tproxy\" needs the capability CAP_NET_ADMIN";
    assert!(said.contains("error[TG0301]") && said.contains(why), "{said}");
}

#[test]
fn a_process_that_may_not_mark_its_sockets_does_not_start() {
    let said = said_without_capabilities("{ by: redirect, mark: 0x7467 }");

    let why = "sockets cannot have the mark 0x7467: that needs the capability CAP_NET_ADMIN";
    assert!(said.contains("error[TG0305]: cluster \"127.0.0.1:0/original\"") && said.contains(why), "{said}");
}
