//! Functions on the exchange, and how functions are found at all.

use tollgate_abi::testing::{RecordingStream, StreamEvent};
use tollgate_abi::{MapType, PluginSettings, Quota, Refusal};

use super::{Call, call_one, code, exchange, field, flag, heard, list, numbers, ok, root, status};
use crate::common::{TestVm, on_request, start_with, strict};

#[test]
fn the_route_is_chosen_again_and_a_root_has_none() {
    let calls = [Call("clear_route_cache", Vec::new())];
    let (vm, stream) = exchange(&calls, RecordingStream::default(), PluginSettings::default());

    assert_eq!(stream.events, [StreamEvent::RouteCleared]);
    assert_eq!(heard(vm.host()), [status(0)]);
    assert_eq!(heard(root(&calls).host()), [status(0)]);
}

/// A guest that declares `user` to be set once, and sets it to `a` and to `b` with the hostcall.
fn set_twice(settings: PluginSettings) -> (TestVm, RecordingStream) {
    let (data, body) = code(&[Call("declare_property", [field(1, b"user"), flag(2)].concat())]);
    let set = |value: u32| {
        format!(
            "(call $tell (call $proxy_set_property
                (i32.const 60000) (i32.const 4) (i32.const {value}) (i32.const 1)))"
        )
    };
    let data = format!(r#"{data} (data (i32.const 60000) "userab")"#);
    let guest = on_request(&data, &[body, set(60004), set(60005)].concat());
    let mut vm = start_with(&guest, settings);
    let (stream, outcome) = vm.begin_stream(RecordingStream::default(), 0, true);
    outcome.unwrap();
    (vm, stream)
}

#[test]
fn a_property_declared_read_only_is_set_once() {
    let (vm, stream) = set_twice(PluginSettings::default());
    assert_eq!(vm.host().told(), [0, 0, 0]);
    assert_eq!(vm.host().refused, [("proxy_set_property", Refusal::ReadOnly)]);
    assert_eq!(stream.properties["user"], b"a");

    let (vm, _) = set_twice(strict());
    assert_eq!(vm.host().told(), [0, 0, 2]);
}

#[test]
fn a_read_only_property_can_be_set_in_the_next_exchange() {
    let (mut vm, first) = set_twice(PluginSettings::default());
    let before = vm.host().refused.len();

    let (second, outcome) = vm.begin_stream(RecordingStream::default(), 0, true);

    outcome.unwrap();
    assert_eq!((first.properties["user"].as_slice(), second.properties["user"].as_slice()), (&b"a"[..], &b"a"[..]));
    assert_eq!(vm.host().refused.len(), before + 1);
}

#[test]
fn a_name_is_declared_once_and_sixty_four_of_them_at_most() {
    let declare = |name: &str| Call("declare_property", field(1, name.as_bytes()));
    let mut calls: Vec<_> = (0..65).map(|number| declare(&number.to_string())).collect();
    calls.push(declare("0"));
    calls.push(Call("declare_property", b"\xff".to_vec()));

    let (vm, _) = exchange(&calls, RecordingStream::default(), PluginSettings::default());

    let heard = heard(vm.host());
    assert!(heard[..64].iter().all(|heard| *heard == status(0)));
    assert_eq!(heard[64..], [status(10), status(2), status(2)]);
    assert_eq!(vm.host().quotas, [Quota::Property]);
}

#[test]
fn filter_state_is_a_property_of_the_exchange() {
    let set =
        |value: &[u8]| Call("set_envoy_filter_state", [field(1, b"sni"), field(2, value), vec![0x18, 2]].concat());
    let declare = Call("declare_property", [field(1, b"sni"), flag(2)].concat());

    let (vm, stream) =
        exchange(&[set(b"a"), set(b"b"), declare, set(b"c")], RecordingStream::default(), PluginSettings::default());

    assert_eq!(heard(vm.host()), [status(0), status(0), status(0), status(2)]);
    assert_eq!(stream.properties["sni"], b"b");
    assert_eq!(vm.host().refused, [("proxy_call_foreign_function", Refusal::ReadOnly)]);
    assert_eq!(heard(root(&[set(b"a")]).host()), [status(1)]);
    assert_eq!(call_one("set_envoy_filter_state", b"\xff"), status(2));
}

#[test]
fn every_value_of_a_name_is_given_and_none_is_not_found() {
    let values = |map: u32, name: &str| Call("tollgate.header_values", numbers([map], name.as_bytes()));
    let stream = RecordingStream::request([("Accept", "a"), ("x", "1"), ("accept", "b")])
        .with_map(MapType::ResponseTrailers, [("x", "")]);
    let short = Call("tollgate.header_values", vec![0; 3]);
    let calls =
        [values(0, "aCCEPT"), values(3, "x"), values(0, "y"), values(2, "x"), values(8, "x"), values(6, "x"), short];

    let (vm, _) = exchange(&calls, stream, PluginSettings::default());

    let expected = [ok(&list(["a", "b"])), ok(&list([""])), status(1), status(1), status(2), status(1), status(2)];
    assert_eq!(heard(vm.host()), expected);
}

#[test]
fn a_function_acts_on_the_chosen_context() {
    let (data, body) = code(&[Call("tollgate.header_values", numbers([0], b"x"))]);
    let tick = format!(
        r#"(func (export "proxy_on_tick") (param i32)
            (drop (call $proxy_set_effective_context (i32.const 2))) {body})"#
    );
    let mut vm = start_with(&[on_request(&data, ""), tick].concat(), PluginSettings::default());
    let (stream, begun) = vm.begin_stream(RecordingStream::request([("x", "1")]), 1, true);
    vm.host_mut().lendable.insert(begun.unwrap().0, stream);

    vm.tick().unwrap();

    assert_eq!(heard(vm.host()), [ok(&list(["1"]))]);
}

#[test]
fn other_names_are_the_embedders() {
    let (data, body) = code(&[Call("own", b"args".to_vec()), Call("expr_create", b"1".to_vec()), Call("", Vec::new())]);
    let mut vm = start_with(&on_request(&data, &body), PluginSettings::default());
    vm.host_mut().functions.insert(b"own".to_vec(), b"answer".to_vec());

    vm.begin_stream(RecordingStream::default(), 0, true).1.unwrap();

    assert_eq!(heard(vm.host()), [ok(b"answer"), status(1), status(1)]);
}

#[test]
fn a_result_that_is_not_wanted_is_dropped() {
    let guest = on_request(
        r#"(data (i32.const 4096) "compress")"#,
        "(call $tell (call $proxy_call_foreign_function
            (i32.const 4096) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))",
    );
    let mut vm = start_with(&guest, PluginSettings::default());

    vm.begin_stream(RecordingStream::default(), 0, true).1.unwrap();

    assert_eq!(vm.host().told(), [0]);
}
