//! Connections that change to another protocol: who may, what is passed on, what is not, and how all of it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::client::Client;
use common::modules::Guest;
use common::origin::{Origin, Peer, ok};
use common::proxy::TestProxy;
use common::swaps::speaker;
use common::tcp::{connect, pattern, to_end};
use common::tls::{Authority, Files, Hand, named, shake_on};
use common::wire::{Message, read_head};
use common::{PATIENCE, until};
use rustls::version::TLS13;
use socket2::SockRef;
use tollgate::app::reload::Done;

/// RFC 6455, section 1.3.
const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const PLAIN: &str = "GET /plain HTTP/1.1\r\nhost: a\r\n\r\n";

/// An endpoint that agrees to the first request of each connection, and goes on as told.
fn agreeing(then: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static) -> Origin {
    Origin::scripted(move |peer| {
        peer.request()?;
        peer.send(AGREED)?;
        then(peer)
    })
}

/// An endpoint that agrees, and says back what it hears.
fn echo() -> Origin {
    agreeing(|peer| {
        let mut bytes = vec![0; 1 << 16];
        loop {
            match peer.read(&mut bytes)? {
                0 => return Ok(()),
                length => peer.send(&bytes[..length])?,
            }
        }
    })
}

/// An endpoint that agrees, and tells the test what it heard to the end.
fn listening() -> (Origin, mpsc::Receiver<Result<Vec<u8>, ErrorKind>>) {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let origin = agreeing(move |peer| {
        let heard = to_end(peer.reader());
        tell.lock().unwrap().send(heard.map_err(|error| error.kind())).unwrap();
        peer.send("bye")
    });
    (origin, told)
}

/// A proxy that lets clients change to WebSockets with `origin`, under these limits and with further top-level lines.
fn proxy_with(limits: &str, lines: &str, route: &str, origin: &Origin) -> TestProxy {
    TestProxy::with(&format!(
        "limits: {{ {limits} }}\n{lines}\nroutes: [{{ name: r, to: {:?}, upgrade: [websocket], {route} }}]",
        origin.url()
    ))
}

fn proxy(origin: &Origin) -> TestProxy {
    proxy_with("", "", "", origin)
}

/// A client that was agreed with.
fn switched(proxy: &TestProxy) -> Client {
    let mut client = proxy.client();
    client.send(HANDSHAKE);
    let answer = client.any_head();
    assert_eq!(answer.status(), 101, "{answer:?}");
    client
}

fn exactly(client: &mut Client, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    client.reader().read_exact(&mut bytes).unwrap();
    bytes
}

fn active(proxy: &TestProxy) -> f64 {
    proxy.metric("tollgate_http_upgraded_active", &["route=\"r\""])
}

/// The answer to a request that is no upgrade, and what the origin was asked.
fn ordinary(proxy: &TestProxy, origin: &Origin, request: &str) -> (Message, Message) {
    let mut client = proxy.client();
    client.send(request);
    let answer = client.answer();
    let asked = origin.requests().pop().unwrap();
    assert_eq!((asked.field("upgrade"), asked.field("connection")), (None, None), "{request}");
    (answer, asked)
}

#[test]
fn a_websocket_is_agreed_on_and_its_frames_are_passed_on() {
    // Frames of RFC 6455, section 5.7: a masked "Hello", and the same unmasked.
    const MASKED: [u8; 11] = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    const HELLO: &[u8] = b"\x81\x05Hello";
    let origin = agreeing(|peer| {
        let mut frame = [0; MASKED.len()];
        peer.reader().read_exact(&mut frame)?;
        assert_eq!(frame, MASKED);
        peer.send(HELLO)?;
        peer.wait_for_end()
    });
    let proxy = proxy(&origin);
    let mut client = proxy.client();

    client.send(HANDSHAKE);
    let answer = client.any_head();
    client.send(MASKED);

    assert_eq!(answer.start, "HTTP/1.1 101 Switching Protocols");
    assert_eq!((answer.all("upgrade"), answer.all("connection")), (vec!["websocket"], vec!["upgrade"]));
    assert_eq!(answer.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!((answer.field("content-length"), answer.field("transfer-encoding")), (None, None));
    assert_eq!(exactly(&mut client, HELLO.len()), HELLO);
    let asked = origin.request();
    assert_eq!((asked.all("upgrade"), asked.all("connection")), (vec!["WebSocket"], vec!["upgrade"]));
    assert_eq!(asked.field("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(active(&proxy), 1.0);
    client.end();
    assert!(client.is_closed());
    until("it is over", || active(&proxy) == 0.0);
    assert_eq!(proxy.metric("tollgate_http_upgrades_total", &["route=\"r\""]), 1.0);
    assert_eq!(proxy.metric("tollgate_http_requests_total", &["class=\"1xx\""]), 1.0);
    let bytes = |way| proxy.metric("tollgate_http_body_bytes_total", &["route=\"r\"", way]);
    assert_eq!((bytes("\"request\""), bytes("\"response\"")), (MASKED.len() as f64, HELLO.len() as f64));
}

fn pour(stream: &mut impl Write, length: usize) {
    for start in (0..length).step_by(1 << 16) {
        let bytes: Vec<u8> = (start..start + (1 << 16)).map(pattern).collect();
        stream.write_all(&bytes).unwrap();
    }
}

fn check(reader: &mut impl Read, length: usize) {
    let (mut at, mut bytes) = (0, vec![0; 1 << 16]);
    while at < length {
        let read = reader.read(&mut bytes).unwrap();
        assert!(read > 0, "ended after {at} bytes");
        assert!(bytes[..read].iter().enumerate().all(|(offset, byte)| *byte == pattern(at + offset)));
        at += read;
    }
}

#[test]
fn sixteen_mebibytes_go_both_ways_at_once() {
    let length = 16 << 20;
    let origin = agreeing(move |peer| {
        let mut writer = peer.stream().try_clone()?;
        let pouring = thread::spawn(move || pour(&mut writer, length));
        check(peer.reader(), length);
        pouring.join().unwrap();
        peer.wait_for_end()
    });
    let proxy = proxy(&origin);
    let mut client = switched(&proxy);
    let mut writer = client.stream().try_clone().unwrap();

    let pouring = thread::spawn(move || {
        pour(&mut writer, length);
        writer.shutdown(Shutdown::Write).unwrap();
    });
    check(client.reader(), length);
    pouring.join().unwrap();

    assert!(client.is_closed());
    for way in ["\"request\"", "\"response\""] {
        proxy.counts("tollgate_http_body_bytes_total", &["route=\"r\"", way], length as f64);
    }
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
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let origin = agreeing(move |peer| {
        peer.send("bye")?;
        peer.stream().shutdown(Shutdown::Write)?;
        tell.lock().unwrap().send(to_end(peer.reader())?).unwrap();
        Ok(())
    });
    let proxy = proxy(&origin);
    let mut client = switched(&proxy);

    assert_eq!(to_end(client.reader()).unwrap(), b"bye");
    client.send("one more thing");
    client.end();

    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), b"one more thing");
}

#[test]
fn what_is_sent_behind_the_request_waits_for_the_agreement() {
    let (agree, agreed) = mpsc::channel::<()>();
    let agreed = Mutex::new(agreed);
    let origin = Origin::scripted(move |peer| {
        peer.request()?;
        agreed.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        peer.stream().set_read_timeout(Some(Duration::from_millis(100)))?;
        let early = peer.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(early, Err(ErrorKind::WouldBlock), "nothing came before the 101");
        peer.stream().set_read_timeout(Some(PATIENCE))?;
        peer.send(AGREED)?;
        let mut bytes = [0; 12];
        peer.reader().read_exact(&mut bytes)?;
        peer.send(bytes)
    });
    let proxy = proxy(&origin);
    let mut client = proxy.client();

    // As one piece, and with a line end of its own that a reader of HTTP would trip over.
    client.send([HANDSHAKE.as_bytes(), b"\x81\x05early\n\nmore"].concat());
    until("the request is there", || origin.requests().len() == 1);
    agree.send(()).unwrap();

    assert_eq!(client.any_head().status(), 101);
    assert_eq!(exactly(&mut client, 12), b"\x81\x05early\n\nmor");
}

#[test]
fn what_an_endpoint_says_with_its_agreement_is_passed_on() {
    let origin = Origin::scripted(|peer| {
        peer.request()?;
        peer.send([AGREED, "hello at once"].concat())?;
        peer.wait_for_end()
    });
    let proxy = proxy(&origin);
    let mut client = switched(&proxy);

    assert_eq!(exactly(&mut client, 13), b"hello at once");
}

#[test]
fn another_answer_is_an_answer_and_what_follows_is_the_next_request() {
    for status in ["200 OK", "400 Bad Request", "426 Upgrade Required"] {
        let origin = Origin::answering(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nno"));
        let proxy = proxy(&origin);
        let mut client = proxy.client();

        client.send([HANDSHAKE, PLAIN].concat());
        let (first, second) = (client.answer(), client.answer());

        assert_eq!((&first.start, second.text()), (&format!("HTTP/1.1 {status}"), "no"));
        assert_eq!(first.field("upgrade"), None);
        assert_eq!(origin.requests()[1].target(), "/plain");
        assert_eq!(proxy.metric("tollgate_http_upgrades_total", &[]), 0.0);
    }
}

#[test]
fn an_agreement_to_something_else_is_the_endpoint_s_fault() {
    for fields in [
        "connection: upgrade\r\nupgrade: h2c",
        "connection: upgrade\r\nupgrade: websocket, h2c",
        "connection: upgrade",
        "upgrade: websocket",
        "x: y",
    ] {
        let origin = Origin::answering(format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n\r\n"));
        let proxy = proxy(&origin);

        assert_eq!(proxy.send(HANDSHAKE).status(), 502, "{fields}");
        assert_eq!(proxy.metric("tollgate_upstream_failures_total", &["reason=\"protocol\""]), 1.0);
    }
}

#[test]
fn where_the_route_does_not_allow_it_the_request_is_an_ordinary_one() {
    let origin = Origin::saying("plain");
    let closed = TestProxy::to(&origin.url());
    let other = TestProxy::with(&format!("routes: [{{ to: {:?}, upgrade: [spdy/3.1] }}]", origin.url()));

    for proxy in [&closed, &other] {
        assert_eq!(ordinary(proxy, &origin, HANDSHAKE).0.text(), "plain");
    }
}

#[test]
fn what_asks_for_nothing_that_may_be_had_is_an_ordinary_request() {
    let origin = Origin::saying("plain");
    let proxy = proxy(&origin);
    let with = |lines: &str| format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n\r\n");

    for request in [
        with("connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA"),
        with("connection: upgrade\r\nupgrade: h2c, websocket"),
        with("connection: upgrade\r\nupgrade: websocket\r\nupgrade: h2c"),
        with("connection: keep-alive\r\nupgrade: websocket"),
        with("upgrade: websocket"),
        with("connection: upgrade"),
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 0\r\n\r\n"
            .to_owned(),
        "GET / HTTP/1.0\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n".to_owned(),
    ] {
        assert_eq!(ordinary(&proxy, &origin, &request).0.status(), 200, "{request}");
    }
    let mut client = proxy.client();
    client.send("HEAD / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    assert_eq!(client.answer_to_head().status(), 200);
    assert_eq!(origin.requests().pop().unwrap().field("upgrade"), None);
}

#[test]
fn a_request_with_a_body_changes_nothing_and_its_body_is_one() {
    let origin = Origin::saying("plain");
    let proxy = TestProxy::with(&format!("routes: [{{ to: {:?}, upgrade: [tcp, websocket] }}]", origin.url()));
    let hidden = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";
    let length = hidden.len();

    for (method, token) in [("POST", "tcp"), ("GET", "websocket")] {
        let head = format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: {token}\r\n");
        for body in [
            format!("content-length: {length}\r\n\r\n{hidden}"),
            format!("transfer-encoding: chunked\r\n\r\n{length:x}\r\n{hidden}\r\n0\r\n\r\n"),
        ] {
            let before = origin.requests().len();
            let (_, asked) = ordinary(&proxy, &origin, &format!("{head}{body}"));

            assert_eq!((asked.text(), origin.requests().len()), (hidden, before + 1), "{body}");
        }
        let both = format!("{head}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
        assert_eq!(proxy.send(both).status(), 400);
    }
}

#[test]
fn any_protocol_that_a_route_names_is_passed_on_with_any_method_but_head() {
    let agreed = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: SPDY/3.1\r\n\r\nhi";
    let origin = Origin::scripted(move |peer| {
        peer.request()?;
        peer.send(agreed)?;
        peer.wait_for_end()
    });
    let proxy = TestProxy::with(&format!("routes: [{{ to: {:?}, upgrade: [spdy/3.1] }}]", origin.url()));
    let mut client = proxy.client();

    client.send("POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: spdy/3.1\r\ncontent-length: 0\r\n\r\n");

    assert_eq!(client.any_head().field("upgrade"), Some("SPDY/3.1"));
    assert_eq!(exactly(&mut client, 2), b"hi");
    assert_eq!(origin.request().field("content-length"), Some("0"));
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
fn what_was_said_is_whole_although_its_endpoint_closes_before_it_heard_all() {
    let length = 4 << 20;
    let origin = agreeing(move |peer| {
        let mut first = [0];
        peer.reader().read_exact(&mut first)?;
        pour(peer.stream(), length);
        Ok(())
    });
    let proxy = proxy(&origin);
    let mut client = switched(&proxy);
    let mut writer = client.stream().try_clone().unwrap();

    let pouring = thread::spawn(move || {
        // At some point nobody listens any more.
        while writer.write_all(&[b'x'; 1 << 16]).is_ok() {}
    });
    check(client.reader(), length);
    client.stream().shutdown(Shutdown::Both).unwrap();

    pouring.join().unwrap();
    until("it is over", || active(&proxy) == 0.0);
}

#[test]
fn a_connection_changes_under_tls_and_behind_proxy_headers_on_both_sides() {
    let (files, authority, origin) = (Files::new(), Authority::new("ca"), echo());
    let ca = files.write("ca.pem", authority.pem());
    let identity = files.identity("both", &authority.issue(&named(&["near.test", "127.0.0.1"])));
    let tls = format!("tls: {{ certificates: [{{ {identity} }}] }}");
    let far = TestProxy::with(&format!(
        "listeners:\n- listen: 127.0.0.1:0\n  proxy_protocol: on\n  {tls}\n  \
         routes: [{{ to: {:?}, upgrade: [websocket] }}]\n",
        origin.url()
    ));
    let near = TestProxy::with(&format!(
        "clusters: {{ app: {{ hosts: [{:?}], proxy_protocol: v2, tls: {{ ca: {ca} }} }} }}\n\
         listeners:\n- listen: 127.0.0.1:0\n  proxy_protocol: on\n  {tls}\n  routes: [{{ to: app, upgrade: [websocket] }}]\n",
        far.address().to_string()
    ));
    let mut stream = connect(&near);
    stream.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n").unwrap();
    let hand = Hand::new(&authority, &[&TLS13], None);
    let mut client = shake_on(&hand.config(), stream, "near.test").unwrap();

    client.send(HANDSHAKE).unwrap();
    let answer = read_head(client.reader()).unwrap().unwrap();
    assert_eq!(answer.status(), 101, "{answer:?}");
    for start in (0..1 << 20).step_by(1 << 14) {
        let bytes: Vec<u8> = (start..start + (1 << 14)).map(pattern).collect();
        client.send(&bytes).unwrap();
        let mut back = vec![0; bytes.len()];
        client.reader().read_exact(&mut back).unwrap();
        assert!(back == bytes, "from {start} on");
    }

    let stream = client.reader().get_mut();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    assert_eq!(to_end(client.reader()).unwrap(), b"");
    // The near proxy says whom it was told of, the far one whom the near one told of.
    assert_eq!(origin.request().field("x-forwarded-for"), Some("192.0.2.1"));
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
fn a_connection_counts_against_the_bounds_of_its_cluster_until_it_ends() {
    let origin = echo();
    let proxy = proxy_with("upstream_connections: 1, pending: 1, pool_timeout: 200ms", "", "", &origin);
    let mut client = switched(&proxy);

    assert_eq!(proxy.send(HANDSHAKE).status(), 503);
    assert_eq!(proxy.metric("tollgate_upstream_connections_active", &[]), 1.0);
    client.send("x");
    assert_eq!(exactly(&mut client, 1), b"x");
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
    assert_eq!(exactly(&mut client, 10), b"still here");
    client.end();

    assert!(client.is_closed());
    proxy.ended();
}

#[test]
fn a_drain_does_not_wait_for_ever() {
    let origin = echo();
    let mut proxy = proxy_with("drain_timeout: 300ms", "", "", &origin);
    let mut client = switched(&proxy);

    proxy.drain();

    assert!(client.is_closed());
    proxy.ended();
}

fn filtered(limits: &str, guest: &Guest, origin: &Origin) -> TestProxy {
    let filters = format!("watch: off\nfilters: {{ f: {{ wasm: {:?}, on_error: deny }} }}", guest.path());
    proxy_with(limits, &filters, "filters: [f]", origin)
}

fn calls(proxy: &TestProxy, phase: &str) -> f64 {
    proxy.metric("tollgate_filter_calls_total", &["filter=\"f\"", &format!("phase=\"{phase}\"")])
}

/// A guest that signs answers with this word, and hears of the end and of bodies.
fn signing(word: &str) -> Vec<u8> {
    common::swaps::module(
        word,
        r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 0))
        (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (i32.const 0))
        (func (export "proxy_on_done") (param i32) (result i32) (i32.const 1))
        (func (export "proxy_on_log") (param i32))"#,
    )
}

#[test]
fn filters_see_the_heads_and_the_end_and_nothing_between() {
    let (guest, origin) = (Guest::from_bytes(&signing("me")), echo());
    let proxy = filtered("", &guest, &origin);
    let mut client = proxy.client();

    client.send(HANDSHAKE);
    let answer = client.any_head();
    client.send("some bytes");
    assert_eq!(exactly(&mut client, 10), b"some bytes");

    assert_eq!((answer.status(), answer.field("x-by")), (101, Some("me")));
    assert_eq!((answer.all("upgrade"), answer.all("connection")), (vec!["websocket"], vec!["upgrade"]));
    assert_eq!((calls(&proxy, "done"), calls(&proxy, "log")), (0.0, 0.0));
    client.end();
    assert!(client.is_closed());
    until("the filter hears of the end", || calls(&proxy, "log") == 1.0);
    assert_eq!((calls(&proxy, "request_body"), calls(&proxy, "response_body")), (0.0, 0.0));
}

#[test]
fn a_filter_may_answer_instead() {
    let origin = echo();
    let refusing = |phase: &str| {
        Guest::from_wat(&format!(
            r#"(module
            (import "env" "proxy_send_local_response"
                (func $respond (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 4096))
            (func (export "proxy_on_context_create") (param i32 i32))
            (func (export "{phase}") (param i32 i32 i32) (result i32)
                (drop (call $respond (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                    (i32.const 0) (i32.const 0) (i32.const -1)))
                (i32.const 1)))"#
        ))
    };
    for (phase, asked) in [("proxy_on_request_headers", 0), ("proxy_on_response_headers", 1)] {
        let before = origin.requests().len();
        let guest = refusing(phase);
        let proxy = filtered("", &guest, &origin);
        let mut client = proxy.client();

        client.send(HANDSHAKE);
        let answer = client.answer();

        assert_eq!((answer.status(), answer.field("upgrade")), (403, None), "{phase}");
        assert_eq!(origin.requests().len() - before, asked);
        assert_eq!(proxy.metric("tollgate_http_upgrades_total", &[]), 0.0);
        until("no connection is left", || proxy.metric("tollgate_upstream_connections_active", &[]) == 0.0);
    }
}

fn is_draining(proxy: &TestProxy, generations: &[u64]) -> bool {
    proxy.plugin("f").draining.iter().map(|brief| brief.number).eq(generations.iter().copied())
}

fn swap(proxy: &TestProxy, guest: &Guest, word: &str) {
    guest.replace(&signing(word));
    assert_eq!(proxy.order(guest.look()).unwrap(), Done::Serving);
}

#[test]
fn a_changed_connection_keeps_its_generation_however_long_it_lasts() {
    let (guest, origin) = (Guest::from_bytes(&signing("one")), echo());
    let proxy = filtered("retire_timeout: 100ms", &guest, &origin);
    let mut old = switched(&proxy);

    swap(&proxy, &guest, "two");
    let mut new = switched(&proxy);
    // Its time is over by far once another generation has come and gone.
    swap(&proxy, &guest, "three");
    new.end();
    assert!(new.is_closed());
    until("the second generation is gone", || is_draining(&proxy, &[1]));
    old.send("still here");

    assert_eq!(exactly(&mut old, 10), b"still here");
    assert_eq!(calls(&proxy, "done"), 1.0);
    old.end();
    assert!(old.is_closed());
    until("the first generation ends with its connection", || is_draining(&proxy, &[]));
    assert_eq!(calls(&proxy, "done"), 2.0);
}

#[test]
fn a_changed_connection_ends_with_its_generation_where_that_may_not_grow_old() {
    let (guest, origin) = (Guest::from_bytes(&signing("one")), echo());
    let proxy = filtered("upgrade_age: 200ms", &guest, &origin);
    let mut old = switched(&proxy);

    guest.replace(&speaker("two"));
    assert_eq!(proxy.order(guest.look()).unwrap(), Done::Serving);

    let ended = to_end(old.reader());
    assert!(ended.as_ref().map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, Vec::is_empty), "{ended:?}");
    until("the generation is gone", || is_draining(&proxy, &[]));
    drop(switched(&proxy));
}

#[test]
fn a_request_that_a_filter_sends_elsewhere_asks_only_what_that_route_allows() {
    let (origin, elsewhere) = (echo(), Origin::answering(ok("elsewhere")));
    let guest = Guest::from_wat(
        r#"(module
        (import "env" "proxy_replace_header_map_value" (func $put (param i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) ":path")
        (data (i32.const 16) "/other")
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 4096))
        (func (export "proxy_on_context_create") (param i32 i32))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $put (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 16) (i32.const 6)))
            (i32.const 0)))"#,
    );
    let proxy = TestProxy::with(&format!(
        "filters: {{ f: {{ wasm: {:?} }} }}\nroutes:\n- {{ to: {:?}, upgrade: [websocket], filters: [f] }}\n\
         - {{ match: {{ path: /other }}, to: {:?} }}",
        guest.path(),
        origin.url(),
        elsewhere.url()
    ));

    let (answer, asked) = ordinary(&proxy, &elsewhere, HANDSHAKE);

    assert_eq!((answer.text(), asked.target()), ("elsewhere", "/other"));
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn the_access_log_has_one_line_for_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let log = format!("telemetry: {{ access_log: {{ format: json, to: {:?} }} }}", file.display().to_string());
    let origin = echo();
    let proxy = proxy_with("", &log, "", &origin);
    let mut client = switched(&proxy);

    client.send("12345");
    assert_eq!(exactly(&mut client, 5), b"12345");
    client.end();
    assert!(client.is_closed());

    let line = || std::fs::read_to_string(&file).unwrap_or_default();
    until("the line is written", || line().ends_with('\n'));
    let line: serde_json::Value = serde_json::from_str(&line()).unwrap();
    assert_eq!((&line["status"], &line["path"]), (&101.into(), &"/chat".into()));
    assert_eq!((&line["request_bytes"], &line["response_bytes"]), (&5.into(), &5.into()), "{line}");
    assert!(line.get("reason").is_none_or(serde_json::Value::is_null), "{line}");
}
