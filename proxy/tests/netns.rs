//! A sidecar with the rules of the kernel that lead connections to it, between two machines that are network namespaces.
//!
//! `make test-netns` runs these: they need root or a user namespace, iptables, and a kernel with netfilter.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;
#[path = "netns/space.rs"]
mod space;

use std::net::{SocketAddr, TcpListener, TcpStream};

use common::client::Client;
use common::modules::probes;
use common::origin::Origin;
use common::proxy::TestProxy;
use common::wire::Message;
use common::{h2, h2_origin, tcp};
use socket2::SockRef;
use space::{Pair, Space};
use tollgate::listener::intercept;
use tollgate_config::Intercept;

/// The mark of the proxy's sockets, as its configuration has it and as the script is told.
const MARK: &str = "mark: 0x7467";
const EXEMPT: &str = "--mark 0x7467";

/// Both directions over HTTP, with these further words of `intercept`.
fn sidecar(inbound: &str, outbound: &str) -> TestProxy {
    TestProxy::with(&format!(
        "admin: {{ listen: \"127.0.0.1:9901\" }}
listeners:
- name: inbound
  listen: \"[::]:15006\"
  direction: inbound
  intercept: {{ {inbound} }}
  routes: [{{ to: original }}]
- name: outbound
  listen: \"[::]:15001\"
  direction: outbound
  intercept: {{ {outbound}, {MARK} }}
  routes: [{{ to: original }}]
"
    ))
}

fn usual() -> TestProxy {
    sidecar("by: redirect, reach: loopback", "by: redirect")
}

/// An origin in a namespace.
fn origin(space: &Space, at: &str, body: &str) -> Origin {
    let listener = space.within(|| TcpListener::bind(at).unwrap());
    Origin::saying_at(listener, body)
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// Runs a test on a thread here.
fn on_a_pair(test: impl FnOnce(&Pair) + Send) {
    let pair = Pair::new();
    pair.here.within(|| test(&pair));
}

/// One exchange of a client in a namespace.
fn get(space: &Space, address: &str) -> Message {
    let mut client = space.within(|| Client::connect(at(address)));
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    client.answer()
}

fn exchanges(proxy: &TestProxy, listener: &str) -> f64 {
    proxy.metric("tollgate_http_requests_total", &[&format!("listener=\"{listener}\"")])
}

fn refused(proxy: &TestProxy, listener: &str, reason: &str) -> f64 {
    let labels = [&*format!("cluster=\"{listener}/original\""), &*format!("reason=\"{reason}\"")];
    proxy.metric("tollgate_upstream_failures_total", &labels)
}

#[test]
#[ignore = "make test-netns"]
fn what_the_application_sends_out_passes_the_proxy_on_its_way() {
    on_a_pair(|pair| {
        let (old, new) = (origin(&pair.there, "10.99.0.2:80", "four"), origin(&pair.there, "[fd99::2]:80", "six"));
        let proxy = usual();
        pair.intercept(EXEMPT);

        let answers = [get(&pair.here, "10.99.0.2:80"), get(&pair.here, "[fd99::2]:80")];

        assert_eq!(answers.each_ref().map(Message::text), ["four", "six"]);
        assert_eq!(exchanges(&proxy, "outbound"), 2.0);
        // Each passed once, and was marked on its way.
        assert!(old.request().field("x-request-id").is_some() && new.request().field("x-request-id").is_some());
    });
}

#[test]
#[ignore = "make test-netns"]
fn what_comes_in_reaches_an_application_on_loopback() {
    on_a_pair(|pair| {
        let (_old, _new) = (origin(&pair.here, "127.0.0.1:8080", "four"), origin(&pair.here, "[::1]:8081", "six"));
        let proxy = usual();
        pair.intercept(EXEMPT);

        let answers = [get(&pair.there, "10.99.0.1:8080"), get(&pair.there, "[fd99::1]:8081")];

        assert_eq!(answers.each_ref().map(Message::text), ["four", "six"]);
        assert_eq!(exchanges(&proxy, "inbound"), 2.0);
    });
}

#[test]
#[ignore = "make test-netns"]
fn what_comes_in_by_tproxy_reaches_the_application_and_what_it_sends_out_its_answers() {
    on_a_pair(|pair| {
        let (_old, _new) = (origin(&pair.here, "10.99.0.1:8080", "four"), origin(&pair.here, "[fd99::1]:8080", "six"));
        let _other = origin(&pair.there, "10.99.0.2:80", "elsewhere");
        let proxy = sidecar("by: tproxy", "by: redirect");
        pair.intercept("--inbound tproxy --outbound off");

        let answers = [get(&pair.there, "10.99.0.1:8080"), get(&pair.there, "[fd99::1]:8080")];

        assert_eq!(answers.each_ref().map(Message::text), ["four", "six"]);
        assert_eq!(exchanges(&proxy, "inbound"), 2.0);
        // Nobody intercepts this one, and its answers are let through.
        assert_eq!(get(&pair.here, "10.99.0.2:80").text(), "elsewhere");
        assert_eq!(exchanges(&proxy, "outbound"), 0.0);
    });
}

#[test]
#[ignore = "make test-netns"]
fn sockets_of_a_predecessor_become_what_their_listener_is_to_be() {
    on_a_pair(|_| {
        let sockets = [TcpListener::bind("127.0.0.1:0").unwrap()];
        for by in [Some(Intercept::Tproxy), Some(Intercept::Redirect), Some(Intercept::Tproxy), None] {
            let before = SockRef::from(&sockets[0]).ip_transparent_v4().unwrap();

            intercept::may_adapt(&sockets, by).unwrap();
            assert_eq!(SockRef::from(&sockets[0]).ip_transparent_v4().unwrap(), before);
            intercept::adapt(&sockets, by).unwrap();

            let transparent = SockRef::from(&sockets[0]).ip_transparent_v4().unwrap();
            assert_eq!(transparent, by == Some(Intercept::Tproxy), "{by:?}");
        }
    });
}

#[test]
#[ignore = "make test-netns"]
fn bytes_without_http_go_where_they_were_meant_to_go() {
    on_a_pair(|pair| {
        let listener = pair.there.within(|| TcpListener::bind("10.99.0.2:5432").unwrap());
        let echo = tcp::echo_at(listener);
        let proxy = TestProxy::with(&format!(
            "listeners: [{{ name: out, listen: \"0.0.0.0:15001\", intercept: {{ by: redirect, {MARK} }}, tcp: {{ to: original }} }}]"
        ));
        pair.intercept(&format!("{EXEMPT} --inbound off"));

        let mut client = Client::connect(echo.address());
        client.send("there and back");

        assert_eq!(tcp::exactly(client.reader(), 14), "there and back");
        drop(client);
        proxy.counts("tollgate_upstream_connections_active", &["cluster=\"out/original\""], 0.0);
        assert_eq!(proxy.metric("tollgate_upstream_connections_total", &["cluster=\"out/original\""]), 1.0);
    });
}

#[test]
#[ignore = "make test-netns"]
fn the_application_is_spoken_to_as_the_client_speaks() {
    on_a_pair(|pair| {
        let origin = h2_origin::H2Origin::saying("h2");
        let _proxy = usual();
        pair.intercept(EXEMPT);

        let answer = pair.there.within(|| {
            h2::talk(at(&format!("10.99.0.1:{}", origin.address().port())), |mut sender| async move {
                h2::whole(sender.send_request(h2::get("/")).await.unwrap()).await.unwrap()
            })
        });

        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"h2"[..]));
        assert_eq!(origin.requests(), 1);
    });
}

#[test]
#[ignore = "make test-netns"]
fn what_leads_back_to_the_proxy_is_refused() {
    on_a_pair(|pair| {
        let proxy = usual();
        pair.intercept(EXEMPT);

        // Its own listener, that of the other direction, and the admin endpoints, which are on loopback for a reason.
        let statuses = ["10.99.0.1:15006", "10.99.0.1:15001", "10.99.0.1:9901", "[fd99::1]:15006"]
            .map(|address| get(&pair.there, address).status());

        assert_eq!(statuses, [502; 4]);
        assert_eq!(refused(&proxy, "inbound", "loop"), 4.0);
        // The same port of another machine is another matter.
        let _far = origin(&pair.there, "10.99.0.2:15001", "far");
        assert_eq!(get(&pair.here, "10.99.0.2:15001").text(), "far");
    });
}

#[test]
#[ignore = "make test-netns"]
fn a_proxy_that_nobody_exempted_refuses_its_own_connections() {
    on_a_pair(|pair| {
        let origin = origin(&pair.there, "10.99.0.2:80", "reached");
        let proxy = TestProxy::with(
            "listeners:
- { name: http, listen: \"0.0.0.0:15001\", intercept: redirect, routes: [{ to: original }] }
- { name: named, listen: \"0.0.0.0:15002\", intercept: redirect, routes: [{ to: \"http://10.99.0.2:80\" }] }
- { name: bytes, listen: \"0.0.0.0:15003\", intercept: redirect, tcp: { to: original } }
",
        );
        let count = |cluster: &str| {
            let labels = [&*format!("cluster=\"{cluster}\""), "reason=\"loop\""];
            proxy.metric("tollgate_upstream_failures_total", &labels)
        };

        // Nobody here has this mark.
        pair.intercept("--mark 4242 --inbound off");
        assert_eq!(get(&pair.here, "10.99.0.2:80").status(), 502);
        assert_eq!((exchanges(&proxy, "http"), count("http/original")), (2.0, 1.0));

        pair.intercept("--mark 4242 --inbound off --outbound-port 15002");
        assert_eq!(get(&pair.here, "10.99.0.2:80").status(), 502);
        assert_eq!((exchanges(&proxy, "named"), count("10.99.0.2:80")), (2.0, 1.0));

        pair.intercept("--mark 4242 --inbound off --outbound-port 15003");
        // So early that connecting may already fail.
        let outcome = TcpStream::connect(at("10.99.0.2:80")).and_then(|mut client| tcp::to_end(&mut client));
        assert!(tcp::is_reset(&outcome), "{outcome:?}");
        assert!(count("bytes/original") >= 1.0);
        assert_eq!(origin.connections(), 0);
    });
}

#[test]
#[ignore = "make test-netns"]
fn link_local_addresses_are_reached_with_permission_alone() {
    on_a_pair(|pair| {
        pair.there.run("ip address add 169.254.169.254/32 dev lo");
        pair.here.run("ip route add 169.254.169.254/32 via 10.99.0.2");
        let _metadata = origin(&pair.there, "169.254.169.254:80", "credentials");
        let mut proxy = usual();
        pair.intercept(EXEMPT);

        assert_eq!(get(&pair.here, "169.254.169.254:80").status(), 403);
        assert_eq!(refused(&proxy, "outbound", "forbidden"), 1.0);

        proxy.drain();
        proxy.ended();
        let _proxy = sidecar("by: redirect", "by: redirect, allow: [link_local]");
        assert_eq!(get(&pair.here, "169.254.169.254:80").text(), "credentials");
    });
}

#[test]
#[ignore = "make test-netns"]
fn filters_see_what_a_connection_was_meant_for() {
    on_a_pair(|pair| {
        let origin = origin(&pair.there, "10.99.0.2:80", "reached");
        let probe = probes(&[("a", "{ request_headers: [\"property destination.address -> request-headers x-to\"] }")]);
        let _proxy = TestProxy::with(&format!(
            "{probe}listeners: [{{ listen: \"0.0.0.0:15001\", intercept: {{ by: redirect, {MARK} }}, \
             routes: [{{ to: original, filters: [a] }}] }}]"
        ));
        pair.intercept(&format!("{EXEMPT} --inbound off"));

        assert_eq!(get(&pair.here, "10.99.0.2:80").text(), "reached");

        assert_eq!(origin.request().field("x-to"), Some("10.99.0.2:80"));
    });
}

#[test]
#[ignore = "make test-netns"]
fn a_listener_that_begins_to_take_what_tproxy_leads_there_has_sockets_for_it() {
    on_a_pair(|pair| {
        let _app = origin(&pair.here, "127.0.0.1:8080", "application");
        let config = |intercept: &str, to: &str| {
            format!("listeners: [{{ name: in, listen: \"0.0.0.0:15006\", {intercept} routes: [{{ to: {to} }}] }}]")
        };
        let proxy = TestProxy::with(&config("", "echo"));

        proxy.configure(&config("intercept: { by: tproxy, reach: loopback },", "original")).unwrap();

        pair.intercept("--inbound tproxy --outbound off --family 4");
        assert_eq!(get(&pair.there, "10.99.0.1:8080").text(), "application");
    });
}

#[test]
#[ignore = "make test-netns"]
fn connections_of_a_user_that_is_exempt_pass() {
    on_a_pair(|pair| {
        let _origin = origin(&pair.there, "10.99.0.2:80", "reached");
        let proxy = sidecar("by: redirect", "by: redirect");
        // The proxy runs as this user, and so does this test.
        pair.intercept(&format!("{EXEMPT} --uid \"$(id -u)\""));

        assert_eq!(get(&pair.here, "10.99.0.2:80").text(), "reached");
        assert_eq!(exchanges(&proxy, "outbound"), 0.0);

        // Without it the same connection is led to the proxy.
        pair.intercept(EXEMPT);
        assert_eq!(get(&pair.here, "10.99.0.2:80").text(), "reached");
        assert_eq!(exchanges(&proxy, "outbound"), 1.0);
    });
}

/// Every rule and route there is.
fn rules(space: &Space) -> String {
    let tables = ["nat", "mangle"].map(|table| format!("iptables -t {table} -S; ip6tables -t {table} -S"));
    space.run(&format!("{}; ip rule; ip -6 rule; ip route show table 15006 2>/dev/null; true", tables.join("; ")))
}

#[test]
#[ignore = "make test-netns"]
fn the_script_leaves_nothing_behind_and_nothing_of_others_away() {
    let pair = Pair::new();
    pair.here.run("iptables -t nat -A OUTPUT -p tcp --dport 9 -j RETURN");
    pair.here.run("iptables -t nat -N TOLLGATE_OTHERS && ip rule add fwmark 0x1 lookup 7");
    // Tables of netfilter are there once somebody has looked.
    let before = (rules(&pair.here), rules(&pair.here)).1;
    assert_eq!(pair.script("status"), (Some(1), "no rules of intercept.sh are set\n".to_owned()));

    pair.intercept(EXEMPT);
    let once = rules(&pair.here);
    pair.intercept(EXEMPT);
    let twice = rules(&pair.here);
    let (shown, status) = pair.script("status");
    pair.intercept(&format!("{EXEMPT} --inbound tproxy"));
    pair.intercept(&format!("{EXEMPT} --inbound tproxy"));
    let by_tproxy = rules(&pair.here);

    assert_eq!(once, twice);
    assert!(shown == Some(0) && status.contains("-A TOLLGATE_OUT -m mark --mark 0x7467 -j RETURN"), "{status}");
    assert!(by_tproxy.contains("TOLLGATE_TPROXY") && !by_tproxy.contains("TOLLGATE_IN"), "{by_tproxy}");
    assert_eq!(by_tproxy.matches("fwmark 0x7468").count(), 2, "{by_tproxy}");
    pair.script("down");
    assert_eq!(pair.script("down").0, Some(0));
    assert_eq!(rules(&pair.here), before);
}

#[test]
#[ignore = "make test-netns"]
fn the_script_says_what_is_wrong_and_changes_nothing_then() {
    let pair = Pair::new();
    let _tables = rules(&pair.here);
    let before = rules(&pair.here);
    for (arguments, why) in [
        ("up", "say which sockets are the proxy's with --uid or --mark"),
        ("up --mark red", "--mark takes a number, not \"red\""),
        ("up --mark 1 --inbound-port 0", "--inbound-port takes a port, not \"0\""),
        ("up --mark 1 --outbound-port 65536", "--outbound-port takes a port, not \"65536\""),
        ("up --mark 1 --inbound nat", "--inbound takes one of: redirect tproxy off; not \"nat\""),
        ("up --mark 1 --exclude-inbound 22,x", "--exclude-inbound takes a port, not \"x\""),
        ("up --mark 1 --exclude-destinations nowhere.invalid", "nothing was set up"),
        ("up --flush yes", "--flush is not known"),
        ("up --mark", "--mark needs a value, or is not known"),
        ("down now", "\"down\" takes no options"),
        ("upp", "\"upp\" is not known; write up, down or status"),
    ] {
        let (code, said) = pair.script(arguments);

        assert!(code != Some(0) && said.contains(why), "{arguments}: {code:?} {said}");
        assert_eq!(rules(&pair.here), before, "{arguments}");
    }
}
