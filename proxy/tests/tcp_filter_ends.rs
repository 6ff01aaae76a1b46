//! How filters end connections that are passed on, what becomes of one when a filter fails or holds it for too long, and
//! what filters hear of the end.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::time::Duration;

use common::modules::Guest;
use common::origin::Origin;
use common::proxy::TestProxy;
use common::tcp::{
    HELD_AT_THE_DOOR, calls, connect, echo, exactly, filtered, guest, is_refused, is_reset, listening, proxy_with,
    to_end,
};
use common::{PATIENCE, log, until};
use socket2::SockRef;

#[test]
fn a_client_that_leaves_while_it_is_held_at_the_door_is_forgotten() {
    let origin = echo();
    let proxy = filtered(origin.address(), HELD_AT_THE_DOOR);
    let client = connect(&proxy);
    until("the filter knows it", || calls(&proxy, "new_connection") == 1.0);

    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);

    proxy.counts("tollgate_listener_tcp_connections_active", &[], 0.0);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_connection_that_nobody_continues_is_reset() {
    let origin = echo();
    let guest = guest(HELD_AT_THE_DOOR);
    let proxy = proxy_with("", origin.address(), &[("f", &guest, "pause_timeout: 300ms")]);

    assert!(is_refused(&proxy));
    assert_eq!(proxy.metric("tollgate_filter_failures_total", &["filter=\"f\"", "kind=\"paused\""]), 1.0);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_filter_that_holds_all_it_may_for_too_long_has_its_connection_reset() {
    let (origin, told) = listening();
    let body = r#"(func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32) (i32.const 1))"#;
    let guest = guest(body);
    let proxy = proxy_with("buffer: 1KiB", origin.address(), &[("f", &guest, "pause_timeout: 300ms")]);
    let mut client = connect(&proxy);

    client.write_all(&[b'x'; 1024]).unwrap();

    assert!(is_reset(&to_end(&mut client)));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_connection_that_idles_while_a_filter_holds_some_of_it_is_reset() {
    let (origin, told) = listening();
    let body = r#"(func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32) (i32.const 1))"#;
    let proxy = proxy_with("stream_idle_timeout: 300ms", origin.address(), &[("f", &guest(body), "")]);
    let mut client = connect(&proxy);

    client.write_all(b"half a message").unwrap();

    assert!(is_reset(&to_end(&mut client)));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_filter_that_holds_for_too_long_is_left_out_where_it_skips() {
    let (origin, told) = listening();
    let guest = guest(
        r#"(func (export "proxy_on_new_connection") (param i32) (result i32) (i32.const 0))
        (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32) (i32.const 1))"#,
    );
    let settings = "pause_timeout: 300ms, on_error: skip";
    let proxy = proxy_with("buffer: 1KiB", origin.address(), &[("f", &guest, settings)]);
    let mut client = connect(&proxy);

    client.write_all(&[b'x'; 3000]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();

    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), [b'x'; 3000]);
    assert_eq!(to_end(&mut client).unwrap(), b"bye");
    assert_eq!(calls(&proxy, "downstream_data"), 1.0);
    assert_eq!(calls(&proxy, "new_connection"), 1.0);
}

#[test]
fn closing_from_either_side_writes_what_left_the_filter_before() {
    for stream in [2, 3] {
        let (origin, told) = listening();
        let proxy = filtered(
            origin.address(),
            &format!(
                r#"(data (i32.const 0) "last")
                (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32)
                  (call $append (i32.const 2) (i32.const 0) (i32.const 4))
                  (drop (call $close (i32.const {stream})))
                  (i32.const 0))"#
            ),
        );
        let mut client = connect(&proxy);

        client.write_all(b"words, ").unwrap();

        assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), b"words, last");
        assert_eq!(to_end(&mut client).unwrap(), b"");
        proxy.counts("tollgate_listener_tcp_connections_active", &[], 0.0);
    }
}

#[test]
fn closing_on_what_comes_back_still_gives_it_to_the_client() {
    let origin = echo();
    let proxy = filtered(
        origin.address(),
        r#"(func (export "proxy_on_upstream_data") (param i32 i32 i32) (result i32)
          (drop (call $close (i32.const 3))) (i32.const 0))"#,
    );
    let mut client = connect(&proxy);

    client.write_all(b"once").unwrap();

    assert_eq!(to_end(&mut client).unwrap(), b"once");
}

#[test]
fn a_filter_that_closes_while_it_holds_drops_what_it_holds() {
    let (origin, told) = listening();
    let proxy = filtered(
        origin.address(),
        r#"(func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32)
          (drop (call $close (i32.const 2))) (i32.const 1))"#,
    );
    let mut client = connect(&proxy);

    client.write_all(b"secret").unwrap();

    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), b"");
    assert_eq!(to_end(&mut client).unwrap(), b"");
}

#[test]
fn a_filter_may_turn_a_connection_away_at_its_beginning_and_later_from_a_tick() {
    let origin = echo();
    let at_the_door = filtered(
        origin.address(),
        r#"(func (export "proxy_on_new_connection") (param i32) (result i32)
          (drop (call $close (i32.const 2))) (i32.const 1))"#,
    );
    let later = filtered(
        origin.address(),
        r#"(func (export "proxy_on_new_connection") (param i32) (result i32)
          (global.set $first (local.get 0)) (i32.const 0))
        (func (export "proxy_on_upstream_data") (param i32 i32 i32) (result i32)
          (global.set $open (i32.const 1)) (i32.const 0))
        (func (export "proxy_on_tick") (param i32)
          (if (i32.eqz (global.get $open)) (then (return)))
          (if (call $turn_to (global.get $first)) (then (return)))
          (drop (call $close (i32.const 2))))"#,
    );

    assert_eq!(to_end(&mut connect(&at_the_door)).unwrap(), b"");
    assert_eq!(origin.connections(), 0);
    let mut client = connect(&later);
    client.write_all(b"x").unwrap();
    assert_eq!(to_end(&mut client).unwrap(), b"x");
}

/// Changes what it sees, then traps.
const TRAPPING: &str = r#"(data (i32.const 0) "never")
  (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32)
    (call $append (i32.const 2) (i32.const 0) (i32.const 5)) unreachable)"#;

#[test]
fn a_filter_that_fails_has_its_connection_reset_where_it_denies() {
    let (origin, told) = listening();
    let proxy = filtered(origin.address(), TRAPPING);
    let mut client = connect(&proxy);

    client.write_all(b"x").unwrap();

    assert!(is_reset(&to_end(&mut client)));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset));
    let policy = |policy: &str| proxy.metric("tollgate_filter_on_error_total", &["filter=\"f\"", policy]);
    assert_eq!((policy("policy=\"deny\""), policy("policy=\"skip\"")), (1.0, 0.0));
}

#[test]
fn a_filter_that_fails_is_left_out_where_it_skips_and_its_changes_with_it() {
    let origin = echo();
    let guest = guest(TRAPPING);
    let proxy = proxy_with("", origin.address(), &[("f", &guest, "on_error: skip")]);
    let mut client = connect(&proxy);

    for _ in 0..2 {
        client.write_all(b"plain").unwrap();
        assert_eq!(exactly(&mut client, 5), "plain");
    }

    assert_eq!(calls(&proxy, "downstream_data"), 1.0);
    assert_eq!(proxy.metric("tollgate_filter_on_error_total", &["policy=\"skip\""]), 1.0);
}

#[test]
fn a_trap_in_one_connection_meets_its_neighbours_of_the_same_vm() {
    let origin = echo();
    let proxy = filtered(
        origin.address(),
        r#";; The first connection waits, the second fails the VM of both.
        (func (export "proxy_on_new_connection") (param i32) (result i32)
          (if (i32.eqz (global.get $first)) (then
            (global.set $first (local.get 0))
            (return (i32.const 1))))
          unreachable)"#,
    );
    let mut waiting = connect(&proxy);
    until("the filter knows the first", || calls(&proxy, "new_connection") == 1.0);

    assert!(is_refused(&proxy));

    assert!(is_reset(&to_end(&mut waiting)));
}

/// Writes a line with a digit for each event of a connection, after the name that stands in memory.
fn telling(name: &str) -> Guest {
    let length = name.len();
    guest(&format!(
        r#"(data (i32.const 0) "{name} ")
        (func $tell (param $what i32) (param $digit i32)
          (i32.store8 (i32.const {at}) (local.get $what))
          (i32.store8 (i32.const {digit}) (i32.add (local.get $digit) (i32.const 48)))
          (drop (call $log (i32.const 2) (i32.const 0) (i32.const {end}))))
        (func (export "proxy_on_context_create") (param i32 i32)
          (if (local.get 1) (then (call $tell (i32.const 110) (i32.const 0)))))
        (func (export "proxy_on_downstream_connection_close") (param i32 i32) (call $tell (i32.const 100) (local.get 1)))
        (func (export "proxy_on_upstream_connection_close") (param i32 i32) (call $tell (i32.const 117) (local.get 1)))
        (func (export "proxy_on_done") (param i32) (result i32) (call $tell (i32.const 111) (i32.const 0)) (i32.const 1))
        (func (export "proxy_on_log") (param i32) (call $tell (i32.const 108) (i32.const 0)))
        (func (export "proxy_on_delete") (param i32) (call $tell (i32.const 120) (i32.const 0)))"#,
        at = length + 1,
        digit = length + 2,
        end = length + 3,
    ))
}

/// What a filter was told of one connection: n(ew), u(pstream closed), d(ownstream closed), (d)o(ne), l(og), x for delete;
/// the closes with who did it, 1 for the proxy and 2 for the peer.
fn told_of(name: &str, origin: &Origin, limits: &str, act: impl FnOnce(&TestProxy)) -> String {
    log::keep();
    let guest = telling(name);
    let proxy = proxy_with(limits, origin.address(), &[("t", &guest, "")]);
    act(&proxy);
    let events = || {
        let (start, lines) = (format!(" {name} "), log::lines_with(&format!(" {name} ")));
        let words: Vec<&str> = lines.iter().map(|line| &line.split(&start).nth(1).unwrap()[..2]).collect();
        words.join(" ")
    };
    until("the context is deleted", || events().contains("x0"));
    drop(proxy);
    events()
}

#[test]
fn filters_hear_who_closed_what_and_then_the_end_once() {
    let bye = Origin::scripted(|peer| peer.send("bye"));
    let ends = told_of("upstream-first", &bye, "", |proxy| {
        let mut client = connect(proxy);
        assert_eq!(to_end(&mut client).unwrap(), b"bye");
        client.shutdown(Shutdown::Write).unwrap();
        proxy.counts("tollgate_listener_tcp_connections_active", &[], 0.0);
    });
    assert!(ends.starts_with("n0 u2 d2 o0 l0 x0"), "{ends}");

    let origin = echo();
    let ends = told_of("client-first", &origin, "", |proxy| {
        let mut client = connect(proxy);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(to_end(&mut client).unwrap(), b"");
    });
    assert!(ends.starts_with("n0 u2 d2 o0 l0 x0"), "{ends}");

    let ends = told_of("idle-both", &origin, "stream_idle_timeout: 300ms", |proxy| {
        assert_eq!(to_end(&mut connect(proxy)).unwrap(), b"");
    });
    assert!(ends.starts_with("n0 u1 d1 o0 l0 x0"), "{ends}");

    let ends = told_of("client-reset", &origin, "", |proxy| {
        let mut client = connect(proxy);
        client.write_all(b"x").unwrap();
        exactly(&mut client, 1);
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    });
    assert!(ends.starts_with("n0 u1 d2 o0 l0 x0"), "{ends}");
}
