//! Functions on the data that VMs share.

use tollgate_abi::testing::RecordingStream;
use tollgate_abi::{PluginSettings, Quota, SharedData, SharedDataLimits};

use super::{Call, Heard, exchange, heard, list, numbers, ok, patient, status};
use crate::common::{on_request, start_with};

/// Calls of a VM whose shared data has these keys with the value `v`.
fn with_shared<const N: usize>(keys: [&str; N], calls: &[Call<'_>]) -> (Vec<Heard>, PluginSettings) {
    let settings = PluginSettings::default();
    for key in keys {
        settings.shared_data.set(key.as_bytes(), b"v", 0).unwrap();
    }
    let (vm, _) = exchange(calls, RecordingStream::default(), settings.clone());
    (heard(vm.host()), settings)
}

#[test]
fn a_shared_key_is_deleted_when_its_number_is_right() {
    let delete = |cas, key: &str| Call("tollgate.shared_data_delete", numbers([cas], key.as_bytes()));
    let calls =
        [delete(9, "a"), delete(1, "a"), delete(0, "a"), delete(0, "b"), Call("tollgate.shared_data_delete", vec![0])];

    let (heard, settings) = with_shared(["a", "b", "c"], &calls);

    assert_eq!(heard, [status(2), status(0), status(1), status(0), status(2)]);
    assert_eq!(settings.shared_data.keys(b"").len(), 1);
}

#[test]
fn shared_keys_are_listed_by_their_beginning() {
    let keys = |prefix: &str| Call("tollgate.shared_data_keys", prefix.into());

    let (heard, _) = with_shared(["b2", "a", "b1"], &[keys("b"), keys(""), keys("c")]);

    assert_eq!(heard, [ok(&list(["b1", "b2"])), ok(&list(["a", "b1", "b2"])), ok(b"")]);
}

#[test]
fn a_list_of_shared_keys_ends_at_16_mib() {
    let limits = SharedDataLimits { total: 32 << 20, ..SharedDataLimits::default() };
    let settings = PluginSettings { shared_data: SharedData::new(limits).into(), ..PluginSettings::default() };
    // The result is not wanted: it would not fit the guest.
    let guest = on_request(
        r#"(data (i32.const 4096) "tollgate.shared_data_keys")"#,
        "(call $tell (call $proxy_call_foreign_function
            (i32.const 4096) (i32.const 25) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))",
    );
    let mut vm = start_with(&guest, patient(settings.clone()));

    // Each key has ten bytes beside it.
    settings.shared_data.set(&vec![b'k'; (16 << 20) - 10], b"", 0).unwrap();
    vm.begin_stream(RecordingStream::default(), 0, true).1.unwrap();
    settings.shared_data.set(b"", b"", 0).unwrap();
    vm.begin_stream(RecordingStream::default(), 0, true).1.unwrap();

    assert_eq!(vm.host().told(), [0, 2]);
}

#[test]
fn a_value_with_a_time_to_live_is_set_within_the_bounds() {
    let set = |ttl, cas, value: &[u8]| {
        Call("tollgate.shared_data_set_ttl", numbers([ttl, cas, 3], &[b"key", value].concat()))
    };
    let settings = PluginSettings {
        shared_data: SharedData::new(SharedDataLimits { value: 4, ..SharedDataLimits::default() }).into(),
        ..PluginSettings::default()
    };
    let short = Call("tollgate.shared_data_set_ttl", numbers([1, 0, 9], b"key"));
    let calls = [set(3_600_000, 0, b"1234"), set(1, 7, b"new"), set(1, 0, b"12345"), set(0, 0, b"new"), short];

    let (vm, _) = exchange(&calls, RecordingStream::default(), settings.clone());

    assert_eq!(heard(vm.host()), [status(0), status(2), status(10), status(2), status(2)]);
    assert_eq!(&*settings.shared_data.get(b"key").unwrap().bytes, b"1234");
    assert_eq!(vm.host().quotas, [Quota::SharedData]);
}

#[test]
fn a_value_is_gone_when_its_time_is_over() {
    let set = Call("tollgate.shared_data_set_ttl", numbers([1, 0, 3], b"keyvalue"));
    let (_, settings) = with_shared(["other"], &[set]);

    while settings.shared_data.get(b"key").is_some() {
        std::thread::yield_now();
    }

    assert_eq!(settings.shared_data.len(), 1);
}
