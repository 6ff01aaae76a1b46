//! Connections that are passed on as they come: every byte, every end, every reset, and the bounds of all of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::admin::LOOPBACK;
use common::clusters::becomes;
use common::farewells::{hear_out, say, saying};
use common::hole::BlackHole;
use common::origin::{Origin, refusing};
use common::proxy::TestProxy;
use common::tcp::{
    connect, ear, echo, exactly, is_refused, is_reset, overflowing, pour_and_check, pouring, settled, speaking_first,
    to_end, try_connect,
};
use common::{PATIENCE, until};
use socket2::SockRef;

const MIB: usize = 1 << 20;

/// A proxy that passes connections on to these hosts.
fn proxy(limits: &str, hosts: &[SocketAddr]) -> TestProxy {
    let hosts: Vec<_> = hosts.iter().map(|host| format!("{:?}", host.to_string())).collect();
    TestProxy::with(&format!(
        "limits: {{ {limits} }}\nclusters: {{ db: {{ hosts: [{}] }} }}\n\
         listeners: [{{ name: raw, listen: \"127.0.0.1:0\", tcp: {{ to: db }} }}]",
        hosts.join(", ")
    ))
}

/// Closes with RST in place of FIN.
fn abort(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn the_end_of_one_way_leaves_the_other_open() {
    let origin = Origin::scripted(|peer| {
        let heard = to_end(peer.reader())?;
        peer.send([b"heard ", heard.as_slice()].concat())
    });
    let proxy = proxy("", &[origin.address()]);
    let mut client = connect(&proxy);

    client.write_all(b"all of it").unwrap();
    client.shutdown(Shutdown::Write).unwrap();

    assert_eq!(to_end(&mut client).unwrap(), b"heard all of it");
}

#[test]
fn an_endpoint_may_end_first_and_still_listen() {
    let (origin, told) = speaking_first("bye");
    let proxy = proxy("", &[origin.address()]);
    let mut client = connect(&proxy);

    assert_eq!(to_end(&mut client).unwrap(), b"bye");
    client.write_all(b"one more thing").unwrap();
    drop(client);

    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), b"one more thing");
}

#[test]
fn a_client_that_says_nothing_is_heard_to_end() {
    let origin = Origin::scripted(|peer| {
        assert!(to_end(peer.reader())?.is_empty());
        peer.send("nothing")
    });
    let proxy = proxy("", &[origin.address()]);
    let mut client = connect(&proxy);

    client.shutdown(Shutdown::Write).unwrap();

    assert_eq!(to_end(&mut client).unwrap(), b"nothing");
}

#[test]
fn sixty_four_mebibytes_go_both_ways_at_once() {
    let length = 64 * MIB;
    let origin = Origin::scripted(pouring(length));
    let proxy = proxy("", &[origin.address()]);
    let mut client = connect(&proxy);
    let writer = client.try_clone().unwrap();

    pour_and_check(&mut client, writer, length);

    assert_eq!(to_end(&mut client).unwrap(), b"");
    proxy.counts("tollgate_listener_tcp_bytes_total", &["listener=\"raw\"", "direction=\"in\""], length as f64);
    proxy.counts("tollgate_listener_tcp_bytes_total", &["listener=\"raw\"", "direction=\"out\""], length as f64);
}

#[test]
fn an_endpoint_that_does_not_read_holds_the_client_back() {
    let (next, turn) = mpsc::channel::<()>();
    let turn = Mutex::new(turn);
    let origin = Origin::scripted(move |peer| {
        turn.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        let heard = to_end(peer.reader())?.len();
        peer.send(heard.to_string())
    });
    let proxy = proxy("", &[origin.address()]);
    let mut client = connect(&proxy);
    let mut writer = client.try_clone().unwrap();
    let sent = Arc::<AtomicU64>::default();
    let known = Arc::clone(&sent);

    let pouring = thread::spawn(move || {
        for _ in 0..1024 {
            writer.write_all(&[b'x'; 1 << 16]).unwrap();
            known.fetch_add(1 << 16, SeqCst);
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });

    // The kernel's buffers of two connections, and little of ours.
    assert!(settled(&sent) < 32 << 20);
    next.send(()).unwrap();
    assert_eq!(to_end(&mut client).unwrap(), (64 * MIB).to_string().as_bytes());
    pouring.join().unwrap();
}

#[test]
fn a_reset_of_either_side_resets_the_other() {
    let (ear, told) = ear();
    let origin = Origin::scripted(move |peer| {
        let mut first = [0];
        peer.reader().read_exact(&mut first)?;
        if first[0] == b'!' { peer.reset() } else { ear.hear(peer) }
    });
    let proxy = proxy("", &[origin.address()]);
    let mut refused = connect(&proxy);
    let mut leaving = connect(&proxy);

    refused.write_all(b"!").unwrap();
    assert!(is_reset(&to_end(&mut refused)));
    leaving.write_all(b"?").unwrap();
    until("the endpoint hears the client", || proxy.metric("tollgate_listener_tcp_bytes_total", &["\"in\""]) == 2.0);
    abort(leaving);

    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset));
}

#[test]
fn an_answer_is_whole_although_its_endpoint_closes_before_it_heard_all() {
    let (script, gone) = saying();
    let origin = Origin::scripted(script);
    let proxy = proxy("", &[origin.address()]);
    let mut client = connect(&proxy);
    let writer = client.try_clone().unwrap();

    client.write_all(b"!").unwrap();

    hear_out(&mut client, &writer, &gone);
}

#[test]
fn what_a_client_said_is_whole_although_it_closes_before_it_heard_all() {
    let ((tell, gone), (told, heard)) = (mpsc::channel(), mpsc::channel());
    let (gone, told) = (Mutex::new(gone), Mutex::new(told));
    let origin = Origin::scripted(move |peer| {
        let writer = peer.stream().try_clone()?;
        hear_out(peer.reader(), &writer, &gone.lock().unwrap());
        told.lock().unwrap().send(()).map_err(io::Error::other)
    });
    let proxy = proxy("", &[origin.address()]);
    let mut client = connect(&proxy);

    tell.send(say(&mut client).unwrap()).unwrap();

    heard.recv_timeout(PATIENCE).expect("all was heard");
}

#[test]
fn a_client_is_reset_where_no_endpoint_takes_the_connection() {
    let alone = proxy("", &[refusing()]);

    assert!(is_refused(&alone));
    assert_eq!(alone.metric("tollgate_upstream_failures_total", &["cluster=\"db\"", "reason=\"connect\""]), 1.0);
}

#[test]
fn another_endpoint_is_tried_where_one_refuses() {
    let origin = echo();
    let paired = proxy("", &[refusing(), origin.address()]);

    for _ in 0..2 {
        let mut client = connect(&paired);
        client.write_all(b"x").unwrap();
        assert_eq!(exactly(&mut client, 1), "x");
    }

    // The second connection begins where the first one ended up.
    assert_eq!(paired.metric("tollgate_upstream_retries_total", &["cluster=\"db\"", "reason=\"connect\""]), 1.0);
}

#[test]
fn a_connection_on_which_nothing_moves_is_closed_and_a_busy_one_is_not() {
    let origin = echo();
    let proxy = proxy("stream_idle_timeout: 1s", &[origin.address()]);
    let (mut busy, mut idle) = (connect(&proxy), connect(&proxy));
    let mut exchange = || {
        busy.write_all(b"x").unwrap();
        assert_eq!(exactly(&mut busy, 1), "x");
    };
    exchange();
    let active = || proxy.metric("tollgate_listener_tcp_connections_active", &["listener=\"raw\""]);

    // The other one is younger, and closed for its age while this one is busy.
    until("both are there", || active() == 2.0);
    until("one is closed", || {
        exchange();
        active() == 1.0
    });
    exchange();

    assert_eq!(to_end(&mut idle).unwrap(), b"");
    assert_eq!(to_end(&mut busy).unwrap(), b"");
    proxy.counts("tollgate_listener_tcp_connections_active", &["listener=\"raw\""], 0.0);
}

#[test]
fn a_connection_that_stalls_with_bytes_for_somebody_is_reset() {
    let (script, told) = overflowing();
    let origin = Origin::scripted(script);
    let proxy = proxy("stream_idle_timeout: 300ms", &[origin.address()]);
    let mut client = connect(&proxy);

    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset));

    assert!(is_reset(&to_end(&mut client)), "a part of it would look like all of it");
}

#[test]
fn connections_over_the_limit_of_the_process_are_reset() {
    let origin = echo();
    let proxy = proxy("connections: 1", &[origin.address()]);
    let mut first = connect(&proxy);
    first.write_all(b"x").unwrap();
    exactly(&mut first, 1);

    assert!(is_refused(&proxy));

    assert_eq!(proxy.metric("tollgate_connections_refused_total", &["listener=\"raw\""]), 1.0);
    drop(first);
    until("the place is free", || {
        try_connect(&proxy).is_ok_and(|mut third| {
            third.write_all(b"x").is_ok() && third.read(&mut [0]).is_ok_and(|length| length == 1)
        })
    });
}

#[test]
fn connections_over_the_limit_of_the_cluster_wait_and_past_the_queue_are_reset() {
    let origin = echo();
    let proxy = proxy("upstream_connections: 1, pending: 1, pool_timeout: 10s", &[origin.address()]);
    let mut first = connect(&proxy);
    first.write_all(b"x").unwrap();
    exactly(&mut first, 1);
    let mut second = connect(&proxy);
    second.write_all(b"y").unwrap();
    proxy.counts("tollgate_listener_tcp_connections_active", &[], 2.0);

    assert!(is_refused(&proxy));

    assert_eq!(proxy.metric("tollgate_upstream_failures_total", &["reason=\"overflow\""]), 1.0);
    drop(first);
    assert_eq!(exactly(&mut second, 1), "y");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn a_drain_waits_for_connections_and_serves_new_ones_meanwhile() {
    let origin = echo();
    let mut proxy = proxy("drain_timeout: 10m", &[origin.address()]);
    let mut old = connect(&proxy);
    old.write_all(b"x").unwrap();
    exactly(&mut old, 1);

    proxy.drain();
    let mut fresh = connect(&proxy);

    for client in [&mut old, &mut fresh] {
        client.write_all(b"more").unwrap();
        assert_eq!(exactly(client, 4), "more");
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(to_end(client).unwrap(), b"");
    }
    // Nothing is left to wait for.
    proxy.ended();
}

#[test]
fn a_drain_cuts_connections_that_outlast_it() {
    let (ear, told) = ear();
    let origin = Origin::scripted(move |peer| peer.send("x").and_then(|()| ear.hear(peer)));
    let mut proxy = proxy("drain_timeout: 300ms", &[origin.address()]);
    let mut client = connect(&proxy);
    client.write_all(b"x").unwrap();
    exactly(&mut client, 1);

    proxy.drain();

    assert!(is_reset(&to_end(&mut client)), "an end would look like a whole conversation");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset));
    proxy.ended();
}

#[test]
fn connections_are_counted_and_http_is_spoken_next_door() {
    let (raw, web) = (echo(), Origin::saying("web"));
    let proxy = TestProxy::with(&format!(
        "clusters: {{ db: {{ hosts: [\"{}\"] }} }}\nlisteners:\n\
         - {{ name: raw, listen: \"127.0.0.1:0\", tcp: {{ to: db }} }}\n\
         - {{ name: web, listen: \"127.0.0.1:0\", routes: [{{ to: \"{}\" }}] }}",
        raw.address(),
        web.url()
    ));
    let mut client = connect(&proxy);

    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(exactly(&mut client, 18), "GET / HTTP/1.1\r\n\r\n");
    let mut browser = common::client::Client::connect(proxy.address_of("web"));
    browser.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");

    assert_eq!(browser.answer().text(), "web");
    let of_raw = |name: &str| proxy.metric(name, &["listener=\"raw\""]);
    assert_eq!(of_raw("tollgate_connections_total"), 1.0);
    assert_eq!(of_raw("tollgate_connections_active"), 1.0);
    assert_eq!(of_raw("tollgate_listener_tcp_connections_total"), 1.0);
    assert_eq!(of_raw("tollgate_listener_tcp_bytes_total"), 36.0);
    assert_eq!(proxy.metric("tollgate_upstream_connections_active", &["cluster=\"db\""]), 1.0);
    drop(client);
    proxy.counts("tollgate_connections_active", &["listener=\"raw\""], 0.0);
    proxy.counts("tollgate_upstream_connections_active", &["cluster=\"db\""], 0.0);
}

#[test]
fn connections_are_spread_evenly_where_the_listener_says_so() {
    let origin = echo();
    let proxy = TestProxy::with(&format!(
        "workers: 2\nlisteners: [{{ listen: \"127.0.0.1:0\", balance: even, tcp: {{ to: \"tcp://{}\" }} }}]",
        origin.address()
    ));

    let clients: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut client = connect(&proxy);
            client.write_all(b"x").unwrap();
            assert_eq!(exactly(&mut client, 1), "x");
            client
        })
        .collect();

    assert_eq!(origin.connections(), 8);
    drop(clients);
}

#[test]
fn a_connection_that_is_not_made_in_time_is_reset() {
    let hole = BlackHole::dig();
    let proxy = proxy("connect_timeout: 300ms", &[hole.address()]);

    assert!(is_refused(&proxy));
}

#[test]
fn over_the_budget_no_other_endpoint_is_tried() {
    let hole = BlackHole::dig();
    let hosts = format!("\"{}\", \"{}\"", refusing(), hole.address());
    let proxy = TestProxy::with(&format!(
        "clusters: {{ db: {{ hosts: [{hosts}], limits: {{ retries: 1, connect_timeout: 1h }} }} }}\n\
         listeners: [{{ name: raw, listen: \"127.0.0.1:0\", tcp: {{ to: db }} }}]"
    ));
    // The first is on its way to the second endpoint after the first one; the second begins there.
    let _held = [connect(&proxy), connect(&proxy)];
    proxy.counts("tollgate_listener_tcp_connections_active", &[], 2.0);
    proxy.counts("tollgate_upstream_retries_total", &["reason=\"connect\""], 1.0);

    assert!(is_refused(&proxy));

    assert_eq!(proxy.metric("tollgate_upstream_retries_total", &[]), 1.0);
    assert_eq!(proxy.metric("tollgate_upstream_retries_refused_total", &[]), 1.0);
}

#[test]
fn a_connection_that_finds_no_room_forgives_an_endpoint_nothing() {
    let (hole, spare) = (BlackHole::dig(), echo());
    let hosts = format!("\"{}\", {{ host: \"{}\", priority: 1 }}", hole.address(), spare.address());
    let limits = "connections: 1, pending: 1, connect_timeout: 500ms, pool_timeout: 10s";
    let proxy = TestProxy::with(&format!(
        "{LOOPBACK}clusters: {{ db: {{ hosts: [{hosts}], limits: {{ {limits} }}, outliers: {{ failures: 5, base: 1h, max: 1h }} }} }}\n\
         listeners: [{{ name: raw, listen: \"127.0.0.1:0\", tcp: {{ to: db }} }}]"
    ));
    // It fails twice at the endpoint, which is the only one of its priority.
    assert!(is_refused(&proxy));

    let mut last = [connect(&proxy), connect(&proxy)];
    proxy.counts("tollgate_listener_tcp_connections_active", &[], 2.0);
    assert!(is_refused(&proxy));
    // One fails twice, the other at the least once.
    last.iter_mut().for_each(|client| assert!(is_reset(&to_end(client))));

    assert!(proxy.metric("tollgate_upstream_failures_total", &["reason=\"overflow\""]) >= 1.0);
    becomes(&proxy, &["ejected", "healthy"]);
}
