//! A cluster on one worker: its endpoints in turn, each with its own pool.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use tollgate_config::{self as config, Protocol};

use crate::clock::Clock;
use crate::telemetry::metrics::ClusterSeries;
use crate::tls::client::{Client, Dialer};
use crate::upstream::h2;
use crate::upstream::pool::{Bounds, Pool};

/// See the module.
pub struct Cluster {
    /// Its name.
    pub name: Box<str>,
    /// What this worker counts about it.
    pub series: Arc<ClusterSeries>,
    /// What its endpoints speak.
    pub protocol: Protocol,
    endpoints: Vec<Endpoint>,
    turn: Cell<usize>,
}

impl Cluster {
    /// The worker's share of a cluster, of which `workers` there are. Workers start at different endpoints. Endpoints that
    /// `before`, the cluster of that name, has under the same bounds and with the same TLS keep their connections.
    pub fn new(
        (cluster, tls): (&config::Cluster, Option<&Arc<Client>>),
        limits: PeerLimits,
        (worker, workers): (usize, usize),
        (series, clock): (Arc<ClusterSeries>, &Rc<Clock>),
        before: Option<&Self>,
    ) -> Self {
        let share = |limit: usize| limit.div_ceil(workers.max(1)).max(1);
        let bounds = Bounds {
            connect_timeout: cluster.connect_timeout,
            idle_timeout: cluster.upstream_idle_timeout,
            connections: share(cluster.upstream_connections),
            pending: share(cluster.pending),
            peer: limits,
        };
        let before = before.filter(|before| before.protocol == cluster.protocol);
        let mut known: Vec<&Endpoint> = before.into_iter().flat_map(|before| &before.endpoints).collect();
        let endpoint = |endpoint: &config::Endpoint| {
            let place = known.iter().position(|known| known.pool.fits(&endpoint.host, endpoint.port, (bounds, tls)));
            if let Some(place) = place {
                // An endpoint that is named twice has two pools.
                return known.swap_remove(place).clone();
            }
            let tls = tls.map(|client| Dialer::new(client, &endpoint.host, cluster.protocol));
            let around = (Arc::clone(&series), Rc::clone(clock));
            let pool = Pool::new(&endpoint.host, endpoint.port, (bounds, tls), around);
            Endpoint::new(Rc::new(pool), cluster.protocol)
        };
        let endpoints = cluster.endpoints.iter().map(endpoint).collect();
        let name = cluster.name.as_str().into();
        Self { name, endpoints, turn: Cell::new(worker), series, protocol: cluster.protocol }
    }

    /// How many endpoints it has.
    pub fn endpoints(&self) -> usize {
        self.endpoints.len()
    }

    /// The next endpoint in turn.
    pub fn next(&self) -> &Endpoint {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        &self.endpoints[turn % self.endpoints.len()]
    }

    /// Closes idle connections that are past their time.
    pub fn sweep(&self) {
        self.endpoints.iter().for_each(Endpoint::sweep);
    }
}

/// One endpoint on one worker.
#[derive(Clone)]
pub struct Endpoint {
    /// Its bounds, and connections of one exchange each.
    pub pool: Rc<Pool>,
    /// Connections that exchanges share, where it speaks HTTP/2.
    pub http2: Option<Rc<h2::Pool>>,
}

impl Endpoint {
    fn new(pool: Rc<Pool>, protocol: Protocol) -> Self {
        let http2 = (protocol == Protocol::H2).then(|| Rc::new(h2::Pool::new(Rc::clone(&pool))));
        Self { pool, http2 }
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
