//! What a failure does to a VM, and what it does not do to anything else.

use tollgate_abi::testing::{RecordingHost, RecordingStream, StreamEvent};
use tollgate_abi::{CallbackKind, Cause, PluginSettings, StreamCallback, Vm};

use crate::common::{module, on_request, start, try_start};

/// Traps when the request has a header "x", else continues.
const MINE: &str = r#"(data (i32.const 4096) "x")
    (func $step (export "step") unreachable)
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (if (i32.eqz (call $proxy_get_header_map_value
                (i32.const 0) (i32.const 4096) (i32.const 1) (i32.const 32) (i32.const 36)))
            (then (drop (call $proxy_continue_stream (i32.const 0))) (call $step)))
        (i32.const 0))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0))
    (func (export "proxy_on_log") (param i32))
    (func (export "proxy_on_tick") (param i32))"#;

fn mined() -> RecordingStream {
    RecordingStream::request([("x", "boom")])
}

#[test]
fn a_trap_in_one_stream_leaves_its_neighbour_serving() {
    let module = module(MINE);
    let mut vm = try_start(&module, PluginSettings::default()).unwrap();
    let mut neighbour = try_start(&module, PluginSettings::default()).unwrap();

    let (stream, outcome) = vm.begin_stream(mined(), 1, true);

    assert_eq!(outcome.unwrap_err().cause, Cause::Trap);
    assert_eq!(stream, mined());
    assert!(vm.is_poisoned());
    assert!(!neighbour.is_poisoned());
    assert!(neighbour.begin_stream(RecordingStream::request([]), 0, true).1.is_ok());
}

#[test]
fn a_poisoned_vm_answers_at_once_and_gives_the_stream_back() {
    let mut vm = start(MINE);
    let (live, begun) = vm.begin_stream(RecordingStream::request([]), 0, true);
    let (id, _) = begun.unwrap();
    vm.begin_stream(mined(), 1, true).1.unwrap_err();
    vm.host_mut().entries.clear();

    let (live, delivered) = vm.deliver(id, live, StreamCallback::ResponseHeaders { fields: 0, end_of_stream: true });
    let (_, begun) = vm.begin_stream(mined(), 1, true);
    let ticked = vm.tick();
    assert_eq!(vm.stream_contexts(), 1);
    let (live, ended) = vm.end_stream(id, live);

    for failure in [delivered.unwrap_err(), begun.unwrap_err(), ticked.unwrap_err(), ended.unwrap_err()] {
        assert_eq!(failure.cause, Cause::Poisoned);
        assert!(failure.message.contains("trap in request_headers"), "{failure}");
    }
    assert_eq!(live, RecordingStream::request([]));
    assert!(vm.host().entries.is_empty());
    assert_eq!(vm.stream_contexts(), 0);
    assert_eq!(vm.finish().unwrap_err().cause, Cause::Poisoned);
    vm.retire();
}

#[test]
fn a_failure_tells_callback_reason_and_frames() {
    let mut vm = start(MINE);

    let failure = vm.begin_stream(mined(), 1, true).1.unwrap_err();

    assert_eq!(failure.callback, CallbackKind::RequestHeaders);
    assert_eq!(failure.to_string(), "trap in request_headers: wasm trap: wasm `unreachable` instruction executed");
    assert_eq!(failure.backtrace.len(), 2, "{:?}", failure.backtrace);
    assert!(failure.backtrace[0].contains("step"), "{:?}", failure.backtrace);
}

#[test]
fn names_of_frames_are_demangled() {
    let mut vm = start(
        r#"(func $_ZN6filter5guard4open17h0123456789abcdefE unreachable)
        (func (export "proxy_on_tick") (param i32) (call $_ZN6filter5guard4open17h0123456789abcdefE))"#,
    );

    let failure = vm.tick().unwrap_err();

    assert!(failure.backtrace[0].contains("filter::guard::open"), "{:?}", failure.backtrace);
}

#[test]
fn a_trap_while_the_context_is_made_names_that_callback() {
    let mut vm = start(
        r#"(func (export "proxy_on_context_create") (param i32 i32) (if (local.get 1) (then unreachable)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#,
    );

    let failure = vm.begin_stream(mined(), 1, true).1.unwrap_err();

    assert_eq!(failure.callback, CallbackKind::ContextCreate);
    assert_eq!(vm.stream_contexts(), 0);
}

#[test]
fn an_exit_ends_the_instance_with_its_code() {
    for code in [0, -1, 42] {
        let mut vm = start(&on_request("", &format!("(call $proc_exit (i32.const {code}))")));

        let failure = vm.begin_stream(mined(), 1, true).1.unwrap_err();

        assert_eq!(failure.cause, Cause::Exit(code));
        assert_eq!(failure.message, format!("the filter exited with code {code}"));
        assert!(vm.is_poisoned());
    }
}

#[test]
fn what_a_trapped_callback_asked_for_does_not_happen() {
    let mut vm = start(MINE);

    let (stream, _) = vm.begin_stream(mined(), 1, true);

    assert_eq!(stream.events, [] as [StreamEvent; 0]);
}

#[test]
fn a_trap_at_the_end_still_ends_the_context() {
    let mut vm = start(r#"(func (export "proxy_on_log") (param i32) unreachable)"#);
    let (stream, begun) = vm.begin_stream(mined(), 1, true);

    let (stream, ended) = vm.end_stream(begun.unwrap().0, stream);

    assert_eq!(ended.unwrap_err().callback, CallbackKind::Log);
    assert_eq!(stream, mined());
    assert_eq!(vm.stream_contexts(), 0);
}

#[test]
fn a_panic_of_the_host_in_a_hostcall_is_caught_and_the_stream_comes_back() {
    let mut vm = start(&on_request("", "(call $show (i32.const 0) (i32.const 1))"));
    vm.host_mut().panics_on_log = true;

    let (stream, outcome) = vm.begin_stream(mined(), 1, true);

    let failure = outcome.unwrap_err();
    assert_eq!(failure.cause, Cause::Host);
    assert_eq!(failure.message, "the host panicked: the recording host was told to panic");
    assert_eq!(stream, mined());
    assert!(vm.is_poisoned());
}

#[test]
fn a_panic_of_the_host_at_the_start_gives_the_host_back() {
    let module = module("(func $go (call $show (i32.const 0) (i32.const 1))) (start $go)");
    let host = RecordingHost { panics_on_log: true, ..RecordingHost::default() };

    let (failure, host) = Vm::start(&module, PluginSettings::default().into(), host).unwrap_err();

    assert_eq!(failure.cause, Cause::Host);
    assert!(host.panics_on_log);
}

#[test]
fn a_trap_at_the_start_names_its_step() {
    for (body, step) in [
        ("(func $go unreachable) (start $go)", CallbackKind::Init),
        (r#"(func (export "_initialize") unreachable)"#, CallbackKind::Init),
        (r#"(func (export "proxy_on_context_create") (param i32 i32) unreachable)"#, CallbackKind::ContextCreate),
        (r#"(func (export "proxy_on_vm_start") (param i32 i32) (result i32) unreachable)"#, CallbackKind::VmStart),
        (r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) unreachable)"#, CallbackKind::Configure),
    ] {
        let (failure, _) = try_start(&module(body), PluginSettings::default()).unwrap_err();

        assert_eq!((failure.callback, failure.cause), (step, Cause::Trap));
    }
}

#[test]
fn every_cause_has_a_word() {
    let words: Vec<&str> =
        [Cause::Trap, Cause::Deadline, Cause::Memory, Cause::Exit(1), Cause::Refused, Cause::Host, Cause::Poisoned]
            .iter()
            .map(Cause::as_str)
            .collect();

    assert_eq!(words, ["trap", "deadline", "memory", "exit", "refused", "host", "poisoned"]);
}
