//! Names to what they name: the long form becomes a [`Config`], and what leads nowhere is reported.
//! Everything that one value alone can get wrong was found when it was read.

mod admin;
mod cluster;
mod clusters;
mod connect;
mod dns;
mod intercept;
mod limits;
mod plugins;
mod quota;
mod rollout;
mod routes;
mod selftest;
mod tls;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

use crate::error::Code;
use crate::expand::{self, Long};
use crate::file::at::At;
use crate::file::choice;
use crate::file::read::Named;
use crate::file::write::View;
use crate::file::{self, Match};
use crate::limits::Limits;
use crate::listener::{Listener, Tcp};
use crate::node::Node;
use crate::proxy_protocol::Senders;
use crate::report::{Report, Spot};
use crate::route::{HostMatch, PathMatch, Route, RouteMatch};
use crate::scalar::Name;
use crate::telemetry::{AccessLog, LogTarget, Telemetry};
use crate::{Admin, Cache, Config};
use clusters::Clusters;
use plugins::Plugins;

/// The most workers a configuration may ask for.
const WORKERS: usize = 1024;

/// What the long form means; once a fault is reported the answer is of no use.
pub(crate) fn check(long: &Long, origin: &Path, report: &mut Report<'_>) -> Config {
    let folder = origin.parent().unwrap_or(Path::new(""));
    let limits = limits::global(&long.limits);
    let (admin, admin_token) = admin::admin(long.admin.as_ref(), report);
    let plugins = Plugins::of(long);
    let dns = dns::dns(&long.dns, report);
    let clusters = Clusters::of(&long.clusters, (limits, dns.clone(), folder), report);
    let taken = Taken::by(admin, long);
    let mut check = Check { folder, limits, plugins, clusters, taken, report };
    check.workers(long);
    let listeners = check.listeners(&long.listeners);
    let Check { plugins, clusters, report, .. } = check;
    Config {
        workers: long.workers.as_ref().map(|workers| workers.value),
        admin,
        admin_token,
        cache: cache(long.cache.as_ref(), folder),
        watch: long.watch.as_ref().is_none_or(|watch| watch.value == choice::Watch::On),
        limits,
        dns,
        listeners,
        plugins: plugins.into_list(folder, &clusters, report),
        clusters: clusters.into_list(),
        telemetry: telemetry(long.telemetry.as_ref(), folder, report),
        node: node(long.node.as_ref()),
        expanded: long.value(View::Redacted),
    }
}

struct Check<'c, 't> {
    folder: &'c Path,
    limits: Limits,
    plugins: Plugins<'c>,
    clusters: Clusters<'c>,
    taken: Taken,
    report: &'c mut Report<'t>,
}

/// What may be had once, with the line of its owner.
#[derive(Default)]
struct Taken {
    listeners: HashMap<Name, usize>,
    routes: HashMap<Name, usize>,
    addresses: HashMap<SocketAddr, usize>,
}

impl Taken {
    /// The admin endpoints come first.
    fn by(admin: Admin, long: &Long) -> Taken {
        let mut taken = Taken::default();
        if let (Admin::Listen(address), Some(choice::Admin::Listen(said))) = (admin, &long.admin) {
            taken.addresses.insert(address, said.listen.spot.line);
        }
        taken
    }
}

impl Check<'_, '_> {
    fn workers(&mut self, long: &Long) {
        let Some(workers) = &long.workers else { return };
        if workers.value.get() > WORKERS {
            let message = format!("{} workers are too many, {WORKERS} are the most", workers.value);
            self.report.fault(Code::BadValue, workers.spot, message);
        }
    }

    fn listeners(&mut self, said: &[expand::Listener]) -> Vec<Listener> {
        said.iter().map(|said| self.listener(said)).collect()
    }

    fn listener(&mut self, said: &expand::Listener) -> Listener {
        self.address(&said.address);
        if let Some(name) = &said.name {
            once(&mut self.taken.listeners, name, "listener", self.report);
        }
        let address = said.address.value;
        let name = said.name.as_ref().map_or_else(|| address.to_string(), |name| name.value.0.clone());
        let chain = self.plugins.chain(&said.chain, &format!("listener {name:?}"), self.report);
        let original = said.intercept.as_ref().map(|said| intercept::original(said, self.report));
        self.clusters.enter(&name, original);
        let routes = said.routes.iter().enumerate();
        Listener {
            routes: routes.filter_map(|(index, said)| self.route(said, &name, index, &chain)).collect(),
            tcp: said.tcp.as_ref().and_then(|said| self.tcp(said, &name)),
            name,
            address,
            tls: said.tls.as_ref().map(|said| tls::of_listener(said, self.folder, self.report)),
            balance: said.balance.value,
            intercept: said.intercept.as_ref().map(|said| said.by.value),
            direction: said.direction.as_ref().map(|said| said.value).unwrap_or_default(),
            proxy_protocol: said.proxy_protocol.as_ref().and_then(senders),
            limits: limits::of_listener(said.limits.as_ref(), self.limits),
            http: said.http.as_ref().map(routes::http).unwrap_or_default(),
            headers: routes::edits(said.headers.as_ref(), self.report).map(|edits| *edits).unwrap_or_default(),
        }
    }

    fn address(&mut self, said: &At<SocketAddr>) {
        // Port 0 is another port each time.
        if said.value.port() == 0 {
            return;
        }
        if let Some(line) = self.taken.addresses.insert(said.value, said.spot.line) {
            let message = format!("{} is listened on already, see line {line}", said.shown());
            self.report.fault(Code::DuplicateName, said.spot, message);
        }
    }

    /// `None` when its target leads nowhere.
    fn tcp(&mut self, said: &expand::Tcp, listener: &str) -> Option<Tcp> {
        let whose = format!("listener {listener:?}");
        let chain = self.plugins.chain(&said.chain, &whose, self.report);
        let cluster = self.clusters.of_tcp(&said.to, &whose, self.report)?;
        Some(Tcp { cluster, chain })
    }

    /// `None` when it leads nowhere.
    fn route(
        &mut self,
        said: &expand::Route,
        listener: &str,
        index: usize,
        before: &[crate::PluginId],
    ) -> Option<Route> {
        if let Some(name) = &said.name {
            once(&mut self.taken.routes, name, "route", self.report);
        }
        let name = match &said.name {
            Some(name) => name.value.0.clone(),
            None => format!("{listener}/{index}"),
        };
        let whose = format!("route {name:?}");
        let own = self.plugins.chain(&said.chain, &whose, self.report);
        let matcher = said.matcher.as_ref().map(|said| matcher(said, self.report)).unwrap_or_default();
        routes::bounds(said, self.report);
        let rewrite = said.rewrite.as_ref().map(|said| Box::new(routes::rewrite(said, &matcher.path, self.report)));
        let headers = routes::edits(said.headers.as_ref(), self.report);
        let target = routes::target(said, &matcher.path, (&mut self.clusters, &whose), self.report)?;
        Some(Route {
            upgrade: routes::upgrade(said, &target, (&self.clusters, &whose), self.report),
            connect: connect::connect(said, &target, (&self.clusters, &whose), self.report),
            target,
            name,
            matcher,
            rewrite,
            headers,
            timeout: said.timeout.value,
            retry: said.retry.as_ref().map(|said| cluster::retry(&whose, said, self.report)),
            idle_timeout: said.idle_timeout.as_ref().map(|said| said.value),
            request_timeout: said.request_timeout.as_ref().map(|said| said.value),
            stream: said.stream.as_ref().is_some_and(|said| said.value),
            chain: before.iter().copied().chain(own).collect(),
        })
    }
}

/// Reports a name that something of the same kind has already.
fn once(taken: &mut HashMap<Name, usize>, name: &At<Name>, kind: &str, report: &mut Report<'_>) {
    if let Some(line) = taken.insert(name.value.clone(), name.spot.line) {
        let message = format!("there is another {kind} {:?} at line {line}; choose another name", name.shown());
        report.fault(Code::DuplicateName, name.spot, message);
    }
}

fn matcher(said: &Match, report: &mut Report<'_>) -> RouteMatch {
    let query = said.query.iter().flat_map(|named| named.read_entries());
    let query = query.filter_map(|(name, said)| Some((name.value.clone(), routes::condition(said)?)));
    let methods = said.method.iter().flat_map(|methods| &methods.0);
    RouteMatch {
        host: said.host.as_ref().map_or(HostMatch::Any, |host| host.value.clone()),
        path: path(said, report),
        methods: methods.map(|method| method.value.0.clone()).collect(),
        headers: headers(said.headers.as_ref(), |name| &name.0, routes::condition, report),
        query: query.collect(),
    }
}

/// Header fields in the order written; one that is there already, in whatever case, is reported. Values that could not be
/// read were reported then.
fn headers<K, V, T>(
    said: Option<&Named<K, V>>,
    lower: fn(&K) -> &String,
    value: impl Fn(&V) -> Option<T>,
    report: &mut Report<'_>,
) -> Vec<(String, T)> {
    let mut headers: Vec<(String, T)> = Vec::new();
    for (name, said) in said.into_iter().flat_map(|named| named.read_entries()) {
        let lower = lower(&name.value);
        if headers.iter().any(|(other, _)| other == lower) {
            report.fault(Code::DuplicateKey, name.spot, format!("the header {lower:?} is written twice"));
        }
        headers.extend(value(said).map(|value| (lower.clone(), value)));
    }
    headers
}

fn path(said: &Match, report: &mut Report<'_>) -> PathMatch {
    let prefix = said.path.as_ref().map(|path| (path.spot, PathMatch::Prefix(path.value.0.clone())));
    let exact = said.exact.as_ref().map(|path| (path.spot, PathMatch::Exact(path.value.0.clone())));
    let regex = said.regex.as_ref().map(|path| (path.spot, PathMatch::Regex(path.value.clone())));
    let mut said: Vec<(Spot, PathMatch)> = [prefix, exact, regex].into_iter().flatten().collect();
    said.sort_by_key(|(spot, _)| (spot.line, spot.column));
    for (spot, _) in said.iter().skip(1) {
        let message = "\"path\", \"exact\" and \"regex\" exclude one another; a match has one of them";
        report.fault(Code::Conflict, *spot, message);
    }
    said.into_iter().next().map_or(PathMatch::Any, |(_, path)| path)
}

/// Whose connections begin with a header of the PROXY protocol.
fn senders(said: &choice::ProxyHeaders) -> Option<Senders> {
    match said {
        choice::ProxyHeaders::Switch(switch) => (switch.value == choice::ProxySwitch::On).then_some(Senders::Everybody),
        choice::ProxyHeaders::From(said) => {
            Some(Senders::Networks(said.from.0.iter().map(|network| network.value).collect()))
        }
    }
}

fn telemetry(said: Option<&file::Telemetry>, folder: &Path, report: &mut Report<'_>) -> Telemetry {
    let log = said.and_then(|said| said.access_log.as_ref());
    let access_log = log.map(|said| AccessLog {
        properties: properties(said.properties.as_deref().unwrap_or_default(), report),
        format: said.format.as_ref().map(|format| format.value).unwrap_or_default(),
        to: match said.to.as_ref().map(|to| &to.value) {
            Some(LogTarget::File(path)) => LogTarget::File(folder.join(path)),
            Some(LogTarget::Stdout) | None => LogTarget::Stdout,
        },
    });
    Telemetry { access_log }
}

/// Names of properties; a line of the log has each once.
fn properties(said: &[At<Name>], report: &mut Report<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for name in said {
        if names.contains(&name.value.0) {
            let message = format!("the property {:?} is written twice", name.shown());
            report.fault(Code::DuplicateName, name.spot, message);
        }
        names.push(name.value.0.clone());
    }
    names
}

fn cache(said: Option<&choice::Cache>, folder: &Path) -> Cache {
    match said {
        None => Cache::Default,
        Some(choice::Cache::Off) => Cache::Off,
        Some(choice::Cache::Dir(said)) => Cache::Dir(folder.join(&said.dir.value.0)),
    }
}

fn node(said: Option<&file::Node>) -> Node {
    let text = |said: &Option<At<String>>| said.as_ref().map(|said| said.value.clone()).unwrap_or_default();
    said.map_or_else(Node::default, |said| Node {
        id: text(&said.id),
        cluster: text(&said.cluster),
        metadata: said.metadata.as_ref().map(file::data::Metadata::entries).unwrap_or_default(),
    })
}
