//! Functions that are answered later.

use std::time::Duration;

use tollgate_abi::testing::RecordingStream;
use tollgate_abi::{DnsRecord, Limits, PluginSettings, Quota};

use super::{Call, Heard, code, exchange, heard, numbers, ok, status};
use crate::common::{TestVm, on_request, start_with};

/// A guest that makes `calls` in its request header callback, chooses the context that a late answer names, and tells the
/// function, the context and what follows.
fn listening(calls: &[Call<'_>]) -> TestVm {
    let (data, body) = code(calls);
    let guest = format!(
        r#"{}
        (func (export "proxy_on_foreign_function") (param i32 i32 i32)
            (call $tell (local.get 1))
            (drop (call $proxy_get_buffer_bytes
                (i32.const 8) (i32.const 0) (local.get 2) (i32.const 32) (i32.const 36)))
            (call $show (i32.load (i32.const 32)) (i32.load (i32.const 36))))"#,
        on_request(&data, &body)
    );
    start_with(&guest, PluginSettings::default())
}

fn timer(milliseconds: u32) -> Call<'static> {
    Call("tollgate.set_timer", numbers([milliseconds], b""))
}

#[test]
fn a_timer_of_an_exchange_fires_once_with_its_context() {
    let mut vm = listening(&[timer(50), timer(0)]);
    let (_, begun) = vm.begin_stream(RecordingStream::default(), 0, true);
    let (context, _) = begun.unwrap();
    assert_eq!(heard(vm.host()), [ok(&[1, 0, 0, 0]), ok(&[2, 0, 0, 0])]);
    assert_eq!(vm.host().timers, [(1, Duration::from_millis(50)), (2, Duration::from_millis(10))]);

    for number in [1, 1, 3] {
        vm.timer_fired(number).unwrap();
    }

    assert_eq!(heard(vm.host())[2..], [Heard(1, numbers([context.get(), 1], b""))]);
}

#[test]
fn a_timer_dies_with_its_exchange_and_a_cancelled_one_at_once() {
    let cancel = |number| Call("tollgate.cancel_timer", numbers([number], b""));
    let mut vm =
        listening(&[timer(50), timer(60), cancel(1), cancel(1), cancel(9), Call("tollgate.cancel_timer", vec![])]);
    let (stream, begun) = vm.begin_stream(RecordingStream::default(), 0, true);
    let (context, _) = begun.unwrap();
    assert_eq!(heard(vm.host())[2..], [status(0), status(1), status(1), status(2)]);
    assert_eq!(vm.host().timers, [(2, Duration::from_millis(60))]);

    vm.end_stream(context, stream).1.unwrap();
    for number in [1, 2] {
        vm.timer_fired(number).unwrap();
    }

    assert!(vm.host().timers.is_empty());
    assert_eq!(heard(vm.host()).len(), 6);
}

#[test]
fn only_so_many_timers_run_at_once() {
    let limits = Limits { timers: 2, ..Limits::default() };
    let calls = [timer(1000), timer(1000), timer(1000), Call("tollgate.set_timer", vec![0; 5])];

    let (mut vm, _) =
        exchange(&calls, RecordingStream::default(), PluginSettings { limits, ..PluginSettings::default() });

    assert_eq!(heard(vm.host())[2..], [status(10), status(2)]);
    assert_eq!(vm.host().quotas, [Quota::Timer]);
    vm.timer_fired(1).unwrap();
    vm.begin_stream(RecordingStream::default(), 0, true).1.unwrap();
    assert_eq!(heard(vm.host())[4..6], [ok(&[3, 0, 0, 0]), status(10)]);
}

#[test]
fn a_timer_of_the_root_outlives_exchanges() {
    let (data, body) = code(&[timer(50)]);
    let mut vm = start_with(
        &format!(
            r#"{data} (func (export "proxy_on_tick") (param i32) {body})
            (func (export "proxy_on_foreign_function") (param i32 i32 i32) (call $tell (local.get 1)))"#
        ),
        PluginSettings::default(),
    );
    vm.tick().unwrap();
    let (stream, begun) = vm.begin_stream(RecordingStream::default(), 0, true);
    vm.end_stream(begun.unwrap().0, stream).1.unwrap();

    vm.timer_fired(1).unwrap();

    assert_eq!(heard(vm.host()), [ok(&[1, 0, 0, 0]), status(1)]);
}

fn resolve(name: &str) -> Call<'_> {
    Call("tollgate.resolve_dns", name.into())
}

#[test]
fn a_host_name_is_looked_up_and_answered_with_its_context() {
    let mut vm = listening(&[resolve("a.example"), resolve("b.example")]);
    let (_, begun) = vm.begin_stream(RecordingStream::default(), 0, true);
    let context = begun.unwrap().0.get();
    assert_eq!(vm.host().lookups, [(1, "a.example".to_owned()), (2, "b.example".to_owned())]);

    let record = DnsRecord { address: [10, 0, 0, 1].into(), ttl: Duration::from_secs(60) };
    for (token, records) in [(1, &[record][..]), (1, &[record]), (2, &[]), (3, &[])] {
        vm.dns_resolved(token, records).unwrap();
    }

    let found = Heard(2, numbers([context, 1, 1, 60], b"10.0.0.1\0"));
    let failed = Heard(2, numbers([context, 2, 0], b""));
    assert_eq!(heard(vm.host())[2..], [found, failed]);
}

#[test]
fn a_look_up_of_an_exchange_that_has_ended_is_not_answered() {
    let mut vm = listening(&[resolve("a.example")]);
    let (stream, begun) = vm.begin_stream(RecordingStream::default(), 0, true);
    vm.end_stream(begun.unwrap().0, stream).1.unwrap();

    vm.dns_resolved(1, &[]).unwrap();

    assert_eq!(heard(vm.host()), [ok(&[1, 0, 0, 0])]);
}

#[test]
fn a_look_up_that_is_refused_or_one_too_many_says_so() {
    let long = format!("{}.x", "a".repeat(252));
    let mut settings = PluginSettings::default();
    settings.limits.callouts.in_flight = 1;
    let calls = [resolve("nowhere"), resolve(""), resolve(&long), resolve(&long[1..]), resolve("b.example")];

    let (vm, _) = exchange(&calls, RecordingStream::default(), settings);

    assert_eq!(heard(vm.host()), [status(2), status(2), status(2), ok(&[2, 0, 0, 0]), status(10)]);
    assert_eq!(vm.host().quotas, [Quota::Callout]);
}
