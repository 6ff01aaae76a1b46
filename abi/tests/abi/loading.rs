//! Which modules load, and the one sentence for each that does not.

use tollgate_abi::testing::{RecordingStream, guest, guest_of, wat};
use tollgate_abi::{CallbackKind, ModuleError, PluginSettings};

use crate::common::{compile, module, try_start};

const EXPORTS: &str = r#"(memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 0))"#;

fn refused(text: &str) -> String {
    compile(&wat(text)).unwrap_err().to_string()
}

#[test]
fn every_unknown_import_is_named_with_its_type_and_the_known_ones() {
    let message = refused(&format!(
        r#"(module
            (import "env" "proxy_fly" (func (param i32 f64) (result i64)))
            (import "env" "proxy_log" (func (param i32 i32 i32) (result i32)))
            (import "env" "proxy_done" (func (param i32)))
            (import "env" "proxy_grpc_stream" (func))
            (import "wasi_snapshot_preview2" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
            (import "env" "table" (table 1 funcref))
            {EXPORTS})"#
    ));

    assert_eq!(
        message,
        "imports that this host does not offer: env.table (table); env.proxy_fly (i32, f64) -> i64; \
         env.proxy_done (i32) (known as () -> i32); env.proxy_grpc_stream () \
         (known as (i32, i32, i32, i32, i32, i32, i32, i32, i32) -> i32 or (i32, i32, i32, i32, i32, i32, i32) -> i32); \
         wasi_snapshot_preview2.fd_write (i32, i32, i32, i32) -> i32 (did you mean wasi_snapshot_preview1.fd_write?)"
    );
}

#[test]
fn a_near_miss_is_named_with_what_was_meant() {
    let message = refused(&format!(
        r#"(module
            (import "env" "proxy_get_header_map_valu" (func (param i32) (result i32)))
            (import "env" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
            (import "environment" "proxy_log" (func (param i32 i32 i32) (result i32)))
            {EXPORTS})"#
    ));

    assert_eq!(
        message,
        "imports that this host does not offer: \
         env.proxy_get_header_map_valu (i32) -> i32 (did you mean env.proxy_get_header_map_value?); \
         env.fd_write (i32, i32, i32, i32) -> i32 (did you mean wasi_snapshot_preview1.fd_write?); \
         environment.proxy_log (i32, i32, i32) -> i32 (did you mean env.proxy_log?)"
    );
}

#[test]
fn an_imported_memory_is_refused() {
    assert!(
        refused(&format!(r#"(module (import "env" "other" (memory 1)) {EXPORTS})"#)).contains("env.other (memory)")
    );
}

#[test]
fn modules_that_mix_generations_load_whatever_their_marker() {
    let imports = r#"
        (import "env" "proxy_continue_request" (func (result i32)))
        (import "env" "proxy_continue_stream" (func (param i32) (result i32)))
        (import "env" "proxy_continue_stream" (func $again (param i32) (result i32)))
        (import "env" "proxy_get_configuration" (func (param i32 i32) (result i32)))
        (import "env" "proxy_clear_route_cache" (func (result i32)))
        (import "env" "proxy_get_log_level" (func (param i32) (result i32)))
        (import "env" "proxy_grpc_call" (func
            (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import "wasi_unstable" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))"#;
    for marker in ["0_1_0", "0_2_0", "0_2_1"] {
        let text = format!("(module {imports} {})", EXPORTS.replace("0_2_1", marker));

        let module = compile(&wat(&text)).unwrap();

        assert!(try_start(&module, PluginSettings::default()).is_ok(), "{marker}");
    }
}

#[test]
fn both_arities_of_old_and_new_grpc_calls_answer() {
    let zeros = "(i32.const 0)".repeat(10);
    let mut vm = try_start(
        &compile(&wat(&format!(
            r#"(module
                (import "env" "proxy_grpc_call" (func $call
                    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
                {EXPORTS}
                (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                    (i32.ne (call $call {zeros}) (i32.const 4))))"#
        )))
        .unwrap(),
        PluginSettings::default(),
    )
    .unwrap();

    let (_, begun) = vm.begin_stream(RecordingStream::default(), 0, true);

    assert_eq!(begun.unwrap().1, tollgate_abi::Action::Continue);
}

#[test]
fn bytes_that_are_no_module_are_named() {
    let said = |bytes: &[u8]| compile(bytes).map(drop).unwrap_err().to_string();
    assert_eq!(said(b""), "not a wasm module: the file is empty");
    assert_eq!(said(b"<html>"), "not a wasm module: it begins with \"<htm\"");
    assert_eq!(said(b"(module)"), "not a wasm module: it is WebAssembly text; compile it to binary first");
    assert!(matches!(compile(&guest("")[..50]), Err(ModuleError::Malformed(_))));
    assert_eq!(compile(b"\0asm\x0d\0\x01\0").unwrap_err(), ModuleError::Component);
}

#[test]
fn a_module_without_a_version_is_no_filter() {
    assert_eq!(compile(&wat("(module)")).unwrap_err(), ModuleError::NoAbiVersion);
    let message = refused(&format!("(module {})", EXPORTS.replace("0_2_1", "9_9_9")));
    assert_eq!(message, "export proxy_abi_version_9_9_9: this host speaks proxy-wasm 0.1.0, 0.2.0 and 0.2.1");
}

#[test]
fn the_first_of_two_versions_counts() {
    let bytes = guest_of("proxy_abi_version_0_2_0", r#"(func (export "proxy_abi_version_0_1_0"))"#);

    assert_eq!(compile(&bytes).unwrap().abi_version().to_string(), "0.2.0");
}

#[test]
fn memory_and_an_allocator_are_required() {
    let marker = r#"(func (export "proxy_abi_version_0_2_1"))"#;

    assert_eq!(compile(&wat(&format!("(module {marker})"))).unwrap_err(), ModuleError::NoMemory);
    assert_eq!(
        compile(&wat(&format!(r#"(module {marker} (memory (export "memory") 1))"#))).unwrap_err(),
        ModuleError::NoAllocator
    );
}

#[test]
fn a_callback_of_another_type_is_refused_with_both_types() {
    assert_eq!(
        refused(&format!(
            r#"(module {EXPORTS} (func (export "proxy_on_configure") (param i32 i32 i32 i32) (result i32) (i32.const 1)))"#
        )),
        "export proxy_on_configure has type (i32, i32, i32, i32) -> i32, expected (i32, i32) -> i32"
    );
    assert_eq!(
        refused(&format!(r#"(module {EXPORTS} (func (export "proxy_on_request_headers")))"#)),
        "export proxy_on_request_headers has type (), expected (i32, i32, i32) -> i32 or (i32, i32) -> i32"
    );
    assert_eq!(
        refused(&format!(r#"(module {EXPORTS} (global (export "proxy_on_log") i32 (i32.const 1)))"#)),
        "export proxy_on_log has type of no function, expected (i32)"
    );
}

#[test]
fn proposals_that_no_filter_needs_are_off() {
    for body in [
        r#"(memory $second 1)"#,
        r#"(func (param i32) (result i32) (return_call 0 (local.get 0)))"#,
        r#"(func (result v128) (i32x4.relaxed_trunc_f32x4_s (v128.const i32x4 0 0 0 0)))"#,
        r#"(type (struct (field i32)))"#,
        r#"(tag (param i32))"#,
        r#"(table i64 1 funcref)"#,
    ] {
        let refused = compile(&wat(&format!("(module {EXPORTS} {body})"))).unwrap_err();

        assert!(matches!(refused, ModuleError::Invalid(_)), "{body}: {refused}");
    }
}

#[test]
fn what_toolchains_emit_is_on() {
    let body = r#"
        (func (result i32 i32) (i32.const 1) (i32.extend8_s (i32.const 2)))
        (func (result v128) (i32x4.splat (i32.const 1)))
        (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 1)))
        (func (result i32) (i32.trunc_sat_f32_s (f32.const 1)))
        (table 1 funcref)
        (global (export "__stack_pointer") (mut i32) (i32.const 0))"#;

    assert!(compile(&wat(&format!("(module {EXPORTS} {body})"))).is_ok());
}

#[test]
fn a_module_knows_its_callbacks() {
    let module = module(r#"(func (export "proxy_on_log") (param i32))"#);

    assert!(module.exports(CallbackKind::Log));
    assert!(!module.exports(CallbackKind::Tick));
    assert!(!module.exports(CallbackKind::Init));
}
