//! A connection of its own to some endpoint of a cluster, for bytes that are passed on as they come.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::error::Reason;
use crate::proxy_protocol::Passed;
use crate::upstream::cluster::place::Place;
use crate::upstream::cluster::{Cluster, Endpoint};
use crate::upstream::connect::{self, Open};
use crate::upstream::outgoing::Noted;
use crate::upstream::pool::{Pool, Transport};
use crate::upstream::trial::is_its_fault;
use crate::upstream::{another, await_endpoint, count};

/// See the module.
pub struct Tunnel {
    /// What it is made of.
    pub transport: Transport,
    /// The endpoint's address.
    pub address: SocketAddr,
    /// Has it count.
    pub share: Share,
}

/// A connection counts among those of its cluster until this is dropped.
pub struct Share {
    _open: Open,
    _noted: Option<Arc<Noted>>,
    _permit: OwnedSemaphorePermit,
    place: Option<Place>,
}

/// The same as `open` for a request, which counts against what the cluster may have under way.
pub async fn open_for_request(
    cluster: &Cluster,
    hash: Option<u64>,
    passed: Passed,
    original: Option<Rc<Endpoint>>,
) -> Result<Tunnel, Reason> {
    let Some(place) = cluster.enter() else {
        count(cluster, &Reason::UpstreamOverflow);
        return Err(Reason::UpstreamOverflow);
    };
    open_in(place, cluster, hash, passed, original).await
}

/// Connects for a client to an endpoint, by `hash` where the cluster picks so, and where that fails, once to another one; to
/// the one that the client's connection was meant for, where that is known. Those that want to know hear whose connection
/// is `passed` on.
pub async fn open(
    cluster: &Cluster,
    hash: Option<u64>,
    passed: Passed,
    original: Option<Rc<Endpoint>>,
) -> Result<Tunnel, Reason> {
    open_in(cluster.place(), cluster, hash, passed, original).await
}

async fn open_in(
    place: Place,
    cluster: &Cluster,
    hash: Option<u64>,
    passed: Passed,
    original: Option<Rc<Endpoint>>,
) -> Result<Tunnel, Reason> {
    // The one that could not be reached, with the right to try another one.
    let mut failed: Option<(Rc<Endpoint>, Place)> = None;
    loop {
        let avoid = failed.as_ref().map(|(endpoint, _)| endpoint);
        let picked = match original.clone().or_else(|| cluster.pick(hash, avoid)) {
            Some(endpoint) => Some(endpoint),
            None => await_endpoint(cluster, hash).await,
        };
        let Some(endpoint) = picked else {
            count(cluster, &Reason::UpstreamConnect);
            return Err(Reason::UpstreamConnect);
        };
        let reason = match connect(&endpoint.pool, passed).await {
            Ok(mut tunnel) => {
                cluster.judge(&endpoint, false);
                tunnel.share.place = Some(place);
                return Ok(tunnel);
            }
            Err(reason) => reason,
        };
        if is_its_fault(&reason) {
            cluster.judge(&endpoint, true);
        }
        let next = if failed.is_none() { another(cluster, Some(endpoint), &reason) } else { None };
        if next.is_none() {
            count(cluster, &reason);
            return Err(reason);
        }
        failed = next;
    }
}

async fn connect(pool: &Pool, passed: Passed) -> Result<Tunnel, Reason> {
    let (permit, _) = pool.permit().await?;
    let (transport, ends) = pool.opened(passed).await?;
    let share = Share { _open: Open::new(&pool.series), _noted: ends.noted, _permit: permit, place: None };
    Ok(Tunnel { transport, address: ends.address, share })
}

impl Tunnel {
    /// The socket itself.
    pub fn socket(&self) -> &TcpStream {
        connect::socket(&self.transport)
    }
}
