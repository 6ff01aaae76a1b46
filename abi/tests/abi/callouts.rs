//! HTTP callouts: what is asked, what is refused, and how the answer is read.

use std::sync::Arc;
use std::time::Duration;

use tollgate_abi::testing::RecordingStream;
use tollgate_abi::{
    CalloutFailure, CalloutLimits, HttpCall, HttpReply, Limits, PluginSettings, Quota, Refusal, VecHeaderMap, Vm,
};

mod answers;

use crate::common::{TestVm, data, encoded, module, start_calling};

const HEADERS: [(&str, &str); 4] =
    [(":method", "POST"), (":path", "/who"), (":authority", "idp.example"), ("x-trace", "1")];

/// Upstream "idp" at 4096, body "hello" at 4104, trailers at 4112, headers at 4224.
fn parts(headers: &[(&str, &str)]) -> String {
    data(4096, b"idp") + &data(4104, b"hello") + &data(4112, &encoded(&[("t", "1")])) + &data(4224, &encoded(headers))
}

/// Calls "idp" with those headers; tells the answer. The id goes to 32.
fn call_with(headers: &[(&str, &str)], timeout: i32) -> String {
    format!(
        "(call $tell (call $proxy_http_call (i32.const 4096) (i32.const 3) (i32.const 4224) (i32.const {})
            (i32.const 4104) (i32.const 5) (i32.const 4112) (i32.const 16) (i32.const {timeout}) (i32.const 32)))",
        encoded(headers).len()
    )
}

fn call() -> String {
    call_with(&HEADERS, 20)
}

/// Tells the status of the last callout and shows its words.
const STATUS: &str = "
    (call $tell (call $proxy_get_status (i32.const 40) (i32.const 32) (i32.const 36)))
    (call $tell (i32.load (i32.const 40)))
    (call $show (i32.load (i32.const 32)) (i32.load (i32.const 36)))";

/// A guest that does `body` at each tick and `answered` when a callout ends; the arguments of the latter are told.
fn guest(headers: &[(&str, &str)], body: &str, answered: &str) -> String {
    format!(
        r#"{} (data (i32.const 4500) ":statusx-ta")
        (func (export "proxy_on_tick") (param i32) {body})
        (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
            (call $tell (local.get 0)) (call $tell (local.get 1)) (call $tell (local.get 2))
            (call $tell (local.get 3)) (call $tell (local.get 4)) {answered})
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))"#,
        parts(headers)
    )
}

fn ticked(headers: &[(&str, &str)], body: &str) -> TestVm {
    ticked_with(headers, body, PluginSettings::default())
}

fn ticked_with(headers: &[(&str, &str)], body: &str, settings: PluginSettings) -> TestVm {
    let mut vm = start_calling(&guest(headers, body, ""), settings);
    vm.tick().unwrap();
    vm
}

/// A VM with one callout under way that does `answered` when it ends; what was told before is forgotten.
fn calling(answered: &str) -> TestVm {
    let mut vm = start_calling(&guest(&HEADERS, &call(), answered), PluginSettings::default());
    vm.tick().unwrap();
    vm.host_mut().lines.clear();
    vm.host_mut().entries.clear();
    vm
}

fn texts(vm: &TestVm) -> Vec<String> {
    let lines = vm.host().lines.iter().filter(|(level, _)| *level == tollgate_abi::LogLevel::Info);
    lines.map(|(_, line)| String::from_utf8_lossy(line).into_owned()).collect()
}

fn reply() -> HttpReply {
    HttpReply {
        headers: VecHeaderMap::new([(":status", "200"), ("x", "1")]),
        body: b"you".to_vec(),
        trailers: VecHeaderMap::new([("t", "a")]),
    }
}

fn limited(callouts: CalloutLimits) -> PluginSettings {
    PluginSettings { limits: Limits { callouts, ..Limits::default() }, ..PluginSettings::default() }
}

// what is asked

#[test]
fn a_callout_reaches_the_host_whole_and_its_id_the_guest() {
    let vm = ticked(&HEADERS, &format!("{} (call $tell (i32.load (i32.const 32)))", call()));

    let owned = |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    let [(id, asked)] = &vm.host().http_calls[..] else { panic!("one callout") };
    assert_eq!(
        *asked,
        HttpCall {
            upstream: b"idp".to_vec(),
            headers: HEADERS.iter().map(owned).collect(),
            body: b"hello".to_vec(),
            trailers: vec![(b"t".to_vec(), b"1".to_vec())],
            timeout: Duration::from_millis(20),
        }
    );
    assert_eq!(vm.host().told(), [0, id.get()]);
    assert_ne!(id.get(), 0);
}

#[test]
fn body_and_trailers_may_be_nothing() {
    let body = call().replace("(i32.const 5)", "(i32.const 0)").replace("(i32.const 16)", "(i32.const 0)");

    let vm = ticked(&HEADERS, &body);

    let (_, asked) = &vm.host().http_calls[0];
    assert!(asked.body.is_empty() && asked.trailers.is_empty());
}

#[test]
fn each_pseudo_header_is_required_and_named_when_it_lacks() {
    for missing in [":method", ":path", ":authority"] {
        let headers: Vec<_> = HEADERS.into_iter().filter(|(name, _)| *name != missing).collect();

        let vm = ticked(&headers, &format!("{} {STATUS}", call_with(&headers, 20)));

        assert_eq!(vm.host().told(), [2, 0, 2]);
        assert_eq!(texts(&vm), [format!("not a request that can be sent: {missing} is missing")]);
        assert!(vm.host().http_calls.is_empty());
        assert!(matches!(vm.host().refused[..], [("proxy_http_call", Refusal::Callout(_))]));
    }
}

#[test]
fn malformed_headers_and_trailers_are_a_bad_argument() {
    let size = encoded(&HEADERS).len();
    for (whole, short) in [(size, size - 1), (16, 15)] {
        let body = call().replace(&format!("(i32.const {whole})"), &format!("(i32.const {short})"));

        let vm = ticked(&HEADERS, &body);

        assert_eq!(vm.host().told(), [2]);
        assert!(vm.host().http_calls.is_empty());
    }
}

#[test]
fn a_pointer_outside_memory_is_status_six_wherever_it_is_and_nothing_is_sent() {
    for place in ["4096", "4224", "4104", "4112", "32"] {
        // The last byte of 16 pages: no more than it fits there.
        let call = call().replacen(&format!("(i32.const {place})"), "(i32.const 1048575)", 1);

        let vm = ticked(&HEADERS, &call);

        assert_eq!(vm.host().told(), [6], "{place}");
        assert!(vm.host().http_calls.is_empty());
    }
}

#[test]
fn a_timeout_is_cut_to_the_longest_zero_is_the_longest_and_a_negative_one_refused() {
    let asked = |timeout| {
        let vm = ticked(&HEADERS, &call_with(&HEADERS, timeout));
        (vm.host().told(), vm.host().http_calls.first().map(|(_, call)| call.timeout))
    };
    let seconds = |seconds| Some(Duration::from_secs(seconds));

    assert_eq!(asked(0), (vec![0], seconds(5)));
    assert_eq!(asked(1_000), (vec![0], seconds(1)));
    assert_eq!(asked(5_001), (vec![0], seconds(5)));
    assert_eq!(asked(i32::MAX), (vec![0], seconds(5)));
    assert_eq!(asked(-1), (vec![2], None));
}

// what is refused

#[test]
fn an_unknown_upstream_is_refused_with_those_that_would_do() {
    let vm = ticked(&HEADERS, &format!("{} {STATUS}", call().replace("(i32.const 3)", "(i32.const 2)")));

    assert_eq!(vm.host().told(), [2, 0, 2]);
    assert_eq!(texts(&vm), ["unknown upstream \"id\"; this filter may call: idp, geo"]);
}

#[test]
fn the_reason_of_a_refusal_does_not_outlive_its_entry() {
    let mut vm = start_calling(
        &guest(
            &HEADERS,
            &format!(
                "(if (i32.eqz (i32.load (i32.const 64)))
                    (then (i32.store (i32.const 64) (i32.const 1)) {})
                    (else {STATUS}))",
                call().replace("(i32.const 3)", "(i32.const 2)")
            ),
            "",
        ),
        PluginSettings::default(),
    );

    vm.tick().unwrap();
    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [2, 0, 0]);
    assert_eq!(texts(&vm), [""]);
}

#[test]
fn one_callback_begins_so_many_callouts_and_the_next_one_as_many_again() {
    let mut vm = ticked_with(
        &HEADERS,
        &call().repeat(3),
        limited(CalloutLimits { per_callback: 2, ..CalloutLimits::default() }),
    );
    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [0, 0, 10, 0, 0, 10]);
    assert_eq!(vm.host().quotas, [Quota::Callout; 2]);
    assert_eq!(vm.host().http_calls.len(), 4);
}

#[test]
fn each_step_of_the_start_begins_as_many_callouts_as_a_callback() {
    let body = format!(
        r#"{} (func (export "proxy_on_vm_start") (param i32 i32) (result i32) {} (i32.const 1))
        (func (export "proxy_on_configure") (param i32 i32) (result i32) {} (i32.const 1))"#,
        parts(&HEADERS),
        call().repeat(2),
        call().repeat(2)
    );

    let vm = start_calling(&body, limited(CalloutLimits { per_callback: 1, ..CalloutLimits::default() }));

    assert_eq!(vm.host().told(), [0, 10, 0, 10]);
}

#[test]
fn one_exchange_begins_so_many_callouts_whoever_speaks_for_it() {
    let body = format!("(drop (call $proxy_set_effective_context (i32.const 2))) {}", call());
    let settings = limited(CalloutLimits { per_stream: 2, ..CalloutLimits::default() });
    let mut vm = start_calling(&guest(&HEADERS, &body, ""), settings);
    let (stream, begun) = vm.begin_stream(RecordingStream::request([]), 0, true);
    let id = begun.unwrap().0;
    vm.host_mut().lendable.insert(id, stream);

    for _ in 0..3 {
        vm.tick().unwrap();
    }

    assert_eq!(vm.host().told(), [0, 0, 10]);
    assert_eq!(vm.host().quotas, [Quota::Callout]);
}

#[test]
fn one_vm_has_so_many_callouts_under_way_and_an_answer_makes_room() {
    let mut vm =
        ticked_with(&HEADERS, &call().repeat(3), limited(CalloutLimits { in_flight: 2, ..CalloutLimits::default() }));
    assert_eq!(vm.host().told(), [0, 0, 10]);
    let (first, _) = vm.host().http_calls[0];
    vm.host_mut().lines.clear();

    vm.http_call_ended(first, Err(CalloutFailure::Timeout)).unwrap();
    vm.host_mut().lines.clear();
    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [0, 10, 10]);
    assert_eq!(vm.host().quotas, [Quota::Callout; 3]);
}

/// Grows to 64 MiB less a page and calls with a body of this size, `count` times.
fn large(size: usize, count: usize) -> TestVm {
    let call = call().replace("(i32.const 4104) (i32.const 5)", &format!("(i32.const 131072) (i32.const {size})"));
    let body = format!("(drop (memory.grow (i32.const 1000))) {}", call.repeat(count));
    let callouts = CalloutLimits { per_callback: 10, ..CalloutLimits::default() };
    // Copying that much takes longer than a callback of a filter may.
    let limits = Limits { callouts, callback: Duration::from_secs(10), ..Limits::default() };
    ticked_with(&HEADERS, &body, PluginSettings { limits, ..PluginSettings::default() })
}

#[test]
fn a_body_of_sixteen_megabytes_is_sent_and_one_byte_more_is_not() {
    assert_eq!(large(16 << 20, 1).host().told(), [0]);
    assert_eq!(large((16 << 20) + 1, 1).host().told(), [10]);
}

#[test]
fn requests_under_way_come_to_sixty_four_megabytes_and_no_more() {
    let vm = large(16 << 20, 5);

    // Names and headers count too, so a fourth body of 16 MiB is past the bound.
    assert_eq!(vm.host().told(), [0, 0, 0, 10, 10]);
}

#[test]
fn a_host_that_makes_no_callouts_answers_an_internal_failure() {
    let module = module(&guest(&HEADERS, &format!("{} {STATUS}", call()), ""));
    let lines = crate::common::Lines::default();
    let mut vm =
        Vm::start(&module, Arc::new(PluginSettings::default()), lines).map_err(|(failure, _)| failure).unwrap();

    vm.tick().unwrap();

    assert_eq!(vm.host().0.last().unwrap(), b"this host makes no such calls");
}
