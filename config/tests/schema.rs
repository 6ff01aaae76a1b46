//! The schema and the reader agree on whole configurations, not only on keys.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use regex::Regex;
use serde_json::Value;

/// Whether a value fits a schema, as far as the words that ours uses go.
fn fits(value: &Value, schema: &Value, root: &Value) -> bool {
    let Value::Object(schema) = schema else {
        return schema == &Value::Bool(true);
    };
    schema.iter().all(|(word, rule)| match word.as_str() {
        "$ref" => {
            let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
            fits(value, root.pointer(pointer).unwrap(), root)
        }
        "anyOf" => rule.as_array().unwrap().iter().any(|form| fits(value, form, root)),
        "oneOf" => rule.as_array().unwrap().iter().filter(|form| fits(value, form, root)).count() == 1,
        "type" => is_of_type(value, rule.as_str().unwrap()),
        "enum" => rule.as_array().unwrap().contains(value),
        "pattern" => value.as_str().is_some_and(|text| Regex::new(rule.as_str().unwrap()).unwrap().is_match(text)),
        "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
        "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap()),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| fits(item, rule, root))),
        "required" => {
            let has = |key: &Value| value.get(key.as_str().unwrap()).is_some();
            !value.is_object() || rule.as_array().unwrap().iter().all(has)
        }
        "properties" => {
            let entries = value.as_object().into_iter().flatten();
            entries.into_iter().all(|(key, value)| rule.get(key).is_none_or(|rule| fits(value, rule, root)))
        }
        "additionalProperties" => {
            let known = |key: &str| schema.get("properties").is_some_and(|known| known.get(key).is_some());
            let mut others = value.as_object().into_iter().flatten().filter(|(key, _)| !known(key));
            others.all(|(_, value)| fits(value, rule, root))
        }
        "$schema" | "$defs" | "title" | "description" => true,
        other => panic!("the schema uses {other:?}, which this test does not know"),
    })
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        other => panic!("the schema uses the type {other:?}, which this test does not know"),
    }
}

fn allowed(value: &Value) -> bool {
    let schema = tollgate_config::schema();
    fits(value, &schema, &schema)
}

fn read(value: &Value) -> bool {
    tollgate_config::parse(&value.to_string(), Path::new("proxy.json")).is_ok()
}

#[test]
fn the_long_form_of_every_good_configuration_fits_the_schema() {
    for entry in fs::read_dir("tests/good").unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();

        let config = tollgate_config::parse(&text, &path).unwrap();

        // What is redacted is text, which fits where data or text belongs.
        assert!(allowed(&config.expanded), "{}", path.display());
    }
}

#[test]
fn short_forms_fit_the_schema() {
    let value = serde_json::json!({
        "listen": "127.0.0.1:8000",
        "routes": [{
            "match": { "method": "GET" },
            "to": "http://127.0.0.1:8080",
            "filters": ["a", { "use": "a", "config": [1, null] }, { "wasm": "a.wasm", "config": "x" }],
        }],
        "filters": { "a": { "wasm": "a.wasm", "budget": { "time": "${env:PATH}" } } },
    });

    assert!(allowed(&value));
}

#[test]
fn what_the_reader_refuses_for_its_shape_the_schema_refuses_too() {
    let whole = serde_json::json!({
        "workers": 1,
        "admin": { "listen": "127.0.0.1:9901", "token": "0123456789abcdef" },
        "limits": { "idle_timeout": "1s", "buffer": "1KiB", "upgrade_age": "off" },
        "cache": { "dir": "cache" },
        "dns": { "resolver": "dns", "servers": ["10.0.0.10", "[::1]:5353"], "family": "all", "refresh": "1s", "keep": "1h" },
        "watch": "on",
        "listeners": [
            { "listen": "127.0.0.1:0", "routes": [{ "to": "app", "match": { "path": "/" }, "filters": ["a"] }] },
            { "listen": "127.0.0.1:0", "tcp": { "to": "app" } },
        ],
        "filters": { "a": {
            "wasm": { "stable": "a.wasm", "canary": "b.wasm", "share": "0.5%", "rollback_on": { "failures": "1%" } },
            "selftest": [{ "request": { "path": "/a?b" }, "expect": { "status": 200, "headers": { "a": "b" } } }],
            "budget": { "share": "20%", "recycle": "90%" }, "state": "keep", "isolation": "worker",
            "on_error": { "load": "skip", "trap": "deny" }, "env": { "A": "b" }, "abi": "0.2.1", "empty_body": "call",
            "allow": { "calls": ["app"] }, "quota": { "queues": 0, "log_lines": 1, "callout_timeout": "1s" },
        } },
        "clusters": { "app": {
            "hosts": ["10.0.0.1:80", { "host": "a:80", "weight": 2 }],
            "balance": { "maglev": { "cookie": { "name": "a" } } },
            "health": { "http": "/", "statuses": [200, "3xx"] }, "outliers": { "failures": 3 },
            "retry": { "on": ["5xx", 409], "tries": 3 }, "limits": { "requests": 1 }, "dns": { "keep": "1h" },
            "panic": "0%", "slow_start": "off",
        } },
        "telemetry": { "access_log": { "format": "json" } },
        "node": { "id": "a", "metadata": {} },
    });
    assert!(allowed(&whole) && read(&whole));
    let changes = [
        ("/workers", serde_json::json!(0)),
        ("/workers", serde_json::json!("1")),
        ("/workers", Value::Null),
        ("/admin", serde_json::json!(false)),
        ("/admin/listen", serde_json::json!(9901)),
        ("/limits/idle_timeout", serde_json::json!(1)),
        ("/limits/idle_timeout", serde_json::json!("1%")),
        ("/limits/buffer", serde_json::json!("1kb")),
        ("/limits", serde_json::json!({ "buffers": "1KiB" })),
        ("/listeners", serde_json::json!([])),
        ("/listeners/0", serde_json::json!({ "routes": [] })),
        ("/listeners/0/routes", serde_json::json!({})),
        ("/listeners/0/routes/0/match/path", serde_json::json!("x")),
        ("/listeners/0/routes/0/match", serde_json::json!({ "headers": { "a": 1 } })),
        ("/listeners/0/routes/0/match", serde_json::json!({ "headers": { "a": { "present": "yes" } } })),
        ("/listeners/0/routes/0/match", serde_json::json!({ "query": { "a": {} } })),
        ("/listeners/0/routes/0/to", serde_json::json!({ "app": -1 })),
        ("/listeners/0/routes/0", serde_json::json!({})),
        ("/listeners/0/routes/0", serde_json::json!({ "to": "app", "respond": { "status": 200 } })),
        ("/listeners/0/routes/0", serde_json::json!({ "respond": { "status": 99 } })),
        ("/listeners/0/routes/0", serde_json::json!({ "redirect": {} })),
        ("/listeners/0/routes/0", serde_json::json!({ "redirect": { "path": "/", "status": 304 } })),
        ("/listeners/0/routes/0", serde_json::json!({ "to": "app", "stream": "true" })),
        ("/listeners/0/routes/0", serde_json::json!({ "to": "app", "rewrite": {} })),
        ("/listeners/0/routes/0/filters", serde_json::json!([{ "use": "a", "wasm": "a.wasm" }])),
        ("/listeners/0/routes/0/filters", serde_json::json!([1])),
        ("/listeners/1", serde_json::json!({ "listen": "127.0.0.1:0" })),
        ("/listeners/1", serde_json::json!({ "listen": "127.0.0.1:0", "routes": [], "tcp": { "to": "app" } })),
        ("/listeners/1/tcp", serde_json::json!("app")),
        ("/listeners/1/tcp", serde_json::json!({ "filters": [] })),
        ("/filters/a/abi", serde_json::json!(0.2)),
        ("/filters/a/empty_body", serde_json::json!("never")),
        ("/filters/a/allow", serde_json::json!(["app"])),
        ("/filters/a/allow/calls", serde_json::json!("app")),
        ("/filters/a/quota/queues", serde_json::json!(10_001)),
        ("/filters/a/quota/log_lines", serde_json::json!(0)),
        ("/filters/a/quota/callout_timeout", serde_json::json!(1)),
        ("/node/metadata", serde_json::json!("text")),
        ("/filters/a/on_error", serde_json::json!("allow")),
        ("/filters/a/on_error", serde_json::json!(["deny"])),
        ("/filters/a/on_error", serde_json::json!({ "traps": "deny" })),
        ("/filters/a/on_error/load", serde_json::json!("allow")),
        ("/filters/a/wasm", serde_json::json!({ "canary": "b.wasm" })),
        ("/filters/a/wasm/share", serde_json::json!(5)),
        ("/filters/a/wasm/share", serde_json::json!("0.00001%")),
        ("/filters/a/wasm/rollback_on", serde_json::json!("1%")),
        ("/filters/a/wasm/rollback_on", serde_json::json!({})),
        ("/filters/a/state", serde_json::json!("clear")),
        ("/filters/a/isolation", serde_json::json!("vm")),
        ("/filters/a/selftest", serde_json::json!({})),
        ("/filters/a/selftest/0", serde_json::json!({ "request": {} })),
        ("/filters/a/selftest/0/expect", serde_json::json!({})),
        ("/filters/a/selftest/0/expect/status", serde_json::json!(199)),
        ("/filters/a/selftest/0/request/path", serde_json::json!("a")),
        ("/filters/a/budget/share", serde_json::json!("on")),
        ("/filters/a/budget/recycle", serde_json::json!(5)),
        ("/cache", serde_json::json!("on")),
        ("/cache", serde_json::json!({})),
        ("/watch", serde_json::json!(true)),
        ("/limits/upgrade_age", serde_json::json!("none")),
        ("/admin/token", serde_json::json!(1)),
        ("/filters/a/env/A", serde_json::json!(1)),
        ("/filters/a", serde_json::json!({})),
        ("/clusters/app/hosts", serde_json::json!([])),
        ("/clusters/app/hosts/1", serde_json::json!({ "weight": 2 })),
        ("/clusters/app/hosts/1/weight", serde_json::json!(0)),
        ("/clusters/app/balance", serde_json::json!("fastest")),
        ("/clusters/app/balance", serde_json::json!({})),
        ("/clusters/app/balance/maglev", serde_json::json!({ "source": false })),
        ("/clusters/app/balance/maglev", serde_json::json!({ "source": true, "header": "a" })),
        ("/clusters/app/health", serde_json::json!({ "interval": "1s" })),
        ("/clusters/app/health", serde_json::json!({ "http": "/", "tcp": true })),
        ("/clusters/app/health/statuses", serde_json::json!([600])),
        ("/clusters/app/health/statuses", serde_json::json!([])),
        ("/clusters/app/outliers", serde_json::json!("on")),
        ("/clusters/app/retry/on", serde_json::json!(["2xx"])),
        ("/clusters/app/retry/tries", serde_json::json!(11)),
        ("/clusters/app/limits", serde_json::json!({ "request": 1 })),
        ("/clusters/app/dns", serde_json::json!({ "refresh": 5 })),
        ("/clusters/app/dns", serde_json::json!({ "servers": [] })),
        ("/dns", serde_json::json!("system")),
        ("/dns/resolver", serde_json::json!("off")),
        ("/dns/family", serde_json::json!("ipv5")),
        ("/dns/servers", serde_json::json!(["10.0.0.10", 53])),
        ("/clusters/app/panic", serde_json::json!(50)),
        ("/clusters/app/slow_start", serde_json::json!("on")),
        ("/telemetry", serde_json::json!({ "traces": {} })),
    ];
    for (pointer, change) in changes {
        let mut value = whole.clone();
        *value.pointer_mut(pointer).unwrap() = change.clone();

        assert!(!read(&value), "the reader takes {change} at {pointer}");
        assert!(!allowed(&value), "the schema takes {change} at {pointer}");
    }
}
