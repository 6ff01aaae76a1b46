//! What reaches the root from outside an exchange: functions that the embedder calls, looked-up names, timers.

use std::net::IpAddr;
use std::time::Duration;

use tollgate_abi::{CallbackKind, CalloutLimits, Cause, DnsRecord, Limits, PluginSettings, Quota, Refusal};

use crate::common::{SHOW, TestVm, start, start_with};

/// Tells and shows what a callback of three numbers is handed in buffer 8.
fn listener(callback: &str) -> String {
    format!(
        r#"(func (export "{callback}") (param i32 i32 i32)
            (call $tell (local.get 0)) (call $tell (local.get 1)) (call $tell (local.get 2))
            (call $tell (call $proxy_get_buffer_bytes
                (i32.const 8) (i32.const 0) (local.get 2) (i32.const 32) (i32.const 36))) {SHOW})"#
    )
}

const LOOK: &str = "(call $tell (call $proxy_get_buffer_status (i32.const 8) (i32.const 32) (i32.const 36)))";

fn ticking(body: &str) -> String {
    format!(r#"(func (export "proxy_on_tick") (param i32) {body})"#)
}

fn texts(vm: &TestVm) -> Vec<Vec<u8>> {
    let lines = vm.host().lines.iter().filter(|(level, _)| *level == tollgate_abi::LogLevel::Info);
    lines.map(|(_, line)| line.clone()).collect()
}

// functions

#[test]
fn the_embedder_calls_the_guest_with_arguments_in_buffer_eight() {
    let mut vm = start(&(listener("proxy_on_foreign_function") + &ticking(LOOK)));

    vm.call_foreign_function(7, b"hello".to_vec()).unwrap();
    vm.call_foreign_function(u32::MAX, Vec::new()).unwrap();
    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [1, 7, 5, 0, 1, u32::MAX, 0, 0, 1]);
    assert_eq!(texts(&vm), [b"hello".to_vec(), Vec::new()]);
}

#[test]
fn a_guest_without_such_a_callback_is_not_entered() {
    let mut vm = start("");
    vm.host_mut().entries.clear();

    assert_eq!(vm.call_foreign_function(7, b"hello".to_vec()), Ok(()));
    assert!(vm.host().entries.is_empty());
}

#[test]
fn arguments_are_never_written() {
    let mut vm = start(
        r#"(func (export "proxy_on_foreign_function") (param i32 i32 i32)
            (call $tell (call $proxy_set_buffer_bytes
                (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1))))"#,
    );

    vm.call_foreign_function(7, b"hello".to_vec()).unwrap();

    assert_eq!(vm.host().told(), [0]);
    assert_eq!(vm.host().refused, [("proxy_set_buffer_bytes", Refusal::ReadOnly)]);
}

#[test]
fn a_trap_in_an_event_poisons_the_vm_and_names_the_callback() {
    let mut vm = start(r#"(func (export "proxy_on_foreign_function") (param i32 i32 i32) unreachable)"#);

    let failure = vm.call_foreign_function(7, Vec::new()).unwrap_err();

    assert_eq!((failure.callback, failure.cause), (CallbackKind::ForeignFunction, Cause::Trap));
    assert_eq!(vm.call_foreign_function(7, Vec::new()).unwrap_err().cause, Cause::Poisoned);
}

/// Calls "greet" of the embedder with `args`; result words go to 32 and 36 or, when `wanted` is false, nowhere.
fn call_greet(wanted: bool) -> String {
    let (data, size) = if wanted { (32, 36) } else { (0, 0) };
    format!(
        r#"(data (i32.const 4096) "greetworld")
        (func (export "proxy_on_tick") (param i32)
            (call $tell (call $proxy_call_foreign_function (i32.const 4096) (i32.const 5) (i32.const 4101) (i32.const 5)
                (i32.const {data}) (i32.const {size})))
            (call $tell (global.get $next)) {SHOW})"#
    )
}

#[test]
fn the_guest_calls_a_function_of_the_embedder() {
    let mut vm = start(&call_greet(true));
    vm.host_mut().functions.insert(b"greet".to_vec(), b"hello".to_vec());

    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [0, 65541]);
    assert_eq!(texts(&vm), [b"hello"]);
}

#[test]
fn a_result_without_a_place_is_discarded_and_bothers_no_allocator() {
    let mut vm = start(&call_greet(false));
    vm.host_mut().functions.insert(b"greet".to_vec(), b"hello".to_vec());

    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [0, 65536]);
}

#[test]
fn a_function_that_nobody_knows_is_not_found() {
    let mut vm = start(&call_greet(true));

    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [1, 65536]);
}

#[test]
fn the_name_of_a_function_takes_64_kib_and_no_more() {
    let call = |size: u32| {
        format!(
            "(call $tell (call $proxy_call_foreign_function (i32.const 131072) (i32.const {size})
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))"
        )
    };
    let mut vm = start(&ticking(&(call(65536) + &call(65537))));

    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [1, 2]);
}

// names

/// Looks up `size` letters of "origin.example" or what follows them; the token goes to 64.
fn look_up(at: u32, size: u32) -> String {
    format!("(call $tell (call $envoy_resolve_dns (i32.const {at}) (i32.const {size}) (i32.const 64)))")
}

const NAME: &str = r#"(data (i32.const 4096) "origin.example") (data (i32.const 4112) "\ff")"#;

fn resolver(body: &str) -> String {
    NAME.to_owned() + &ticking(body) + &listener("envoy_on_resolve_dns")
}

#[test]
fn a_name_is_looked_up_and_its_addresses_come_in_the_layout_of_envoy() {
    let mut vm = start(&resolver(&format!("{} (call $tell (i32.load (i32.const 64)))", look_up(4096, 14))));
    vm.tick().unwrap();
    let [(token, name)] = &vm.host().lookups[..] else { panic!("one look-up") };
    let (token, name) = (*token, name.clone());
    assert_eq!((vm.host().told(), name.as_str()), (vec![0, token], "origin.example"));
    vm.host_mut().lines.clear();

    let record = DnsRecord { address: IpAddr::from([10, 0, 0, 1]), ttl: Duration::from_secs(60) };
    vm.dns_resolved(token, &[record]).unwrap();
    vm.dns_resolved(token, &[record]).unwrap();

    assert_eq!(vm.host().told(), [1, token, 17, 0]);
    assert_eq!(texts(&vm), [b"\x01\0\0\0\x3c\0\0\x0010.0.0.1\0".to_vec()]);
}

#[test]
fn a_name_without_addresses_comes_as_nothing() {
    let mut vm = start(&resolver(&look_up(4096, 14)));
    vm.tick().unwrap();
    let (token, _) = vm.host().lookups[0];

    vm.dns_resolved(token, &[]).unwrap();

    assert_eq!(vm.host().told(), [0, 1, token, 0, 0]);
}

#[test]
fn a_name_that_is_none_or_that_the_host_refuses_is_a_bad_argument() {
    let body =
        [look_up(4096, 0), look_up(4112, 1), look_up(131_072, 254), look_up(4096, 6), look_up(4096, 14)].concat();
    let mut vm = start(&resolver(&body));

    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [2, 2, 2, 2, 0]);
    assert!(matches!(vm.host().refused[..], [("envoy_resolve_dns", Refusal::Callout(_))]));
}

#[test]
fn so_many_names_are_looked_up_at_one_time_and_an_answer_makes_room() {
    let callouts = CalloutLimits { in_flight: 2, ..CalloutLimits::default() };
    let settings = PluginSettings { limits: Limits { callouts, ..Limits::default() }, ..PluginSettings::default() };
    let mut vm = start_with(&resolver(&look_up(4096, 14).repeat(3)), settings);
    vm.tick().unwrap();
    assert_eq!(vm.host().told(), [0, 0, 10]);
    assert_eq!(vm.host().quotas, [Quota::Callout]);
    let (token, _) = vm.host().lookups[0];

    vm.dns_resolved(token, &[]).unwrap();
    vm.host_mut().lines.clear();
    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [0, 10, 10]);
}

// timers

#[test]
fn a_timer_that_the_vm_does_not_know_is_ignored() {
    let mut vm = start(&listener("proxy_on_foreign_function"));
    vm.host_mut().entries.clear();

    vm.timer_fired(1).unwrap();

    assert!(vm.host().entries.is_empty());
}
