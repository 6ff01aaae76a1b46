//! Compilations that take long, and what goes on meanwhile: the other plugins, and the operator's word.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use common::modules::Guest;
use common::proxy::{TestProxy, config, prepare_with};
use common::swaps::speaker;
use common::until;
use tempfile::TempDir;
use tollgate::app::RunOptions;
use tollgate::app::reload::{Done, Order};
use tollgate::filter::digest::Digest;
use tollgate::filter::rollout::Trigger;

/// A compiler that waits while it is held, and tells when somebody waits.
struct Compiler {
    folder: TempDir,
}

impl Compiler {
    fn new() -> Compiler {
        let compiler = Compiler { folder: tempfile::tempdir().unwrap() };
        let (held, waits, runs) = (compiler.at("held"), compiler.at("waits"), compiler.at("runs"));
        // Half a minute at most, so that nothing is left behind.
        let body = format!(
            "echo >> {runs:?}; i=0; while [ -e {held:?} ] && [ $i -lt 600 ]; do : > {waits:?}; sleep 0.05; i=$((i+1)); done\n\
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
        self.proxy_with("", a, b)
    }

    fn proxy_with(&self, settings: &str, a: &Guest, b: &Guest) -> TestProxy {
        let yaml = yaml(settings, a, b);
        let options = RunOptions { compiler: Some(self.at("program")), ..RunOptions::default() };
        TestProxy::of(prepare_with(&yaml, &options).unwrap_or_else(|error| panic!("{error}")))
    }
}

fn yaml(settings: &str, a: &Guest, b: &Guest) -> String {
    format!(
        "cache: off\n{settings}\nfilters: {{ a: {{ wasm: {:?} }}, b: {{ wasm: {:?} }} }}\n\
         routes: [{{ match: {{ path: /a }}, to: echo, filters: [a] }}, {{ to: echo, filters: [b] }}]",
        a.path(),
        b.path()
    )
}

fn guests() -> (Guest, Guest) {
    (Guest::from_bytes(&speaker("one")), Guest::from_bytes(&speaker("uno")))
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
    let (compiler, (a, b)) = (Compiler::new(), guests());
    let proxy = compiler.proxy(&a, &b);
    proxy.order(Order::Stage("b".into(), speaker("dos").into())).unwrap();
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
    let (compiler, (a, b)) = (Compiler::new(), guests());
    let proxy = compiler.proxy(&a, &b);
    proxy.order(Order::Stage("a".into(), speaker("three").into())).unwrap();
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
    let (compiler, (a, b)) = (Compiler::new(), guests());
    let proxy = compiler.proxy(&a, &b);
    compiler.hold();
    a.replace(&speaker("two"));
    compiler.is_waited_for();

    a.replace(&speaker("three"));
    compiler.release();

    until("the latest module serves", || says(&proxy, "/a") == "three");
    assert!(has_served(&proxy, "a", "two"));
}

#[test]
fn two_files_that_change_at_once_keep_their_order_each() {
    let (compiler, (a, b)) = (Compiler::new(), guests());
    let proxy = compiler.proxy_with("watch: off", &a, &b);
    compiler.hold();
    a.replace(&speaker("two"));
    b.replace(&speaker("dos"));
    proxy.orders().give(Order::Look(vec![a.path().into(), b.path().into()]));
    compiler.is_waited_for();
    let orders = proxy.orders();
    let upload = thread::spawn(move || orders.ask_blocking(Order::Stage("b".into(), speaker("tres").into())));
    compiler.release();

    assert_eq!(upload.join().unwrap().unwrap(), Done::Staged);
    until("both files serve", || says(&proxy, "/a") == "two" && says(&proxy, "/b") == "dos");
    assert!(proxy.plugin("b").staged.is_some());
}

#[test]
fn an_operator_who_is_refused_holds_no_file_up() {
    let (compiler, (a, b)) = (Compiler::new(), guests());
    let proxy = compiler.proxy(&a, &b);
    compiler.hold();
    a.replace(&speaker("two"));
    compiler.is_waited_for();

    proxy.order(Order::Promote("a".into())).unwrap_err();
    proxy.order(Order::Rollback("a".into())).unwrap_err();
    compiler.release();

    until("the compiled module serves", || says(&proxy, "/a") == "two");
}

#[test]
fn the_word_on_one_filter_holds_up_no_other_of_the_same_file() {
    let (compiler, (a, _)) = (Compiler::new(), guests());
    let proxy = compiler.proxy(&a, &a);
    proxy.order(Order::Stage("a".into(), speaker("three").into())).unwrap();
    compiler.hold();
    a.replace(&speaker("two"));
    compiler.is_waited_for();

    proxy.order(Order::Promote("a".into())).unwrap();
    compiler.release();

    until("the other has its module", || says(&proxy, "/b") == "two");
    assert_eq!(says(&proxy, "/a"), "three");
    a.replace(&speaker("four"));
    until("both have what came later", || says(&proxy, "/a") == "four" && says(&proxy, "/b") == "four");
}

#[test]
fn a_reload_that_is_ordered_while_one_is_compiled_reads_files_once_more() {
    let (compiler, (a, b)) = (Compiler::new(), guests());
    let proxy = compiler.proxy_with("watch: off", &a, &b);
    compiler.hold();
    b.replace(&speaker("dos"));
    proxy.orders().give(Order::Reload(Trigger::Signal));
    compiler.is_waited_for();

    a.replace(&speaker("two"));
    proxy.orders().give(Order::Reload(Trigger::Signal));
    compiler.release();

    until("both serve", || says(&proxy, "/a") == "two" && says(&proxy, "/b") == "dos");
}

#[test]
fn what_an_operator_says_is_newer_than_a_reload_that_is_compiled() {
    let (compiler, (a, b)) = (Compiler::new(), guests());
    let proxy = compiler.proxy_with("watch: off", &a, &b);
    proxy.order(Order::Stage("a".into(), speaker("three").into())).unwrap();
    compiler.hold();
    a.replace(&speaker("two"));
    b.replace(&speaker("dos"));
    proxy.orders().give(Order::Reload(Trigger::Signal));
    compiler.is_waited_for();

    proxy.order(Order::Promote("a".into())).unwrap();
    compiler.release();

    until("the reload is through", || says(&proxy, "/b") == "dos");
    assert_eq!(says(&proxy, "/a"), "three");
}

#[test]
fn an_upload_waits_for_the_file_before_it_and_stays() {
    let (compiler, (a, b)) = (Compiler::new(), guests());
    let proxy = compiler.proxy(&a, &b);
    compiler.hold();
    a.replace(&speaker("two"));
    compiler.is_waited_for();

    let orders = proxy.orders();
    let upload = thread::spawn(move || orders.ask_blocking(Order::Stage("a".into(), speaker("three").into())));
    compiler.release();

    assert_eq!(upload.join().unwrap().unwrap(), Done::Staged);
    until("the file serves", || says(&proxy, "/a") == "two");
    assert!(proxy.plugin("a").staged.is_some());
    proxy.order(Order::Promote("a".into())).unwrap();
    assert_eq!(says(&proxy, "/a"), "three");
}

#[test]
fn a_module_is_compiled_within_the_bounds_of_the_configuration_that_brings_it() {
    let (compiler, (a, b)) = (Compiler::new(), guests());
    let proxy = compiler.proxy_with("watch: off\nlimits: { compile_time: 1s }", &a, &b);
    compiler.hold();
    a.replace(&speaker("two"));
    let (orders, longer) = (proxy.orders(), config(&yaml("watch: off\nlimits: { compile_time: 60s }", &a, &b)));
    let change = thread::spawn(move || orders.ask_blocking(Order::Configure(Box::new(longer))));
    compiler.is_waited_for();

    // Longer than the bound before.
    thread::sleep(Duration::from_millis(1500));
    compiler.release();

    assert_eq!(change.join().unwrap().unwrap(), Done::Serving);
    assert_eq!(says(&proxy, "/a"), "two");
}

#[test]
fn a_module_that_is_not_compiled_is_compiled_once_for_all_its_filters() {
    let (compiler, (a, _)) = (Compiler::new(), guests());
    let proxy = compiler.proxy_with("watch: off\nlimits: { compile_time: 1s }", &a, &a);
    compiler.hold();
    a.replace(&speaker("two"));
    let order = proxy.order(Order::Reload(Trigger::Signal));

    let said = order.unwrap_err().to_string();
    assert_eq!(said.matches("its compilation was stopped after 1s").count(), 2, "{said}");
    assert_eq!(fs::read_to_string(compiler.at("runs")).unwrap().lines().count(), 2, "the first module, and this one");
}
