//! What the tests share: one engine, and a VM from the body of a guest.

use std::sync::{Arc, LazyLock};

use tollgate_abi::testing::{RecordingHost, RecordingStream, guest};
use tollgate_abi::{
    Engine, EngineSettings, Failure, GuestErrors, Module, ModuleError, ModuleLimits, PluginSettings, Vm,
};

/// One engine for all tests of a binary, as a proxy has one.
pub(crate) static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(&EngineSettings::default()).expect("default settings work"));

/// Shows the result whose pointer a hostcall wrote to 32 and whose length to 36.
pub(crate) const SHOW: &str = "(call $show (i32.load (i32.const 32)) (i32.load (i32.const 36)))";

pub(crate) type TestVm = Vm<RecordingHost>;

pub(crate) fn compile(bytes: &[u8]) -> Result<Module, ModuleError> {
    Module::compile(&ENGINE, bytes, &ModuleLimits::default())
}

pub(crate) fn module(body: &str) -> Module {
    compile(&guest(body)).expect("the guest compiles")
}

#[expect(clippy::result_large_err, reason = "the host comes back by value, as the crate promises")]
pub(crate) fn try_start(module: &Module, settings: PluginSettings) -> Result<TestVm, (Failure, RecordingHost)> {
    Vm::start(module, Arc::new(settings), RecordingHost::default())
}

pub(crate) fn start_with(body: &str, settings: PluginSettings) -> TestVm {
    try_start(&module(body), settings).expect("the guest starts")
}

pub(crate) fn start(body: &str) -> TestVm {
    start_with(body, PluginSettings::default())
}

pub(crate) fn strict() -> PluginSettings {
    PluginSettings { guest_errors: GuestErrors::Strict, ..PluginSettings::default() }
}

/// A guest whose request header callback does `body` and continues; `data` are data segments and helpers.
pub(crate) fn on_request(data: &str, body: &str) -> String {
    format!(
        r#"{data}
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {body} (i32.const 0))"#
    )
}

/// Starts such a guest and runs the callback on `stream`.
pub(crate) fn request(data: &str, body: &str, stream: RecordingStream) -> Ran {
    request_with(data, body, stream, PluginSettings::default())
}

pub(crate) fn request_with(data: &str, body: &str, stream: RecordingStream, settings: PluginSettings) -> Ran {
    let mut vm = start_with(&on_request(data, body), settings);
    let (stream, outcome) = vm.begin_stream(stream, 0, false);
    outcome.expect("the callback ends well");
    Ran { vm, stream }
}

/// What is left after a callback.
pub(crate) struct Ran {
    pub(crate) vm: TestVm,
    pub(crate) stream: RecordingStream,
}

impl Ran {
    pub(crate) fn told(&self) -> Vec<u32> {
        self.vm.host().told()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let host = self.vm.host();
        let told = |level: &tollgate_abi::LogLevel| *level == tollgate_abi::LogLevel::Trace;
        let lines = host.lines.iter().filter(|(level, _)| !told(level));
        lines.map(|(_, line)| String::from_utf8_lossy(line).into_owned()).collect()
    }

    pub(crate) fn refused(&self) -> Vec<&'static str> {
        self.vm.host().refused.iter().map(|(hostcall, _)| *hostcall).collect()
    }
}
