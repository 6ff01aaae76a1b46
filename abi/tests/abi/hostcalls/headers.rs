//! Header and trailer maps.

use tollgate_abi::testing::{RecordingStream, guest_of};
use tollgate_abi::{MapType, PluginSettings, Refusal, VecHeaderMap, pairs};

use super::plain;
use crate::common::{self, SHOW, request, request_with, strict};

#[test]
fn the_first_value_of_a_name_is_found_whatever_its_case() {
    let ran = request(
        r#"(data (i32.const 4096) "ACCEPT")"#,
        &format!(
            "(call $tell (call $proxy_get_header_map_value
                (i32.const 0) (i32.const 4096) (i32.const 6) (i32.const 32) (i32.const 36))) {SHOW}"
        ),
        plain(),
    );

    assert_eq!(ran.told(), [0]);
    assert_eq!(ran.lines(), ["a"]);
}

#[test]
fn an_empty_value_is_pointer_zero_and_no_allocation() {
    let ran = request(
        r#"(data (i32.const 4096) "e")"#,
        "(i32.store (i32.const 32) (i32.const -1)) (i32.store (i32.const 36) (i32.const -1))
         (call $tell (call $proxy_get_header_map_value
            (i32.const 0) (i32.const 4096) (i32.const 1) (i32.const 32) (i32.const 36)))
         (call $tell (i32.load (i32.const 32))) (call $tell (i32.load (i32.const 36)))
         (call $tell (global.get $next))",
        RecordingStream::request([("e", "")]),
    );

    assert_eq!(ran.told(), [0, 0, 0, 65536]);
}

const GET_ABSENT: &str = "
    (i32.store (i32.const 36) (i32.const -1))
    (call $tell (call $proxy_get_header_map_value
        (i32.const 0) (i32.const 4096) (i32.const 6) (i32.const 32) (i32.const 36)))
    (call $tell (i32.load (i32.const 36)))";

#[test]
fn an_absent_name_is_not_found() {
    let ran = request(r#"(data (i32.const 4096) "absent")"#, GET_ABSENT, plain());

    assert_eq!(ran.told(), [1, u32::MAX]);
}

#[test]
fn an_absent_name_is_empty_in_abi_0_1_0() {
    let body = format!(
        r#"(data (i32.const 4096) "absent")
        (func (export "proxy_on_request_headers") (param i32 i32) (result i32) {GET_ABSENT} (i32.const 0))"#
    );
    let module = common::compile(&guest_of("proxy_abi_version_0_1_0", &body)).unwrap();
    let mut vm = common::try_start(&module, PluginSettings::default()).unwrap();

    vm.begin_stream(plain(), 4, true).1.unwrap();

    assert_eq!(vm.host().told(), [0, 0]);
}

#[test]
fn a_value_of_a_map_that_does_not_exist_is_not_found() {
    let ran = request(
        r#"(data (i32.const 4096) "x")"#,
        "(call $tell (call $proxy_get_header_map_value
            (i32.const 2) (i32.const 4096) (i32.const 1) (i32.const 32) (i32.const 36)))",
        plain(),
    );

    assert_eq!(ran.told(), [1]);
}

const FIELD: &str = r#"(data (i32.const 4096) "accept") (data (i32.const 4112) "new")"#;

#[test]
fn a_field_is_added_beside_its_namesakes() {
    let ran = request(
        FIELD,
        "(call $tell (call $proxy_add_header_map_value
            (i32.const 0) (i32.const 4096) (i32.const 6) (i32.const 4112) (i32.const 3)))",
        plain(),
    );

    let expected = [(":path", "/pets"), ("Accept", "a"), ("x", "1"), ("accept", "b"), ("accept", "new")];
    assert_eq!(ran.told(), [0]);
    assert_eq!(ran.stream.maps[&MapType::RequestHeaders], VecHeaderMap::new(expected));
}

#[test]
fn a_field_is_replaced_and_stays_alone() {
    let ran = request(
        FIELD,
        "(call $tell (call $proxy_replace_header_map_value
            (i32.const 0) (i32.const 4096) (i32.const 6) (i32.const 4112) (i32.const 3)))",
        plain(),
    );

    let expected = [(":path", "/pets"), ("Accept", "new"), ("x", "1")];
    assert_eq!(ran.told(), [0]);
    assert_eq!(ran.stream.maps[&MapType::RequestHeaders], VecHeaderMap::new(expected));
}

#[test]
fn every_field_of_a_name_is_removed_and_an_absent_one_is_fine() {
    let remove = "(call $tell (call $proxy_remove_header_map_value (i32.const 0) (i32.const 4096) (i32.const 6)))";
    let ran = request(FIELD, &format!("{remove} {remove}"), plain());

    assert_eq!(ran.told(), [0, 0]);
    assert_eq!(ran.stream.maps[&MapType::RequestHeaders], VecHeaderMap::new([(":path", "/pets"), ("x", "1")]));
}

#[test]
fn pairs_come_in_order_with_their_exact_size() {
    let ran = request(
        "",
        &format!(
            "(call $tell (call $proxy_get_header_map_pairs (i32.const 0) (i32.const 32) (i32.const 36)))
             (call $tell (call $proxy_get_header_map_size (i32.const 0) (i32.const 40)))
             (call $tell (i32.load (i32.const 40))) {SHOW}"
        ),
        plain(),
    );

    let bytes = pairs::encode(&ran.stream.maps[&MapType::RequestHeaders]);
    assert_eq!(ran.told(), [0, 0, u32::try_from(bytes.len()).unwrap()]);
    assert_eq!(ran.vm.host().lines.last().unwrap().1, bytes);
}

#[test]
fn pairs_of_a_map_that_does_not_exist_are_empty() {
    let ran = request(
        "",
        "(i32.store (i32.const 36) (i32.const -1)) (i32.store (i32.const 40) (i32.const -1))
         (call $tell (call $proxy_get_header_map_pairs (i32.const 2) (i32.const 32) (i32.const 36)))
         (call $tell (i32.load (i32.const 36)))
         (call $tell (call $proxy_get_header_map_size (i32.const 2) (i32.const 40)))
         (call $tell (i32.load (i32.const 40)))",
        plain(),
    );

    assert_eq!(ran.told(), [0, 0, 0, 0]);
}

/// `{key: "k", value: "v"}` at 4096, 16 bytes.
const ONE_PAIR: &str = r#"(data (i32.const 4096) "\01\00\00\00\01\00\00\00\01\00\00\00k\00v\00")"#;

#[test]
fn pairs_replace_the_whole_map() {
    let ran = request(
        ONE_PAIR,
        "(call $tell (call $proxy_set_header_map_pairs (i32.const 0) (i32.const 4096) (i32.const 16)))",
        plain(),
    );

    assert_eq!(ran.told(), [0]);
    assert_eq!(ran.stream.maps[&MapType::RequestHeaders], VecHeaderMap::new([("k", "v")]));
}

#[test]
fn malformed_pairs_change_nothing_and_are_reported() {
    let body = "(call $tell (call $proxy_set_header_map_pairs (i32.const 0) (i32.const 4096) (i32.const 15)))";

    let lenient = request(ONE_PAIR, body, plain());
    let exact = request_with(ONE_PAIR, body, plain(), strict());

    assert_eq!((lenient.told(), exact.told()), (vec![0], vec![2]));
    assert_eq!((&lenient.stream, &exact.stream), (&plain(), &plain()));
    assert_eq!(lenient.vm.host().refused, exact.vm.host().refused);
    assert!(matches!(lenient.vm.host().refused[..], [("proxy_set_header_map_pairs", Refusal::Malformed(_))]));
}

#[test]
fn a_refused_field_leaves_the_map_alone_and_is_reported() {
    let data = r#"(data (i32.const 4096) "x") (data (i32.const 4112) "1\0d\0ay: 2")"#;
    let body = "(call $tell (call $proxy_replace_header_map_value
        (i32.const 0) (i32.const 4096) (i32.const 1) (i32.const 4112) (i32.const 7)))";

    let lenient = request(data, body, plain());
    let exact = request_with(data, body, plain(), strict());

    assert_eq!((lenient.told(), exact.told()), (vec![0], vec![2]));
    assert_eq!((&lenient.stream, &exact.stream), (&plain(), &plain()));
    assert_eq!(lenient.vm.host().refused, [("proxy_replace_header_map_value", Refusal::Value("x".into()))]);
}

#[test]
fn changes_to_a_map_that_does_not_exist_are_refused() {
    let body = "
        (call $tell (call $proxy_add_header_map_value (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1)))
        (call $tell (call $proxy_remove_header_map_value (i32.const 2) (i32.const 0) (i32.const 1)))
        (call $tell (call $proxy_set_header_map_pairs (i32.const 2) (i32.const 0) (i32.const 0)))";

    let ran = request("", body, plain());

    assert_eq!(ran.told(), [0, 0, 0]);
    assert_eq!(
        ran.refused(),
        ["proxy_add_header_map_value", "proxy_remove_header_map_value", "proxy_set_header_map_pairs"]
    );
}

#[test]
fn an_unknown_map_is_a_bad_argument_everywhere() {
    let body = "
        (call $tell (call $proxy_get_header_map_pairs (i32.const 8) (i32.const 32) (i32.const 36)))
        (call $tell (call $proxy_set_header_map_pairs (i32.const 8) (i32.const 0) (i32.const 0)))
        (call $tell (call $proxy_get_header_map_value (i32.const 8) (i32.const 0) (i32.const 1) (i32.const 32) (i32.const 36)))
        (call $tell (call $proxy_add_header_map_value (i32.const 8) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1)))
        (call $tell (call $proxy_replace_header_map_value (i32.const 8) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1)))
        (call $tell (call $proxy_remove_header_map_value (i32.const 8) (i32.const 0) (i32.const 1)))
        (call $tell (call $proxy_get_header_map_size (i32.const 8) (i32.const 32)))";

    assert_eq!(request("", body, plain()).told(), [2; 7]);
}

#[test]
fn a_field_name_at_64_kib_is_taken_and_one_byte_more_is_refused() {
    let body = "
        (memory.fill (i32.const 131072) (i32.const 97) (i32.const 65537))
        (call $tell (call $proxy_add_header_map_value
            (i32.const 0) (i32.const 131072) (i32.const 65536) (i32.const 0) (i32.const 0)))
        (call $tell (call $proxy_add_header_map_value
            (i32.const 0) (i32.const 131072) (i32.const 65537) (i32.const 0) (i32.const 0)))";

    let ran = request("", body, RecordingStream::request([]));

    assert_eq!(ran.told(), [0, 0]);
    assert_eq!(ran.stream.maps[&MapType::RequestHeaders].fields().len(), 1);
    assert_eq!(ran.vm.host().refused, [("proxy_add_header_map_value", Refusal::Limit("bytes of a field"))]);
}
