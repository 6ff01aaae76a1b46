//! Properties.

use tollgate_abi::{PluginSettings, Refusal};

use super::plain;
use crate::common::{SHOW, on_request, request, request_with, start, start_with, strict};

fn get_property(path: &str) -> (String, String) {
    let size = path.replace("\\00", "0").len();
    (
        format!(r#"(data (i32.const 4096) "{path}")"#),
        format!(
            "(call $tell (call $proxy_get_property (i32.const 4096) (i32.const {size}) (i32.const 32) (i32.const 36)))
             (if (i32.load (i32.const 36)) (then {SHOW}))"
        ),
    )
}

#[test]
fn a_property_is_asked_of_the_stream_first_and_of_the_host_then() {
    let (data, body) = get_property("request\\00path");
    let mut vm = start(&on_request(&data, &body));
    vm.host_mut().properties.insert("request.path".into(), b"of the host".to_vec());
    let mut stream = plain();

    let (mut second, _) = vm.begin_stream(stream, 0, true);
    second.properties.insert("request.path".into(), b"of the stream".to_vec());
    stream = vm.begin_stream(second, 0, true).0;

    let lines: Vec<String> = vm.host().text().into_iter().filter(|line| line.starts_with("of")).collect();
    assert_eq!(lines, ["of the host", "of the stream"]);
    assert!(stream.events.is_empty());
}

#[test]
fn the_plugin_finds_its_own_names_without_help_of_the_embedder() {
    for (path, expected) in [("plugin_name", "guard"), ("plugin_root_id", "root"), ("plugin_vm_id\\00", "shared")] {
        let (data, body) = get_property(path);
        let settings = PluginSettings {
            name: "guard".into(),
            root_id: "root".into(),
            vm_id: "shared".into(),
            ..PluginSettings::default()
        };

        let ran = request_with(&data, &body, plain(), settings);

        assert_eq!((ran.told(), ran.lines()), (vec![0], vec![expected.to_owned()]));
    }
}

#[test]
fn an_unknown_and_an_empty_path_are_not_found() {
    for path in ["nothing\\00here", ""] {
        let (data, body) = get_property(path);

        assert_eq!(request(&data, &body, plain()).told(), [1]);
    }
}

#[test]
fn a_property_is_written_to_the_stream_under_its_raw_path() {
    let ran = request(
        r#"(data (i32.const 4096) "a\00b=value")"#,
        "(call $tell (call $proxy_set_property (i32.const 4096) (i32.const 3) (i32.const 4100) (i32.const 5)))",
        plain(),
    );

    assert_eq!(ran.told(), [0]);
    assert_eq!(ran.stream.properties["a.b"], b"value");
}

#[test]
fn a_property_written_without_a_stream_is_refused() {
    let tick = r#"(func (export "proxy_on_tick") (param i32)
        (call $tell (call $proxy_set_property (i32.const 4096) (i32.const 3) (i32.const 4096) (i32.const 5))))"#;

    let mut lenient = start(tick);
    let mut exact = start_with(tick, strict());
    lenient.tick().unwrap();
    exact.tick().unwrap();

    assert_eq!((lenient.host().told(), exact.host().told()), (vec![0], vec![1]));
    assert_eq!(lenient.host().refused, [("proxy_set_property", Refusal::Unavailable)]);
}

#[test]
fn a_property_over_its_quota_is_counted_as_such() {
    let body = "(call $tell (call $proxy_set_property (i32.const 0) (i32.const 65537) (i32.const 0) (i32.const 1)))";

    let ran = request_with("", body, plain(), strict());

    assert_eq!(ran.told(), [2]);
    assert_eq!(ran.vm.host().quotas, [tollgate_abi::Quota::Property]);
}
