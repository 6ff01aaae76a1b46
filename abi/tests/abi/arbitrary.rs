//! Whatever a guest passes to whatever it calls, the host neither panics nor loses the stream.

use proptest::prelude::*;
use std::sync::LazyLock;

use tollgate_abi::testing::RecordingStream;
use tollgate_abi::testing::puppet::{self, CALLS};
use tollgate_abi::{BufferType, Cause, MapType, Module, PluginSettings};

use crate::common::{compile, try_start};

static PUPPET: LazyLock<Module> = LazyLock::new(|| compile(&puppet::module()).unwrap());

/// Arguments that are often a valid enum, pointer or size, and often just wrong.
fn argument() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => 0_u32..10,
        3 => 4096_u32..8192,
        1 => 0_u32..2_000_000,
        1 => 1_048_560_u32..1_048_592,
        1 => any::<u32>(),
        1 => Just(u32::MAX),
    ]
}

fn call() -> impl Strategy<Value = Vec<u8>> {
    let which = 0..u32::try_from(CALLS.len()).unwrap();
    (which, proptest::array::uniform8(argument())).prop_map(|(which, arguments)| {
        [&[which][..], &arguments].concat().iter().flat_map(|number| number.to_le_bytes()).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_calls_with_any_arguments_leave_the_host_standing(calls in proptest::collection::vec(call(), 1..40)) {
        let settings = PluginSettings {
            env: vec![("NAME".into(), "value".into())],
            ..PluginSettings::default()
        };
        let mut vm = try_start(&PUPPET, settings).unwrap();
        vm.host_mut().properties.insert(puppet::SCRIPT.to_owned(), [vec![0; 4], calls.concat()].concat());
        let stream = RecordingStream::request([(":path", "/"), ("a", "b")])
            .with_map(MapType::ResponseHeaders, [(":status", "200")])
            .with_buffer(BufferType::RequestBody, b"body");

        let (stream, begun) = vm.begin_stream(stream, 2, false);

        prop_assert!(stream.maps.len() == 2);
        if let Err(failure) = begun {
            prop_assert_ne!(failure.cause, Cause::Host, "{}", failure);
        }
    }
}
