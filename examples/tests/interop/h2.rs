//! nghttp and h2load as clients of HTTP/2: frames that curl does not send, and many streams at a time.

use std::fs;

use crate::origins::Nginx;
use crate::peer::{Said, run};
use crate::scene::Scene;

/// Both listeners by URL, for clients that look at no certificate.
fn both(proxy: &crate::proxy::Tollgate) -> [String; 2] {
    [proxy.plain(), format!("https://{}", proxy.tls())]
}

/// How often nghttp tells of an answer with that status.
fn answers(said: &Said, status: &str) -> usize {
    said.out.matches(&format!(":status: {status}\n")).count()
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn nghttp_has_two_hundred_streams_answered_on_one_connection() {
    let scene = Scene::new();
    let nginx = Nginx::start(&scene);
    let proxy = scene.proxy(&format!("{{ nginx: {{ hosts: [{}] }} }}", nginx.plain), "[{ to: nginx }]");
    scene.bytes("www/files/some", 100_000);

    for url in both(&proxy) {
        let said = run("nghttp", &["-v", "-n", "-y", "-m", "200", "-t", "50", &(url + "/files/some")]).good();

        assert_eq!(answers(&said, "200"), 200, "{}", said.err);
        assert_eq!(said.out.matches("recv GOAWAY").count(), 0);
    }
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn nghttp_pads_continues_and_opens_small_windows() {
    let scene = Scene::new();
    let nginx = Nginx::start(&scene);
    let clusters = format!("{{ nginx: {{ hosts: [{}] }} }}", nginx.plain);
    let proxy = scene.proxy(&clusters, "[{ to: nginx }, { match: { exact: /echo }, to: echo }]");
    scene.bytes("www/files/some", 100_000);

    for url in both(&proxy) {
        let (file, echo) = (format!("{url}/files/some"), format!("{url}/echo"));
        // Windows of 2^8-1 bytes for a stream, padding of up to 200 bytes, and a head that fits no single frame.
        let small = run("nghttp", &["-v", "-n", "-y", "-t", "50", "-w", "8", &file]).good();
        let padded =
            run("nghttp", &["-v", "-n", "-y", "-t", "50", "-b", "200", "-d", &scene.path("ca.pem"), &echo]).good();
        let continued = run("nghttp", &["-v", "-y", "-t", "50", "--continuation", &echo]).good();

        for said in [&small, &padded, &continued] {
            assert_eq!(answers(said, "200"), 1, "{said:?}");
        }
        assert!(small.out.matches("recv DATA").count() > 100_000 / 256, "the window was not kept");
        assert!(continued.out.contains("\"continuation-test-6\": \"---"), "{continued:?}");
    }
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn nghttp_uploads_with_trailers_and_after_it_expected_100() {
    let scene = Scene::new();
    let nginx = Nginx::start(&scene);
    let proxy = scene.proxy(&format!("{{ nginx: {{ hosts: [{}] }} }}", nginx.plain), "[{ to: nginx }]");
    let sent = scene.bytes("sent", 300_000);

    for (index, url) in both(&proxy).into_iter().enumerate() {
        let path = format!("/files/{index}");
        let common = ["-v", "-n", "-y", "-t", "50", "-H", ":method: PUT", "-d", &sent, "--trailer", "x-checksum: 1"];

        let said = run("nghttp", &[&common[..], &[&(url.clone() + &path)]].concat()).good();
        let expected = run("nghttp", &[&common[..], &["--expect-continue", &(url + &path)]].concat()).good();

        assert_eq!(answers(&said, "201"), 1, "{said:?}");
        assert!(said.out.contains("x-checksum: 1"), "{said:?}");
        assert_eq!(answers(&expected, "204"), 1, "{expected:?}");
        assert!(fs::read(scene.path(&format!("www{path}"))).unwrap() == fs::read(&sent).unwrap());
    }
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn h2load_has_ten_thousand_requests_on_ten_times_ten_streams_answered() {
    let proxy = Scene::new().proxy("{}", "[{ respond: { status: 200, body: good day } }]");

    for url in both(&proxy) {
        let said = run("h2load", &["-n", "10000", "-c", "10", "-m", "10", &(url + "/")]).good();

        all_succeeded(&said, 10_000);
    }
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn h2load_has_ten_thousand_requests_of_http1_answered_on_ten_connections() {
    let proxy = Scene::new().proxy("{}", "[{ respond: { status: 200, body: good day } }]");

    for url in both(&proxy) {
        let said = run("h2load", &["--h1", "-n", "10000", "-c", "10", "-m", "1", &(url + "/")]).good();

        all_succeeded(&said, 10_000);
    }
}

/// Fails unless h2load had that many answers, all of them 2xx.
#[track_caller]
pub(crate) fn all_succeeded(said: &Said, requests: u32) {
    let done = format!(
        "{requests} total, {requests} started, {requests} done, {requests} succeeded, 0 failed, 0 errored, 0 timeout"
    );
    assert_eq!(said.after("requests: "), Some(done.as_str()), "{said:?}");
    assert_eq!(said.after("status codes: "), Some(format!("{requests} 2xx, 0 3xx, 0 4xx, 0 5xx").as_str()), "{said:?}");
}
