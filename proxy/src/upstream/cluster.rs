//! A cluster on one worker: its endpoints in turn, each with its own pool.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use tollgate_config as config;

use crate::clock::Clock;
use crate::telemetry::metrics::ClusterSeries;
use crate::upstream::pool::{Bounds, Pool};

/// See the module.
pub struct Cluster {
    /// What this worker counts about it.
    pub series: Arc<ClusterSeries>,
    pools: Vec<Rc<Pool>>,
    turn: Cell<usize>,
}

impl Cluster {
    /// The worker's share of a cluster, of which `workers` there are. Workers start at different endpoints.
    pub fn new(
        cluster: &config::Cluster,
        head: HeadLimits,
        (worker, workers): (usize, usize),
        series: Arc<ClusterSeries>,
        clock: &Rc<Clock>,
    ) -> Self {
        let share = |limit: usize| limit.div_ceil(workers.max(1)).max(1);
        let bounds = Bounds {
            connect_timeout: cluster.connect_timeout,
            idle_timeout: cluster.upstream_idle_timeout,
            connections: share(cluster.upstream_connections),
            pending: share(cluster.pending),
            head,
        };
        let pool = |endpoint: &config::Endpoint| {
            Rc::new(Pool::new(&endpoint.host, endpoint.port, bounds, Arc::clone(&series), Rc::clone(clock)))
        };
        let pools = cluster.endpoints.iter().map(pool).collect();
        Self { pools, turn: Cell::new(worker), series }
    }

    /// How many endpoints it has.
    pub fn endpoints(&self) -> usize {
        self.pools.len()
    }

    /// The next endpoint in turn.
    pub fn next(&self) -> &Rc<Pool> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        &self.pools[turn % self.pools.len()]
    }

    /// Closes idle connections that are past their time.
    pub fn sweep(&self) {
        self.pools.iter().for_each(|pool| pool.sweep());
    }
}

/// What an upstream's head may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Fields.
    pub fields: usize,
    /// Bytes.
    pub bytes: usize,
}
