//! Filters that hold an exchange: for how long, how many at a time, and what of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use common::modules::probes_with;
use common::origin::{Origin, chunked, ok};
use common::proxy::TestProxy;
use common::{PATIENCE, h2, log, until};
use hyper_util::rt::{TokioExecutor, TokioIo};

/// One probe of that name before an origin, with a short patience for its pauses.
fn holding(name: &str, settings: &str, config: &str, origin: &Origin) -> TestProxy {
    let settings = format!("budget: {{ time: 1s }}, pause_timeout: 200ms, {settings}");
    let filters = probes_with(&settings, &[(name, config)]);
    TestProxy::with(&format!("{filters}routes: [{{ to: {:?}, filters: [{name}] }}]", origin.url()))
}

fn given_up(proxy: &TestProxy, policy: &str) -> (f64, f64) {
    let failures = proxy.metric("tollgate_filter_failures_total", &["kind=\"paused\""]);
    (failures, proxy.metric("tollgate_filter_on_error_total", &[&format!("policy=\"{policy}\"")]))
}

const HALVES: [&str; 4] = ["request_headers", "request_body", "response_headers", "response_body"];

#[test]
fn a_filter_that_holds_for_too_long_is_denied_with_504() {
    log::keep();
    for callback in HALVES {
        let (origin, name) = (Origin::answering(ok("x")), format!("deny-{callback}"));
        let proxy = holding(&name, "on_error: deny", &format!("{{ {callback}: [pause] }}"), &origin);

        let answer = proxy.post("/", "", "body");

        assert_eq!(answer.status(), 504, "{callback}");
        assert_eq!(given_up(&proxy, "deny"), (1.0, 1.0), "{callback}");
        let said = log::lines_with("held an exchange for too long");
        assert_eq!(said.iter().filter(|line| line.contains(&format!("filter=\"{name}\""))).count(), 1, "{said:?}");
        proxy.counts("tollgate_filter_calls_total", &["phase=\"log\""], 1.0);
    }
}

#[test]
fn a_filter_that_holds_for_too_long_and_may_be_skipped_is_skipped() {
    for callback in HALVES {
        let origin = Origin::answering(ok("answer"));
        let config = format!("{{ {callback}: [pause], response_headers: [\"add response-headers x-seen yes\"] }}");
        let config = if callback == "response_headers" { "{ response_headers: [pause] }" } else { &config };
        let proxy = holding("a", "on_error: skip", config, &origin);

        let answer = proxy.post("/", "", "body");

        assert_eq!((answer.status(), answer.text()), (200, "answer"), "{callback}");
        // What follows a skipped callback for the request is not for the filter any more.
        let seen = if callback == "response_body" { Some("yes") } else { None };
        assert_eq!(answer.field("x-seen"), seen, "{callback}");
        assert_eq!(origin.request().text(), "body", "{callback}");
        assert_eq!(given_up(&proxy, "skip"), (1.0, 1.0), "{callback}");
        proxy.counts("tollgate_filter_calls_total", &["phase=\"log\""], 1.0);
    }
}

#[test]
fn an_answer_whose_head_has_left_breaks_off_when_it_is_held_for_too_long() {
    let origin =
        Origin::answering(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", chunked("answer")));
    let proxy = holding("a", "on_error: deny", "{ response_body: [pause] }", &origin);
    let mut client = proxy.client();

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let outcome = client.try_answer();

    assert!(outcome.is_err(), "{outcome:?}");
    assert_eq!(given_up(&proxy, "deny"), (1.0, 1.0));
}

#[test]
fn a_client_that_stalls_does_not_get_past_a_filter_that_may_be_skipped() {
    let origin = Origin::answering(ok("x"));
    let proxy = holding("a", "on_error: skip", "{ request_body: [body-buffer] }", &origin);
    let mut client = proxy.client();

    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbo");
    let answer = client.answer();

    assert_eq!((answer.status(), origin.requests().len()), (504, 0));
}

/// The ticks of the filter tell how much time passed.
fn ticks(proxy: &TestProxy) -> f64 {
    proxy.metric("tollgate_filter_calls_total", &["phase=\"tick\""])
}

#[test]
fn a_body_that_keeps_coming_is_no_pause() {
    let origin = Origin::answering(ok("x"));
    let config = "{ configure: [\"tick 50\"], request_body: [body-buffer, body-upper] }";
    let proxy = holding("a", "on_error: deny", config, &origin);
    let mut client = proxy.client();

    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 12\r\n\r\n");
    for _ in 0..12 {
        client.send("x");
        let before = ticks(&proxy);
        // Twelve of these last longer than the pause may, and none of them does.
        until("a tick has passed", || ticks(&proxy) > before);
    }

    assert_eq!((client.answer().status(), origin.request().text()), (200, "XXXXXXXXXXXX"));
}

#[test]
fn a_filter_that_lets_go_in_time_is_not_given_up() {
    let origin = Origin::answering(ok("x"));
    let config = "{ configure: [\"tick 20\"], request_headers: [\"resume-after-ticks 2\"] }";
    let proxy = holding("a", "on_error: deny", config, &origin);

    assert_eq!(proxy.get("/").status(), 200);
    assert_eq!(given_up(&proxy, "deny"), (0.0, 0.0));
}

#[test]
fn a_filter_that_was_given_up_cannot_reach_the_exchange_any_more() {
    let ready = Arc::new(AtomicBool::new(false));
    let release = Arc::clone(&ready);
    let slow = Origin::scripted(move |peer| {
        peer.request()?;
        until("the filter has ticked", || release.load(SeqCst));
        peer.send(ok("upstream"))
    });
    let config =
        "{ configure: [\"tick 1500\"], request_headers: [pause], tick: [\"effective 2\", \"reply 418 late\"] }";
    let proxy = holding("a", "on_error: skip", config, &slow);
    let mut client = proxy.client();

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    until("the exchange went on without the filter", || slow.requests().len() == 1);
    let before = ticks(&proxy);
    until("the filter has ticked", || ticks(&proxy) > before);
    ready.store(true, SeqCst);
    let answer = client.answer();

    assert_eq!((answer.status(), answer.text()), (200, "upstream"));
}

#[test]
fn a_filter_holds_a_thousand_exchanges_and_not_one_more() {
    let origin = Origin::answering(ok("x"));
    let filters = probes_with("budget: { time: 1s }", &[("a", "{ request_headers: [pause] }")]);
    let proxy = TestProxy::with(&format!("{filters}routes: [{{ to: {:?}, filters: [a] }}]", origin.url()));
    let address = proxy.address();
    let begun = |proxy: &TestProxy| proxy.metric("tollgate_filter_calls_total", &["phase=\"request_headers\""]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

    runtime.block_on(async {
        let mut held = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
            let (mut sender, connection) = builder.handshake::<_, h2::Outgoing>(TokioIo::new(stream)).await.unwrap();
            held.spawn(async move { drop(connection.await) });
            for _ in 0..50 {
                sender.ready().await.unwrap();
                let answer = sender.send_request(h2::get("/"));
                held.spawn(async move { drop(answer.await) });
            }
        }
        let all = async {
            while begun(&proxy) < 1_000.0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.expect("a thousand exchanges are held");
        assert_eq!(given_up(&proxy, "deny").1, 0.0);

        let one_more = tokio::task::spawn_blocking(move || {
            let mut client = common::client::Client::connect(address);
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
            client.answer().status()
        });
        assert_eq!(one_more.await.unwrap(), 503);
    });
    drop(runtime);

    // The clients left, so there is room again.
    proxy.counts("tollgate_http_active_requests", &[], 0.0);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    until("one more is held", || begun(&proxy) == 1_002.0);
    assert_eq!(given_up(&proxy, "deny").1, 1.0);
}
