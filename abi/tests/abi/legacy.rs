//! Modules written long ago by strangers: every import in every version, and what only some hosts and toolchains know.

use tollgate_abi::testing::{RecordingStream, StreamEvent, every_import, guest_of, wat};
use tollgate_abi::{AbiVersion, Action, PluginSettings, StreamType};

use crate::common::{SHOW, TestVm, compile, on_request, start, try_start};

const MARKERS: [(&str, AbiVersion); 3] = [
    ("proxy_abi_version_0_1_0", AbiVersion::V0_1_0),
    ("proxy_abi_version_0_2_0", AbiVersion::V0_2_0),
    ("proxy_abi_version_0_2_1", AbiVersion::V0_2_1),
];

/// Starts `body` under each marker and runs its request header callback; hands the VM and the stream to `check`.
fn in_each_version(body: &str, check: impl Fn(&TestVm, &RecordingStream)) {
    for (marker, version) in MARKERS {
        let module = compile(&guest_of(marker, body)).unwrap();
        assert_eq!(module.abi_version(), version);
        let settings = PluginSettings {
            vm_config: b"of the vm".to_vec(),
            config: b"of the plugin".to_vec(),
            ..PluginSettings::default()
        };
        let mut vm = try_start(&module, settings).unwrap();

        let stream = RecordingStream::request([("a", "b")]).with_buffer(tollgate_abi::BufferType::RequestBody, b"body");
        let (stream, begun) = vm.begin_stream(stream, 1, false);

        assert_eq!(begun.unwrap().1, Action::Continue);
        check(&vm, &stream);
    }
}

fn texts(vm: &TestVm) -> Vec<String> {
    let lines = vm.host().lines.iter().filter(|(level, _)| *level == tollgate_abi::LogLevel::Info);
    lines.map(|(_, line)| String::from_utf8_lossy(line).into_owned()).collect()
}

fn zeros(count: usize) -> String {
    "(i32.const 0)".repeat(count)
}

#[test]
fn every_import_links_in_every_arity_under_every_marker() {
    let imports: String = every_import()
        .iter()
        .map(|(module, name, signature)| {
            let list = |keyword: &str, types: &[tollgate_abi::WireType]| {
                types.iter().map(|wire| format!("({keyword} {wire})")).collect::<String>()
            };
            let (params, results) = (list("param", &signature.params), list("result", &signature.results));
            format!("(import \"{module}\" \"{name}\" (func {params} {results}))\n")
        })
        .collect();
    assert!(imports.lines().count() > 100);
    for (marker, _) in MARKERS {
        let text = format!(
            r#"(module {imports} (memory (export "memory") 1) (func (export "{marker}"))
                (func (export "malloc") (param i32) (result i32) (i32.const 0)))"#
        );

        let module = compile(&wat(&text)).unwrap();

        assert!(try_start(&module, PluginSettings::default()).is_ok(), "{marker}");
    }
}

#[test]
fn what_an_import_answers_does_not_depend_on_the_marker() {
    // An absent header is the one difference; a clock, a random number and an end of the guest have no answer to compare.
    let apart = ["proxy_get_header_map_value", "random_get", "proc_exit", "abort"];
    let calls: String = every_import()
        .iter()
        .filter(|(module, name, _)| *module != "wasi_unstable" && !apart.contains(&name.as_str()))
        .filter(|(_, name, signature)| !(name.starts_with("proxy_grpc") && signature.params.len() % 5 == 2))
        .filter(|(_, name, signature)| !(name == "proxy_grpc_call" && signature.params.len() == 10))
        .map(|(_, name, signature)| {
            let zeros: String = signature.params.iter().map(|wire| format!("({wire}.const 0)")).collect();
            let call = format!("(call ${name} {zeros})");
            if signature.results.is_empty() { call } else { format!("(call $tell {call})") }
        })
        .collect();
    let told = |marker: &str| {
        let module = compile(&guest_of(marker, &on_request("", &calls))).unwrap();
        let mut vm = try_start(&module, PluginSettings::default()).unwrap();
        vm.begin_stream(RecordingStream::request([("a", "b")]), 1, false).1.unwrap();
        vm.host().told()
    };

    let answers = told(MARKERS[0].0);

    assert!(answers.len() > 85, "{}", answers.len());
    assert_eq!(told(MARKERS[1].0), answers);
    assert_eq!(told(MARKERS[2].0), answers);
}

// what the specification once had

#[test]
fn old_configuration_is_read_in_every_version() {
    let get = format!("(call $tell (call $proxy_get_configuration (i32.const 32) (i32.const 36))) {SHOW}");
    let body = on_request(
        &format!(r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) {get} (i32.const 1))"#),
        &get,
    );

    in_each_version(&body, |vm, _| {
        assert_eq!(vm.host().told(), [0, 0]);
        assert_eq!(texts(vm), ["of the plugin", "of the vm"]);
    });
}

#[test]
fn the_status_of_a_buffer_is_read_in_every_version() {
    let body = on_request(
        "",
        "(call $tell (call $proxy_get_buffer_status (i32.const 0) (i32.const 32) (i32.const 36)))
         (call $tell (i32.load (i32.const 32))) (call $tell (i32.load (i32.const 36)))",
    );

    in_each_version(&body, |vm, _| assert_eq!(vm.host().told(), [0, 4, 0]));
}

#[test]
fn old_and_new_ways_to_continue_work_in_every_version() {
    let body = on_request(
        "",
        "(call $tell (call $proxy_continue_request)) (call $tell (call $proxy_continue_response))
         (call $tell (call $proxy_continue_stream (i32.const 0)))",
    );
    let (request, response) = (StreamEvent::Resumed(StreamType::Request), StreamEvent::Resumed(StreamType::Response));

    in_each_version(&body, |vm, stream| {
        assert_eq!(vm.host().told(), [0; 3]);
        assert_eq!(stream.events, [request.clone(), response.clone(), request.clone()]);
    });
}

#[test]
fn the_route_cache_is_cleared_in_every_version() {
    let body = on_request("", "(call $tell (call $proxy_clear_route_cache))");

    in_each_version(&body, |vm, stream| {
        assert_eq!(vm.host().told(), [0]);
        assert_eq!(stream.events, [StreamEvent::RouteCleared]);
    });
}

#[test]
fn clearing_the_route_cache_of_no_exchange_is_refused() {
    let tick = r#"(func (export "proxy_on_tick") (param i32) (call $tell (call $proxy_clear_route_cache)))"#;
    let mut lenient = start(tick);
    let mut exact = crate::common::start_with(tick, crate::common::strict());

    lenient.tick().unwrap();
    exact.tick().unwrap();

    assert_eq!((lenient.host().told(), exact.host().told()), (vec![0], vec![2]));
    assert_eq!(lenient.host().refused.len(), 1);
}

#[test]
fn the_log_level_is_read_in_every_version() {
    let body = on_request(
        "",
        "(call $tell (call $proxy_get_log_level (i32.const 32))) (call $tell (i32.load (i32.const 32)))",
    );

    in_each_version(&body, |vm, _| assert_eq!(vm.host().told(), [0, 2]));
}

// toolchains

#[test]
fn growth_is_noted_without_an_answer_in_every_version() {
    let body = on_request("", "(call $emscripten_notify_memory_growth (i32.const 0)) (call $tell (i32.const 1))");

    in_each_version(&body, |vm, _| assert_eq!(vm.host().told(), [1]));
}

#[test]
fn threads_are_equal_when_their_numbers_are_in_every_version() {
    let body = on_request(
        "",
        "(call $tell (call $pthread_equal (i32.const 7) (i32.const 7)))
         (call $tell (call $pthread_equal (i32.const 7) (i32.const 8)))",
    );

    in_each_version(&body, |vm, _| assert_eq!(vm.host().told(), [1, 0]));
}

#[test]
fn an_abort_of_assemblyscript_tells_its_message_and_place() {
    let body = on_request(
        r#"(data (i32.const 4096) "\04\00\00\00n\00o\00") (data (i32.const 4112) "\08\00\00\00a\00.\00t\00s\00")"#,
        "(call $abort (i32.const 4100) (i32.const 4116) (i32.const 3) (i32.const 9))",
    );
    for (marker, _) in MARKERS {
        let mut vm = try_start(&compile(&guest_of(marker, &body)).unwrap(), PluginSettings::default()).unwrap();

        let failure = vm.begin_stream(RecordingStream::default(), 0, true).1.unwrap_err();

        assert_eq!(failure.message, "abort: no (a.ts:3:9)");
    }
}

#[test]
fn an_abort_with_pointers_to_nowhere_is_still_a_trap_of_the_guest() {
    for pointer in [0, 3, -1] {
        let body = format!("(call $abort (i32.const {pointer}) (i32.const {pointer}) (i32.const 3) (i32.const 9))");
        let mut vm = start(&on_request("", &body));

        let failure = vm.begin_stream(RecordingStream::default(), 0, true).1.unwrap_err();

        assert_eq!(failure.cause, tollgate_abi::Cause::Trap);
        assert!(failure.message.ends_with("(:3:9)"), "{}", failure.message);
    }
}

// forks and extensions

#[test]
fn a_tag_of_a_span_is_accepted_in_every_version() {
    let body = on_request("", &format!("(call $tell (call $proxy_set_active_span_tag {}))", zeros(4)));

    in_each_version(&body, |vm, _| assert_eq!(vm.host().told(), [0]));
}

#[test]
fn a_name_is_looked_up_in_every_version() {
    let body = on_request(
        r#"(data (i32.const 4096) "origin.example")"#,
        "(call $tell (call $envoy_resolve_dns (i32.const 4096) (i32.const 14) (i32.const 32)))",
    );

    in_each_version(&body, |vm, _| {
        assert_eq!(vm.host().told(), [0]);
        assert_eq!(vm.host().lookups.len(), 1);
    });
}

#[test]
fn the_imports_of_higress_load_and_say_that_they_are_not_there() {
    let calls = [
        ("proxy_redis_init", 7),
        ("proxy_redis_call", 5),
        ("proxy_get_upstream_hosts", 2),
        ("proxy_set_upstream_override_host", 2),
        ("proxy_inject_encoded_data_to_filter_chain", 3),
    ];
    let body: String =
        calls.iter().map(|(name, count)| format!("(call $tell (call ${name} {}))", zeros(*count))).collect();

    in_each_version(&on_request("", &body), |vm, _| assert_eq!(vm.host().told(), [12; 5]));
    let module = compile(&guest_of("proxy_abi_version_0_2_100", &on_request("", &body))).unwrap();
    assert_eq!(module.abi_version(), AbiVersion::V0_2_1);
}

#[test]
fn both_names_of_wasi_work_in_one_module() {
    let bytes = wat(r#"(module
            (import "wasi_unstable" "fd_write" (func $old (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $new (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 64) "\48\00\00\00\03\00\00\00one")
            (func (export "proxy_abi_version_0_1_0"))
            (func (export "malloc") (param i32) (result i32) (i32.const 0))
            (func (export "_start")
                (drop (call $old (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 32)))
                (drop (call $new (i32.const 2) (i32.const 64) (i32.const 1) (i32.const 32)))))"#);

    let vm = try_start(&compile(&bytes).unwrap(), PluginSettings::default()).unwrap();

    assert_eq!(vm.host().text(), ["one", "one"]);
}
