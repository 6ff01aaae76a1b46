//! Connections that change to another protocol: who may, what is passed on, and what is not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::{ErrorKind, Read, Write};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use common::origin::Origin;
use common::proxy::TestProxy;
use common::tcp::{connect, exactly, pattern, pour_and_check, pouring, take, to_end};
use common::tls::{Authority, Files, Hand, named, shake_on};
use common::upgrades::{AGREED, HANDSHAKE, PLAIN, active, agreeing, echo, ordinary, proxy, switched};
use common::wire::read_head;
use common::{PATIENCE, until};
use rustls::version::TLS13;

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
    assert_eq!(take(client.reader(), HELLO.len()), HELLO);
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

#[test]
fn sixteen_mebibytes_go_both_ways_at_once() {
    let length = 16 << 20;
    let origin = agreeing(pouring(length));
    let proxy = proxy(&origin);
    let mut client = switched(&proxy);
    let writer = client.stream().try_clone().unwrap();

    pour_and_check(client.reader(), writer, length);

    assert!(client.is_closed());
    for way in ["\"request\"", "\"response\""] {
        proxy.counts("tollgate_http_body_bytes_total", &["route=\"r\"", way], length as f64);
    }
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
    assert_eq!(take(client.reader(), 12), b"\x81\x05early\n\nmor");
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

    assert_eq!(exactly(client.reader(), 13), "hello at once");
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
    assert_eq!(exactly(client.reader(), 2), "hi");
    assert_eq!(origin.request().field("content-length"), Some("0"));
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
        assert!(take(client.reader(), bytes.len()) == bytes, "from {start} on");
    }

    let stream = client.reader().get_mut();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    assert_eq!(to_end(client.reader()).unwrap(), b"");
    // The near proxy says whom it was told of, the far one whom the near one told of.
    assert_eq!(origin.request().field("x-forwarded-for"), Some("192.0.2.1"));
}
