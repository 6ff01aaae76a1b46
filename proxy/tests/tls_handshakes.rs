//! Listeners that speak TLS: which certificate is shown, what is spoken afterwards, and what fails on the way.
//! Certificates of clients are in `tls_clients`, files that change in `tls_rotation`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use common::client::Client;
use common::h2;
use common::origin::{Origin, ok};
use common::proxy::TestProxy;
use common::tcp::to_end;
use common::tls::{Authority, Files, Hand, VERSIONS, named, shake_on};
use common::{PATIENCE, until};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ProtocolVersion;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::version::{TLS12, TLS13};

/// A proxy with one certificate for `a.test` and more of its TLS, in front of routes.
fn proxy(files: &Files, authority: &Authority, more: &str, routes: &str) -> TestProxy {
    let identity = files.identity("a", &authority.issue(&named(&["a.test"])));
    TestProxy::with(&format!(
        "listeners:\n- listen: 127.0.0.1:0\n  limits: {{ header_timeout: 1s }}\n  \
         tls: {{ certificates: [{{ {identity} }}]{more} }}\n  routes: {routes}\n"
    ))
}

const ECHO: &str = "[{ to: echo }]";

#[test]
fn an_exchange_goes_both_ways_under_each_version() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let origin = Origin::saying("x");
    let proxy = proxy(&files, &authority, "", &format!("[{{ to: '{}' }}]", origin.url()));

    for (version, wanted) in VERSIONS.into_iter().zip([ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3]) {
        let mut client = Hand::new(&authority, &[version], None).shake(proxy.address(), "a.test").unwrap();
        assert_eq!(client.session().protocol_version(), Some(wanted));
        let body = "b".repeat(300_000);
        client
            .send(format!("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
            .unwrap();

        let answer = client.answer().unwrap();

        assert_eq!((answer.status(), answer.text()), (200, "x"));
        assert_eq!(origin.requests().last().unwrap().body, body.as_bytes());
        assert_eq!(client.get("/again").unwrap().status(), 200);
    }
    proxy.counts("tollgate_tls_handshakes_total", &["session=\"new\""], 2.0);
}

#[test]
fn an_old_version_is_refused_where_the_newest_is_wanted() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let proxy = proxy(&files, &authority, ", min_version: 1.3", ECHO);

    let refused = Hand::new(&authority, &[&TLS12], None).shake(proxy.address(), "a.test");
    let taken = Hand::new(&authority, &[&TLS13], None).shake(proxy.address(), "a.test");

    assert!(refused.is_err() && taken.is_ok());
    proxy.counts("tollgate_tls_handshake_failures_total", &["reason=\"incompatible\""], 1.0);
}

#[test]
fn a_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let pems = [
        authority.issue(&named(&["first.test"])),
        authority.issue(&named(&["a.test", "*.a.test"])),
        authority.issue(&named(&["deep.a.test"])),
        authority.issue(&named(&["unsaid.test"])),
    ];
    let said: Vec<String> = pems.iter().enumerate().map(|(at, pem)| files.identity(&format!("c{at}"), pem)).collect();
    let proxy = TestProxy::with(&format!(
        "listeners:\n- listen: 127.0.0.1:0\n  tls: {{ certificates: [{{ {} }}, {{ {} }}, {{ {} }}, \
         {{ {}, names: [said.test, '*.Said.test'] }}] }}\n  routes: [{{ to: echo }}]\n",
        said[0], said[1], said[2], said[3]
    ));
    let ders: Vec<_> = pems.iter().map(|pem| CertificateDer::from_pem_slice(pem.cert.as_bytes()).unwrap()).collect();

    for (asked, wanted) in [
        ("first.test", 0),
        ("a.test", 1),
        ("A.TEST", 1),
        ("x.a.test", 1),
        ("deep.a.test", 2),
        ("x.deep.a.test", 0),
        ("said.test", 3),
        ("x.said.test", 3),
        ("unsaid.test", 0),
        ("other.test", 0),
    ] {
        assert_eq!(shown(proxy.address(), asked), ders[wanted], "{asked}");
    }
    // A client that asks for an address asks for no name.
    assert_eq!(shown(proxy.address(), "127.0.0.1"), ders[0]);
}

/// The certificate that is shown to whoever asks for a name, and believes anything.
fn shown(address: SocketAddr, name: &str) -> CertificateDer<'static> {
    let config = common::tls::believing();
    common::tls::shake(&config, address, name).unwrap().shown()
}

#[test]
fn http_2_is_agreed_on_with_bodies_and_trailers_both_ways() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n",
    );
    let proxy = proxy(&files, &authority, "", &format!("[{{ to: '{}' }}]", origin.url()));

    for version in VERSIONS {
        let hand = Hand::new(&authority, &[version], None).offering(&["h2", "http/1.1"]);
        let body = h2::body(&["one ", &"t".repeat(200_000)], &[("x-check", "7")]);
        let request = http::Request::post("https://a.test/a").header("te", "trailers").body(body).unwrap();

        let answer = over_h2(proxy.address(), &hand, request);

        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"abc"[..]));
        assert_eq!(answer.trailers["x-sum"], "6");
        assert_eq!(origin.requests().last().unwrap().body.len(), 200_004);
    }
}

/// One exchange in HTTP/2, after agreeing on it.
fn over_h2(address: SocketAddr, hand: &Hand, request: http::Request<h2::Outgoing>) -> h2::Answer {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(hand.config());
        let stream = connector.connect(ServerName::try_from("a.test").unwrap(), stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let response = sender.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let bytes = body.to_bytes().to_vec();
        h2::Answer { status: parts.status.as_u16(), headers: parts.headers, body: bytes, trailers }
    })
}

#[test]
fn the_protocol_that_is_agreed_on_is_the_listeners_choice() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let one = proxy(&files, &authority, ", alpn: [http1]", ECHO);
    let both = proxy(&files, &authority, "", ECHO);
    let hand = |offered: &[&str]| Hand::new(&authority, &[&TLS13], None).offering(offered);
    let agreed = |proxy: &TestProxy, offered: &[&str]| {
        let client = hand(offered).shake(proxy.address(), "a.test").ok()?;
        Some(client.session().alpn_protocol().map(<[u8]>::to_vec))
    };

    assert_eq!(agreed(&one, &["h2", "http/1.1"]), Some(Some(b"http/1.1".to_vec())));
    assert_eq!(agreed(&both, &["http/1.1", "h2"]), Some(Some(b"h2".to_vec())));
    assert_eq!(agreed(&both, &[]), Some(None));
    assert_eq!(agreed(&both, &["spdy/3"]), None);
    both.counts("tollgate_tls_handshake_failures_total", &["reason=\"alpn\""], 1.0);
}

#[test]
fn a_client_without_tls_is_told_so() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let proxy = proxy(&files, &authority, "", ECHO);
    let mut client = Client::connect(proxy.address());
    // More than a socket that is closed at once would have read.
    client.send(format!("GET / HTTP/1.1\r\nhost: a.test\r\nx: {}\r\n\r\n", "x".repeat(32 * 1024)));

    let answer = client.answer();

    assert_eq!((answer.status(), answer.field("connection")), (400, Some("close")));
    assert!(answer.text().contains("TLS"), "{answer:?}");
    assert_eq!(to_end(client.reader()).unwrap(), b"");
    client.try_send("x").expect("it is not reset");
    proxy.counts("tollgate_tls_handshake_failures_total", &["reason=\"not_tls\""], 1.0);
}

#[test]
fn what_is_neither_is_closed_without_a_word() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let proxy = proxy(&files, &authority, "", ECHO);
    let mut client = Client::connect(proxy.address());
    client.send([0]);

    assert!(client.is_closed());
    // What begins like a handshake and is none gets an alert.
    let mut client = Client::connect(proxy.address());
    client.send([22, 3, 1, 0, 5, 1, 0, 0, 1, 0]);
    let mut answer = Vec::new();
    let _ = client.stream().read_to_end(&mut answer);
    assert_eq!(answer.first(), Some(&21), "{answer:?}");
    proxy.counts("tollgate_tls_handshake_failures_total", &["reason=\"protocol\""], 1.0);
}

#[test]
fn half_a_handshake_and_silence_end_with_the_time_for_a_head() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let proxy = proxy(&files, &authority, "", ECHO);

    for bytes in [&b""[..], &[22], &[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]] {
        let mut client = Client::connect(proxy.address());
        client.send(bytes);
        assert!(client.is_closed(), "{bytes:?}");
    }
    proxy.counts("tollgate_tls_handshake_failures_total", &["reason=\"timeout\""], 3.0);
    proxy.counts("tollgate_connections_active", &[], 0.0);
    // The head of a request has the same time, and its client hears of it.
    let mut client = Hand::new(&authority, &[&TLS13], None).shake(proxy.address(), "a.test").unwrap();
    client.send("GET / HTTP/1.1\r\n").unwrap();
    assert_eq!(client.answer().unwrap().status(), 408);
    let mut rest = Vec::new();
    client.reader().read_to_end(&mut rest).expect("the end of TLS");
    assert!(rest.is_empty());
}

#[test]
fn a_client_that_does_not_believe_the_certificate_is_counted() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let proxy = proxy(&files, &authority, "", ECHO);

    let other = Hand::new(&Authority::new("other"), &[&TLS13], None).shake(proxy.address(), "a.test");

    assert!(other.is_err());
    proxy.counts("tollgate_tls_handshake_failures_total", &["reason=\"alert\""], 1.0);
    // Who leaves in the midst of it is told from those.
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(&[22, 3, 1]).unwrap();
    drop(stream);
    proxy.counts("tollgate_tls_handshake_failures_total", &["reason=\"gone\""], 1.0);
}

#[test]
fn a_request_that_came_with_tls_says_so() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let proxy = proxy(&files, &authority, "", ECHO);
    let hand = Hand::new(&authority, &[&TLS13], None);

    let mut client = hand.shake(proxy.address(), "a.test").unwrap();
    let answer = client.get("/a").unwrap();

    assert_eq!(answer.status(), 200);
    // A client that closes without the end of TLS broke nothing.
    drop(client);
    proxy.counts("tollgate_connections_active", &[], 0.0);
    assert_eq!(proxy.metric("tollgate_connection_errors_total", &[]), 0.0);
}

#[test]
fn a_small_answer_leaves_in_one_record() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let origin = Origin::saying("small");
    let proxy = proxy(&files, &authority, ", tickets: off", &format!("[{{ to: '{}' }}]", origin.url()));
    let config = Hand::new(&authority, &[&TLS13], None).config();
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("a.test").unwrap();
    let mut session = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut stream).unwrap();
    }
    session.writer().write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    while session.wants_write() {
        session.write_tls(&mut stream).unwrap();
    }

    let mut head = [0; 5];
    stream.read_exact(&mut head).unwrap();
    let mut record = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    stream.read_exact(&mut record).unwrap();

    session.read_tls(&mut [&head[..], &record].concat().as_slice()).unwrap();
    session.process_new_packets().unwrap();
    let mut text = [0; 4096];
    let length = session.reader().read(&mut text).unwrap();
    let text = std::str::from_utf8(&text[..length]).unwrap();
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("\r\n\r\nsmall"), "{text:?}");
}

#[test]
fn a_reader_that_stalls_is_ended_and_one_that_reads_slowly_is_not() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let body = "x".repeat(8 << 20);
    let origin = Origin::saying(&body);
    let identity = files.identity("a", &authority.issue(&named(&["a.test"])));
    let proxy = TestProxy::with(&format!(
        "listeners:\n- listen: 127.0.0.1:0\n  limits: {{ write_timeout: 1s }}\n  \
         tls: {{ certificates: [{{ {identity} }}] }}\n  routes: [{{ to: '{}' }}]\n",
        origin.url()
    ));
    let hand = Hand::new(&authority, &[&TLS13], None);
    let mut stalled = hand.shake(proxy.address(), "a.test").unwrap();
    stalled.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    proxy.counts("tollgate_connections_active", &[], 0.0);

    let mut reading = hand.shake(proxy.address(), "a.test").unwrap();

    assert_eq!(reading.get("/").unwrap().body.len(), body.len());
    assert!(stalled.answer().is_err(), "an answer that was cut is not whole");
}

#[test]
fn hands_that_are_being_shaken_when_the_proxy_drains_lead_to_an_answer() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let (release, held) = channel::<()>();
    let held: Mutex<Receiver<()>> = Mutex::new(held);
    let origin = Origin::scripted(move |peer| {
        peer.request()?;
        let _ = held.lock().unwrap().recv_timeout(PATIENCE);
        peer.send(ok("finished"))
    });
    let identity = files.identity("a", &authority.issue(&named(&["a.test"])));
    let mut proxy = TestProxy::with(&format!(
        "listeners:\n- {{ name: plain, listen: '127.0.0.1:0', routes: [{{ to: '{}' }}] }}\n\
         - name: secure\n  listen: 127.0.0.1:0\n  tls: {{ certificates: [{{ {identity} }}] }}\n  routes: [{{ to: echo }}]\n",
        origin.url()
    ));
    let mut busy = proxy.client();
    busy.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    until("an exchange is under way", || origin.requests().len() == 1);
    let hand = Hand::new(&authority, &[&TLS13], None);
    let mut idle = hand.shake(proxy.address_of("secure"), "a.test").unwrap();
    idle.get("/").unwrap();
    let stream = TcpStream::connect(proxy.address_of("secure")).unwrap();
    proxy.counts("tollgate_connections_active", &["listener=\"secure\""], 2.0);

    proxy.drain();
    let mut rest = Vec::new();
    idle.reader().read_to_end(&mut rest).expect("the end of TLS, so the worker has heard of the drain");
    let mut client = shake_on(&hand.config(), stream, "a.test").unwrap();
    let answer = client.get("/late").unwrap();

    assert_eq!((answer.status(), answer.field("connection")), (200, Some("close")));
    release.send(()).unwrap();
    assert_eq!(busy.answer().text(), "finished");
    proxy.ended();
}
