//! Filters of connections that are passed on: what they change, hold back and ask for.
//! How they end a connection, and what becomes of it when they fail, is in `tcp_filter_ends`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use common::modules::Guest;
use common::tcp::{
    HELD_AT_THE_DOOR, calls, connect, echo, exactly, filtered, guest, listening, pattern, proxy_with, settled, to_end,
};
use common::{PATIENCE, until};

/// Appends its letter to whatever passes, in either direction.
fn stamping(letter: char) -> Guest {
    guest(&format!(
        r#"(data (i32.const 0) "{letter}")
        (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32)
          (call $append (i32.const 2) (i32.const 0) (i32.const 1)) (i32.const 0))
        (func (export "proxy_on_upstream_data") (param i32 i32 i32) (result i32)
          (if (local.get 1) (then (call $append (i32.const 3) (i32.const 0) (i32.const 1)))) (i32.const 0))"#
    ))
}

#[test]
fn filters_see_what_the_client_says_in_order_and_what_comes_back_in_reverse() {
    let origin = echo();
    let (a, b) = (stamping('a'), stamping('b'));
    let proxy = proxy_with("", origin.address(), &[("a", &a, ""), ("b", &b, "")]);
    let mut client = connect(&proxy);

    client.write_all(b"x").unwrap();

    assert_eq!(exactly(&mut client, 5), "xabba");
}

#[test]
fn bytes_are_inserted_replaced_and_dropped_in_both_directions() {
    let origin = echo();
    let proxy = filtered(
        origin.address(),
        r#"(data (i32.const 0) "<new>")
        ;; Every message gets a head; of what comes back the first three bytes are dropped.
        (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32)
          (drop (call $set (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 5)))
          (drop (call $set (i32.const 2) (i32.const 6) (i32.const 1) (i32.const 1) (i32.const 3)))
          (i32.const 0))
        (func (export "proxy_on_upstream_data") (param i32 i32 i32) (result i32)
          (drop (call $set (i32.const 3) (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 0)))
          (i32.const 0))"#,
    );
    let mut client = connect(&proxy);

    client.write_all(b"abc").unwrap();

    // "<new>abc", then "b" becomes "new".
    assert_eq!(exactly(&mut client, 7), "w>anewc");
}

#[test]
fn bytes_are_added_to_an_end_that_brought_none() {
    let (origin, told) = listening();
    let proxy = filtered(
        origin.address(),
        r#"(data (i32.const 0) "PS")
        (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32)
          (if (local.get 2) (then (call $append (i32.const 2) (i32.const 0) (i32.const 2)))) (i32.const 0))
        (func (export "proxy_on_upstream_data") (param i32 i32 i32) (result i32)
          (if (local.get 2) (then (call $append (i32.const 3) (i32.const 0) (i32.const 2)))) (i32.const 0))"#,
    );
    let mut client = connect(&proxy);

    client.shutdown(Shutdown::Write).unwrap();

    assert_eq!(to_end(&mut client).unwrap(), b"byePS");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), b"PS");
}

#[test]
fn a_paused_filter_sees_all_that_came_so_far_each_time() {
    let (origin, told) = listening();
    let proxy = filtered(
        origin.address(),
        r#";; Waits for ten bytes.
        (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32)
          (i32.lt_u (local.get 1) (i32.const 10)))"#,
    );
    let mut client = connect(&proxy);

    client.write_all(b"hello").unwrap();
    until("the filter saw five bytes", || calls(&proxy, "downstream_data") == 1.0);
    client.write_all(b"world").unwrap();
    until("the filter saw ten bytes", || calls(&proxy, "downstream_data") == 2.0);
    client.write_all(b"!").unwrap();
    until("the filter saw one byte", || calls(&proxy, "downstream_data") == 3.0);
    client.shutdown(Shutdown::Write).unwrap();

    // What it holds at the end stays with it: it asked for more, and nobody continues it.
    assert!(told.recv_timeout(Duration::from_millis(300)).is_err());
    drop(client);
}

#[test]
fn a_tick_continues_what_was_paused_in_either_direction() {
    let origin = echo();
    let proxy = filtered(
        origin.address(),
        r#"(func (export "proxy_on_new_connection") (param i32) (result i32)
          (global.set $first (local.get 0)) (i32.const 0))
        (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32) (i32.const 1))
        (func (export "proxy_on_upstream_data") (param i32 i32 i32) (result i32) (i32.const 1))
        (func (export "proxy_on_tick") (param i32)
          (if (i32.eqz (global.get $first)) (then (return)))
          (if (call $turn_to (global.get $first)) (then (return)))
          (drop (call $continue (i32.const 2)))
          (drop (call $continue (i32.const 3))))"#,
    );
    let mut client = connect(&proxy);

    for message in ["one", "two", "three"] {
        client.write_all(message.as_bytes()).unwrap();
        assert_eq!(exactly(&mut client, message.len()), message);
    }
    client.shutdown(Shutdown::Write).unwrap();

    assert_eq!(to_end(&mut client).unwrap(), b"");
}

#[test]
fn a_connection_that_is_paused_at_its_beginning_reaches_nobody_and_loses_nothing() {
    let origin = echo();
    let proxy = filtered(origin.address(), HELD_AT_THE_DOOR);
    let mut first = connect(&proxy);
    first.write_all(b"early").unwrap();
    until("the filter knows the first", || calls(&proxy, "new_connection") == 1.0);
    assert_eq!(origin.connections(), 0);

    let mut second = connect(&proxy);
    second.write_all(b"late").unwrap();

    assert_eq!(exactly(&mut second, 4), "late");
    assert_eq!(exactly(&mut first, 5), "early");
}

#[test]
fn a_filter_that_holds_back_stops_its_client_at_the_bound_and_nothing_is_lost() {
    const LENGTH: usize = 16 << 20;
    let (origin, told) = listening();
    let guest = guest(
        r#";; Holds everything until there is a second connection, and lets each of them go on from then.
        (func (export "proxy_on_new_connection") (param i32) (result i32)
          (if (i32.eqz (global.get $first)) (then
            (global.set $first (local.get 0))
            (return (i32.const 0))))
          (global.set $open (i32.const 1))
          (drop (call $turn_to (global.get $first)))
          (drop (call $continue (i32.const 2)))
          (i32.const 0))
        (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32) (i32.eqz (global.get $open)))"#,
    );
    let proxy = proxy_with("buffer: 64KiB", origin.address(), &[("f", &guest, "")]);
    let mut client = connect(&proxy);
    let sent = Arc::<AtomicU64>::default();
    let known = Arc::clone(&sent);
    let mut writer = client.try_clone().unwrap();
    let pouring = thread::spawn(move || {
        let bytes: Vec<u8> = (0..LENGTH).map(pattern).collect();
        for chunk in bytes.chunks(1 << 14) {
            writer.write_all(chunk).unwrap();
            known.fetch_add(chunk.len() as u64, SeqCst);
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });

    // The kernel's buffers of one connection, and 64 KiB.
    assert!(settled(&sent) < 12 << 20);
    let seen = proxy.metric("tollgate_listener_tcp_bytes_total", &["direction=\"in\""]);
    assert_eq!(seen, f64::from(64 << 10));
    let second = connect(&proxy);

    pouring.join().unwrap();
    let heard = told.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!(heard.len(), LENGTH);
    assert!(heard.iter().enumerate().all(|(at, byte)| *byte == pattern(at)));
    assert_eq!(to_end(&mut client).unwrap(), b"bye");
    drop(second);
}

#[test]
fn a_filter_may_grow_bytes_to_its_bound_and_not_past_it() {
    let origin = echo();
    let guest = guest(
        r#"(func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32)
          (call $append (i32.const 2) (i32.const 131072) (i32.const 1023))
          (call $append (i32.const 2) (i32.const 131072) (i32.const 1))
          (i32.const 0))"#,
    );
    let proxy = proxy_with("buffer: 1KiB", origin.address(), &[("f", &guest, "")]);
    let mut client = connect(&proxy);

    client.write_all(b"x").unwrap();
    assert_eq!(exactly(&mut client, 1024).len(), 1024);
    client.shutdown(Shutdown::Write).unwrap();

    // The end brings 1023 zeros more, and again not one beyond.
    assert_eq!(to_end(&mut client).unwrap().len(), 1024);
    assert_eq!(proxy.metric("tollgate_filter_refusals_total", &["filter=\"f\""]), 1.0);
}

#[test]
fn filters_may_ask_for_the_addresses_of_a_connection() {
    let origin = echo();
    let proxy = filtered(
        origin.address(),
        r#"(data (i32.const 0) "source\00address")
        (data (i32.const 32) "plugin_name")
        ;; Replaces what the client says by its address and the name of the filter.
        (func $put (param $path i32) (param $n i32)
          (drop (call $property (local.get $path) (local.get $n) (i32.const 64) (i32.const 68)))
          (call $append (i32.const 2) (i32.load (i32.const 64)) (i32.load (i32.const 68))))
        (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32)
          (drop (call $set (i32.const 2) (i32.const 0) (local.get 1) (i32.const 0) (i32.const 0)))
          (call $put (i32.const 0) (i32.const 14))
          (call $put (i32.const 32) (i32.const 11))
          (i32.const 0))"#,
    );
    let mut client = connect(&proxy);
    let expected = format!("{}f", client.local_addr().unwrap());

    client.write_all(b"who am I?").unwrap();

    assert_eq!(exactly(&mut client, expected.len()), expected);
}

#[test]
fn filters_read_the_bytes_and_swallow_them() {
    let origin = echo();
    let proxy = filtered(
        origin.address(),
        r#";; Says nothing on but what stands at the second place.
        (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32)
          (if (i32.eqz (local.get 1)) (then (return (i32.const 0))))
          (drop (call $get (i32.const 2) (i32.const 1) (i32.const 1) (i32.const 64) (i32.const 68)))
          (drop (call $set (i32.const 2) (i32.const 0) (local.get 1) (i32.load (i32.const 64)) (i32.load (i32.const 68))))
          (i32.const 0))"#,
    );
    let mut client = connect(&proxy);

    client.write_all(b"abc").unwrap();
    assert_eq!(exactly(&mut client, 1), "b");
    // There is no second place: all of it goes.
    client.write_all(b"x").unwrap();
    until("the filter saw it", || calls(&proxy, "downstream_data") == 2.0);
    client.write_all(b"def").unwrap();

    assert_eq!(exactly(&mut client, 1), "e");
}

#[test]
fn a_module_without_callbacks_of_connections_lets_everything_pass() {
    let origin = echo();
    let proxy = filtered(origin.address(), "");
    let mut client = connect(&proxy);

    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();

    assert_eq!(to_end(&mut client).unwrap(), b"hello");
}
