//! Plugins that cannot run: the proxy does not start, and says why in a way that their author can act on.

#[path = "common/common.rs"]
mod common;

use common::modules::{Guest, filter};
use common::proxy::prepare;

/// What is said about a filter with these settings.
fn fault(settings: &str) -> String {
    fault_of(&format!("filters: {{ mine: {{ {settings} }} }}\nroutes: [{{ to: echo, filters: [mine] }}]"))
}

fn fault_of(yaml: &str) -> String {
    match prepare(yaml) {
        Ok(_) => panic!("it starts"),
        Err(error) => {
            assert_eq!(error.exit_code(), 1);
            error.to_string()
        }
    }
}

/// Fails unless every part is in the text.
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

/// A guest with the marker of the ABI, an allocator and this.
fn guest(body: &str) -> Guest {
    Guest::from_wat(&format!(
        "(module {body} (memory (export \"memory\") 1)
           (func (export \"proxy_abi_version_0_2_1\"))
           (func (export \"proxy_on_memory_allocate\") (param i32) (result i32) i32.const 1024))"
    ))
}

#[test]
fn a_module_that_is_not_there_is_named() {
    let fault = fault("wasm: nowhere/absent.wasm");

    says(&fault, &["error[TG0201]", "\"mine\"", "absent.wasm", "No such file"]);
}

#[test]
fn a_file_that_is_no_module_is_refused() {
    let guest = Guest::from_bytes(b"#!/bin/sh\n");

    let fault = fault(&format!("wasm: {:?}", guest.path()));

    says(&fault, &["error[TG0204]", "\"mine\"", "guest.wasm"]);
    assert_eq!(fault.lines().count(), 1, "{fault}");
}

#[test]
fn a_module_that_is_no_filter_is_refused() {
    let guest = Guest::from_wat("(module (memory (export \"memory\") 1))");

    let fault = fault(&format!("wasm: {:?}", guest.path()));

    says(&fault, &["error[TG0204]", "\"mine\"", "proxy_abi_version"]);
}

#[test]
fn every_import_that_nobody_offers_is_named() {
    let guest = guest(
        "(import \"env\" \"proxy_first_unknown\" (func)) (import \"env\" \"proxy_log\" (func (param i32 i32 i32) (result i32)))
         (import \"elsewhere\" \"second\" (func (param i32)))",
    );

    let fault = fault(&format!("wasm: {:?}", guest.path()));

    says(&fault, &["error[TG0204]", "proxy_first_unknown", "elsewhere", "second"]);
    assert!(!fault.contains("proxy_log"), "{fault}");
}

#[test]
fn a_module_that_is_not_the_pinned_one_is_refused_with_both_hashes() {
    let wanted = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    let fault = fault(&format!("wasm: {:?}, sha256: {wanted}", filter("noop")));

    says(&fault, &["error[TG0203]", "\"mine\"", wanted, "has sha256 "]);
}

#[test]
fn a_filter_that_refuses_its_configuration_shows_its_own_lines() {
    let fault =
        fault(&format!("wasm: {:?}, config: {{ configure: [\"log info about-to-refuse\", refuse] }}", filter("probe")));

    says(&fault, &["error[TG0205]", "\"mine\"", "proxy_on_configure", "filter: info: about-to-refuse"]);
}

#[test]
fn a_filter_that_cannot_read_its_configuration_shows_its_own_lines() {
    let fault = fault(&format!("wasm: {:?}, config: {{ nonsense: 1 }}", filter("headers")));

    says(&fault, &["error[TG0205]", "\"mine\"", "filter: ", "nonsense"]);
}

#[test]
fn a_filter_that_fails_while_it_starts_is_refused_in_every_way_to_fail() {
    for (way, word) in
        [("trap", "unreachable"), ("panic ouch", "ouch"), ("loop", "deadline in configure"), ("exit 3", "3")]
    {
        let fault = fault(&format!(
            "wasm: {:?}, config: {{ configure: [{way:?}] }}, budget: {{ start: 300ms }}",
            filter("probe")
        ));

        says(&fault, &["error[TG0205]", "\"mine\"", word]);
    }
}

#[test]
fn a_filter_that_needs_more_memory_than_its_budget_is_refused() {
    let guest = Guest::from_wat(
        "(module (memory (export \"memory\") 64) (func (export \"proxy_abi_version_0_2_1\"))
           (func (export \"proxy_on_memory_allocate\") (param i32) (result i32) i32.const 1024))",
    );

    let fault = fault(&format!("wasm: {:?}, budget: {{ memory: 1MiB }}", guest.path()));

    says(&fault, &["error[TG0205]", "\"mine\"", "memory"]);
}

#[test]
fn all_faults_are_told_at_once() {
    let fault = fault_of(&format!(
        "filters:\n  one: {{ wasm: absent.wasm }}\n  fine: {{ wasm: {:?} }}\n  two: {{ wasm: {:?}, config: {{ configure: [refuse] }} }}\n\
         routes: [{{ to: echo, filters: [one, fine, two] }}]",
        filter("noop"),
        filter("probe")
    ));

    says(&fault, &["error[TG0201]: plugin \"one\"", "error[TG0205]: plugin \"two\""]);
    assert!(!fault.contains("\"fine\""), "{fault}");
}

#[test]
fn a_small_guest_starts() {
    let guest = guest("");

    let started = prepare(&format!("filters: [{{ wasm: {:?} }}]\nroutes: [{{ to: echo }}]", guest.path()));

    assert!(started.is_ok());
}
