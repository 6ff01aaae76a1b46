//! gRPC calls and streams: what is asked and sent, what is refused, and what comes back.

use std::time::Duration;

use tollgate_abi::testing::{GrpcSent, wat};
use tollgate_abi::{
    CalloutId, CalloutLimits, GrpcCall, GrpcEvent, Limits, PluginSettings, Quota, Refusal, VecHeaderMap,
};

mod events;

use crate::common::{TestVm, compile, data, encoded, start_calling, try_start};

/// Upstream "idp" at 4096, service "auth.Check" at 4104, method "Who" at 4120, message "hello" at 4128, metadata at 4224.
fn parts() -> String {
    data(4096, b"idp")
        + &data(4104, b"auth.Check")
        + &data(4120, b"Who")
        + &data(4128, b"hello")
        + &data(4224, &encoded(&[("t", "1")]))
}

/// Calls the method; tells the answer. The id goes to 32.
fn call_with(timeout: i32) -> String {
    format!(
        "(call $tell (call $proxy_grpc_call (i32.const 4096) (i32.const 3) (i32.const 4104) (i32.const 10)
            (i32.const 4120) (i32.const 3) (i32.const 4224) (i32.const 16) (i32.const 4128) (i32.const 5)
            (i32.const {timeout}) (i32.const 32)))"
    )
}

fn call() -> String {
    call_with(20)
}

const STREAM: &str = "
    (call $tell (call $proxy_grpc_stream (i32.const 4096) (i32.const 3) (i32.const 4104) (i32.const 10)
        (i32.const 4120) (i32.const 3) (i32.const 4224) (i32.const 16) (i32.const 32)))";

const STATUS: &str = "
    (call $tell (call $proxy_get_status (i32.const 40) (i32.const 32) (i32.const 36)))
    (call $tell (i32.load (i32.const 40)))
    (call $show (i32.load (i32.const 32)) (i32.load (i32.const 36)))";

fn send(id: &str, size: u32, end: u32) -> String {
    format!("(call $tell (call $proxy_grpc_send {id} (i32.const 4128) (i32.const {size}) (i32.const {end})))")
}

/// The callout that was begun last.
const LAST: &str = "(i32.load (i32.const 32))";

fn ticking(body: &str) -> String {
    format!(r#"{} (func (export "proxy_on_tick") (param i32) {body})"#, parts())
}

fn ticked_with(body: &str, settings: PluginSettings) -> TestVm {
    let mut vm = start_calling(&ticking(body), settings);
    vm.tick().unwrap();
    vm
}

fn ticked(body: &str) -> TestVm {
    ticked_with(body, PluginSettings::default())
}

fn texts(vm: &TestVm) -> Vec<String> {
    let lines = vm.host().lines.iter().filter(|(level, _)| *level == tollgate_abi::LogLevel::Info);
    lines.map(|(_, line)| String::from_utf8_lossy(line).into_owned()).collect()
}

/// Each of the five callbacks tells a number of its own and its arguments, then does what it is given.
fn listening(body: &str, metadata: &str, message: &str, closed: &str, trailing: &str) -> String {
    let callback = |number: u32, name: &str, then: &str| {
        format!(
            r#"(func (export "{name}") (param i32 i32 i32)
                (call $tell (i32.const {number})) (call $tell (local.get 0)) (call $tell (local.get 1))
                (call $tell (local.get 2)) {then})"#
        )
    };
    ticking(body)
        + &callback(101, "proxy_on_grpc_receive_initial_metadata", metadata)
        + &callback(102, "proxy_on_grpc_receive", message)
        + &callback(103, trailing, metadata)
        + &callback(104, "proxy_on_grpc_close", closed)
}

/// A VM with one callout under way; what was told before is forgotten.
fn calling(body: &str, metadata: &str, message: &str, closed: &str) -> (TestVm, CalloutId) {
    let guest = listening(body, metadata, message, closed, "proxy_on_grpc_receive_trailing_metadata");
    let mut vm = start_calling(&guest, PluginSettings::default());
    vm.tick().unwrap();
    vm.host_mut().lines.clear();
    vm.host_mut().entries.clear();
    let (id, _) = vm.host().grpc_calls[0];
    (vm, id)
}

fn metadata() -> VecHeaderMap {
    VecHeaderMap::new([("t", "a"), ("u", "b")])
}

fn closed(status: u32, message: &str) -> GrpcEvent {
    GrpcEvent::Closed { status, message: message.to_owned() }
}

// what is asked

#[test]
fn a_call_reaches_the_host_whole_and_its_id_the_guest() {
    let vm = ticked(&format!("{} (call $tell {LAST})", call()));

    let [(id, asked)] = &vm.host().grpc_calls[..] else { panic!("one callout") };
    assert_eq!(
        *asked,
        GrpcCall {
            upstream: b"idp".to_vec(),
            service: b"auth.Check".to_vec(),
            method: b"Who".to_vec(),
            metadata: vec![(b"t".to_vec(), b"1".to_vec())],
            message: Some(b"hello".to_vec()),
            timeout: Some(Duration::from_millis(20)),
        }
    );
    assert_eq!(vm.host().told(), [0, id.get()]);
    assert_eq!(id.get() & 3, 1);
}

#[test]
fn a_stream_reaches_the_host_without_message_and_timeout() {
    let vm = ticked(&format!("{STREAM} (call $tell {LAST})"));

    let [(id, asked)] = &vm.host().grpc_calls[..] else { panic!("one callout") };
    assert_eq!((&asked.message, asked.timeout, asked.metadata.len()), (&None, None, 1));
    assert_eq!(asked.method, b"Who");
    assert_eq!(vm.host().told(), [0, id.get()]);
    assert_eq!(id.get() & 3, 2);
}

#[test]
fn old_arities_have_no_metadata_and_everything_else() {
    let bytes = wat(&format!(
        r#"(module
            (import "env" "proxy_grpc_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_grpc_stream" (func $stream (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "proxy_abi_version_0_1_0"))
            (func (export "malloc") (param i32) (result i32) (i32.const 8192))
            {}
            (func (export "proxy_on_tick") (param i32)
                (i32.store (i32.const 16) (call $call (i32.const 4096) (i32.const 3) (i32.const 4104) (i32.const 10)
                    (i32.const 4120) (i32.const 3) (i32.const 4128) (i32.const 5) (i32.const 20) (i32.const 32)))
                (drop (call $log (i32.const 0) (i32.const 16) (i32.const 4)))
                (i32.store (i32.const 16) (call $stream (i32.const 4096) (i32.const 3) (i32.const 4104) (i32.const 10)
                    (i32.const 4120) (i32.const 3) (i32.const 36)))
                (drop (call $log (i32.const 0) (i32.const 16) (i32.const 4)))))"#,
        parts()
    ));
    let mut vm = try_start(&compile(&bytes).unwrap(), PluginSettings::default()).unwrap();
    vm.host_mut().upstreams.push("idp".to_owned());

    vm.tick().unwrap();

    let [(_, call), (_, stream)] = &vm.host().grpc_calls[..] else { panic!("two callouts") };
    assert_eq!((&call.message, call.timeout), (&Some(b"hello".to_vec()), Some(Duration::from_millis(20))));
    assert_eq!((&stream.message, &stream.service), (&None, &b"auth.Check".to_vec()));
    assert!(call.metadata.is_empty() && stream.metadata.is_empty());
    assert_eq!(vm.host().told(), [0, 0]);
}

// what is refused

#[test]
fn an_unknown_upstream_is_a_parse_failure_with_those_that_would_do() {
    for body in [call(), STREAM.to_owned()] {
        let body = body.replacen("(i32.const 3)", "(i32.const 2)", 1);

        let vm = ticked(&format!("{body} {STATUS}"));

        assert_eq!(vm.host().told(), [4, 0, 4]);
        assert_eq!(texts(&vm), ["unknown upstream \"id\"; this filter may call: idp, geo"]);
        assert!(matches!(vm.host().refused[..], [(_, Refusal::Callout(_))]));
    }
}

#[test]
fn malformed_metadata_long_names_and_negative_timeouts_are_internal_failures() {
    let short = call().replace("(i32.const 16)", "(i32.const 15)");
    let long = |place: &str| call().replace(place, "(i32.const 65537)");
    for (body, why) in [
        (short, "not a request that can be sent: malformed: the list of pairs ends early"),
        (long("(i32.const 10)"), "over the limit: bytes of a name"),
        (call_with(-1), "not a request that can be sent: a negative timeout"),
    ] {
        let vm = ticked(&format!("{body} {STATUS}"));

        assert_eq!(vm.host().told(), [10, 0, 10]);
        assert_eq!(texts(&vm), [why]);
        assert!(vm.host().grpc_calls.is_empty());
    }
}

#[test]
fn a_service_name_of_64_kib_is_taken() {
    let vm = ticked(&call().replace("(i32.const 10)", "(i32.const 65536)"));

    assert_eq!(vm.host().told(), [0]);
}

#[test]
fn a_timeout_is_cut_to_the_longest_and_zero_is_the_longest() {
    for (timeout, expected) in [(0, 5_000), (4_999, 4_999), (5_001, 5_000)] {
        let vm = ticked(&call_with(timeout));

        assert_eq!(vm.host().grpc_calls[0].1.timeout, Some(Duration::from_millis(expected)));
    }
}

#[test]
fn calls_and_streams_count_together() {
    let callouts = CalloutLimits { per_callback: 2, ..CalloutLimits::default() };
    let settings = PluginSettings { limits: Limits { callouts, ..Limits::default() }, ..PluginSettings::default() };

    let vm = ticked_with(&format!("{} {STREAM} {STREAM}", call()), settings);

    assert_eq!(vm.host().told(), [0, 0, 10]);
    assert_eq!(vm.host().quotas, [Quota::Callout]);
}

#[test]
fn a_pointer_outside_memory_is_status_six_wherever_it_is_and_nothing_is_sent() {
    let outside = |body: &str, place: &str| body.replacen(&format!("(i32.const {place})"), "(i32.const 1048575)", 1);
    for place in ["4096", "4104", "4120", "4224", "4128", "32"] {
        let vm = ticked(&format!("{} {}", outside(&call(), place), outside(STREAM, place)));

        // A stream has no message.
        let of_stream = if place == "4128" { 0 } else { 6 };
        assert_eq!(vm.host().told(), [6, of_stream], "{place}");
    }
    let vm = ticked(&format!("{STREAM} {}", outside(&send(LAST, 5, 0), "4128")));
    assert_eq!(vm.host().told(), [0, 6]);
    assert!(vm.host().grpc_events.is_empty());
}

// what is sent

#[test]
fn messages_go_out_on_a_stream_until_the_last_one() {
    let vm = ticked(&format!("{STREAM} {} {} {}", send(LAST, 5, 0), send(LAST, 2, 1), send(LAST, 1, 0)));

    let (id, _) = vm.host().grpc_calls[0];
    assert_eq!(vm.host().told(), [0, 0, 0, 2]);
    assert_eq!(
        vm.host().grpc_events,
        [GrpcSent::Message(id, b"hello".to_vec(), false), GrpcSent::Message(id, b"he".to_vec(), true)]
    );
}

#[test]
fn only_an_open_stream_takes_messages() {
    let vm = ticked(&format!(
        "{} {} {} {}",
        call(),
        send(LAST, 5, 0),
        send("(i32.const 4)", 5, 0),
        send("(i32.const 402)", 5, 0)
    ));

    assert_eq!(vm.host().told(), [0, 2, 2, 1]);
    assert!(vm.host().grpc_events.is_empty());
}

#[test]
fn a_message_takes_sixteen_megabytes_and_no_more() {
    let (most, more) = (16 << 20, (16 << 20) + 1);
    let body = format!("(drop (memory.grow (i32.const 300))) {STREAM} {} {}", send(LAST, more, 0), send(LAST, most, 0));
    let limits = Limits { callback: Duration::from_secs(10), ..Limits::default() };

    let vm = ticked_with(&body, PluginSettings { limits, ..PluginSettings::default() });

    assert_eq!(vm.host().told(), [0, 2, 0]);
    assert_eq!(vm.host().grpc_events.len(), 1);
    assert_eq!(vm.host().refused, [("proxy_grpc_send", Refusal::Limit("bytes of a message"))]);
}

#[test]
fn closing_ends_our_half_of_a_stream_once_and_drops_a_call() {
    let close = format!("(call $tell (call $proxy_grpc_close {LAST}))");

    let vm = ticked(&format!("{STREAM} {close} {close} {} {} {close} {close}", send(LAST, 1, 0), call()));

    let ids: Vec<_> = vm.host().grpc_calls.iter().map(|(id, _)| *id).collect();
    assert_eq!(vm.host().told(), [0, 0, 0, 2, 0, 0, 1]);
    assert_eq!(vm.host().grpc_events, [GrpcSent::HalfClosed(ids[0]), GrpcSent::Cancelled(ids[1])]);
}

#[test]
fn cancelling_drops_a_callout_and_nothing_comes_of_it() {
    let cancel = format!("(call $tell (call $proxy_grpc_cancel {LAST}))");
    for begin in [call(), STREAM.to_owned()] {
        let (mut vm, id) = calling(&format!("{begin} {cancel} {cancel}"), "", "", "");
        assert_eq!(vm.host().grpc_events, [GrpcSent::Cancelled(id)]);

        vm.grpc_event(id, GrpcEvent::Message(b"late".to_vec())).unwrap();
        vm.grpc_event(id, closed(0, "")).unwrap();

        assert!(vm.host().entries.is_empty());
    }
    assert_eq!(ticked(&format!("{STREAM} {cancel} {cancel}")).host().told(), [0, 0, 1]);
}

#[test]
fn only_grpc_callouts_can_be_closed_and_cancelled() {
    let vm = ticked(
        "(call $tell (call $proxy_grpc_close (i32.const 4))) (call $tell (call $proxy_grpc_cancel (i32.const 4)))
         (call $tell (call $proxy_grpc_close (i32.const 5))) (call $tell (call $proxy_grpc_cancel (i32.const 6)))
         (call $tell (call $proxy_grpc_close (i32.const 7)))",
    );

    assert_eq!(vm.host().told(), [2, 2, 1, 1, 2]);
}
