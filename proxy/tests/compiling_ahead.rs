//! Compilations that take long, and what goes on meanwhile: the other plugins, and the operator's word.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use common::modules::Guest;
use common::proxy::{TestProxy, config, prepare_with};
use common::swaps::speaker;
use common::until;
use tempfile::TempDir;
use tollgate::app::RunOptions;
use tollgate::app::reload::{Done, Order, Refused};
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
}

fn yaml(settings: &str, a: &Guest, b: &Guest) -> String {
    format!(
        "cache: off\n{settings}\nfilters: {{ a: {{ wasm: {:?} }}, b: {{ wasm: {:?} }} }}\n\
         routes: [{{ match: {{ path: /a }}, to: echo, filters: [a] }}, {{ to: echo, filters: [b] }}]",
        a.path(),
        b.path()
    )
}

/// A proxy whose filters `a` and `b` answer at `/a` and `/b`, out of files that say `one` and `uno`.
struct Scene {
    compiler: Compiler,
    a: Guest,
    b: Guest,
    proxy: TestProxy,
}

impl Scene {
    fn new(settings: &str) -> Scene {
        Scene::with(settings, false)
    }

    /// `shared`: both filters have the first file.
    fn with(settings: &str, shared: bool) -> Scene {
        let (compiler, a, b) =
            (Compiler::new(), Guest::from_bytes(&speaker("one")), Guest::from_bytes(&speaker("uno")));
        let yaml = yaml(settings, &a, if shared { &a } else { &b });
        let options = RunOptions { compiler: Some(compiler.at("program")), ..RunOptions::default() };
        let proxy = TestProxy::of(prepare_with(&yaml, &options).unwrap_or_else(|error| panic!("{error}")));
        Scene { compiler, a, b, proxy }
    }

    /// Has `a` say `two`, and returns while that is compiled.
    fn compile(&self) {
        self.compiler.hold();
        self.a.replace(&speaker("two"));
        self.compiler.is_waited_for();
    }

    fn stage(&self, name: &str, word: &str) {
        let staged = self.proxy.order(Order::Stage(name.into(), speaker(word).into()));
        assert_eq!(staged.unwrap(), Done::Staged);
    }

    fn promote(&self, name: &str) {
        assert_eq!(self.proxy.order(Order::Promote(name.into())).unwrap(), Done::Serving);
    }

    /// Gives an order and waits for nothing but its answer, elsewhere.
    fn ask(&self, order: Order) -> thread::JoinHandle<Result<Done, Refused>> {
        let orders = self.proxy.orders();
        thread::spawn(move || orders.ask_blocking(order))
    }

    fn reload(&self) {
        self.proxy.orders().give(Order::Reload(Trigger::Signal));
    }

    /// What `a` and `b` say.
    fn words(&self) -> [String; 2] {
        ["/a", "/b"].map(|path| self.proxy.get(path).field("x-by").unwrap_or_default().to_owned())
    }

    fn says(&self, words: [&str; 2]) {
        until(&format!("they say {words:?}"), || self.words() == words);
    }

    /// True when a module of that word ever served.
    fn has_served(&self, name: &str, word: &str) -> bool {
        let digest = Some(Digest::of(&speaker(word)));
        self.proxy.plugin(name).history.iter().any(|event| event.what == "serving" && event.digest == digest)
    }
}

#[test]
fn one_plugin_is_swapped_and_rolled_back_while_the_module_of_another_is_compiled() {
    let scene = Scene::new("");
    scene.stage("b", "dos");
    scene.compile();

    scene.promote("b");
    assert_eq!(scene.words(), ["one", "dos"]);
    assert_eq!(scene.proxy.order(Order::Rollback("b".into())).unwrap(), Done::Serving);
    assert_eq!(scene.words(), ["one", "uno"]);

    scene.compiler.release();
    scene.says(["two", "uno"]);
}

#[test]
fn what_an_operator_says_is_newer_than_a_file_that_is_being_compiled() {
    let scene = Scene::new("");
    scene.stage("a", "three");
    scene.compile();

    scene.promote("a");
    scene.compiler.release();
    scene.a.replace(&speaker("four"));

    scene.says(["four", "uno"]);
    assert!(scene.has_served("a", "three") && !scene.has_served("a", "two"));
}

#[test]
fn a_file_that_changes_while_it_is_compiled_comes_to_both_turns() {
    let scene = Scene::new("");
    scene.compile();

    scene.a.replace(&speaker("three"));
    scene.compiler.release();

    scene.says(["three", "uno"]);
    assert!(scene.has_served("a", "two"));
}

#[test]
fn two_files_that_change_at_once_keep_their_order_each() {
    let scene = Scene::new("watch: off");
    scene.compiler.hold();
    scene.a.replace(&speaker("two"));
    scene.b.replace(&speaker("dos"));
    scene.proxy.orders().give(Order::Look(vec![scene.a.path().into(), scene.b.path().into()]));
    scene.compiler.is_waited_for();

    let upload = scene.ask(Order::Stage("b".into(), speaker("tres").into()));
    scene.compiler.release();

    assert_eq!(upload.join().unwrap().unwrap(), Done::Staged);
    scene.says(["two", "dos"]);
    assert!(scene.proxy.plugin("b").staged.is_some());
}

#[test]
fn an_operator_who_is_refused_holds_no_file_up() {
    let scene = Scene::new("");
    scene.compile();

    scene.proxy.order(Order::Promote("a".into())).unwrap_err();
    scene.proxy.order(Order::Rollback("a".into())).unwrap_err();
    scene.compiler.release();

    scene.says(["two", "uno"]);
}

#[test]
fn the_word_on_one_filter_holds_up_no_other_of_the_same_file() {
    let scene = Scene::with("", true);
    scene.stage("a", "three");
    scene.compile();

    scene.promote("a");
    scene.compiler.release();

    scene.says(["three", "two"]);
    scene.a.replace(&speaker("four"));
    scene.says(["four", "four"]);
}

#[test]
fn a_reload_that_is_ordered_while_one_is_compiled_reads_files_once_more() {
    let scene = Scene::new("watch: off");
    scene.compiler.hold();
    scene.b.replace(&speaker("dos"));
    scene.reload();
    scene.compiler.is_waited_for();

    scene.a.replace(&speaker("two"));
    scene.reload();
    scene.compiler.release();

    scene.says(["two", "dos"]);
}

#[test]
fn what_an_operator_says_is_newer_than_a_reload_that_is_compiled() {
    let scene = Scene::new("watch: off");
    scene.stage("a", "three");
    scene.compiler.hold();
    scene.a.replace(&speaker("two"));
    scene.b.replace(&speaker("dos"));
    scene.reload();
    scene.compiler.is_waited_for();

    scene.promote("a");
    scene.compiler.release();

    scene.says(["three", "dos"]);
    assert!(!scene.has_served("a", "two"));
}

#[test]
fn an_upload_waits_for_the_file_before_it_and_stays() {
    let scene = Scene::new("");
    scene.compile();

    let upload = scene.ask(Order::Stage("a".into(), speaker("three").into()));
    scene.compiler.release();

    assert_eq!(upload.join().unwrap().unwrap(), Done::Staged);
    scene.says(["two", "uno"]);
    scene.promote("a");
    assert_eq!(scene.words(), ["three", "uno"]);
}

#[test]
fn a_module_is_compiled_within_the_bounds_of_the_configuration_that_brings_it() {
    let bound = |time: &str| format!("watch: off\nlimits: {{ compile_time: {time} }}");
    let scene = Scene::new(&bound("1s"));
    scene.compiler.hold();
    scene.a.replace(&speaker("two"));
    let change = scene.ask(Order::Configure(Box::new(config(&yaml(&bound("60s"), &scene.a, &scene.b)))));
    scene.compiler.is_waited_for();

    // Elsewhere the bound before has ended one that began later.
    let other = Scene::new(&bound("1s"));
    other.compiler.hold();
    other.a.replace(&speaker("two"));
    let stopped = other.proxy.order(Order::Reload(Trigger::Signal)).unwrap_err().to_string();
    assert!(stopped.contains("its compilation was stopped after 1s"), "{stopped}");
    scene.compiler.release();

    assert_eq!(change.join().unwrap().unwrap(), Done::Serving);
    assert_eq!(scene.words(), ["two", "uno"]);
}

#[test]
fn a_module_that_is_not_compiled_is_compiled_once_for_all_its_filters() {
    let scene = Scene::with("watch: off\nlimits: { compile_time: 1s }", true);
    scene.compiler.hold();
    scene.a.replace(&speaker("two"));

    let said = scene.proxy.order(Order::Reload(Trigger::Signal)).unwrap_err().to_string();

    assert_eq!(said.matches("its compilation was stopped after 1s").count(), 2, "{said}");
    let runs = fs::read_to_string(scene.compiler.at("runs")).unwrap();
    assert_eq!(runs.lines().count(), 2, "the first module, and this one");
}
