//! Filters of connections that are passed on: what they change, hold back, close, and what becomes of it when they fail.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::modules::Guest;
use common::origin::Origin;
use common::proxy::TestProxy;
use common::{PATIENCE, log, until};
use socket2::SockRef;

/// What the guests of these tests have in common. Their allocator hands out one place, which is enough for one value.
const PRELUDE: &str = r#"
  (import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
  (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
  (import "env" "proxy_set_effective_context" (func $turn_to (param i32) (result i32)))
  (import "env" "proxy_set_tick_period_milliseconds" (func $tick_every (param i32) (result i32)))
  (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (memory (export "memory") 3)
  (global $first (mut i32) (i32.const 0))
  (global $open (mut i32) (i32.const 0))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 65536))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $tick_every (i32.const 10))) (i32.const 1))
  ;; Puts bytes behind what buffer $b holds.
  (func $append (param $b i32) (param $at i32) (param $n i32)
    (drop (call $set (local.get $b) (i32.const 0x7fffffff) (i32.const 0) (local.get $at) (local.get $n))))
"#;

fn guest(body: &str) -> Guest {
    Guest::from_wat(&format!("(module {PRELUDE} {body})"))
}

/// A proxy that passes connections through these filters; each has a name, a guest and further settings.
fn proxy_with(limits: &str, to: SocketAddr, filters: &[(&str, &Guest, &str)]) -> TestProxy {
    let one = |(name, guest, settings): &(&str, &Guest, &str)| {
        format!("  {name}: {{ wasm: {:?}, budget: {{ time: 1s }}, {settings} }}\n", guest.path())
    };
    let names: Vec<_> = filters.iter().map(|(name, ..)| *name).collect();
    TestProxy::with(&format!(
        "limits: {{ {limits} }}\nfilters:\n{}listeners: [{{ name: raw, listen: \"127.0.0.1:0\", tcp: {{ to: \"tcp://{to}\", filters: [{}] }} }}]",
        filters.iter().map(one).collect::<String>(),
        names.join(", ")
    ))
}

/// One filter that may not fail.
fn proxy(to: SocketAddr, body: &str) -> TestProxy {
    proxy_with("", to, &[("f", &guest(body), "on_error: deny")])
}

fn connect(proxy: &TestProxy) -> TcpStream {
    try_connect(proxy).unwrap()
}

fn try_connect(proxy: &TestProxy) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&proxy.address(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    Ok(stream)
}

/// True when a new connection is reset before a byte: so early that connecting may already fail.
fn is_refused(proxy: &TestProxy) -> bool {
    is_reset(&try_connect(proxy).and_then(|mut stream| to_end(&mut stream)))
}

/// An endpoint that says back what it hears.
fn echo() -> Origin {
    Origin::scripted(|peer| {
        let mut bytes = vec![0; 1 << 16];
        loop {
            match peer.read(&mut bytes)? {
                0 => return Ok(()),
                length => peer.send(&bytes[..length])?,
            }
        }
    })
}

/// An endpoint that tells the test all it heard, once it has heard the end, and says goodbye.
fn listening() -> (Origin, mpsc::Receiver<Result<Vec<u8>, ErrorKind>>) {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let origin = Origin::scripted(move |peer| {
        let heard = to_end(peer.reader());
        tell.lock().unwrap().send(heard.map_err(|error| error.kind())).unwrap();
        peer.send("bye")
    });
    (origin, told)
}

fn exactly(stream: &mut impl Read, length: usize) -> String {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn to_end(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map(|_| bytes)
}

fn is_reset(outcome: &io::Result<Vec<u8>>) -> bool {
    outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

fn calls(proxy: &TestProxy, phase: &str) -> f64 {
    proxy.metric("tollgate_filter_calls_total", &["filter=\"f\"", &format!("phase=\"{phase}\"")])
}

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
    let proxy = proxy(
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
    let proxy = proxy(
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
    let proxy = proxy(
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
    let proxy = proxy(
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

/// The second connection lets the first one go on, which had paused at its beginning.
const HELD_AT_THE_DOOR: &str = r#"
  (func (export "proxy_on_new_connection") (param i32) (result i32)
    (if (i32.eqz (global.get $first)) (then
      (global.set $first (local.get 0))
      (return (i32.const 1))))
    (drop (call $turn_to (global.get $first)))
    (drop (call $continue (i32.const 2)))
    (i32.const 0))"#;

#[test]
fn a_connection_that_is_paused_at_its_beginning_reaches_nobody_and_loses_nothing() {
    let origin = echo();
    let proxy = proxy(origin.address(), HELD_AT_THE_DOOR);
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
fn a_client_that_leaves_while_it_is_held_at_the_door_is_forgotten() {
    let origin = echo();
    let proxy = proxy(origin.address(), HELD_AT_THE_DOOR);
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

/// The number once it has stopped to grow.
fn settled(number: &AtomicU64) -> u64 {
    let (mut last, mut since) = (number.load(SeqCst), Instant::now());
    until("the sender is held back", || {
        let now = number.load(SeqCst);
        if now != last || now == 0 {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(300)
    });
    last
}

fn pattern(at: usize) -> u8 {
    u8::try_from((at ^ (at >> 8) ^ (at >> 16)) & 0xff).unwrap()
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
fn closing_from_either_side_writes_what_left_the_filter_before() {
    for stream in [2, 3] {
        let (origin, told) = listening();
        let proxy = proxy(
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
    let proxy = proxy(
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
    let proxy = proxy(
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
    let at_the_door = proxy(
        origin.address(),
        r#"(func (export "proxy_on_new_connection") (param i32) (result i32)
          (drop (call $close (i32.const 2))) (i32.const 1))"#,
    );
    let later = proxy(
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
    let proxy = proxy(origin.address(), TRAPPING);
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
    let proxy = proxy(
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

#[test]
fn filters_may_ask_for_the_addresses_of_a_connection() {
    let origin = echo();
    let proxy = proxy(
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
    let proxy = proxy(
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
    let proxy = proxy(origin.address(), "");
    let mut client = connect(&proxy);

    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();

    assert_eq!(to_end(&mut client).unwrap(), b"hello");
}
