//! Requests of the configuration's that a filter has to pass before it serves: what they see of a real exchange, and what is
//! said of one that fails.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use common::modules::{Guest, probes_with};
use common::proxy::{TestProxy, prepare};
use common::swaps::module;

/// What one probe that is configured so says to one self-test, in YAML's flow style; `Ok` when it passes.
fn tested(config: &str, settings: &str, test: &str) -> Result<(), String> {
    let settings = format!("budget: {{ time: 200ms, start: 5s }}, {settings}, selftest: [{test}]");
    let filters = probes_with(&settings, &[("f", config)]);
    let yaml = format!(
        "{filters}clusters: {{ auth: {{ hosts: [\"127.0.0.1:1\"] }} }}\nroutes: [{{ to: echo, filters: [f] }}]"
    );
    prepare(&yaml).map(drop).map_err(|error| error.to_string())
}

fn passes(config: &str, test: &str) {
    tested(config, "empty_body: skip", test).unwrap_or_else(|error| panic!("{error}"));
}

/// The sentence after the number of the test.
fn flaw(config: &str, test: &str) -> String {
    let error = tested(config, "empty_body: skip", test).unwrap_err();
    assert!(error.contains("error[TG0208]") && error.contains("\"f\""), "{error}");
    let (_, rest) = error.split_once("selftest 0: ").unwrap_or_else(|| panic!("{error}"));
    rest.to_owned()
}

#[test]
fn a_filter_that_does_as_expected_serves() {
    let config = "{ request_headers: [\"copy request-headers :path -> request-headers x-path\", \
                    \"copy request-headers x-in -> request-headers x-out\"], \
                    response_headers: [\"set response-headers x-seen yes\"] }";

    passes(
        config,
        "{ request: { method: PUT, host: api.local, path: \"/a?b=c\", headers: { x-in: v } }, \
           expect: { status: 200, headers: { x-seen: yes }, upstream_headers: { x-path: \"/a?b=c\", x-out: v, host: api.local } } }",
    );
}

#[test]
fn the_request_is_the_default_one_unless_written() {
    let config = "{ request_headers: [\"copy request-headers :method -> request-headers x-method\", \
                    \"copy request-headers :authority -> request-headers x-host\", \
                    \"copy request-headers :path -> request-headers x-path\"] }";

    passes(config, "{ expect: { upstream_headers: { x-method: GET, x-host: selftest.invalid, x-path: / } } }");
}

#[test]
fn a_body_is_shown_after_the_head() {
    let config = "{ request_headers: [\"set request-headers x-order 1\"], \
                    request_body: [\"body-len -> request-headers x-length\", \"body-get -> request-headers x-body\"] }";

    passes(
        config,
        "{ request: { method: POST, body: hello }, \
           expect: { upstream_headers: { x-order: \"1\", x-length: \"5\", x-body: hello } } }",
    );
    // Without one there is no callback for it.
    let without = flaw(config, "{ expect: { upstream_headers: { x-length: \"0\" } } }");
    assert_eq!(without, "expected header \"x-length: 0\" of the request to the upstream, it has none");
}

#[test]
fn an_empty_body_is_shown_to_a_filter_that_wants_it() {
    let config = "{ request_body: [\"body-len -> request-headers x-length\"] }";
    let test = "{ expect: { upstream_headers: { x-length: \"0\" } } }";

    tested(config, "empty_body: call", test).unwrap();
}

#[test]
fn a_filter_that_answers_itself_sees_its_answer_go_out() {
    let config = "{ request_headers: [\"reply 403 no x-why=tenant\"], \
                    response_headers: [\"set response-headers x-seen yes\"] }";

    passes(
        config,
        "{ expect: { status: 403, headers: { x-why: tenant, x-seen: yes, content-type: \"text/plain; charset=utf-8\" } } }",
    );
}

#[test]
fn an_answer_of_the_filter_has_the_form_that_the_client_expects() {
    let config = "{ request_headers: [\"reply 403 no\"], response_headers: [\"set response-headers x-seen yes\"], \
                    response_body: [\"set response-headers x-body yes\"] }";

    passes(
        config,
        "{ request: { method: POST, headers: { content-type: application/grpc } }, \
           expect: { status: 200, headers: { grpc-status: \"7\", grpc-message: no, x-seen: yes } } }",
    );
    // Nothing follows the head of an answer to HEAD.
    let head =
        flaw(config, "{ request: { method: HEAD }, expect: { status: 403, headers: { x-seen: yes, x-body: yes } } }");
    assert_eq!(head, "expected header \"x-body: yes\" of the answer, it has none");
    passes(config, "{ expect: { status: 403, headers: { x-seen: yes, x-body: yes } } }");
}

#[test]
fn a_status_that_is_another_one_is_told() {
    assert_eq!(flaw("{}", "{ expect: { status: 401 } }"), "expected status 401, the answer after the filter has 200");
    assert_eq!(
        flaw("{ request_headers: [\"reply 403 no\"] }", "{ expect: { status: 401 } }"),
        "expected status 401, the filter answered 403"
    );
}

#[test]
fn a_header_that_is_missing_or_another_one_is_told() {
    let config = "{ request_headers: [\"set request-headers x-user b\"] }";

    assert_eq!(
        flaw(config, "{ expect: { upstream_headers: { x-user: a } } }"),
        "expected header \"x-user: a\" of the request to the upstream, it is \"b\""
    );
    assert_eq!(
        flaw(config, "{ expect: { headers: { x-user: a } } }"),
        "expected header \"x-user: a\" of the answer, it has none"
    );
}

#[test]
fn a_request_that_never_leaves_has_no_headers() {
    let config = "{ request_headers: [\"set request-headers x-user a\", \"reply 403 no\"] }";

    assert_eq!(
        flaw(config, "{ expect: { upstream_headers: { x-user: a } } }"),
        "expected a request to the upstream, the filter answered 403"
    );
}

#[test]
fn nothing_is_waited_for() {
    let expect = "{ expect: { status: 200 } }";
    let pauses = [
        "{ request_headers: [pause] }",
        "{ request_headers: [\"call auth 5000 / ''\", pause], call_response: [\"continue request\"] }",
        "{ response_headers: [pause] }",
    ];

    for config in pauses {
        let half = if config.contains("response_headers") { "response" } else { "request" };
        let error = tested(config, "allow: { calls: [auth] }", expect).unwrap_err();
        let told = format!("the filter paused the {half}; a self-test cannot wait for callouts, queues or timers");
        assert!(error.contains(&told), "{error}");
    }
    // What is let go of within the same callback is no wait.
    passes(
        "{ request_headers: [pause, \"continue request\"], response_headers: [pause, \"continue response\"] }",
        expect,
    );
}

#[test]
fn a_head_that_waits_for_its_body_goes_on_with_it() {
    let config = "{ request_headers: [pause], request_body: [\"body-get -> request-headers x-body\"] }";
    let test = "{ request: { method: POST, body: hello }, expect: { upstream_headers: { x-body: hello } } }";

    tested(config, "header_pause: headers", test).unwrap();
    assert!(tested(config, "header_pause: message", test).is_err());
}

#[test]
fn a_pause_for_good_holds_the_head_from_its_body_too() {
    let holds = |action: u8| {
        let body = format!(
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const {action}))
            (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 0))"#
        );
        let guest = Guest::from_bytes(&module("x", &body));
        let yaml = format!(
            "routes: [{{ to: echo, filters: [{{ wasm: {:?}, header_pause: headers, selftest: [{{ request: {{ method: POST, \
             body: hello }}, expect: {{ status: 200 }} }}] }}] }}]",
            guest.path()
        );
        prepare(&yaml).map(drop).map_err(|error| error.to_string())
    };

    holds(1).unwrap();
    for action in [3, 4] {
        let error = holds(action).unwrap_err();
        assert!(error.contains("the filter paused the request"), "{action}: {error}");
    }
}

#[test]
fn what_cannot_come_to_an_answer_is_told() {
    let expect = "{ expect: { status: 200 } }";

    assert_eq!(flaw("{ request_headers: [\"close request\"] }", expect), "the filter closed the exchange");
    let unsent = flaw("{ request_headers: [\"reply 1000 no\"] }", expect);
    assert!(unsent.starts_with("the answer of the filter cannot be sent\n    filter: warn: "), "{unsent}");
}

#[test]
fn each_test_has_a_vm_of_its_own_and_its_place_is_told() {
    // The VM traps at its second request.
    let once = module(
        "x",
        r#"(global $seen (mut i32) (i32.const 0))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (if (global.get $seen) (then unreachable)) (global.set $seen (i32.const 1)) (i32.const 0))"#,
    );
    let guest = Guest::from_bytes(&once);
    let yaml = |last: u16| {
        let tests = format!("{{ expect: {{ status: 200 }} }}, {{ expect: {{ status: {last} }} }}");
        format!("routes: [{{ to: echo, filters: [{{ wasm: {:?}, selftest: [{tests}] }}] }}]", guest.path())
    };

    assert!(prepare(&yaml(200)).is_ok());
    let error = prepare(&yaml(201)).map(drop).unwrap_err().to_string();
    assert!(error.contains("selftest 1: expected status 201"), "{error}");
}

#[test]
fn a_trap_is_told_with_where_it_was_and_what_the_filter_wrote() {
    let traps = module(
        "x",
        r#"(data (i32.const 64) "looking")
        (func $deep unreachable)
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $log (i32.const 2) (i32.const 64) (i32.const 7))) (call $deep) (i32.const 0))"#,
    );
    let guest = Guest::from_bytes(&traps);
    let yaml = format!(
        "routes: [{{ to: echo, filters: [{{ wasm: {:?}, selftest: [{{ expect: {{ status: 200 }} }}] }}] }}]",
        guest.path()
    );

    let error = prepare(&yaml).map(drop).unwrap_err().to_string();

    assert!(error.contains("selftest 0: trap in request_headers"), "{error}");
    assert!(error.contains("\n    at ") && error.contains("deep"), "{error}");
    assert!(error.contains("\n    filter: info: looking"), "{error}");
}

#[test]
fn a_loop_ends_with_the_time_of_a_callback() {
    let told = flaw("{ log: [loop] }", "{ expect: { status: 200 } }");

    assert!(told.starts_with("deadline in "), "{told}");
}

#[test]
fn a_plugin_that_is_tested_serves_as_if_it_had_not_been() {
    let config = "{ request_headers: [\"shared-get k -> request-headers x-k\", \"shared-set k v\"] }";
    let filters = probes_with("selftest: [{ expect: { status: 200 } }], budget: { time: 1s }", &[("f", config)]);
    let proxy = TestProxy::with(&format!("{filters}routes: [{{ to: echo, filters: [f] }}]"));

    assert_eq!(proxy.metric("tollgate_filter_exchanges_total", &[]), 0.0);
    // Nothing of what a made-up exchange left behind is seen by a real one.
    let seen = proxy.get("/").json()["headers"]["x-k"].clone();
    assert!(seen.as_str().is_some_and(|seen| seen.starts_with("status ")), "{seen}");
}
