//! Bodies and configuration.

use tollgate_abi::testing::RecordingStream;
use tollgate_abi::{BufferType, PluginSettings};

use super::plain;
use crate::common::{SHOW, request, request_with, start_with, strict};

fn body_of(bytes: &[u8]) -> RecordingStream {
    plain().with_buffer(BufferType::RequestBody, bytes)
}

fn get_bytes(start: u32, max: u32) -> String {
    format!(
        "(call $tell (call $proxy_get_buffer_bytes
            (i32.const 0) (i32.const {start}) (i32.const {max}) (i32.const 32) (i32.const 36)))
         {SHOW}"
    )
}

#[test]
fn a_range_of_a_body_is_cut_to_what_is_there() {
    for (start, max, expected) in [(0, 100, "abcdef"), (2, 3, "cde"), (4, 9, "ef"), (6, 1, ""), (9, 1, ""), (2, 0, "")]
    {
        let ran = request("", &get_bytes(start, max), body_of(b"abcdef"));

        assert_eq!((ran.told(), ran.lines()), (vec![0], vec![expected.to_owned()]), "{start} {max}");
    }
}

#[test]
fn a_range_past_four_gigabytes_means_to_the_end_unless_strict() {
    let lenient = request("", &get_bytes(3, u32::MAX), body_of(b"abcdef"));
    let exact = request_with("", &get_bytes(3, u32::MAX), body_of(b"abcdef"), strict());

    assert_eq!((lenient.told(), lenient.lines()), (vec![0], vec!["def".to_owned()]));
    assert_eq!(exact.told(), [2]);
}

#[test]
fn a_buffer_that_does_not_exist_is_not_found_and_an_unknown_one_a_bad_argument() {
    let get = |buffer: u32| {
        format!(
            "(call $tell (call $proxy_get_buffer_bytes
                (i32.const {buffer}) (i32.const 0) (i32.const 1) (i32.const 32) (i32.const 36)))
             (call $tell (call $proxy_get_buffer_status (i32.const {buffer}) (i32.const 32) (i32.const 36)))"
        )
    };

    let ran = request("", &(get(1) + &get(9)), body_of(b"abcdef"));

    assert_eq!(ran.told(), [1, 1, 2, 2]);
}

#[test]
fn the_status_of_a_buffer_is_its_size_and_no_flags() {
    let ran = request(
        "",
        "(i32.store (i32.const 36) (i32.const -1))
         (call $tell (call $proxy_get_buffer_status (i32.const 0) (i32.const 32) (i32.const 36)))
         (call $tell (i32.load (i32.const 32))) (call $tell (i32.load (i32.const 36)))",
        body_of(b"abcdef"),
    );

    assert_eq!(ran.told(), [0, 6, 0]);
}

#[test]
fn bytes_are_prepended_appended_injected_and_replaced() {
    let cases = [
        (0, 0, "XYabcdef"),
        (6, 0, "abcdefXY"),
        (100, 100, "abcdefXY"),
        (0, 100, "XY"),
        (2, 0, "abXYcdef"),
        (2, 3, "abXYf"),
        (4, 100, "abcdXY"),
    ];
    for (start, size, expected) in cases {
        let ran = request(
            r#"(data (i32.const 4096) "XY")"#,
            &format!(
                "(call $tell (call $proxy_set_buffer_bytes
                    (i32.const 0) (i32.const {start}) (i32.const {size}) (i32.const 4096) (i32.const 2)))"
            ),
            body_of(b"abcdef"),
        );

        assert_eq!(ran.told(), [0]);
        let body = String::from_utf8_lossy(&ran.stream.buffers[&BufferType::RequestBody]);
        assert_eq!(body, expected, "{start} {size}");
    }
}

#[test]
fn writes_to_configuration_and_to_absent_buffers_are_refused() {
    let set = |buffer: u32| {
        format!(
            "(call $tell (call $proxy_set_buffer_bytes
                (i32.const {buffer}) (i32.const 0) (i32.const 0) (i32.const 4096) (i32.const 2)))"
        )
    };
    let body = set(1) + &set(6) + &set(7) + &set(9);

    let lenient = request("", &body, plain());
    let exact = request_with("", &body, plain(), strict());

    assert_eq!(lenient.told(), [0, 0, 0, 2]);
    assert_eq!(lenient.refused(), ["proxy_set_buffer_bytes"; 3]);
    assert_eq!(exact.told(), [1, 2, 2, 2]);
}

#[test]
fn both_configurations_are_buffers_that_any_callback_reads() {
    let get = |buffer: u32| {
        format!(
            "(call $tell (call $proxy_get_buffer_bytes
                (i32.const {buffer}) (i32.const 0) (i32.const 100) (i32.const 32) (i32.const 36))) {SHOW}"
        )
    };
    let settings = PluginSettings {
        vm_config: b"of the vm".to_vec(),
        config: b"of the plugin".to_vec(),
        ..PluginSettings::default()
    };

    let ran = request_with("", &(get(6) + &get(7)), plain(), settings);

    assert_eq!(ran.told(), [0, 0]);
    assert_eq!(ran.lines(), ["of the vm", "of the plugin"]);
}

#[test]
fn the_configuration_of_abi_0_1_0_is_the_plugins_while_configuring_and_the_vms_otherwise() {
    let get = format!("(call $tell (call $proxy_get_configuration (i32.const 32) (i32.const 36))) {SHOW}");
    let body = format!(
        r#"(func (export "proxy_on_vm_start") (param i32 i32) (result i32) {get} (i32.const 1))
        (func (export "proxy_on_configure") (param i32 i32) (result i32) {get} (i32.const 1))"#
    );
    let settings = PluginSettings {
        vm_config: b"of the vm".to_vec(),
        config: b"of the plugin".to_vec(),
        ..PluginSettings::default()
    };

    let vm = start_with(&body, settings);

    let lines: Vec<String> = vm.host().text().into_iter().filter(|line| line.starts_with("of")).collect();
    assert_eq!(lines, ["of the vm", "of the plugin"]);
}
