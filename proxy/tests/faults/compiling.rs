//! A compiler that is killed, takes too long or too much: what served before serves on.

use std::fs;
use std::path::PathBuf;

use tollgate::app::RunOptions;
use tollgate::filter::rollout::View;

use crate::common::modules::{Guest, endless_to_compile};
use crate::common::process::Tollgate;
use crate::common::proxy::{TestProxy, prepare_with};
use crate::common::swaps::{module, speaker};
use crate::common::until;
use crate::{Asking, config, until_it_says};

/// The process that compiles for `parent` under a time of so many seconds, once there is one.
fn compiler_of(parent: u32, seconds: u32) -> u32 {
    let (parent, seconds) = (parent.to_string(), format!("--seconds\0{seconds}\0"));
    let mut found = None;
    until("there is a compiler", || {
        let numbers =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        found = numbers.into_iter().find(|number: &u32| {
            let read = |name: &str| fs::read_to_string(format!("/proc/{number}/{name}")).unwrap_or_default();
            // The parent is the second field behind the name.
            let stat = read("stat");
            let above = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(1));
            above == Some(parent.as_str()) && read("cmdline").contains(&seconds)
        });
        found.is_some()
    });
    found.unwrap()
}

fn kill(process: u32) {
    let told = std::process::Command::new("kill").args(["-KILL", &process.to_string()]).status().unwrap();
    assert!(told.success());
}

/// Swaps to a module whose compilation comes to nothing, and back to a good one; tells how the plugin stood in between.
fn after(bad: &[u8], limits: &str, meanwhile: impl FnOnce()) -> View {
    let guest = Guest::from_bytes(&speaker("one"));
    let yaml = config(&guest, &format!("cache: off\nlimits: {{ {limits} }}"));
    let options = RunOptions { compiler: Some(env!("CARGO_BIN_EXE_tollgate").into()), ..RunOptions::default() };
    let proxy = TestProxy::of(prepare_with(&yaml, &options).unwrap());
    let asking = Asking::of(proxy.address());

    guest.replace(bad);
    meanwhile();
    until("the plugin has an error", || proxy.plugin("mine").last_error.is_some());
    let view = proxy.plugin("mine");
    assert_eq!(asking.heard(), ["one"]);

    let asking = Asking::of(proxy.address());
    guest.replace(&speaker("two"));
    until_it_says(proxy.address(), "two");
    assert_eq!(asking.heard(), ["one", "two"]);
    assert!(proxy.plugin("mine").last_error.is_none());
    view
}

/// What is said about the step that failed.
fn said(view: &View) -> (&'static str, &'static str, String) {
    let error = view.last_error.clone().unwrap();
    let message = error.message.lines().next().unwrap_or_default().to_owned();
    assert_eq!(view.serving.as_ref().unwrap().number, 1);
    (error.step, error.code, message)
}

#[test]
fn a_compiler_that_is_killed_at_a_swap_changes_nothing() {
    let view = after(&endless_to_compile(), "compile_time: 611s", || kill(compiler_of(std::process::id(), 611)));

    let (step, code, message) = said(&view);
    assert_eq!((step, code), ("compile", "TG0207"));
    assert!(message.contains("its compilation was ended by signal 9 (SIGKILL)"), "{message}");
}

#[test]
fn a_module_that_takes_too_long_to_compile_at_a_swap_changes_nothing() {
    let view = after(&endless_to_compile(), "compile_time: 3s", || ());

    let (step, code, message) = said(&view);
    assert_eq!((step, code), ("compile", "TG0207"));
    assert!(message.contains("its compilation was stopped after 3s"), "{message}");
}

#[test]
fn a_module_that_takes_too_much_to_compile_at_a_swap_changes_nothing() {
    let many = "(func (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))".repeat(40_000);

    let view = after(&module("large", &many), "compile_memory: 24MiB, compile_time: 10m", || ());

    let (step, code, message) = said(&view);
    assert_eq!((step, code), ("compile", "TG0207"));
    assert!(message.contains("its compilation needs more than the 24MiB of memory"), "{message}");
}

/// What a proxy exits with when it gets this signal while a module is compiled that takes the compiler minutes. By the
/// end, the compiler is gone, too.
fn code_after(signal: &str) -> Option<i32> {
    let guest = Guest::from_bytes(&speaker("one"));
    let limits = "cache: off\nlimits: { compile_time: 10m, drain_timeout: 1s }";
    let mut tollgate = Tollgate::run(&config(&guest, limits));
    until_it_says(tollgate.address_after("listening on http://"), "one");
    guest.replace(&endless_to_compile());
    let compiler = compiler_of(tollgate.id(), 600);

    tollgate.signal(signal);

    let code = tollgate.code();
    let left = PathBuf::from(format!("/proc/{compiler}/cmdline"));
    // A process that has ended has no command line, before it is waited for and after.
    until("the compiler is gone", || fs::read(&left).unwrap_or_default().is_empty());
    code
}

#[test]
fn a_compiler_does_not_outlive_the_proxy() {
    // Killed by a signal: there is no code.
    assert_eq!(code_after("KILL"), None);
}

#[test]
fn a_compiler_that_does_not_end_does_not_keep_the_proxy_from_ending() {
    assert_eq!(code_after("TERM"), Some(0));
}
