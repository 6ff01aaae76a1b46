//! All that a request may read, immutable: published once, shared by reference, taken up by each worker.

mod routes;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use http::HeaderValue;
use tollgate_config::{
    self as config, Balance, ClusterId, Config, Direction, HeaderEdits, Http, Intercept, Limits, PluginId, Senders,
};

use crate::clock::Clock;
use crate::exchange::Timeouts;
use crate::exchange::edits::Edits;
use crate::exchange::hop;
use crate::exchange::kept::PropertyQuota;
use crate::exchange::pace::Expected;
use crate::exchange::stream::Names;
use crate::filter::generation::Generation;
use crate::filter::plugin::Plugin;
use crate::filter::slot::{LocalSlot, Slot};
use crate::route::RouteTable;
use crate::telemetry::metrics::{ListenerSeries, Registry, RouteSeries, TcpSeries};
use crate::tls::Parties;
use crate::tls::client::Client;
use crate::tls::server::Server;
use crate::upstream::cluster::{Cluster, PeerLimits};
use crate::upstream::fleet::Fleet;
use crate::upstream::own::Own;
use crate::upstream::resolve::Resolvers;

pub use self::routes::{Routes, Split};
use self::routes::{clusters, distinct, names};

/// See the module.
pub struct Snapshot {
    /// Grows with every publication.
    pub number: u64,
    /// In the order of the configuration.
    pub listeners: Vec<Arc<Listener>>,
    /// Every cluster.
    pub clusters: Vec<Arc<Fleet>>,
    /// What is spoken TLS with, in the order of the clusters.
    clients: Vec<Option<Arc<Client>>>,
    /// Every plugin that some chain names.
    pub slots: Vec<Slot>,
    /// Bounds for the whole process.
    pub limits: Limits,
}

/// Names a listener as long as the process lives, whatever becomes of its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u64);

/// One listener's share of a snapshot.
pub struct Listener {
    /// Which one it is.
    pub id: ListenerId,
    /// Its name.
    pub name: String,
    /// How its connections are spread over workers.
    pub balance: Balance,
    /// How connections get there that were meant for other addresses.
    pub intercept: Option<Intercept>,
    /// Which way its connections go.
    pub direction: Direction,
    /// Whose connections begin with a PROXY header.
    pub senders: Option<Senders>,
    /// Its bounds.
    pub limits: Limits,
    /// How many of its clients are connected, whatever snapshots come and go meanwhile.
    pub connections: Arc<AtomicUsize>,
    /// How its requests are marked.
    pub http: Http,
    /// What is changed of its messages.
    headers: HeaderEdits,
    /// Present where it speaks TLS.
    pub tls: Option<Arc<Server>>,
    /// Which route serves what.
    pub table: RouteTable,
    /// The same for CONNECT, where some route takes it.
    pub tunnels: Option<Box<RouteTable>>,
    routes: Vec<config::Route>,
    /// The plugins that its routes name, in order.
    plugins: Vec<PluginId>,
    /// The clusters that its routes lead to, in order.
    clusters: Vec<ClusterId>,
    tcp: Option<config::Tcp>,
}

impl Listener {
    /// What the configuration says of a listener, which goes on where it was there `before`.
    fn new(id: ListenerId, listener: &config::Listener, tls: Option<Arc<Server>>, before: Option<&Snapshot>) -> Self {
        let known = before.and_then(|before| before.listeners.iter().find(|known| known.id == id));
        Self {
            id,
            name: listener.name.clone(),
            balance: listener.balance,
            intercept: listener.intercept,
            direction: listener.direction,
            senders: listener.proxy_protocol.clone(),
            limits: listener.limits,
            connections: known.map(|known| Arc::clone(&known.connections)).unwrap_or_default(),
            http: listener.http.clone(),
            headers: listener.headers.clone(),
            tls,
            table: RouteTable::new(&listener.routes),
            tunnels: RouteTable::of_tunnels(&listener.routes),
            plugins: distinct(listener.routes.iter().flat_map(|route| &route.chain).copied()),
            clusters: distinct(listener.routes.iter().flat_map(|route| clusters(&route.target))),
            routes: listener.routes.clone(),
            tcp: listener.tcp.clone(),
        }
    }
}

impl Snapshot {
    /// What a checked configuration comes to, with listeners, plugins, clusters and TLS in its order, in place of the one
    /// `before`.
    pub fn new(
        before: Option<&Snapshot>,
        config: &Config,
        ids: &[ListenerId],
        slots: Vec<Slot>,
        (clusters, tls): (Vec<Arc<Fleet>>, Parties),
    ) -> Self {
        let listeners = ids.iter().zip(&config.listeners).zip(tls.servers);
        let listeners = listeners.map(|((id, listener), tls)| Arc::new(Listener::new(*id, listener, tls, before)));
        let number = before.map_or(1, |before| before.number + 1);
        Self { number, listeners: listeners.collect(), clusters, clients: tls.clients, slots, limits: config.limits }
    }

    /// The same with other plugins.
    pub fn with(&self, slots: Vec<Slot>) -> Self {
        Self {
            number: self.number + 1,
            listeners: self.listeners.clone(),
            clusters: self.clusters.clone(),
            clients: self.clients.clone(),
            slots,
            limits: self.limits,
        }
    }

    fn peer_limits(&self) -> PeerLimits {
        let limits = &self.limits;
        PeerLimits { fields: limits.headers, bytes: limits.header_bytes.as_usize(), streams: limits.streams }
    }
}

/// A snapshot as one worker uses it: with that worker's VMs, pools and counters.
pub struct Local {
    /// Those of the snapshot, and after them those it no longer has that have connections here.
    pub listeners: Vec<Rc<LocalListener>>,
    /// In the order of the snapshot's slots.
    slots: Vec<Rc<LocalSlot>>,
    /// Those of listeners that the snapshot no longer has.
    left: Vec<Rc<LocalSlot>>,
    /// In the order of the snapshot's clusters.
    pub clusters: Vec<Rc<Cluster>>,
    /// What it was made from. It goes last, so that whoever waits for it to be let go of finds all of it let go of.
    pub snapshot: Arc<Snapshot>,
}

/// A listener on one worker.
pub struct LocalListener {
    /// What the snapshot says of it.
    pub listener: Arc<Listener>,
    /// What this worker counts about it.
    pub series: Arc<ListenerSeries>,
    /// In the order of its table.
    pub routes: Routes,
    /// Where exchanges are counted that no route serves.
    pub unrouted: Rc<LocalRoute>,
    /// Where its connections go as they are, in place of routes.
    pub tcp: Option<Rc<LocalTcp>>,
}

impl LocalListener {
    /// The filters of its routes and connections, some of them more than once.
    fn slots(&self) -> impl Iterator<Item = &Rc<LocalSlot>> {
        self.routes.slots().chain(self.tcp.iter().flat_map(|tcp| &tcp.filters.chain))
    }
}

/// Where a listener passes its connections on to, on one worker.
pub struct LocalTcp {
    /// What it is called.
    pub names: Arc<Names>,
    /// The cluster.
    pub cluster: Rc<Cluster>,
    /// Its filters.
    pub filters: Filters,
    /// What this worker counts about it.
    pub series: Arc<TcpSeries>,
}

/// A route on one worker.
pub struct LocalRoute {
    /// Its place in the table; [`usize::MAX`] for none.
    pub place: usize,
    /// What it is called.
    pub names: Arc<Names>,
    /// Where its requests go; absent for the built-in echo, and for a route that answers itself.
    pub cluster: Option<Rc<Cluster>>,
    /// What it answers itself.
    pub own: Option<Box<Own>>,
    /// Its ways, one of which serves in its place, where it has several targets.
    pub split: Option<Split>,
    /// What is changed of its messages.
    pub edits: Option<Box<Edits>>,
    /// Its filters.
    pub filters: Filters,
    /// How long its exchanges may wait.
    pub timeouts: Timeouts,
    /// After what its requests are sent once more, in place of what the cluster says.
    pub retry: Option<Box<config::Retry>>,
    /// True where requests may come as slowly as they like.
    pub stream: bool,
    /// Protocols that its exchanges may change their connection to.
    pub upgrades: Box<[String]>,
    /// What this worker counts about it.
    pub series: Arc<RouteSeries>,
}

impl LocalRoute {
    /// True where an exchange may change its connection to that protocol.
    pub fn allows(&self, upgrade: &HeaderValue) -> bool {
        self.upgrades.iter().any(|name| hop::upgrade::is(upgrade, name))
    }
}

/// The filters of a route or of a listener's connections, on one worker.
#[derive(Default)]
pub struct Filters {
    /// In order.
    pub chain: Vec<Rc<LocalSlot>>,
    /// True for the places whose slot is at an earlier place, too: one exchange has one generation of a plugin.
    again: Vec<bool>,
    /// What each of them may set on an exchange or a connection.
    pub quotas: Arc<[PropertyQuota]>,
    /// A plugin that could not be loaded and lets nothing pass.
    pub barred: Option<Arc<str>>,
}

impl Filters {
    /// The filters of these slots; what could not be loaded and may be skipped is left out.
    fn new(slots: impl Iterator<Item = Rc<LocalSlot>>) -> Self {
        let mut filters = Self::default();
        let mut quotas = Vec::new();
        for slot in slots {
            if slot.denies() {
                filters.barred.get_or_insert_with(|| Arc::clone(&slot.name));
            } else if let Some(serving) = slot.serving() {
                quotas.push(serving.generation.manners.properties);
                filters.again.push(filters.chain.iter().any(|known| Rc::ptr_eq(known, &slot)));
                filters.chain.push(slot);
            }
        }
        filters.quotas = quotas.into();
        filters
    }

    /// True when exchanges need not look for filters.
    pub fn is_empty(&self) -> bool {
        self.chain.is_empty() && self.barred.is_none()
    }

    /// What serves the next exchange, in order. To be drawn in one go: what a slot picks last is what it picks again.
    pub fn pick(&self) -> impl Iterator<Item = Rc<Plugin>> {
        let places = self.chain.iter().zip(&self.again);
        places.filter_map(|(slot, again)| if *again { slot.pick_again() } else { slot.pick() })
    }
}

/// What routes lead to.
struct Targets<'a> {
    listener: &'a Arc<Listener>,
    clusters: &'a [Rc<Cluster>],
    slots: &'a [Rc<LocalSlot>],
    before: Option<&'a LocalListener>,
}

/// Which worker takes a snapshot up, and with what.
pub struct Place<'a> {
    /// The worker's number.
    pub worker: usize,
    /// How many workers there are.
    pub workers: usize,
    /// Where counters come from.
    pub registry: &'a Arc<Registry>,
    /// Who looks names up for filters.
    pub resolvers: &'a Arc<Resolvers>,
    /// The worker's clock.
    pub clock: &'a Rc<Clock>,
    /// Exchanges and connections in flight on the worker.
    pub crowd: &'a Rc<Cell<usize>>,
}

impl Local {
    /// Takes a snapshot up. What did not change since `before` is kept: the VMs of a generation, the connections of a
    /// cluster, and listeners that the snapshot no longer has while `is_open` says that they have connections.
    pub fn new(
        snapshot: Arc<Snapshot>,
        place: &Place<'_>,
        before: Option<&Local>,
        is_open: impl Fn(ListenerId) -> bool,
    ) -> Self {
        let clusters = snapshot.clusters.iter().zip(&snapshot.clients);
        let clusters: Vec<Rc<Cluster>> =
            clusters.map(|(cluster, tls)| place.cluster((cluster, tls.as_ref()), &snapshot, before)).collect();
        let alike = before.filter(|before| before.fits(&snapshot, &clusters));
        let slots: Vec<Rc<LocalSlot>> = match alike {
            Some(before) => before.slots.clone(),
            None => snapshot.slots.iter().map(|slot| Rc::new(LocalSlot::new(slot))).collect(),
        };
        let known: Vec<Rc<Plugin>> = before.into_iter().flat_map(Local::plugins).collect();
        for (local, slot) in slots.iter().zip(&snapshot.slots) {
            local.turn(slot, |generation| place.plugin(generation, &clusters, &known));
        }
        let mut listeners: Vec<Rc<LocalListener>> = Vec::new();
        if let Some(before) = alike {
            listeners.extend(before.listeners.iter().take(snapshot.listeners.len()).map(Rc::clone));
        }
        for listener in snapshot.listeners.iter().filter(|_| alike.is_none()) {
            let before = before.and_then(|before| before.listener(listener.id)).map(|known| &**known);
            let targets = Targets { listener, clusters: &clusters, slots: &slots, before };
            listeners.push(Rc::new(place.listener(&targets)));
        }
        let mut left = Vec::new();
        for known in before.into_iter().flat_map(|before| &before.listeners) {
            let is_kept = snapshot.listeners.iter().any(|kept| kept.id == known.listener.id);
            if !is_kept && is_open(known.listener.id) {
                left.extend(known.slots().map(Rc::clone));
                listeners.push(Rc::clone(known));
            }
        }
        Self { listeners, slots, left, clusters, snapshot }
    }

    /// Listeners that the snapshot no longer has.
    pub fn left(&self) -> impl Iterator<Item = &Rc<LocalListener>> {
        self.listeners.iter().skip(self.snapshot.listeners.len())
    }

    /// A listener of the snapshot, or one that still has connections.
    pub fn listener(&self, id: ListenerId) -> Option<&Rc<LocalListener>> {
        self.listeners.iter().find(|known| known.listener.id == id)
    }

    /// True for a listener that drains before those that take what the application beside the proxy sends out.
    pub fn drains_first(&self, id: ListenerId) -> bool {
        self.listener(id).is_none_or(|known| known.listener.direction != Direction::Outbound)
    }

    /// Those of the snapshot.
    pub fn current(&self) -> impl Iterator<Item = Rc<Plugin>> {
        self.slots.iter().flat_map(|slot| slot.plugins())
    }

    /// Every plugin.
    pub fn plugins(&self) -> impl Iterator<Item = Rc<Plugin>> {
        self.slots.iter().chain(&self.left).flat_map(|slot| slot.plugins())
    }

    /// True when only what serves in its slots differs: however many routes there are, none is made anew.
    fn fits(&self, snapshot: &Snapshot, clusters: &[Rc<Cluster>]) -> bool {
        let (own, listeners) = (&self.snapshot.listeners, &snapshot.listeners);
        let (slots, fresh) = (&self.slots, &snapshot.slots);
        own.len() == listeners.len()
            && own.iter().zip(listeners).all(|(own, listener)| Arc::ptr_eq(own, listener))
            && self.clusters.len() == clusters.len()
            && self.clusters.iter().zip(clusters).all(|(own, cluster)| Rc::ptr_eq(own, cluster))
            && slots.len() == fresh.len()
            && slots.iter().zip(fresh).all(|(own, slot)| own.fits(slot))
    }

    /// Clusters are alike as long as their definitions are, of which what TLS is spoken with is made: then the same fleet is
    /// theirs.
    fn cluster(&self, wanted: &Arc<Fleet>, peer: PeerLimits) -> Option<&Rc<Cluster>> {
        if self.snapshot.peer_limits() != peer {
            return None;
        }
        self.clusters.iter().find(|known| Arc::ptr_eq(&known.fleet, wanted))
    }
}

impl Place<'_> {
    fn plugin(&self, generation: &Arc<Generation>, clusters: &[Rc<Cluster>], known: &[Rc<Plugin>]) -> Rc<Plugin> {
        let known = || known.iter().filter(|plugin| Arc::ptr_eq(&plugin.generation, generation));
        if let Some(serving) = known().find(|plugin| !plugin.is_worn()) {
            serving.rewire(generation.callees(self.registry, self.worker, clusters));
            return Rc::clone(serving);
        }
        let means = generation.means((self.registry, self.resolvers), (self.worker, self.crowd), clusters);
        Plugin::new(Arc::clone(generation), means, known().next().map(|worn| &**worn))
    }

    fn cluster(
        &self,
        (fleet, tls): (&Arc<Fleet>, Option<&Arc<Client>>),
        snapshot: &Snapshot,
        before: Option<&Local>,
    ) -> Rc<Cluster> {
        let peer = snapshot.peer_limits();
        if let Some(known) = before.and_then(|before| before.cluster(fleet, peer)) {
            return Rc::clone(known);
        }
        let name = fleet.config.name.as_str();
        let series = self.registry.cluster(self.worker, name);
        let namesake = before.and_then(|before| before.clusters.iter().find(|known| *known.name == *name));
        let around = (series, self.clock);
        Rc::new(Cluster::new((fleet, tls), peer, (self.worker, self.workers), around, namesake.map(|known| &**known)))
    }

    fn listener(&self, targets: &Targets<'_>) -> LocalListener {
        let listener = targets.listener;
        LocalListener {
            listener: Arc::clone(listener),
            series: self.registry.listener(self.worker, &listener.name),
            routes: Routes::new(
                listener,
                self,
                (targets.clusters, targets.slots),
                targets.before.map(|before| &before.routes),
            ),
            unrouted: Rc::new(self.unrouted(listener)),
            tcp: listener.tcp.as_ref().and_then(|tcp| self.tcp(tcp, targets)).map(Rc::new),
        }
    }

    fn tcp(&self, tcp: &config::Tcp, targets: &Targets<'_>) -> Option<LocalTcp> {
        let cluster = Rc::clone(targets.clusters.get(tcp.cluster.0)?);
        let listener = targets.listener;
        Some(LocalTcp {
            names: names(listener, "tcp", "*", &cluster.name),
            cluster,
            filters: Filters::new(tcp.chain.iter().filter_map(|id| targets.slots.get(id.0)).map(Rc::clone)),
            series: self.registry.tcp(self.worker, &listener.name),
        })
    }

    fn unrouted(&self, listener: &Listener) -> LocalRoute {
        let limits = &listener.limits;
        LocalRoute {
            place: usize::MAX,
            names: names(listener, "none", "*", "none"),
            cluster: None,
            own: None,
            split: None,
            edits: routes::edits(None, listener, None),
            stream: false,
            upgrades: Box::default(),
            filters: Filters::default(),
            timeouts: Timeouts {
                idle: limits.stream_idle_timeout,
                request: limits.request_timeout,
                head: limits.idle_timeout,
                client: expected(limits),
            },
            retry: None,
            series: self.registry.route(self.worker, &listener.name, "none", "none"),
        }
    }
}

fn expected(limits: &Limits) -> Expected {
    let rate = limits.body_rate.map(|rate| rate.bytes());
    Expected { rate, period: limits.body_grace, take: limits.write_timeout }
}
