//! nginx and haproxy as upstreams: what is agreed on with them, connections that are kept, and large answers of every frame.

use std::fs;

use crate::origins::{Haproxy, Nginx};
use crate::peer::run;
use crate::scene::Scene;

/// Gets URLs, one after the other, and answers with what came.
fn get(urls: &[&str]) -> String {
    run("curl", &[&["--silent", "--show-error", "--fail", "--max-time", "50", "--noproxy", "*"], urls].concat())
        .good()
        .out
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn nginx_gets_many_requests_on_one_connection() {
    let scene = Scene::new();
    let nginx = Nginx::start(&scene);
    let proxy = scene.proxy(&format!("{{ nginx: {{ hosts: [{}] }} }}", nginx.plain), "[{ to: nginx }]");

    let said = get(&[&(proxy.plain() + "/facts?[1-50]")]);

    let numbered = (1..=50).map(|number| format!("GET HTTP/1.1    {number}\n"));
    assert_eq!(said, numbered.collect::<String>());
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn nginx_is_asked_for_a_name_with_tls_and_shown_a_certificate() {
    let scene = Scene::new();
    let nginx = Nginx::start(&scene);
    let cluster = |name: &str, ca: &str, cert: &str| {
        format!("{{ hosts: [{}], tls: {{ sni: {name}, ca: {ca}.pem, cert: {cert}.pem, key: {cert}.key }} }}", nginx.tls)
    };
    let (mut clusters, mut routes) = (Vec::new(), Vec::new());
    for (name, sni, ca, cert) in [
        ("a", "a.test", "ca", "client"),
        ("b", "b.wild.test", "ca", "client"),
        ("other-name", "c.test", "ca", "client"),
        ("other-ca", "a.test", "other-ca", "client"),
        ("stranger", "a.test", "ca", "stranger"),
    ] {
        clusters.push(format!("{name}: {}", cluster(sni, ca, cert)));
        // nginx answers only requests for the name that was asked for with TLS.
        routes.push(format!("{{ match: {{ headers: {{ x-to: {name} }} }}, to: {name}, rewrite: {{ host: {sni} }} }}"));
    }
    let proxy = scene.proxy(&format!("{{ {} }}", clusters.join(", ")), &format!("[{}]", routes.join(", ")));
    let ask = |to: &str| {
        let header = format!("x-to: {to}");
        let url = proxy.plain() + "/facts";
        run("curl", &["--silent", "--noproxy", "*", "--header", &header, "--write-out", "%{http_code}", &url])
            .good()
            .out
    };

    assert_eq!(ask("a"), "GET HTTP/1.1 TLSv1.3 a.test CN=client.test 1\n200");
    assert_eq!(ask("a"), "GET HTTP/1.1 TLSv1.3 a.test CN=client.test 2\n200");
    assert_eq!(ask("b"), "GET HTTP/1.1 TLSv1.3 b.wild.test CN=client.test 1\n200");
    // Neither the name nor the CA of what is shown is believed, and no request leaves.
    assert!(ask("other-name").ends_with("\n503"), "{}", ask("other-name"));
    assert!(ask("other-ca").ends_with("\n503"), "{}", ask("other-ca"));
    // nginx takes any certificate and refuses the request, as it says in words of HTTP.
    assert!(
        ask("stranger").contains("The SSL certificate error") && ask("stranger").ends_with("400"),
        "{}",
        ask("stranger")
    );
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn haproxy_is_spoken_to_in_every_protocol_it_agrees_on() {
    let scene = Scene::new();
    let nginx = Nginx::start(&scene);
    let haproxy = Haproxy::start(&scene, &nginx);
    let tls = "tls: { sni: a.test, ca: ca.pem, cert: client.pem, key: client.key }";
    let clusters = format!(
        "{{ http1: {{ hosts: [{}] }}, h2c: {{ hosts: [{}], protocol: h2 }}, tls: {{ hosts: [{}], {tls} }}, h2: {{ hosts: [{}], protocol: h2, {tls} }} }}",
        haproxy.http1, haproxy.h2c, haproxy.tls, haproxy.tls,
    );
    let routes = ["http1", "h2c", "tls", "h2"]
        .map(|name| format!("{{ match: {{ path: /{name}/ }}, to: {name}, rewrite: {{ path: / }} }}"))
        .join(", ");
    let proxy = scene.proxy(&clusters, &format!("[{routes}]"));
    let sent = fs::read(scene.bytes("www/files/large", 1 << 20)).unwrap();

    for (name, facts) in [
        ("http1", "GET HTTP/1.1  \n"),
        ("h2c", "GET HTTP/2.0  \n"),
        ("tls", "GET HTTP/1.1 a.test client.test\n"),
        ("h2", "GET HTTP/2.0 a.test client.test\n"),
    ] {
        let url = format!("{}/{name}", proxy.plain());
        let back = scene.path("back");

        assert_eq!(get(&[&format!("{url}/facts")]), facts, "{name}");
        get(&["--output", &back, &format!("{url}/files/large")]);
        assert!(fs::read(&back).unwrap() == sent, "{name}: the download changed");
        get(&["--upload-file", &scene.path("www/files/large"), &format!("{url}/files/{name}")]);
        assert!(fs::read(scene.path(&format!("www/files/{name}"))).unwrap() == sent, "{name}: the upload changed");
    }
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn haproxy_that_refuses_the_certificate_of_the_proxy_gets_no_request() {
    let scene = Scene::new();
    let nginx = Nginx::start(&scene);
    let haproxy = Haproxy::start(&scene, &nginx);
    let (hosts, tls) = (format!("hosts: [{}]", haproxy.tls), "tls: { sni: a.test, ca: ca.pem");
    let clusters = format!(
        "{{ none: {{ {hosts}, {tls} }} }}, stranger: {{ {hosts}, {tls}, cert: stranger.pem, key: stranger.key }} }}, \
         none-h2: {{ {hosts}, protocol: h2, {tls} }} }} }}",
    );
    let routes = ["none", "stranger", "none-h2"].map(|name| format!("{{ match: {{ exact: /{name} }}, to: {name} }}"));
    let proxy = scene.proxy(&clusters, &format!("[{}]", routes.join(", ")));

    for name in ["none", "stranger", "none-h2"] {
        let url = format!("{}/{name}", proxy.plain());
        let said = run("curl", &["--silent", "--noproxy", "*", "--write-out", "%{http_code}", &url]).good();

        assert!(["502", "503"].iter().any(|status| said.out.ends_with(status)), "{name}: {said:?}");
    }
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn large_answers_of_nginx_arrive_whole_with_chunks_and_with_a_length() {
    let scene = Scene::new();
    let nginx = Nginx::start(&scene);
    let clusters = format!("{{ nginx: {{ hosts: [{}] }} }}", nginx.plain);
    let proxy =
        scene.proxy(&clusters, "[{ to: nginx }, { match: { query: { filter: noop } }, to: nginx, filters: [noop] }]");
    let plain = proxy.plain();

    for length in [4, 65_532, 65_536, 65_540, 3 << 20] {
        let sent = fs::read(scene.bytes("www/files/some", length)).unwrap();
        for (path, framed) in [("files", "content-length: "), ("chunked", "transfer-encoding: chunked")] {
            for filter in ["?filter=none", "?filter=noop"] {
                let (back, url) = (scene.path("back"), format!("{plain}/{path}/some{filter}"));

                let head = get(&["--http1.1", "--output", &back, "--dump-header", "-", &url]).to_lowercase();

                assert!(fs::read(&back).unwrap() == sent, "{url}: {length} bytes changed");
                // A filter may look at a body, so its length is known to nobody before it is whole.
                assert!(head.contains(framed) || filter == "?filter=noop", "{url}: {length} bytes: {head}");
            }
        }
    }
}
