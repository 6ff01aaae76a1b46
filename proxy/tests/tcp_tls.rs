//! TLS of connections that are passed on: at a listener it ends, towards an endpoint it begins, and what is in it stays as it
//! is.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::thread;

use common::PATIENCE;
use common::modules::Guest;
use common::proxy::TestProxy;
use common::tcp::{connect, echo, exactly, guest, is_refused, is_reset, listening, pattern, to_end};
use common::tls::{Authority, Files, Hand, TlsClient, VERSIONS, named, shake_on};
use rustls::version::TLS13;

const MIB: usize = 1 << 20;

/// A CA, and listeners and clients that know it.
struct Scene {
    files: Files,
    authority: Authority,
}

impl Scene {
    fn new() -> Scene {
        let (files, authority) = (Files::new(), Authority::new("ca"));
        files.write("ca.pem", authority.pem());
        files.identity("a", &authority.issue(&named(&["a.test", "127.0.0.1"])));
        Scene { files, authority }
    }

    fn tls(&self) -> String {
        let [cert, key] = ["a.pem", "a.key"].map(|name| self.files.path(name));
        format!("certificates: [{{ cert: {}, key: {} }}]", cert.display(), key.display())
    }

    /// A proxy whose listener ends TLS, of which `more` may be said, and passes on to an address, with more of `tcp`.
    fn ending(&self, more: &str, to: SocketAddr, tcp: &str) -> TestProxy {
        TestProxy::with(&format!(
            "watch: off\nlisteners:\n- name: edge\n  listen: 127.0.0.1:0\n  tls: {{ {}{more} }}\n  \
             tcp: {{ to: \"tcp://{to}\"{tcp} }}\n",
            self.tls()
        ))
    }

    /// A proxy that begins TLS with an endpoint, whose CA is in this file.
    fn beginning(&self, to: SocketAddr, ca: &str) -> TestProxy {
        TestProxy::with(&format!(
            "watch: off\nlisteners: [{{ name: raw, listen: \"127.0.0.1:0\", tcp: {{ to: db }} }}]\n\
             clusters: {{ db: {{ hosts: [{:?}], tls: {{ ca: {} }} }} }}\n",
            to.to_string(),
            self.files.path(ca).display()
        ))
    }

    fn hand(&self) -> Hand {
        Hand::new(&self.authority, &VERSIONS, None)
    }

    fn client(&self, proxy: &TestProxy) -> TlsClient {
        self.hand().shake(proxy.address(), "a.test").unwrap()
    }
}

/// Says the end of what a client says.
fn say_end(client: &mut TlsClient) {
    let stream = client.reader().get_mut();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    stream.sock.shutdown(Shutdown::Write).unwrap();
}

#[test]
fn what_is_in_tls_reaches_the_endpoint_and_its_answer_the_client() {
    let (scene, origin) = (Scene::new(), echo());
    let proxy = scene.ending("", origin.address(), "");

    for version in VERSIONS {
        let hand = Hand::new(&scene.authority, &[version], None);
        let mut client = hand.shake(proxy.address(), "a.test").unwrap();
        client.send("there and back").unwrap();
        assert_eq!(exactly(client.reader(), 14), "there and back");
    }

    assert_eq!(proxy.metric("tollgate_tls_handshakes_total", &["listener=\"edge\""]), 2.0);
    assert_eq!(proxy.metric("tollgate_tls_handshake_failures_total", &[]), 0.0);
}

#[test]
fn an_end_is_said_on_inside_tls_and_the_other_way_goes_on() {
    let (scene, (origin, told)) = (Scene::new(), listening());
    let proxy = scene.ending("", origin.address(), "");
    let mut client = scene.client(&proxy);

    client.send("all of it").unwrap();
    say_end(&mut client);

    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), b"all of it");
    // Without the end of TLS this would be an error.
    assert_eq!(to_end(client.reader()).unwrap(), b"bye");
}

#[test]
fn a_client_that_breaks_off_is_not_taken_for_one_that_said_its_end() {
    let (scene, (origin, told)) = (Scene::new(), listening());
    let proxy = scene.ending("", origin.address(), "");
    let mut client = scene.client(&proxy);

    client.send("half").unwrap();
    // Whoever is on the way could do this.
    client.stream().shutdown(Shutdown::Write).unwrap();

    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset));
}

#[test]
fn mebibytes_go_both_ways_at_once_through_tls_that_begins_and_ends() {
    let (scene, origin, length) = (Scene::new(), echo(), 16 * MIB);
    let inner = scene.ending("", origin.address(), "");
    let outer = scene.beginning(inner.address(), "ca.pem");
    let mut client = connect(&outer);

    let mut writer = client.try_clone().unwrap();
    let writing = thread::spawn(move || {
        for start in (0..length).step_by(1 << 16) {
            let bytes: Vec<u8> = (start..start + (1 << 16)).map(pattern).collect();
            writer.write_all(&bytes).unwrap();
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut heard = Vec::with_capacity(length);
    client.read_to_end(&mut heard).unwrap();

    writing.join().unwrap();
    assert_eq!(heard.len(), length);
    assert!(heard.iter().enumerate().all(|(at, byte)| *byte == pattern(at)));
    assert_eq!(inner.metric("tollgate_tls_handshakes_total", &[]), 1.0);
}

#[test]
fn a_client_hears_of_an_endpoint_that_is_not_believed_by_a_reset() {
    let (scene, origin) = (Scene::new(), echo());
    scene.files.write("other.pem", Authority::new("other").pem());
    let inner = scene.ending("", origin.address(), "");
    let outer = scene.beginning(inner.address(), "other.pem");

    assert!(is_refused(&outer));

    outer.counts("tollgate_upstream_failures_total", &["reason=\"tls\""], 1.0);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn nothing_is_offered_to_speak_unless_it_is_written() {
    let (scene, origin) = (Scene::new(), echo());
    let hand = scene.hand().offering(&["h2", "db"]);
    for (written, agreed) in [("", None), (", alpn: [h2]", Some(&b"h2"[..]))] {
        let proxy = scene.ending(written, origin.address(), "");

        let client = hand.shake(proxy.address(), "a.test").unwrap();

        assert_eq!(client.session().alpn_protocol(), agreed);
    }
    // Nor is an endpoint, which would refuse what it does not know.
    let inner = scene.ending(", alpn: [h2]", origin.address(), "");
    let outer = scene.beginning(inner.address(), "ca.pem");
    let mut client = connect(&outer);
    client.write_all(b"any").unwrap();
    assert_eq!(exactly(&mut client, 3), "any");
}

#[test]
fn who_speaks_no_tls_is_told_nothing_and_counted() {
    let (scene, origin) = (Scene::new(), echo());
    let proxy = scene.ending("", origin.address(), "");
    let mut client = connect(&proxy);

    client.write_all(b"PING\r\n").unwrap();

    let heard = to_end(&mut client);
    assert!(is_reset(&heard) || heard.as_ref().is_ok_and(Vec::is_empty), "{heard:?}");
    proxy.counts("tollgate_tls_handshake_failures_total", &["reason=\"not_tls\""], 1.0);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_header_of_the_proxy_protocol_comes_before_hands_are_shaken() {
    let (scene, origin) = (Scene::new(), echo());
    let proxy = TestProxy::with(&format!(
        "watch: off\nlisteners:\n- listen: 127.0.0.1:0\n  proxy_protocol: on\n  tls: {{ {} }}\n  tcp: {{ to: \"tcp://{}\" }}\n",
        scene.tls(),
        origin.address()
    ));
    let mut stream = connect(&proxy);

    stream.write_all(b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n").unwrap();
    let mut client = shake_on(&scene.hand().config(), stream, "a.test").unwrap();

    client.send("hello").unwrap();
    assert_eq!(exactly(client.reader(), 5), "hello");
}

fn filtering(scene: &Scene, to: SocketAddr, guest: &Guest) -> TestProxy {
    let proxy = format!(
        "watch: off\nfilters: {{ f: {{ wasm: {:?}, on_error: deny }} }}\nlisteners:\n- listen: 127.0.0.1:0\n  \
         tls: {{ {} }}\n  tcp: {{ to: \"tcp://{to}\", filters: [f] }}\n",
        guest.path(),
        scene.tls()
    );
    TestProxy::with(&proxy)
}

#[test]
fn filters_see_what_is_in_tls_and_of_what_kind_it_is() {
    let (scene, origin) = (Scene::new(), echo());
    let guest = guest(
        r#"(data (i32.const 0) "connection\00tls_version")
        (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32)
          (drop (call $property (i32.const 0) (i32.const 22) (i32.const 32) (i32.const 36)))
          (call $append (i32.const 2) (i32.load (i32.const 32)) (i32.load (i32.const 36)))
          (i32.const 0))"#,
    );
    let proxy = filtering(&scene, origin.address(), &guest);
    let mut client = Hand::new(&scene.authority, &[&TLS13], None).shake(proxy.address(), "a.test").unwrap();

    client.send("in ").unwrap();

    assert_eq!(exactly(client.reader(), 10), "in TLSv1.3");
}

#[test]
fn a_client_whose_connection_a_filter_closes_hears_the_end_of_tls() {
    let (scene, origin) = (Scene::new(), echo());
    let guest = guest(
        r#"(func (export "proxy_on_new_connection") (param i32) (result i32)
          (drop (call $close (i32.const 2))) (i32.const 0))"#,
    );
    let proxy = filtering(&scene, origin.address(), &guest);

    let mut client = scene.client(&proxy);

    assert_eq!(to_end(client.reader()).unwrap(), b"");
    assert_eq!(origin.connections(), 0);
}
