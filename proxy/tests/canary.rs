//! A module that is tried with a share of the exchanges: who gets it, how both are told apart, and what ends the trial.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use common::modules::Guest;
use common::proxy::TestProxy;
use common::swaps::{module, speaker};
use common::until;
use tollgate::app::reload::{Done, Order, Refused};
use tollgate::filter::rollout::Trigger;
use tollgate_config::Ratio;

/// A plugin with this `wasm` and further settings.
fn proxy(wasm: &str) -> TestProxy {
    TestProxy::with(&yaml(wasm))
}

fn yaml(wasm: &str) -> String {
    format!("watch: off\nfilters: {{ f: {{ wasm: {wasm} }} }}\nroutes: [{{ to: echo, filters: [f] }}]")
}

fn wasm(stable: &Guest, canary: &Guest, rules: &str) -> String {
    format!("{{ stable: {:?}, canary: {:?}{rules} }}", stable.path(), canary.path())
}

/// What so many exchanges saw, on one connection.
fn words(proxy: &TestProxy, exchanges: usize) -> Vec<String> {
    let mut client = proxy.client();
    let one = |_| {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let answer = client.answer();
        answer.field("x-by").map_or_else(|| answer.status().to_string(), str::to_owned)
    };
    (0..exchanges).map(one).collect()
}

fn count(words: &[String], word: &str) -> usize {
    words.iter().filter(|known| *known == word).count()
}

fn exchanges(proxy: &TestProxy, track: &str) -> f64 {
    proxy.metric("tollgate_filter_exchanges_total", &["filter=\"f\"", &format!("track=\"{track}\"")])
}

/// Traps at every request.
fn trapping() -> Vec<u8> {
    module("bad", r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable)"#)
}

#[test]
fn a_canary_of_the_configuration_gets_exactly_its_share_evenly_spread() {
    let (stable, canary) = (Guest::from_bytes(&speaker("old")), Guest::from_bytes(&speaker("new")));
    let proxy = proxy(&wasm(&stable, &canary, ", share: 5%"));

    let seen = words(&proxy, 200);

    assert_eq!((count(&seen, "old"), count(&seen, "new")), (190, 10));
    assert!(seen.chunks(20).all(|twenty| count(twenty, "new") == 1), "{seen:?}");
    assert_eq!((exchanges(&proxy, "stable"), exchanges(&proxy, "canary")), (190.0, 10.0));
    for track in ["stable", "canary"] {
        let labels = ["filter=\"f\"", &format!("track=\"{track}\"")];
        assert_eq!(proxy.metric("tollgate_filter_instances", &labels), 1.0);
        assert_eq!(proxy.metric("tollgate_filter_module_info", &labels), 1.0);
    }
    let view = proxy.plugin("f");
    assert_eq!(view.canary.unwrap().1, Ratio::of_percent(5));
    assert_eq!(view.serving.unwrap().number, 1);
}

#[test]
fn an_exchange_that_a_plugin_sees_twice_sees_one_of_its_generations() {
    let (stable, canary) = (Guest::from_bytes(&speaker("old")), Guest::from_bytes(&speaker("new")));
    let yaml = yaml(&wasm(&stable, &canary, ", share: 50%"));
    let proxy = TestProxy::with(&yaml.replace("filters: [f]", "filters: [f, f]"));

    let seen: Vec<_> = (0..20).map(|_| proxy.get("/").all("x-by").join(" ")).collect();

    let count = |words: &str| seen.iter().filter(|known| *known == words).count();
    assert_eq!((count("old old"), count("new new")), (10, 10), "{seen:?}");
}

#[test]
fn an_uploaded_module_is_tried_with_the_share_that_is_asked_for() {
    let stable = Guest::from_bytes(&speaker("old"));
    let proxy = proxy(&format!("{:?}", stable.path()));
    assert!(matches!(proxy.order(Order::Canary("f".into(), None)), Err(Refused::Nothing(..))));
    proxy.order(Order::Stage("f".into(), speaker("new").into())).unwrap();

    assert_eq!(proxy.order(Order::Canary("f".into(), Some(Ratio::of_percent(50)))).unwrap(), Done::Canary);

    assert_eq!(count(&words(&proxy, 100), "new"), 50);
    assert!(proxy.plugin("f").staged.is_none());
    // The share can be changed while it is tried.
    assert_eq!(proxy.order(Order::Canary("f".into(), Some(Ratio::of_percent(10)))).unwrap(), Done::Canary);
    assert_eq!(count(&words(&proxy, 100), "new"), 10);
}

#[test]
fn a_canary_that_is_promoted_serves_everybody_and_the_one_before_can_come_back() {
    let stable = Guest::from_bytes(&speaker("old"));
    let proxy = proxy(&format!("{:?}", stable.path()));
    proxy.order(Order::Stage("f".into(), speaker("new").into())).unwrap();
    proxy.order(Order::Canary("f".into(), None)).unwrap();

    assert_eq!(proxy.order(Order::Promote("f".into())).unwrap(), Done::Serving);

    assert_eq!(count(&words(&proxy, 20), "new"), 20);
    assert!(proxy.plugin("f").canary.is_none());
    assert_eq!(proxy.order(Order::Rollback("f".into())).unwrap(), Done::Serving);
    assert_eq!(count(&words(&proxy, 20), "old"), 20);
}

#[test]
fn a_canary_that_is_rolled_back_is_seen_by_nobody_any_more() {
    let stable = Guest::from_bytes(&speaker("old"));
    let proxy = proxy(&format!("{:?}", stable.path()));
    proxy.order(Order::Stage("f".into(), speaker("new").into())).unwrap();
    proxy.order(Order::Canary("f".into(), Some(Ratio::of_percent(50)))).unwrap();
    assert_eq!(count(&words(&proxy, 10), "new"), 5);

    proxy.order(Order::Rollback("f".into())).unwrap();

    assert_eq!(count(&words(&proxy, 20), "old"), 20);
    let view = proxy.plugin("f");
    assert_eq!((view.serving.unwrap().number, view.history[0].what), (1, "canary rolled back"));
    until("its VM is gone", || proxy.metric("tollgate_filter_instances", &[]) == 1.0);
}

#[test]
fn a_canary_that_stands_its_time_takes_over_by_itself() {
    let (stable, canary) = (Guest::from_bytes(&speaker("old")), Guest::from_bytes(&speaker("new")));
    let proxy = proxy(&wasm(&stable, &canary, ", share: 10%, promote_after: 300ms"));

    until("the canary serves", || proxy.plugin("f").canary.is_none());

    assert_eq!(count(&words(&proxy, 20), "new"), 20);
    let event = proxy.plugin("f").history[0].clone();
    assert_eq!((event.what, event.trigger), ("serving", Trigger::Rule));
}

#[test]
fn rules_are_asked_however_many_orders_come() {
    let (stable, canary) = (Guest::from_bytes(&speaker("old")), Guest::from_bytes(&speaker("new")));
    let proxy = proxy(&wasm(&stable, &canary, ", share: 10%, promote_after: 300ms"));
    let (orders, stop) = (proxy.orders(), AtomicBool::new(false));

    let promoted = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(SeqCst) {
                let asked = orders.ask_blocking(Order::Look(vec!["of-no-plugin".into()]));
                assert_eq!(asked.unwrap(), Done::Unchanged);
            }
        });
        let promoted = catch_unwind(AssertUnwindSafe(|| {
            until("the canary serves", || proxy.plugin("f").canary.is_none());
        }));
        stop.store(true, SeqCst);
        promoted
    });

    assert!(promoted.is_ok());
}

#[test]
fn what_is_uploaded_during_a_trial_does_not_take_over_in_the_canarys_place() {
    let (stable, canary) = (Guest::from_bytes(&speaker("old")), Guest::from_bytes(&speaker("new")));
    let proxy = proxy(&wasm(&stable, &canary, ", share: 10%, promote_after: 1s"));
    proxy.order(Order::Stage("f".into(), speaker("untried").into())).unwrap();

    until("the canary serves", || proxy.plugin("f").canary.is_none());

    assert_eq!(count(&words(&proxy, 20), "new"), 20);
    assert!(proxy.plugin("f").staged.is_some(), "it waits for its own promotion");
}

#[test]
fn a_canary_that_fails_too_much_goes_by_itself_and_stays_away() {
    let (stable, canary) = (Guest::from_bytes(&speaker("old")), Guest::from_bytes(&trapping()));
    let yaml = yaml(&wasm(&stable, &canary, ", share: 50%, rollback_on: { failures: 5% }"));
    let proxy = TestProxy::with(&yaml);
    words(&proxy, 2);
    assert!(proxy.plugin("f").canary.is_some(), "one failure is no percentage yet");

    until("the canary is rolled back", || {
        words(&proxy, 4);
        proxy.plugin("f").canary.is_none()
    });

    assert_eq!(count(&words(&proxy, 20), "old"), 20);
    let event = proxy.plugin("f").history[0].clone();
    assert_eq!((event.what, event.trigger), ("canary rolled back", Trigger::Rule));
    // Its file is as it was, so nothing brings it back.
    assert_eq!(proxy.configure(&yaml).unwrap(), Done::Serving);
    assert!(proxy.plugin("f").canary.is_none());
    // A file that holds something new is tried again.
    canary.replace(&speaker("new"));
    assert_eq!(proxy.order(canary.look()).unwrap(), Done::Canary);
    assert_eq!(count(&words(&proxy, 20), "new"), 10);
}

#[test]
fn failures_of_a_trial_before_are_not_those_of_the_next() {
    let stable = Guest::from_bytes(&speaker("old"));
    let proxy = proxy(&format!("{{ stable: {:?}, rollback_on: {{ failures: 5% }} }}", stable.path()));
    proxy.order(Order::Stage("f".into(), trapping().into())).unwrap();
    proxy.order(Order::Canary("f".into(), Some(Ratio::of_percent(50)))).unwrap();
    until("the first canary is rolled back", || {
        words(&proxy, 4);
        proxy.plugin("f").canary.is_none()
    });

    proxy.order(Order::Stage("f".into(), speaker("new").into())).unwrap();
    proxy.order(Order::Canary("f".into(), Some(Ratio::of_percent(50)))).unwrap();
    assert_eq!(count(&words(&proxy, 200), "new"), 100);

    // The rules have been asked since, as a promotion by order shows.
    assert_eq!(proxy.order(Order::Promote("f".into())).unwrap(), Done::Serving);
    assert_eq!(count(&words(&proxy, 20), "new"), 20);
}

#[test]
fn a_new_stable_module_ends_the_trial() {
    let stable = Guest::from_bytes(&speaker("old"));
    let proxy = proxy(&format!("{:?}", stable.path()));
    proxy.order(Order::Stage("f".into(), speaker("new").into())).unwrap();
    proxy.order(Order::Canary("f".into(), Some(Ratio::of_percent(50)))).unwrap();

    stable.replace(&speaker("newer"));
    assert_eq!(proxy.order(stable.look()).unwrap(), Done::Serving);

    assert_eq!(count(&words(&proxy, 20), "newer"), 20);
    assert!(proxy.plugin("f").canary.is_none());
}

#[test]
fn a_canary_that_does_not_run_leaves_the_stable_one_alone_and_is_told() {
    let (stable, canary) = (Guest::from_bytes(&speaker("old")), Guest::from_bytes(&speaker("new")));
    let proxy = proxy(&wasm(&stable, &canary, ", share: 50%"));

    canary.replace(b"nonsense");
    assert!(proxy.order(canary.look()).is_err());

    let seen = words(&proxy, 20);
    assert_eq!((count(&seen, "old"), count(&seen, "new")), (10, 10));
    let error = proxy.plugin("f").last_error.unwrap();
    assert_eq!((error.step, error.origin), ("check", canary.path()));
}

#[test]
fn a_canary_that_does_not_run_is_told_where_the_proxy_may_start_without_it() {
    let (stable, canary) = (Guest::from_bytes(&speaker("old")), Guest::from_bytes(b"nonsense"));
    let wasm = wasm(&stable, &canary, ", share: 50%");

    let proxy = proxy(&format!("{wasm}, on_error: {{ load: skip }}"));

    assert_eq!(count(&words(&proxy, 10), "old"), 10);
    assert_eq!(proxy.plugin("f").last_error.unwrap().origin, canary.path());
}

#[test]
fn a_rollback_goes_back_one_generation_after_the_other() {
    let stable = Guest::from_bytes(&speaker("1"));
    let proxy = proxy(&format!("{:?}", stable.path()));
    for word in ["2", "3", "4", "5"] {
        proxy.order(Order::Stage("f".into(), speaker(word).into())).unwrap();
        proxy.order(Order::Promote("f".into())).unwrap();
    }
    assert_eq!(proxy.plugin("f").previous.len(), 3);

    for word in ["4", "3", "2"] {
        until("there is room", || proxy.plugin("f").draining.is_empty());
        assert_eq!(proxy.order(Order::Rollback("f".into())).unwrap(), Done::Serving);
        assert_eq!(words(&proxy, 1), [word]);
    }

    assert!(matches!(proxy.order(Order::Rollback("f".into())), Err(Refused::Nothing(..))));
}

#[test]
fn a_filter_that_is_not_there_is_named_with_those_that_are() {
    let stable = Guest::from_bytes(&speaker("1"));
    let proxy = proxy(&format!("{:?}", stable.path()));

    let refused = proxy.order(Order::Promote("g".into())).unwrap_err();

    assert_eq!(refused.to_string(), "there is no filter \"g\"; there are: f");
}
