//! TCP connections: their callbacks in order, and what a filter does with the bytes.

use tollgate_abi::testing::{RecordingStream, StreamEvent};
use tollgate_abi::{Action, BufferType, CallbackKind, Cause, ContextId, PeerType, StreamCallback, StreamType};

use crate::common::{SHOW, TestVm, start};

/// Tells a number of its own in each callback, followed by the arguments.
const DIARY: &str = r#"
    (func (export "proxy_on_context_create") (param i32 i32)
        (call $tell (i32.const 101)) (call $tell (local.get 0)) (call $tell (local.get 1)))
    (func (export "proxy_on_new_connection") (param i32) (result i32)
        (call $tell (i32.const 102)) (call $tell (local.get 0)) (i32.const 0))
    (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32)
        (call $tell (i32.const 103)) (call $tell (local.get 0)) (call $tell (local.get 1)) (call $tell (local.get 2))
        (i32.const 0))
    (func (export "proxy_on_upstream_data") (param i32 i32 i32) (result i32)
        (call $tell (i32.const 104)) (call $tell (local.get 0)) (call $tell (local.get 1)) (call $tell (local.get 2))
        (i32.const 1))
    (func (export "proxy_on_downstream_connection_close") (param i32 i32)
        (call $tell (i32.const 105)) (call $tell (local.get 0)) (call $tell (local.get 1)))
    (func (export "proxy_on_upstream_connection_close") (param i32 i32)
        (call $tell (i32.const 106)) (call $tell (local.get 0)) (call $tell (local.get 1)))
    (func (export "proxy_on_done") (param i32) (result i32)
        (call $tell (i32.const 107)) (call $tell (local.get 0)) (i32.const 1))
    (func (export "proxy_on_log") (param i32) (call $tell (i32.const 108)) (call $tell (local.get 0)))
    (func (export "proxy_on_delete") (param i32) (call $tell (i32.const 109)) (call $tell (local.get 0)))"#;

fn down(size: usize) -> StreamCallback {
    StreamCallback::DownstreamData { size, end_of_stream: false }
}

fn up(size: usize) -> StreamCallback {
    StreamCallback::UpstreamData { size, end_of_stream: true }
}

fn connected(body: &str, stream: RecordingStream) -> (TestVm, ContextId, RecordingStream) {
    let mut vm = start(body);
    let (stream, begun) = vm.begin_connection(stream);
    let (id, _) = begun.unwrap();
    vm.host_mut().lines.clear();
    (vm, id, stream)
}

#[test]
fn a_connection_begins_passes_bytes_closes_and_ends_in_the_order_of_the_specification() {
    let mut vm = start(DIARY);
    vm.host_mut().lines.clear();
    vm.host_mut().entries.clear();

    let (mut stream, begun) = vm.begin_connection(RecordingStream::default());
    let (id, first) = begun.unwrap();
    let mut actions = vec![first];
    for callback in [
        down(5),
        up(7),
        StreamCallback::UpstreamClose { peer: PeerType::Unknown },
        StreamCallback::DownstreamClose { peer: PeerType::Remote },
    ] {
        let answer;
        (stream, answer) = vm.deliver(id, stream, callback);
        actions.push(answer.unwrap());
    }
    vm.end_stream(id, stream).1.unwrap();

    let expected = [
        vec![101, 2, 1, 102, 2],
        vec![103, 2, 5, 0],
        vec![104, 2, 7, 1],
        vec![106, 2, 0],
        vec![105, 2, 2],
        vec![107, 2, 108, 2, 109, 2],
    ];
    assert_eq!(vm.host().told(), expected.concat());
    let go = Action::Continue;
    assert_eq!(actions, [go, go, Action::Pause, go, go]);
    assert_eq!(
        vm.host().entries,
        [
            CallbackKind::NewConnection,
            CallbackKind::DownstreamData,
            CallbackKind::UpstreamData,
            CallbackKind::UpstreamConnectionClose,
            CallbackKind::DownstreamConnectionClose,
            CallbackKind::Log
        ]
    );
    assert_eq!(vm.stream_contexts(), 0);
}

#[test]
fn anything_but_zero_pauses_a_connection() {
    for (answer, expected) in [(0, Action::Continue), (1, Action::Pause), (2, Action::Pause), (-1, Action::Pause)] {
        let body = format!(
            r#"(func (export "proxy_on_new_connection") (param i32) (result i32) (i32.const {answer}))
            (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32) (i32.const {answer}))
            (func (export "proxy_on_upstream_data") (param i32 i32 i32) (result i32) (i32.const {answer}))"#
        );
        let mut vm = start(&body);

        let (stream, begun) = vm.begin_connection(RecordingStream::default());
        let (id, first) = begun.unwrap();
        let (stream, second) = vm.deliver(id, stream, down(1));
        let (_, third) = vm.deliver(id, stream, up(1));

        assert_eq!([first, second.unwrap(), third.unwrap()], [expected; 3], "{answer}");
    }
}

#[test]
fn bytes_of_both_sides_are_read_and_written_over() {
    let touch = |buffer: u32| {
        format!(
            "(drop (call $proxy_get_buffer_bytes
                (i32.const {buffer}) (i32.const 0) (local.get 1) (i32.const 32) (i32.const 36))) {SHOW}
             (call $tell (call $proxy_set_buffer_bytes
                (i32.const {buffer}) (i32.const 1) (i32.const 2) (i32.const 4096) (i32.const 3)))"
        )
    };
    let body = format!(
        r#"(data (i32.const 4096) "XYZ")
        (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32) {} (i32.const 0))
        (func (export "proxy_on_upstream_data") (param i32 i32 i32) (result i32) {} (i32.const 0))"#,
        touch(2),
        touch(3)
    );
    let stream = RecordingStream::default()
        .with_buffer(BufferType::DownstreamData, b"abcd")
        .with_buffer(BufferType::UpstreamData, b"efgh");
    let (mut vm, id, stream) = connected(&body, stream);

    let (stream, _) = vm.deliver(id, stream, down(4));
    let (stream, _) = vm.deliver(id, stream, up(4));

    assert_eq!(vm.host().told(), [0, 0]);
    assert_eq!(stream.buffers[&BufferType::DownstreamData], b"aXYZd");
    assert_eq!(stream.buffers[&BufferType::UpstreamData], b"eXYZh");
    let texts = vm.host().text();
    assert!(texts.contains(&"abcd".to_owned()) && texts.contains(&"efgh".to_owned()));
}

#[test]
fn a_tick_continues_and_closes_both_sides() {
    let (mut vm, id, stream) = connected(
        r#"(func (export "proxy_on_new_connection") (param i32) (result i32) (i32.const 1))
        (func (export "proxy_on_tick") (param i32)
            (call $tell (call $proxy_set_effective_context (i32.const 2)))
            (call $tell (call $proxy_continue_stream (i32.const 2)))
            (call $tell (call $proxy_continue_stream (i32.const 3)))
            (call $tell (call $proxy_close_stream (i32.const 2)))
            (call $tell (call $proxy_close_stream (i32.const 3))))"#,
        RecordingStream::default(),
    );
    vm.host_mut().lendable.insert(id, stream);

    vm.tick().unwrap();

    let stream = &vm.host().lendable[&id];
    assert_eq!(vm.host().told(), [0; 5]);
    assert_eq!(
        stream.events,
        [
            StreamEvent::Resumed(StreamType::Downstream),
            StreamEvent::Resumed(StreamType::Upstream),
            StreamEvent::Closed(StreamType::Downstream),
            StreamEvent::Closed(StreamType::Upstream)
        ]
    );
}

#[test]
fn a_filter_of_exchanges_lets_connections_pass() {
    let mut vm = start(r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))"#);
    vm.host_mut().entries.clear();

    let (stream, begun) = vm.begin_connection(RecordingStream::default());
    let (id, action) = begun.unwrap();
    let close = StreamCallback::DownstreamClose { peer: PeerType::Local };
    let (stream, data) = vm.deliver(id, stream, down(1));
    let (stream, closed) = vm.deliver(id, stream, close);
    vm.end_stream(id, stream).1.unwrap();

    assert_eq!((action, data, closed), (Action::Continue, Ok(Action::Continue), Ok(Action::Continue)));
    assert!(vm.host().entries.is_empty());
}

#[test]
fn a_trap_in_the_bytes_of_one_connection_gives_it_back_and_poisons_the_vm() {
    let (mut vm, id, stream) = connected(
        r#"(func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32) unreachable)"#,
        RecordingStream::default().with_buffer(BufferType::DownstreamData, b"abcd"),
    );

    let (stream, outcome) = vm.deliver(id, stream, down(4));
    let (stream, again) = vm.begin_connection(stream);

    assert_eq!(outcome.unwrap_err().cause, Cause::Trap);
    assert_eq!(again.unwrap_err().cause, Cause::Poisoned);
    assert_eq!(stream.buffers[&BufferType::DownstreamData], b"abcd");
}
