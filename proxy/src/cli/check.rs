//! `tollgate check`: everything `run` does before it binds, then a summary of what would serve.
//!
//! All faults are reported, not only the first. Nothing listens and nothing is left running.

use std::fmt::{self, Write};
use std::net::IpAddr;
use std::path::Path;

use tollgate_config::{
    Admin, Budget, ByteSize, Cluster, ClusterId, Config, Dns, Endpoint, HostMatch, Listener, MemoryLimit, OnError,
    PathChange, PathMatch, PathSpelling, Plugin, PluginId, Policy, Protocol, Quota, Reach, Redirect, Retry, Route,
    RouteMatch, Scheme, Senders, Target, Trust, Underscores, ValueMatch,
};

use super::{Failure, own_program, print};
use crate::app::{App, PluginSummary, RunOptions, descriptors};
use crate::filter::compile;
use crate::room::Room;
use crate::telemetry::log::{self, LogFormat};

/// Loads the configuration, starts every plugin once, and prints what it found.
pub(super) fn check(file: &Path) -> Result<(), Failure> {
    // Faults bring the lines of their filter along, so the log speaks only when asked to.
    if std::env::var_os(log::VARIABLE).is_some() {
        log::init(LogFormat::Text);
    }
    descriptors::raise_limit();
    let config = tollgate_config::load(file).map_err(Failure::Config)?;
    let options = RunOptions { compiler: own_program(), cache: compile::default_cache(), ..RunOptions::default() };
    let app = App::prepare(config.clone(), &options).map_err(Failure::App)?;
    let mut text = format!("{} is good\n", file.display());
    // A string takes every write.
    let _ = summarise(&mut text, &config, Room::here(), app.plugins());
    let _ = section(&mut text, "shown out of its time", app.untimely());
    print(text.as_bytes())
}

fn summarise(
    out: &mut String,
    config: &Config,
    room: Room,
    plugins: impl Iterator<Item = PluginSummary>,
) -> fmt::Result {
    for listener in &config.listeners {
        writeln!(out, "\nlistener {} on {}", listener.name, listener.address)?;
        write_tls(out, listener)?;
        write_routes(out, listener, config)?;
        write_tcp(out, listener, config)?;
    }
    section(out, "plugins", plugins.map(plugin_line))?;
    section(out, "clusters", config.clusters.iter().map(cluster_line))?;
    let plugins = config.plugins.iter().flat_map(|plugin| risks(plugin, config));
    let clusters = config.clusters.iter().flat_map(cluster_risks);
    let listeners =
        config.listeners.iter().flat_map(listener_risks).chain(config.listeners.iter().flat_map(route_risks));
    let process = admin_risk(config).into_iter().chain(memory_risk(config)).chain(descriptors::beyond(config, room));
    let shared = process.chain(listeners).chain(clusters);
    section(out, "not the safe default", shared.chain(plugins))
}

fn write_tls(out: &mut String, listener: &Listener) -> fmt::Result {
    let Some(tls) = &listener.tls else { return Ok(()) };
    for certificate in &tls.certificates {
        let names =
            if certificate.names.is_empty() { "its own names".to_owned() } else { certificate.names.join(", ") };
        writeln!(out, "  tls: {} for {names}", certificate.cert.display())?;
    }
    match &tls.clients {
        None => Ok(()),
        Some(clients) => {
            let verb = if clients.required { "required" } else { "requested" };
            writeln!(out, "  client certificates of {} {verb}", clients.ca.display())
        }
    }
}

fn write_routes(out: &mut String, listener: &Listener, config: &Config) -> fmt::Result {
    for route in &listener.routes {
        writeln!(out, "  {}: {} -> {}", route.name, matcher(&route.matcher), target(&route.target, config))?;
        write_chain(out, &route.chain, config)?;
    }
    Ok(())
}

fn write_tcp(out: &mut String, listener: &Listener, config: &Config) -> fmt::Result {
    let Some(tcp) = &listener.tcp else { return Ok(()) };
    writeln!(out, "  tcp -> {}", cluster_name(tcp.cluster, config))?;
    write_chain(out, &tcp.chain, config)
}

fn write_chain(out: &mut String, chain: &[PluginId], config: &Config) -> fmt::Result {
    if chain.is_empty() {
        return Ok(());
    }
    let names = chain.iter().filter_map(|id| config.plugins.get(id.0)).map(|plugin| plugin.name.as_str());
    writeln!(out, "    filters: {}", names.collect::<Vec<_>>().join(", "))
}

/// A heading with its lines; nothing at all where there is no line.
fn section(out: &mut String, heading: &str, lines: impl Iterator<Item = String>) -> fmt::Result {
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        writeln!(out, "\n{heading}")?;
    }
    lines.try_for_each(|line| writeln!(out, "  {line}"))
}

fn matcher(matcher: &RouteMatch) -> String {
    let mut words = Vec::new();
    if !matcher.methods.is_empty() {
        words.push(matcher.methods.join("|"));
    }
    if matcher.host != HostMatch::Any {
        words.push(format!("host {}", host(&matcher.host)));
    }
    match &matcher.path {
        PathMatch::Any => {}
        PathMatch::Exact(path) => words.push(format!("path {path} exactly")),
        PathMatch::Prefix(prefix) => words.push(format!("path {prefix}/")),
        PathMatch::Regex(regex) => words.push(format!("path like {}", regex.as_str())),
    }
    words.extend(matcher.headers.iter().map(|(name, wanted)| condition("header", ": ", name, wanted)));
    words.extend(matcher.query.iter().map(|(name, wanted)| condition("query", "=", name, wanted)));
    if words.is_empty() { "everything".to_owned() } else { words.join(", ") }
}

fn host(host: &HostMatch) -> String {
    match host {
        HostMatch::Any => "*".to_owned(),
        HostMatch::Exact(host) => host.clone(),
        HostMatch::Suffix(suffix) => format!("*{suffix}"),
    }
}

fn condition(what: &str, between: &str, name: &str, wanted: &ValueMatch) -> String {
    match wanted {
        ValueMatch::Equal(value) => format!("{what} {name}{between}{value}"),
        ValueMatch::Regex(regex) => format!("{what} {name} like {}", regex.as_str()),
        ValueMatch::Present => format!("{what} {name}"),
        ValueMatch::Absent => format!("no {what} {name}"),
    }
}

fn target(target: &Target, config: &Config) -> String {
    match target {
        Target::Echo => "echo".to_owned(),
        Target::Cluster(id) => cluster_name(*id, config).to_owned(),
        Target::Split(ways) => {
            let ways = ways.iter().map(|(id, weight)| format!("{} ({weight})", cluster_name(*id, config)));
            ways.collect::<Vec<_>>().join(", ")
        }
        Target::Respond(said) => format!("answer {}", said.status),
        Target::Redirect(said) => redirect(said),
    }
}

/// The place that clients are sent to, with a star for what stays as they asked.
fn redirect(said: &Redirect) -> String {
    let scheme = match said.scheme {
        Some(Scheme::Http) => "http",
        Some(Scheme::Https) => "https",
        None => "*",
    };
    let host = said.host.as_deref().unwrap_or("*");
    let port = said.port.map(|port| format!(":{port}")).unwrap_or_default();
    let path = match &said.path {
        Some(PathChange::Whole(path)) => path.clone(),
        Some(PathChange::Prefix { with, .. }) => format!("{with}/*"),
        None => "/*".to_owned(),
    };
    format!("{} {scheme}://{host}{port}{path}", said.status)
}

fn cluster_name(id: ClusterId, config: &Config) -> &str {
    config.clusters.get(id.0).map_or("?", |cluster| &cluster.name)
}

fn plugin_line(plugin: PluginSummary) -> String {
    let PluginSummary { name, module, digest, abi, on_error } = plugin;
    let policy = self::on_error(on_error);
    format!("{name}: {module} (abi {abi}, sha256 {digest}, on_error {policy})")
}

/// One policy where all failures of a call have the same, else each; the one for loading where it is written.
fn on_error(on_error: OnError) -> String {
    let OnError { load, trap, deadline, memory } = on_error;
    let load = load.map(|policy| format!(", load {}", word(policy))).unwrap_or_default();
    let (trap, deadline, memory) = (word(trap), word(deadline), word(memory));
    match trap == deadline && trap == memory {
        true => format!("{trap}{load}"),
        false => format!("trap {trap}, deadline {deadline}, memory {memory}{load}"),
    }
}

fn word(policy: Policy) -> &'static str {
    match policy {
        Policy::Deny => "deny",
        Policy::Skip => "skip",
    }
}

fn cluster_line(cluster: &Cluster) -> String {
    if let Some(original) = cluster.original {
        let reach = match original.reach {
            Reach::Original => "what connections were meant for",
            Reach::Loopback => "the ports that connections were meant for, on loopback",
        };
        return format!("{}: {reach}", cluster.name);
    }
    let endpoints: Vec<_> = cluster.endpoints.iter().map(ToString::to_string).collect();
    let protocol = match (cluster.protocol, &cluster.tls) {
        (Protocol::Http1, None) => "",
        (Protocol::Http1, Some(_)) => " (tls)",
        (Protocol::H2, None) => " (h2)",
        (Protocol::H2, Some(_)) => " (h2, tls)",
    };
    format!("{}: {}{protocol}", cluster.name, endpoints.join(", "))
}

fn admin_risk(config: &Config) -> Option<String> {
    match config.admin {
        Admin::Listen(address) if !address.ip().to_canonical().is_loopback() => {
            Some(format!("admin on {address} can be reached from other machines; its token is all that guards it"))
        }
        _ => None,
    }
}

fn memory_risk(config: &Config) -> Option<String> {
    let is_off = config.limits.memory == MemoryLimit::Off;
    is_off.then(|| "limits.memory: off lets requests take memory until the system ends the process".to_owned())
}

fn cluster_risks(cluster: &Cluster) -> Vec<String> {
    let whose = format!("cluster {}", cluster.name);
    let mut risks: Vec<_> = cluster.retry.iter().flat_map(|retry| retry_risks(&whose, retry)).collect();
    let original = cluster.original.unwrap_or_default();
    if original.loopback {
        risks.push(format!("{whose}: allow: loopback lets clients reach what listens on this machine alone"));
    }
    if original.link_local {
        risks.push(format!(
            "{whose}: allow: link_local lets clients reach link-local addresses, where clouds keep credentials"
        ));
    }
    if cluster.tls.as_ref().is_some_and(|tls| !tls.verify) {
        risks.push(format!("{whose}: tls.verify: off believes whoever answers, with any certificate"));
    }
    let is_name = |endpoint: &Endpoint| endpoint.host.parse::<IpAddr>().is_err();
    if cluster.dns.keep > Dns::default().keep && cluster.endpoints.iter().any(is_name) {
        risks.push(format!(
            "{whose}: dns.keep sends requests to addresses that no name server has confirmed for {:?}",
            cluster.dns.keep
        ));
    }
    let judged = cluster.health.is_some() || cluster.outliers.is_some();
    if judged && cluster.panic.parts_per_million() == 0 {
        risks.push(format!(
            "{whose}: panic: 0% answers 503 while no endpoint is healthy, even if it is the check that errs"
        ));
    }
    risks
}

fn route_risks(listener: &Listener) -> Vec<String> {
    let of = |route: &Route| {
        let whose = format!("route {}", route.name);
        route.retry.as_ref().map(|retry| retry_risks(&whose, retry)).unwrap_or_default()
    };
    listener.routes.iter().flat_map(of).collect()
}

fn retry_risks(whose: &str, retry: &Retry) -> Vec<String> {
    let mut risks = Vec::new();
    if retry.non_idempotent {
        risks.push(format!("{whose}: retry.non_idempotent may have an upstream carry a request out twice"));
    }
    if retry.budget > Retry::BUDGET {
        risks.push(format!("{whose}: retry.budget lets {} of the requests under way be repetitions", retry.budget));
    }
    if retry.replay > Retry::REPLAY {
        risks.push(format!("{whose}: retry.replay keeps {} of each body", retry.replay));
    }
    risks
}

/// What a listener believes or lets pass that it does not by default.
fn listener_risks(listener: &Listener) -> Vec<String> {
    let mut risks = Vec::new();
    match &listener.http.forwarded.trust {
        Trust::Nobody => {}
        Trust::Networks(networks) => {
            let names: Vec<_> = networks.iter().map(ToString::to_string).collect();
            risks.push(format!("http.forwarded.trusted believes what {} say of their clients", names.join(", ")));
        }
        Trust::Hops(hops) => {
            risks.push(format!("http.forwarded.hops believes whoever connects to be the last of {hops} proxies"));
        }
    }
    match &listener.proxy_protocol {
        None => {}
        Some(Senders::Everybody) => {
            risks.push("proxy_protocol: on believes whoever connects about whose connection it is".to_owned());
        }
        Some(Senders::Networks(networks)) => {
            let names: Vec<_> = networks.iter().map(ToString::to_string).collect();
            risks.push(format!("proxy_protocol.from believes {} about whose connections they are", names.join(", ")));
        }
    }
    if listener.http.underscores == Underscores::Allow {
        risks.push("http.underscores: allow lets names pass that programs take for others".to_owned());
    }
    if listener.http.path == PathSpelling::Keep {
        risks.push("http.path: keep lets a path be written in ways that upstreams read differently".to_owned());
    }
    let stream = |route: &&Route| route.stream;
    let streams = listener.routes.iter().filter(stream);
    let upgrades = listener.routes.iter().filter(|route| !route.upgrade.is_empty());
    risks.extend(upgrades.map(|route| {
        format!("route {}: upgrade lets bytes of {} pass unseen by filters", route.name, route.upgrade.join(", "))
    }));
    risks.extend(listener.routes.iter().filter(|route| route.connect).map(|route| {
        format!(
            "route {}: upgrade: [connect] lets clients reach its endpoints with bytes unseen by filters",
            route.name
        )
    }));
    if listener.limits.body_rate.is_none() {
        risks.push("body_rate: off lets a client take as long as a request may for its body".to_owned());
    }
    risks.extend(streams.map(|route| format!("route {}: stream: true lets a request last for ever", route.name)));
    risks.into_iter().map(|risk| format!("listener {}: {risk}", listener.name)).collect()
}

/// What a plugin may do that it may not do by default.
fn risks(plugin: &Plugin, config: &Config) -> Vec<String> {
    let mut risks = policy_risks(plugin.on_error);
    let (budget, default) = (plugin.budget, Budget::default());
    if budget.time > default.time {
        risks.push(format!("budget.time lets one call take {:?} of its worker", budget.time));
    }
    if budget.start > default.start {
        risks.push(format!("budget.start lets its start take {:?}", budget.start));
    }
    if budget.memory > default.memory {
        risks.push(format!("budget.memory lets each VM take {}", ByteSize::new(budget.memory)));
    }
    if !plugin.allow.calls.is_empty() {
        let names: Vec<_> = plugin.allow.calls.iter().map(|id| cluster_name(*id, config)).collect();
        risks.push(format!("allow.calls lets it call {}", names.join(", ")));
    }
    if !plugin.allow.resolve.is_empty() {
        let hosts: Vec<_> = plugin.allow.resolve.iter().map(host).collect();
        risks.push(format!("allow.resolve lets it look up {}", hosts.join(", ")));
    }
    let raised: Vec<_> = plugin.quota.above(&Quota::default()).collect();
    if !raised.is_empty() {
        risks.push(format!("quota lets it have more of {}", raised.join(", ")));
    }
    risks.into_iter().map(|risk| format!("{} ({}): {risk}", plugin.name, plugin.place)).collect()
}

fn policy_risks(on_error: OnError) -> Vec<String> {
    let mut risks = Vec::new();
    let OnError { load, trap, deadline, memory } = on_error;
    let kinds = [("trap", trap), ("deadline", deadline), ("memory", memory)];
    let skipped: Vec<_> = kinds.iter().filter(|(_, policy)| *policy == Policy::Skip).map(|(kind, _)| *kind).collect();
    if skipped.len() == kinds.len() {
        risks.push("on_error: skip lets exchanges pass when it fails".to_owned());
    } else if !skipped.is_empty() {
        risks.push(format!("on_error: skip lets exchanges pass when it fails by {}", skipped.join(", ")));
    }
    match load {
        Some(Policy::Skip) => risks.push("on_error.load: skip lets exchanges pass when it cannot be loaded".to_owned()),
        Some(Policy::Deny) => {
            risks.push("on_error.load: deny lets the proxy start when it cannot be loaded".to_owned())
        }
        None => {}
    }
    risks
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A configuration in text, as if it stood in `tollgate.yaml`; modules need not exist to be named.
    fn config(text: &str) -> Config {
        tollgate_config::parse(text, Path::new("tollgate.yaml")).map_err(|faults| faults.to_string()).unwrap()
    }

    fn summary(config: &Config, plugins: &[PluginSummary]) -> String {
        let mut text = String::new();
        summarise(&mut text, config, Room::of(Some(1024)), plugins.iter().cloned()).unwrap();
        text
    }

    #[test]
    fn the_summary_names_listeners_routes_plugins_and_clusters() {
        let config = config(
            "listen: 127.0.0.1:8000\nroutes:\n- { name: api, match: { path: /v1/ }, to: 'http://127.0.0.1:8080', \
             filters: [{ wasm: auth.wasm }] }\n- to: echo\n",
        );
        let plugin = PluginSummary {
            name: "auth".into(),
            module: "auth.wasm".into(),
            digest: "ab".into(),
            abi: "0.2.1".into(),
            on_error: OnError::default(),
        };

        let text = summary(&config, &[plugin]);

        assert_eq!(
            text,
            "\nlistener 127.0.0.1:8000 on 127.0.0.1:8000\n  api: path /v1/ -> 127.0.0.1:8080\n    filters: auth\n  \
             127.0.0.1:8000/1: everything -> echo\n\nplugins\n  auth: auth.wasm (abi 0.2.1, sha256 ab, on_error deny)\n\n\
             clusters\n  127.0.0.1:8080: 127.0.0.1:8080\n"
        );
    }

    #[test]
    fn admin_endpoints_that_others_can_reach_are_a_risk() {
        let admin = |address| {
            let token = "token: 0123456789abcdef";
            let text = format!("admin: {{ listen: '{address}', {token} }}\nlisten: 127.0.0.1:8000\nroutes: []\n");
            admin_risk(&config(&text))
        };

        assert!(admin("0.0.0.0:9901").is_some_and(|risk| risk.starts_with("admin on 0.0.0.0:9901 can be reached")));
        assert_eq!(admin("127.0.0.1:9901"), None);
        assert_eq!(admin_risk(&config("listen: 127.0.0.1:8000\nroutes: []\n")), None);
    }

    #[test]
    fn more_connections_than_there_are_descriptors_for_are_a_risk() {
        let connections = |count| {
            let text = format!("limits: {{ connections: {count} }}\nlisten: 127.0.0.1:8000\nroutes: []\n");
            summary(&config(&text), &[])
        };

        assert!(connections(820).contains("\n  limits.connections: 820 is more than the 819 that clients get of 1024"));
        assert!(!connections(819).contains("connections"), "{}", connections(819));
    }

    #[test]
    fn memory_without_a_bound_is_a_risk() {
        let memory = |limit| {
            let text = format!("limits: {{ memory: {limit} }}\nlisten: 127.0.0.1:8000\nroutes: []\n");
            summary(&config(&text), &[])
        };

        assert!(memory("off").contains("\n  limits.memory: off lets requests take memory"), "{}", memory("off"));
        assert!(!memory("99%").contains("memory"), "{}", memory("99%"));
    }

    #[test]
    fn bodies_without_a_rate_are_a_risk() {
        let rate = |rate| {
            let text = format!("limits: {{ body_rate: {rate} }}\nlisten: 127.0.0.1:8000\nroutes: [{{ to: echo }}]\n");
            summary(&config(&text), &[])
        };

        assert!(rate("off").contains("\n  listener 127.0.0.1:8000: body_rate: off lets a client"), "{}", rate("off"));
        assert!(!rate("1B").contains("body_rate"));
    }

    #[test]
    fn tls_is_summed_up_and_a_certificate_that_is_not_looked_at_is_a_risk() {
        let config = config(
            "listeners:\n- name: edge\n  listen: 127.0.0.1:443\n  tls: { certificates: [{ cert: a.pem, key: a.key }, \
             { cert: b.pem, key: b.key, names: [b.test] }], client_ca: ca.pem }\n  routes: []\nclusters:\n  \
             app: { hosts: [10.0.0.1:443], protocol: h2, tls: { verify: off } }\n",
        );

        let text = summary(&config, &[]);

        assert_eq!(
            text,
            "\nlistener edge on 127.0.0.1:443\n  tls: a.pem for its own names\n  tls: b.pem for b.test\n  \
             client certificates of ca.pem required\n\nclusters\n  app: 10.0.0.1:443 (h2, tls)\n\nnot the safe default\n  \
             cluster app: tls.verify: off believes whoever answers, with any certificate\n"
        );
    }

    #[test]
    fn every_risk_is_named_with_its_place() {
        let config = config(
            "listen: 127.0.0.1:8000\nroutes:\n- to: echo\n  filters:\n  - { wasm: a.wasm, on_error: skip, \
             budget: { time: 50ms, memory: 128MiB } }\n",
        );

        let text = summary(&config, &[]);

        let (_, risks) = text.split_once("not the safe default\n").unwrap();
        let risks: Vec<_> = risks.lines().collect();
        assert_eq!(risks.len(), 3, "{risks:?}");
        assert!(risks[0].contains("a (tollgate.yaml:5") && risks[0].contains("on_error: skip"), "{}", risks[0]);
        assert!(risks[1].contains("50ms") && risks[2].contains("128MiB"), "{risks:?}");
    }

    #[test]
    fn a_policy_that_differs_by_kind_is_shown_by_kind() {
        let deny = OnError::all(Policy::Deny);

        assert_eq!(on_error(OnError::all(Policy::Skip)), "skip");
        assert_eq!(on_error(OnError { load: Some(Policy::Skip), ..deny }), "deny, load skip");
        assert_eq!(on_error(OnError { memory: Policy::Skip, ..deny }), "trap deny, deadline deny, memory skip");
    }

    #[test]
    fn a_policy_to_skip_is_a_risk_for_the_kinds_that_have_it() {
        let config = config("listen: 127.0.0.1:8000\nroutes:\n- to: echo\n  filters: [{ wasm: a.wasm }]\n");
        let mut plugin = config.plugins[0].clone();
        plugin.on_error =
            OnError { load: Some(Policy::Skip), trap: Policy::Skip, memory: Policy::Skip, ..plugin.on_error };

        let risks = risks(&plugin, &config);

        assert!(risks[0].ends_with("on_error: skip lets exchanges pass when it fails by trap, memory"), "{risks:?}");
        assert!(risks[1].ends_with("on_error.load: skip lets exchanges pass when it cannot be loaded"), "{risks:?}");
    }

    #[test]
    fn the_default_budget_is_no_risk_and_a_millisecond_more_is() {
        let config = config("listen: 127.0.0.1:8000\nroutes:\n- to: echo\n  filters: [{ wasm: a.wasm }]\n");
        let mut plugin = config.plugins[0].clone();

        let none = risks(&plugin, &config);
        plugin.budget.time += Duration::from_millis(1);
        let one = risks(&plugin, &config);

        assert_eq!((none.len(), one.len()), (0, 1));
    }

    #[test]
    fn what_a_filter_may_reach_and_keep_is_a_risk_and_an_empty_list_is_none() {
        let config = config(
            "listen: 127.0.0.1:8000\nroutes:\n- to: echo\n  filters:\n  - { wasm: a.wasm, allow: { calls: [idp, app], \
             resolve: [idp.local, '*.example.com', '*'] }, quota: { callouts: 101, queues: 101, timers: 1 } }\n  \
             - { wasm: b.wasm, allow: { calls: [], resolve: [] }, quota: { queues: 100 } }\n\
             clusters: { app: { hosts: [10.0.0.1:80] }, idp: { hosts: [10.0.0.2:80], protocol: h2 } }\n",
        );

        let text = summary(&config, &[]);

        let (clusters, risks) = text.split_once("not the safe default\n").unwrap();
        assert!(clusters.contains("  idp: 10.0.0.2:80 (h2)\n"), "{clusters}");
        assert_eq!(
            risks,
            "  a (tollgate.yaml:5:5): allow.calls lets it call idp, app\n  \
             a (tollgate.yaml:5:5): allow.resolve lets it look up idp.local, *.example.com, *\n  \
             a (tollgate.yaml:5:5): quota lets it have more of queues, callouts\n"
        );
    }

    #[test]
    fn a_listener_of_tcp_is_summed_up_with_its_cluster_and_filters() {
        let config = config(
            "listeners:\n- name: db\n  listen: 127.0.0.1:5432\n  tcp: { to: tcp://10.0.0.1:5432, filters: [{ wasm: tap.wasm }] }\n",
        );

        let text = summary(&config, &[]);

        assert!(
            text.starts_with("\nlistener db on 127.0.0.1:5432\n  tcp -> 10.0.0.1:5432\n    filters: tap\n"),
            "{text}"
        );
    }

    #[test]
    fn repeating_what_may_do_harm_or_too_much_is_a_risk() {
        let clusters =
            "clusters: { app: { hosts: [10.0.0.1:80], health: { tcp: true }, panic: 0%, retry: { budget: 50% } } }";
        let retry = "retry: { non_idempotent: on, replay: 1MiB }";
        let config =
            config(&format!("listen: 127.0.0.1:8000\nroutes: [{{ name: r, to: app, {retry} }}]\n{clusters}\n"));

        let summary = summary(&config, &[]);

        for risk in [
            "cluster app: retry.budget lets 50% of the requests under way be repetitions",
            "cluster app: panic: 0% answers 503 while no endpoint is healthy",
            "route r: retry.non_idempotent may have an upstream carry a request out twice",
            "route r: retry.replay keeps 1MiB of each body",
        ] {
            assert!(summary.contains(risk), "{risk}: {summary}");
        }
    }

    #[test]
    fn the_defaults_of_clusters_and_retries_are_no_risk() {
        let clusters = "clusters: { app: { hosts: [10.0.0.1:80], health: { tcp: true }, outliers: {}, retry: {} } }";
        let config = config(&format!("listen: 127.0.0.1:8000\nroutes: [{{ to: app, retry: {{}} }}]\n{clusters}\n"));

        assert!(!summary(&config, &[]).contains("not the safe default"));
    }

    #[test]
    fn special_destinations_that_are_allowed_are_risks() {
        let risks = |intercept: &str| {
            let listener =
                format!("{{ name: out, listen: 127.0.0.1:0, intercept: {intercept}, tcp: {{ to: original }} }}");
            let config = config(&format!("listeners: [{listener}]"));
            (cluster_line(&config.clusters[0]), cluster_risks(&config.clusters[0]))
        };

        let (line, none) = risks("{ by: redirect, reach: loopback }");
        let (_, both) = risks("{ by: redirect, allow: [loopback, link_local] }");

        assert_eq!(line, "out/original: the ports that connections were meant for, on loopback");
        assert!(none.is_empty(), "{none:?}");
        assert!(both[0].contains("allow: loopback lets") && both[1].contains("allow: link_local lets"), "{both:?}");
        assert_eq!(both.len(), 2);
    }

    #[test]
    fn addresses_that_are_kept_for_longer_than_usual_are_a_risk() {
        let risks = |host: &str, dns: &str| {
            let text = format!(
                "listen: 127.0.0.1:0\nroutes: [{{ to: app }}]\ndns: {dns}\nclusters: {{ app: {{ hosts: ['{host}'] }} }}"
            );
            cluster_risks(&config(&text).clusters[0])
        };

        assert!(risks("app.test:80", "{ keep: 5m }").is_empty() && risks("10.0.0.1:80", "{ keep: 1h }").is_empty());
        assert_eq!(
            risks("app.test:80", "{ keep: 301s }"),
            ["cluster app: dns.keep sends requests to addresses that no name server has confirmed for 301s"]
        );
    }

    #[test]
    fn what_a_route_does_is_summed_up_in_a_line() {
        let config = config(
            "listen: 127.0.0.1:8000\nroutes:\n- { name: a, match: { path: /, headers: { x: { regex: y } }, query: \
             { q: { present: true }, r: { present: false } } }, to: { app: 9, next: 1 } }\n\
             - { name: b, respond: { status: 404 } }\n- { name: c, redirect: { scheme: https, status: 308 } }\n\
             - { name: d, match: { path: /v1 }, redirect: { host: b, port: 81, prefix: /v2 } }\n\
             clusters: { app: { hosts: [10.0.0.1:80] }, next: { hosts: [10.0.0.2:80] } }\n",
        );

        let text = summary(&config, &[]);

        let lines: Vec<_> = text.lines().skip(2).take(4).map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "a: path /, header x like y, query q, no query r -> app (9), next (1)",
                "b: everything -> answer 404",
                "c: everything -> 308 https://*/*",
                "d: path /v1/ -> 302 *://b:81/v2/*",
            ]
        );
    }

    #[test]
    fn a_listener_that_believes_others_is_a_risk() {
        let risks = |keys: &str| {
            let text = format!("listeners: [{{ name: edge, listen: 127.0.0.1:0, {keys} }}]");
            listener_risks(&config(&text).listeners[0])
        };

        assert!(risks("routes: [{ to: echo }]").is_empty());
        assert_eq!(
            risks("routes: [], http: { forwarded: { trusted: [10.0.0.0/8, '::1'] }, underscores: allow }"),
            [
                "listener edge: http.forwarded.trusted believes what 10.0.0.0/8, ::1/128 say of their clients",
                "listener edge: http.underscores: allow lets names pass that programs take for others",
            ]
        );
        assert_eq!(
            risks("routes: [{ name: a, to: echo, stream: true }], http: { forwarded: { hops: 2 } }"),
            [
                "listener edge: http.forwarded.hops believes whoever connects to be the last of 2 proxies",
                "listener edge: route a: stream: true lets a request last for ever",
            ]
        );
        assert_eq!(
            risks("routes: [], proxy_protocol: on"),
            ["listener edge: proxy_protocol: on believes whoever connects about whose connection it is"]
        );
        assert_eq!(
            risks("tcp: { to: 'tcp://a:1' }, proxy_protocol: { from: ['::1'] }"),
            ["listener edge: proxy_protocol.from believes ::1/128 about whose connections they are"]
        );
        assert_eq!(
            risks("routes: [{ name: a, to: 'http://a:1', upgrade: [websocket] }]"),
            ["listener edge: route a: upgrade lets bytes of websocket pass unseen by filters"]
        );
        assert_eq!(
            risks("routes: [{ name: a, to: 'http://a:1', upgrade: [connect] }]"),
            [
                "listener edge: route a: upgrade: [connect] lets clients reach its endpoints with bytes unseen by filters"
            ]
        );
    }
}
