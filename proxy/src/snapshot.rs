//! All that a request may read, immutable: published once, shared by reference, taken up by each worker.

use std::rc::Rc;
use std::sync::Arc;

use tollgate_config::{self as config, ClusterId, Config, HostMatch, Limits, PluginId, Target};

use crate::clock::Clock;
use crate::exchange::Timeouts;
use crate::exchange::kept::PropertyQuota;
use crate::exchange::stream::Names;
use crate::filter::generation::Generation;
use crate::filter::plugin::Plugin;
use crate::route::RouteTable;
use crate::telemetry::metrics::{ListenerSeries, Registry, RouteSeries, TcpSeries};
use crate::upstream::cluster::{Cluster, PeerLimits};

/// See the module.
pub struct Snapshot {
    /// Grows with every publication.
    pub number: u64,
    /// In the order of the sockets.
    pub listeners: Vec<Listener>,
    /// Every cluster.
    pub clusters: Vec<config::Cluster>,
    /// Every plugin that some chain names.
    pub generations: Vec<Arc<Generation>>,
    limits: Limits,
}

/// One listener's share of a snapshot.
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Its bounds.
    pub limits: Limits,
    /// Which route serves what.
    pub table: RouteTable,
    routes: Vec<config::Route>,
    tcp: Option<config::Tcp>,
}

impl Snapshot {
    /// What a checked configuration and its generations come to.
    pub fn new(number: u64, config: &Config, generations: Vec<Arc<Generation>>) -> Self {
        let listeners = config.listeners.iter().map(|listener| Listener {
            name: listener.name.clone(),
            limits: listener.limits,
            table: RouteTable::new(&listener.routes),
            routes: listener.routes.clone(),
            tcp: listener.tcp.clone(),
        });
        Self {
            number,
            listeners: listeners.collect(),
            clusters: config.clusters.clone(),
            generations,
            limits: config.limits,
        }
    }
}

/// A snapshot as one worker uses it: with that worker's VMs, pools and counters.
pub struct Local {
    /// What it was made from.
    pub snapshot: Arc<Snapshot>,
    /// In the order of the snapshot's listeners.
    pub listeners: Vec<Rc<LocalListener>>,
    /// In the order of the snapshot's generations.
    pub plugins: Vec<Rc<Plugin>>,
    /// In the order of the snapshot's clusters.
    pub clusters: Vec<Rc<Cluster>>,
}

/// A listener on one worker.
pub struct LocalListener {
    /// Its bounds.
    pub limits: Limits,
    /// What this worker counts about it.
    pub series: Arc<ListenerSeries>,
    /// In the order of its table.
    pub routes: Vec<Rc<LocalRoute>>,
    /// Where exchanges are counted that no route serves.
    pub unrouted: Rc<LocalRoute>,
    /// Where its connections go as they are, in place of routes.
    pub tcp: Option<Rc<LocalTcp>>,
}

/// Where a listener passes its connections on to, on one worker.
pub struct LocalTcp {
    /// What it is called.
    pub names: Arc<Names>,
    /// The cluster.
    pub cluster: Rc<Cluster>,
    /// Its filters, in order.
    pub chain: Vec<Rc<Plugin>>,
    /// What each of them may set on a connection.
    pub quotas: Arc<[PropertyQuota]>,
    /// What this worker counts about it.
    pub series: Arc<TcpSeries>,
}

/// A route on one worker.
pub struct LocalRoute {
    /// What it is called.
    pub names: Arc<Names>,
    /// Where its requests go; absent for the built-in echo.
    pub cluster: Option<Rc<Cluster>>,
    /// Its filters, in order.
    pub chain: Vec<Rc<Plugin>>,
    /// What each of them may set on an exchange.
    pub quotas: Arc<[PropertyQuota]>,
    /// How long its exchanges may wait.
    pub timeouts: Timeouts,
    /// What this worker counts about it.
    pub series: Arc<RouteSeries>,
}

/// What routes lead to.
struct Targets<'a> {
    listener: &'a Listener,
    configs: &'a [config::Cluster],
    clusters: &'a [Rc<Cluster>],
    plugins: &'a [Rc<Plugin>],
}

impl Targets<'_> {
    fn cluster(&self, target: &Target) -> Option<(&str, Rc<Cluster>)> {
        let Target::Cluster(ClusterId(at)) = target else { return None };
        let (config, cluster) = (self.configs.get(*at)?, self.clusters.get(*at)?);
        Some((&config.name, Rc::clone(cluster)))
    }

    fn chain(&self, plugins: &[PluginId]) -> Vec<Rc<Plugin>> {
        plugins.iter().filter_map(|PluginId(at)| self.plugins.get(*at)).map(Rc::clone).collect()
    }
}

fn quotas(chain: &[Rc<Plugin>]) -> Arc<[PropertyQuota]> {
    chain.iter().map(|plugin| plugin.generation.manners.properties).collect()
}

/// Which worker takes a snapshot up, and with what.
pub struct Place<'a> {
    /// The worker's number.
    pub worker: usize,
    /// How many workers there are.
    pub workers: usize,
    /// Where counters come from.
    pub registry: &'a Registry,
    /// The worker's clock.
    pub clock: &'a Rc<Clock>,
}

impl Local {
    /// Takes a snapshot up: each plugin takes one of the VMs that were started for it.
    pub fn new(snapshot: Arc<Snapshot>, place: &Place<'_>) -> Self {
        let limits = &snapshot.limits;
        let peer =
            PeerLimits { fields: limits.headers, bytes: limits.header_bytes.as_usize(), streams: limits.streams };
        let clusters: Vec<Rc<Cluster>> = snapshot.clusters.iter().map(|cluster| place.cluster(cluster, peer)).collect();
        let plugins = snapshot.generations.iter().map(|generation| place.plugin(generation, &clusters));
        let plugins: Vec<Rc<Plugin>> = plugins.collect();
        let listeners = snapshot.listeners.iter().map(|listener| {
            let targets = Targets { listener, configs: &snapshot.clusters, clusters: &clusters, plugins: &plugins };
            Rc::new(place.listener(&targets))
        });
        let listeners = listeners.collect();
        Self { listeners, plugins, clusters, snapshot }
    }
}

/// The host of a route as it is written.
fn host(host: &HostMatch) -> String {
    match host {
        HostMatch::Any => "*".to_owned(),
        HostMatch::Exact(name) => name.clone(),
        HostMatch::Suffix(suffix) => format!("*{suffix}"),
    }
}

fn names(listener: &str, route: &str, host: &str, cluster: &str) -> Arc<Names> {
    Arc::new(Names {
        listener: listener.to_owned(),
        route: route.to_owned(),
        host: host.to_owned(),
        cluster: cluster.to_owned(),
    })
}

impl Place<'_> {
    fn plugin(&self, generation: &Arc<Generation>, clusters: &[Rc<Cluster>]) -> Rc<Plugin> {
        Plugin::new(Arc::clone(generation), generation.means(self.registry, self.worker, clusters))
    }

    fn cluster(&self, cluster: &config::Cluster, peer: PeerLimits) -> Rc<Cluster> {
        let series = self.registry.cluster(self.worker, &cluster.name);
        Rc::new(Cluster::new(cluster, peer, (self.worker, self.workers), series, self.clock))
    }

    fn listener(&self, targets: &Targets<'_>) -> LocalListener {
        let listener = targets.listener;
        LocalListener {
            limits: listener.limits,
            series: self.registry.listener(self.worker, &listener.name),
            routes: listener.routes.iter().map(|route| Rc::new(self.route(route, targets))).collect(),
            unrouted: Rc::new(self.unrouted(listener)),
            tcp: listener.tcp.as_ref().and_then(|tcp| self.tcp(tcp, targets)).map(Rc::new),
        }
    }

    fn tcp(&self, tcp: &config::Tcp, targets: &Targets<'_>) -> Option<LocalTcp> {
        let (cluster_name, cluster) = targets.cluster(&Target::Cluster(tcp.cluster))?;
        let listener = &targets.listener.name;
        let chain = targets.chain(&tcp.chain);
        Some(LocalTcp {
            names: names(listener, "tcp", "*", cluster_name),
            cluster,
            quotas: quotas(&chain),
            chain,
            series: self.registry.tcp(self.worker, listener),
        })
    }

    fn unrouted(&self, listener: &Listener) -> LocalRoute {
        let limits = &listener.limits;
        LocalRoute {
            names: names(&listener.name, "none", "*", "none"),
            cluster: None,
            chain: Vec::new(),
            quotas: Arc::default(),
            timeouts: Timeouts {
                idle: limits.stream_idle_timeout,
                request: limits.request_timeout,
                head: limits.idle_timeout,
            },
            series: self.registry.route(self.worker, &listener.name, "none", "none"),
        }
    }

    fn route(&self, route: &config::Route, targets: &Targets<'_>) -> LocalRoute {
        let cluster = targets.cluster(&route.target);
        let target = cluster.as_ref().map_or("echo", |(name, _)| *name);
        let limits = &targets.listener.limits;
        let chain = targets.chain(&route.chain);
        LocalRoute {
            names: names(&targets.listener.name, &route.name, &host(&route.matcher.host), target),
            series: self.registry.route(self.worker, &targets.listener.name, &route.name, target),
            cluster: cluster.map(|(_, cluster)| cluster),
            quotas: quotas(&chain),
            chain,
            timeouts: Timeouts {
                idle: limits.stream_idle_timeout,
                request: limits.request_timeout,
                head: route.timeout,
            },
        }
    }
}
