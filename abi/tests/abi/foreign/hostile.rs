//! Whatever a guest hands to whatever function, it hears a status that SDKs survive and the host goes on.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use tollgate_abi::testing::{RecordingStream, guest};
use tollgate_abi::{BufferType, Module, PluginSettings};

use super::{field, flag, numbers, patient};
use crate::common::{compile, on_request, try_start};

/// The names that the crate knows, and one that it does not.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/foreign.rs")).unwrap();
    let arms = source.lines().filter_map(|line| line.trim_start().strip_prefix("b\"")?.split_once("\" =>"));
    let mut names: Vec<String> = arms.map(|(name, _)| name.to_owned()).collect();
    assert!(names.len() > 15, "the names are where the test looks");
    names.push("nobody".to_owned());
    names
});

/// Calls the function that the one body names with the other as arguments, after taking all memory back.
static CALLER: LazyLock<Module> = LazyLock::new(|| {
    let read = |buffer: u32, at: u32| {
        format!(
            "(drop (call $proxy_get_buffer_bytes (i32.const {buffer}) (i32.const 0) (i32.const 65536)
                (i32.const {at}) (i32.const {})))",
            at + 4
        )
    };
    let load = |at: u32| format!("(i32.load (i32.const {at}))");
    let body = format!(
        "(global.set $next (i32.const 65536)) {} {}
         (call $tell (call $proxy_call_foreign_function {} {} {} {} (i32.const 48) (i32.const 52)))",
        read(0, 32),
        read(1, 40),
        load(32),
        load(36),
        load(40),
        load(44),
    );
    compile(&guest(&on_request("", &body))).unwrap()
});

/// Arguments that some function takes.
fn good() -> [Vec<u8>; 6] {
    let key = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----";
    [
        b"\x78\x9c\x2b\xc9\xcf\xc9\x49\x4f\x2c\x49\x55\x28\x41\x67\x00\x00\x8c\x39\x0a\x55".to_vec(),
        [field(1, b"sha256"), field(3, b"signature"), field(4, b"text"), field(5, key.as_bytes())].concat(),
        [field(1, b"eyJhbGciOiJIUzI1NiJ9.e30.AAAA"), field(4, br#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#)].concat(),
        [field(1, b"name"), flag(2)].concat(),
        numbers([3, 0, 4], b"name and value"),
        b"a.example".to_vec(),
    ]
}

/// One of those with some bytes changed, and cut somewhere; or anything.
fn arguments() -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let spoilt = (prop::sample::select(good().to_vec()), changes, any::<prop::sample::Index>(), any::<bool>());
    prop_oneof![
        3 => spoilt.prop_map(|(mut bytes, changes, end, cut)| {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let end = if cut { end.index(bytes.len()) } else { bytes.len() };
            bytes[..end].to_vec()
        }),
        1 => any::<Vec<u8>>(),
    ]
}

fn call() -> impl Strategy<Value = (String, Vec<u8>)> {
    (prop::sample::select(NAMES.clone()), arguments())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_arguments_are_answered_with_a_status_that_sdks_survive(
        calls in proptest::collection::vec(call(), 1..20),
    ) {
        let mut vm = try_start(&CALLER, patient(PluginSettings::default())).unwrap();

        for (name, arguments) in &calls {
            let stream = RecordingStream::default()
                .with_buffer(BufferType::RequestBody, name.as_bytes())
                .with_buffer(BufferType::ResponseBody, arguments);
            let (_, outcome) = vm.begin_stream(stream, 0, true);
            prop_assert!(outcome.is_ok(), "{name}: {outcome:?}");
        }

        let told = vm.host().told();
        prop_assert_eq!(told.len(), calls.len());
        prop_assert!(told.iter().all(|status| [0, 1, 2, 3, 10].contains(status)), "{:?}", told);
    }
}
