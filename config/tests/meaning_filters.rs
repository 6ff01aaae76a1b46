//! What a configuration means for filters: plugins, chains, and what each may do.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::config;
use tollgate_config::{
    AbiVersion, Allow, Cache, Canary, ClusterId, Config, EmptyBody, Expectation, HeaderPause, HostMatch, Isolation,
    Keeping, Node, OnError, Policy, Quota, Ratio, Rollout, TestRequest, load,
};

/// A configuration of one route to `echo` with these filters, in flow style.
fn chained(filters: &str) -> Config {
    config(&format!("listen: 127.0.0.1:0\nroutes:\n- to: echo\n  filters: {filters}\n"))
}

#[test]
fn a_self_test_is_a_request_with_what_has_to_come_of_it() {
    let text = fs::read_to_string("tests/good/all_keys.yaml").unwrap();

    let config = config(&text);

    let [full, short] = config.plugins[0].selftest.as_slice() else { panic!("two self-tests") };
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let request = TestRequest {
        method: "POST".into(),
        host: "api.local:8080".into(),
        path: "/v1?q=1".into(),
        headers: vec![field("x-key", "k"), field("accept", "*/*")],
        body: b"{}".into(),
    };
    let expect = Expectation {
        status: Some(403),
        headers: vec![field("x-why", "no")],
        upstream_headers: vec![field("x-user", "1")],
    };
    assert_eq!((&full.request, &full.expect), (&request, &expect));
    assert_eq!(short.request, TestRequest::default());
    assert_eq!(short.expect, Expectation { status: Some(204), ..Expectation::default() });
}

#[test]
fn how_a_module_is_replaced_is_read_in_all_its_forms() {
    let config = load(Path::new("tests/good/swaps.yaml")).unwrap();

    let [pinned, by_key, both, tried, policies, inline] = config.plugins.as_slice() else { panic!("six plugins") };
    assert_eq!((pinned.sha256, inline.sha256), (by_key.sha256, both.sha256));
    assert_eq!(pinned.sha256, both.sha256);
    assert_eq!(pinned.sha256.unwrap()[..3], [0x9f, 0x86, 0xd0]);
    assert_eq!(by_key.module, PathBuf::from("tests/good/tollgate-config/a.wasm"));
    let rollout = &tried.rollout;
    let canary = Canary { module: "tests/good/next/a.wasm".into(), sha256: pinned.sha256 };
    assert_eq!((tried.sha256, rollout.canary.as_ref()), (None, Some(&canary)));
    assert_eq!(rollout.share.parts_per_million(), 5_000);
    assert_eq!(rollout.promote_after, Some(Duration::from_secs(600)));
    assert_eq!(rollout.rollback_on, Some(Ratio::of_percent(1)));
    assert_eq!((tried.budget.share, tried.budget.recycle), (Some(Ratio::of_percent(20)), None));
    assert_eq!((tried.isolation, tried.state), (Isolation::Request, Keeping::Keep));
    let by_rule = Rollout { promote_after: Some(Duration::from_secs(600)), ..Rollout::default() };
    assert_eq!(policies.rollout, by_rule);
    let skip = Some(Policy::Skip);
    assert_eq!(policies.on_error, OnError { load: skip, deadline: Policy::Skip, ..OnError::default() });
    assert_eq!(policies.budget.recycle, Some(Ratio::of_percent(60).of(policies.budget.memory)));
    assert!(config.admin_token.unwrap().matches(b"tollgate-config-key"));
    assert_eq!((config.cache, config.watch, config.limits.upgrade_age), (Cache::Off, true, None));
}

#[test]
fn a_vm_is_replaced_above_nine_tenths_of_the_memory_that_is_written() {
    let config = chained("[{ wasm: a.wasm, budget: { memory: 100MiB } }]");

    assert_eq!(config.plugins[0].budget.recycle, Some(90 << 20));
}

#[test]
fn a_plugin_is_the_same_wherever_it_is_written_and_another_with_any_other_setting() {
    let text = fs::read_to_string("tests/good/all_keys.yaml").unwrap();
    let first = config(&text);

    let again = config(&format!("# Lines move.\n\n{text}"));
    let changed = config(&text.replace("recycle: 512MiB", "recycle: 511MiB"));

    assert_ne!(first.plugins[0].place, again.plugins[0].place);
    assert_eq!((&first.plugins, &first.clusters), (&again.plugins, &again.clusters));
    assert_ne!(first.plugins[0], changed.plugins[0]);
    assert!(first.plugins[1].is_same(&changed.plugins[1]));
}

#[test]
fn a_filter_may_do_what_is_written_and_no_more() {
    let text = fs::read_to_string("tests/good/all_keys.yaml").unwrap();

    let config = config(&text);

    let [every, tap] = config.plugins.as_slice() else { panic!("two plugins") };
    assert_eq!((every.abi, every.pause_timeout), (Some(AbiVersion::V0_2_0), Duration::from_secs(90)));
    assert_eq!((every.header_pause, every.empty_body), (HeaderPause::Headers, EmptyBody::Call));
    let resolve = vec![HostMatch::Exact("idp.local".into()), HostMatch::Suffix(".example.com".into())];
    assert_eq!(every.allow, Allow { calls: vec![ClusterId(1), ClusterId(0)], resolve });
    assert_eq!((tap.abi, tap.pause_timeout), (None, Duration::from_secs(60)));
    assert_eq!((tap.header_pause, tap.empty_body), (HeaderPause::Message, EmptyBody::Skip));
    assert_eq!((&tap.allow, tap.quota), (&Allow::default(), Quota::default()));
}

#[test]
fn every_key_of_a_quota_has_its_effect() {
    let text = fs::read_to_string("tests/good/all_keys.yaml").unwrap();

    let quota = config(&text).plugins[0].quota;

    let expected = Quota {
        shared_data_keys: 0,
        shared_data_value: 64 << 10,
        shared_data: 1 << 20,
        queues: 0,
        queue_messages: 1,
        queue_bytes: 2 << 20,
        metric_series: 0,
        log_lines: 1,
        log_burst: 2,
        log_line: 64 << 10,
        callouts_per_callback: 1,
        callouts_per_stream: 2,
        callouts: 0,
        callout_timeout: Duration::from_secs(300),
        callout_body: 3 << 20,
        timers: 0,
        properties: 0,
        property: 1 << 10,
    };
    assert_eq!(quota, expected);
}

#[test]
fn a_quota_keeps_the_defaults_of_what_it_leaves_out() {
    let config = chained("[{ wasm: a.wasm, quota: { callouts: 7, log_lines: 8 } }]");

    assert_eq!(config.plugins[0].quota, Quota { callouts: 7, log_lines: 8, ..Quota::default() });
}

#[test]
fn filters_are_told_about_the_node_and_people_are_not_shown_its_metadata() {
    let text = fs::read_to_string("tests/good/all_keys.yaml").unwrap();

    let config = config(&text);

    assert_eq!((config.node.id.as_str(), config.node.cluster.as_str()), ("edge-1", "edge"));
    let metadata = serde_json::Value::Object(config.node.metadata).to_string();
    assert_eq!(metadata, r#"{"zone":"a","weights":[1,{"b":"tollgate-config"}]}"#);
    let shown = config.expanded["node"].to_string();
    assert_eq!(shown, r#"{"id":"edge-1","cluster":"edge","metadata":{"zone":"<redacted>","weights":"<redacted>"}}"#);
}

#[test]
fn a_node_that_is_not_written_is_empty() {
    assert_eq!(chained("[]").node, Node::default());
    assert_eq!(config("listen: 127.0.0.1:0\nroutes: []\nnode: {}\n").node, Node::default());
}

#[test]
fn a_chain_is_the_filters_of_the_listener_then_those_of_the_route() {
    let text = fs::read_to_string("quickstart.yaml").unwrap();

    let config = config(&text);

    let chains = config.listeners[0]
        .routes
        .iter()
        .map(|route| route.chain.iter().map(|id| config.plugins[id.0].name.as_str()).collect::<Vec<_>>());
    let chains: Vec<_> = chains.collect();
    assert_eq!(chains, [vec!["headers", "headers-2", "api_key"], vec!["headers", "headers-2"]]);
}

#[test]
fn the_configuration_of_a_filter_keeps_its_order_and_its_types() {
    let config = chained("[{ wasm: a.wasm, config: { z: 1, a: [on, true, null, 1.5, ''], on: off, 7: x } }]");

    let expected = r#"{"z":1,"a":["on",true,null,1.5,""],"on":"off","7":"x"}"#;
    assert_eq!(String::from_utf8_lossy(&config.plugins[0].config), expected);
}

#[test]
fn a_text_reaches_the_filter_as_its_own_bytes() {
    let plain = |value: &str| chained(&format!("[{{ wasm: a.wasm, config: {value} }}]")).plugins[0].config.clone();

    assert_eq!(plain("off"), b"off");
    assert_eq!(plain(r#""{\"a\": 1}""#), br#"{"a": 1}"#);
    assert_eq!(plain("5"), b"5");
    assert_eq!(plain("null"), b"null");
    assert_eq!(chained("[{ wasm: a.wasm }]").plugins[0].config, b"");
}

#[test]
fn a_filter_that_no_chain_names_is_no_plugin() {
    let config = config("listen: 127.0.0.1:0\nroutes: []\nfilters: { idle: { wasm: a.wasm } }\n");

    assert!(config.plugins.is_empty());
    assert!(config.expanded["filters"]["idle"].is_object());
}
