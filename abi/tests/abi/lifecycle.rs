//! The order in which a guest is started, entered and ended.

use tollgate_abi::testing::{RecordingStream, guest, guest_of};
use tollgate_abi::{AbiVersion, Action, CallbackKind, Cause, MapType, PluginSettings, StreamCallback, Vm};

use crate::common::{self, SHOW, compile, module, start, start_with, try_start};

/// A guest that tells a number of its own in each callback, followed by the arguments.
const DIARY: &str = r#"
    (func (export "_initialize") (call $tell (i32.const 100)))
    (func (export "proxy_on_context_create") (param i32 i32)
        (call $tell (i32.const 101)) (call $tell (local.get 0)) (call $tell (local.get 1)))
    (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
        (call $tell (i32.const 102)) (call $tell (local.get 0)) (call $tell (local.get 1)) (i32.const 1))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (call $tell (i32.const 103)) (call $tell (local.get 0)) (call $tell (local.get 1)) (i32.const 1))
    (func (export "proxy_on_tick") (param i32) (call $tell (i32.const 104)) (call $tell (local.get 0)))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $tell (i32.const 105)) (call $tell (local.get 0)) (call $tell (local.get 1)) (call $tell (local.get 2))
        (i32.const 0))
    (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
        (call $tell (i32.const 106)) (call $tell (local.get 0)) (call $tell (local.get 1)) (call $tell (local.get 2))
        (i32.const 1))
    (func (export "proxy_on_request_trailers") (param i32 i32) (result i32)
        (call $tell (i32.const 107)) (call $tell (local.get 0)) (call $tell (local.get 1)) (i32.const 1))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        (call $tell (i32.const 108)) (call $tell (local.get 0)) (call $tell (local.get 1)) (call $tell (local.get 2))
        (i32.const 1))
    (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
        (call $tell (i32.const 109)) (call $tell (local.get 0)) (call $tell (local.get 1)) (call $tell (local.get 2))
        (i32.const 3))
    (func (export "proxy_on_response_trailers") (param i32 i32) (result i32)
        (call $tell (i32.const 110)) (call $tell (local.get 0)) (call $tell (local.get 1)) (i32.const 0))
    (func (export "proxy_on_done") (param i32) (result i32)
        (call $tell (i32.const 111)) (call $tell (local.get 0)) (i32.const 1))
    (func (export "proxy_on_log") (param i32) (call $tell (i32.const 112)) (call $tell (local.get 0)))
    (func (export "proxy_on_delete") (param i32) (call $tell (i32.const 113)) (call $tell (local.get 0)))"#;

#[test]
fn a_start_initialises_creates_starts_and_configures_in_this_order() {
    let settings = PluginSettings { vm_config: vec![0; 7], config: vec![0; 9], ..PluginSettings::default() };

    let vm = start_with(DIARY, settings);

    assert_eq!(vm.host().told(), [100, 101, 1, 0, 102, 1, 7, 103, 1, 9]);
    assert_eq!(vm.root().get(), 1);
    assert_eq!(
        vm.host().entries,
        [CallbackKind::Init, CallbackKind::ContextCreate, CallbackKind::VmStart, CallbackKind::Configure]
    );
}

#[test]
fn an_exchange_begins_is_delivered_and_ends_in_the_order_of_the_specification() {
    let mut vm = start(DIARY);
    vm.host_mut().lines.clear();
    vm.host_mut().entries.clear();
    let mut stream = RecordingStream::request([]);

    let begun;
    (stream, begun) = vm.begin_stream(stream, 4, false);
    let (id, action) = begun.unwrap();
    let mut actions = vec![action];
    for callback in [
        StreamCallback::RequestBody { size: 10, end_of_stream: true },
        StreamCallback::RequestTrailers { fields: 2 },
        StreamCallback::ResponseHeaders { fields: 3, end_of_stream: false },
        StreamCallback::ResponseBody { size: 11, end_of_stream: false },
        StreamCallback::ResponseTrailers { fields: 1 },
    ] {
        let answer;
        (stream, answer) = vm.deliver(id, stream, callback);
        actions.push(answer.unwrap());
    }
    assert_eq!(vm.stream_contexts(), 1);
    vm.end_stream(id, stream).1.unwrap();

    let expected = [
        vec![101, 2, 1, 105, 2, 4, 0],
        vec![106, 2, 10, 1],
        vec![107, 2, 2],
        vec![108, 2, 3, 0],
        vec![109, 2, 11, 0],
        vec![110, 2, 1],
        vec![111, 2, 112, 2, 113, 2],
    ];
    assert_eq!(vm.host().told(), expected.concat());
    assert_eq!(
        actions,
        [Action::Continue, Action::Pause, Action::Pause, Action::Pause, Action::PauseDroppingBytes, Action::Continue]
    );
    assert_eq!(vm.stream_contexts(), 0);
}

#[test]
fn beginning_and_ending_are_one_guest_entry_each() {
    let mut vm = start(DIARY);
    vm.host_mut().entries.clear();

    let (stream, begun) = vm.begin_stream(RecordingStream::request([]), 0, true);
    vm.end_stream(begun.unwrap().0, stream).1.unwrap();

    assert_eq!(vm.host().entries, [CallbackKind::RequestHeaders, CallbackKind::Log]);
}

#[test]
fn a_callback_that_is_not_exported_continues_without_an_entry() {
    let mut vm = start("");
    vm.host_mut().entries.clear();

    let (stream, begun) = vm.begin_stream(RecordingStream::request([]), 0, false);
    let (id, action) = begun.unwrap();
    let (stream, body) = vm.deliver(id, stream, StreamCallback::RequestBody { size: 1, end_of_stream: true });
    let (_, ended) = vm.end_stream(id, stream);

    assert_eq!((action, body, ended), (Action::Continue, Ok(Action::Continue), Ok(())));
    assert_eq!(vm.tick(), Ok(()));
    assert!(vm.host().entries.is_empty());
    assert!(CallbackKind::ALL.iter().all(|kind| !vm.exports(*kind)));
}

#[test]
fn nothing_is_delivered_to_a_context_that_has_ended() {
    let mut vm = start(DIARY);
    let (stream, begun) = vm.begin_stream(RecordingStream::request([]), 0, true);
    let (id, _) = begun.unwrap();
    let (stream, _) = vm.end_stream(id, stream);
    vm.host_mut().lines.clear();

    let (stream, late) = vm.deliver(id, stream, StreamCallback::ResponseTrailers { fields: 0 });
    let (_, again) = vm.end_stream(id, stream);

    assert_eq!((late, again), (Ok(Action::Continue), Ok(())));
    assert!(vm.host().lines.is_empty());
}

#[test]
fn a_tick_reaches_the_root() {
    let mut vm = start(DIARY);
    vm.host_mut().lines.clear();

    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [104, 1]);
}

#[test]
fn ids_are_never_used_twice() {
    let mut vm = start(DIARY);
    let (stream, first) = vm.begin_stream(RecordingStream::request([]), 0, true);
    let (stream, _) = vm.end_stream(first.as_ref().unwrap().0, stream);

    let (_, second) = vm.begin_stream(stream, 0, true);

    assert!(second.unwrap().0 > first.unwrap().0);
}

// the ways to begin

#[test]
fn a_command_runs_start_and_may_exit_with_zero() {
    let vm =
        start(r#"(func (export "_start") (call $tell (i32.const 7)) (call $proc_exit (i32.const 0)) unreachable)"#);

    assert_eq!(vm.host().told(), [7]);
}

#[test]
fn a_command_that_exits_with_another_code_does_not_start() {
    let module = module(r#"(func (export "_start") (call $proc_exit (i32.const 3)))"#);

    let (failure, _) = try_start(&module, PluginSettings::default()).unwrap_err();

    assert_eq!((failure.callback, failure.cause), (CallbackKind::Init, Cause::Exit(3)));
}

#[test]
fn a_reactor_runs_initialize_then_main_and_no_start() {
    let vm = start(
        r#"(func (export "_start") unreachable)
        (func (export "main") (param i32 i32) (result i32) (call $tell (i32.const 2)) (i32.const 0))
        (func (export "_initialize") (call $tell (i32.const 1)))"#,
    );

    assert_eq!(vm.host().told(), [1, 2]);
}

#[test]
fn a_reactor_may_have_main_without_arguments() {
    let vm = start(
        r#"(func (export "__main_void") (result i32) (call $tell (i32.const 2)) (call $proc_exit (i32.const 0)) unreachable)
        (func (export "_initialize") (call $tell (i32.const 1)))"#,
    );

    assert_eq!(vm.host().told(), [1, 2]);
}

#[test]
fn a_module_with_neither_relies_on_its_start_section() {
    let vm = start("(func $go (call $tell (i32.const 5))) (start $go)");

    assert_eq!(vm.host().told(), [5]);
    assert!(vm.exports(CallbackKind::Init));
}

#[test]
fn most_hostcalls_are_closed_before_the_guest_is_initialised() {
    let module =
        module(r#"(func (export "_initialize") (drop (call $proxy_set_tick_period_milliseconds (i32.const 1))))"#);

    let (failure, host) = try_start(&module, PluginSettings::default()).unwrap_err();

    assert_eq!(failure.cause, Cause::Trap);
    assert_eq!(
        failure.message,
        "proxy_set_tick_period_milliseconds may not be called before the filter is initialised"
    );
    assert_eq!(host.tick_period, None);
}

#[test]
fn a_refused_start_gives_the_host_back_with_its_lines() {
    for (callback, kind) in
        [("proxy_on_vm_start", CallbackKind::VmStart), ("proxy_on_configure", CallbackKind::Configure)]
    {
        let module = module(&format!(
            r#"(data (i32.const 4096) "no key")
            (func (export "{callback}") (param i32 i32) (result i32)
                (call $show (i32.const 4096) (i32.const 6)) (i32.const 0))"#
        ));

        let (failure, host) = try_start(&module, PluginSettings::default()).unwrap_err();

        assert_eq!((failure.callback, failure.cause), (kind, Cause::Refused));
        assert_eq!(failure.message, format!("{callback} answered false"));
        assert_eq!(host.text(), ["no key"]);
    }
}

// versions

#[test]
fn header_callbacks_of_abi_0_1_0_have_two_parameters() {
    let body = r#"
        (func (export "proxy_on_request_headers") (param i32 i32) (result i32)
            (call $tell (local.get 1)) (i32.const 1))
        (func (export "proxy_on_response_headers") (param i32 i32) (result i32)
            (call $tell (local.get 1)) (i32.const 0))"#;
    let module = compile(&guest_of("proxy_abi_version_0_1_0", body)).unwrap();
    let mut vm = try_start(&module, PluginSettings::default()).unwrap();

    let (stream, begun) = vm.begin_stream(RecordingStream::request([]), 5, true);
    let (id, action) = begun.unwrap();
    let callback = StreamCallback::ResponseHeaders { fields: 6, end_of_stream: true };
    let (_, answer) = vm.deliver(id, stream, callback);

    assert_eq!((action, answer), (Action::Pause, Ok(Action::Continue)));
    assert_eq!(vm.host().told(), [5, 6]);
}

#[test]
fn each_marker_names_its_version() {
    for (marker, version, shown) in [
        ("proxy_abi_version_0_1_0", AbiVersion::V0_1_0, "0.1.0"),
        ("proxy_abi_version_0_2_0", AbiVersion::V0_2_0, "0.2.0"),
        ("proxy_abi_version_0_2_1", AbiVersion::V0_2_1, "0.2.1"),
        ("proxy_abi_version_0_2_100", AbiVersion::V0_2_1, "0.2.1"),
    ] {
        let module = compile(&guest_of(marker, "")).unwrap();

        assert_eq!(module.abi_version(), version);
        assert_eq!(module.abi_version().to_string(), shown);
    }
}

// the end of the root

#[test]
fn retiring_tells_the_root_done_then_delete() {
    let mut vm = start(DIARY);
    vm.host_mut().lines.clear();

    let host = vm.retire();

    assert_eq!(host.told(), [111, 1, 113, 1]);
}

#[test]
fn a_root_that_is_not_ready_is_asked_once_and_says_when_it_is() {
    let mut vm = start(
        r#"(func (export "proxy_on_done") (param i32) (result i32) (call $tell (i32.const 1)) (i32.const 0))
        (func (export "proxy_on_tick") (param i32)
            (call $tell (call $proxy_done)) (call $tell (call $proxy_done)))
        (func (export "proxy_on_delete") (param i32) (call $tell (i32.const 9)))"#,
    );

    assert_eq!(vm.finish(), Ok(false));
    assert_eq!(vm.finish(), Ok(false));
    vm.tick().unwrap();
    assert_eq!(vm.finish(), Ok(true));
    let host = vm.retire();

    assert_eq!(host.told(), [1, 0, 1, 9]);
}

#[test]
fn a_root_that_traps_at_its_end_leaves_a_line() {
    let vm = start(r#"(func (export "proxy_on_done") (param i32) (result i32) unreachable)"#);

    let host = vm.retire();

    assert!(host.text()[0].starts_with("trap in done:"), "{:?}", host.text());
}

// what travels

#[test]
fn a_vm_moves_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let vm = start(DIARY);
    is_send(&vm);

    let host = std::thread::spawn(move || vm.retire()).join().unwrap();

    assert_eq!(host.told().last(), Some(&1));
}

#[test]
fn one_module_starts_many_vms_that_share_nothing() {
    let module = module(
        r#"(func (export "proxy_on_tick") (param i32)
            (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
            (call $tell (i32.load (i32.const 64))))"#,
    );
    let mut one = try_start(&module, PluginSettings::default()).unwrap();
    let mut other = try_start(&module, PluginSettings::default()).unwrap();

    one.tick().unwrap();
    one.tick().unwrap();
    other.tick().unwrap();

    assert_eq!((one.host().told(), other.host().told()), (vec![1, 2], vec![1]));
}

#[test]
fn the_ticker_lives_as_long_as_a_vm_and_no_longer_needs_its_engine() {
    let engine = tollgate_abi::Engine::new(&tollgate_abi::EngineSettings::default()).unwrap();
    let bytes = guest(r#"(func (export "proxy_on_tick") (param i32) (loop (br 0)))"#);
    let module = tollgate_abi::Module::compile(&engine, &bytes, &tollgate_abi::ModuleLimits::default()).unwrap();
    let host = tollgate_abi::testing::RecordingHost::default();
    let mut vm = Vm::start(&module, PluginSettings::default().into(), host).unwrap();
    drop((engine, module));

    assert_eq!(vm.tick().unwrap_err().cause, Cause::Deadline);
}

#[test]
fn the_allocator_of_the_specification_is_preferred_to_malloc() {
    let ran = common::request(
        r#"(func (export "malloc") (param i32) (result i32) unreachable) (data (i32.const 4096) "k")"#,
        &format!(
            "(drop (call $proxy_get_header_map_value
                (i32.const 2) (i32.const 4096) (i32.const 1) (i32.const 32) (i32.const 36))) {SHOW}"
        ),
        RecordingStream::default().with_map(MapType::ResponseHeaders, [("k", "value")]),
    );

    assert_eq!(ran.lines(), ["value"]);
}
