//! How connections that changed to another protocol end, and what they hold up until then.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use common::farewells::{hear_out, saying};
use common::origin::Origin;
use common::tcp::{ear, exactly, is_reset, overflowing, to_end};
use common::upgrades::{HANDSHAKE, PLAIN, active, agreeing, echo, proxy, proxy_with, switched};
use common::{PATIENCE, until};
use socket2::SockRef;

/// An endpoint that agrees, and tells the test what it heard to the end.
fn listening() -> (Origin, mpsc::Receiver<Result<Vec<u8>, ErrorKind>>) {
    let (ear, told) = ear();
    let origin = agreeing(move |peer| {
        ear.hear(peer)?;
        peer.send("bye")
    });
    (origin, told)
}

#[test]
fn the_end_of_one_way_leaves_the_other_open() {
    let (origin, heard) = listening();
    let proxy = proxy(&origin);
    let mut client = switched(&proxy);

    client.send("all of it");
    client.end();

    assert_eq!(heard.recv_timeout(PATIENCE).unwrap().unwrap(), b"all of it");
    assert_eq!(to_end(client.reader()).unwrap(), b"bye");
}

#[test]
fn an_endpoint_may_end_first_and_still_listen() {
    let (ear, told) = ear();
    let origin = agreeing(move |peer| {
        peer.send("bye")?;
        peer.stream().shutdown(Shutdown::Write)?;
        ear.hear(peer)
    });
    let proxy = proxy(&origin);
    let mut client = switched(&proxy);

    assert_eq!(to_end(client.reader()).unwrap(), b"bye");
    client.send("one more thing");
    client.end();

    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), b"one more thing");
}

#[test]
fn an_endpoint_that_breaks_off_is_told_to_the_client() {
    let origin = agreeing(|peer| {
        let mut first = [0];
        peer.reader().read_exact(&mut first)?;
        if first[0] == b'!' { peer.reset() } else { Ok(()) }
    });
    let proxy = proxy(&origin);

    let (mut cut, mut ended) = (switched(&proxy), switched(&proxy));
    cut.send("!");
    ended.send(".");

    assert_eq!(to_end(cut.reader()).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    assert_eq!(to_end(ended.reader()).unwrap(), b"");
    drop((cut, ended));
    until("both are over", || active(&proxy) == 0.0);
}

#[test]
fn an_endpoint_that_breaks_off_while_it_is_told_much_is_no_end() {
    let (go, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let origin = agreeing(move |peer| {
        held.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        peer.reset()
    });
    let proxy = proxy(&origin);
    let mut client = switched(&proxy);

    // Until nobody takes more. Whoever wrote later would be told of the reset in the reader's place.
    client.stream().set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    while client.try_send([b'x'; 1 << 16]).is_ok() {}
    go.send(()).unwrap();

    assert!(is_reset(&to_end(client.reader())), "an end would say that this was all");
}

#[test]
fn what_was_said_is_whole_although_its_endpoint_closes_before_it_heard_all() {
    let (script, gone) = saying();
    let origin = agreeing(script);
    let proxy = proxy(&origin);
    let mut client = switched(&proxy);
    let writer = client.stream().try_clone().unwrap();

    client.send("!");
    hear_out(client.reader(), &writer, &gone);

    until("it is over", || active(&proxy) == 0.0);
}

#[test]
fn a_client_that_breaks_off_is_told_to_the_endpoint() {
    let (origin, heard) = listening();
    let proxy = proxy(&origin);
    let mut client = switched(&proxy);
    client.send("x");
    proxy.counts("tollgate_http_upgraded_active", &["route=\"r\""], 1.0);

    SockRef::from(&*client.stream()).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);

    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset));
    until("it is over", || active(&proxy) == 0.0);
}

#[test]
fn a_connection_on_which_nothing_moves_is_ended() {
    let (origin, heard) = listening();
    let proxy = proxy_with("stream_idle_timeout: 300ms", "", "", &origin);
    let mut client = switched(&proxy);

    client.send("last words");

    assert_eq!(heard.recv_timeout(PATIENCE).unwrap().unwrap(), b"last words");
    assert!(to_end(client.reader()).unwrap().len() <= 3);
}

#[test]
fn a_connection_that_stalls_with_bytes_for_somebody_is_reset() {
    let (script, told) = overflowing();
    let origin = agreeing(script);
    let proxy = proxy_with("stream_idle_timeout: 300ms", "", "", &origin);
    let mut client = switched(&proxy);

    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset));

    assert!(is_reset(&to_end(client.reader())), "a part of it would look like all of it");
}

#[test]
fn a_connection_counts_against_the_bounds_of_its_cluster_until_it_ends() {
    let origin = echo();
    let proxy = proxy_with("upstream_connections: 1, pending: 1, pool_timeout: 200ms", "", "", &origin);
    let mut client = switched(&proxy);

    assert_eq!(proxy.send(HANDSHAKE).status(), 503);
    assert_eq!(proxy.metric("tollgate_upstream_connections_active", &[]), 1.0);
    client.send("x");
    assert_eq!(exactly(client.reader(), 1), "x");
    client.end();
    assert!(client.is_closed());

    until("its place is free", || active(&proxy) == 0.0);
    drop(switched(&proxy));
    assert_eq!(origin.connections(), 2);
}

#[test]
fn a_drain_waits_for_a_changed_connection() {
    let origin = echo();
    let mut proxy = proxy(&origin);
    let (mut client, mut idle) = (switched(&proxy), proxy.client());
    idle.send(PLAIN);
    // The origin agrees to whatever it is asked, which nobody asked for.
    assert_eq!(idle.answer().status(), 502);

    proxy.drain();
    assert!(idle.is_closed(), "the worker has heard of the drain");
    client.send("still here");
    assert_eq!(exactly(client.reader(), 10), "still here");
    client.end();

    assert!(client.is_closed());
    proxy.ended();
}

#[test]
fn a_drain_does_not_wait_for_ever_and_what_it_cuts_is_no_whole_conversation() {
    let (origin, heard) = listening();
    let mut proxy = proxy_with("drain_timeout: 300ms", "", "", &origin);
    let mut client = switched(&proxy);
    proxy.counts("tollgate_http_upgraded_active", &["route=\"r\""], 1.0);

    proxy.drain();

    assert!(is_reset(&to_end(client.reader())));
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset));
    proxy.ended();
}
