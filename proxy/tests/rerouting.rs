//! Filters that change what routing asks for: the request goes where it says now, through the filters that it began with.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use common::modules::probes;
use common::origin::{Origin, ok};
use common::proxy::TestProxy;

/// Two origins; the route `old` leads to the first through the probe `a`, and `new` to the second through `b`.
struct Fork {
    old: Origin,
    new: Origin,
    proxy: TestProxy,
}

/// `new` matches as said; `old` matches everything. Probe `a` is commanded by the requests.
fn fork(matches: &str) -> Fork {
    fork_with("{ path: / }", matches)
}

fn fork_with(old_matches: &str, new_matches: &str) -> Fork {
    let (old, new) = (Origin::saying("old"), Origin::saying("new"));
    let filters = probes(&[
        ("a", "{ response_headers: [\"add response-headers x-seen a\"] }"),
        (
            "b",
            "{ request_headers: [\"add request-headers x-seen b\"], response_headers: [\"add response-headers x-seen b\"] }",
        ),
    ]);
    let proxy = TestProxy::with(&format!(
        "{filters}clusters: {{ one: {{ hosts: [{:?}] }}, two: {{ hosts: [{:?}] }} }}\n\
         routes:\n- {{ name: new, match: {new_matches}, to: two, filters: [b] }}\n\
         - {{ name: old, match: {old_matches}, to: one, filters: [a] }}\n",
        old.address().to_string(),
        new.address().to_string()
    ));
    Fork { old, new, proxy }
}

/// The answer to a request of which probe `a` makes something else.
fn edited(fork: &Fork, commands: &str) -> common::wire::Message {
    fork.proxy.ask("/", &format!("x-probe-request-headers: {commands}\r\n"))
}

#[test]
fn a_request_goes_where_its_new_path_host_method_or_field_leads() {
    for (matches, edit) in [
        ("{ path: /new }", "set request-headers :path /new/x?q"),
        ("{ path: /, query: { v: '2' } }", "set request-headers :path /?v=2"),
        ("{ path: /, host: new.local }", "set request-headers :authority new.local:81"),
        ("{ path: /, method: PUT }", "set request-headers :method PUT"),
        ("{ path: /, headers: { x-version: '2' } }", "add request-headers x-version 2"),
        ("{ path: /, headers: { x-version: '2' } }", "set request-headers x-version 2"),
        (
            "{ path: /, headers: { x-version: '2' } }",
            "set-pairs request-headers :method=GET,:path=/,:authority=test,x-version=2",
        ),
    ] {
        let fork = fork(matches);

        let unchanged = fork.proxy.get("/");
        let answer = edited(&fork, edit);

        assert_eq!((unchanged.text(), answer.text()), ("old", "new"), "{edit}");
    }
}

#[test]
fn the_path_of_a_filter_is_spelled_as_a_clients_is() {
    let fork = fork("{ path: /new }");

    // The probe undoes one escape of what it is told.
    let spelled = edited(&fork, "set request-headers :path /old/..//new/%2561?b=%2561/..");
    let refused = edited(&fork, "set request-headers :path /new%252fx");

    assert_eq!((spelled.text(), refused.status()), ("new", 400));
    assert_eq!(fork.new.request().target(), "/new/a?b=%61/..");
}

#[test]
fn removing_what_a_route_asks_for_leads_away_from_it() {
    let fork = fork_with("{ path: /, headers: { x-version: '1' } }", "{ path: / }");

    let answer = fork.proxy.ask("/", "x-version: 1\r\nx-probe-request-headers: remove request-headers x-version\r\n");

    assert_eq!(answer.text(), "new");
}

#[test]
fn the_filters_that_saw_the_request_see_the_answer_and_no_others() {
    let fork = fork("{ path: /new }");

    let answer = edited(&fork, "set request-headers :path /new");

    assert_eq!(answer.all("x-seen"), ["a"]);
    assert_eq!(fork.new.request().field("x-seen"), None);
    assert_eq!(fork.old.connections(), 0);
}

#[test]
fn names_and_counters_are_those_of_the_new_route() {
    let fork = fork("{ path: /new }");
    let show = "property route_name -> response-headers x-route; property cluster_name -> response-headers x-cluster";

    let answer = fork.proxy.ask(
        "/",
        &format!("x-probe-request-headers: set request-headers :path /new\r\nx-probe-response-headers: {show}\r\n"),
    );

    assert_eq!((answer.field("x-route"), answer.field("x-cluster")), (Some("new"), Some("two")));
    let route = |name: &str| format!("route=\"{name}\"");
    fork.proxy.counts("tollgate_http_requests_total", &[&route("new"), "cluster=\"two\""], 1.0);
    fork.proxy.counts("tollgate_http_requests_total", &[&route("old")], 0.0);
    fork.proxy.counts("tollgate_http_active_requests", &[], 0.0);
}

#[test]
fn the_timeout_is_that_of_the_new_route() {
    let silent = Origin::silent();
    let filters = probes(&[("a", "{ request_headers: [\"set request-headers :path /new\"] }")]);
    let proxy = TestProxy::with(&format!(
        "{filters}routes:\n- {{ match: {{ path: /new }}, to: {to:?}, timeout: 200ms }}\n\
         - {{ to: {to:?}, timeout: 1h, filters: [a] }}\n",
        to = silent.url()
    ));

    assert_eq!(proxy.get("/").status(), 504);
}

#[test]
fn a_request_that_no_route_wants_any_more_is_404_through_its_filters() {
    let fork = fork_with("{ path: /old }", "{ path: /new }");

    let answer = fork.proxy.ask("/old", "x-probe-request-headers: set request-headers :path /nowhere\r\n");

    assert_eq!((answer.status(), answer.all("x-seen")), (404, vec!["a"]));
    assert_eq!((fork.old.connections(), fork.new.connections()), (0, 0));
    fork.proxy.counts("tollgate_http_requests_total", &["route=\"none\"", "class=\"4xx\""], 1.0);
}

#[test]
fn what_is_changed_while_the_head_waits_for_the_body_leads_elsewhere() {
    let fork = fork("{ path: /new }");
    let late = "set request-headers :path /new; raw proxy_clear_route_cache";

    // Its length is known, so the head leaves with the first bytes that filters let go.
    let answer = fork.proxy.post("/", &format!("x-probe-request-body: body-buffer; {late}\r\n"), "body");

    assert_eq!((answer.text(), fork.new.request().target()), ("new", "/new"));
    assert_eq!(fork.old.connections(), 0);
}

#[test]
fn what_is_changed_once_the_head_has_left_leads_nowhere_else() {
    let fork = fork("{ path: /new }");
    let late = "set request-headers :path /new; raw proxy_clear_route_cache";

    let body = fork.proxy.send(format!(
        "POST / HTTP/1.1\r\nhost: test\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
         x-probe-request-body: body-buffer; {late}\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
    ));
    let answered = fork.proxy.ask("/", &format!("x-probe-response-headers: {late}\r\n"));

    assert_eq!((body.text(), answered.text()), ("old", "old"));
    assert!(fork.old.requests().iter().all(|request| request.target() == "/"));
    assert_eq!(fork.new.connections(), 0);
}

#[test]
fn a_filter_may_have_the_route_chosen_again_without_an_edit() {
    let fork = fork("{ path: /new }");

    let answer = edited(&fork, "raw proxy_clear_route_cache -> request-headers x-status");

    assert_eq!(answer.text(), "old");
    assert_eq!(fork.old.request().field("x-status"), Some("0"));
}

#[test]
fn every_filter_of_the_chain_has_its_say_before_the_route_is_chosen() {
    let (old, new) = (Origin::answering(ok("old")), Origin::answering(ok("new")));
    let filters = probes(&[
        ("there", "{ request_headers: [\"set request-headers :path /new\"] }"),
        (
            "back",
            "{ request_headers: [\"set request-headers :path /old\", \"property route_name -> request-headers x-route\"] }",
        ),
    ]);
    let proxy = TestProxy::with(&format!(
        "{filters}routes:\n- {{ match: {{ path: /new }}, to: {:?} }}\n\
         - {{ name: old, match: {{ path: /old }}, to: {:?}, filters: [there, back] }}\n",
        new.url(),
        old.url()
    ));

    assert_eq!(proxy.get("/old").text(), "old");
    assert_eq!((old.request().target(), old.request().field("x-route")), ("/old", Some("old")));
}
