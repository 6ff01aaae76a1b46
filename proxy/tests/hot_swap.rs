//! Swapping a filter's module while exchanges run: everyone sees one generation, and nobody sees an older one than before.
//! What becomes of exchanges that are under way is in `hot_swap_streams`, of modules that are bad in `bad_successors`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use common::modules::{Guest, probes_with};
use common::proxy::TestProxy;
use common::swaps::{Looker, module, speaker, stamper, under_load, variant};
use common::until;
use tollgate::app::reload::{Done, Order, Refused};
use tollgate::filter::rollout::Trigger;
use tollgate_config::Ratio;

/// Swaps in the tests that count them; `make soak` runs a thousand.
const SWAPS: usize = 60;

fn proxy(guest: &Guest, settings: &str) -> TestProxy {
    TestProxy::with(&format!(
        "filters: {{ f: {{ wasm: {:?}{settings} }} }}\nroutes: [{{ to: echo, filters: [f] }}]",
        guest.path()
    ))
}

/// The same without anybody who follows files.
fn unwatched(guest: &Guest) -> TestProxy {
    TestProxy::with(&format!(
        "watch: off\nworkers: 2\nfilters: {{ f: {{ wasm: {:?} }} }}\nroutes: [{{ to: echo, filters: [f] }}]",
        guest.path()
    ))
}

fn speaks(proxy: &TestProxy) -> String {
    proxy.get("/").field("x-by").unwrap_or_default().to_owned()
}

fn numbered(number: usize) -> Vec<u8> {
    stamper(&format!("{number:04}"))
}

#[test]
fn an_uploaded_module_serves_once_it_is_promoted() {
    let guest = Guest::from_bytes(&speaker("one"));
    let proxy = proxy(&guest, "");
    assert_eq!(speaks(&proxy), "one");

    assert_eq!(proxy.order(Order::Stage("f".into(), speaker("two").into())).unwrap(), Done::Staged);
    assert_eq!(speaks(&proxy), "one");
    assert_eq!(proxy.order(Order::Promote("f".into())).unwrap(), Done::Serving);

    assert_eq!(speaks(&proxy), "two");
    assert_eq!(proxy.plugin("f").serving.unwrap().number, 2);
}

#[test]
fn a_rollback_brings_the_module_before_back() {
    let guest = Guest::from_bytes(&speaker("one"));
    let proxy = proxy(&guest, "");
    proxy.order(Order::Stage("f".into(), speaker("two").into())).unwrap();
    proxy.order(Order::Promote("f".into())).unwrap();

    assert_eq!(proxy.order(Order::Rollback("f".into())).unwrap(), Done::Serving);

    assert_eq!(speaks(&proxy), "one");
    assert!(matches!(proxy.order(Order::Rollback("f".into())), Err(Refused::Nothing(..))));
}

/// Starts until an exchange was in it: then the data that it shares says that it is not to start again.
const ONCE: &str = r#"(module
    (import "env" "proxy_get_shared_data" (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_shared_data" (func $put (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "once")
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 4096))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
        (call $get (i32.const 0) (i32.const 4) (i32.const 64) (i32.const 68) (i32.const 72)))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $put (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4) (i32.const 0)))
        (i32.const 0)))"#;

#[test]
fn a_rollback_starts_nothing_that_could_fail() {
    let guest = Guest::from_wat(ONCE);
    let proxy = proxy(&guest, "");
    assert_eq!(proxy.get("/").status(), 200);
    let starts = proxy.order(Order::Stage("f".into(), variant(&fs::read(guest.path()).unwrap(), 1).into()));
    assert!(starts.is_err(), "another start of it fails");
    proxy.order(Order::Stage("f".into(), speaker("two").into())).unwrap();
    proxy.order(Order::Promote("f".into())).unwrap();
    assert_eq!(speaks(&proxy), "two");

    assert_eq!(proxy.order(Order::Rollback("f".into())).unwrap(), Done::Serving);

    assert_eq!((proxy.get("/").status(), speaks(&proxy)), (200, String::new()));
}

#[test]
fn a_replaced_generation_is_gone_when_its_last_exchange_is() {
    let guest = Guest::from_bytes(&speaker("one"));
    let proxy = proxy(&guest, "");
    speaks(&proxy);

    guest.replace(&speaker("two"));
    assert_eq!(proxy.order(guest.look()).unwrap(), Done::Serving);

    until("only the new generation has a VM", || {
        proxy.plugin("f").draining.is_empty() && proxy.metric("tollgate_filter_instances", &[]) == 1.0
    });
    assert_eq!(speaks(&proxy), "two");
}

#[test]
fn swaps_under_load_fail_mix_and_turn_back_nothing() {
    let guest = Guest::from_bytes(&numbered(0));
    let proxy = unwatched(&guest);

    let heard = under_load(proxy.address(), || {
        for number in 1..=SWAPS {
            guest.replace(&numbered(number));
            let done = proxy.order(guest.look()).unwrap();
            assert!(matches!(done, Done::Serving | Done::Waiting), "{done:?}");
            until("the new module serves", || speaks(&proxy) == format!("{number:04}"));
        }
    });

    assert_eq!(proxy.plugin("f").serving.unwrap().number, u64::try_from(SWAPS).unwrap() + 1);
    assert_eq!(proxy.metric("tollgate_filter_on_error_total", &[]), 0.0);
    assert_eq!(proxy.metric("tollgate_filter_failures_total", &[]), 0.0);
    assert!(heard.answers > SWAPS, "{}", heard.answers);
    until("the replaced generations have ended", || {
        proxy.plugin("f").draining.is_empty() && proxy.metric("tollgate_filter_instances", &[]) == 2.0
    });
}

#[test]
fn swaps_back_and_forth_between_two_modules_fail_and_mix_nothing() {
    let guest = Guest::from_bytes(&stamper("a"));
    let proxy = unwatched(&guest);
    let stop = AtomicBool::new(false);

    let answers = thread::scope(|scope| {
        let client = scope.spawn(|| {
            let (mut looker, mut answers) = (Looker::new(proxy.address()), 0);
            while !stop.load(SeqCst) {
                // Here words do not grow.
                looker.last.clear();
                looker.look();
                answers += 1;
            }
            answers
        });
        let swapped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for number in 1..=SWAPS {
                let word = if number % 2 == 0 { "a" } else { "b" };
                guest.replace(&stamper(word));
                proxy.order(guest.look()).unwrap();
                until("the other module serves", || speaks(&proxy) == word);
            }
        }));
        stop.store(true, SeqCst);
        let answers = client.join().expect("a client that saw nothing wrong");
        swapped.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        answers
    });

    assert!(answers > 0);
    assert_eq!(proxy.metric("tollgate_filter_on_error_total", &[]), 0.0);
}

/// The shortest time between two changes: there are fifty a second at most.
const INTERVAL: Duration = Duration::from_millis(20);

/// How long these changes take, given as fast as they are carried out.
fn took(proxy: &TestProxy, orders: impl IntoIterator<Item = Order>) -> Duration {
    let begun = Instant::now();
    for order in orders {
        assert_eq!(proxy.order(order).unwrap(), Done::Serving);
    }
    begun.elapsed()
}

/// What the plugin went through, latest first.
fn history(proxy: &TestProxy, name: &str) -> Vec<(&'static str, Option<u64>)> {
    proxy.plugin(name).history.iter().map(|event| (event.what, event.generation)).collect()
}

#[test]
fn promotions_come_at_most_fifty_a_second_and_none_of_them_is_lost() {
    let guest = Guest::from_bytes(&speaker("old"));
    let names: Vec<_> = (0..10).map(|number| format!("f{number}")).collect();
    let filter = |name: &String| format!("{name}: {{ wasm: {:?} }}", guest.path());
    let route = |name: &String| format!("{{ match: {{ path: /{name} }}, to: echo, filters: [{name}] }}");
    let listed = |one: &dyn Fn(&String) -> String| names.iter().map(one).collect::<Vec<_>>().join(", ");
    let yaml = format!("watch: off\nfilters: {{ {} }}\nroutes: [{}]", listed(&filter), listed(&route));
    let proxy = TestProxy::with(&yaml);
    for name in &names {
        // All that takes time is done here, so that only the pace is left.
        assert_eq!(proxy.order(Order::Stage(name.clone(), speaker(name).into())).unwrap(), Done::Staged);
    }

    let took = took(&proxy, names.iter().map(|name| Order::Promote(name.clone())));

    assert!(took >= INTERVAL * 9, "{took:?}");
    for name in &names {
        assert_eq!(history(&proxy, name), [("serving", Some(2)), ("staged", Some(2)), ("serving", Some(1))]);
        assert_eq!(proxy.get(&format!("/{name}")).field("x-by"), Some(name.as_str()));
    }
}

#[test]
fn rollbacks_come_at_most_fifty_a_second_and_the_last_one_serves() {
    let guest = Guest::from_bytes(&speaker("0"));
    let proxy = unwatched(&guest);
    for word in ["1", "2", "3"] {
        proxy.order(Order::Stage("f".into(), speaker(word).into())).unwrap();
        assert_eq!(proxy.order(Order::Promote("f".into())).unwrap(), Done::Serving);
    }

    let took = took(&proxy, (0..3).map(|_| Order::Rollback("f".into())));

    // From the last promotion on.
    assert!(took >= INTERVAL * 2, "{took:?}");
    let back = [7, 6, 5].map(|number| ("rolled back", Some(number)));
    assert_eq!(history(&proxy, "f")[..3], back);
    assert_eq!(speaks(&proxy), "0");
}

#[test]
fn one_plugin_is_changed_as_often_as_it_is_told_and_no_faster() {
    let guest = Guest::from_bytes(&speaker("one"));
    let proxy = unwatched(&guest);
    proxy.order(Order::Stage("f".into(), speaker("two").into())).unwrap();
    let begun = Instant::now();

    for percent in 1..=10 {
        let share = Some(Ratio::of_percent(percent));
        assert_eq!(proxy.order(Order::Canary("f".into(), share)).unwrap(), Done::Canary);
    }
    assert_eq!(proxy.order(Order::Promote("f".into())).unwrap(), Done::Serving);

    let took = begun.elapsed();
    assert!(took >= INTERVAL * 10, "{took:?}");
    let happened: Vec<_> = history(&proxy, "f").iter().map(|(what, _)| *what).collect();
    assert_eq!(happened, [vec!["serving"], vec!["canary"; 10], vec!["staged", "serving"]].concat());
    assert_eq!(speaks(&proxy), "two");
}

#[test]
fn files_that_are_followed_are_swapped_under_load_like_any_other() {
    let guest = Guest::from_bytes(&numbered(0));
    let proxy = proxy(&guest, "");

    under_load(proxy.address(), || {
        for number in 1..=10 {
            guest.replace(&numbered(number));
            until("the new module serves", || speaks(&proxy) == format!("{number:04}"));
        }
    });

    assert_eq!(proxy.metric("tollgate_filter_on_error_total", &[]), 0.0);
    let view = proxy.plugin("f");
    assert!(view.history.iter().take(10).all(|event| event.trigger == Trigger::File), "{:?}", view.history);
}

/// What becomes of a file when `change` gets its path and bytes that say `two`.
fn triggered(change: impl Fn(&std::path::Path, &[u8])) {
    let guest = Guest::from_bytes(&speaker("one"));
    let proxy = proxy(&guest, "");
    assert_eq!(speaks(&proxy), "one");

    change(guest.path().as_ref(), &speaker("two"));

    until("the new module serves", || speaks(&proxy) == "two");
    until("that is told as the file's doing", || proxy.plugin("f").history[0].trigger == Trigger::File);
}

#[test]
fn a_module_that_is_edited_in_place_is_swapped() {
    triggered(|path, bytes| fs::write(path, bytes).unwrap());
}

#[test]
fn a_module_that_is_deleted_and_made_again_is_swapped() {
    triggered(|path, bytes| {
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
    });
}

#[test]
fn a_module_behind_a_link_that_turns_elsewhere_is_swapped() {
    // As a Kubernetes ConfigMap is mounted: guest.wasm → ..data/guest.wasm, ..data → a folder of the time.
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, word) in [("..1", "one"), ("..2", "two")] {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("guest.wasm"), speaker(word)).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/guest.wasm", at("guest.wasm")).unwrap();
    let module = at("guest.wasm").display().to_string();
    let proxy = TestProxy::with(&format!("routes: [{{ to: echo, filters: [{{ wasm: {module:?} }}] }}]"));
    assert_eq!(speaks(&proxy), "one");

    symlink("..2", at("..tmp")).unwrap();
    fs::rename(at("..tmp"), at("..data")).unwrap();

    until("the new module serves", || speaks(&proxy) == "two");
}

#[test]
fn a_file_that_is_written_again_as_it_was_changes_nothing() {
    let guest = Guest::from_bytes(&speaker("one"));
    let proxy = proxy(&guest, "");

    guest.replace(&speaker("one"));

    assert_eq!(proxy.order(guest.look()).unwrap(), Done::Unchanged);
    assert_eq!(proxy.plugin("f").serving.unwrap().number, 1);
}

#[test]
fn what_was_uploaded_serves_until_the_file_says_something_new() {
    let guest = Guest::from_bytes(&speaker("file"));
    let proxy = proxy(&guest, "");
    proxy.order(Order::Stage("f".into(), speaker("upload").into())).unwrap();
    proxy.order(Order::Promote("f".into())).unwrap();

    assert_eq!(proxy.order(Order::Reload(Trigger::Admin)).unwrap(), Done::Serving);
    assert_eq!(speaks(&proxy), "upload");
    guest.replace(&speaker("newer"));
    assert_eq!(proxy.order(guest.look()).unwrap(), Done::Serving);

    assert_eq!(speaks(&proxy), "newer");
}

/// Says in `x-by` how many requests this VM has seen, as a digit.
fn counter(byte: u8) -> Vec<u8> {
    let counts = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (i32.store8 (i32.const 16) (i32.add (i32.load8_u (i32.const 16)) (i32.const 1))) (i32.const 0))"#;
    variant(&module("0", counts), byte)
}

#[test]
fn generations_never_share_memory() {
    let guest = Guest::from_bytes(&counter(1));
    let proxy = proxy(&guest, "");
    assert_eq!([speaks(&proxy), speaks(&proxy)], ["1", "2"]);

    guest.replace(&counter(2));
    assert_eq!(proxy.order(guest.look()).unwrap(), Done::Serving);
    assert_eq!(speaks(&proxy), "1");
    assert_eq!(proxy.order(Order::Rollback("f".into())).unwrap(), Done::Serving);

    // What comes back is the module, not the VM that served before.
    assert_eq!(speaks(&proxy), "1");
}

/// One probe `f` that keeps what `commands` say.
fn keeper(state: &str, word: &str) -> String {
    let settings = format!("budget: {{ time: 1s }}, state: {state}");
    let config = format!(
        "{{ configure: [\"queue-register q\"], request_headers: [\"metric counter hits 1\"], \
           response_headers: [\"add response-headers x-by {word}\"] }}"
    );
    let filters = probes_with(&settings, &[("f", &config)]);
    format!("{filters}routes: [{{ to: echo, filters: [f] }}]")
}

/// What the shared data, the queue and the metric of the plugin hold.
fn kept(proxy: &TestProxy) -> [String; 3] {
    let answer = proxy.ask(
        "/",
        "x-probe-response-headers: shared-get k -> response-headers x-data; queue-get q -> response-headers x-item; \
         metric-get counter hits -> response-headers x-hits\r\n",
    );
    ["x-data", "x-item", "x-hits"].map(|name| answer.field(name).unwrap_or_default().to_owned())
}

fn fill(proxy: &TestProxy) {
    let answer = proxy.ask("/", "x-probe-request-headers: shared-set k v; queue-put q item\r\n");
    assert_eq!(answer.field("x-by"), Some("one"));
}

#[test]
fn what_a_plugin_keeps_survives_a_swap() {
    let proxy = TestProxy::with(&keeper("keep", "one"));
    fill(&proxy);

    proxy.configure(&keeper("keep", "two")).unwrap();

    assert_eq!(speaks(&proxy), "two");
    assert_eq!(kept(&proxy), ["v", "item", "3"]);
}

#[test]
fn what_a_plugin_keeps_is_gone_after_a_swap_that_resets_it() {
    let proxy = TestProxy::with(&keeper("reset", "one"));
    fill(&proxy);

    proxy.configure(&keeper("reset", "two")).unwrap();

    assert_eq!(speaks(&proxy), "two");
    let [data, item, hits] = kept(&proxy);
    assert!(data.starts_with("status "), "{data}");
    assert!(item.starts_with("status "), "{item}");
    assert_eq!(hits, "2");
}

#[test]
fn a_swap_that_fails_resets_nothing() {
    let guest = Guest::from_bytes(&fs::read(common::modules::filter("probe")).unwrap());
    let proxy = proxy(
        &guest,
        ", state: reset, budget: { time: 1s }, config: { configure: [\"queue-register q\"], \
        response_headers: [\"add response-headers x-by one\"] }",
    );
    fill(&proxy);

    guest.replace(b"not a module");
    assert!(proxy.order(guest.look()).is_err());

    let [data, item, _] = kept(&proxy);
    assert_eq!([data, item], ["v", "item"]);
}

#[test]
fn a_configuration_that_is_refused_bounds_nothing_of_what_serves() {
    let bad = Guest::from_bytes(b"nonsense");
    let yaml = |quota: &str, more: &str| {
        let config = "{ response_headers: [\"add response-headers x-by one\"] }";
        let filters = probes_with(&format!("budget: {{ time: 1s }}, quota: {{ {quota} }}"), &[("f", config)]);
        let also = if more.is_empty() { "" } else { ", bad" };
        format!("{filters}{more}routes: [{{ to: echo, filters: [f{also}] }}]")
    };
    let proxy = TestProxy::with(&yaml("metric_series: 10, shared_data_keys: 10", ""));

    let bad = format!("  bad: {{ wasm: {:?} }}\n", bad.path());
    assert!(proxy.configure(&yaml("metric_series: 1, shared_data_keys: 1", &bad)).is_err());

    let answer = proxy.ask(
        "/",
        "x-probe-request-headers: shared-set k v; shared-set l v; metric counter one 1; metric counter two 1\r\n\
         x-probe-response-headers: shared-get l -> response-headers x-data; \
         metric-get counter two -> response-headers x-hits\r\n",
    );
    assert_eq!((answer.field("x-data"), answer.field("x-hits")), (Some("v"), Some("1")));
}
