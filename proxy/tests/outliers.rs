//! Endpoints that fail clients: left alone for a while, never all of them, and taken back gently.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;
#[path = "outliers/waits.rs"]
mod waits;

use common::admin::LOOPBACK;
use common::clusters::{answers, becomes, endpoints, health, hosts, proxy, yaml};
use common::modules::probes_with;
use common::origin::{Origin, ok, refusing};
use common::proxy::TestProxy;
use common::until;

/// An origin that answers 503 as often as it is told, and then its name.
fn failing(times: usize, name: &'static str) -> Origin {
    let left = std::sync::atomic::AtomicUsize::new(times);
    Origin::scripted(move |peer| {
        use std::sync::atomic::Ordering::SeqCst;
        while peer.request()?.is_some() {
            let fails = left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
            let answer = if fails { "HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n".to_owned() } else { ok(name) };
            peer.send(answer)?;
        }
        Ok(())
    })
}

fn statuses(proxy: &TestProxy, count: usize) -> Vec<u16> {
    (0..count).map(|_| proxy.get("/").status()).collect()
}

#[test]
fn an_endpoint_that_fails_in_a_row_is_left_alone() {
    let (bad, good) = (failing(usize::MAX, ""), Origin::saying("good"));
    let proxy = proxy(&[bad.address(), good.address()], ", outliers: { failures: 3, base: 1h, max: 1h }", "");

    assert_eq!(statuses(&proxy, 6).iter().filter(|status| **status == 503).count(), 3);
    becomes(&proxy, &["ejected", "healthy"]);

    assert_eq!(answers(&proxy, 6), ["good"; 6]);
    assert_eq!(bad.requests().len(), 3);
    assert_eq!(proxy.metric("tollgate_upstream_host_healthy", &[]), 1.0);
}

#[test]
fn a_good_answer_between_them_forgives_failures() {
    let origins: [Origin; 2] = std::array::from_fn(|_| {
        Origin::scripted(|peer| {
            let mut number = 0;
            while peer.request()?.is_some() {
                number += 1;
                let fails = number % 3 != 0;
                peer.send(if fails { "HTTP/1.1 500 no\r\ncontent-length: 0\r\n\r\n".to_owned() } else { ok("x") })?;
            }
            Ok(())
        })
    });
    let addresses = [origins[0].address(), origins[1].address()];
    let proxy = proxy(&addresses, ", outliers: { failures: 3, base: 1h, max: 1h }", "");

    let mut client = proxy.client();
    for _ in 0..30 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        client.answer();
    }

    assert_eq!(health(&proxy), ["healthy", "healthy"]);
}

#[test]
fn connections_that_are_refused_or_broken_are_failures() {
    let broken = Origin::scripted(|peer| peer.request().map(drop));
    for bad in [refusing(), broken.address()] {
        let good = Origin::saying("good");
        let proxy = proxy(&[bad, good.address()], ", outliers: { failures: 2, base: 1h, max: 1h }", "");

        until("it is ejected", || {
            proxy.get("/");
            health(&proxy) == ["ejected", "healthy"]
        });

        assert_eq!(answers(&proxy, 4), ["good"; 4]);
    }
}

#[test]
fn an_endpoint_that_never_answers_is_a_failure() {
    let (silent, good) = (Origin::silent(), Origin::saying("good"));
    let text = yaml(&hosts(&[silent.address(), good.address()]), ", outliers: { failures: 1, base: 1h, max: 1h }", "");
    let proxy = TestProxy::with(&text.replace("timeout: 5s", "timeout: 100ms"));

    until("it is ejected", || {
        proxy.get("/");
        health(&proxy) == ["ejected", "healthy"]
    });
}

#[test]
fn every_attempt_that_takes_all_of_its_time_is_a_failure_of_its_own_endpoint() {
    let (first, second, good) = (Origin::silent(), Origin::silent(), Origin::saying("good"));
    let more = ", outliers: { failures: 1, base: 1h, max: 1h, max_ejected: 100% }";
    let route = ", retry: { on: [timeout], try_timeout: 100ms, backoff: 1ms }";
    let spare = format!("{{ host: \"{}\", priority: 1 }}", good.address());
    let text = yaml(&format!("{}, {spare}", hosts(&[first.address(), second.address()])), more, route);
    let proxy = TestProxy::with(&text);

    assert_eq!(proxy.get("/").status(), 504);

    becomes(&proxy, &["ejected", "ejected", "healthy"]);
}

#[test]
fn an_attempt_that_those_before_it_leave_too_little_time_is_no_failure_of_its_endpoint() {
    let (first, bad) = (Origin::silent(), failing(usize::MAX, ""));
    let second = Origin::scripted(|peer| match peer.number {
        0 => peer.request().and_then(|_| peer.wait_for_end()),
        _ => peer.request().and_then(|_| peer.send(ok("good"))),
    });
    let more = ", outliers: { failures: 1, base: 1h, max: 1h, max_ejected: 100% }";
    let route = ", retry: { on: [timeout], try_timeout: 400ms, backoff: 1ms }";
    let text = yaml(&hosts(&[first.address(), bad.address(), second.address()]), more, route);
    let proxy = TestProxy::with(&text.replace("timeout: 5s", "timeout: 600ms"));

    assert_eq!(proxy.get("/").status(), 504);
    assert_eq!((first.requests().len(), second.requests().len()), (1, 1));

    // Of three, only two are left alone, and who is reported first is.
    until("the one that fails is ejected", || {
        proxy.get("/");
        health(&proxy) == ["ejected", "ejected", "healthy"]
    });
}

/// Two endpoints, of which the first waits for a request and the second fails each, behind routes of which `/later` takes
/// a while.
fn waiting(route: &str) -> (TestProxy, [Origin; 3]) {
    let origins = [Origin::silent(), failing(usize::MAX, ""), Origin::silent()];
    let proxy = TestProxy::with(&format!(
        "{LOOPBACK}clusters: {{ app: {{ hosts: [{}], outliers: {{ failures: 1, base: 1h, max: 1h }} }} }}\n\
         routes: [{{ match: {{ exact: /later }}, to: {:?}, timeout: 300ms }}, {{ to: app{route} }}]",
        hosts(&[origins[0].address(), origins[1].address()]),
        origins[2].url(),
    ));
    (proxy, origins)
}

/// Has the second endpoint fail; of two, only one may be left alone, and who is reported first is.
fn second_is_ejected(proxy: &TestProxy) {
    assert_eq!(proxy.get("/").status(), 503);
    becomes(proxy, &["healthy", "ejected"]);
}

#[test]
fn a_client_that_takes_its_time_and_leaves_is_no_failure_of_an_endpoint() {
    let (proxy, _origins) = waiting(", timeout: 100ms");
    let mut client = proxy.client();
    client.send("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nhalf");
    // By then the time for an answer would be over, had it begun.
    assert_eq!(proxy.get("/later").status(), 504);

    drop(client);
    proxy.counts("tollgate_http_active_requests", &[], 0.0);

    second_is_ejected(&proxy);
}

#[test]
fn an_attempt_that_is_given_up_while_the_client_sends_is_no_failure_of_an_endpoint() {
    let (proxy, _origins) = waiting(", retry: { on: [timeout], tries: 1, try_timeout: 100ms }");

    let answer = proxy.send("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nhalf");

    assert_eq!(answer.status(), 504);
    second_is_ejected(&proxy);
}

#[test]
fn an_endpoint_that_leaves_a_filter_without_an_answer_has_failed() {
    let (silent, good, app) = (Origin::silent(), Origin::saying("good"), Origin::saying("app"));
    let config = "{ request_headers: [\"call auth 100 / ''\", pause], call_response: [\"continue request\"] }";
    let filters = probes_with("budget: { time: 1s }, allow: { calls: [auth] }", &[("a", config)]);
    let proxy = TestProxy::with(&format!(
        "{LOOPBACK}{filters}clusters: {{ auth: {{ hosts: [{}], outliers: {{ failures: 1, base: 1h, max: 1h }} }} }}\n\
         routes: [{{ to: {:?}, filters: [a] }}]",
        hosts(&[silent.address(), good.address()]),
        app.url()
    ));

    until("it is ejected", || {
        assert_eq!(proxy.get("/").status(), 200);
        health(&proxy) == ["ejected", "healthy"]
    });
}

#[test]
fn not_all_are_left_alone() {
    let origins = [failing(usize::MAX, ""), failing(usize::MAX, "")];
    let addresses = [origins[0].address(), origins[1].address()];
    let proxy = proxy(&addresses, ", outliers: { failures: 1, base: 1h, max: 1h, max_ejected: 100% }, panic: 0%", "");

    statuses(&proxy, 10);
    until("one is ejected", || health(&proxy).contains(&"ejected".to_owned()));
    statuses(&proxy, 10);

    assert!(health(&proxy).contains(&"healthy".to_owned()));
    assert_eq!(statuses(&proxy, 1), [503]);
    // It is the endpoint that answers, not the proxy for want of one.
    assert_eq!(proxy.metric("tollgate_upstream_failures_total", &[]), 0.0);
}

#[test]
fn an_endpoint_comes_back_after_its_time() {
    let (bad, good) = (failing(1, "back"), Origin::saying("good"));
    let proxy = proxy(&[bad.address(), good.address()], ", outliers: { failures: 1, base: 300ms, max: 1s }", "");

    statuses(&proxy, 2);
    becomes(&proxy, &["ejected", "healthy"]);
    becomes(&proxy, &["healthy", "healthy"]);

    assert!(answers(&proxy, 4).contains(&"back".to_owned()));
}

#[test]
fn an_endpoint_that_comes_back_starts_slowly() {
    let (bad, good) = (failing(1, "back"), Origin::saying("good"));
    let more = ", outliers: { failures: 1, base: 100ms, max: 1s }, slow_start: 1h";
    let proxy = proxy(&[bad.address(), good.address()], more, "");
    statuses(&proxy, 2);
    becomes(&proxy, &["ejected", "healthy"]);
    becomes(&proxy, &["healthy", "healthy"]);

    let answers = answers(&proxy, 55);

    // A tenth of its weight: one in eleven.
    assert_eq!(answers.iter().filter(|answer| *answer == "back").count(), 5);
}

#[test]
fn nobody_is_left_alone_where_that_is_not_asked_for() {
    for more in ["", ", outliers: off"] {
        let origins = [failing(usize::MAX, ""), Origin::saying("good")];
        let proxy = proxy(&[origins[0].address(), origins[1].address()], more, "");

        assert_eq!(statuses(&proxy, 40).iter().filter(|status| **status == 503).count(), 20);
        assert_eq!(endpoints(&proxy)[0]["health"], "healthy");
    }
}

#[test]
fn a_reload_keeps_who_is_left_alone() {
    let (bad, good) = (failing(usize::MAX, ""), Origin::saying("good"));
    let text = |more: &str| {
        let more = format!(", outliers: {{ failures: 1, base: 1h, max: 1h }}{more}");
        yaml(&hosts(&[bad.address(), good.address()]), &more, "")
    };
    let proxy = TestProxy::with(&text(""));
    statuses(&proxy, 2);
    becomes(&proxy, &["ejected", "healthy"]);

    proxy.configure(&text(", balance: random")).unwrap();

    assert_eq!(health(&proxy), ["ejected", "healthy"]);
    assert_eq!(answers(&proxy, 10), ["good"; 10]);
}
