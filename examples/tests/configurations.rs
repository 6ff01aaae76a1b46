//! Every configuration of this package is read by the language's own reader, and says what its comments say.
//!
//! Modules are not opened here: that needs built filters, and is what `tollgate check` does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use tollgate_config::{Balance, Config, Direction, Listener, OnError, PathMatch, Policy, Reach, Route, Target, Trust};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn config(name: &str) -> Config {
    tollgate_config::load(&folder().join(name)).unwrap_or_else(|faults| panic!("{faults}"))
}

fn names() -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn route<'a>(config: &'a Config, name: &str) -> &'a Route {
    config.listeners.iter().flat_map(|listener| &listener.routes).find(|route| route.name == name).unwrap()
}

fn chain<'a>(config: &'a Config, route: &Route) -> Vec<&'a str> {
    route.chain.iter().map(|id| config.plugins[id.0].name.as_str()).collect()
}

fn cluster<'a>(config: &'a Config, route: &Route) -> &'a str {
    match route.target {
        Target::Cluster(id) => &config.clusters[id.0].name,
        Target::Echo => "echo",
        ref other => panic!("{other:?} is no cluster"),
    }
}

#[test]
fn every_file_is_a_good_configuration_and_is_documented() {
    let page = include_str!("../src/lib.rs");

    for name in names() {
        config(&name);

        assert!(page.contains(&format!("`config/{name}`")), "src/lib.rs does not name {name}");
    }
}

#[test]
fn every_module_is_one_that_make_filters_builds() {
    let built = fs::canonicalize(folder().join("../..")).unwrap().join("target/wasm32-wasip1/filter");
    let known = ["filter_headers.wasm", "filter_api_key.wasm", "filter_noop.wasm"];

    for plugin in names().iter().flat_map(|name| config(name).plugins) {
        let module = plugin.module.to_string_lossy().replace("examples/config/../../", "");

        assert!(known.iter().any(|file| Path::new(&module) == built.join(file)), "{module}");
    }
}

#[test]
fn the_readme_shows_six_lines_that_are_a_good_configuration() {
    let readme = include_str!("../../README.md");
    let yaml = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();

    let config = tollgate_config::parse(yaml, Path::new("tollgate.yaml")).unwrap_or_else(|faults| panic!("{faults}"));

    assert_eq!(yaml.lines().count(), 6);
    assert_eq!(chain(&config, &config.listeners[0].routes[0]), ["filter_headers"]);
}

#[test]
fn six_lines_are_one_listener_one_cluster_and_one_plugin() {
    let config = config("six_lines.yaml");

    assert_eq!((config.listeners.len(), config.clusters.len(), config.plugins.len()), (1, 1, 1));
    let route = &config.listeners[0].routes[0];
    assert_eq!(cluster(&config, route), "127.0.0.1:8080");
    assert_eq!(config.plugins[0].config, br#"{"request":{"set":{"x-from":"edge"}}}"#);
}

#[test]
fn the_edge_puts_the_filters_of_a_listener_before_those_of_a_route() {
    let config = config("edge.yaml");

    assert_eq!(chain(&config, route(&config, "api")), ["headers", "keys"]);
    assert_eq!(chain(&config, route(&config, "site")), ["headers"]);
    assert_eq!(chain(&config, route(&config, "everything")), ["headers-2"]);
    assert_eq!(cluster(&config, route(&config, "api-next")), "next");
    assert!(matches!(&route(&config, "api").matcher.path, PathMatch::Prefix(prefix) if prefix == "/v1"));
}

#[test]
fn the_edge_says_aloud_which_filter_may_fail() {
    let config = config("edge.yaml");

    let policies: Vec<_> = config.plugins.iter().map(|plugin| (plugin.name.as_str(), plugin.on_error)).collect();

    assert!(policies.contains(&("keys", OnError::all(Policy::Deny))), "{policies:?}");
    assert!(policies.contains(&("headers", OnError::all(Policy::Skip))), "{policies:?}");
}

#[test]
fn the_sidecar_listens_on_loopback_and_spreads_what_comes_in_evenly() {
    let config = config("sidecar.yaml");

    assert!(config.listeners.iter().all(|listener| listener.address.ip().is_loopback()));
    let balances: Vec<_> = config.listeners.iter().map(|listener| listener.balance).collect();
    assert_eq!(balances, [Balance::Even, Balance::Kernel]);
    assert_eq!(cluster(&config, route(&config, "elsewhere")), "echo");
}

#[test]
fn the_sidecar_with_rules_of_the_kernel_needs_no_address_of_the_application() {
    let config = tollgate_config::load(&folder().join("../sidecar/tollgate.yaml")).unwrap();

    let [inbound, outbound] = config.listeners.as_slice() else { panic!("two listeners") };
    assert_eq!((inbound.direction, outbound.direction), (Direction::Inbound, Direction::Outbound));
    let original = |listener: &Listener| match listener.routes[0].target {
        Target::Cluster(id) => (config.clusters[id.0].original.unwrap(), config.clusters[id.0].mark),
        ref other => panic!("{other:?} is no cluster"),
    };
    assert_eq!((original(inbound).0.reach, original(inbound).1), (Reach::Loopback, None));
    assert_eq!((original(outbound).0.reach, original(outbound).1), (Reach::Original, Some(0x7467)));
}

/// The script and the configuration tell each other apart by these.
#[test]
fn the_script_and_the_configuration_of_the_sidecar_agree() {
    let script = include_str!("../sidecar/intercept.sh");
    let readme = include_str!("../sidecar/README.md");

    let config = tollgate_config::load(&folder().join("../sidecar/tollgate.yaml")).unwrap();

    let ports: Vec<_> = config.listeners.iter().map(|listener| listener.address.port()).collect();
    assert!(script.contains(&format!("inbound_port={} outbound_port={}", ports[0], ports[1])));
    assert!(readme.contains("intercept.sh up --mark 0x7467"));
}

#[test]
fn the_script_of_the_sidecar_is_shell() {
    for script in ["examples/sidecar/intercept.sh", "proxy/tests/netns/run.sh"] {
        let path = folder().join("../..").join(script);
        let status = std::process::Command::new("bash").arg("-n").arg(path).status().unwrap();

        assert!(status.success(), "{script}");
    }
}

#[test]
fn the_routes_of_the_routing_example_do_what_their_names_say() {
    let config = config("routing.yaml");
    let target = |name| &route(&config, name).target;

    let Target::Split(ways) = target("api") else { panic!("{:?}", target("api")) };
    let ways: Vec<_> = ways.iter().map(|(id, weight)| (config.clusters[id.0].name.as_str(), *weight)).collect();
    assert_eq!(ways, [("app", 90), ("next", 10)]);
    assert!(matches!(target("health"), Target::Respond(said) if said.status == 200 && said.body == "ok\n"));
    assert!(matches!(target("docs"), Target::Redirect(said) if said.status == 301 && said.path.is_some()));
    assert!(route(&config, "photos").rewrite.is_some() && route(&config, "shop").rewrite.is_some());
    assert!(route(&config, "upload").stream && !route(&config, "rest").stream);
    assert!(matches!(config.listeners[0].http.forwarded.trust, Trust::Networks(_)));
}
