//! What the reader and the schema must agree on, and what YAML may not smuggle in.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::error::Code;

/// Every mapping of the language, by the name it has in the schema.
const MAPPINGS: [(&str, &[&str], &[&str]); 47] = [
    ("", File::KEYS, File::LATER),
    ("Node", Node::KEYS, Node::LATER),
    ("AdminListen", AdminListen::KEYS, AdminListen::LATER),
    ("CacheDir", CacheDir::KEYS, CacheDir::LATER),
    ("Limits", Limits::KEYS, Limits::LATER),
    ("Listener", Listener::KEYS, Listener::LATER),
    ("Tcp", Tcp::KEYS, Tcp::LATER),
    ("ListenerTls", ListenerTls::KEYS, ListenerTls::LATER),
    ("Certificate", Certificate::KEYS, Certificate::LATER),
    ("ClusterTls", ClusterTls::KEYS, ClusterTls::LATER),
    ("ProxySenders", ProxySenders::KEYS, ProxySenders::LATER),
    ("ListenerLimits", ListenerLimits::KEYS, ListenerLimits::LATER),
    ("Route", Route::KEYS, Route::LATER),
    ("Match", Match::KEYS, Match::LATER),
    ("Test", action::Test::KEYS, action::Test::LATER),
    ("Respond", Respond::KEYS, Respond::LATER),
    ("Redirect", Redirect::KEYS, Redirect::LATER),
    ("Rewrite", Rewrite::KEYS, Rewrite::LATER),
    ("Replacement", action::Replacement::KEYS, action::Replacement::LATER),
    ("HeaderEdits", HeaderEdits::KEYS, HeaderEdits::LATER),
    ("Edits", action::Edits::KEYS, action::Edits::LATER),
    ("Interception", intercept::Interception::KEYS, intercept::Interception::LATER),
    ("Http", Http::KEYS, Http::LATER),
    ("Forwarded", http::Forwarded::KEYS, http::Forwarded::LATER),
    ("Filter", Filter::KEYS, Filter::LATER),
    ("Wasm", Wasm::KEYS, Wasm::LATER),
    ("Rollback", filter::Rollback::KEYS, filter::Rollback::LATER),
    ("Policies", Policies::KEYS, Policies::LATER),
    ("SelfTest", SelfTest::KEYS, SelfTest::LATER),
    ("Request", Request::KEYS, Request::LATER),
    ("Expect", Expect::KEYS, Expect::LATER),
    ("Use", Use::KEYS, Use::LATER),
    ("Budget", Budget::KEYS, Budget::LATER),
    ("Allow", Allow::KEYS, Allow::LATER),
    ("Quota", Quota::KEYS, Quota::LATER),
    ("Cluster", Cluster::KEYS, Cluster::LATER),
    ("HostEntry", cluster::HostEntry::KEYS, cluster::HostEntry::LATER),
    ("Hashed", cluster::Hashed::KEYS, cluster::Hashed::LATER),
    ("Hash", cluster::Hash::KEYS, cluster::Hash::LATER),
    ("Cookie", cluster::Cookie::KEYS, cluster::Cookie::LATER),
    ("Dns", dns::Dns::KEYS, dns::Dns::LATER),
    ("ClusterLimits", cluster::ClusterLimits::KEYS, cluster::ClusterLimits::LATER),
    ("Health", cluster::Health::KEYS, cluster::Health::LATER),
    ("Ejection", cluster::Ejection::KEYS, cluster::Ejection::LATER),
    ("Retry", cluster::Retry::KEYS, cluster::Retry::LATER),
    ("Telemetry", Telemetry::KEYS, Telemetry::LATER),
    ("AccessLog", AccessLog::KEYS, AccessLog::LATER),
];

fn keys(schema: &Value) -> Vec<&str> {
    let properties = schema["properties"].as_object().expect("a mapping has properties");
    properties.keys().map(String::as_str).collect()
}

#[test]
fn the_schema_has_the_keys_that_the_reader_takes_and_no_others() {
    let schema = crate::schema();
    let mut described: BTreeMap<&str, &Value> = BTreeMap::from([("", &schema)]);
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        described.insert(name, definition);
    }

    assert_eq!(described.len(), MAPPINGS.len());
    for (name, taken, _) in MAPPINGS {
        let mut described = keys(described[name]);
        let mut taken = taken.to_vec();
        described.sort_unstable();
        taken.sort_unstable();
        assert_eq!(described, taken, "{name}");
    }
}

#[test]
fn the_schema_refuses_other_keys_and_describes_each() {
    let schema = crate::schema();
    let definitions = schema["$defs"].as_object().unwrap().values();

    for definition in definitions.chain([&schema]) {
        assert_eq!(definition["additionalProperties"], false);
        for (key, property) in definition["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{key}");
        }
    }
}

#[test]
fn a_key_is_of_this_version_or_of_a_later_one_never_of_both() {
    for (name, taken, later) in MAPPINGS {
        for key in later {
            assert!(!taken.contains(key), "{key} of {name}");
        }
    }
}

fn codes(text: &str) -> Vec<Code> {
    match crate::parse(text, Path::new("proxy.yaml")) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(|fault| fault.code).collect(),
    }
}

/// A configuration whose only filter is configured with this flow value.
fn configured(value: &str) -> String {
    format!("listen: 127.0.0.1:0\nroutes:\n- to: echo\n  filters: [{{ wasm: a.wasm, config: {value} }}]\n")
}

#[test]
fn a_text_has_its_bound_and_no_byte_more() {
    let text = configured("x");
    let padded = |length: usize| format!("{text}#{}", "x".repeat(length - text.len() - 1));

    assert_eq!(codes(&padded(yaml::TEXT)), []);
    assert_eq!(codes(&padded(yaml::TEXT + 1)), [Code::TooLarge]);
}

#[test]
fn a_value_is_nested_to_its_bound_and_no_deeper() {
    // Five levels are above the value.
    let nested = |depth: usize| configured(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));

    assert_eq!(codes(&nested(59)), []);
    assert_eq!(codes(&nested(60)), [Code::TooLarge]);
    assert_eq!(codes(&nested(100_000)), [Code::TooLarge]);
}

#[test]
fn aliases_that_multiply_are_refused_in_a_sentence() {
    let mut text = String::from("a: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..20 {
        let previous = format!("*a{}", level - 1);
        let items = [previous.as_str(); 10].join(", ");
        text.push_str(&format!("k{level}: &a{level} [{items}]\n"));
    }

    assert_eq!(codes(&text), [Code::TooLarge]);
}

#[test]
fn aliases_cannot_go_around_the_bound_of_depth() {
    let mut text = String::from("a: &a0 [x]\n");
    for level in 1..80 {
        text.push_str(&format!("k{level}: &a{level} [*a{}]\n", level - 1));
    }

    assert_eq!(codes(&text), [Code::TooLarge]);
}

#[test]
fn many_values_are_refused_in_a_sentence() {
    let items = "x,".repeat(1_100_000);

    assert_eq!(codes(&configured(&format!("[{items}]"))), [Code::TooLarge]);
}

#[test]
fn an_alias_stands_for_its_value() {
    let text =
        "listen: 127.0.0.1:0\nroutes:\n- to: echo\n  filters: [{ wasm: a.wasm, config: { a: &x [1], b: *x } }]\n";

    let config = crate::parse(text, Path::new("proxy.yaml")).unwrap();

    assert_eq!(config.plugins[0].config, br#"{"a":[1],"b":[1]}"#);
}
