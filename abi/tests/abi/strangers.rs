//! Modules that other hosts were meant for: exports that only they call, markers that only they know.

use std::sync::Arc;

use tollgate_abi::testing::{RecordingHost, RecordingStream, guest_of, wat};
use tollgate_abi::{
    AbiVersion, Action, CallbackKind, Module, ModuleError, ModuleLimits, PluginSettings, StreamCallback, Vm,
};

use crate::common::{ENGINE, Lines, compile, try_start};

const MARKERS: [&str; 3] = ["proxy_abi_version_0_1_0", "proxy_abi_version_0_2_0", "proxy_abi_version_0_2_1"];

/// What loads with the right type and is refused with another one, because Envoy refuses it too.
const TYPED: [(&str, &str, &str); 4] = [
    (
        "proxy_on_request_metadata",
        "(param i32 i32) (result i32) (call $tell (i32.const 9)) (i32.const 0)",
        "(i32, i32) -> i32",
    ),
    (
        "proxy_on_response_metadata",
        "(param i32 i32) (result i32) (call $tell (i32.const 9)) (i32.const 0)",
        "(i32, i32) -> i32",
    ),
    (
        "proxy_validate_configuration",
        "(param i32 i32) (result i32) (call $tell (i32.const 9)) (i32.const 0)",
        "(i32, i32) -> i32",
    ),
    ("envoy_on_stats_update", "(param i32 i32) (call $tell (i32.const 9))", "(i32, i32)"),
];

fn live_a_life(bytes: &[u8]) -> RecordingHost {
    let module = compile(bytes).unwrap();
    let mut vm = try_start(&module, PluginSettings::default()).unwrap();
    let (stream, begun) = vm.begin_stream(RecordingStream::request([]), 0, false);
    let (id, _) = begun.unwrap();
    let trailers = StreamCallback::ResponseTrailers { fields: 0 };
    let (stream, _) = vm.deliver(id, stream, trailers);
    vm.end_stream(id, stream).1.unwrap();
    vm.tick().unwrap();
    vm.retire()
}

#[test]
fn callbacks_that_only_envoy_calls_load_and_are_not_called() {
    for (name, function, _) in TYPED {
        for marker in MARKERS {
            let host = live_a_life(&guest_of(marker, &format!(r#"(func (export "{name}") {function})"#)));

            assert!(host.told().is_empty(), "{name}");
        }
    }
}

#[test]
fn callbacks_that_only_envoy_calls_are_refused_with_another_type() {
    for (name, _, expected) in TYPED {
        let refused = compile(&guest_of(MARKERS[2], &format!(r#"(func (export "{name}") (param i64))"#)));

        let message = refused.unwrap_err().to_string();
        assert_eq!(message, format!("export {name} has type (i64), expected {expected}"));
    }
}

#[test]
fn exports_that_no_host_looks_up_load_in_any_type() {
    for body in [
        r#"(func (export "proxy_on_grpc_create_initial_metadata") (param i32 i32) (call $tell (i32.const 9)))"#,
        r#"(func (export "proxy_on_grpc_create_initial_metadata") (param i32 i32 i32) (call $tell (i32.const 9)))"#,
        r#"(func (export "proxy_on_redis_call_response") (param i32 i32 i32 i32) (call $tell (i32.const 9)))"#,
        r#"(func (export "proxy_on_tomorrow") (param f64) (result i64) (call $tell (i32.const 9)) (i64.const 0))"#,
    ] {
        let host = live_a_life(&guest_of(MARKERS[2], body));

        assert!(host.told().is_empty(), "{body}");
    }
}

// the operator's word

fn compile_as(bytes: &[u8], abi: AbiVersion) -> Result<Module, ModuleError> {
    let limits = ModuleLimits::default();
    Module::compile_as(&ENGINE, bytes, &limits, Some(abi))
}

/// Tells what an absent header is, in the two-parameter callback of 0.1.0.
const ABSENT: &str = r#"(data (i32.const 4096) "absent")
    (func (export "proxy_on_request_headers") (param i32 i32) (result i32)
        (call $tell (call $proxy_get_header_map_value
            (i32.const 0) (i32.const 4096) (i32.const 6) (i32.const 32) (i32.const 36)))
        (i32.const 0))"#;

#[test]
fn an_operator_names_the_version_of_a_module_without_a_marker_or_with_a_strange_one() {
    for marker in ["nothing", "proxy_abi_mosn_version_0_2_0", "proxy_abi_revision_0_2_0", "proxy_abi_version_0_x_x"] {
        let bytes = guest_of(marker, ABSENT);
        assert!(compile(&bytes).is_err(), "{marker}");
        for (abi, status) in [(AbiVersion::V0_1_0, 0), (AbiVersion::V0_2_0, 1), (AbiVersion::V0_2_1, 1)] {
            let module = compile_as(&bytes, abi).unwrap();
            let mut vm = try_start(&module, PluginSettings::default()).unwrap();

            vm.begin_stream(RecordingStream::request([]), 0, true).1.unwrap();

            assert_eq!(module.abi_version(), abi);
            assert_eq!(vm.host().told(), [status], "{marker} {abi}");
        }
    }
}

#[test]
fn the_operators_word_stands_above_the_marker() {
    let module = compile_as(&guest_of("proxy_abi_version_0_2_1", ABSENT), AbiVersion::V0_1_0).unwrap();

    assert_eq!(module.abi_version(), AbiVersion::V0_1_0);
}

#[test]
fn strange_markers_are_refused_by_name() {
    for marker in ["proxy_abi_mosn_version_0_2_0", "proxy_abi_revision_0_2_0", "proxy_abi_version_0_x_x"] {
        let message = compile(&guest_of(marker, "")).unwrap_err().to_string();

        assert_eq!(message, format!("export {marker}: this host speaks proxy-wasm 0.1.0, 0.2.0 and 0.2.1"));
    }
}

#[test]
fn a_strange_marker_beside_a_known_one_does_not_hurt() {
    let bytes = guest_of("proxy_abi_mosn_version_0_2_0", r#"(func (export "proxy_abi_version_0_2_0"))"#);

    assert_eq!(compile(&bytes).unwrap().abi_version(), AbiVersion::V0_2_0);
}

#[test]
fn the_operators_word_does_not_excuse_what_is_missing_otherwise() {
    let refused = compile_as(&wat("(module)"), AbiVersion::V0_1_0).unwrap_err();

    assert_eq!(refused, ModuleError::NoMemory);
}

/// A host that implements only what it must loads every one of them, too.
#[test]
fn a_small_embedder_runs_an_old_module() {
    let module = compile(&guest_of("proxy_abi_version_0_1_0", ABSENT)).unwrap();
    let host = Lines::default();
    let settings = Arc::new(PluginSettings::default());
    let mut vm = Vm::start(&module, settings, host).map_err(|(failure, _)| failure).unwrap();

    let (_, begun) = vm.begin_stream(RecordingStream::request([]), 0, true);

    assert_eq!(begun.unwrap().1, Action::Continue);
    assert!(vm.exports(CallbackKind::RequestHeaders));
}
