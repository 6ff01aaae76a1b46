//! What becomes of exchanges: answers, failures, callouts, metrics, lines, and the request of a file.

use serde_json::json;
use tollgate_abi::testing::guest;
use tollgate_abi::{VecHeaderMap, pairs};

use crate::bench::{Bench, columns, json, on_request, report, toll};

#[test]
fn ends_that_are_not_alike_are_counted() {
    let bench = Bench::new();
    // Answers each fourth.
    let filter = bench.guest(
        r#"(global $count (mut i32) (i32.const 0))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (global.set $count (i32.add (global.get $count) (i32.const 1)))
                (if (result i32) (i32.rem_u (global.get $count) (i32.const 4)) (then (i32.const 0)) (else
                    (drop (call $proxy_send_local_response (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0)
                        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1))) (i32.const 1))))"#,
    );

    let found = &report(&[], &[&filter])["filters"][0];

    assert_eq!(found["outcome"], "passes");
    assert_eq!(found["others"], json!([{ "outcome": { "answers": 403 }, "exchanges": 25 }]));
}

#[test]
fn an_answer_of_the_filter_passes_it_on_the_way_out() {
    let bench = Bench::new();
    let answers = |callback: &str, others: &str| {
        guest(&format!(
            r#"(func (export "{callback}") (param i32 i32 i32) (result i32)
                (drop (call $proxy_send_local_response (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0)
                    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1))) (i32.const 1)) {others}"#
        ))
    };
    let sees = r#"(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#;
    let itself = bench.file("itself.wasm", answers("proxy_on_request_headers", sees));
    let instead = bench.file("instead.wasm", answers("proxy_on_response_headers", ""));

    let report = report(&[], &[&itself, &instead]);
    let (_, words, _) = toll(&[], &[&itself, &instead]);

    let outcomes = [&report["filters"][0]["outcome"], &report["filters"][1]["outcome"]];
    assert_eq!(outcomes, [&json!({ "answers": 403 }), &json!({ "replaces": 403 })]);
    let seen = columns(&report["filters"][0]["callbacks"], &["name", "calls"]);
    assert_eq!(seen, [[&json!("request_headers"), &json!(1.0)], [&json!("response_headers"), &json!(1.0)]]);
    assert!(words.contains("answers them itself, with 403"), "{words}");
    assert!(words.contains("replaces the upstream's answer by one of its own, with 403"), "{words}");
}

/// What callouts of a guest are made of, and one whose number is written there; its status is what is left.
fn callout(id: u32) -> (String, String) {
    let head = pairs::encode(&VecHeaderMap::new([(":method", "GET"), (":path", "/"), (":authority", "a")]));
    let escaped: String = head.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let call = format!(
        "(call $proxy_http_call (i32.const 4096) (i32.const 1) (i32.const 4200) (i32.const {size})
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const {id}))",
        size = head.len()
    );
    (format!(r#"(data (i32.const 4096) "a") (data (i32.const 4200) "{escaped}")"#), call)
}

#[test]
fn callouts_that_beget_others_for_ever_are_ended_and_leave_none_under_way() {
    let bench = Bench::new();
    let (data, call) = callout(5000);
    // A hundred may be under way. The head of a request asks for one, and traps where it may not; so does each answer.
    let filter = bench.guest(format!(
        r#"{data}
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (if {call} (then (unreachable))) (i32.const 0))
            (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32) (drop {call}) (drop {call}))"#
    ));

    let report = report(&["--requests", "200"], &[&filter]);

    assert_eq!((&report["filters"][0]["requests"], &report["unmeasured"]), (&json!(200), &json!([])));
}

#[test]
fn callouts_are_answered_in_their_order_and_in_their_exchange() {
    let bench = Bench::new();
    let (data, _) = callout(0);
    let call = |id| format!("(drop {})", callout(id).1);
    // Traps where an answer is not that of the question that is next, and goes on behind the second.
    let filter = bench.guest(format!(
        r#"{data}
            (global $asker (mut i32) (i32.const 0))
            (global $due (mut i32) (i32.const 5000))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                {} {}
                (global.set $asker (local.get 0))
                (global.set $due (i32.const 5000))
                (i32.const 1))
            (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
                (if (i32.ne (local.get 1) (i32.load (global.get $due))) (then (unreachable)))
                (global.set $due (i32.add (global.get $due) (i32.const 4)))
                (if (i32.eq (global.get $due) (i32.const 5008)) (then
                    (drop (call $proxy_set_effective_context (global.get $asker)))
                    (drop (call $proxy_continue_stream (i32.const 0))))))
            (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#,
        call(5000),
        call(5004)
    ));

    let report = report(&[], &[&filter]);

    let found = &report["filters"][0];
    assert_eq!(found["outcome"], "passes");
    assert_eq!(
        columns(&found["callbacks"], &["name", "calls"]),
        [
            [&json!("request_headers"), &json!(1.0)],
            [&json!("response_headers"), &json!(1.0)],
            [&json!("http_call_response"), &json!(2.0)],
        ]
    );
}

#[test]
fn metrics_beyond_the_bound_count_nowhere_and_fail_nothing() {
    let bench = Bench::new();
    // Defines two thousand of four letters each, and traps where one of them cannot be defined or counted.
    let filter = bench.guest(
        r#"(func $letter (param i32) (result i32)
                (i32.add (i32.const 97) (i32.and (local.get 0) (i32.const 15))))
            (func $count (param $number i32)
                (i32.store8 (i32.const 4096) (call $letter (local.get $number)))
                (i32.store8 (i32.const 4097) (call $letter (i32.shr_u (local.get $number) (i32.const 4))))
                (i32.store8 (i32.const 4098) (call $letter (i32.shr_u (local.get $number) (i32.const 8))))
                (i32.store8 (i32.const 4099) (i32.const 97))
                (if (call $proxy_define_metric (i32.const 0) (i32.const 4096) (i32.const 4) (i32.const 5000))
                    (then (unreachable)))
                (if (call $proxy_increment_metric (i32.load (i32.const 5000)) (i64.const 1)) (then (unreachable))))
            (func (export "proxy_on_configure") (param i32 i32) (result i32) (local $number i32)
                (loop $more
                    (call $count (local.get $number))
                    (local.set $number (i32.add (local.get $number) (i32.const 1)))
                    (br_if $more (i32.lt_u (local.get $number) (i32.const 2000))))
                (i32.const 1))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (if (call $proxy_increment_metric (i32.load (i32.const 5000)) (i64.const 1)) (then (unreachable)))
                (i32.const 0))"#,
    );

    assert_eq!(report(&[], &[&filter])["filters"][0]["outcome"], "passes");
}

#[test]
fn the_request_is_that_of_the_file() {
    let bench = Bench::new();
    let filter = bench.guest(r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.ne (local.get 1) (i32.const 5)))"#);
    let request = bench.file("request", "POST /a HTTP/1.1\nhost: x\naccept: */*\n\nhello");

    let report = report(&["--request", request.to_str().unwrap()], &[&filter]);

    let exchange = &report["exchange"];
    assert_eq!((&exchange["request_fields"], &exchange["request_bytes"]), (&json!(5), &json!(5)));
    assert_eq!(report["filters"][0]["outcome"], "passes", "the body of five bytes came whole");
}

#[test]
fn an_answer_to_head_has_no_body() {
    let bench = Bench::new();
    let filter =
        bench.guest(r#"(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (i32.const 0))"#);
    let request = bench.file("request", "HEAD / HTTP/1.1\n");

    let get = report(&[], &[&filter]);
    let head = report(&["--request", request.to_str().unwrap()], &[&filter]);

    assert_eq!(columns(&get["filters"][0]["callbacks"], &["name"]), [[&json!("response_body")]]);
    assert_eq!((&head["filters"][0]["callbacks"], &head["exchange"]["answer_bytes"]), (&json!([]), &json!(0)));
}

/// Traps in its fifth exchange, and says so before.
const FIFTH: &str = r#"(global $count (mut i32) (i32.const 0))
    (data (i32.const 4096) "the fifth")
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (if (i32.eq (global.get $count) (i32.const 5))
            (then (call $show (i32.const 4096) (i32.const 9)) (unreachable)))
        (i32.const 0))"#;

#[test]
fn a_filter_that_fails_keeps_its_figures_until_then_and_no_other_from_being_measured() {
    let bench = Bench::new();
    let (good, fifth) = (bench.filter("(i32.const 0)"), bench.file("fifth.wasm", guest(FIFTH)));
    let traps = bench.file("traps.wasm", on_request("(unreachable)"));

    let (code, report, error) = json(&[], &[&traps, &fifth, &good]);
    let (_, words, _) = toll(&[], &[&traps, &fifth, &good]);

    assert_eq!(code, 1);
    let found = columns(&report["filters"], &["name", "requests"]);
    assert_eq!(found, [[&json!("fifth"), &json!(4)], [&json!("guest"), &json!(100)]]);
    // What the exchange came to in which it failed does not count.
    let fifth = &report["filters"][0];
    assert_eq!(columns(&fifth["callbacks"], &["name", "calls"]), [[&json!("request_headers"), &json!(1.0)]]);
    assert_eq!(fifth["hostcalls"], json!([]));
    let failure = &fifth["failure"];
    assert_eq!((&failure["exchange"], &failure["lines"]), (&json!(5), &json!(["info: the fifth"])));
    assert_eq!(columns(&report["unmeasured"], &["name"]), [[&json!("traps")]]);
    assert_eq!(error.matches("TG0406").count(), 1, "{error}");
    assert!(error.contains("error[TG0406]: traps: trap in request_headers: "), "{error}");
    assert!(error.contains("\nfifth: exchange 5: trap in request_headers: "), "{error}");
    assert!(error.contains("\n    at ") && error.ends_with("\n    filter: info: the fifth\n"), "{error}");
    assert!(words.contains("It failed in exchange 5: trap in request_headers: "), "{words}");
}

#[test]
fn lines_below_the_level_are_not_kept_and_others_are_bounded() {
    let bench = Bench::new();
    let filter = bench.filter(
        "(memory.fill (i32.const 8192) (i32.const 97) (i32.const 5000))
        (call $tell (i32.const 1))
        (call $show (i32.const 8192) (i32.const 5000))
        (unreachable)",
    );

    let (code, report, _) = json(&[], &[&filter]);

    assert_eq!(code, 1);
    let shown = format!("info: {} … 904 bytes more", "a".repeat(4096));
    assert_eq!(report["unmeasured"][0]["lines"], json!([shown]));
}

#[test]
fn lines_beyond_the_quota_go_nowhere() {
    let bench = Bench::new();
    bench.filter(
        "(call $show (i32.const 4096) (i32.const 6)) (call $show (i32.const 4104) (i32.const 4)) (unreachable)",
    );
    let config = bench.file(
        "tollgate.yaml",
        "listen: 127.0.0.1:0\nfilters:\n  f: { wasm: guest.wasm, quota: { log_lines: 1, log_burst: 1 } }\n\
         routes: [{ to: echo, filters: [f] }]\n",
    );

    let (code, report, _) = json(&["--plugin", "f", config.to_str().unwrap()], &[]);

    assert_eq!((code, &report["unmeasured"][0]["lines"]), (1, &json!(["info: x-toll"])));
}
