//! What the tests share: one engine, and a VM from the body of a guest.

use std::sync::{Arc, LazyLock};

use tollgate_abi::testing::{RecordingHost, RecordingStream, guest};
use tollgate_abi::{
    Engine, EngineSettings, Failure, GuestErrors, Host, LogLevel, Module, ModuleError, ModuleLimits, PluginSettings,
    VecHeaderMap, Vm, pairs,
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

/// Starts `body` on a host that knows the upstreams "idp" and "geo".
pub(crate) fn start_calling(body: &str, settings: PluginSettings) -> TestVm {
    let host = RecordingHost { upstreams: vec!["idp".into(), "geo".into()], ..RecordingHost::default() };
    Vm::start(&module(body), Arc::new(settings), host).map_err(|(failure, _)| failure).expect("the guest starts")
}

/// A data segment of WAT.
pub(crate) fn data(at: usize, bytes: &[u8]) -> String {
    let escaped: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!("(data (i32.const {at}) \"{escaped}\")\n")
}

/// The wire form of a list of fields.
pub(crate) fn encoded(fields: &[(&str, &str)]) -> Vec<u8> {
    pairs::encode(&VecHeaderMap::new(fields.iter().copied()))
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

/// A host that implements only what it must.
#[derive(Default)]
pub(crate) struct Lines(pub(crate) Vec<Vec<u8>>);

impl Host for Lines {
    type Stream = RecordingStream;

    fn log(&mut self, _: LogLevel, message: &[u8]) {
        self.0.push(message.to_vec());
    }
}
