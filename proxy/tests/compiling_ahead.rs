//! Compilations that take long, and what goes on meanwhile: the other plugins, and the operator's word.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::modules::Guest;
use common::proxy::{TestProxy, prepare_with};
use common::swaps::speaker;
use common::until;
use tempfile::TempDir;
use tollgate::app::RunOptions;
use tollgate::app::reload::{Done, Order};
use tollgate::filter::digest::Digest;

/// A compiler that waits while it is held, and tells when somebody waits.
struct Compiler {
    folder: TempDir,
}

impl Compiler {
    fn new() -> Compiler {
        let compiler = Compiler { folder: tempfile::tempdir().unwrap() };
        let (held, waits) = (compiler.at("held"), compiler.at("waits"));
        // Half a minute at most, so that nothing is left behind.
        let body = format!(
            "i=0; while [ -e {held:?} ] && [ $i -lt 600 ]; do : > {waits:?}; sleep 0.05; i=$((i+1)); done\n\
             exec {:?} \"$@\"",
            env!("CARGO_BIN_EXE_tollgate")
        );
        // Written by another process: a program that this one has open for writing cannot be started.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 700 \"$2\"";
        let written = Command::new("sh").args(["-c", write, "sh", &body]).arg(compiler.at("program")).status().unwrap();
        assert!(written.success());
        compiler
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn hold(&self) {
        fs::write(self.at("held"), "").unwrap();
    }

    fn is_waited_for(&self) {
        until("a module is compiled", || self.at("waits").exists());
    }

    fn release(&self) {
        fs::remove_file(self.at("held")).unwrap();
    }

    /// A proxy whose filters `a` and `b` answer at `/a` and `/b`.
    fn proxy(&self, a: &Guest, b: &Guest) -> TestProxy {
        let yaml = format!(
            "cache: off\nfilters: {{ a: {{ wasm: {:?} }}, b: {{ wasm: {:?} }} }}\n\
             routes: [{{ match: {{ path: /a }}, to: echo, filters: [a] }}, {{ to: echo, filters: [b] }}]",
            a.path(),
            b.path()
        );
        let options = RunOptions { compiler: Some(self.at("program")), ..RunOptions::default() };
        TestProxy::of(prepare_with(&yaml, &options).unwrap_or_else(|error| panic!("{error}")))
    }
}

fn says(proxy: &TestProxy, path: &str) -> String {
    proxy.get(path).field("x-by").unwrap_or_default().to_owned()
}

/// True when a module of that word ever served.
fn has_served(proxy: &TestProxy, name: &str, word: &str) -> bool {
    let digest = Some(Digest::of(&speaker(word)));
    proxy.plugin(name).history.iter().any(|event| event.what == "serving" && event.digest == digest)
}

#[test]
fn one_plugin_is_swapped_and_rolled_back_while_the_module_of_another_is_compiled() {
    let (compiler, a, b) = (Compiler::new(), Guest::from_bytes(&speaker("one")), Guest::from_bytes(&speaker("uno")));
    let proxy = compiler.proxy(&a, &b);
    proxy.order(Order::Stage("b".into(), speaker("dos"))).unwrap();
    compiler.hold();
    a.replace(&speaker("two"));
    compiler.is_waited_for();

    assert_eq!(proxy.order(Order::Promote("b".into())).unwrap(), Done::Serving);
    assert_eq!((says(&proxy, "/a"), says(&proxy, "/b")), ("one".into(), "dos".into()));
    assert_eq!(proxy.order(Order::Rollback("b".into())).unwrap(), Done::Serving);
    assert_eq!((says(&proxy, "/a"), says(&proxy, "/b")), ("one".into(), "uno".into()));

    compiler.release();
    until("the compiled module serves", || says(&proxy, "/a") == "two");
}

#[test]
fn what_an_operator_says_is_newer_than_a_file_that_is_being_compiled() {
    let (compiler, a, b) = (Compiler::new(), Guest::from_bytes(&speaker("one")), Guest::from_bytes(&speaker("uno")));
    let proxy = compiler.proxy(&a, &b);
    proxy.order(Order::Stage("a".into(), speaker("three"))).unwrap();
    compiler.hold();
    a.replace(&speaker("two"));
    compiler.is_waited_for();

    proxy.order(Order::Promote("a".into())).unwrap();
    compiler.release();
    a.replace(&speaker("four"));

    until("what the file says later serves", || says(&proxy, "/a") == "four");
    assert!(has_served(&proxy, "a", "three") && !has_served(&proxy, "a", "two"));
}

#[test]
fn a_file_that_changes_while_it_is_compiled_comes_to_both_turns() {
    let (compiler, a, b) = (Compiler::new(), Guest::from_bytes(&speaker("one")), Guest::from_bytes(&speaker("uno")));
    let proxy = compiler.proxy(&a, &b);
    compiler.hold();
    a.replace(&speaker("two"));
    compiler.is_waited_for();

    a.replace(&speaker("three"));
    compiler.release();

    until("the latest module serves", || says(&proxy, "/a") == "three");
    assert!(has_served(&proxy, "a", "two"));
}
