//! Functions that a guest calls by name, as a guest calls them.

use std::time::Duration;

use tollgate_abi::testing::{RecordingHost, RecordingStream};
use tollgate_abi::{Limits, LogLevel, PluginSettings, VecHeaderMap, pairs};

use crate::common::{TestVm, on_request, start_with};

mod bytes;
mod exchange;
mod hostile;
mod later;
mod shared;

/// A call: the name and the arguments.
struct Call<'a>(&'a str, Vec<u8>);

/// What the guest heard: the status, and the result where it is OK.
#[derive(Debug, PartialEq, Eq)]
struct Heard(u32, Vec<u8>);

fn ok(result: &[u8]) -> Heard {
    Heard(0, result.to_vec())
}

fn status(status: u32) -> Heard {
    Heard(status, Vec::new())
}

/// Data segments of the calls from 4096 on, and code that makes them in order.
fn code(calls: &[Call<'_>]) -> (String, String) {
    let (mut data, mut body, mut at) = (String::new(), String::new(), 4096);
    for Call(name, args) in calls {
        let (name_at, args_at) = (at, at + name.len());
        at = args_at + args.len();
        let escaped: String = args.iter().map(|byte| format!("\\{byte:02x}")).collect();
        data += &format!(r#"(data (i32.const {name_at}) "{name}{escaped}")"#);
        body += &format!(
            "(i32.store (i32.const 32) (i32.const 0)) (i32.store (i32.const 36) (i32.const 0))
             (call $tell (call $proxy_call_foreign_function (i32.const {name_at}) (i32.const {})
                (i32.const {args_at}) (i32.const {}) (i32.const 32) (i32.const 36)))
             (call $show (i32.load (i32.const 32)) (i32.load (i32.const 36)))",
            name.len(),
            args.len(),
        );
    }
    assert!(at <= 65536, "the arguments fit the memory of the guest");
    (data, body)
}

/// What the guest told and showed since it started, in pairs.
fn heard(host: &RecordingHost) -> Vec<Heard> {
    let mut heard = Vec::new();
    for (level, line) in &host.lines {
        match level {
            LogLevel::Trace => heard.push(status(u32::from_le_bytes(*line.first_chunk().unwrap()))),
            _ => heard.last_mut().unwrap().1 = line.clone(),
        }
    }
    heard
}

/// Cryptography of a debug build may take longer than a callback has.
fn patient(settings: PluginSettings) -> PluginSettings {
    let limits = Limits { callback: Duration::from_secs(60), ..settings.limits.clone() };
    PluginSettings { limits, ..settings }
}

/// A VM whose guest makes the calls in its request header callback, and an exchange that went through it.
fn exchange(calls: &[Call<'_>], stream: RecordingStream, settings: PluginSettings) -> (TestVm, RecordingStream) {
    let (data, body) = code(calls);
    let mut vm = start_with(&on_request(&data, &body), patient(settings));
    let (stream, outcome) = vm.begin_stream(stream, 0, true);
    outcome.unwrap();
    (vm, stream)
}

fn call_one(name: &str, args: &[u8]) -> Heard {
    let (vm, _) = exchange(&[Call(name, args.to_vec())], RecordingStream::default(), PluginSettings::default());
    heard(vm.host()).remove(0)
}

/// A VM whose guest makes the calls in its root context.
fn root(calls: &[Call<'_>]) -> TestVm {
    let (data, body) = code(calls);
    let mut vm =
        start_with(&format!(r#"{data} (func (export "proxy_on_tick") (param i32) {body})"#), PluginSettings::default());
    vm.tick().unwrap();
    vm
}

/// A field of protobuf that is bytes or text.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let size = u32::try_from(bytes.len()).unwrap();
    assert!(size < 1 << 14);
    let size = match size {
        0..128 => vec![size.to_le_bytes()[0]],
        _ => vec![size.to_le_bytes()[0] | 0x80, (size >> 7).to_le_bytes()[0]],
    };
    [&[number << 3 | 2], size.as_slice(), bytes].concat()
}

/// A field of protobuf that is true.
fn flag(number: u8) -> Vec<u8> {
    vec![number << 3, 1]
}

/// Little-endian numbers, then bytes.
fn numbers<const N: usize>(numbers: [u32; N], rest: &[u8]) -> Vec<u8> {
    [numbers.map(u32::to_le_bytes).as_flattened(), rest].concat()
}

/// A list as guests read it.
fn list<const N: usize>(items: [&str; N]) -> Vec<u8> {
    pairs::encode(&VecHeaderMap::new(items.map(|item| (item, ""))))
}
