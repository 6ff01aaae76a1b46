//! The four maps of an exchange: readable to its end, and nothing gets in that may not leave.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use common::modules::probes;
use common::origin::{Origin, ok};
use common::proxy::TestProxy;
use common::{h2, log, until};

fn proxy(name: &str, config: &str, origin: &Origin) -> TestProxy {
    let filters = probes(&[(name, config)]);
    TestProxy::with(&format!("{filters}routes: [{{ to: {:?}, filters: [{name}] }}]", origin.url()))
}

const TRAILED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-a: 2\r\ntrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 4\r\n\r\n";

/// An exchange with fields and trailers in both directions.
fn trailed(proxy: &TestProxy) -> h2::Answer {
    let request = http::Request::post("http://test/path").header("x-a", "1").header("te", "trailers");
    h2::exchange(proxy.address(), request.body(h2::body(&["ab", "c"], &[("x-end", "3")])).unwrap())
}

#[test]
fn every_map_is_readable_from_its_arrival_until_the_exchange_is_logged() {
    log::keep();
    let all = ["request-headers x-a", "request-trailers x-end", "response-headers x-a", "response-trailers x-sum"];
    let reads: Vec<_> = all.iter().map(|map| format!("\"get {map}\"")).collect();
    for (callback, known) in
        [("request_trailers", 2), ("response_headers", 3), ("response_body", 3), ("response_trailers", 4), ("log", 4)]
    {
        let (origin, name) = (Origin::answering(TRAILED), format!("reads-{callback}"));
        let proxy = proxy(&name, &format!("{{ {callback}: [{}] }}", reads.join(", ")), &origin);

        trailed(&proxy);

        let line = |map: &str, value: &str| {
            let lines = log::lines_with(&format!("probe: get {map} = {value}"));
            lines.iter().any(|line| line.contains(&format!("filter=\"{name}\"")))
        };
        // The request's own trailers are there in its callbacks; in those of the answer too.
        for (at, map) in all.iter().enumerate() {
            let value = if at < known { ["1", "3", "2", "4"][at] } else { "status 1" };
            until(&format!("{map} is {value} in {callback}"), || line(map, value));
        }
    }
}

#[test]
fn what_was_sent_can_be_read_and_not_changed() {
    let origin = Origin::answering(ok("x"));
    let config = "{ response_headers: [\"set request-headers x-a late\", \"remove request-headers x-a\", \
                  \"copy request-headers x-a -> response-headers x-was\"] }";
    let proxy = proxy("a", config, &origin);

    let answer = proxy.ask("/", "x-a: 1\r\n");

    assert_eq!(answer.field("x-was"), Some("1"));
    assert_eq!(proxy.metric("tollgate_filter_refusals_total", &[]), 2.0);
}

/// Fields that no filter may put into a map of this kind, as commands.
fn evil(map: &str) -> Vec<String> {
    let names =
        ["x%0D%0Ax-evil", "x%20evil", "x:evil", "''", ":evil", "content-length", "Transfer-Encoding", "connection"];
    let more = ["upgrade", "te", "keep-alive", "proxy-connection", "trailer", "host"];
    let pairs = names.iter().chain(&more).map(|name| (*name, "evil"));
    let values = ["evil%0D%0Ax:1", "evil%0A", "evil%00", "evil%0D"].into_iter().map(|value| ("x-evil", value));
    pairs
        .chain(values)
        .flat_map(|(name, value)| ["set", "add"].map(|verb| format!("{verb} {map} {name} {value}")))
        .collect()
}

#[test]
fn no_map_takes_what_the_wire_would_not() {
    let heads = [
        (
            "request_headers",
            "request-headers",
            vec![":method CONNECT", ":method G%20ET", ":path evil", ":path *", ":scheme evil"],
        ),
        ("response_headers", "response-headers", vec![":status 199", ":status 600", ":status evil", ":path /evil"]),
        ("request_trailers", "request-trailers", vec![":path /evil"]),
        ("response_trailers", "response-trailers", vec![":status 500"]),
    ];
    for (callback, map, pseudo) in heads {
        let origin = Origin::answering(TRAILED);
        let mut commands = evil(map);
        commands.extend(pseudo.iter().map(|field| format!("set {map} {field}")));
        if !map.contains("trailers") {
            commands.extend([format!("remove {map} :status"), format!("remove {map} :path")]);
        }
        let quoted: Vec<_> = commands.iter().map(|command| format!("{command:?}")).collect();
        let proxy = proxy("a", &format!("{{ {callback}: [{}] }}", quoted.join(", ")), &origin);

        let answer = trailed(&proxy);

        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"abc"[..]), "{callback}");
        assert!(!format!("{answer:?}{:?}", origin.request()).contains("evil"), "{callback}: {answer:?}");
        assert_eq!(
            (origin.request().method(), origin.request().target(), origin.request().text()),
            ("POST", "/path", "abc")
        );
        assert_eq!(proxy.metric("tollgate_filter_refusals_total", &[]), commands.len() as f64, "{callback}");
    }
}

#[test]
fn a_changed_body_has_its_own_length_on_http_2_too() {
    let origin = Origin::answering(ok("abc"));
    let config =
        "{ request_body: [body-buffer, \"body-append 45\"], response_body: [body-buffer, \"body-append 45\"] }";
    let proxy = proxy("a", config, &origin);
    let request = http::Request::post("http://test/").header("content-length", "3");

    let answer = h2::exchange(proxy.address(), request.body(h2::body(&["abc"], &[])).unwrap());

    assert_eq!((answer.body.as_slice(), answer.headers["content-length"].as_bytes()), (&b"abc45"[..], &b"5"[..]));
    assert_eq!((origin.request().text(), origin.request().field("content-length")), ("abc45", Some("5")));
}

#[test]
fn an_answer_to_head_tells_its_length_and_has_no_body_on_http_2() {
    let origin = Origin::scripted(|peer| {
        while peer.head().is_ok() {
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n")?;
        }
        Ok(())
    });
    let proxy = proxy("a", "{ response_body: [body-buffer, \"body-append 45\"] }", &origin);

    let answer = h2::exchange(proxy.address(), http::Request::head("http://test/").body(h2::body(&[], &[])).unwrap());

    assert_eq!((answer.body.as_slice(), answer.headers["content-length"].as_bytes()), (&b""[..], &b"3"[..]));
}
