//! The end of a proxy: what is under way is finished, nobody who comes late is refused, and it does not take for ever.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use common::client::Client;
use common::origin::Origin;
use common::proxy::TestProxy;
use common::{h2, until};

const ASK: &str = "GET /held HTTP/1.1\r\nhost: a\r\n\r\n";

/// `/held` goes to the origin, everything else to the built-in echo.
fn proxy(limits: &str, origin: &Origin) -> TestProxy {
    TestProxy::with(&format!(
        "limits: {{ {limits} }}\nroutes:\n- {{ match: {{ path: /held }}, to: {:?}, timeout: 1m }}\n- {{ to: echo }}\n",
        origin.url()
    ))
}

/// A client whose exchange waits for the origin.
fn waiting(proxy: &TestProxy, origin: &Origin) -> Client {
    let mut client = proxy.client();
    client.send(ASK);
    until("the exchange is under way", || origin.requests().len() == 1);
    client
}

#[test]
fn an_exchange_under_way_is_finished_before_the_end() {
    let (origin, release) = Origin::held("finished");
    let mut proxy = proxy("", &origin);
    let mut client = waiting(&proxy, &origin);
    let mut idle = proxy.client();
    idle.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(idle.answer().status(), 200);

    proxy.drain();
    assert!(idle.is_closed(), "the worker has heard of the drain");
    release.send(()).unwrap();
    let answer = client.answer();

    assert_eq!((answer.text(), answer.field("connection")), ("finished", Some("close")));
    assert!(client.is_closed());
    proxy.ended();
}

#[test]
fn an_exchange_of_http2_under_way_is_finished_before_the_end() {
    let (origin, release) = Origin::held("finished");
    let mut proxy = proxy("", &origin);

    let answer = h2::talk(proxy.address(), |mut sender| {
        let (proxy, origin) = (&proxy, &origin);
        async move {
            let asked = tokio::spawn(sender.send_request(h2::get("/held")));
            while origin.requests().is_empty() {
                tokio::task::yield_now().await;
            }
            proxy.drain();
            release.send(()).unwrap();
            h2::whole(asked.await.unwrap().unwrap()).await.unwrap()
        }
    });

    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"finished"[..]));
    proxy.ended();
}

#[test]
fn who_comes_late_is_served_once_until_the_last_exchange_ends() {
    let (origin, release) = Origin::held("finished");
    let mut proxy = proxy("", &origin);
    let mut client = waiting(&proxy, &origin);
    let mut idle = proxy.client();
    idle.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(idle.answer().field("connection"), None);

    proxy.drain();
    // The proxy drains for certain once it has closed the connection that had nothing to do.
    assert!(idle.is_closed());
    let mut late = proxy.client();
    late.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let served = late.answer();

    assert_eq!((served.status(), served.field("connection")), (200, Some("close")));
    assert!(late.is_closed());
    release.send(()).unwrap();
    assert_eq!(client.answer().text(), "finished");
    proxy.ended();
}

#[test]
fn who_connected_before_the_end_or_is_sending_a_head_is_served_once() {
    let (origin, release) = Origin::held("finished");
    let mut proxy = proxy("", &origin);
    let mut client = waiting(&proxy, &origin);
    let (mut silent, mut slow, mut idle) = (proxy.client(), proxy.client(), proxy.client());
    for client in [&mut slow, &mut idle] {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.answer().status(), 200);
    }
    slow.send("GET / HTTP/1.1\r\n");
    // Whoever comes later was accepted later: the proxy has read what was sent before.
    assert_eq!(proxy.get("/").status(), 200);

    proxy.drain();
    assert!(idle.is_closed(), "the worker has heard of the drain");
    silent.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    slow.send("host: a\r\n\r\n");

    for client in [&mut silent, &mut slow] {
        let answer = client.answer();
        assert_eq!((answer.status(), answer.field("connection")), (200, Some("close")));
        assert!(client.is_closed());
    }
    release.send(()).unwrap();
    assert_eq!(client.answer().text(), "finished");
    proxy.ended();
}

#[test]
fn a_head_on_its_way_holds_the_end_up_as_long_as_it_may_take() {
    let (origin, _release) = Origin::held("finished");
    let mut proxy = proxy("header_timeout: 1s", &origin);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\n");
    assert_eq!(proxy.get("/").status(), 200);

    proxy.drain();

    assert_eq!(client.answer().status(), 408);
    proxy.ended();
}

#[test]
fn an_exchange_that_does_not_end_is_cut_at_the_deadline() {
    let (origin, _release) = Origin::held("finished");
    let mut proxy = proxy("drain_timeout: 300ms", &origin);
    let mut client = waiting(&proxy, &origin);

    proxy.drain();
    proxy.ended();

    assert!(client.try_answer().is_err());
}

#[test]
fn being_told_twice_hurries() {
    let (origin, _release) = Origin::held("finished");
    let mut proxy = proxy("drain_timeout: 10m", &origin);
    let mut client = waiting(&proxy, &origin);

    proxy.drain();
    proxy.drain();
    proxy.ended();

    assert!(client.try_answer().is_err());
}

#[test]
fn with_nothing_under_way_the_end_is_near() {
    let (origin, _release) = Origin::held("finished");
    let mut proxy = proxy("drain_timeout: 10m", &origin);
    let mut idle = proxy.client();
    idle.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(idle.answer().status(), 200);

    proxy.drain();
    // Which is waited for for a small part of the time that there is.
    proxy.ended();

    assert!(idle.is_closed());
}

#[test]
fn a_connection_that_never_says_anything_does_not_hold_the_end_up() {
    let (origin, _release) = Origin::held("finished");
    let mut proxy = proxy("drain_timeout: 10m, header_timeout: 10m", &origin);
    let _silent = [proxy.client(), proxy.client()];
    proxy.counts("tollgate_connections_total", &[], 2.0);

    proxy.drain();
    proxy.ended();
}

#[test]
fn a_drained_proxy_leaves_its_address() {
    let (origin, _release) = Origin::held("finished");
    let mut proxy = proxy("", &origin);
    let address = proxy.address();

    proxy.drain();
    proxy.ended();

    std::net::TcpListener::bind(address).unwrap();
}

mod process {
    //! The same with the binary, a signal, and the admin endpoints.

    use super::*;
    use crate::common::process::{Tollgate, ask};

    #[test]
    fn sigterm_finishes_what_is_under_way_and_ends_with_0() {
        let (origin, release) = Origin::held("finished");
        let admin = common::origin::free();
        let mut tollgate = Tollgate::run(&format!(
            "workers: 1\nadmin: {{ listen: {:?} }}\nlisten: 127.0.0.1:0\n\
             routes:\n- {{ match: {{ path: /held }}, to: {:?} }}\n- {{ to: echo }}\n",
            admin.to_string(),
            origin.url()
        ));
        let address = tollgate.address_after("listening on http://");
        let (mut client, mut idle) = (Client::connect(address), Client::connect(address));
        client.send(ASK);
        until("the exchange is under way", || origin.requests().len() == 1);
        idle.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(idle.answer().status(), 200);
        until("it is ready", || ask(admin, "/ready").status() == 200);

        tollgate.signal("TERM");
        until("it is not ready any more", || ask(admin, "/ready").status() == 503);
        assert!(idle.is_closed(), "the worker has heard of it");
        release.send(()).unwrap();

        let answer = client.answer();
        assert_eq!((answer.text(), answer.field("connection")), ("finished", Some("close")));
        assert_eq!(tollgate.code(), Some(0));
    }

    #[test]
    fn sigterm_with_nothing_under_way_ends_soon() {
        let mut tollgate =
            Tollgate::run("admin: off\nlimits: { drain_timeout: 10m }\nlisten: 127.0.0.1:0\nroutes: [{ to: echo }]\n");
        let mut idle = Client::connect(tollgate.address_after("listening on http://"));
        idle.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(idle.answer().status(), 200);

        tollgate.signal("TERM");

        assert_eq!(tollgate.code(), Some(0));
        assert!(idle.is_closed());
    }
}

#[test]
fn a_request_whose_head_came_in_part_is_read_and_served() {
    let (origin, release) = Origin::held("finished");
    let mut proxy = proxy("", &origin);
    let mut client = waiting(&proxy, &origin);
    let (mut fresh, mut used, mut idle) = (proxy.client(), proxy.client(), proxy.client());
    used.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(used.answer().status(), 200);
    for half in [&mut fresh, &mut used] {
        half.send("GET / HTTP/1.1\r\nho");
    }
    // What the only worker answers behind them tells that it has read them.
    for _ in 0..3 {
        idle.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(idle.answer().status(), 200);
    }

    proxy.drain();
    assert!(idle.is_closed(), "the worker has heard of the drain");
    for half in [&mut fresh, &mut used] {
        half.send("st: a\r\n\r\n");
        let answer = half.answer();

        assert_eq!((answer.status(), answer.field("connection")), (200, Some("close")));
        assert!(half.is_closed());
    }
    release.send(()).unwrap();
    assert_eq!(client.answer().text(), "finished");
    proxy.ended();
}
