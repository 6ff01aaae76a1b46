//! Data that VMs share.

use tollgate_abi::{PluginSettings, Quota, SharedData};

use super::plain;
use crate::common::{request_with, strict};

fn shared(settings: &PluginSettings, body: &str) -> Vec<u32> {
    request_with(r#"(data (i32.const 4096) "keyvalue")"#, body, plain(), settings.clone()).told()
}

const GET_SHARED: &str = "
    (call $tell (call $proxy_get_shared_data
        (i32.const 4096) (i32.const 3) (i32.const 32) (i32.const 36) (i32.const 40)))";

fn set_shared(cas: &str) -> String {
    format!(
        "(call $tell (call $proxy_set_shared_data (i32.const 4096) (i32.const 3) (i32.const 4099) (i32.const 5) {cas}))"
    )
}

#[test]
fn shared_data_is_seen_by_the_next_vm_with_its_number() {
    let settings = PluginSettings::default();
    assert_eq!(shared(&settings, GET_SHARED), [1]);
    assert_eq!(shared(&settings, &set_shared("(i32.const 0)")), [0]);

    let body =
        format!("{GET_SHARED} (call $tell (i32.load (i32.const 36))) {}", set_shared("(i32.load (i32.const 40))"));

    assert_eq!(shared(&settings, &body), [0, 5, 0]);
    assert_eq!(&*settings.shared_data.get(b"key").unwrap().bytes, b"value");
}

#[test]
fn a_stale_number_is_a_cas_mismatch() {
    let settings = PluginSettings::default();
    settings.shared_data.set(b"key", b"old", 0).unwrap();

    assert_eq!(shared(&settings, &set_shared("(i32.const 99)")), [8]);
    assert_eq!(&*settings.shared_data.get(b"key").unwrap().bytes, b"old");
}

#[test]
fn shared_data_over_its_bound_is_refused() {
    let limits = tollgate_abi::SharedDataLimits { value: 4, ..tollgate_abi::SharedDataLimits::default() };
    let settings = PluginSettings { shared_data: SharedData::new(limits).into(), ..PluginSettings::default() };
    let exact = PluginSettings { shared_data: settings.shared_data.clone(), ..strict() };

    let ran =
        request_with(r#"(data (i32.const 4096) "keyvalue")"#, &set_shared("(i32.const 0)"), plain(), settings.clone());
    assert_eq!(ran.told(), [0]);
    assert_eq!(ran.vm.host().quotas, [Quota::SharedData]);
    assert_eq!(shared(&exact, &set_shared("(i32.const 0)")), [10]);
    assert!(settings.shared_data.is_empty());
}
