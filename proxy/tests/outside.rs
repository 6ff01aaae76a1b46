//! What the proxy shows to those who watch it: the access log, the admin endpoints and their address.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use common::access::AccessLog;
use common::client::Client;
use common::modules::probes;
use common::origin::{Origin, refusing};
use common::proxy::TestProxy;
use common::until;
use tollgate::app::{App, AppError, RunOptions};
use tollgate_config::Admin;

/// What the access log says of the requests to these paths, one JSON object a line.
fn logged(yaml: &str, paths: &[&str]) -> Vec<serde_json::Value> {
    let log = AccessLog::new();
    let proxy = TestProxy::with(&format!("{}{yaml}", log.yaml()));
    paths.iter().for_each(|path| drop(proxy.get(path)));
    log.lines(paths.len())
}

/// The one value of a log line under a key, wherever the format puts it.
fn field<'a>(line: &'a serde_json::Value, key: &str) -> &'a serde_json::Value {
    line.get(key).unwrap_or_else(|| panic!("no {key} in {line}"))
}

#[test]
fn the_access_log_tells_why_an_answer_is_the_proxys_own() {
    let (silent, garbage) = (Origin::silent(), Origin::answering("this is not HTTP\r\n\r\n"));
    let yaml = format!(
        "clusters: {{ dead: {{ hosts: [\"{}\"] }} }}\nroutes:\n\
         - {{ match: {{ path: /dead }}, to: dead }}\n\
         - {{ match: {{ path: /silent }}, to: \"{}\", timeout: 200ms }}\n\
         - {{ match: {{ path: /garbage }}, to: \"{}\" }}\n\
         - {{ match: {{ path: /good }}, to: echo }}",
        refusing(),
        silent.url(),
        garbage.url()
    );

    let lines = logged(&yaml, &["/dead", "/silent", "/garbage", "/good", "/nowhere"]);

    let told: Vec<_> = lines.iter().map(|line| (field(line, "status").as_u64(), line.get("reason"))).collect();
    assert_eq!(told[0], (Some(503), Some(&"upstream_connect".into())));
    assert_eq!(told[1], (Some(504), Some(&"upstream_timeout".into())));
    assert_eq!(told[2], (Some(502), Some(&"upstream_protocol:not_http".into())));
    assert_eq!(told[3].0, Some(200));
    assert!(told[3].1.is_none_or(serde_json::Value::is_null), "{:?}", told[3]);
    assert_eq!(told[4], (Some(404), Some(&"no_route".into())));
}

#[test]
fn the_access_log_names_the_filter_that_answered_or_failed() {
    let yaml = format!(
        "{}routes: [{{ to: echo, filters: [p] }}]",
        probes(&[("p", r#"{ "request_headers": ["get request-headers :path"] }"#)])
    );
    let log = AccessLog::new();
    let proxy = TestProxy::with(&format!("{}{yaml}", log.yaml()));

    proxy.ask("/", "x-probe-request-headers: reply 418 teapot\r\n");
    proxy.ask("/", "x-probe-request-headers: trap\r\n");

    let lines = log.lines(2);
    let reasons: Vec<_> = lines.iter().map(|line| field(line, "reason").as_str().unwrap()).collect();
    assert_eq!(reasons, ["filter_responded:p", "filter_trap:p"]);
}

#[test]
fn the_access_log_shows_the_named_properties_that_filters_set() {
    let sets = [
        r#"{ "request_headers": ["set-property user mia%22%0A", "set-property secret x"] }"#,
        r#"{ "log": ["set-property plan gold"] }"#,
    ];
    let folder = tempfile::tempdir().unwrap();
    let target = |name: &str| folder.path().join(name).display().to_string();
    let lines = |format: &str| {
        let file = target(format);
        let log = format!("{{ format: {format}, to: {file:?}, properties: [plan, user, absent] }}");
        let filters = probes(&[("p", sets[0]), ("q", sets[1])]);
        let routes = "routes: [{ match: { path: /set }, to: echo, filters: [p, q] }, { to: echo }]";
        let proxy = TestProxy::with(&format!("telemetry: {{ access_log: {log} }}\n{filters}{routes}"));
        ["/set", "/"].iter().for_each(|path| drop(proxy.get(path)));
        let lines = || fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
        until("both are logged", || lines().len() == 2);
        lines()
    };

    let (objects, words) = (lines("json"), lines("text"));

    let object = |at: usize| serde_json::from_str::<serde_json::Value>(&objects[at]).unwrap();
    assert_eq!(object(0)["properties"], serde_json::json!({ "plan": "gold", "user": "mia\"\n" }));
    assert!(object(1).get("properties").is_none());
    assert!(words[0].ends_with(r#" "plan"="gold" "user"="mia\"\n""#), "{words:?}");
    assert!(!words[1].contains("plan") && !words[0].contains("secret"), "{words:?}");
}

fn bind_with(admin: Admin) -> Result<tollgate::app::Bound, AppError> {
    let text = "listen: 127.0.0.1:0\nworkers: 1\nroutes: [{ to: echo }]";
    let mut config = tollgate_config::parse(text, Path::new("t.yaml")).unwrap();
    config.admin = admin;
    App::prepare(config, &RunOptions::default()).and_then(App::bind)
}

fn busy() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[test]
fn a_busy_default_address_costs_the_admin_endpoints_and_nothing_else() {
    let (_socket, address) = busy();

    let bound = bind_with(Admin::Default(address)).unwrap();

    assert_eq!(bound.admin(), None);
}

#[test]
fn a_written_admin_address_that_is_busy_is_an_error() {
    let (_socket, address) = busy();

    let error = bind_with(Admin::Listen(address)).err().unwrap();

    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().starts_with(&format!("error[TG0301]: admin cannot listen on {address}")), "{error}");
}

#[test]
fn the_admin_endpoints_show_life_counters_and_no_secret() {
    let proxy = TestProxy::with(&format!(
        "admin: {{ listen: 127.0.0.1:0 }}\n{}routes: [{{ to: echo, filters: [p] }}]",
        probes(&[("p", r#"{ "log": ["log info canary-7d1f"] }"#)])
    ));
    drop(proxy.get("/"));
    let ask = |path: &str| {
        let mut client = Client::connect(proxy.admin());
        client.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        client.answer()
    };

    until("it is ready", || ask("/ready").status() == 200);
    assert_eq!(ask("/live").status(), 200);
    assert!(
        ask("/metrics")
            .text()
            .contains("tollgate_filter_calls_total{filter=\"p\",track=\"stable\",phase=\"request_headers\"} 1")
    );
    assert!(ask("/stats/prometheus").text().contains("tollgate_http_requests_total"));
    let dump = ask("/config_dump");
    assert!(dump.text().contains("<redacted>"));
    assert!(!dump.text().contains("canary-7d1f"));
}
