//! How a configuration is read: texts, files and references, what is refused, and what is never shown.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::fs;
use std::path::Path;

use common::config;
use tollgate_config::{Code, Faults, ValueMatch, load, parse};

fn codes(faults: &Faults) -> Vec<Code> {
    faults.iter().map(|fault| fault.code).collect()
}

#[test]
fn what_is_shown_has_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), "s3cret\n").unwrap();
    let text = r#"
admin: { listen: 127.0.0.1:0, token: literal-s3cret-token }
listen: 127.0.0.1:0
routes:
- to: echo
  match: { headers: { authorization: "Bearer ${file:key}" } }
  filters:
  - wasm: a.wasm
    config: { key: "${file:key}", literal: s3cret }
    vm_config: "${file:key}"
    env: { KEY: "${file:key}", OTHER: s3cret }
"#;

    let config = parse(text, &folder.path().join("proxy.yaml")).unwrap();

    let plugin = &config.plugins[0];
    assert_eq!(plugin.config, br#"{"key":"s3cret","literal":"s3cret"}"#);
    assert_eq!(plugin.vm_config, b"s3cret");
    assert_eq!(plugin.env[0], ("KEY".into(), "s3cret".into()));
    let wanted = &config.listeners[0].routes[0].matcher.headers[0].1;
    assert!(matches!(wanted, ValueMatch::Equal(value) if value == "Bearer s3cret"), "{wanted:?}");
    assert!(config.admin_token.as_ref().unwrap().matches(b"literal-s3cret-token"));
    let shown = config.expanded.to_string();
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(!format!("{:?}", config.admin_token).contains("s3cret"));
    assert!(shown.contains("Bearer <redacted>"), "{shown}");
}

#[test]
fn a_message_has_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), "s3cret\n").unwrap();
    let text = "admin: { listen: 127.0.0.1:0, token: '${file:key}' }\nlisten: ${file:key}\nroutes: [{ to: '${file:key}', timeout: '${file:key}' }]\n";

    let faults = parse(text, &folder.path().join("proxy.yaml")).unwrap_err();

    assert!(!faults.to_string().contains("s3cret"), "{faults}");
}

#[test]
fn a_number_may_come_from_a_reference() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("workers"), "3\n").unwrap();
    let text = "workers: ${file:workers}\nlisten: 127.0.0.1:0\nroutes: []\n";

    let config = parse(text, &folder.path().join("proxy.yaml")).unwrap();

    assert_eq!(config.workers.map(|workers| workers.get()), Some(3));
    assert_eq!(config.expanded["workers"], "<redacted>");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let faults = load(Path::new("no/such/file.yaml")).unwrap_err();

    assert_eq!(codes(&faults), [Code::Unreadable]);
    assert!(faults.to_string().starts_with("error[TG0101]: no/such/file.yaml: "), "{faults}");
}

#[test]
fn a_file_of_a_hundred_megabytes_is_refused_by_its_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.yaml");
    fs::File::create(&path).unwrap().set_len(100_000_000).unwrap();

    let faults = load(&path).unwrap_err();

    assert_eq!(codes(&faults), [Code::TooLarge]);
    assert!(faults.to_string().contains("32 MiB of text, this one has 100000000 bytes"), "{faults}");
}

#[test]
fn nobody_waits_for_a_pipe_in_a_reference_or_in_place_of_a_file_that_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let text = format!("listen: 127.0.0.1:0\nroutes: [{{ to: \"${{file:{}}}\" }}]", path.display());

    let again = tollgate_config::text_again(&path).unwrap_err();
    let referred = tollgate_config::parse(&text, Path::new("test.yaml")).unwrap_err();

    assert_eq!(codes(&again), [Code::Unreadable]);
    for faults in [again, referred] {
        assert!(faults.to_string().contains("it is no regular file"), "{faults}");
    }
}

#[test]
fn a_file_that_is_not_utf_8_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latin.yaml");
    fs::write(&path, b"listen: \xff").unwrap();

    let faults = load(&path).unwrap_err();

    assert_eq!(codes(&faults), [Code::NotYaml]);
}

#[test]
fn line_ends_of_other_systems_are_line_ends() {
    let text = fs::read_to_string("tests/good/six_lines.yaml").unwrap().replace('\n', "\r\n");

    assert_eq!(config(&text).plugins[0].config, br#"{"header":"x"}"#);
}

#[test]
fn json_is_yaml() {
    let text = r#"{"listen": "127.0.0.1:0", "routes": [{"to": "echo", "filters": [{"wasm": "a.wasm", "config": {"b": 1, "a": "x\u00e9\/"}}]}]}"#;

    assert_eq!(config(text).plugins[0].config, "{\"b\":1,\"a\":\"xé/\"}".as_bytes());
}

#[test]
fn ten_thousand_routes_are_read_in_a_moment() {
    let mut text = String::from("listen: 127.0.0.1:0\nroutes:\n");
    for number in 0..10_000 {
        let route = format!(
            "- match: {{ path: /{number} }}\n  to: http://10.0.0.1:{}\n  filters: [{{ wasm: a.wasm, config: {{ n: {number} }} }}]\n",
            1 + number % 60_000
        );
        text.push_str(&route);
    }

    let config = config(&text);

    assert_eq!(config.plugins.len(), 10_000);
    assert_eq!(config.plugins[9_999].name, "a-10000");
}

#[test]
fn codes_are_numbered_without_a_gap() {
    let numbers: Vec<u16> = Code::ALL.iter().map(|code| code.number()).collect();

    assert_eq!(numbers, (101..).take(numbers.len()).collect::<Vec<u16>>());
    assert_eq!(Code::UnknownKey.to_string(), "TG0103");
}
