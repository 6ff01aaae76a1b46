//! The example of an embedder does what it says, and is as small as it says.

use tollgate_abi::testing::guest;

use crate::common::on_request;

#[path = "../../examples/embed.rs"]
#[expect(dead_code, unreachable_pub, reason = "it is a program of its own, and its main is for cargo run")]
mod embed;

fn fields(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_example_shows_what_its_own_filter_makes_of_headers() {
    let bytes = wat::parse_str(embed::FILTER).unwrap();

    let lines = embed::filtered(&bytes, fields(&[(":path", "/pets"), ("x", "1")])).unwrap();

    assert_eq!(lines, [":path: /pets", "x: 1", "x-tollgate: paid", "goes on"]);
}

#[test]
fn the_example_shows_pauses_and_answers() {
    let zeros = "(i32.const 0)".repeat(7);
    let answer = on_request("", &format!("(drop (call $proxy_send_local_response (i32.const 403) {zeros}))"));
    let pause = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))"#;

    assert_eq!(embed::filtered(&guest(&answer), Vec::new()).unwrap(), ["answered with 403"]);
    assert_eq!(embed::filtered(&guest(pause), Vec::new()).unwrap(), ["waits"]);
}

#[test]
fn the_example_says_why_a_filter_does_not_load_or_fails() {
    let refused = embed::filtered(b"no module", Vec::new()).unwrap_err();
    let failed = embed::filtered(&guest(&on_request("", "unreachable")), Vec::new()).unwrap_err();

    assert_eq!(refused.to_string(), "not a wasm module: it begins with \"no m\"");
    assert_eq!(failed.to_string(), "trap in request_headers: wasm trap: wasm `unreachable` instruction executed");
}

#[test]
fn the_example_has_less_than_a_hundred_lines_and_no_runtime() {
    let source = include_str!("../../examples/embed.rs");

    assert!(source.lines().count() < 100, "{}", source.lines().count());
    assert!(!source.contains("tokio") && !source.contains("async"));
}
