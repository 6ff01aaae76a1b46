//! Names of endpoints: every address is an endpoint, the last good answer is kept, and what leaves goes gently.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;
#[path = "dns/name_server.rs"]
mod name_server;
#[path = "dns/servers.rs"]
mod servers;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use common::clusters::{answers, endpoints, yaml};
use common::origin::{Origin, ok};
use common::proxy::TestProxy;
use common::until;
use tollgate::upstream::resolve::{Found, LookedUp, Resolve};

/// A resolver that knows what it is told.
#[derive(Debug, Default)]
struct Told {
    /// `None`: it does not answer well.
    addresses: Mutex<Option<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Told {
    fn of(last: &[u8]) -> Arc<Told> {
        let told = Arc::<Told>::default();
        told.says(last);
        told
    }

    /// It knows 127.0.0.x from here on.
    fn says(&self, last: &[u8]) {
        *self.addresses.lock().unwrap() = Some(last.iter().map(|last| at(*last)).collect());
    }

    fn breaks(&self) {
        *self.addresses.lock().unwrap() = None;
    }

    /// Returns when it was asked twice more, so that one of the answers is to a question put from here on.
    fn is_asked_again(&self) {
        let before = self.asked.load(SeqCst);
        until("the name is looked up again", || self.asked.load(SeqCst) > before + 1);
    }
}

impl Resolve for Told {
    fn look_up<'a>(&'a self, name: &'a str) -> LookedUp<'a> {
        Box::pin(async move {
            assert_eq!(name, "app.test");
            self.asked.fetch_add(1, SeqCst);
            let addresses = self.addresses.lock().unwrap().clone();
            let addresses = addresses.ok_or_else(|| io::Error::other("it is broken"))?;
            Ok(Found { addresses, ttl: None })
        })
    }
}

fn at(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

/// Sockets at 127.0.0.x, all with one port.
fn sockets<const COUNT: usize>(last: [u8; COUNT]) -> ([TcpListener; COUNT], u16) {
    for _ in 0..100 {
        let first = TcpListener::bind((at(last[0]), 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        let rest = last[1..].iter().map(|last| TcpListener::bind((at(*last), port)));
        if let Ok(rest) = rest.collect::<Result<Vec<_>, _>>() {
            let all: Vec<_> = std::iter::once(first).chain(rest).collect();
            return (all.try_into().unwrap(), port);
        }
    }
    panic!("no port is free at all of these addresses");
}

fn proxy(told: &Arc<Told>, port: u16, cluster: &str) -> TestProxy {
    let text = yaml(&format!("\"app.test:{port}\""), &format!(", dns: {{ refresh: 100ms }}{cluster}"), "");
    TestProxy::resolving(&text, Arc::clone(told) as Arc<dyn Resolve>)
}

fn distinct(answers: Vec<String>) -> BTreeSet<String> {
    answers.into_iter().collect()
}

fn are(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(ToString::to_string).collect()
}

#[test]
fn every_address_of_a_name_is_an_endpoint() {
    let ([one, two], port) = sockets([2, 3]);
    let _origins = [Origin::saying_at(one, "2"), Origin::saying_at(two, "3")];
    let told = Told::of(&[2, 3]);
    let proxy = proxy(&told, port, "");

    // The first request waits for the first answer.
    assert_eq!(answers(&proxy, 4), ["2", "3", "2", "3"].map(str::to_owned));

    let shown = endpoints(&proxy);
    assert_eq!(shown.len(), 2);
    assert_eq!((&shown[1]["host"], &shown[1]["address"]), (&"app.test".into(), &format!("127.0.0.3:{port}").into()));
}

#[test]
fn an_address_that_comes_is_used_and_one_that_goes_is_not() {
    let ([one, two], port) = sockets([2, 3]);
    let _origins = [Origin::saying_at(one, "2"), Origin::saying_at(two, "3")];
    let told = Told::of(&[2]);
    let proxy = proxy(&told, port, "");
    assert_eq!(distinct(answers(&proxy, 4)), are(&["2"]));

    told.says(&[2, 3]);
    until("the new one is used", || distinct(answers(&proxy, 4)) == are(&["2", "3"]));

    told.says(&[3]);
    until("the old one is not", || distinct(answers(&proxy, 4)) == are(&["3"]));
}

#[test]
fn an_endpoint_that_goes_finishes_what_it_has_and_loses_its_idle_connections() {
    let ([one, two], port) = sockets([2, 3]);
    let old = Origin::listening(one, |peer| {
        while let Some(request) = peer.request()? {
            if request.target() == "/slow" {
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nfin")?;
                // The rest comes when the proxy has heard of the change.
                peer.read(&mut [0; 1])?;
                return Ok(());
            }
            peer.send(ok("2"))?;
        }
        Ok(())
    });
    let _new = Origin::saying_at(two, "3");
    let told = Told::of(&[2]);
    let proxy = proxy(&told, port, "");
    let mut client = proxy.client();
    client.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    let head = client.head();
    assert_eq!(proxy.get("/").text(), "2");
    assert_eq!(old.connections(), 2);

    told.says(&[3]);
    until("the new one is used", || proxy.get("/").text() == "3");

    // The idle connection closes, the busy one does not: with the new one's there are two.
    proxy.counts("tollgate_upstream_connections_active", &[], 2.0);
    assert_eq!(head.status(), 200);
    drop(client);
}

#[test]
fn the_last_good_answer_is_used_while_the_resolver_is_broken() {
    let ([one], port) = sockets([2]);
    let _origin = Origin::saying_at(one, "2");
    let told = Told::of(&[2]);
    let proxy = proxy(&told, port, "");
    assert_eq!(proxy.get("/").text(), "2");

    told.breaks();
    told.is_asked_again();
    assert_eq!(proxy.get("/").text(), "2");

    // An answer without an address is none.
    told.says(&[]);
    told.is_asked_again();
    assert_eq!(proxy.get("/").text(), "2");
}

#[test]
fn the_last_good_answer_is_not_used_for_ever() {
    let ([one], port) = sockets([2]);
    let _origin = Origin::saying_at(one, "2");
    let told = Told::of(&[2]);
    let text = yaml(&format!("\"app.test:{port}\""), ", dns: { refresh: 100ms, keep: 200ms }", "");
    let proxy = TestProxy::resolving(&text, Arc::clone(&told) as Arc<dyn Resolve>);
    assert_eq!(proxy.get("/").text(), "2");

    told.breaks();

    until("nothing is known any more", || proxy.get("/").status() == 503);
    assert_eq!(endpoints(&proxy), Vec::<serde_json::Value>::new());
    told.says(&[2]);
    until("it is known again", || proxy.get("/").status() == 200);
}

#[test]
fn a_name_that_nobody_knows_is_503_at_once_after_the_first_look_up() {
    let told = Arc::<Told>::default();
    let proxy = proxy(&told, 1, ", limits: { connect_timeout: 1h }");

    assert_eq!(proxy.get("/").status(), 503);
    assert_eq!(proxy.get("/").status(), 503);
}

/// Never answers.
#[derive(Debug)]
struct Silent;

impl Resolve for Silent {
    fn look_up<'a>(&'a self, _: &'a str) -> LookedUp<'a> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn the_first_look_up_is_waited_for_as_long_as_for_a_connection() {
    let text = yaml("\"app.test:1\"", ", limits: { connect_timeout: 100ms }", "");
    let proxy = TestProxy::resolving(&text, Arc::new(Silent));

    assert_eq!(proxy.get("/").status(), 503);
    assert_eq!(proxy.metric("tollgate_upstream_failures_total", &["reason=\"connect\""]), 1.0);
}

#[test]
fn a_reload_keeps_what_is_known_of_a_name() {
    let ([one], port) = sockets([2]);
    let _origin = Origin::saying_at(one, "2");
    let told = Told::of(&[2]);
    let proxy = proxy(&told, port, "");
    assert_eq!(proxy.get("/").text(), "2");
    told.breaks();

    let text = yaml(&format!("\"app.test:{port}\""), ", dns: { refresh: 200ms }, balance: random", "");
    proxy.configure(&text).unwrap();

    assert_eq!(proxy.get("/").text(), "2");
}

#[test]
fn a_name_is_looked_up_once_for_all_workers_and_not_for_each_connection() {
    let ([one], port) = sockets([2]);
    let _origin = Origin::listening(one, |peer| {
        peer.request().and_then(|_| peer.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"))
    });
    let told = Told::of(&[2]);
    let text = yaml(&format!("\"app.test:{port}\""), ", dns: { refresh: 1h }", "");
    let proxy = TestProxy::resolving(&format!("workers: 3\n{text}"), Arc::clone(&told) as Arc<dyn Resolve>);

    (0..20).for_each(|_| assert_eq!(proxy.get("/").status(), 200));

    assert_eq!(told.asked.load(SeqCst), 1);
}
