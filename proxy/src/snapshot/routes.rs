//! The routes of a listener on one worker, made when the first exchange asks for them where there are many, so that taking up
//! a snapshot of a hundred thousand routes stalls nobody; and the turns of routes with several targets.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::Arc;

use tollgate_config::{self as config, ClusterId, HostMatch, PluginId, Target};

use super::{Filters, Listener, LocalRoute, Place};
use crate::exchange::Timeouts;
use crate::exchange::edits::Edits;
use crate::exchange::forwarded::via;
use crate::exchange::stream::Names;
use crate::filter::slot::LocalSlot;
use crate::telemetry::metrics::{Registry, RouteSeries};
use crate::upstream::cluster::Cluster;
use crate::upstream::own::Own;

/// Routes that a listener may have for all of them to be made at once, which has them on the page of metrics from the start.
const AT_ONCE: usize = 1000;

/// See the module.
pub struct Routes {
    listener: Arc<Listener>,
    parts: Parts,
    cells: Box<[OnceCell<Rc<LocalRoute>>]>,
    /// What the routes of the snapshot before counted: held for those of the same name that are made later.
    _counted: Vec<Arc<RouteSeries>>,
}

/// What routes are made of. It has no more than its listener's routes need, because it keeps it alive.
struct Parts {
    worker: usize,
    registry: Arc<Registry>,
    slots: Vec<(PluginId, Rc<LocalSlot>)>,
    clusters: Vec<(ClusterId, Rc<Cluster>)>,
}

impl Routes {
    /// The routes of a listener; those of the same one that were there `before` hand on what they counted.
    pub fn new(
        listener: &Arc<Listener>,
        place: &Place<'_>,
        (clusters, slots): (&[Rc<Cluster>], &[Rc<LocalSlot>]),
        before: Option<&Self>,
    ) -> Self {
        let slot = |id: &PluginId| Some((*id, Rc::clone(slots.get(id.0)?)));
        let cluster = |id: &ClusterId| Some((*id, Rc::clone(clusters.get(id.0)?)));
        let parts = Parts {
            worker: place.worker,
            registry: Arc::clone(place.registry),
            slots: listener.plugins.iter().filter_map(slot).collect(),
            clusters: listener.clusters.iter().filter_map(cluster).collect(),
        };
        let cells = listener.routes.iter().map(|_| OnceCell::new()).collect();
        let counted = before.into_iter().flat_map(Self::made).map(|route| Arc::clone(&route.series)).collect();
        let routes = Self { listener: Arc::clone(listener), parts, cells, _counted: counted };
        if routes.cells.len() <= AT_ONCE {
            for place in 0..routes.cells.len() {
                routes.get(place);
            }
        }
        routes
    }

    /// The route at a place of the table.
    pub fn get(&self, place: usize) -> Option<&Rc<LocalRoute>> {
        let route = self.listener.routes.get(place)?;
        Some(self.cells.get(place)?.get_or_init(|| Rc::new(self.parts.route(place, route, &self.listener))))
    }

    /// The filters that its routes name.
    pub fn slots(&self) -> impl Iterator<Item = &Rc<LocalSlot>> {
        self.parts.slots.iter().map(|(_, slot)| slot)
    }

    /// Those that were asked for, with the ways of those that have several.
    fn made(&self) -> impl Iterator<Item = &Rc<LocalRoute>> {
        let made = self.cells.iter().filter_map(OnceCell::get);
        made.flat_map(|route| {
            let ways = route.split.iter().flat_map(|split| &split.ways).map(|way| &way.route);
            std::iter::once(route).chain(ways)
        })
    }
}

impl Parts {
    fn route(&self, place: usize, route: &config::Route, listener: &Listener) -> LocalRoute {
        match &route.target {
            Target::Split(ways) => {
                let way = |(id, weight): &(ClusterId, u32)| Way {
                    route: Rc::new(self.way(place, route, listener, Some(*id))),
                    weight: i64::from(*weight),
                    owed: Cell::new(0),
                };
                let split = Split { ways: ways.iter().map(way).collect() };
                // Nothing is counted under the first way's name but what goes there.
                let first = ways.first().map(|(id, _)| *id);
                LocalRoute { split: Some(split), ..self.way(place, route, listener, first) }
            }
            Target::Cluster(id) => self.way(place, route, listener, Some(*id)),
            Target::Echo | Target::Respond(_) | Target::Redirect(_) => self.way(place, route, listener, None),
        }
    }

    /// A route to one cluster, or to none.
    fn way(&self, place: usize, route: &config::Route, listener: &Listener, to: Option<ClusterId>) -> LocalRoute {
        let cluster = to.and_then(|id| self.cluster(id));
        let target = match (&cluster, &route.target) {
            (Some(cluster), _) => &*cluster.name,
            (None, Target::Echo) => "echo",
            (None, _) => "none",
        };
        LocalRoute {
            place,
            names: names(listener, &route.name, &host(&route.matcher.host), target),
            series: self.registry.route(self.worker, &listener.name, &route.name, target),
            filters: Filters::new(route.chain.iter().filter_map(|id| self.slot(*id))),
            timeouts: timeouts(route, listener),
            stream: route.stream,
            retry: route.retry.clone().map(Box::new),
            upgrades: route.upgrade.clone().into(),
            own: Own::of(&route.target),
            edits: edits(Some(route), listener, cluster.as_deref()),
            cluster,
            split: None,
        }
    }

    fn cluster(&self, id: ClusterId) -> Option<Rc<Cluster>> {
        let place = self.clusters.binary_search_by_key(&id, |(known, _)| *known).ok()?;
        self.clusters.get(place).map(|(_, cluster)| Rc::clone(cluster))
    }

    fn slot(&self, id: PluginId) -> Option<Rc<LocalSlot>> {
        let place = self.slots.binary_search_by_key(&id, |(known, _)| *known).ok()?;
        self.slots.get(place).map(|(_, slot)| Rc::clone(slot))
    }
}

fn timeouts(route: &config::Route, listener: &Listener) -> Timeouts {
    let limits = &listener.limits;
    let request = route.request_timeout.unwrap_or(limits.request_timeout);
    Timeouts {
        idle: route.idle_timeout.unwrap_or(limits.stream_idle_timeout),
        request: if route.stream { std::time::Duration::MAX } else { request },
        head: route.timeout,
        client: super::expected(limits),
    }
}

/// What the listener changes of messages, then what the route does.
pub(super) fn edits(
    route: Option<&config::Route>,
    listener: &Listener,
    cluster: Option<&Cluster>,
) -> Option<Box<Edits>> {
    let own = route.and_then(|route| route.headers.as_deref());
    let rewrite = route.and_then(|route| route.rewrite.as_deref());
    let mut edits = Edits::new(std::iter::once(&listener.headers).chain(own), rewrite);
    if let Some(cluster) = cluster.filter(|_| listener.http.via) {
        let version = match cluster.protocol {
            config::Protocol::Http1 => http::Version::HTTP_11,
            config::Protocol::H2 => http::Version::HTTP_2,
        };
        Edits::mark_answers(&mut edits, http::header::VIA, via(version));
    }
    edits
}

/// The host of a route as it is written.
fn host(host: &HostMatch) -> String {
    match host {
        HostMatch::Any => "*".to_owned(),
        HostMatch::Exact(name) => name.clone(),
        HostMatch::Suffix(suffix) => format!("*{suffix}"),
    }
}

/// What an exchange's way is called.
pub(super) fn names(listener: &Listener, route: &str, host: &str, cluster: &str) -> Arc<Names> {
    Arc::new(Names {
        listener: listener.name.clone(),
        direction: listener.direction,
        route: route.to_owned(),
        host: host.to_owned(),
        cluster: cluster.to_owned(),
    })
}

/// In order, each once.
pub(super) fn distinct<T: Ord>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = all.collect();
    all.sort_unstable();
    all.dedup();
    all.shrink_to_fit();
    all
}

/// The clusters that a target leads to.
pub(super) fn clusters(target: &Target) -> impl Iterator<Item = ClusterId> {
    let (one, several) = match target {
        Target::Cluster(id) => (Some(*id), None),
        Target::Split(ways) => (None, Some(ways)),
        Target::Echo | Target::Respond(_) | Target::Redirect(_) => (None, None),
    };
    one.into_iter().chain(several.into_iter().flatten().map(|(id, _)| *id))
}

/// Several targets of one route, each of which is a route of its own to whoever counts.
pub struct Split {
    ways: Vec<Way>,
}

struct Way {
    route: Rc<LocalRoute>,
    weight: i64,
    /// How far it is behind its share, in parts of the sum of all weights.
    owed: Cell<i64>,
}

impl Split {
    /// The way of the next exchange: every way as often as its weight says, as evenly spread as can be. Each worker counts for
    /// itself.
    pub fn next(&self) -> Option<&Rc<LocalRoute>> {
        let weights: i64 = self.ways.iter().map(|way| way.weight).sum();
        self.ways.iter().for_each(|way| way.owed.set(way.owed.get() + way.weight));
        // Of those that are owed the same, the first.
        let next = self.ways.iter().rev().max_by_key(|way| way.owed.get())?;
        next.owed.set(next.owed.get() - weights);
        Some(&next.route)
    }
}
