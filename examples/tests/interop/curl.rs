//! curl as a client: versions of HTTP and TLS, certificates, uploads, and the corners of HTTP/1.1.

use std::fs;

use crate::origins::Nginx;
use crate::peer::{Said, run};
use crate::proxy::Tollgate;
use crate::scene::Scene;

/// What the answer was in, its status, and its content, which has to be text.
const REPORT: &str = "\\n%{http_version} %{http_code}";

/// curl that is silent but for what went wrong, and reports version and status in a last line.
fn curl(arguments: &[&str]) -> Said {
    run(
        "curl",
        &[&["--silent", "--show-error", "--max-time", "50", "--noproxy", "*", "--write-out", REPORT], arguments]
            .concat(),
    )
}

/// The same with TLS, at a listener that is known by this name.
fn curl_tls(scene: &Scene, proxy: &Tollgate, name: &str, path: &str, arguments: &[&str]) -> Said {
    let place = format!("{name}:{}:127.0.0.1", proxy.tls().port());
    let url = proxy.tls_as(name) + path;
    curl(&[&["--resolve", &place, "--cacert", &scene.path("ca.pem"), &url], arguments].concat())
}

/// The last line, of a transfer that succeeded.
#[track_caller]
fn report(said: Said) -> String {
    said.good().out.lines().last().unwrap().to_owned()
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn curl_speaks_every_version_of_http_without_tls() {
    let proxy = Scene::new().proxy("{}", "[{ to: echo }]");
    let url = proxy.plain() + "/some/path";

    for (option, reported) in [
        ("--http1.0", "1 200"),
        ("--http1.1", "1.1 200"),
        // Asks to go on in HTTP/2, which a server may leave be.
        ("--http2", "1.1 200"),
        ("--http2-prior-knowledge", "2 200"),
    ] {
        let said = curl(&[option, &url]);

        assert!(said.out.contains("\"path\": \"/some/path\""), "{option}: {said:?}");
        assert_eq!(report(said), reported, "{option}");
    }
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn curl_agrees_on_the_protocol_and_on_the_version_of_tls() {
    let scene = Scene::new();
    let proxy = scene.proxy("{}", "[{ to: echo }]");

    for version in [&["--tlsv1.2", "--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        for (option, reported) in [("--http2", "2 200"), ("--http1.1", "1.1 200"), ("--no-alpn", "1.1 200")] {
            let said = curl_tls(&scene, &proxy, "a.test", "/", &[version, &[option, "--verbose"]].concat());

            let spoken =
                if version.len() == 1 { "SSL connection using TLSv1.3" } else { "SSL connection using TLSv1.2" };
            assert!(said.err.contains(spoken), "{option} {version:?}: {said:?}");
            assert_eq!(report(said), reported, "{option} {version:?}");
        }
    }
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn curl_verifies_the_certificate_of_the_name_it_asks_for() {
    let scene = Scene::new();
    let proxy = scene.proxy("{}", "[{ to: echo }]");

    assert_eq!(report(curl_tls(&scene, &proxy, "a.test", "/", &[])), "2 200");
    assert_eq!(report(curl_tls(&scene, &proxy, "any.wild.test", "/", &[])), "2 200");

    // 60 is a certificate that is not believed.
    assert_eq!(curl_tls(&scene, &proxy, "b.test", "/", &[]).code, 60);
    assert_eq!(curl_tls(&scene, &proxy, "two.labels.wild.test", "/", &[]).code, 60);
    assert_eq!(curl_tls(&scene, &proxy, "a.test", "/", &["--cacert", &scene.path("other-ca.pem")]).code, 60);
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn curl_is_let_in_with_a_certificate_of_the_right_ca_alone() {
    let scene = Scene::new();
    let proxy = scene.proxy_with(", client_ca: ca.pem", "{}", "[{ to: echo }]");

    for version in [&["--tlsv1.2", "--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        let with = |name: &str| {
            let (cert, key) = (scene.path(&format!("{name}.pem")), scene.path(&format!("{name}.key")));
            curl_tls(&scene, &proxy, "a.test", "/", &[version, &["--cert", &cert, "--key", &key]].concat())
        };

        assert_eq!(report(with("client")), "2 200", "{version:?}");
        for refused in [with("stranger"), curl_tls(&scene, &proxy, "a.test", "/", version)] {
            // 35 is a failed handshake; a client may also hear of it when it reads, 56, or know the reason, 98.
            assert!([35, 56, 98].contains(&refused.code), "{version:?}: {refused:?}");
            assert!(refused.err.contains("alert"), "{version:?}: {refused:?}");
        }
    }
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn eight_mib_that_curl_uploads_come_out_at_nginx_and_back_byte_for_byte() {
    let scene = Scene::new();
    let nginx = Nginx::start(&scene);
    let clusters = format!("{{ nginx: {{ hosts: [{}] }} }}", nginx.plain);
    let proxy = scene.proxy(
        &clusters,
        "[{ to: nginx }, { match: { headers: { x-filter: noop } }, to: nginx, filters: [noop, noop] }]",
    );
    let sent = scene.bytes("sent", 8 << 20);

    for (number, filter) in [(0, "x-filter: none"), (1, "x-filter: noop")] {
        for (index, version) in ["--http1.1", "--http2-prior-knowledge", "tls"].iter().enumerate() {
            let path = format!("/files/{number}{index}");
            let back = scene.path("back");
            let common = ["--header", filter];
            let transfer = |arguments: &[&str]| match *version {
                "tls" => curl_tls(&scene, &proxy, "a.test", &path, &[&common, arguments].concat()),
                version => curl(&[&[version, &(proxy.plain() + &path)], &common[..], arguments].concat()),
            };

            let up = report(transfer(&["--upload-file", &sent]));
            let down = report(transfer(&["--output", &back]));

            assert!(up.ends_with(" 201") && down.ends_with(" 200"), "{version} {filter}: {up}, {down}");
            let (kept, sent, back) =
                (scene.path(&format!("www{path}")), fs::read(&sent).unwrap(), fs::read(&back).unwrap());
            assert!(fs::read(kept).unwrap() == sent, "{version} {filter}: the upload changed");
            assert!(back == sent, "{version} {filter}: the download changed");
        }
    }
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn curl_gets_ranges_and_heads_of_what_nginx_serves() {
    let scene = Scene::new();
    let nginx = Nginx::start(&scene);
    let proxy = scene.proxy(&format!("{{ nginx: {{ hosts: [{}] }} }}", nginx.plain), "[{ to: nginx }]");
    scene.write("www/files/text", "0123456789");
    let url = proxy.plain() + "/files/text";

    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let range = curl(&[version, "--range", "2-5", "--dump-header", "-", &url]).good().out.to_lowercase();
        let head = curl(&[version, "--head", &url]).good().out.to_lowercase();
        let tagged = head.lines().find(|line| line.starts_with("etag: ")).unwrap().replace("etag:", "if-none-match:");
        let unchanged = curl(&[version, "--header", &tagged, &url]);

        assert!(range.contains("content-range: bytes 2-5/10\r\n"), "{version}: {range}");
        assert!(range.contains("\r\n\r\n2345\n") && range.ends_with(" 206"), "{version}: {range}");
        assert!(head.contains("content-length: 10\r\n"), "{version}: {head}");
        assert!(report(unchanged).ends_with(" 304"), "{version}");
    }
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn curl_gets_the_trailers_that_nginx_sends() {
    let scene = Scene::new();
    let nginx = Nginx::start(&scene);
    let proxy = scene.proxy(
        &format!("{{ nginx: {{ hosts: [{}] }} }}", nginx.plain),
        "[{ to: nginx }, { match: { headers: { x-filter: noop } }, to: nginx, filters: [noop] }]",
    );
    scene.write("www/files/text", "content");
    let url = proxy.plain() + "/trailers/text";

    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for filter in ["x-filter: none", "x-filter: noop"] {
            let told = ["--header", "te: trailers", "--header", filter, "--dump-header", "-"];
            let said = curl(&[&[version], &told[..], &[&url]].concat()).good().out.to_lowercase();

            let (head, rest) = said.split_once("\r\n\r\n").unwrap();
            assert!(!head.contains("x-checksum: "), "{version} {filter}: {said}");
            assert!(
                rest.contains("content") && rest.contains("x-checksum: sum of /trailers/text"),
                "{version} {filter}: {said}"
            );
        }
    }
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn curl_unpacks_what_nginx_compresses() {
    let scene = Scene::new();
    let nginx = Nginx::start(&scene);
    let proxy = scene.proxy(
        &format!("{{ nginx: {{ hosts: [{}] }} }}", nginx.plain),
        "[{ to: nginx }, { match: { headers: { x-filter: noop } }, to: nginx, filters: [noop] }]",
    );
    let sent = fs::read(scene.bytes("www/files/some", 1 << 20)).unwrap();
    let (back, url) = (scene.path("back"), proxy.plain() + "/compressed/some");

    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for filter in ["x-filter: none", "x-filter: noop"] {
            let told = ["--compressed", "--header", filter, "--dump-header", "-", "--output", &back];
            let head = curl(&[&[version], &told[..], &[&url]].concat()).good().out.to_lowercase();

            assert!(head.contains("content-encoding: gzip\r\n"), "{version} {filter}: {head}");
            assert!(fs::read(&back).unwrap() == sent, "{version} {filter}: the content changed");
        }
    }
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn curl_that_expects_100_is_told_to_continue_before_it_sends() {
    let scene = Scene::new();
    let nginx = Nginx::start(&scene);
    let proxy = scene.proxy(&format!("{{ nginx: {{ hosts: [{}] }} }}", nginx.plain), "[{ to: nginx }]");
    let sent = scene.bytes("sent", 1 << 20);
    let url = proxy.plain() + "/files/expected";

    let said = curl(&[
        "--http1.1",
        "--verbose",
        "--header",
        "expect: 100-continue",
        "--expect100-timeout",
        "40",
        "--upload-file",
        &sent,
        &url,
    ]);

    assert!(said.err.contains("< HTTP/1.1 100 Continue"), "{said:?}");
    assert_eq!(report(said), "1.1 201");
    assert!(fs::read(scene.path("www/files/expected")).unwrap() == fs::read(sent).unwrap());
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn curl_keeps_its_connection_for_what_follows() {
    let scene = Scene::new();
    let proxy = scene.proxy("{}", "[{ to: echo }]");

    // Not with HTTP/2 without TLS: curl 7.88 fails to use such a connection again, whoever is the server.
    for version in ["--http1.1", "--http2"] {
        let report = "\nmade %{num_connects}\n";
        let said = curl_tls(&scene, &proxy, "a.test", "/[1-20]", &[version, "--write-out", report]).good();

        let made: Vec<_> = said.out.lines().filter(|line| line.starts_with("made ")).collect();
        assert_eq!(made, [&["made 1"][..], &["made 0"; 19]].concat(), "{version}");
    }
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn curl_goes_through_tunnels_that_a_route_allows_and_no_others() {
    let scene = Scene::new();
    let far = scene.proxy("{}", "[{ to: echo }]");
    let plain = far.plain().replace("http://", "");
    let clusters = format!("{{ plain: {{ hosts: [{plain:?}] }}, safe: {{ hosts: [\"{}\"] }} }}", far.tls());
    let near = scene.proxy(
        &clusters,
        "[{ match: { host: plain.test }, to: plain, upgrade: [connect] }, \
          { match: { host: a.test }, to: safe, upgrade: [connect] }, { to: echo }]",
    );
    let ca = scene.path("ca.pem");
    let place = format!("a.test:{}:127.0.0.1", near.tls().port());

    for proxy in [near.plain(), near.tls_as("a.test")] {
        let through = |arguments: &[&str]| {
            let tunnel =
                ["--noproxy", "", "--proxytunnel", "--proxy", &proxy, "--proxy-cacert", &ca, "--resolve", &place];
            curl(&[&tunnel[..], arguments].concat())
        };
        let inside = through(&["http://plain.test:9/some/path"]);
        let safe = through(&["--cacert", &ca, "https://a.test/some/path"]);
        let refused = through(&["http://other.test/"]);

        assert!(inside.out.contains("\"path\": \"/some/path\""), "{proxy}: {inside:?}");
        assert_eq!((report(inside), report(safe)), ("1.1 200".to_owned(), "2 200".to_owned()), "{proxy}");
        assert_eq!(refused.code, 56, "{proxy}: {refused:?}");
        assert!(refused.err.contains("400"), "{proxy}: {refused:?}");
    }
}
