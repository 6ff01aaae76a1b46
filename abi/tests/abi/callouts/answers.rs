//! How an answer is read, and what becomes of one that nobody waits for.

use tollgate_abi::testing::RecordingStream;
use tollgate_abi::{CalloutFailure, Cause, HttpReply, PluginSettings, Refusal, StreamCallback};

use super::{HEADERS, STATUS, call, calling, guest, parts, reply, texts, ticked};
use crate::common::{SHOW, start_calling, strict};

#[test]
fn an_answer_is_read_in_its_callback_from_any_context_and_is_never_written() {
    let read = format!(
        "(call $tell (call $proxy_get_header_map_value
            (i32.const 6) (i32.const 4500) (i32.const 7) (i32.const 32) (i32.const 36))) {SHOW}
         (call $tell (call $proxy_get_header_map_value
            (i32.const 7) (i32.const 4509) (i32.const 1) (i32.const 32) (i32.const 36))) {SHOW}
         (call $tell (call $proxy_get_buffer_bytes
            (i32.const 4) (i32.const 0) (i32.const 99) (i32.const 32) (i32.const 36))) {SHOW}
         (call $tell (call $proxy_get_buffer_status (i32.const 4) (i32.const 32) (i32.const 36)))
         (call $tell (i32.load (i32.const 32)))
         (call $tell (call $proxy_get_header_map_size (i32.const 7) (i32.const 32)))
         (call $tell (i32.load (i32.const 32)))"
    );
    let write = "
        (call $tell (call $proxy_add_header_map_value
            (i32.const 6) (i32.const 4507) (i32.const 1) (i32.const 4507) (i32.const 1)))
        (call $tell (call $proxy_set_buffer_bytes
            (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 4507) (i32.const 1)))";
    let mut vm = calling(&format!("(drop (call $proxy_set_effective_context (i32.const 2))) {write} {read}"));
    vm.begin_stream(RecordingStream::request([]), 0, true).1.unwrap();
    let (id, _) = vm.host().http_calls[0];

    vm.http_call_ended(id, Ok(reply())).unwrap();

    assert_eq!(vm.host().told(), [1, id.get(), 2, 3, 1, 0, 0, 0, 0, 0, 0, 3, 0, 16]);
    assert_eq!(texts(&vm), ["200", "a", "you"]);
    let read_only = ["proxy_add_header_map_value", "proxy_set_buffer_bytes"].map(|call| (call, Refusal::ReadOnly));
    assert_eq!(vm.host().refused, read_only);
}

#[test]
fn writing_to_an_answer_is_a_bad_argument_when_strict() {
    let write = "(call $tell (call $proxy_remove_header_map_value (i32.const 6) (i32.const 4507) (i32.const 1)))";
    let mut vm = start_calling(&guest(&HEADERS, &call(), write), strict());
    vm.tick().unwrap();
    let (id, _) = vm.host().http_calls[0];

    vm.http_call_ended(id, Ok(reply())).unwrap();

    assert_eq!(vm.host().told().last(), Some(&2));
}

#[test]
fn an_answer_is_gone_after_its_callback() {
    let look = "
        (call $tell (call $proxy_get_header_map_value
            (i32.const 6) (i32.const 4500) (i32.const 7) (i32.const 32) (i32.const 36)))
        (call $tell (call $proxy_get_buffer_bytes
            (i32.const 4) (i32.const 0) (i32.const 99) (i32.const 32) (i32.const 36)))";
    let mut vm = ticked(&HEADERS, &format!("{} {look}", call()));
    let (id, _) = vm.host().http_calls[0];
    vm.http_call_ended(id, Ok(reply())).unwrap();
    vm.host_mut().lines.clear();

    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [0, 1, 1]);
}

#[test]
fn a_failure_has_no_headers_and_a_status_that_says_which() {
    for (why, word) in [
        (CalloutFailure::Timeout, "timeout"),
        (CalloutFailure::Connect, "connect"),
        (CalloutFailure::Reset, "reset"),
        (CalloutFailure::Overflow, "overflow"),
        (CalloutFailure::Protocol, "protocol"),
        (CalloutFailure::TooLarge, "too large"),
    ] {
        let mut vm = calling(STATUS);
        let (id, _) = vm.host().http_calls[0];

        vm.http_call_ended(id, Err(why)).unwrap();

        assert_eq!(vm.host().told(), [1, id.get(), 0, 0, 0, 0, 11]);
        assert_eq!(texts(&vm), [word]);
    }
}

#[test]
fn a_success_after_a_failure_has_status_zero() {
    let mut vm = start_calling(&guest(&HEADERS, &call().repeat(2), STATUS), PluginSettings::default());
    vm.tick().unwrap();
    let ids: Vec<_> = vm.host().http_calls.iter().map(|(id, _)| *id).collect();

    vm.http_call_ended(ids[0], Err(CalloutFailure::Reset)).unwrap();
    vm.host_mut().lines.clear();
    vm.http_call_ended(ids[1], Ok(reply())).unwrap();

    assert_eq!(vm.host().told()[5..], [0, 0]);
    assert_eq!(texts(&vm), [""]);
}

#[test]
fn an_answer_without_headers_counts_as_a_failure() {
    let mut vm = calling(STATUS);
    let (id, _) = vm.host().http_calls[0];

    vm.http_call_ended(id, Ok(HttpReply { body: b"you".to_vec(), ..HttpReply::default() })).unwrap();

    assert_eq!(vm.host().told(), [1, id.get(), 0, 0, 0, 0, 11]);
    assert_eq!(texts(&vm), ["protocol"]);
}

#[test]
fn unknown_late_and_second_answers_are_ignored() {
    let mut other = ticked(&HEADERS, &call().repeat(2));
    let (unknown, _) = other.host_mut().http_calls.remove(1);
    let mut vm = calling("");
    let (id, _) = vm.host().http_calls[0];

    vm.http_call_ended(unknown, Ok(reply())).unwrap();
    assert!(vm.host().entries.is_empty());
    vm.http_call_ended(id, Ok(reply())).unwrap();
    vm.http_call_ended(id, Ok(reply())).unwrap();
    vm.http_call_ended(id, Err(CalloutFailure::Timeout)).unwrap();

    assert_eq!(vm.host().entries.len(), 1);
}

#[test]
fn an_answer_that_nobody_wants_is_no_entry() {
    let body = format!(r#"{} (func (export "proxy_on_tick") (param i32) {})"#, parts(&HEADERS), call());
    let mut vm = start_calling(&body, PluginSettings::default());
    vm.tick().unwrap();
    vm.host_mut().entries.clear();
    let (id, _) = vm.host().http_calls[0];

    assert_eq!(vm.http_call_ended(id, Ok(reply())), Ok(()));
    assert!(vm.host().entries.is_empty());
}

#[test]
fn an_answer_to_a_dead_vm_finds_it_poisoned() {
    let mut vm = calling("unreachable");
    let (id, _) = vm.host().http_calls[0];

    assert_eq!(vm.http_call_ended(id, Ok(reply())).unwrap_err().cause, Cause::Trap);
    assert_eq!(vm.http_call_ended(id, Ok(reply())), Ok(()));

    let mut vm = start_calling(&guest(&HEADERS, &format!("{} unreachable", call()), ""), PluginSettings::default());
    vm.tick().unwrap_err();
    let (id, _) = vm.host().http_calls[0];
    assert_eq!(vm.http_call_ended(id, Ok(reply())).unwrap_err().cause, Cause::Poisoned);
}

#[test]
fn an_answer_can_change_and_continue_the_exchange_that_waits_for_it() {
    let mut vm = calling(
        "(drop (call $proxy_set_effective_context (i32.const 2)))
         (drop (call $proxy_add_header_map_value
            (i32.const 0) (i32.const 4507) (i32.const 1) (i32.const 4507) (i32.const 1)))
         (drop (call $proxy_continue_stream (i32.const 0)))",
    );
    let (stream, begun) = vm.begin_stream(RecordingStream::request([]), 0, true);
    let context = begun.unwrap().0;
    vm.host_mut().lendable.insert(context, stream);
    let (id, _) = vm.host().http_calls[0];

    vm.http_call_ended(id, Ok(reply())).unwrap();

    let stream = vm.host_mut().lendable.remove(&context).unwrap();
    assert_eq!(stream.events.len(), 1);
    assert_eq!(stream.maps[&tollgate_abi::MapType::RequestHeaders].fields().len(), 1);
    let callback = StreamCallback::RequestTrailers { fields: 0 };
    assert!(vm.deliver(context, stream, callback).1.is_ok());
}

#[test]
fn an_answer_still_comes_when_the_exchange_that_asked_has_ended() {
    let mut vm = calling("");
    let (stream, begun) = vm.begin_stream(RecordingStream::request([]), 0, true);
    vm.end_stream(begun.unwrap().0, stream).1.unwrap();
    let (id, _) = vm.host().http_calls[0];

    vm.http_call_ended(id, Ok(reply())).unwrap();

    assert_eq!(vm.host().told(), [1, id.get(), 2, 3, 1]);
}
