//! Hostcalls are told one by one, with what they copied, to a host that asks for it.

use std::sync::Arc;
use std::time::Duration;

use tollgate_abi::testing::{RecordingStream, guest};
use tollgate_abi::{Engine, EngineSettings, Host, LogLevel, Module, ModuleLimits, Vm};

#[derive(Default)]
struct Meter<const METERED: bool>(Vec<(&'static str, usize)>);

impl<const METERED: bool> Host for Meter<METERED> {
    type Stream = RecordingStream;

    const METERS_HOSTCALLS: bool = METERED;

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn hostcall_ended(&mut self, hostcall: &'static str, _: Duration, copied: usize) {
        self.0.push((hostcall, copied));
    }
}

/// What a metering host hears of a guest with this body of its callback for the head of a request.
fn told<const METERED: bool>(body: &str) -> Vec<(&'static str, usize)> {
    let bytes = guest(&format!(
        r#"(data (i32.const 4096) ":path") (data (i32.const 4104) "x-toll") (data (i32.const 4112) "paid")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {body} (i32.const 0))"#
    ));
    let engine = Engine::new(&EngineSettings::default()).unwrap();
    let module = Module::compile(&engine, &bytes, &ModuleLimits::default()).unwrap();
    let mut vm =
        Vm::start(&module, Arc::default(), Meter::<METERED>::default()).map_err(|(failure, _)| failure).unwrap();
    let (_, begun) = vm.begin_stream(RecordingStream::request([(":path", "/a")]), 1, true);
    begun.unwrap();
    std::mem::take(&mut vm.host_mut().0)
}

const MANY: &str = "(call $show (i32.const 4096) (i32.const 1))
    (drop (call $proxy_get_current_time_nanoseconds (i32.const 4096)))
    (drop (call $proxy_set_tick_period_milliseconds (i32.const 0)))";

#[test]
fn hostcalls_are_told_in_their_order_to_a_host_that_meters_them() {
    let names: Vec<_> = told::<true>(MANY).into_iter().map(|(name, _)| name).collect();

    assert_eq!(names, ["proxy_log", "proxy_get_current_time_nanoseconds", "proxy_set_tick_period_milliseconds"]);
    assert_eq!(told::<false>(MANY), []);
}

#[test]
fn names_values_and_lines_are_counted_and_numbers_are_not() {
    for (body, name, copied) in [
        ("(call $show (i32.const 4104) (i32.const 6))", "proxy_log", 6),
        (
            "(drop (call $proxy_get_header_map_value (i32.const 0) (i32.const 4096) (i32.const 5)
                (i32.const 5000) (i32.const 5004)))",
            "proxy_get_header_map_value",
            ":path".len() + "/a".len(),
        ),
        (
            "(drop (call $proxy_add_header_map_value (i32.const 0) (i32.const 4104) (i32.const 6)
                (i32.const 4112) (i32.const 4)))",
            "proxy_add_header_map_value",
            "x-toll".len() + "paid".len(),
        ),
        (
            "(drop (call $proxy_get_header_map_pairs (i32.const 0) (i32.const 5000) (i32.const 5004)))",
            "proxy_get_header_map_pairs",
            // A count, two sizes, and a NUL behind either text.
            4 + 8 + ":path".len() + "/a".len() + 2,
        ),
        ("(drop (call $random_get (i32.const 5000) (i32.const 9)))", "random_get", 9),
        // What lies outside of memory is refused before a byte is read.
        (
            "(drop (call $proxy_add_header_map_value (i32.const 0) (i32.const 4104) (i32.const 6)
                (i32.const -1) (i32.const 4)))",
            "proxy_add_header_map_value",
            "x-toll".len(),
        ),
        ("(drop (call $proxy_get_current_time_nanoseconds (i32.const 4096)))", "proxy_get_current_time_nanoseconds", 0),
    ] {
        assert_eq!(told::<true>(body), [(name, copied)]);
    }
}
