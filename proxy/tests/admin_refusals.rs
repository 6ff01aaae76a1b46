//! Modules that the admin endpoints refuse: what the answer and `/filters/NAME` say of each, and that what served serves on.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use common::admin::{LOOPBACK, ask, filter, proxy_with, speaks, upload, yaml};
use common::modules::{Guest, endless_to_compile};
use common::proxy::{TestProxy, prepare_with};
use common::swaps::{module, speaker};
use common::wire::Message;
use serde_json::{Value, json};
use tollgate::app::RunOptions;
use tollgate::filter::digest::Digest;

/// What the answer and `/filters/f` say after this module was uploaded; what served before must serve on.
fn uploaded(settings: &str, module: &[u8]) -> (Value, Value) {
    let guest = Guest::from_bytes(&speaker("one"));
    let proxy = proxy_with(LOOPBACK, &guest, settings);
    told(&proxy, &upload(proxy.admin(), module))
}

/// What this refusal of a module and `/filters/f` say; what served before must serve on.
fn told(proxy: &TestProxy, answer: &Message) -> (Value, Value) {
    assert_eq!(answer.status(), 422, "{answer:?}");
    assert_eq!(ask(proxy.admin(), "POST /filters/f/promote").status(), 409);
    assert_eq!(speaks(proxy), "one");
    let shown = filter(proxy);
    assert_eq!((&shown["state"], &shown["history"][0]["what"]), (&json!("serving"), &json!("failed")));
    let (error, fault) = (shown["last_error"].clone(), answer.json()["faults"][0].clone());
    for same in ["step", "code", "digest", "message", "lines", "backtrace", "source"] {
        assert_eq!(error[same], fault[same], "{same}");
    }
    assert_eq!(fault["filter"], "f");
    let summary = &ask(proxy.admin(), "GET /filters").json()[0]["last_error"];
    assert_eq!((&summary["step"], &summary["message"]), (&error["step"], &error["message"]));
    (answer.json(), error)
}

/// Fails unless this is the step that failed of an upload, with its code, and the message has these words.
fn failed_at(told: &(Value, Value), step: &str, code: &str, words: &str) {
    failed_of("upload", told, step, code, words);
}

/// The same for a module from elsewhere.
fn failed_of(source: &str, (answer, error): &(Value, Value), step: &str, code: &str, words: &str) {
    assert_eq!((&error["step"], &error["code"]), (&json!(step), &json!(code)), "{error}");
    assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    assert_eq!(error["source"], source);
    assert_eq!(error["digest"].as_str().unwrap().len(), 64);
    let begin = format!("error[{code}]: plugin \"f\": {source}");
    assert!(answer["error"].as_str().unwrap().starts_with(&begin), "{answer}");
}

#[test]
fn bytes_that_are_no_module_are_refused() {
    let half = &speaker("two")[..60];

    failed_at(&uploaded("", b"#!/bin/sh\n"), "check", "TG0204", "begins with \"#!/b\"");
    failed_at(&uploaded("", half), "check", "TG0204", "unexpected end");
    failed_at(&uploaded("", b""), "check", "TG0204", "");
}

#[test]
fn a_module_that_is_unsound_is_refused_where_it_is_compiled() {
    let unsound = module("two", "(func (result i32))");

    failed_at(&uploaded("", &unsound), "compile", "TG0204", "type mismatch");
}

#[test]
fn a_module_with_an_import_that_nobody_offers_is_refused_by_its_name() {
    let wat = "(module (import \"env\" \"proxy_fly\" (func)) (memory (export \"memory\") 1)
        (func (export \"proxy_abi_version_0_2_1\")) (func (export \"malloc\") (param i32) (result i32) (i32.const 0)))";

    failed_at(&uploaded("", &wat::parse_str(wat).unwrap()), "check", "TG0204", "proxy_fly");
}

#[test]
fn a_module_that_refuses_its_configuration_is_refused() {
    let refuses = module("two", "(func (export \"proxy_on_configure\") (param i32 i32) (result i32) (i32.const 0))");

    failed_at(&uploaded("", &refuses), "configure", "TG0205", "");
}

#[test]
fn a_module_that_traps_while_it_starts_is_refused_with_its_frames_and_its_own_lines() {
    let wat = "(module
        (import \"env\" \"proxy_log\" (func $log (param i32 i32 i32) (result i32)))
        (memory (export \"memory\") 1)
        (data (i32.const 16) \"no license\")
        (func (export \"proxy_abi_version_0_2_1\"))
        (func (export \"malloc\") (param i32) (result i32) (i32.const 1024))
        (func $give_up unreachable)
        (func (export \"proxy_on_vm_start\") (param i32 i32) (result i32)
            (drop (call $log (i32.const 4) (i32.const 16) (i32.const 10)))
            (call $give_up) (i32.const 1)))";

    let told = uploaded("", &wat::parse_str(wat).unwrap());

    failed_at(&told, "start", "TG0205", "unreachable");
    assert_eq!(told.1["lines"], json!(["error: no license"]));
    let frames = told.1["backtrace"].as_array().unwrap();
    assert!(frames[0].as_str().unwrap().contains("give_up"), "{frames:?}");
    let text = told.0["error"].as_str().unwrap();
    assert!(text.contains("\n    at ") && text.ends_with("\n    filter: error: no license"), "{text}");
}

#[test]
fn a_module_that_never_comes_to_an_end_of_its_start_is_refused() {
    let endless =
        module("two", "(func (export \"proxy_on_vm_start\") (param i32 i32) (result i32) (loop (br 0)) (i32.const 1))");

    failed_at(&uploaded(", budget: { start: 500ms }", &endless), "start", "TG0205", "");
}

#[test]
fn a_module_that_fails_its_self_test_is_refused_with_what_was_expected() {
    let settings = ", selftest: [{ expect: { headers: { x-by: one } } }]";

    let told = uploaded(settings, &speaker("two"));

    failed_at(&told, "selftest", "TG0208", "selftest 0: expected header \"x-by: one\" of the answer, it is \"two\"");
}

#[test]
fn a_file_that_is_not_the_pinned_module_is_refused_with_both_digests() {
    let guest = Guest::from_bytes(&speaker("one"));
    let (wanted, found) = (Digest::of(&speaker("one")), Digest::of(&speaker("two")));
    let proxy = proxy_with(&format!("watch: off\n{LOOPBACK}"), &guest, &format!(", sha256: {wanted}"));

    guest.replace(&speaker("two"));
    let told = told(&proxy, &ask(proxy.admin(), "POST /reload"));

    let words = format!("has sha256 {found}, the configuration wants {wanted}");
    failed_of(&guest.path(), &told, "verify", "TG0203", &words);
    assert_eq!(told.1["digest"], found.to_string());
}

#[test]
fn a_module_that_takes_longer_to_compile_than_it_may_is_refused() {
    let guest = Guest::from_bytes(&speaker("one"));
    let options = RunOptions { compiler: Some(env!("CARGO_BIN_EXE_tollgate").into()), ..RunOptions::default() };
    let config = format!("cache: off\n{}", yaml(LOOPBACK, &guest, ""));
    let proxy = TestProxy::of(prepare_with(&config, &options).unwrap_or_else(|error| panic!("{error}")));
    // What serves was given all the time it needed.
    proxy.configure(&format!("limits: {{ compile_time: 1s }}\n{config}")).unwrap();

    let told = told(&proxy, &upload(proxy.admin(), &endless_to_compile()));

    let words = "its compilation was stopped after 1s, the time that limits.compile_time gives it";
    failed_at(&told, "compile", "TG0207", words);
}
