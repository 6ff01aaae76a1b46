//! Which endpoint gets a request: by weight, by what is under way, by what of a request is hashed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use common::clusters::{addresses, answers, endpoints, hosts, numbered, proxy, yaml};
use common::origin::{Origin, ok, refusing};
use common::proxy::TestProxy;
use common::{PATIENCE, until};

fn counted(answers: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    answers.iter().for_each(|answer| *counts.entry(answer.as_str()).or_default() += 1);
    counts
}

#[test]
fn turns_follow_the_weights() {
    let origins = numbered::<2>();
    let [heavy, light] = origins.each_ref().map(|origin| origin.address().to_string());
    let entries = format!("{{ host: {heavy:?}, weight: 3 }}, {light:?}");
    let proxy = TestProxy::with(&yaml(&entries, "", ""));

    let answers = answers(&proxy, 16);

    assert_eq!(counted(&answers), BTreeMap::from([("0", 12), ("1", 4)]));
    assert!(answers.windows(4).all(|turns| turns.iter().any(|turn| turn == "1")), "{answers:?}");
}

#[test]
fn a_further_priority_gets_nothing_while_the_first_is_healthy() {
    let origins = numbered::<2>();
    let [first, spare] = origins.each_ref().map(|origin| origin.address().to_string());
    let proxy = TestProxy::with(&yaml(&format!("{{ host: {spare:?}, priority: 1 }}, {first:?}"), "", ""));

    assert_eq!(counted(&answers(&proxy, 6)), BTreeMap::from([("0", 6)]));
}

#[test]
fn drawing_reaches_every_endpoint() {
    let origins = numbered::<3>();
    let proxy = proxy(&addresses(&origins), ", balance: random", "");

    // Two hundred draws miss one of three once in 10^35.
    assert_eq!(counted(&answers(&proxy, 200)).len(), 3);
}

#[test]
fn the_less_busy_endpoint_gets_the_next_request() {
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let origins: Vec<Origin> = (0..2)
        .map(|number| {
            let held = Arc::clone(&held);
            Origin::scripted(move |peer| {
                while let Some(request) = peer.request()? {
                    if request.target() == "/held" {
                        let _ = held.lock().unwrap().recv_timeout(PATIENCE);
                    }
                    peer.send(ok(&number.to_string()))?;
                }
                Ok(())
            })
        })
        .collect();
    let proxy = proxy(&addresses(&origins), ", balance: least_request", "");
    let seen = || origins.iter().map(|origin| origin.requests().len()).sum::<usize>();
    let mut busy: Vec<_> = (0..4).map(|_| proxy.client()).collect();
    for (number, client) in busy.iter_mut().enumerate() {
        client.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
        until("the request is there", || seen() == number + 1);
    }

    let spread: Vec<_> = origins.iter().map(|origin| origin.requests().len()).collect();
    (0..4).for_each(|_| release.send(()).unwrap());
    busy.iter_mut().for_each(|client| assert_eq!(client.answer().status(), 200));

    assert_eq!(spread, [2, 2]);
}

#[test]
fn a_header_decides_where_a_request_goes() {
    for way in ["ring_hash", "maglev"] {
        let origins = numbered::<4>();
        let proxy = proxy(&addresses(&origins), &format!(", balance: {{ {way}: {{ header: x-user }} }}"), "");
        let ask = |user: usize| proxy.ask("/", &format!("x-user: {user}\r\n")).text().to_owned();

        let first: Vec<_> = (0..40).map(ask).collect();
        let again: Vec<_> = (0..40).map(ask).collect();

        assert_eq!(first, again);
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 4, "{first:?}");
    }
}

#[test]
fn a_client_stays_with_its_endpoint_by_its_address() {
    let origins = numbered::<4>();
    let proxy = proxy(&addresses(&origins), ", balance: { maglev: { source: true } }", "");

    assert_eq!(counted(&answers(&proxy, 12)).len(), 1);
}

#[test]
fn a_client_without_the_cookie_is_given_one_and_stays() {
    let origins = numbered::<4>();
    let proxy = proxy(&addresses(&origins), ", balance: { ring_hash: { cookie: { name: who, ttl: 1h } } }", "");

    for _ in 0..8 {
        let first = proxy.get("/");
        let given = first.field("set-cookie").unwrap().to_owned();
        let (cookie, rest) = given.split_once(';').unwrap();
        assert!(cookie.starts_with("who=") && rest == " Max-Age=3600; Path=/; HttpOnly", "{given}");

        let again = proxy.ask("/", &format!("cookie: a=b; {cookie}\r\n"));

        assert_eq!(again.text(), first.text());
        assert_eq!(again.field("set-cookie"), None);
    }
}

#[test]
fn a_hashed_request_whose_endpoint_refuses_goes_to_the_next_one() {
    let origin = Origin::saying("alive");
    let proxy = proxy(&[refusing(), origin.address()], ", balance: { ring_hash: { header: x-user } }", "");

    for user in 0..20 {
        assert_eq!(proxy.ask("/", &format!("x-user: {user}\r\n")).text(), "alive");
    }
}

#[test]
fn a_request_over_the_limit_of_its_cluster_is_503() {
    let (origin, release) = Origin::held("x");
    let proxy = proxy(&[origin.address()], ", limits: { requests: 1 }", "");
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    until("the first is there", || origin.requests().len() == 1);
    until("it is shown", || endpoints(&proxy)[0]["active"] == 1);

    let refused = proxy.get("/");
    release.send(()).unwrap();

    assert_eq!((refused.status(), client.answer().status()), (503, 200));
    assert_eq!(proxy.metric("tollgate_upstream_failures_total", &["reason=\"overflow\""]), 1.0);
    release.send(()).unwrap();
    assert_eq!(proxy.get("/").status(), 200);
}

#[test]
fn the_limits_of_a_cluster_go_before_the_global_ones() {
    let origin = Origin::saying("x");
    let text = yaml(&hosts(&[origin.address()]), ", limits: { idle_timeout: 200ms }", "");
    let proxy = TestProxy::with(&format!("limits: {{ upstream_idle_timeout: 1h }}\n{text}"));

    assert_eq!(proxy.get("/").status(), 200);

    proxy.counts("tollgate_upstream_connections_active", &[], 0.0);
}

#[test]
fn the_admin_endpoints_show_every_endpoint() {
    let origin = Origin::saying("x");
    let entry = format!("{{ host: \"{}\", weight: 3, priority: 1 }}", origin.address());
    let proxy = TestProxy::with(&yaml(&entry, ", balance: least_request", ""));

    let shown = endpoints(&proxy);
    let text = common::admin::ask(proxy.admin(), "GET /clusters?text");

    let address = origin.address().to_string();
    let wanted = serde_json::json!([{
        "address": address, "host": "127.0.0.1", "health": "healthy", "weight": 3, "priority": 1, "active": 0
    }]);
    assert_eq!(serde_json::Value::from(shown), wanted);
    assert_eq!(text.text(), format!("app (least_request)\n  {address}: healthy, weight 3, priority 1, active 0\n"));
    assert_eq!(proxy.metric("tollgate_upstream_host_healthy", &[&format!("endpoint=\"{address}\"")]), 1.0);
}
