//! Clusters that speak TLS: whom endpoints are taken for, what they are shown, and what a client hears where that fails.
//! Endpoints are proxies with a listener of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::mpsc;

use common::modules::probes_with;
use common::origin::{Origin, ok};
use common::process::{Tollgate, ask};
use common::proxy::{TestProxy, prepare};
use common::tls::{Authority, Files, Pem, named, scripted_endpoint};
use common::wire::{self, Message};
use common::{PATIENCE, admin, clusters, until};
use tempfile::NamedTempFile;

/// An endpoint with this certificate and more of its TLS, which describes requests.
fn endpoint(files: &Files, pem: &Pem, more: &str) -> TestProxy {
    let identity = files.identity("endpoint", pem);
    TestProxy::with(&format!(
        "listeners:\n- listen: 127.0.0.1:0\n  tls: {{ certificates: [{{ {identity} }}]{more} }}\n  routes: [{{ to: echo }}]\n"
    ))
}

/// A proxy with one cluster of these hosts, and the file of its access log.
fn logged(hosts: &[String], cluster: &str) -> (TestProxy, NamedTempFile) {
    let (hosts, log) = (hosts.join(", "), NamedTempFile::new().unwrap());
    let proxy = TestProxy::with(&format!(
        "routes: [{{ to: app }}]\nclusters: {{ app: {{ hosts: [{hosts}], {cluster} }} }}\n\
         telemetry: {{ access_log: {{ format: json, to: {:?} }} }}\n",
        log.path()
    ));
    (proxy, log)
}

fn proxy(hosts: &[String], cluster: &str) -> TestProxy {
    logged(hosts, cluster).0
}

fn local(address: SocketAddr) -> Vec<String> {
    vec![address.to_string()]
}

/// A request gets 503, and why stands in the log and is counted.
fn fails((proxy, log): &(TestProxy, NamedTempFile), why: &str) {
    let answer = proxy.get("/");

    assert_eq!(answer.status(), 503, "{answer:?}");
    proxy.counts("tollgate_upstream_failures_total", &["reason=\"tls\""], 1.0);
    let reason = format!("\"upstream_tls:{why}\"");
    let text = || std::fs::read_to_string(log.path()).unwrap();
    until(&format!("{reason} is in the log"), || {
        assert!(text().lines().all(|line| line.contains(&reason)), "{}", text());
        !text().is_empty()
    });
}

fn said(answer: &Message) -> (u16, String) {
    (answer.status(), answer.json()["path"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn an_endpoint_is_believed_by_its_ca_and_its_address() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let ca = files.write("ca.pem", authority.pem());
    let endpoint = endpoint(&files, &authority.issue(&named(&["127.0.0.1"])), "");

    for protocol in ["http1", "h2"] {
        let proxy = proxy(&local(endpoint.address()), &format!("protocol: {protocol}, tls: {{ ca: {ca} }}"));

        assert_eq!(said(&proxy.get("/a")), (200, "/a".to_owned()), "{protocol}");
        let posted = proxy.post("/b", "", &"x".repeat(100_000));
        assert_eq!((posted.status(), posted.json()["body"]["bytes"].as_u64()), (200, Some(100_000)));
        // Connections are used again as they are without TLS.
        assert_eq!(proxy.get("/c").status(), 200);
        assert_eq!(proxy.metric("tollgate_upstream_connections_total", &[]), 1.0, "{protocol}");
    }
}

#[test]
fn an_endpoint_is_asked_for_a_name_and_has_to_have_it() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let ca = files.write("ca.pem", authority.pem());
    let pem = authority.issue(&named(&["api.test", "*.wild.test"]).uri("spiffe://mesh.test/api"));
    let endpoint = endpoint(&files, &pem, "");
    let proxy = |tls: &str| logged(&local(endpoint.address()), &format!("tls: {{ ca: {ca}{tls} }}"));

    for tls in [
        ", sni: api.test",
        ", sni: x.wild.test",
        ", names: [api.test]",
        ", names: [other.test, 'spiffe://mesh.test/*']",
        ", sni: other.test, names: ['spiffe://mesh.test/api']",
    ] {
        assert_eq!(proxy(tls).0.get("/").status(), 200, "{tls}");
    }
    for tls in ["", ", sni: other.test", ", names: [other.test]", ", names: ['spiffe://mesh.test/other']"] {
        fails(&proxy(tls), "certificate_name");
    }
}

#[test]
fn an_endpoint_that_is_not_believed_gets_no_request() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let ca = files.write("ca.pem", Authority::new("other").pem());
    let endpoint = endpoint(&files, &authority.issue(&named(&["127.0.0.1"])), "");

    for protocol in ["http1", "h2"] {
        let blind = format!("protocol: {protocol}, tls: {{ ca: {ca} }}");
        fails(&logged(&local(endpoint.address()), &blind), "certificate_unknown_issuer");
    }
    assert_eq!(endpoint.metric("tollgate_http_requests_total", &[]), 0.0);
    // Nobody but an operator who says so looks away.
    let blind = proxy(&local(endpoint.address()), "tls: { verify: off }");
    assert_eq!(blind.get("/").status(), 200);
}

#[test]
fn an_endpoint_whose_time_is_over_is_not_believed() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let ca = files.write("ca.pem", authority.pem());
    // No listener shows such a certificate, so the endpoint is a socket with rustls.
    let pem = authority.issue(&named(&["127.0.0.1"]).years(2020, 2021));
    let address = common::tls::expired_endpoint(&pem);

    fails(&logged(&local(address), &format!("tls: {{ ca: {ca} }}")), "certificate_expired");
}

#[test]
fn an_endpoint_that_speaks_no_tls_is_told_from_one_that_is_not_there() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let ca = files.write("ca.pem", authority.pem());
    let origin = Origin::scripted(|peer| {
        let mut some = [0; 1];
        peer.read(&mut some)?;
        peer.send(ok("x"))
    });

    fails(&logged(&local(origin.address()), &format!("tls: {{ ca: {ca} }}")), "not_tls");
    let absent = proxy(&local(common::origin::refusing()), &format!("tls: {{ ca: {ca} }}"));
    assert_eq!(absent.get("/").status(), 503);
    absent.counts("tollgate_upstream_failures_total", &["reason=\"connect\""], 1.0);
}

#[test]
fn an_endpoint_that_wants_a_certificate_gets_the_one_that_is_named() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let ca = files.write("ca.pem", authority.pem());
    let own = files.identity("own", &authority.issue(&named(&["proxy.test"])));

    for (version, protocol) in [("1.2", "http1"), ("1.3", "http1"), ("1.3", "h2")] {
        // TLS 1.2 is what is left when an endpoint knows nothing newer; with 1.3 the endpoint looks at it last.
        let more = format!(", client_ca: {ca}, client_names: [proxy.test], min_version: {version}");
        let endpoint = endpoint(&files, &authority.issue(&named(&["127.0.0.1"])), &more);
        let shown = proxy(&local(endpoint.address()), &format!("protocol: {protocol}, tls: {{ ca: {ca}, {own} }}"));
        assert_eq!(shown.get("/").status(), 200, "{version} {protocol}");

        let hidden = logged(&local(endpoint.address()), &format!("protocol: {protocol}, tls: {{ ca: {ca} }}"));
        let why = if protocol == "h2" { "alert" } else { "alert_certificate_required" };

        fails(&hidden, why);
    }
}

#[test]
fn health_is_asked_over_the_same_tls() {
    let (files, ca, other) = (Files::new(), Authority::new("ca"), Authority::new("other"));
    let endpoint = endpoint(&files, &ca.issue(&named(&["127.0.0.1"])), "");
    let asks = |file: &str, pem: &str, initial: &str, protocol: &str| {
        let ca = files.write(file, pem);
        let health = format!("interval: 20ms, timeout: 10s, healthy: 1, unhealthy: 1, jitter: 0%, initial: {initial}");
        let keys = format!(", protocol: {protocol}, tls: {{ ca: {ca} }}, health: {{ http: /health, {health} }}");
        clusters::proxy(&[endpoint.address()], &keys, "")
    };

    for protocol in ["http1", "h2"] {
        clusters::becomes(&asks("ca.pem", ca.pem(), "unhealthy", protocol), &["healthy"]);
        clusters::becomes(&asks("other.pem", other.pem(), "healthy", protocol), &["unhealthy"]);
    }
}

#[test]
fn an_endpoint_that_answers_early_and_leaves_is_heard_out() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let ca = files.write("ca.pem", authority.pem());
    // More than is read at once, and less than the kernel keeps.
    let (length, body) = (32 << 10, "x".repeat(32 << 10));
    let (leave, left) = mpsc::channel::<()>();
    let address = scripted_endpoint(&authority.issue(&named(&["127.0.0.1"])), move |reader| {
        wire::read_head(reader)?;
        left.recv_timeout(PATIENCE).map_err(io::Error::other)?;
        let endpoint = reader.get_mut();
        write!(endpoint, "HTTP/1.1 413 Content Too Large\r\ncontent-length: {length}\r\n\r\n{body}")?;
        endpoint.flush()
    });
    let proxy = proxy(&local(address), &format!("tls: {{ ca: {ca} }}"));

    // Somewhere between them the kernel takes no more, and what TLS has taken waits to be sent.
    for sent in (1024..4096).step_by(16) {
        let mut client = proxy.client();
        client.send("PUT / HTTP/1.1\r\nhost: test\r\ncontent-length: 16777216\r\n\r\n");
        client.send(vec![b'x'; sent << 10]);
        // The worker that says so has taken what came before.
        assert_eq!(proxy.send("GET / HTTP/1.1\r\n\r\n").status(), 400);
        leave.send(()).unwrap();

        let answer = client.answer();

        assert_eq!((answer.status(), answer.body.len()), (413, length), "{sent} KiB");
    }
}

#[test]
fn http_2_is_spoken_where_both_agree_on_it() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let ca = files.write("ca.pem", authority.pem());
    let endpoint = endpoint(&files, &authority.issue(&named(&["127.0.0.1"])), ", alpn: [http1]");

    fails(&logged(&local(endpoint.address()), &format!("protocol: h2, tls: {{ ca: {ca} }}")), "alpn");
    assert_eq!(proxy(&local(endpoint.address()), &format!("tls: {{ ca: {ca} }}")).get("/").status(), 200);
}

#[test]
fn another_endpoint_is_tried_where_hands_are_not_shaken() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let ca = files.write("ca.pem", authority.pem());
    let good = endpoint(&files, &authority.issue(&named(&["127.0.0.1"])), "");
    let bad = common::tls::expired_endpoint(&authority.issue(&named(&["127.0.0.1"]).years(2020, 2021)));
    let hosts = [bad.to_string(), good.address().to_string()];
    let proxy = proxy(&hosts, &format!("tls: {{ ca: {ca} }}"));

    for _ in 0..4 {
        let answer = proxy.post("/", "", "body");
        assert_eq!(answer.status(), 200);
    }
    assert!(proxy.metric("tollgate_upstream_retries_total", &[]) >= 1.0);
}

#[test]
fn a_session_goes_on_on_the_next_connection_and_after_a_reload() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let ca = files.write("ca.pem", authority.pem());
    let endpoint = endpoint(&files, &authority.issue(&named(&["127.0.0.1"])), "");
    let text = format!(
        "limits: {{ upstream_idle_timeout: 1ms }}\nroutes: [{{ to: app }}]\nclusters: {{ app: {{ hosts: [{:?}], tls: {{ ca: {ca} }} }} }}\n",
        endpoint.address().to_string()
    );
    let proxy = TestProxy::with(&text);

    assert_eq!(proxy.get("/").status(), 200);
    proxy.counts("tollgate_upstream_connections_active", &[], 0.0);
    assert_eq!(proxy.get("/").status(), 200);

    endpoint.counts("tollgate_tls_handshakes_total", &["session=\"resumed\""], 1.0);
    proxy.configure(&text.replace("to: app", "to: app, timeout: 9s")).unwrap();
    proxy.counts("tollgate_upstream_connections_active", &[], 0.0);
    assert_eq!(proxy.get("/").status(), 200);
    endpoint.counts("tollgate_tls_handshakes_total", &["session=\"resumed\""], 2.0);
}

#[test]
fn at_a_reload_other_cas_of_the_system_are_believed_and_the_same_ones_end_no_session() {
    let (files, old, new) = (Files::new(), Authority::new("old"), Authority::new("new"));
    let endpoint = endpoint(&files, &new.issue(&named(&["127.0.0.1"])), "");
    let system = files.write("system.pem", old.pem());
    let process = Tollgate::run_under(
        &format!("SSL_CERT_FILE={system} exec \"$0\" \"$@\""),
        &format!(
            "listen: 127.0.0.1:0\nadmin: {{ listen: '127.0.0.1:0' }}\nwatch: off\n\
             limits: {{ upstream_idle_timeout: 1ms }}\nroutes: [{{ to: 'https://{}' }}]\n",
            endpoint.address()
        ),
    );
    let address = process.address_after("listening on http://");
    let admin = process.address_after("admin on http://");
    let resumed = || endpoint.metric("tollgate_tls_handshakes_total", &["session=\"resumed\""]);
    let reload = || assert_eq!(admin::ask(admin, "POST /reload").status(), 200);
    assert_eq!(ask(address, "/").status(), 503);

    files.write("system.pem", new.pem());
    reload();
    assert_eq!(ask(address, "/").status(), 200);

    reload();
    until("a session goes on", || ask(address, "/").status() == 200 && resumed() > 0.0);
    assert_eq!(endpoint.metric("tollgate_tls_handshakes_total", &["session=\"new\""]), 1.0);
}

#[test]
fn an_https_url_believes_the_cas_of_the_system() {
    let files = Files::new();
    let authority = Authority::new("ca");
    let endpoint = endpoint(&files, &authority.issue(&named(&["127.0.0.1"])), "");
    let log = NamedTempFile::new().unwrap();
    let yaml = format!(
        "routes: [{{ to: 'https://{}' }}]\ntelemetry: {{ access_log: {{ format: json, to: {:?} }} }}\n",
        endpoint.address(),
        log.path()
    );

    match prepare(&yaml) {
        Ok(app) => fails(&(TestProxy::of(app), log), "certificate_unknown_issuer"),
        // A machine without CAs is told so.
        Err(error) => assert!(error.to_string().contains("TG0506"), "{error}"),
    }
}

#[test]
fn what_filters_ask_goes_over_the_same_tls_and_fails_as_a_connection_does() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let endpoint = endpoint(&files, &authority.issue(&named(&["127.0.0.1"])), "");
    let (origin, address) = (Origin::saying("upstream"), endpoint.address().to_string());
    let known = files.write("ca.pem", authority.pem());
    let unknown = files.write("other.pem", Authority::new("other").pem());
    let ask = |ca: &str, protocol: &str| {
        let config = "{ request_headers: [\"call auth 5000 /check token :authority=id.local\", pause], call_response: \
                      [\"copy call-headers :status -> request-headers x-status\", \"continue request\"] }";
        let probe = probes_with("budget: { time: 1s }, allow: { calls: [auth] }", &[("a", config)]);
        let proxy = TestProxy::with(&format!(
            "{probe}clusters: {{ auth: {{ hosts: [{address:?}], protocol: {protocol}, tls: {{ ca: {ca} }} }} }}\n\
             routes: [{{ to: '{}', filters: [a] }}]\n",
            origin.url()
        ));
        assert_eq!(proxy.get("/").status(), 200);
        let status = origin.requests().last().unwrap().field("x-status").map(str::to_owned);
        let outcome =
            |outcome: &str| proxy.metric("tollgate_filter_callouts_total", &[&format!("outcome={outcome:?}")]);
        (status, outcome("ok"), outcome("connect"))
    };

    for protocol in ["http1", "h2"] {
        assert_eq!(ask(&known, protocol), (Some("200".to_owned()), 1.0, 0.0), "{protocol}");
        let (_, answered, failed) = ask(&unknown, protocol);
        assert_eq!((answered, failed), (0.0, 1.0), "{protocol}");
    }
}
