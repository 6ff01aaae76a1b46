//! Modules that must not take over: whatever is wrong with one, the generation before answers every request, and the
//! plugin says exactly why.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::fs;

use common::modules::Guest;
use common::proxy::{TestProxy, prepare};
use common::swaps::{Looker, module, speaker, stamper, under_load};
use common::until;
use tollgate::app::reload::{Done, Refused};
use tollgate::filter::digest::Digest;
use tollgate::filter::rollout::Incident;

/// A proxy that serves the word `one`, whose plugin has these further settings.
fn serving(guest: &Guest, settings: &str) -> TestProxy {
    TestProxy::with(&format!(
        "watch: off\nfilters: {{ f: {{ wasm: {:?}, budget: {{ start: 300ms }}, {settings} }} }}\n\
         routes: [{{ to: echo, filters: [f] }}]",
        guest.path()
    ))
}

/// Has `successor` tried while clients of both protocols ask; answers with what the plugin says of it. Nothing else may
/// have changed.
fn refused(guest: &Guest, proxy: &TestProxy, successor: &[u8]) -> Incident {
    let before = proxy.plugin("f").serving.unwrap();

    let heard = under_load(proxy.address(), || {
        guest.replace(successor);
        let outcome = proxy.order(guest.look());
        assert!(matches!(outcome, Err(Refused::Modules(_))), "{outcome:?}");
    });

    assert_eq!(heard.words.iter().collect::<Vec<_>>(), ["one"]);
    let view = proxy.plugin("f");
    let serving = view.serving.unwrap();
    assert_eq!((serving.number, serving.digest), (before.number, before.digest));
    assert!(view.draining.is_empty() && view.waiting.is_none() && view.staged.is_none());
    assert_eq!((view.history[0].what, view.history[0].generation), ("failed", None));
    assert_eq!(proxy.metric("tollgate_filter_instances", &[]), 1.0);
    assert_eq!(proxy.metric("tollgate_filter_on_error_total", &[]), 0.0);
    let incident = view.last_error.expect("an error that is kept");
    assert_eq!(incident.origin, guest.path());
    incident
}

/// The same for a module that is refused under no further settings, after the step that has to fail.
fn fails(step: &str, code: &str, successor: &[u8]) -> Incident {
    let guest = Guest::from_bytes(&stamper("one"));
    let proxy = serving(&guest, "");
    let incident = refused(&guest, &proxy, successor);
    assert_eq!((incident.step, incident.code), (step, code), "{incident:?}");
    assert_eq!(incident.digest, Some(Digest::of(successor)));
    incident
}

/// A stamper with a further start of its own.
fn starting(more: &str) -> Vec<u8> {
    module("two", more)
}

#[test]
fn a_module_that_was_cut_off() {
    let whole = stamper("two");

    let incident = fails("check", "TG0204", &whole[..whole.len() / 2]);

    assert!(incident.message.contains("not a wasm module"), "{}", incident.message);
    assert!(incident.lines.is_empty() && incident.backtrace.is_empty());
}

#[test]
fn a_module_that_wants_what_no_host_has() {
    let wat = r#"(module (import "env" "proxy_teleport" (func (param i32) (result i32)))
        (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 0)))"#;

    let incident = fails("check", "TG0204", &wat::parse_str(wat).unwrap());

    assert!(incident.message.contains("env.proxy_teleport"), "{}", incident.message);
}

#[test]
fn a_module_that_does_not_validate() {
    // It promises a result and has none.
    let broken = module("two", "(func (result i32))");

    let incident = fails("compile", "TG0204", &broken);

    assert!(incident.message.contains("invalid wasm module"), "{}", incident.message);
}

#[test]
fn a_module_that_refuses_its_configuration_says_so_in_its_own_words() {
    let refuses = starting(
        r#"(data (i32.const 64) "no such tenant")
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (drop (call $log (i32.const 4) (i32.const 64) (i32.const 14))) (i32.const 0))"#,
    );

    let incident = fails("configure", "TG0205", &refuses);

    assert_eq!(incident.lines, ["error: no such tenant"]);
    assert!(incident.message.contains("refused in configure"), "{}", incident.message);
    assert!(incident.backtrace.is_empty());
}

#[test]
fn a_module_that_traps_in_its_start_shows_where() {
    let traps = starting(
        r#"(func $deep unreachable) (func $outer (call $deep))
        (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (call $outer) (i32.const 1))"#,
    );

    let incident = fails("start", "TG0205", &traps);

    assert!(incident.message.contains("trap in vm_start"), "{}", incident.message);
    assert!(incident.backtrace[0].contains("deep") && incident.backtrace[1].contains("outer"), "{incident:?}");
}

#[test]
fn a_module_that_loops_in_its_start_is_given_up() {
    let loops =
        starting(r#"(func (export "proxy_on_vm_start") (param i32 i32) (result i32) (loop (br 0)) (i32.const 1))"#);

    let incident = fails("start", "TG0205", &loops);

    assert!(incident.message.contains("deadline in vm_start"), "{}", incident.message);
}

#[test]
fn a_module_that_is_not_the_pinned_one() {
    let guest = Guest::from_bytes(&stamper("one"));
    let proxy = serving(&guest, &format!("sha256: {}", Digest::of(&stamper("one"))));
    let other = stamper("two");

    let incident = refused(&guest, &proxy, &other);

    assert_eq!((incident.step, incident.code, incident.digest), ("verify", "TG0203", Some(Digest::of(&other))));
    for digest in [Digest::of(&other), Digest::of(&stamper("one"))] {
        assert!(incident.message.contains(&digest.to_string()), "{}", incident.message);
    }
}

#[test]
fn a_module_that_fails_its_self_test() {
    let guest = Guest::from_bytes(&stamper("one"));
    let proxy = serving(&guest, "selftest: [{ expect: { headers: { x-by: one } } }]");

    let incident = refused(&guest, &proxy, &speaker("two"));

    assert_eq!((incident.step, incident.code), ("selftest", "TG0208"));
    assert_eq!(incident.message, "selftest 0: expected header \"x-by: one\" of the answer, it is \"two\"");
}

#[test]
fn a_file_that_cannot_be_read() {
    let guest = Guest::from_bytes(&stamper("one"));
    let proxy = serving(&guest, "");

    // A folder cannot be read by anybody, a file without permissions can be by root.
    fs::remove_file(guest.path()).unwrap();
    fs::create_dir(guest.path()).unwrap();
    let outcome = proxy.order(guest.look());

    let incident = proxy.plugin("f").last_error.unwrap();
    assert!(matches!(outcome, Err(Refused::Modules(_))), "{outcome:?}");
    assert_eq!((incident.step, incident.code, incident.digest), ("fetch", "TG0201", None));
    let mut looker = Looker::new(proxy.address());
    looker.look();
    assert_eq!(looker.last, "one");
}

#[test]
fn a_file_that_is_gone_is_an_error_only_if_it_stays_away() {
    let guest = Guest::from_bytes(&speaker("one"));
    let proxy = TestProxy::with(&format!(
        "filters: {{ f: {{ wasm: {:?} }} }}\nroutes: [{{ to: echo, filters: [f] }}]",
        guest.path()
    ));

    fs::remove_file(guest.path()).unwrap();

    until("it is told that the file is gone", || proxy.plugin("f").last_error.is_some());
    assert_eq!(proxy.plugin("f").last_error.unwrap().step, "fetch");
    assert_eq!(proxy.get("/").field("x-by"), Some("one"));
    guest.replace(&speaker("two"));
    until("the file is back", || proxy.get("/").field("x-by") == Some("two"));
    assert!(proxy.plugin("f").last_error.is_none());
}

#[test]
fn a_bad_file_is_looked_at_once_whatever_else_is_swapped() {
    let (bad, other) = (Guest::from_bytes(&stamper("one")), Guest::from_bytes(&speaker("1")));
    let proxy = TestProxy::with(&format!(
        "filters: {{ f: {{ wasm: {:?} }}, g: {{ wasm: {:?} }} }}\nroutes: [{{ to: echo, filters: [f, g] }}]",
        bad.path(),
        other.path()
    ));
    let failures = || proxy.plugin("f").history.iter().filter(|event| event.what == "failed").count();
    bad.replace(b"nonsense");
    until("the bad file is looked at", || failures() == 1);

    // Whoever is seen in the second swap was looked at after the first.
    for (word, number) in [("2", 2), ("3", 3)] {
        other.replace(&speaker(word));
        until("the other file is swapped", || proxy.plugin("g").serving.unwrap().number == number);
    }

    assert_eq!(failures(), 1);
}

#[test]
fn a_good_module_after_a_bad_one_clears_the_error() {
    let guest = Guest::from_bytes(&stamper("one"));
    let proxy = serving(&guest, "");
    refused(&guest, &proxy, b"nonsense");

    guest.replace(&stamper("two"));
    assert_eq!(proxy.order(guest.look()).unwrap(), Done::Serving);

    assert!(proxy.plugin("f").last_error.is_none());
    assert_eq!(proxy.get("/").field("x-by"), Some("two"));
}

#[test]
fn a_plugin_that_cannot_be_loaded_keeps_the_proxy_from_starting_unless_that_is_written() {
    let guest = Guest::from_bytes(b"nonsense");
    let yaml = |settings: &str| {
        format!("filters: {{ f: {{ wasm: {:?}, {settings} }} }}\nroutes: [{{ to: echo, filters: [f] }}]", guest.path())
    };

    for refused in ["", "on_error: skip", "on_error: deny", "on_error: { trap: skip }"] {
        assert!(prepare(&yaml(refused)).is_err(), "{refused}");
    }
    let denied = TestProxy::with(&yaml("on_error: { load: deny }"));
    assert_eq!(denied.get("/").status(), 503);
    let skipped = TestProxy::with(&yaml("on_error: { load: skip }"));
    assert_eq!(skipped.get("/").status(), 200);
    assert!(skipped.plugin("f").serving.is_none());
    assert_eq!(skipped.plugin("f").last_error.unwrap().code, "TG0204");
}

#[test]
fn a_good_module_heals_a_plugin_that_could_not_be_loaded() {
    for policy in ["skip", "deny"] {
        let guest = Guest::from_bytes(b"nonsense");
        let proxy = serving(&guest, &format!("on_error: {{ load: {policy} }}"));
        proxy.get("/");

        guest.replace(&speaker("two"));
        assert_eq!(proxy.order(guest.look()).unwrap(), Done::Serving, "{policy}");

        assert_eq!(proxy.get("/").field("x-by"), Some("two"), "{policy}");
        assert!(proxy.plugin("f").last_error.is_none(), "{policy}");
    }
}

#[test]
fn what_could_not_be_loaded_and_stays_bad_changes_nothing() {
    let guest = Guest::from_bytes(b"nonsense");
    let proxy = serving(&guest, "on_error: { load: skip }");

    guest.replace(b"more nonsense");
    let _ = proxy.order(guest.look());

    assert_eq!(proxy.get("/").status(), 200);
    assert_eq!(proxy.plugin("f").last_error.unwrap().digest, Some(Digest::of(b"more nonsense")));
}

#[test]
fn a_module_that_fails_after_the_proxy_runs_never_takes_the_place_of_one_that_serves() {
    // `on_error.load` is about having nothing, not about a successor.
    let guest = Guest::from_bytes(&stamper("one"));
    let proxy = serving(&guest, "on_error: { load: skip }");

    let incident = refused(&guest, &proxy, b"nonsense");

    assert_eq!(incident.step, "check");
}
