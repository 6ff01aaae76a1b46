//! What goes through a tunnel of CONNECT over HTTP/1.1, and how all of it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::{ErrorKind, Read};
use std::time::Duration;

use common::origin::Origin;
use common::tcp::{echo, exactly, listening, pour_and_check, pouring, speaking_first, to_end};
use common::tunnels::{CONNECT, HIDDEN, connected, proxy, proxy_with};
use common::upgrades::active;
use common::{PATIENCE, until};
use socket2::SockRef;

#[test]
fn eight_mebibytes_go_both_ways_at_once() {
    let length = 8 << 20;
    let origin = Origin::scripted(pouring(length));
    let proxy = proxy(&origin);
    let mut client = connected(&proxy);
    let writer = client.stream().try_clone().unwrap();

    pour_and_check(client.reader(), writer, length);

    assert!(client.is_closed());
}

#[test]
fn the_end_of_one_way_leaves_the_other_open() {
    let (origin, heard) = listening();
    let proxy = proxy(&origin);
    let mut client = connected(&proxy);

    client.send("all of it");
    client.end();

    assert_eq!(heard.recv_timeout(PATIENCE).unwrap().unwrap(), b"all of it");
    assert_eq!(to_end(client.reader()).unwrap(), b"bye");
}

#[test]
fn an_endpoint_may_speak_first_and_end_first_and_still_listen() {
    let (origin, told) = speaking_first("220 hello");
    let proxy = proxy(&origin);
    let mut client = connected(&proxy);

    assert_eq!(to_end(client.reader()).unwrap(), b"220 hello");
    client.send("one more thing");
    client.end();

    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), b"one more thing");
}

#[test]
fn what_is_sent_behind_the_request_goes_through_as_it_is() {
    let origin = echo();
    let proxy = proxy(&origin);
    let mut client = proxy.client();

    // As one piece, and with a line end of its own that a reader of HTTP would trip over.
    client.send([CONNECT.as_bytes(), b"\x16\x03early\n\nmore"].concat());

    assert_eq!(client.any_head().status(), 200);
    assert_eq!(exactly(client.reader(), 13), "\x16\x03early\n\nmore");
}

#[test]
fn a_side_that_breaks_off_is_told_to_the_other() {
    let cutting = Origin::scripted(|peer| {
        peer.reader().read_exact(&mut [0])?;
        peer.reset()
    });
    let (origin, heard) = listening();
    let (cut, whole) = (proxy(&cutting), proxy(&origin));

    let mut client = connected(&cut);
    client.send("!");
    let gone = connected(&whole);
    whole.counts("tollgate_http_upgraded_active", &["route=\"r\""], 1.0);
    SockRef::from(&*{ gone }.stream()).set_linger(Some(Duration::ZERO)).unwrap();

    assert_eq!(to_end(client.reader()).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset));
    until("both are over", || active(&cut) + active(&whole) == 0.0);
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_ended() {
    let (origin, heard) = listening();
    let proxy = proxy_with("stream_idle_timeout: 300ms", "", "", &origin);
    let mut client = connected(&proxy);

    client.send("last words");

    assert_eq!(heard.recv_timeout(PATIENCE).unwrap().unwrap(), b"last words");
    assert!(to_end(client.reader()).unwrap().len() <= 3);
}

#[test]
fn a_drain_waits_for_a_tunnel_but_not_for_ever() {
    let origin = echo();
    let mut patient = proxy(&origin);
    let mut hasty = proxy_with("drain_timeout: 300ms", "", "", &origin);
    let (mut waited_for, mut cut) = (connected(&patient), connected(&hasty));
    let mut idle = patient.client();
    idle.send(HIDDEN);
    let asked = idle.any_head();
    assert!(asked.status() >= 200);

    patient.drain();
    hasty.drain();
    waited_for.send("still here");
    assert_eq!(exactly(waited_for.reader(), 10), "still here");
    waited_for.end();

    assert!(waited_for.is_closed() && cut.is_closed());
    patient.ended();
    hasty.ended();
}
