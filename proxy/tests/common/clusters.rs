//! Clusters of several origins, and what the proxy shows of their endpoints.

use std::net::SocketAddr;

use serde_json::Value;

use crate::common::admin::{LOOPBACK, ask};
use crate::common::origin::Origin;
use crate::common::proxy::TestProxy;
use crate::common::until;

/// Hosts as a configuration lists them.
pub(crate) fn hosts(addresses: &[SocketAddr]) -> String {
    let hosts: Vec<_> = addresses.iter().map(|address| format!("{:?}", address.to_string())).collect();
    hosts.join(", ")
}

/// A configuration of the cluster `app` with further settings in YAML's flow style, and one route to it.
pub(crate) fn yaml(hosts: &str, cluster: &str, route: &str) -> String {
    format!(
        "{LOOPBACK}clusters: {{ app: {{ hosts: [{hosts}]{cluster} }} }}\nroutes: [{{ to: app, timeout: 5s{route} }}]"
    )
}

/// A proxy of it.
pub(crate) fn proxy(addresses: &[SocketAddr], cluster: &str, route: &str) -> TestProxy {
    TestProxy::with(&yaml(&hosts(addresses), cluster, route))
}

/// Origins that say their numbers.
pub(crate) fn numbered<const COUNT: usize>() -> [Origin; COUNT] {
    std::array::from_fn(|number| Origin::saying(&number.to_string()))
}

pub(crate) fn addresses(origins: &[Origin]) -> Vec<SocketAddr> {
    origins.iter().map(Origin::address).collect()
}

/// What so many requests are answered with.
pub(crate) fn answers(proxy: &TestProxy, count: usize) -> Vec<String> {
    (0..count).map(|_| proxy.get("/").text().to_owned()).collect()
}

/// The endpoints of the first cluster.
pub(crate) fn endpoints(proxy: &TestProxy) -> Vec<Value> {
    let shown = ask(proxy.admin(), "GET /clusters").json();
    shown["clusters"][0]["endpoints"].as_array().cloned().unwrap_or_default()
}

/// Their health, in the order of the configuration.
pub(crate) fn health(proxy: &TestProxy) -> Vec<String> {
    endpoints(proxy).iter().map(|endpoint| endpoint["health"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Waits until their health is this.
pub(crate) fn becomes(proxy: &TestProxy, wanted: &[&str]) {
    until(&format!("the endpoints are {wanted:?}"), || health(proxy) == wanted);
}
