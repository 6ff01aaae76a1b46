//! A filter of a configuration is measured with all that is written there.

use serde_json::{Value, json};
use tollgate_abi::testing::guest;

use crate::bench::{Bench, json, report, toll};

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
