//! Code compiled in one place and loaded in another: the same filter, or the same refusal.

use std::sync::Arc;

use tollgate_abi::testing::{RecordingHost, RecordingStream, guest, wat};
use tollgate_abi::{
    AbiVersion, Artifact, Engine, EngineSettings, Instructions, Module, ModuleError, ModuleLimits, PluginSettings, Vm,
};

use crate::common::{ENGINE, compile, on_request};

fn precompile(bytes: &[u8]) -> Result<Artifact, ModuleError> {
    Module::precompile(&ENGINE, bytes, &ModuleLimits::default(), None)
}

fn load(engine: &Engine, bytes: &[u8], artifact: &Artifact) -> Result<Module, ModuleError> {
    Module::from_artifact(engine, bytes, &ModuleLimits::default(), None, artifact)
}

#[test]
fn a_module_of_an_artifact_serves_on_another_engine_of_the_same_fingerprint() {
    let bytes = guest(&on_request("", "(call $tell (i32.const 7))"));
    let settings = EngineSettings { parallel_compilation: false, ..EngineSettings::default() };
    let other = Engine::new(&settings).unwrap();
    let artifact = Artifact::vouched(precompile(&bytes).unwrap().as_bytes().to_vec());

    let module = load(&other, &bytes, &artifact).unwrap();
    let vm = Vm::start(&module, Arc::new(PluginSettings::default()), RecordingHost::default());
    let mut vm = vm.map_err(|(failure, _)| failure).unwrap();
    let (_, begun) = vm.begin_stream(RecordingStream::default(), 0, true);

    assert_eq!(ENGINE.fingerprint(), other.fingerprint());
    begun.unwrap();
    assert_eq!(vm.host().told(), [7]);
}

#[test]
fn code_for_any_processor_serves_on_this_one_and_is_told_apart() {
    let bytes = guest(&on_request("", "(call $tell (i32.popcnt (i32.const 7)))"));
    let common = EngineSettings { instructions: Instructions::Common, ..EngineSettings::default() };
    let [first, second] = [&common; 2].map(|settings| Engine::new(settings).unwrap());
    let artifact = Module::precompile(&first, &bytes, &ModuleLimits::default(), None).unwrap();

    let module = load(&second, &bytes, &artifact).unwrap();
    let vm = Vm::start(&module, Arc::new(PluginSettings::default()), RecordingHost::default());
    let mut vm = vm.map_err(|(failure, _)| failure).unwrap();
    let (_, begun) = vm.begin_stream(RecordingStream::default(), 0, true);

    assert_eq!(first.fingerprint(), second.fingerprint());
    assert_ne!(first.fingerprint(), ENGINE.fingerprint());
    begun.unwrap();
    assert_eq!(vm.host().told(), [3]);
}

#[test]
fn precompile_and_check_refuse_what_compile_refuses_with_the_same_words() {
    let refused = [b"<html>".to_vec(), wat("(module)"), guest("")[..50].to_vec()];

    for bytes in &refused {
        let error = compile(bytes).unwrap_err();
        assert_eq!(precompile(bytes).unwrap_err(), error);
        assert_eq!(Module::check(bytes, &ModuleLimits::default(), None).unwrap_err(), error);
    }
}

#[test]
fn code_that_is_not_valid_is_for_precompile_to_refuse_with_the_words_of_compile() {
    let bytes = guest(r#"(func (result i32) (i64.const 1))"#);

    assert_eq!(Module::check(&bytes, &ModuleLimits::default(), None), Ok(AbiVersion::V0_2_1));
    assert!(matches!(precompile(&bytes).unwrap_err(), ModuleError::Invalid(_)));
    assert_eq!(precompile(&bytes).unwrap_err(), compile(&bytes).unwrap_err());
}

#[test]
fn code_does_not_make_a_module_of_bytes_that_are_refused() {
    let artifact = precompile(&guest("")).unwrap();

    let refused = load(&ENGINE, &wat("(module)"), &artifact).unwrap_err();

    assert_eq!(refused, ModuleError::NoAbiVersion);
}

#[test]
fn bytes_that_are_no_code_are_an_error_of_their_own() {
    let bytes = guest("");

    for code in [&b""[..], b"no code", &bytes] {
        let refused = load(&ENGINE, &bytes, &Artifact::vouched(code.to_vec())).unwrap_err();
        assert!(matches!(refused, ModuleError::Artifact(_)), "{refused}");
    }
}
