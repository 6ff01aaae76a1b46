//! A process that is short of memory: what is idle goes first, then requests are refused, then connections wait, and all of it
//! is over once there is memory again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::fs;
use std::net::{Shutdown, SocketAddr, TcpStream};

use common::client::Client;
use common::h2;
use common::h2_raw::{GOAWAY, HEADERS, RawH2, asks};
use common::modules::probes;
use common::origin::{Origin, free};
use common::process::{Tollgate, ask};
use common::proxy::TestProxy;
use common::tcp::{is_reset, to_end};
use common::{PATIENCE, admin, until};

const ACTIONS: &str = "tollgate_overload_actions_total";
const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const MIB: usize = 1 << 20;

/// A proxy that always has far too little memory, with a route to an origin that holds what it is asked for.
fn starving() -> (Origin, TestProxy) {
    let origin = Origin::silent();
    let url = origin.url();
    let routes = format!("[{{ match: {{ path: /held }}, to: {url:?} }}, {{ to: echo }}]");
    (origin, TestProxy::with(&format!("limits: {{ memory: 1MiB }}\nroutes: {routes}")))
}

/// A client whose request is with the origin.
fn hold(origin: &Origin, proxy: &TestProxy) -> Client {
    let mut held = proxy.client();
    held.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    until("the request is with the origin", || origin.requests().len() == 1);
    held
}

/// What has been done so far.
fn actions(proxy: &TestProxy, action: &str) -> f64 {
    proxy.metric(ACTIONS, &[&format!("action={action:?}")])
}

#[test]
fn a_worker_with_a_request_under_way_refuses_others_and_one_without_serves() {
    let (origin, proxy) = starving();
    let held = hold(&origin, &proxy);

    let mut refused = proxy.client();
    until("a request is refused", || {
        refused.send(GET);
        let answer = refused.answer();
        // Until the memory was looked at for the first time.
        let is_refused = answer.status() == 503;
        assert_eq!(answer.field("connection"), is_refused.then_some("close"), "{answer:?}");
        is_refused
    });

    assert!(refused.is_closed());
    assert_eq!(actions(&proxy, "shed"), 1.0);
    assert_eq!(proxy.metric("tollgate_http_requests_total", &["class=\"5xx\"", "cluster=\"echo\""]), 1.0);
    drop(held);
    until("it serves", || proxy.get("/").status() == 200);
}

#[test]
fn a_tunnel_is_refused_beside_a_request() {
    let origin = Origin::silent();
    let url = origin.url();
    let routes = format!("[{{ to: {url:?} }}, {{ to: {url:?}, upgrade: [connect] }}]");
    let proxy = TestProxy::with(&format!("limits: {{ memory: 1MiB }}\nroutes: {routes}"));
    let _held = hold(&origin, &proxy);
    let mut client = proxy.client();
    client.send("CONNECT a:1 HTTP/1.1\r\n");
    until("the memory was looked at, and nobody else is let in", || {
        // One more may slip in before that is noticed.
        drop(TcpStream::connect(proxy.address()));
        actions(&proxy, "paused") >= 1.0
    });

    client.send("host: a:1\r\n\r\n");

    assert_eq!(client.answer().status(), 503);
    assert_eq!(actions(&proxy, "shed"), 1.0);
}

#[test]
fn a_request_of_http2_is_refused_and_its_connection_stays() {
    let (origin, proxy) = starving();
    let _held = hold(&origin, &proxy);

    let statuses = h2::talk(proxy.address(), |mut sender| async move {
        let mut statuses = Vec::new();
        while statuses.iter().filter(|status| **status == 503).count() < 2 {
            let answer = sender.send_request(h2::get("/")).await.expect("an answer");
            statuses.push(answer.status().as_u16());
        }
        statuses
    });

    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
}

#[test]
fn while_memory_is_far_too_short_connections_wait_until_the_worker_is_free() {
    let (origin, proxy) = starving();
    let held = hold(&origin, &proxy);
    // Each lets the door look, the first perhaps before the memory was looked at.
    until("nobody is let in", || {
        let _ = proxy.client();
        actions(&proxy, "paused") > 0.0
    });

    let mut waiting = proxy.client();
    waiting.send(GET);
    let before = proxy.metric("tollgate_connections_total", &[]);
    drop(held);

    assert_eq!(waiting.answer().status(), 200);
    assert!(proxy.metric("tollgate_connections_total", &[]) > before);
}

#[test]
fn connections_that_rest_are_closed_on_either_side() {
    let origin = Origin::saying("x");
    let proxy = TestProxy::with(&format!("limits: {{ memory: 1MiB }}\nroutes: [{{ to: {:?} }}]", origin.url()));
    let mut client = proxy.client();
    client.send(GET);
    assert_eq!(client.answer().status(), 200);

    // Long before `idle_timeout` and `upstream_idle_timeout`, which are a minute.
    assert!(client.is_closed());

    assert_eq!(actions(&proxy, "closed"), 1.0);
    proxy.counts("tollgate_connections_active", &[], 0.0);
    proxy.counts("tollgate_upstream_connections_active", &[], 0.0);
}

#[test]
fn a_connection_of_http2_that_rests_is_told_that_it_ends() {
    let (_origin, proxy) = starving();
    let mut client = RawH2::greet(proxy.address());
    client.send(&asks(1)).unwrap();

    let frames: Vec<_> = std::iter::from_fn(|| client.next()).collect();

    let at = |kind| frames.iter().position(|frame| frame.kind == kind);
    assert!(at(HEADERS).is_some() && at(HEADERS) < at(GOAWAY), "{frames:?}");
    assert_eq!(actions(&proxy, "closed"), 1.0);
}

#[test]
fn beside_what_is_meant_to_last_a_worker_serves_few_but_not_none() {
    let origin = Origin::scripted(|peer| {
        peer.head()?;
        peer.wait_for_end()
    });
    let url = origin.url();
    let routes = format!("[{{ match: {{ path: /held }}, to: {url:?}, stream: true }}, {{ to: echo }}]");
    let proxy = TestProxy::with(&format!("limits: {{ memory: 1MiB }}\nroutes: {routes}"));
    let _held = hold(&origin, &proxy);

    until("one is refused, and others wait", || {
        let mut client = proxy.client();
        let asks = (0..2).map(|_| client.try_send(GET).and_then(|()| client.try_answer()));
        let statuses: Vec<_> = asks.map_while(Result::ok).map(|answer| answer.status()).collect();
        assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
        actions(&proxy, "shed") > 0.0 && actions(&proxy, "paused") > 0.0
    });

    until("one is served", || proxy.get("/").status() == 200);
}

#[test]
fn beside_what_is_meant_to_last_few_come_in_who_ask_for_nothing() {
    let origin = Origin::scripted(|peer| {
        peer.head()?;
        peer.wait_for_end()
    });
    let routes = format!("[{{ match: {{ path: /held }}, to: {:?}, stream: true }}, {{ to: echo }}]", origin.url());
    let proxy = TestProxy::with(&format!("limits: {{ memory: 1MiB }}\nroutes: {routes}"));
    let _held = hold(&origin, &proxy);
    let mut clients = Vec::new();

    until("others wait", || {
        clients.push(proxy.client());
        actions(&proxy, "paused") > 0.0
    });

    let (before, known) = (actions(&proxy, "paused"), clients.len());
    until("each that comes in has the next one wait", || {
        let came = proxy.metric("tollgate_connections_total", &[]);
        if came > f64::from(u32::try_from(clients.len()).unwrap()) {
            clients.push(proxy.client());
        }
        assert!(clients.len() < known + 50, "any number comes in");
        actions(&proxy, "paused") >= before + 2.0
    });
    assert_eq!(actions(&proxy, "shed"), 0.0);
}

#[test]
fn a_connection_that_is_not_let_in_for_another_reason_is_no_exception() {
    let origin = Origin::silent();
    let proxy = TestProxy::with(&format!(
        "limits: {{ memory: 1MiB }}\nlisteners:\n- {{ name: web, listen: '127.0.0.1:0', routes: [{{ to: echo }}] }}\n\
         - {{ name: raw, listen: '127.0.0.1:0', limits: {{ connections: 1 }}, tcp: {{ to: 'tcp://{}' }} }}\n",
        origin.address()
    ));
    let raw = || TcpStream::connect(proxy.address_of("raw"));
    let _passage = raw().unwrap();
    proxy.counts("tollgate_listener_tcp_connections_active", &[], 1.0);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\n");
    until("the memory was looked at", || {
        drop(TcpStream::connect(proxy.address()));
        actions(&proxy, "paused") > 0.0
    });

    let refused = raw().and_then(|mut second| {
        second.set_read_timeout(Some(PATIENCE))?;
        to_end(&mut second)
    });
    client.send("host: a\r\n\r\n");

    assert!(is_reset(&refused), "{refused:?}");
    assert_eq!(client.answer().status(), 200);
    assert_eq!(actions(&proxy, "shed"), 0.0);
}

#[test]
fn where_connections_are_passed_on_and_nothing_else_is_done_few_come_in() {
    let origin = Origin::silent();
    let proxy = TestProxy::with(&format!(
        "limits: {{ memory: 1MiB }}\nlisteners: [{{ name: raw, listen: '127.0.0.1:0', tcp: {{ to: 'tcp://{}' }} }}]\n",
        origin.address()
    ));
    let came = || proxy.metric("tollgate_listener_tcp_connections_total", &[]);
    let mut clients = Vec::new();

    until("others wait", || {
        clients.push(proxy.client());
        actions(&proxy, "paused") > 0.0
    });

    clients.push(proxy.client());
    let before = came();
    until("one comes in", || came() > before);
}

#[test]
fn connections_that_would_be_passed_on_are_not_let_in_beside_a_request() {
    let (held, passed) = (Origin::silent(), Origin::saying("x"));
    let proxy = TestProxy::with(&format!(
        "limits: {{ memory: 1MiB }}\nlisteners:\n- {{ name: web, listen: '127.0.0.1:0', routes: [{{ to: {:?} }}] }}\n\
         - {{ name: raw, listen: '127.0.0.1:0', tcp: {{ to: 'tcp://{}' }} }}\n",
        held.url(),
        passed.address()
    ));
    let _held = hold(&held, &proxy);

    let shed = || proxy.metric(ACTIONS, &["listener=\"raw\"", "action=\"shed\""]);
    until("one is not let in", || {
        // So early that connecting may fail already.
        let outcome = TcpStream::connect(proxy.address_of("raw")).and_then(|mut client| {
            client.set_read_timeout(Some(PATIENCE))?;
            // Until the memory was looked at for the first time it is passed on, and ends once both sides said so.
            let _ = client.shutdown(Shutdown::Write);
            to_end(&mut client)
        });
        let is_shed = shed() > 0.0;
        assert_eq!(is_reset(&outcome), is_shed, "{outcome:?}");
        is_shed
    });

    assert_eq!(shed(), 1.0);
}

/// A process of its own, whose memory nobody else has.
struct House {
    tollgate: Tollgate,
    address: SocketAddr,
    admin: SocketAddr,
    rest: String,
}

impl House {
    fn new() -> House {
        let filters = probes(&[("keeper", "{ request_body: [body-buffer] }")]);
        let rest = format!(
            "{filters}telemetry: {{ access_log: {{ format: json, to: access.log }} }}\n\
             routes: [{{ match: {{ path: /kept }}, to: echo, filters: [keeper] }}, {{ to: echo }}]\n"
        );
        // A reload keeps a listener whose address is the same.
        let (address, admin) = (free(), free());
        let tollgate = Tollgate::run(&config((address, admin), "off", &rest));
        tollgate.address_after("admin on http://");
        House { tollgate, address, admin, rest }
    }

    /// So many bytes more than are resident may be.
    fn allow(&self, more: usize) {
        let page = ask(self.admin, "/metrics");
        let line = page.text().lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        let resident: usize = line.unwrap().parse().unwrap();
        let text = config((self.address, self.admin), &format!("{}B", resident + more), &self.rest);
        fs::write(self.tollgate.folder().join("tollgate.yaml"), text).unwrap();
        assert_eq!(admin::ask(self.admin, "POST /reload").status(), 200);
    }

    /// The line of the memory among all checks; the process is ready whatever it says.
    fn told(&self) -> String {
        let ready = ask(self.admin, "/ready?verbose");
        assert_eq!(ready.status(), 200, "{ready:?}");
        ready.text().lines().find(|line| line.contains("memory: ")).unwrap().to_owned()
    }
}

fn config((address, admin): (SocketAddr, SocketAddr), memory: &str, rest: &str) -> String {
    format!(
        "admin: {{ listen: \"{admin}\" }}\nlisten: {address}\nwatch: off\n\
         limits: {{ memory: {memory}, buffer: 128MiB }}\n{rest}"
    )
}

#[test]
fn bodies_that_a_filter_keeps_have_others_refused_and_the_next_ones_served_once_they_are_gone() {
    let house = House::new();
    house.allow(24 * MIB);
    until("the memory was looked at", || house.told().starts_with("[+] memory: "));
    let mut asking = Client::connect(house.address);
    // A part of a request, so that it does not rest and is not closed for that.
    let (begin, end) = GET.split_at(20);
    asking.send(begin);

    let mut upload = Client::connect(house.address);
    upload.send(format!("POST /kept HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 90 * MIB));
    upload.send(vec![b'x'; 80 * MIB]);
    until("it is told", || {
        house.told().starts_with("[!] memory: ") && house.told().ends_with("no connection is accepted")
    });
    asking.send(end);
    let refused = asking.answer();
    assert_eq!((refused.status(), refused.field("connection")), (503, Some("close")));
    let mut slipped = Client::connect(house.address);
    slipped.send(GET);
    let slipped = slipped.answer();
    let mut waiting = Client::connect(house.address);
    waiting.send(GET);
    drop(upload);

    assert_eq!(slipped.status(), 503, "the door had been open to it");
    assert_eq!(waiting.answer().status(), 200);
    until("it is over", || house.told().starts_with("[+] memory: "));
    until("that is in the log", || house.tollgate.log().contains("memory is no longer short"));
    let log = house.tollgate.log();
    assert_eq!(log.matches("and no connection is accepted").count(), 1, "{log}");
    assert_eq!(log.matches("memory is no longer short").count(), 1, "{log}");
    let written = || fs::read_to_string(house.tollgate.folder().join("access.log")).unwrap();
    until("it is in the access log", || written().matches("\"overloaded\"").count() == 2);
}
