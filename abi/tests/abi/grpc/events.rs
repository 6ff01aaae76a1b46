//! What comes back: metadata, messages and the end.

use tollgate_abi::{CallbackKind, CalloutFailure, Cause, GrpcEvent, PluginSettings, VecHeaderMap};

use super::{STATUS, STREAM, call, calling, closed, listening, metadata, texts};
use crate::common::{SHOW, start_calling};

fn read_metadata(map: u32) -> String {
    format!(
        "(call $tell (call $proxy_get_header_map_value
            (i32.const {map}) (i32.const 4236) (i32.const 1) (i32.const 32) (i32.const 36))) {SHOW}"
    )
}

const READ_MESSAGE: &str = "
    (call $tell (call $proxy_get_buffer_bytes
        (i32.const 5) (i32.const 0) (i32.const 99) (i32.const 44) (i32.const 48)))
    (call $show (i32.load (i32.const 44)) (i32.load (i32.const 48)))";

#[test]
fn a_call_that_succeeds_is_its_metadata_and_its_message_and_then_over() {
    let (mut vm, id) = calling(&call(), &read_metadata(4), READ_MESSAGE, "");

    vm.grpc_event(id, GrpcEvent::InitialMetadata(metadata())).unwrap();
    vm.grpc_event(id, GrpcEvent::Message(b"you".to_vec())).unwrap();
    vm.grpc_event(id, GrpcEvent::Message(b"again".to_vec())).unwrap();
    vm.grpc_event(id, closed(0, "")).unwrap();

    let id = id.get();
    assert_eq!(vm.host().told(), [101, 1, id, 2, 0, 102, 1, id, 3, 0]);
    assert_eq!(texts(&vm), ["a", "you"]);
    assert_eq!(vm.host().entries, [CallbackKind::GrpcReceiveInitialMetadata, CallbackKind::GrpcReceive]);
}

#[test]
fn a_call_that_fails_is_closed_with_its_number_and_words() {
    let (mut vm, id) = calling(&call(), "", "", STATUS);

    vm.grpc_event(id, closed(14, "no endpoint")).unwrap();
    vm.grpc_event(id, closed(14, "no endpoint")).unwrap();

    assert_eq!(vm.host().told(), [104, 1, id.get(), 14, 0, 14]);
    assert_eq!(texts(&vm), ["no endpoint"]);
}

#[test]
fn a_stream_is_heard_until_it_is_closed() {
    let (mut vm, id) = calling(STREAM, &read_metadata(5), READ_MESSAGE, STATUS);

    for event in [
        GrpcEvent::InitialMetadata(VecHeaderMap::default()),
        GrpcEvent::Message(b"one".to_vec()),
        GrpcEvent::Message(Vec::new()),
        GrpcEvent::TrailingMetadata(metadata()),
        closed(0, ""),
        GrpcEvent::Message(b"late".to_vec()),
    ] {
        vm.grpc_event(id, event).unwrap();
    }

    let id = id.get();
    let expected = [
        // The trailing map is absent while the initial one is shown.
        vec![101, 1, id, 0, 1],
        vec![102, 1, id, 3, 0],
        vec![102, 1, id, 0, 0],
        vec![103, 1, id, 2, 0],
        vec![104, 1, id, 0, 0, 0],
    ];
    assert_eq!(vm.host().told(), expected.concat());
    assert_eq!(texts(&vm)[1..4], ["one", "", "a"]);
}

#[test]
fn trailing_metadata_is_heard_under_the_name_of_assemblyscript_too() {
    let guest = listening(STREAM, &read_metadata(5), "", "", "proxy_on_grpc_trailing_metadata");
    let mut vm = start_calling(&guest, PluginSettings::default());
    vm.tick().unwrap();
    let (id, _) = vm.host().grpc_calls[0];

    vm.grpc_event(id, GrpcEvent::TrailingMetadata(metadata())).unwrap();

    assert_eq!(vm.host().told(), [0, 103, 1, id.get(), 2, 0]);
    assert!(vm.exports(CallbackKind::GrpcReceiveTrailingMetadata));
}

#[test]
fn a_message_is_gone_after_its_callback() {
    let (mut vm, id) = calling(&format!("{READ_MESSAGE} {STREAM}"), "", "", "");
    vm.grpc_event(id, GrpcEvent::Message(b"one".to_vec())).unwrap();
    vm.host_mut().lines.clear();

    vm.tick().unwrap();

    assert_eq!(vm.host().told()[0], 1);
}

#[test]
fn an_event_of_another_kind_of_callout_is_ignored() {
    let (mut vm, id) = calling(STREAM, "", "", "");

    vm.http_call_ended(id, Err(CalloutFailure::Reset)).unwrap();
    assert!(vm.host().entries.is_empty());
    vm.grpc_event(id, closed(0, "")).unwrap();

    assert_eq!(vm.host().entries, [CallbackKind::GrpcClose]);
}

#[test]
fn an_event_for_a_dead_vm_finds_it_poisoned() {
    let (mut vm, id) = calling(STREAM, "", "unreachable", "");
    let event = || GrpcEvent::Message(b"one".to_vec());

    assert_eq!(vm.grpc_event(id, event()).unwrap_err().cause, Cause::Trap);
    assert_eq!(vm.grpc_event(id, event()).unwrap_err().cause, Cause::Poisoned);
}
