//! `tollgate toll`: what it counts is right, what it cannot measure it says, and what it times is never judged here.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate_abi::testing::guest;
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
    command.args(["toll", "--requests", "100"]).args(arguments).args(files).stdin(Stdio::null());
    // Exchanges are few, and each has a deadline.
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn report(arguments: &[&str], files: &[&Path]) -> Value {
    let (code, out, error) = toll(&[arguments, &["--json"]].concat(), files);
    assert_eq!((code, error.as_str()), (0, ""));
    serde_json::from_str(&out).unwrap()
}

fn names(list: &Value) -> Vec<(&str, f64)> {
    let entries = list.as_array().unwrap().iter();
    entries.map(|entry| (entry["name"].as_str().unwrap(), entry["calls"].as_f64().unwrap())).collect()
}

#[test]
fn calls_and_copies_are_those_of_the_filter() {
    let bench = Bench::new();
    let filter = bench.filter(&format!("{ADD} {ADD} (i32.const 0)"));

    let report = report(&[], &[&filter]);

    let found = &report["filters"][0];
    assert_eq!(
        (&found["name"], &found["outcome"], &found["requests"]),
        (&json!("guest"), &json!("passes"), &json!(100))
    );
    assert_eq!(names(&found["hostcalls"]), [("proxy_add_header_map_value", 2.0)]);
    assert_eq!(names(&found["callbacks"]), [("request_headers", 1.0)]);
    assert_eq!(found["copied"], 2 * ("x-toll".len() + "paid".len()));
    assert_eq!((&found["memory_first"], &found["memory_last"]), (&json!(16 << 16), &json!(16 << 16)));
    let parts = found["host"].as_f64().unwrap() + found["guest"].as_f64().unwrap();
    assert!((parts - found["request"]["median"].as_f64().unwrap()).abs() < 1.0);
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
    assert_eq!(outcomes, [&json!("passes"), &json!({ "waits": "request" })]);
}

#[test]
fn a_filter_that_answers_itself_is_said_to() {
    let bench = Bench::new();
    let filter = bench.filter(
        "(drop (call $proxy_send_local_response (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const -1))) (i32.const 1)",
    );

    assert_eq!(report(&[], &[&filter])["filters"][0]["outcome"], json!({ "answers": 403 }));
    let (_, words, _) = toll(&[], &[&filter]);
    assert!(words.contains("answers them itself, with 403"), "{words}");
}

#[test]
fn a_callout_is_answered_at_once_and_the_filter_may_go_on_from_there() {
    let bench = Bench::new();
    let head = pairs::encode(&VecHeaderMap::new([(":method", "GET"), (":path", "/"), (":authority", "a")]));
    let escaped: String = head.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let filter = bench.file(
        "guest.wasm",
        guest(&format!(
            r#"(data (i32.const 4096) "a") (data (i32.const 4200) "{escaped}")
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (drop (call $proxy_http_call (i32.const 4096) (i32.const 1) (i32.const 4200) (i32.const {size})
                    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 5000)))
                (global.set $asker (local.get 0))
                (i32.const 1))
            (global $asker (mut i32) (i32.const 0))
            (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
                (drop (call $proxy_set_effective_context (global.get $asker)))
                (drop (call $proxy_continue_stream (i32.const 0))))
            (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#,
            size = head.len()
        )),
    );

    let report = report(&[], &[&filter]);

    let found = &report["filters"][0];
    assert_eq!(found["outcome"], "passes");
    let seen = names(&found["callbacks"]);
    assert_eq!(seen, [("request_headers", 1.0), ("response_headers", 1.0), ("http_call_response", 1.0)]);
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
    assert_eq!((&exchange["request_fields"], &exchange["request_bytes"]), (&json!(6), &json!(5)));
    assert_eq!(report["filters"][0]["outcome"], "passes", "the body of five bytes came whole");
}

#[test]
fn what_changed_since_another_measurement_is_named() {
    let bench = Bench::new();
    let filter = bench.filter(&format!("{ADD} (i32.const 0)"));
    let old = bench.file("old.json", report(&[], &[&filter]).to_string());
    bench.filter(&format!("{ADD} {ADD} (i32.const 0)"));

    let compare = ["--compare", old.to_str().unwrap()];
    let (code, words, _) = toll(&compare, &[&filter]);
    let figures = report(&compare, &[&filter]);

    assert_eq!(code, 0);
    assert!(words.contains("guest: hostcalls of an exchange 1 → 2, 100 % more\n"), "{words}");
    assert!(words.contains("guest: bytes that an exchange copies 10 → 20, 100 % more\n"), "{words}");
    let changes = figures["changes"].as_array().unwrap();
    assert!(changes.iter().any(|change| change["figure"] == "hostcalls" && change["after"] == 2.0), "{changes:?}");
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
    let traps = bench.file("traps.wasm", on_request("(unreachable)"));
    let text = bench.file("text.wasm", "no module");
    let (request, old) = (bench.file("request", "no request"), bench.file("old.json", "{}"));
    let request = ["--request", request.to_str().unwrap()];
    let old = ["--compare", old.to_str().unwrap()];

    for (arguments, file, said) in [
        (&[][..], &refuses, "error[TG0406]: refuses: refused in configure: "),
        (&[], &refuses, "\n  it said: Info: no such key"),
        (&[], &traps, "error[TG0406]: traps: trap in request_headers: "),
        (&[], &text, "error[TG0406]: text: "),
        (&[], &bench.0.path().join("none.wasm"), "none.wasm: No such file or directory"),
        (&request, &good, "request: line 1: \"no request\" is no request line"),
        (&old, &good, "old.json: it is no measurement: missing field"),
        (&["--config", "", "--config", ""], &good, "error[TG0406]: 2 configurations for 1 filters"),
    ] {
        let (code, out, error) = toll(arguments, &[file]);

        assert_eq!((code, out.as_str()), (1, ""), "{error}");
        assert!(error.contains(said), "{said}\n{error}");
    }
}
