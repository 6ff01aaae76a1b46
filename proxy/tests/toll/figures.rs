//! What is counted is what the filter does, and what is timed is told apart.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tollgate_abi::testing::guest;

use crate::bench::{ADD, Bench, columns, on_request, report, toll};

#[test]
fn calls_and_copies_are_those_of_the_filter() {
    let bench = Bench::new();
    let filter = bench.guest(format!(
        r#"(data (i32.const 4096) "x-toll") (data (i32.const 4104) "paid")
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {ADD} {ADD} (i32.const 0))
            (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
                (drop (call $proxy_get_header_map_value (i32.const 0) (i32.const 4096) (i32.const 6)
                    (i32.const 5000) (i32.const 5004)))
                (i32.const 0))"#
    ));

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
