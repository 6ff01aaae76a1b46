//! Contexts that ask to outlive their exchange, and roots that ask to outlive their plugin.

use tollgate_abi::testing::{RecordingStream, StreamEvent};
use tollgate_abi::{Cause, ContextId, StreamCallback};

use crate::common::{TestVm, start};

/// A guest that asks for more time at the end of every exchange; `ready` says when it is done.
fn waiting(ready: &str) -> String {
    format!(
        r#"(func (export "proxy_on_done") (param i32) (result i32)
            (call $tell (i32.const 101)) (call $tell (local.get 0)) (i32.const 0))
        (func (export "proxy_on_log") (param i32) (call $tell (i32.const 102)) (call $tell (local.get 0)))
        (func (export "proxy_on_delete") (param i32) (call $tell (i32.const 103)) (call $tell (local.get 0)))
        (func (export "proxy_on_response_trailers") (param i32 i32) (result i32) (call $tell (i32.const 104)) (i32.const 0))
        (func (export "proxy_on_tick") (param i32) {ready})"#
    )
}

const READY: &str = "(call $tell (call $proxy_set_effective_context (i32.const 2))) (call $tell (call $proxy_done))";

fn begun(body: &str) -> (TestVm, ContextId, RecordingStream) {
    let mut vm = start(body);
    let (stream, begun) = vm.begin_stream(RecordingStream::request([]), 0, true);
    (vm, begun.unwrap().0, stream)
}

#[test]
fn an_exchange_that_asks_for_time_is_logged_and_deleted_once_it_is_done() {
    let (mut vm, id, stream) = begun(&waiting(READY));

    let (stream, asked) = vm.finish_stream(id, stream);
    assert_eq!((asked, vm.host().told()), (Ok(false), vec![101, 2]));
    assert_eq!(vm.stream_contexts(), 1);

    vm.host_mut().lendable.insert(id, stream);
    vm.tick().unwrap();
    let stream = vm.host_mut().lendable.remove(&id).unwrap();
    assert_eq!(stream.events, [StreamEvent::Done]);

    let (stream, ended) = vm.end_stream(id, stream);
    assert_eq!(ended, Ok(()));
    vm.end_stream(id, stream).1.unwrap();
    assert_eq!(vm.host().told(), [101, 2, 0, 0, 102, 2, 103, 2]);
    assert_eq!(vm.stream_contexts(), 0);
}

#[test]
fn an_exchange_that_is_ready_ends_at_once() {
    let body = waiting("")
        .replace("(call $tell (local.get 0)) (i32.const 0))\n", "(call $tell (local.get 0)) (i32.const 1))\n");
    let (mut vm, id, stream) = begun(&body);

    let (_, asked) = vm.finish_stream(id, stream);

    assert_eq!((asked, vm.host().told()), (Ok(true), vec![101, 2, 102, 2, 103, 2]));
    assert_eq!(vm.stream_contexts(), 0);
}

#[test]
fn asking_again_changes_nothing_until_the_guest_is_ready() {
    let (mut vm, id, stream) = begun(&waiting(READY));
    let (stream, _) = vm.finish_stream(id, stream);

    let (stream, again) = vm.finish_stream(id, stream);
    assert_eq!((again, vm.host().told()), (Ok(false), vec![101, 2]));

    vm.host_mut().lendable.insert(id, stream);
    vm.tick().unwrap();
    let stream = vm.host_mut().lendable.remove(&id).unwrap();
    let (_, ready) = vm.finish_stream(id, stream);
    assert_eq!((ready, vm.host().told()), (Ok(true), vec![101, 2, 0, 0, 102, 2, 103, 2]));
}

#[test]
fn patience_ends_an_exchange_whatever_its_guest_says() {
    let (mut vm, id, stream) = begun(&waiting(""));
    let (stream, _) = vm.finish_stream(id, stream);

    vm.end_stream(id, stream).1.unwrap();

    assert_eq!(vm.host().told(), [101, 2, 102, 2, 103, 2]);
    assert_eq!(vm.stream_contexts(), 0);
}

#[test]
fn an_exchange_that_is_ended_by_force_is_asked_all_the_same() {
    let (mut vm, id, stream) = begun(&waiting(""));

    vm.end_stream(id, stream).1.unwrap();

    assert_eq!(vm.host().told(), [101, 2, 102, 2, 103, 2]);
}

#[test]
fn done_from_within_on_done_is_as_good_as_its_answer() {
    let body = waiting("").replace("(local.get 0)) (i32.const 0))", "(call $proxy_done)) (i32.const 0))");
    let (mut vm, id, stream) = begun(&body);

    let (stream, asked) = vm.finish_stream(id, stream);

    assert_eq!((asked, vm.host().told()), (Ok(true), vec![101, 0, 102, 2, 103, 2]));
    assert_eq!(stream.events, []);
}

#[test]
fn done_is_not_found_before_it_is_owed_and_after_it_was_said() {
    let (mut vm, id, stream) = begun(&waiting(&format!("{READY} (call $tell (call $proxy_done))")));
    vm.host_mut().lendable.insert(id, stream);
    vm.tick().unwrap();
    let stream = vm.host_mut().lendable.remove(&id).unwrap();
    assert_eq!(vm.host().told(), [0, 1, 1]);

    let (stream, _) = vm.finish_stream(id, stream);
    vm.host_mut().lendable.insert(id, stream);
    vm.host_mut().lines.clear();
    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [0, 0, 1]);
    assert_eq!(vm.host().lendable[&id].events, [StreamEvent::Done]);
}

#[test]
fn an_ended_exchange_cannot_be_chosen_and_hears_nothing() {
    let (mut vm, id, stream) = begun(&waiting(READY));
    let (stream, _) = vm.end_stream(id, stream);
    vm.host_mut().lines.clear();

    vm.tick().unwrap();
    let (stream, late) = vm.deliver(id, stream, StreamCallback::ResponseTrailers { fields: 0 });
    let (_, asked) = vm.finish_stream(id, stream);

    // The root, which stays chosen, owes nothing either.
    assert_eq!(vm.host().told(), [2, 1]);
    assert!(late.is_ok());
    assert_eq!(asked, Ok(true));
}

#[test]
fn a_trap_in_on_done_ends_the_exchange_and_poisons_the_vm() {
    let (mut vm, id, stream) = begun(r#"(func (export "proxy_on_done") (param i32) (result i32) unreachable)"#);

    let (stream, asked) = vm.finish_stream(id, stream);

    assert_eq!(asked.unwrap_err().cause, Cause::Trap);
    assert_eq!(stream, RecordingStream::request([]));
    assert_eq!(vm.stream_contexts(), 0);
    let (_, again) = vm.finish_stream(id, stream);
    assert_eq!(again.unwrap_err().cause, Cause::Poisoned);
}

// roots

#[test]
fn a_root_that_waits_still_ticks_and_one_that_is_ready_hears_nothing_more() {
    let mut vm = start(
        r#"(func (export "proxy_on_done") (param i32) (result i32) (i32.const 0))
        (func (export "proxy_on_tick") (param i32) (call $tell (call $proxy_done)))
        (func (export "proxy_on_foreign_function") (param i32 i32 i32) (call $tell (i32.const 9)))"#,
    );
    assert_eq!(vm.finish(), Ok(false));

    vm.call_foreign_function(7, Vec::new()).unwrap();
    vm.tick().unwrap();
    assert!(vm.is_done());
    vm.tick().unwrap();
    vm.call_foreign_function(7, Vec::new()).unwrap();

    assert_eq!(vm.host().told(), [9, 0]);
}

#[test]
fn a_root_that_is_ready_still_serves_the_exchanges_it_has() {
    let mut vm = start(r#"(func (export "proxy_on_tick") (param i32) (call $tell (i32.const 9)))"#);
    let (stream, begun) = vm.begin_stream(RecordingStream::request([]), 0, true);
    assert_eq!(vm.finish(), Ok(true));

    vm.tick().unwrap();
    vm.end_stream(begun.unwrap().0, stream).1.unwrap();
    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [9]);
}

#[test]
fn a_root_says_it_is_done_from_within_on_done() {
    let mut vm = start(
        r#"(func (export "proxy_on_done") (param i32) (result i32) (call $tell (call $proxy_done)) (i32.const 0))"#,
    );

    assert_eq!(vm.finish(), Ok(true));
    assert_eq!(vm.host().told(), [0]);
}
