//! `tollgate toll`: what it counts is right, what it cannot measure it says, and what it times is never judged here.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate_abi::testing::{guest, wat};
use tollgate_abi::{VecHeaderMap, pairs};

/// Adds `x-toll: paid` to the request.
const ADD: &str = "(drop (call $proxy_add_header_map_value (i32.const 0)
    (i32.const 4096) (i32.const 6) (i32.const 4104) (i32.const 4)))";

/// A folder with files that commands name.
struct Bench(TempDir);

impl Bench {
    fn new() -> Bench {
        Bench(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A filter with this body of its callback for the head of a request.
    fn filter(&self, body: &str) -> PathBuf {
        self.file("guest.wasm", on_request(body))
    }
}

fn on_request(body: &str) -> Vec<u8> {
    guest(&format!(
        r#"(data (i32.const 4096) "x-toll") (data (i32.const 4104) "paid")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {body})"#
    ))
}

/// The exit code, and what was printed on either side.
fn toll(arguments: &[&str], files: &[&Path]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.arg("toll").args(arguments).args(files).stdin(Stdio::null());
    if !arguments.contains(&"--requests") {
        command.args(["--requests", "100"]);
    }
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn json(arguments: &[&str], files: &[&Path]) -> (i32, Value, String) {
    let (code, out, error) = toll(&[arguments, &["--json"]].concat(), files);
    (code, serde_json::from_str(&out).unwrap_or_else(|why| panic!("{why}: {out}{error}")), error)
}

fn report(arguments: &[&str], files: &[&Path]) -> Value {
    let (code, report, error) = json(arguments, files);
    assert_eq!((code, error.as_str()), (0, ""));
    report
}

/// What stands under these keys of each entry of a list.
fn columns<'v>(list: &'v Value, keys: &[&str]) -> Vec<Vec<&'v Value>> {
    list.as_array().unwrap().iter().map(|entry| keys.iter().map(|key| &entry[*key]).collect()).collect()
}

#[test]
fn calls_and_copies_are_those_of_the_filter() {
    let bench = Bench::new();
    let filter = bench.file(
        "guest.wasm",
        guest(&format!(
            r#"(data (i32.const 4096) "x-toll") (data (i32.const 4104) "paid")
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {ADD} {ADD} (i32.const 0))
            (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
                (drop (call $proxy_get_header_map_value (i32.const 0) (i32.const 4096) (i32.const 6)
                    (i32.const 5000) (i32.const 5004)))
                (i32.const 0))"#
        )),
    );

    let report = report(&[], &[&filter]);

    let found = &report["filters"][0];
    assert_eq!(
        (&found["name"], &found["outcome"], &found["requests"]),
        (&json!("guest"), &json!("passes"), &json!(100))
    );
    let field = "x-toll".len() + "paid".len();
    assert_eq!(
        columns(&found["hostcalls"], &["name", "calls", "copied"]),
        [
            [&json!("proxy_add_header_map_value"), &json!(2.0), &json!(field as f64)],
            [&json!("proxy_get_header_map_value"), &json!(1.0), &json!(field as f64)],
        ]
    );
    assert_eq!(
        columns(&found["callbacks"], &["name", "calls", "hostcalls", "copied"]),
        [
            [&json!("request_headers"), &json!(1.0), &json!(2.0), &json!(2.0 * field as f64)],
            [&json!("response_headers"), &json!(1.0), &json!(1.0), &json!(field as f64)],
        ]
    );
    assert_eq!(found["copied"], 3.0 * field as f64);
}

#[test]
fn three_parts_come_to_the_time_of_an_exchange_and_of_each_callback() {
    let bench = Bench::new();
    let filter = bench.filter(&format!("{ADD} (i32.const 0)"));

    let report = report(&[], &[&filter]);

    let found = &report["filters"][0];
    let sum =
        |parts: &Value| ["crossing", "host", "guest"].map(|part| parts[part].as_f64().unwrap()).iter().sum::<f64>();
    let apart = |parts: &Value, whole: &Value| (sum(parts) - whole["median"].as_f64().unwrap()).abs();
    assert!(apart(&found["parts"], &found["request"]) < 1.0, "{found}");
    let callback = &found["callbacks"][0];
    assert!(apart(&callback["parts"], &callback["time"]) < 1.0, "{callback}");
}

#[test]
fn the_filters_own_code_and_the_hosts_work_have_the_share_that_is_theirs() {
    let bench = Bench::new();
    let repeated = |count: u32, body: &str| {
        on_request(&format!(
            "(local $turn i32)
            (loop $more
                {body}
                (local.set $turn (i32.add (local.get $turn) (i32.const 1)))
                (br_if $more (i32.lt_u (local.get $turn) (i32.const {count}))))
            (i32.const 0)"
        ))
    };
    let replace = "(drop (call $proxy_replace_header_map_value (i32.const 0)
        (i32.const 4096) (i32.const 6) (i32.const 4104) (i32.const 4)))";
    let thinks = bench.file("thinks.wasm", repeated(100_000, ""));
    let asks = bench.file("asks.wasm", repeated(200, replace));

    let report = report(&[], &[&thinks, &asks]);

    let share = |place: usize, part: &str| {
        let found = &report["filters"][place];
        found["parts"][part].as_f64().unwrap() / found["request"]["median"].as_f64().unwrap()
    };
    assert!(share(0, "guest") > 0.5, "{report}");
    assert!(share(1, "host") > share(0, "host") + 0.25, "{report}");
    assert_eq!(report["filters"][1]["callbacks"][0]["hostcalls"], 200.0);
}

#[test]
fn it_stands_beside_a_filter_that_does_nothing_native_code_and_ways_to_a_vm() {
    let bench = Bench::new();
    let filter = bench.filter(&format!("{ADD} (i32.const 0)"));

    let report = report(&[], &[&filter]);

    let found = &report["filters"][0];
    for figure in ["noop", "start", "instantiate", "image", "compile_cold", "compile_cached"] {
        assert!(found[figure]["median"].as_f64().unwrap() > 0.0, "{figure}: {found}");
    }
    let native = &found["native"]["done"]["took"];
    assert!(native["median"].as_f64().is_some() && found["native"]["without"] == json!([]), "{found}");
    assert_eq!((found["noop"]["samples"].as_u64(), native["samples"].as_u64()), (Some(100), Some(100)));
    let turns = ["start", "instantiate", "image", "compile_cold", "compile_cached"]
        .map(|figure| found[figure]["ratios"].as_array().unwrap().len());
    assert!(turns.iter().all(|turns| *turns > 1), "{turns:?}");
}

#[test]
fn what_is_not_done_again_in_rust_is_named() {
    let bench = Bench::new();
    let none = bench.file("none.wasm", on_request("(i32.const 0)"));
    let asks = bench.file(
        "asks.wasm",
        on_request(
            "(drop (call $proxy_get_shared_data (i32.const 4096) (i32.const 6) (i32.const 5000) (i32.const 5004)
                (i32.const 5008)))
            (call $show (i32.const 4096) (i32.const 6))
            (i32.const 0)",
        ),
    );
    // More than is remembered of one exchange.
    let many = bench.file(
        "many.wasm",
        on_request(
            "(local $turn i32)
            (loop $more
                (drop (call $proxy_remove_header_map_value (i32.const 0) (i32.const 4096) (i32.const 6)))
                (local.set $turn (i32.add (local.get $turn) (i32.const 1)))
                (br_if $more (i32.lt_u (local.get $turn) (i32.const 10001))))
            (i32.const 0)",
        ),
    );

    let report = report(&["--requests", "20"], &[&none, &asks, &many]);

    let native = |place: usize| &report["filters"][place]["native"];
    assert_eq!(native(0), &json!({ "done": "nothing", "without": [] }));
    assert_eq!(native(1)["without"], json!(["proxy_get_shared_data"]));
    assert_eq!(native(1)["done"]["took"]["samples"], 20);
    assert_eq!(native(2), &json!({ "done": "too_much", "without": [] }));
}

#[test]
fn code_is_kept_for_as_long_as_it_takes_and_where_it_cannot_be_that_is_said() {
    let bench = Bench::new();
    let filter = bench.filter("(i32.const 0)");
    let kept_in = |folder: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(["toll", "--requests", "1"]).arg(&filter).env("TMPDIR", folder).stdin(Stdio::null());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();

    let (kept, not_kept) = (kept_in(folder.path()), kept_in(Path::new("/dev/null")));

    assert!(kept.contains(" from kept code\n"), "{kept}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(not_kept.contains("; no code can be kept here\n"), "{not_kept}");
}

#[test]
fn memory_is_that_after_the_first_exchange_and_after_all() {
    let bench = Bench::new();
    let filter = bench.filter("(drop (memory.grow (i32.const 1))) (i32.const 0)");

    let report = report(&["--requests", "20"], &[&filter]);

    let found = &report["filters"][0];
    assert_eq!((&found["memory_first"], &found["memory_last"]), (&json!(17 << 16), &json!((16 + 20) << 16)));
}

#[test]
fn as_many_exchanges_pass_as_were_asked_for_and_few_are_said_to_be_few() {
    let bench = Bench::new();
    let filter = bench.filter("(i32.const 0)");

    assert_eq!(report(&["--requests", "15"], &[&filter])["filters"][0]["requests"], 15);
    let (_, words, _) = toll(&["--requests", "15"], &[&filter]);
    assert!(words.contains("15 exchanges: ") && words.contains("p99 of 15 = max"), "{words}");
}

#[test]
fn several_filters_are_measured_each_with_its_configuration() {
    let bench = Bench::new();
    // Continues only where it has a configuration.
    let sized = guest(
        r#"(global $size (mut i32) (i32.const 0))
        (func (export "proxy_on_configure") (param i32 i32) (result i32) (global.set $size (local.get 1)) (i32.const 1))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.eqz (global.get $size)))"#,
    );
    let (one, two) = (bench.file("one.wasm", &sized), bench.file("two.wasm", &sized));

    let report = report(&["--config", "{}", "--config", ""], &[&one, &two]);

    let outcomes = [&report["filters"][0]["outcome"], &report["filters"][1]["outcome"]];
    assert_eq!(outcomes, [&json!("passes"), &json!("holds_request")]);
}

#[test]
fn a_filter_of_a_configuration_has_its_settings_from_there() {
    let bench = Bench::new();
    // Continues only with a configuration of two bytes, and where it gets no more memory.
    bench.file(
        "bounded.wasm",
        guest(
            r#"(global $size (mut i32) (i32.const 0))
            (func (export "proxy_on_configure") (param i32 i32) (result i32)
                (global.set $size (local.get 1)) (i32.const 1))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (i32.or (i32.ne (global.get $size) (i32.const 2)) (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0))))"#,
        ),
    );
    let config = bench.file(
        "tollgate.yaml",
        "listen: 127.0.0.1:0\nfilters:\n  f: { wasm: bounded.wasm, config: {}, budget: { memory: 1MiB } }\n\
         routes: [{ to: echo, filters: [f] }]\n",
    );
    let config = config.to_str().unwrap();

    let report = report(&["--plugin", "f", config], &[]);
    let (code, _, error) = toll(&["--plugin", "g", config], &[]);

    assert_eq!((&report["filters"][0]["name"], &report["filters"][0]["outcome"]), (&json!("f"), &json!("passes")));
    assert_eq!(code, 1);
    assert!(error.contains("there is no filter \"g\", only f"), "{error}");
}

/// What is said of a filter of this module that a configuration has with these settings and these limits.
fn of_configuration(bench: &Bench, module: &[u8], (settings, limits): (&str, &str)) -> (i32, Value, String) {
    bench.file("guest.wasm", module);
    let yaml = format!(
        "listen: 127.0.0.1:0\nlimits: {{ {limits} }}\nfilters:\n  f: {{ wasm: guest.wasm, {settings} }}\n\
         routes: [{{ to: echo, filters: [f] }}]\n"
    );
    let config = bench.file("tollgate.yaml", yaml);
    json(&["--plugin", "f", config.to_str().unwrap()], &[])
}

/// Traps at the second request of a VM.
const ONCE: &str = r#"(global $seen (mut i32) (i32.const 0))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (if (global.get $seen) (then (unreachable))) (global.set $seen (i32.const 1)) (i32.const 0))"#;

#[test]
fn each_exchange_has_a_vm_of_its_own_where_the_configuration_says_so() {
    let bench = Bench::new();

    let (code, report, _) = of_configuration(&bench, &guest(ONCE), ("isolation: request", ""));
    let (shared, failed, _) = of_configuration(&bench, &guest(ONCE), ("isolation: worker", ""));

    let found = &report["filters"][0];
    assert_eq!((code, &found["isolated"], &found["requests"]), (0, &json!(true), &json!(100)));
    assert_eq!((shared, &failed["filters"][0]["failure"]["exchange"]), (1, &json!(2)));
}

#[test]
fn a_filter_that_a_proxy_would_not_serve_is_refused() {
    let bench = Bench::new();
    let turns = format!(r#"{ONCE} (table 1 funcref) (func (export "turn") (table.set (i32.const 0) (ref.null func)))"#);
    let pin = format!("sha256: {}", "a".repeat(64));

    let (of_image, image, _) = of_configuration(&bench, &guest(&turns), ("isolation: request", ""));
    let (of_time, time, _) = of_configuration(&bench, &guest(ONCE), ("", "compile_time: 1ms"));
    let (of_pin, pinned, _) = of_configuration(&bench, &guest(ONCE), (&pin, ""));

    assert_eq!([of_image, of_time, of_pin], [1; 3]);
    let image = image["unmeasured"][0]["message"].as_str().unwrap();
    assert!(image.starts_with("cannot have `isolation: request`: "), "{image}");
    let time = time["unmeasured"][0]["message"].as_str().unwrap();
    assert_eq!(time, "its compilation was stopped after 1ms, the time that limits.compile_time gives it");
    let pinned = pinned["error"].as_str().unwrap();
    assert!(pinned.starts_with("error[TG0203]: plugin \"f\": "), "{pinned}");
}

#[test]
fn a_configuration_beside_a_filter_that_has_one_is_refused() {
    let (code, _, error) = toll(&["--config", "1", "--plugin", "f", "tollgate.yaml"], &[]);

    assert_eq!(code, 2);
    assert!(error.contains("'--config <JSON>'") && error.contains("'--plugin <NAME> <FILE>'"), "{error}");
}

#[test]
fn ends_that_are_not_alike_are_counted() {
    let bench = Bench::new();
    // Answers each fourth.
    let filter = bench.file(
        "guest.wasm",
        guest(
            r#"(global $count (mut i32) (i32.const 0))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (global.set $count (i32.add (global.get $count) (i32.const 1)))
                (if (result i32) (i32.rem_u (global.get $count) (i32.const 4)) (then (i32.const 0)) (else
                    (drop (call $proxy_send_local_response (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0)
                        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1))) (i32.const 1))))"#,
        ),
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
    let filter = bench.file(
        "guest.wasm",
        guest(&format!(
            r#"{data}
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (if {call} (then (unreachable))) (i32.const 0))
            (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32) (drop {call}) (drop {call}))"#
        )),
    );

    let report = report(&["--requests", "200"], &[&filter]);

    assert_eq!((&report["filters"][0]["requests"], &report["unmeasured"]), (&json!(200), &json!([])));
}

#[test]
fn callouts_are_answered_in_their_order_and_in_their_exchange() {
    let bench = Bench::new();
    let (data, _) = callout(0);
    let call = |id| format!("(drop {})", callout(id).1);
    // Traps where an answer is not that of the question that is next, and goes on behind the second.
    let filter = bench.file(
        "guest.wasm",
        guest(&format!(
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
        )),
    );

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
    let filter = bench.file(
        "guest.wasm",
        guest(
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
        ),
    );

    assert_eq!(report(&[], &[&filter])["filters"][0]["outcome"], "passes");
}

#[test]
fn the_request_is_that_of_the_file() {
    let bench = Bench::new();
    let filter = bench.file(
        "guest.wasm",
        guest(r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.ne (local.get 1) (i32.const 5)))"#),
    );
    let request = bench.file("request", "POST /a HTTP/1.1\nhost: x\naccept: */*\n\nhello");

    let report = report(&["--request", request.to_str().unwrap()], &[&filter]);

    let exchange = &report["exchange"];
    assert_eq!((&exchange["request_fields"], &exchange["request_bytes"]), (&json!(5), &json!(5)));
    assert_eq!(report["filters"][0]["outcome"], "passes", "the body of five bytes came whole");
}

#[test]
fn an_answer_to_head_has_no_body() {
    let bench = Bench::new();
    let filter = bench.file(
        "guest.wasm",
        guest(r#"(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (i32.const 0))"#),
    );
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

#[test]
fn what_changed_since_another_measurement_is_named() {
    let bench = Bench::new();
    let filter = bench.filter(&format!("{ADD} (i32.const 0)"));
    let other = bench.file("other.wasm", on_request("(i32.const 0)"));
    let old = bench.file("old.json", report(&["--config", "1"], &[&filter, &other]).to_string());
    bench.filter(&format!("{ADD} {ADD} (i32.const 0)"));

    let compare = ["--compare", old.to_str().unwrap()];
    let (code, words, _) = toll(&compare, &[&filter]);
    let figures = report(&compare, &[&filter]);

    assert_eq!(code, 0);
    for line in [
        "guest: hostcalls of one exchange 1 → 2, 100 % more",
        "guest: bytes copied in one exchange 10 → 20, 100 % more",
        "guest: it had another configuration.",
        "other: it was measured before, and is not now.",
        "guest: there were too few turns to compare the slowest hundredth of exchanges",
    ] {
        assert!(words.lines().any(|known| known == line), "{line}\n{words}");
    }
    let changes = columns(&figures["comparison"]["changes"], &["figure", "after"]);
    assert!(changes.contains(&vec![&json!("hostcalls"), &json!(2.0)]), "{changes:?}");
}

#[test]
fn a_filter_that_ends_exchanges_in_another_way_is_named() {
    let bench = Bench::new();
    let filter = bench.filter("(i32.const 0)");
    let old = bench.file("old.json", report(&[], &[&filter]).to_string());
    bench.filter("(i32.const 1)");

    let comparison = &report(&["--compare", old.to_str().unwrap()], &[&filter])["comparison"];

    assert_eq!(comparison["differences"], json!([{ "outcome": "guest" }]));
    assert_eq!((&comparison["changes"], &comparison["untold"]), (&json!([]), &json!([])));
}

#[test]
fn figures_are_kept_where_there_is_nothing_left_to_compare_them_with() {
    let bench = Bench::new();
    let filter = bench.filter("(i32.const 0)");
    let good = bench.file("good.wasm", on_request("(i32.const 0)"));
    let old = bench.file("old.json", report(&[], &[&filter]).to_string());
    bench.filter("(unreachable)");

    let (code, report, _) = json(&["--compare", old.to_str().unwrap()], &[&filter, &good]);

    assert_eq!((code, &report["filters"][0]["name"]), (1, &json!("good")));
    assert_eq!(report["comparison"]["differences"], json!([{ "new": "good" }, { "gone": "guest" }]));
}

#[test]
fn the_same_module_five_times_has_not_changed() {
    let bench = Bench::new();
    let filter = bench.filter(&format!("{ADD} (i32.const 0)"));
    let five = [&*filter; 5];
    let old = bench.file("old.json", report(&["--requests", "1000"], &five).to_string());

    let again = report(&["--requests", "1000", "--compare", old.to_str().unwrap()], &five);

    assert_eq!(again["comparison"], json!({ "differences": [], "changes": [], "untold": [] }));
}

#[test]
fn what_cannot_be_measured_is_said_in_a_sentence() {
    let bench = Bench::new();
    let good = bench.filter("(i32.const 0)");
    let refuses = bench.file(
        "refuses.wasm",
        guest(
            r#"(data (i32.const 4096) "no such key")
            (func (export "proxy_on_configure") (param i32 i32) (result i32)
                (call $show (i32.const 4096) (i32.const 11)) (i32.const 0))"#,
        ),
    );
    let loops = bench.file("loops.wasm", on_request("(loop $for_ever (br $for_ever)) (i32.const 0)"));
    let imports = bench.file(
        "imports.wasm",
        wat(r#"(module (import "env" "proxy_brew_coffee" (func)) (memory (export "memory") 1)
            (func (export "proxy_abi_version_0_2_1")))"#),
    );
    let text = bench.file("text.wasm", "no module");
    let large = bench.file("large", vec![b'x'; 2 << 20]);
    let (request, old) = (bench.file("request", "no request"), bench.file("old.json", "{}"));
    let (request, large) = (["--request", request.to_str().unwrap()], ["--request", large.to_str().unwrap()]);
    let old = ["--compare", old.to_str().unwrap()];
    let (older, strange) = (bench.file("older.json", "{ \"format\": 1 }"), report(&[], &[&good]));
    let (older, strange) = (older, bench.file("strange.json", strange.to_string()));
    let (older, strange) = (["--compare", older.to_str().unwrap()], ["--compare", strange.to_str().unwrap()]);

    for (arguments, file, said) in [
        (&[][..], &refuses, "error[TG0406]: refuses: refused in configure: "),
        (&[], &refuses, "\n    filter: info: no such key"),
        (&[], &loops, "error[TG0406]: loops: deadline in request_headers: "),
        (&[], &imports, "error[TG0406]: imports: "),
        (&[], &imports, "proxy_brew_coffee"),
        (&[], &text, "error[TG0406]: text: "),
        (&[], &bench.0.path().join("none.wasm"), "none.wasm: No such file or directory"),
        (&request, &good, "request: line 1: \"no request\" is no request line"),
        (&large, &good, "large: it is longer than 1110016 bytes"),
        (&old, &good, "old.json: it is no measurement: missing field"),
        (&older, &good, "older.json: it was written by an older version of this program"),
        (&strange, &refuses, "strange.json: it has none of these filters, only guest"),
        (&["--config", "", "--config", ""], &good, "error[TG0406]: 2 configurations for 1 filters"),
    ] {
        let (code, out, error) = toll(arguments, &[file]);

        assert_eq!((code, out.as_str()), (1, ""), "{error}");
        assert!(error.contains(said), "{said}\n{error}");
        assert_eq!(error.matches("error[").count(), 1, "{error}");
    }
}

#[test]
fn errors_are_json_where_figures_are() {
    let bench = Bench::new();
    let good = bench.filter("(i32.const 0)");
    let request = bench.file("request", "no request");

    let (code, out, error) = json(&["--request", request.to_str().unwrap()], &[&good]);

    assert_eq!(code, 1);
    assert_eq!(out, json!({ "error": error.trim_end() }));
    assert!(error.contains("line 1"), "{error}");
}
