//! Hostcalls are told one by one to a host that asks for it.

use std::sync::Arc;
use std::time::Duration;

use tollgate_abi::testing::{RecordingStream, guest};
use tollgate_abi::{Engine, EngineSettings, Host, LogLevel, Module, ModuleLimits, Vm};

#[derive(Default)]
struct Meter<const METERED: bool>(Vec<&'static str>);

impl<const METERED: bool> Host for Meter<METERED> {
    type Stream = RecordingStream;

    const METERS_HOSTCALLS: bool = METERED;

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn hostcall_ended(&mut self, hostcall: &'static str, _: Duration) {
        self.0.push(hostcall);
    }
}

fn told<const METERED: bool>() -> Vec<&'static str> {
    let bytes = guest(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $show (i32.const 4096) (i32.const 1))
            (drop (call $proxy_get_current_time_nanoseconds (i32.const 4096)))
            (drop (call $proxy_set_tick_period_milliseconds (i32.const 0)))
            (i32.const 0))"#,
    );
    let engine = Engine::new(&EngineSettings::default()).unwrap();
    let module = Module::compile(&engine, &bytes, &ModuleLimits::default()).unwrap();
    let mut vm =
        Vm::start(&module, Arc::default(), Meter::<METERED>::default()).map_err(|(failure, _)| failure).unwrap();
    let (_, begun) = vm.begin_stream(RecordingStream::request([(":path", "/")]), 1, true);
    begun.unwrap();
    std::mem::take(&mut vm.host_mut().0)
}

#[test]
fn hostcalls_are_told_in_their_order_to_a_host_that_meters_them() {
    let expected = ["proxy_log", "proxy_get_current_time_nanoseconds", "proxy_set_tick_period_milliseconds"];

    assert_eq!(told::<true>(), expected);
    assert_eq!(told::<false>(), Vec::<&str>::new());
}
