//! What filters learn of a connection that speaks TLS, on both sides, read by a filter through real exchanges.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use common::modules::probes_with;
use common::origin::Origin;
use common::proxy::TestProxy;
use common::tls::{Authority, Files, Hand, Pem, TlsClient, named};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::version::{TLS12, TLS13};

/// A proxy with TLS on both sides of a probe, all certificates of one authority, and an endpoint that describes requests.
struct Scene {
    files: Files,
    authority: Authority,
    endpoint: TestProxy,
    proxy: TestProxy,
}

fn scene() -> Scene {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let ca = files.write("ca.pem", authority.pem());
    let far = files.identity("far", &authority.issue(&named(&["far.test", "127.0.0.1"]).uri("spiffe://mesh.test/far")));
    let endpoint = TestProxy::with(&format!(
        "listeners:\n- listen: 127.0.0.1:0\n  tls: {{ certificates: [{{ {far} }}], client_ca: {ca}, client_auth: request }}\n  \
         routes: [{{ to: echo }}]\n"
    ));
    let near = files.identity("near", &authority.issue(&named(&["near.test"]).uri("spiffe://mesh.test/near")));
    let probe = probes_with("root_id: root, vm_id: vm, budget: { time: 1s }", &[("a", "{}")]);
    let proxy = TestProxy::with(&format!(
        "{probe}clusters: {{ app: {{ hosts: [{:?}], tls: {{ ca: {ca}, {near}, sni: far.test }} }} }}\n\
         listeners:\n- listen: 127.0.0.1:0\n  tls: {{ certificates: [{{ {near} }}], client_ca: {ca}, client_auth: request }}\n  \
         routes: [{{ to: app, filters: [a] }}]\n",
        endpoint.address().to_string()
    ));
    Scene { files, authority, endpoint, proxy }
}

impl Scene {
    fn client(&self, show: Option<&Pem>) -> TlsClient {
        Hand::new(&self.authority, &[&TLS13], show).shake(self.proxy.address(), "near.test").unwrap()
    }
}

/// What a filter learns of a property: of the client's side from the request on, of the endpoint's once it answered.
fn learn(client: &mut TlsClient, path: &str) -> String {
    let command = format!("x-probe-response-headers: property {path} -> response-headers x-value\r\n");
    client.send(format!("GET / HTTP/1.1\r\nhost: near.test\r\n{command}\r\n")).unwrap();
    let answer = client.answer().unwrap();
    answer.field("x-value").unwrap_or_else(|| panic!("{path} was not read: {answer:?}")).to_owned()
}

fn digest(pem: &Pem) -> String {
    let der = CertificateDer::from_pem_slice(pem.cert.as_bytes()).unwrap();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn both_sides_of_a_client_s_connection_are_known() {
    let scene = scene();
    let shown = scene.authority.issue(&named(&["client.test", "second.test"]).uri("spiffe://mesh.test/client"));
    let mut client = scene.client(Some(&shown));

    for (path, wanted) in [
        ("request.scheme", "https"),
        ("connection.tls_version", "TLSv1.3"),
        ("connection.requested_server_name", "near.test"),
        ("connection.subject_local_certificate", "O=Tests\\, Inc.,CN=near.test"),
        ("connection.subject_peer_certificate", "O=Tests\\, Inc.,CN=client.test"),
        ("connection.dns_san_local_certificate", "near.test"),
        ("connection.dns_san_peer_certificate", "client.test"),
        ("connection.uri_san_local_certificate", "spiffe://mesh.test/near"),
        ("connection.uri_san_peer_certificate", "spiffe://mesh.test/client"),
        ("connection.sha256_peer_certificate_digest", &digest(&shown)),
        ("connection.peer_certificate", &encoded(&shown.cert)),
        ("connection.mtls", "0x01"),
    ] {
        let said = learn(&mut client, path);
        assert_eq!(said, wanted, "{path}");
    }
}

/// PEM as it stands in a URL.
fn encoded(pem: &str) -> String {
    let lines: Vec<&str> = pem.lines().collect();
    let text = format!("{}\n", lines.join("\n"));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[test]
fn a_client_that_shows_nothing_has_no_certificate() {
    let scene = scene();
    let mut client = scene.client(None);

    for path in [
        "subject_peer_certificate",
        "dns_san_peer_certificate",
        "uri_san_peer_certificate",
        "sha256_peer_certificate_digest",
        "peer_certificate",
        "dns_san_peer_certificate.x",
    ] {
        assert_eq!(learn(&mut client, &format!("connection.{path}")), "status 1", "{path}");
    }
    assert_eq!(learn(&mut client, "connection.mtls"), "0x00");
    assert_eq!(learn(&mut client, "connection.dns_san_local_certificate"), "near.test");
}

#[test]
fn an_endpoint_s_side_is_known_once_it_answered() {
    let scene = scene();
    let mut client = scene.client(None);
    let far = Pem { cert: std::fs::read_to_string(scene.files.path("far.pem")).unwrap(), key: String::new() };

    for (path, wanted) in [
        ("upstream.tls_version", "TLSv1.3"),
        ("upstream.subject_local_certificate", "O=Tests\\, Inc.,CN=near.test"),
        ("upstream.subject_peer_certificate", "O=Tests\\, Inc.,CN=far.test"),
        ("upstream.dns_san_local_certificate", "near.test"),
        ("upstream.dns_san_peer_certificate", "far.test"),
        ("upstream.uri_san_local_certificate", "spiffe://mesh.test/near"),
        ("upstream.uri_san_peer_certificate", "spiffe://mesh.test/far"),
        ("upstream.sha256_peer_certificate_digest", &digest(&far)),
        ("upstream.peer_certificate", &encoded(&far.cert)),
    ] {
        assert_eq!(learn(&mut client, path), wanted, "{path}");
    }
    assert!(scene.endpoint.metric("tollgate_http_requests_total", &["class=\"2xx\""]) > 0.0);
}

#[test]
fn without_tls_nothing_is_known_of_it() {
    let origin = Origin::saying("x");
    let probe = probes_with("root_id: root, vm_id: vm, budget: { time: 1s }", &[("a", "{}")]);
    let proxy = TestProxy::with(&format!("{probe}routes: [{{ to: '{}', filters: [a] }}]\n", origin.url()));

    for name in ["connection.tls_version", "connection.requested_server_name", "connection.subject_local_certificate"]
        .into_iter()
        .chain(["upstream.tls_version", "upstream.dns_san_peer_certificate", "upstream.peer_certificate"])
    {
        let command = format!("x-probe-response-headers: property {name} -> response-headers x-value\r\n");
        assert_eq!(proxy.ask("/", &command).field("x-value"), Some("status 1"), "{name}");
    }
}

#[test]
fn the_older_version_is_named_too() {
    let scene = scene();
    let hand = Hand::new(&scene.authority, &[&TLS12], None);
    let mut client = hand.shake(scene.proxy.address(), "near.test").unwrap();

    assert_eq!(learn(&mut client, "connection.tls_version"), "TLSv1.2");
}
