//! openssl s_client as a client: what a handshake agrees on, which certificate it shows, sessions, and how it is refused.

use crate::peer::{Said, run_with};
use crate::proxy::Tollgate;
use crate::scene::Scene;

/// Both versions of TLS.
const VERSIONS: [(&str, &str); 2] = [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")];

/// A request after which the proxy ends the connection.
const REQUEST: &str = "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";

/// One connection: handshake, request, answer.
fn s_client(scene: &Scene, proxy: &Tollgate, arguments: &[&str]) -> Said {
    let (address, ca) = (proxy.tls().to_string(), scene.path("ca.pem"));
    let fixed = ["s_client", "-connect", &address, "-CAfile", &ca, "-verify_return_error", "-ign_eof"];
    run_with("openssl", &[&fixed, arguments].concat(), REQUEST)
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn openssl_agrees_on_version_and_protocol() {
    let scene = Scene::new();
    let proxy = scene.proxy("{}", "[{ to: echo }]");

    for (option, version) in VERSIONS {
        let with = |more: &[&str]| s_client(&scene, &proxy, &[&[option, "-servername", "a.test"], more].concat());
        let (one, other, none) =
            (with(&["-alpn", "http/1.1"]).good(), with(&["-alpn", "h2,http/1.1"]), with(&[]).good());

        assert!(one.out.contains(&format!("New, {version}, Cipher is ")), "{one:?}");
        assert!(one.out.contains("Verify return code: 0 (ok)"), "{one:?}");
        assert_eq!(one.after("ALPN protocol: "), Some("http/1.1"), "{one:?}");
        assert!(one.out.contains("HTTP/1.1 200 "), "{one:?}");
        assert_eq!(other.after("ALPN protocol: "), Some("h2"), "{other:?}");
        assert!(none.out.contains("No ALPN negotiated") && none.out.contains("HTTP/1.1 200 "), "{none:?}");
    }
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn openssl_is_refused_what_no_side_should_speak() {
    let scene = Scene::new();
    let proxy = scene.proxy_with(", min_version: \"1.3\"", "{}", "[{ to: echo }]");

    let old = s_client(&scene, &proxy, &["-tls1_2"]);
    let strange = s_client(&scene, &proxy, &["-tls1_3", "-alpn", "nothing/1"]);

    assert!(old.code != 0 && old.err.contains("alert protocol version"), "{old:?}");
    assert!(strange.code != 0 && strange.err.contains("alert no application protocol"), "{strange:?}");
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn openssl_is_shown_the_certificate_of_the_name_it_asks_for() {
    let scene = Scene::new();
    let proxy = scene.proxy("{}", "[{ to: echo }]");

    for (name, shown) in [
        (&["-servername", "a.test"][..], "a.test"),
        (&["-servername", "b.wild.test"], "*.wild.test"),
        (&["-servername", "unknown.test"], "a.test"),
        (&["-noservername"], "a.test"),
    ] {
        for (option, version) in VERSIONS {
            let said = s_client(&scene, &proxy, &[&[option], name].concat());

            let subject = said.after("subject=").unwrap().replace(' ', "");
            assert_eq!(subject, format!("CN={shown}"), "{version} {name:?}");
        }
    }
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn openssl_resumes_its_session_unless_tickets_are_off() {
    let scene = Scene::new();
    let (proxy, off) =
        (scene.proxy("{}", "[{ to: echo }]"), scene.proxy_with(", tickets: off", "{}", "[{ to: echo }]"));
    let session = scene.path("session");

    for (option, version) in VERSIONS {
        for (proxy, again) in [(&proxy, "Reused"), (&off, "New")] {
            let with =
                |more: &[&str]| s_client(&scene, proxy, &[&[option, "-servername", "a.test"], more].concat()).good();
            let first = with(&["-sess_out", &session]);
            let second = with(&["-sess_in", &session]);

            assert!(first.out.contains(&format!("New, {version}, Cipher is ")), "{first:?}");
            assert!(second.out.contains(&format!("{again}, {version}, Cipher is ")), "{second:?}");
            assert!(second.out.contains("HTTP/1.1 200 "), "{second:?}");
        }
    }
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn openssl_is_let_in_or_hears_by_an_alert_what_its_certificate_lacks() {
    let scene = Scene::new();
    let proxy = scene.proxy_with(", client_ca: ca.pem", "{}", "[{ to: echo }]");

    for (option, version) in VERSIONS {
        let with = |name: &str| {
            let (cert, key) = (scene.path(&format!("{name}.pem")), scene.path(&format!("{name}.key")));
            s_client(&scene, &proxy, &[option, "-cert", &cert, "-key", &key])
        };
        let (good, strange, none) = (with("client").good(), with("stranger"), s_client(&scene, &proxy, &[option]));

        assert!(good.out.contains("HTTP/1.1 200 "), "{version}: {good:?}");
        assert!(good.out.contains("Acceptable client certificate CA names"), "{version}: {good:?}");
        assert!(strange.code != 0 && strange.err.contains("alert unknown ca"), "{version}: {strange:?}");
        assert!(none.code != 0 && none.err.contains("alert certificate required"), "{version}: {none:?}");
    }
}
