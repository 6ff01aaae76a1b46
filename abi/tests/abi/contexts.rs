//! What `proxy_set_effective_context` lets a guest reach, and when its wishes come true.

use tollgate_abi::testing::{RecordingStream, StreamEvent};
use tollgate_abi::{Cause, ContextId, MapType, StreamType};

use crate::common::{SHOW, TestVm, start};

/// Begins one exchange that stays paused, and lends its stream.
fn with_paused(body: &str) -> (TestVm, ContextId) {
    let mut vm = start(body);
    let stream = RecordingStream::request([("who", "paused")]);
    let (stream, begun) = vm.begin_stream(stream, 1, true);
    let (id, _) = begun.unwrap();
    vm.host_mut().lendable.insert(id, stream);
    vm.host_mut().lines.clear();
    (vm, id)
}

#[test]
fn a_tick_reads_changes_and_continues_a_paused_exchange() {
    let (mut vm, id) = with_paused(&format!(
        r#"(data (i32.const 4096) "whonew")
        (func (export "proxy_on_tick") (param i32)
            (call $tell (call $proxy_set_effective_context (i32.const 2)))
            (drop (call $proxy_get_header_map_value
                (i32.const 0) (i32.const 4096) (i32.const 3) (i32.const 32) (i32.const 36)))
            {SHOW}
            (call $tell (call $proxy_add_header_map_value
                (i32.const 0) (i32.const 4099) (i32.const 3) (i32.const 4096) (i32.const 3)))
            (call $tell (call $proxy_continue_stream (i32.const 0))))"#
    ));

    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [0, 0, 0]);
    assert_eq!(vm.host().text()[1], "paused");
    assert!(vm.host().borrowed.is_empty());
    let stream = &vm.host().lendable[&id];
    assert_eq!(stream.events, [StreamEvent::Resumed(StreamType::Request)]);
    assert_eq!(stream.maps[&MapType::RequestHeaders].fields().len(), 2);
}

#[test]
fn only_live_contexts_of_the_same_vm_can_be_chosen() {
    let (mut vm, id) = with_paused(
        r#"(func (export "proxy_on_tick") (param i32)
            (call $tell (call $proxy_set_effective_context (i32.const 0)))
            (call $tell (call $proxy_set_effective_context (i32.const 1)))
            (call $tell (call $proxy_set_effective_context (i32.const 2)))
            (call $tell (call $proxy_set_effective_context (i32.const 3))))"#,
    );

    vm.tick().unwrap();
    let stream = vm.host_mut().lendable.remove(&id).unwrap();
    vm.end_stream(id, stream).1.unwrap();
    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [2, 0, 0, 2, 2, 0, 2, 2]);
}

#[test]
fn a_context_whose_stream_is_elsewhere_has_no_maps_and_refuses_actions() {
    let (mut vm, id) = with_paused(
        r#"(data (i32.const 4096) "who")
        (func (export "proxy_on_tick") (param i32)
            (call $tell (call $proxy_set_effective_context (i32.const 2)))
            (call $tell (call $proxy_get_header_map_value
                (i32.const 0) (i32.const 4096) (i32.const 3) (i32.const 32) (i32.const 36)))
            (call $tell (call $proxy_continue_stream (i32.const 0))))"#,
    );
    vm.host_mut().lendable.remove(&id);

    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [0, 1, 0]);
    assert_eq!(vm.host().refused.len(), 1);
}

#[test]
fn the_choice_ends_with_the_entry() {
    let (mut vm, id) = with_paused(
        r#"(data (i32.const 4096) "who")
        (func (export "proxy_on_tick") (param i32)
            (call $tell (call $proxy_get_header_map_value
                (i32.const 0) (i32.const 4096) (i32.const 3) (i32.const 32) (i32.const 36)))
            (call $tell (call $proxy_set_effective_context (i32.const 2))))"#,
    );

    vm.tick().unwrap();
    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [1, 0, 1, 0]);
    assert!(vm.host().lendable.contains_key(&id));
}

#[test]
fn one_exchange_can_continue_another_and_return_to_itself() {
    let (mut vm, id) = with_paused(
        r#"(data (i32.const 4096) "me")
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (drop (call $proxy_set_effective_context (i32.const 2)))
            (drop (call $proxy_continue_stream (i32.const 0)))
            (drop (call $proxy_set_effective_context (local.get 0)))
            (drop (call $proxy_add_header_map_value
                (i32.const 0) (i32.const 4096) (i32.const 2) (i32.const 4096) (i32.const 2)))
            (drop (call $proxy_close_stream (i32.const 1)))
            (i32.const 0))"#,
    );
    let (own, begun) = vm.begin_stream(RecordingStream::request([]), 0, true);
    let callback = tollgate_abi::StreamCallback::ResponseHeaders { fields: 0, end_of_stream: true };

    let (own, answer) = vm.deliver(begun.unwrap().0, own, callback);

    answer.unwrap();
    assert_eq!(own.events, [StreamEvent::Closed(StreamType::Response)]);
    assert_eq!(own.maps[&MapType::RequestHeaders].fields().len(), 1);
    assert_eq!(vm.host().lendable[&id].events, [StreamEvent::Resumed(StreamType::Request)]);
}

#[test]
fn a_trap_drops_what_was_queued_and_gives_borrowed_streams_back() {
    let (mut vm, id) = with_paused(
        r#"(func (export "proxy_on_tick") (param i32)
            (drop (call $proxy_set_effective_context (i32.const 2)))
            (drop (call $proxy_continue_stream (i32.const 0)))
            unreachable)"#,
    );

    let failure = vm.tick().unwrap_err();

    assert_eq!(failure.cause, Cause::Trap);
    assert_eq!(vm.host().lendable[&id].events, []);
    assert!(vm.host().borrowed.is_empty());
}
