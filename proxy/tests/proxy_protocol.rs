//! The PROXY protocol, in front of connections of clients and of those to endpoints: who is told, who is believed, and what is
//! refused.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, mpsc};
use std::thread;

use common::origin::{Origin, ok};
use common::proxy::TestProxy;
use common::tcp::{connect, echo, is_refused, is_reset, to_end};
use common::tls::{Authority, Files, Hand, named, shake_on};
use common::{PATIENCE, until};
use rustls::version::TLS13;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

/// 192.0.2.7:5000 to 192.0.2.8:80.
fn version_four() -> Vec<u8> {
    binary(0x21, 0x11, &[192, 0, 2, 7, 192, 0, 2, 8, 0x13, 0x88, 0, 80])
}

/// 2001:db8::7:5000 to 2001:db8::8:80, with a detail behind it.
fn version_six() -> Vec<u8> {
    let end = |last: u8| [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    binary(0x21, 0x21, &[&end(7)[..], &end(8), &[0x13, 0x88, 0, 80], &[0x04, 0, 1, 0xff]].concat())
}

/// A listener with these keys whose requests go to `origin`.
fn http(keys: &str, origin: &Origin) -> TestProxy {
    TestProxy::with(&format!(
        "listeners:\n- {{ name: in, listen: \"127.0.0.1:0\", {keys}, routes: [{{ to: {:?} }}] }}",
        origin.url()
    ))
}

/// Says all of it on a new connection, and hears the answer to the end.
fn say(proxy: &TestProxy, bytes: &[u8]) -> String {
    let mut client = connect(proxy);
    client.write_all(bytes).unwrap();
    String::from_utf8(to_end(&mut client).unwrap()).unwrap()
}

const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

fn errors(proxy: &TestProxy) -> f64 {
    proxy.metric("tollgate_connection_errors_total", &["listener=\"in\""])
}

/// The client's address, as the origin was told it.
fn forwarded(origin: &Origin) -> String {
    origin.requests().last().unwrap().field("x-forwarded-for").unwrap().to_owned()
}

#[test]
fn a_header_of_either_version_tells_whose_connection_it_is() {
    let origin = Origin::saying("hi");
    let proxy = http("proxy_protocol: on", &origin);

    for (header, expected) in [
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n".to_vec(), "192.0.2.1"),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 5000 80\r\n".to_vec(), "2001:db8::1"),
        (version_four(), "192.0.2.7"),
        (version_six(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (binary(0x20, 0x11, &[1, 2, 3]), "127.0.0.1"),
        (binary(0x21, 0x00, &[]), "127.0.0.1"),
    ] {
        let answer = say(&proxy, &[&header, REQUEST].concat());

        assert!(answer.starts_with("HTTP/1.1 200"), "{}: {answer}", header.escape_ascii());
        assert_eq!(forwarded(&origin), expected);
    }
    assert_eq!(errors(&proxy), 0.0);
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let origin = Origin::saying("hi");
    let proxy = http("proxy_protocol: on", &origin);

    for header in [b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n".to_vec(), version_six()] {
        let mut client = connect(&proxy);
        client.set_nodelay(true).unwrap();
        for byte in [&header, REQUEST].concat() {
            client.write_all(&[byte]).unwrap();
        }

        assert!(to_end(&mut client).unwrap().starts_with(b"HTTP/1.1 200"));
    }
}

#[test]
fn what_begins_with_no_header_is_closed_without_an_answer_and_counted() {
    let origin = Origin::saying("hi");
    let proxy = http("proxy_protocol: on", &origin);
    let wrong = [
        REQUEST.to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 192.0.2.2 5000\r\n".to_vec(),
        [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat(),
        binary(0x11, 0x11, &[0; 12]),
        binary(0x21, 0x11, &[0; 4]),
        [SIGNATURE, &[0x21, 0x11, 0xff, 0xff], &[0; 200]].concat(),
    ];

    for bytes in &wrong {
        let mut client = connect(&proxy);
        client.write_all(bytes).unwrap();
        let outcome = to_end(&mut client);
        assert!(is_reset(&outcome) || outcome.as_ref().is_ok_and(Vec::is_empty), "{outcome:?}");
    }

    until("each is counted", || errors(&proxy) == wrong.len() as f64);
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn a_header_that_takes_too_long_ends_its_connection() {
    let origin = Origin::saying("hi");
    let proxy = http("proxy_protocol: on, limits: { header_timeout: 200ms }", &origin);
    let (silent, mut slow) = (connect(&proxy), connect(&proxy));

    slow.write_all(b"PROXY TCP4 ").unwrap();

    for mut client in [silent, slow] {
        let outcome = to_end(&mut client);
        assert!(is_reset(&outcome) || outcome.as_ref().is_ok_and(Vec::is_empty), "{outcome:?}");
    }
    until("both are counted", || errors(&proxy) == 2.0);
}

#[test]
fn a_header_hands_that_are_shaken_and_a_head_share_one_time() {
    let (files, authority, origin) = (Files::new(), Authority::new("ca"), Origin::saying("hi"));
    let identity = files.identity("a", &authority.issue(&named(&["a.test"])));
    let keys =
        format!("proxy_protocol: on, limits: {{ header_timeout: 2s }}, tls: {{ certificates: [{{ {identity} }}] }}");
    let proxy = http(&keys, &origin);
    // A quarter of that time.
    let clock = TestProxy::with("limits: { header_timeout: 500ms }\nroutes: [{ to: echo }]");
    let tick = || to_end(&mut connect(&clock)).unwrap();

    let mut slow = connect(&proxy);
    proxy.counts("tollgate_connections_active", &["listener=\"in\""], 1.0);
    tick();
    let mut later = connect(&proxy);
    let (tell, told) = mpsc::channel();
    let waiting = thread::spawn(move || tell.send(to_end(&mut later).map_err(|error| error.kind())).unwrap());
    tick();
    slow.write_all(&version_four()).unwrap();
    let mut slow = shake_on(&Hand::new(&authority, &[&TLS13], None).config(), slow, "a.test").unwrap();
    slow.send("GET / HTTP/1.1\r\n").unwrap();

    assert_eq!(slow.answer().unwrap().status(), 408);
    assert_eq!(told.try_recv(), Err(mpsc::TryRecvError::Empty), "who came later has longer");
    waiting.join().unwrap();
    assert_eq!(told.recv().unwrap(), Ok(Vec::new()));
    until("both are counted", || errors(&proxy) == 2.0);
}

#[test]
fn senders_of_other_networks_are_not_let_in() {
    let origin = Origin::saying("hi");
    let proxy = http("proxy_protocol: { from: [192.0.2.0/24] }", &origin);

    let mut client = connect(&proxy);
    let outcome = client.write_all(&[&version_four(), REQUEST].concat()).and_then(|()| to_end(&mut client));

    assert!(is_reset(&outcome) || outcome.is_ok_and(|heard| heard.is_empty()));
    until("it is counted", || errors(&proxy) == 1.0);
    assert_eq!(origin.requests().len(), 0);
    let near = http("proxy_protocol: { from: [127.0.0.0/8] }", &origin);
    assert!(say(&near, &[&version_four(), REQUEST].concat()).starts_with("HTTP/1.1 200"));
    assert_eq!(forwarded(&origin), "192.0.2.7");
}

#[test]
fn where_bytes_are_passed_on_a_sender_of_another_network_is_reset() {
    let origin = echo();
    let proxy = tcp("proxy_protocol: { from: [192.0.2.0/24] }", "", &origin);

    assert!(is_refused(&proxy), "an end would look like a whole conversation");

    until("it is counted", || errors(&proxy) == 1.0);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_listener_without_it_believes_no_header() {
    let origin = Origin::saying("hi");
    let proxy = http("proxy_protocol: off", &origin);

    let answer = say(&proxy, &[b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n", REQUEST].concat());

    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn http_2_comes_behind_a_header_as_well() {
    let origin = Origin::saying("hi");
    let proxy = http("proxy_protocol: on", &origin);
    let mut client = connect(&proxy);
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];

    client.write_all(&[&version_four()[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings].concat()).unwrap();

    // The first frame of a server is its settings (RFC 9113 §3.4).
    let mut frame = [0; 9];
    client.read_exact(&mut frame).unwrap();
    assert_eq!(frame[3], 4);
    assert_eq!(errors(&proxy), 0.0);
}

/// What an endpoint hears first, up to this many bytes, of each connection.
fn hearing(length: usize) -> (Origin, mpsc::Receiver<Vec<u8>>) {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let origin = Origin::scripted(move |peer| {
        let mut bytes = vec![0; length];
        peer.reader().read_exact(&mut bytes)?;
        tell.lock().unwrap().send(bytes).unwrap();
        peer.wait_for_end()
    });
    (origin, told)
}

fn told(told: &mpsc::Receiver<Vec<u8>>) -> Vec<u8> {
    told.recv_timeout(PATIENCE).unwrap()
}

/// A listener of TCP with these keys that passes on to a cluster with those.
fn tcp(keys: &str, cluster: &str, origin: &Origin) -> TestProxy {
    TestProxy::with(&format!(
        "clusters: {{ db: {{ hosts: [{:?}], {cluster} }} }}\n\
         listeners: [{{ name: in, listen: \"127.0.0.1:0\", {keys}, tcp: {{ to: db }} }}]",
        origin.address().to_string()
    ))
}

/// The header of version 1 that tells of `client`.
fn line(client: &TcpStream) -> String {
    let (source, destination) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    format!("PROXY TCP4 {} {} {} {}\r\n", source.ip(), destination.ip(), source.port(), destination.port())
}

#[test]
fn an_endpoint_of_tcp_hears_whose_connection_it_gets() {
    let (origin, heard) = hearing(16 + 12 + 2);
    let proxy = tcp("proxy_protocol: off", "proxy_protocol: v2", &origin);
    let mut client = connect(&proxy);

    client.write_all(b"hi").unwrap();

    let port = |address: std::net::SocketAddr| address.port().to_be_bytes();
    let (source, destination) = (port(client.local_addr().unwrap()), port(client.peer_addr().unwrap()));
    let rest = [&[127, 0, 0, 1, 127, 0, 0, 1][..], &source, &destination].concat();
    assert_eq!(told(&heard), [&binary(0x21, 0x11, &rest)[..], b"hi"].concat());
}

#[test]
fn a_health_check_tells_of_no_client() {
    let (origin, heard) = hearing(16 + 4);
    let check = "proxy_protocol: v2, health: { http: /h, interval: 1h }";

    let _proxy = tcp("proxy_protocol: off", check, &origin);

    assert_eq!(told(&heard), [SIGNATURE, &[0x20, 0, 0, 0], b"GET "].concat());
}

#[test]
fn what_a_client_s_proxy_told_is_told_on() {
    let expected = b"PROXY TCP6 2001:db8::7 2001:db8::8 5000 80\r\nhi";
    let (origin, heard) = hearing(expected.len());
    let proxy = tcp("proxy_protocol: on", "proxy_protocol: v1", &origin);
    let mut client = connect(&proxy);

    client.write_all(&[&version_six()[..], b"hi"].concat()).unwrap();

    assert_eq!(told(&heard), expected);
}

#[test]
fn a_header_in_front_of_tcp_is_no_part_of_what_is_passed_on() {
    let origin = echo();
    let proxy = tcp("proxy_protocol: on", "", &origin);
    let mut client = connect(&proxy);

    client.write_all(&[b"PROXY UNKNOWN whatever\r\n".to_vec(), version_four()].concat()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();

    // The second one is nothing but bytes.
    assert_eq!(to_end(&mut client).unwrap(), version_four());
    let mut other = connect(&proxy);
    other.write_all(b"hello").unwrap();
    assert!(is_reset(&to_end(&mut other)));
    until("it is counted", || errors(&proxy) == 1.0);
}

#[test]
fn a_connection_that_tells_of_a_client_serves_one_exchange() {
    let (tell, heard) = mpsc::channel();
    let tell = Mutex::new(tell);
    let origin = Origin::scripted(move |peer| {
        let mut first = String::new();
        std::io::BufRead::read_line(peer.reader(), &mut first)?;
        tell.lock().unwrap().send(first).unwrap();
        while peer.request()?.is_some() {
            peer.send(ok("hi"))?;
        }
        Ok(())
    });
    let proxy = TestProxy::with(&format!(
        "clusters: {{ app: {{ hosts: [{:?}], proxy_protocol: v1 }} }}\nroutes: [{{ to: app }}]",
        origin.address().to_string()
    ));
    let (mut one, mut other) = (connect(&proxy), connect(&proxy));
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    for client in [&mut one, &mut other] {
        for _ in 0..2 {
            client.write_all(request).unwrap();
            let mut answer = vec![0; 15];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(answer, b"HTTP/1.1 200 OK");
            until("the answer is whole", || {
                let mut rest = [0; 1024];
                let length = client.read(&mut rest).unwrap();
                rest[..length].ends_with(b"hi")
            });
            assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), line(client));
        }
    }

    assert_eq!(origin.connections(), 4);
}
