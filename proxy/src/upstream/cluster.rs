//! A cluster on one worker: its endpoints, each with its own pool, and which of them is next.

pub mod affinity;
pub mod original;
pub mod place;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tollgate_config::{Pick, Protocol};

use crate::clock::Clock;
use crate::telemetry::metrics::ClusterSeries;
use crate::tls::client::{Client, Dialer};
use crate::upstream::balance::{Lineup, hash};
use crate::upstream::cluster::original::Originals;
use crate::upstream::cluster::place::Place;
use crate::upstream::fleet::member::{Member, now};
use crate::upstream::fleet::{Fleet, Roster};
use crate::upstream::outliers::Failures;
use crate::upstream::pool::{Bounds, Pool};
use crate::upstream::{Aim, Waits, h2};

/// See the module.
pub struct Cluster {
    /// Its name.
    pub name: Box<str>,
    /// What this worker counts about it.
    pub series: Arc<ClusterSeries>,
    /// What its endpoints speak.
    pub protocol: Protocol,
    /// True where each connection begins with whose it is.
    pub tells_clients: bool,
    /// What the whole process knows of it.
    pub fleet: Arc<Fleet>,
    /// Its share of what the cluster may have under way.
    requests: Option<usize>,
    /// Requests, and connections that are passed on, which are under way.
    under_way: Rc<Cell<usize>>,
    /// Its share of the repetitions that the cluster may have under way.
    pub(super) retries: Option<usize>,
    /// Repetitions under way.
    pub(super) repeating: Rc<Cell<usize>>,
    worker: usize,
    pub(super) workers: usize,
    bounds: Bounds,
    /// What TLS is spoken with.
    tls: Option<Arc<Client>>,
    clock: Rc<Clock>,
    /// Present where clients' connections say where they are meant to go.
    originals: Option<Originals>,
    /// When a refusal was last logged.
    warned: Cell<Option<Instant>>,
    crew: RefCell<Crew>,
    /// Of the fleet, when the crew was made.
    version: Cell<u64>,
    turn: Cell<usize>,
    random: Cell<u64>,
}

/// The endpoints as they are at one time, in the order of the roster.
#[derive(Default)]
struct Crew {
    roster: Arc<Roster>,
    endpoints: Vec<Rc<Endpoint>>,
    lineup: Lineup,
    /// True while some get less than their weight, which changes with time.
    warming: bool,
    /// True where one address is there more than once, with a pool for each.
    has_twins: bool,
}

impl Cluster {
    /// The worker's share of a cluster, of which `workers` there are. Workers start at different endpoints. Endpoints that
    /// `before`, the cluster of that name, has under the same bounds and with the same TLS keep their connections.
    pub fn new(
        (fleet, tls): (&Arc<Fleet>, Option<&Arc<Client>>),
        limits: PeerLimits,
        (worker, workers): (usize, usize),
        (series, clock): (Arc<ClusterSeries>, &Rc<Clock>),
        before: Option<&Self>,
    ) -> Self {
        let config = &fleet.config;
        let share = |limit: usize| limit.div_ceil(workers.max(1)).max(1);
        let bounds = Bounds {
            connect_timeout: config.connect_timeout,
            pool_timeout: config.pool_timeout,
            idle_timeout: config.upstream_idle_timeout,
            connections: share(config.upstream_connections),
            pending: share(config.pending),
            peer: limits,
            mark: config.mark,
            proxy_protocol: config.proxy_protocol,
        };
        let seed = hash::with(config.name.as_bytes(), now() ^ (u64::try_from(worker).unwrap_or_default() << 32));
        // What is under way counts on, whatever becomes of the endpoints.
        let counts = before.map(|before| (Rc::clone(&before.under_way), Rc::clone(&before.repeating)));
        let (under_way, repeating) = counts.unwrap_or_default();
        let before = before.filter(|before| before.protocol == config.protocol);
        let known = before.map(|before| before.crew.borrow().endpoints.clone()).unwrap_or_default();
        let nobody = Crew { endpoints: known, ..Crew::default() };
        let cluster = Self {
            name: config.name.as_str().into(),
            series,
            protocol: config.protocol,
            tells_clients: config.proxy_protocol.is_some(),
            fleet: Arc::clone(fleet),
            requests: config.requests.map(share),
            under_way,
            retries: config.retries.map(share),
            repeating,
            worker,
            workers: workers.max(1),
            bounds,
            tls: tls.map(Arc::clone),
            clock: Rc::clone(clock),
            originals: config.original.map(Originals::new),
            warned: Cell::new(None),
            crew: RefCell::new(nobody),
            version: Cell::new(0),
            turn: Cell::new(worker),
            random: Cell::new(seed),
        };
        cluster.gather(fleet.version());
        cluster
    }

    /// How many endpoints it has.
    pub fn endpoints(&self) -> usize {
        self.crew.borrow().endpoints.len()
    }

    /// True once every name of its hosts was looked up.
    pub fn is_settled(&self) -> bool {
        self.freshen();
        self.crew.borrow().roster.settled
    }

    /// The endpoint for the next request, other than `avoid` where there is another; none where none is worth it.
    pub fn pick(&self, hash: Option<u64>, avoid: Option<&Rc<Endpoint>>) -> Option<Rc<Endpoint>> {
        self.freshen();
        let crew = self.crew.borrow();
        let Crew { lineup, endpoints, roster, .. } = &*crew;
        let is_first = avoid.is_none();
        let avoid = avoid.and_then(|avoid| endpoints.iter().position(|known| Rc::ptr_eq(known, avoid)));
        let place = match (&self.fleet.config.pick, &roster.table, hash) {
            (Pick::RoundRobin, ..) => {
                let turn = self.turn.get();
                // A repetition takes nobody's turn: else the same endpoint would come first each time.
                self.turn.set(turn.wrapping_add(usize::from(is_first)));
                lineup.in_turn(turn, avoid)
            }
            (Pick::LeastRequest, ..) => lineup.less_busy(self.random(), avoid, |place| endpoints[place].active()),
            (_, Some(table), Some(hash)) => lineup.by_hash(table, hash, avoid),
            _ => lineup.drawn(self.random(), avoid),
        };
        endpoints.get(place?).map(Rc::clone)
    }

    /// How a request is sent that no route has.
    pub fn aim<'a>(&'a self, waits: Waits<'a>) -> Aim<'a> {
        Aim { retry: self.fleet.config.retry.as_ref(), waits, ..Aim::default() }
    }

    /// A number that nobody foresees who does not try.
    pub(super) fn random(&self) -> u64 {
        let random = self.random.get().wrapping_add(1);
        self.random.set(random);
        hash::mix(random)
    }

    /// Requests under way, those that wait for a connection or for their next attempt included, and connections that are
    /// passed on.
    pub fn active(&self) -> usize {
        self.under_way.get()
    }

    /// A place for one more request; none where that would be one too many.
    pub(super) fn enter(&self) -> Option<Place> {
        let is_full = self.requests.is_some_and(|most| self.active() >= most);
        (!is_full).then(|| self.place())
    }

    /// A place for what no limit is about.
    pub(super) fn place(&self) -> Place {
        Place::new(&self.under_way)
    }

    /// Takes up what changed since the last look.
    fn freshen(&self) {
        let version = self.fleet.version();
        if version != self.version.get() {
            self.gather(version);
        }
    }

    /// Endpoints that stay keep their connections. Those that left end with what is under way on them.
    #[cold]
    fn gather(&self, version: u64) {
        let roster = self.fleet.roster();
        self.version.set(version);
        let (lineup, warming) = self.lineup(&roster);
        let mut crew = self.crew.borrow_mut();
        (crew.lineup, crew.warming) = (lineup, warming);
        if Arc::ptr_eq(&crew.roster, &roster) {
            // Something is known of the same endpoints that was not before.
            return;
        }
        let mut known = std::mem::take(&mut crew.endpoints);
        let endpoint = |member: &Arc<Member>| {
            let is_same = |known: &Rc<Endpoint>| {
                known.pool.fits(member, (self.bounds, self.tls.as_ref()))
                    && Arc::ptr_eq(&known.member.vitals, &member.vitals)
            };
            let place = known.iter().position(is_same);
            // An endpoint that is named twice has two pools.
            let kept = place.map(|place| known.swap_remove(place));
            kept.unwrap_or_else(|| Rc::new(self.endpoint(member, self.protocol)))
        };
        crew.endpoints = roster.members.iter().map(endpoint).collect();
        known.iter().for_each(|gone| gone.retire(self.worker));
        crew.has_twins = has_twins(&roster);
        crew.roster = roster;
    }

    fn endpoint(&self, member: &Arc<Member>, protocol: Protocol) -> Endpoint {
        let tls = self.tls.as_ref().map(|client| Dialer::new(client, &member.host, protocol));
        let around = (Arc::clone(&self.series), Rc::clone(&self.clock));
        let pool = Rc::new(Pool::new(member, (self.bounds, tls), around));
        let http2 = (protocol == Protocol::H2).then(|| Rc::new(h2::Pool::new(Rc::clone(&pool))));
        Endpoint { member: Arc::clone(member), pool, http2, failures: Failures::default() }
    }

    fn lineup(&self, roster: &Roster) -> (Lineup, bool) {
        let (config, now) = (&self.fleet.config, now());
        let window = config.slow_start;
        let is_warming = |window| roster.members.iter().any(|member| member.vitals.is_warming(window, now));
        let slow = window.filter(|window| is_warming(*window));
        let seats: Vec<_> = roster.members.iter().map(|member| member.seat(slow, now)).collect();
        (Lineup::new(&seats, config.panic), slow.is_some())
    }

    /// Closes idle connections that are past their time, and says what is under way.
    pub fn sweep(&self) {
        self.freshen();
        if self.crew.borrow().warming {
            let mut crew = self.crew.borrow_mut();
            (crew.lineup, crew.warming) = self.lineup(&crew.roster);
        }
        let crew = self.crew.borrow();
        for endpoint in &crew.endpoints {
            endpoint.sweep();
            endpoint.member.vitals.set_active(self.worker, crew.active(endpoint));
        }
        if let Some(originals) = &self.originals {
            originals.sweep(self.clock.now(), self.bounds.idle_timeout);
        }
    }

    /// Closes connections that nobody uses.
    pub fn close_idle(&self) {
        self.crew.borrow().endpoints.iter().for_each(|endpoint| endpoint.close_idle());
        self.originals.iter().for_each(Originals::close_idle);
    }

    /// True where endpoints are judged by what comes of attempts at them.
    pub(super) fn judges(&self) -> bool {
        self.fleet.config.outliers.is_some()
    }

    /// An attempt at an endpoint ended. Where that is asked for, one that fails too often in a row is reported.
    pub(super) fn judge(&self, endpoint: &Endpoint, failed: bool) {
        if let Some(outliers) = &self.fleet.config.outliers
            && endpoint.failures.take(failed, outliers.failures)
        {
            self.fleet.report(endpoint.member.address);
        }
    }
}

impl Crew {
    /// What is under way at the address of an endpoint.
    fn active(&self, endpoint: &Endpoint) -> usize {
        if !self.has_twins {
            return endpoint.active();
        }
        let is_twin = |twin: &&Rc<Endpoint>| Arc::ptr_eq(&twin.member.vitals, &endpoint.member.vitals);
        self.endpoints.iter().filter(is_twin).map(|twin| twin.active()).sum()
    }
}

/// True where an address is among the members more than once.
fn has_twins(roster: &Roster) -> bool {
    let mut seen = HashSet::new();
    !roster.members.iter().all(|member| seen.insert(member.address))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let crew = self.crew.borrow();
        // A cluster that takes its place may have taken endpoints over.
        let own = crew.endpoints.iter().filter(|endpoint| Rc::strong_count(endpoint) == 1);
        own.for_each(|endpoint| endpoint.retire(self.worker));
    }
}

/// One endpoint on one worker.
pub struct Endpoint {
    /// What the whole process knows of it.
    pub member: Arc<Member>,
    /// Its bounds, and connections of one exchange each.
    pub pool: Rc<Pool>,
    /// Connections that exchanges share, where it speaks HTTP/2.
    pub http2: Option<Rc<h2::Pool>>,
    failures: Failures,
}

impl Endpoint {
    /// What is spoken with it.
    pub fn protocol(&self) -> Protocol {
        if self.http2.is_some() { Protocol::H2 } else { Protocol::Http1 }
    }

    /// Requests under way or waiting for a connection.
    pub fn active(&self) -> usize {
        match &self.http2 {
            Some(http2) => http2.active(),
            None => self.pool.active(),
        }
    }

    /// It is an endpoint no more: idle connections close, others after their exchange, and nobody counts what is under way.
    fn retire(&self, worker: usize) {
        self.pool.retire();
        self.http2.iter().for_each(|http2| http2.retire());
        self.member.vitals.set_active(worker, 0);
    }

    fn close_idle(&self) {
        self.pool.close_idle();
        self.http2.iter().for_each(|http2| http2.close_idle());
    }

    fn sweep(&self) {
        self.pool.sweep();
        self.http2.iter().for_each(|http2| http2.sweep());
    }
}

/// What an upstream's connection may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLimits {
    /// Fields of a head.
    pub fields: usize,
    /// Bytes of a head.
    pub bytes: usize,
    /// Exchanges at a time, where they share the connection.
    pub streams: u32,
}

#[cfg(test)]
mod tests;
