//! Listeners that ask clients for a certificate: who is believed, and who is told apart from whom.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use common::proxy::TestProxy;
use common::tls::{Authority, Files, Hand, Pem, VERSIONS, Wanted, named};

/// A listener whose clients need a certificate of an authority of their own.
struct Scene {
    files: Files,
    servers: Authority,
    clients: Authority,
}

impl Scene {
    fn new() -> Scene {
        Scene { files: Files::new(), servers: Authority::new("servers"), clients: Authority::new("clients") }
    }

    /// The proxy, with more of its TLS.
    fn proxy(&self, more: &str) -> TestProxy {
        let identity = self.files.identity("a", &self.servers.issue(&named(&["a.test"])));
        let ca = self.files.write("ca.pem", self.clients.pem());
        TestProxy::with(&format!(
            "listeners:\n- listen: 127.0.0.1:0\n  tls: {{ certificates: [{{ {identity} }}], client_ca: {ca}{more} }}\n  \
             routes: [{{ to: echo }}]\n"
        ))
    }

    fn client(&self, wanted: &Wanted) -> Pem {
        self.clients.issue(wanted)
    }

    /// True when a client that shows this is served, under either version.
    fn is_served(&self, proxy: &TestProxy, show: Option<&Pem>) -> bool {
        let served = VERSIONS.map(|version| {
            let client = Hand::new(&self.servers, &[version], show).shake(proxy.address(), "a.test");
            // With TLS 1.3 a client hears of its refusal after it was done.
            client.and_then(|mut client| client.get("/")).is_ok_and(|answer| answer.status() == 200)
        });
        assert_eq!(served[0], served[1], "both versions agree");
        served[0]
    }
}

fn refused(proxy: &TestProxy, reason: &str, count: f64) {
    proxy.counts("tollgate_tls_handshake_failures_total", &[&format!("reason={reason:?}")], count);
}

#[test]
fn a_client_needs_a_certificate_of_the_ca() {
    let scene = Scene::new();
    let proxy = scene.proxy("");

    assert!(scene.is_served(&proxy, Some(&scene.client(&named(&["client.test"])))));
    assert!(!scene.is_served(&proxy, None));
    refused(&proxy, "certificate_missing", 2.0);
    assert!(!scene.is_served(&proxy, Some(&Authority::new("other").issue(&named(&["client.test"])))));
    refused(&proxy, "certificate_unknown_issuer", 2.0);
    assert!(!scene.is_served(&proxy, Some(&scene.client(&named(&["client.test"]).years(2020, 2021)))));
    refused(&proxy, "certificate_expired", 2.0);
    assert!(!scene.is_served(&proxy, Some(&scene.client(&named(&["client.test"]).years(2080, 2090)))));
    refused(&proxy, "certificate_invalid", 2.0);
}

#[test]
fn where_a_certificate_is_only_asked_for_none_will_do_and_a_wrong_one_will_not() {
    let scene = Scene::new();
    let proxy = scene.proxy(", client_auth: request");

    assert!(scene.is_served(&proxy, None));
    assert!(scene.is_served(&proxy, Some(&scene.client(&named(&["client.test"])))));
    assert!(!scene.is_served(&proxy, Some(&Authority::new("other").issue(&named(&["client.test"])))));
}

#[test]
fn a_certificate_that_was_revoked_is_refused() {
    let scene = Scene::new();
    let crl = scene.files.write("ca.crl", &scene.clients.revoking(&[7, 9]));
    let proxy = scene.proxy(&format!(", crl: {crl}"));
    let numbered = |serial| scene.client(&named(&["client.test"]).serial(serial));

    assert!(scene.is_served(&proxy, Some(&numbered(8))));
    assert!(!scene.is_served(&proxy, Some(&numbered(9))));
    refused(&proxy, "certificate_revoked", 2.0);
}

#[test]
fn a_certificate_has_to_have_one_of_the_names() {
    let scene = Scene::new();
    let proxy = scene.proxy(", client_names: ['spiffe://mesh.test/ns/*', 'spiffe://other.test/api', '*.clients.test']");
    let spiffe = |uri| scene.client(&named(&[]).uri(uri));

    for uri in ["spiffe://mesh.test/ns/a/sa/b", "spiffe://other.test/api"] {
        assert!(scene.is_served(&proxy, Some(&spiffe(uri))), "{uri}");
    }
    assert!(scene.is_served(&proxy, Some(&scene.client(&named(&["a.clients.test"])))));
    for uri in ["spiffe://mesh.test/nsx", "spiffe://mesh.test.evil/ns/a", "spiffe://other.test/api/x"] {
        assert!(!scene.is_served(&proxy, Some(&spiffe(uri))), "{uri}");
    }
    assert!(!scene.is_served(&proxy, Some(&scene.client(&named(&["clients.test"])))));
    refused(&proxy, "certificate_name", 8.0);
    // A name helps nobody whom another authority believes.
    let forged = Authority::new("other").issue(&named(&["a.clients.test"]));
    assert!(!scene.is_served(&proxy, Some(&forged)));
    refused(&proxy, "certificate_unknown_issuer", 2.0);
}

#[test]
fn a_client_hears_why_although_it_has_sent_a_request_by_then() {
    let scene = Scene::new();
    let proxy = scene.proxy("");

    for (show, alert) in [
        (None, "CertificateRequired"),
        (Some(scene.client(&named(&["client.test"]).years(2020, 2021))), "CertificateExpired"),
        (Some(Authority::new("other").issue(&named(&["client.test"]))), "UnknownCA"),
    ] {
        let hand = Hand::new(&scene.servers, &[VERSIONS[1]], show.as_ref());
        let mut client = hand.shake(proxy.address(), "a.test").unwrap();

        let refused = client.get("/").unwrap_err().to_string();

        assert!(refused.contains(alert), "{refused}");
    }
}
