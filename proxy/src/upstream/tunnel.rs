//! A connection of its own to some endpoint of a cluster, for bytes that are passed on as they come.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::error::Reason;
use crate::telemetry::metrics::ClusterSeries;
use crate::tls::stream::Stream;
use crate::upstream::cluster::Cluster;
use crate::upstream::count;
use crate::upstream::pool::{Ends, Pool, Transport};

/// See the module. It counts among the connections of its cluster until it is dropped.
pub struct Tunnel {
    /// The socket.
    pub stream: TcpStream,
    /// The endpoint's address.
    pub address: SocketAddr,
    series: Arc<ClusterSeries>,
    _permit: OwnedSemaphorePermit,
}

/// Connects to the next endpoint in turn, and where that fails, once to the one after it.
pub async fn open(cluster: &Cluster) -> Result<Tunnel, Reason> {
    let mut tried = 0;
    loop {
        tried += 1;
        match connect(&cluster.next().pool).await {
            Ok(tunnel) => return Ok(tunnel),
            Err(reason) if reason.is_unreached() && tried < 2.min(cluster.endpoints()) => cluster.series.retries.inc(),
            Err(reason) => {
                count(cluster, &reason);
                return Err(reason);
            }
        }
    }
}

async fn connect(pool: &Pool) -> Result<Tunnel, Reason> {
    let (permit, _) = pool.permit().await?;
    let (stream, ends) = pool.connected(async |connected| plain(connected)).await?;
    pool.series.connections.inc();
    pool.series.connections_active.add(1);
    Ok(Tunnel { stream, address: ends.address, series: Arc::clone(&pool.series), _permit: permit })
}

/// The configuration leads no bytes that are passed on to a cluster with TLS.
fn plain((transport, ends): (Transport, Ends)) -> io::Result<(TcpStream, Ends)> {
    match transport {
        Stream::Plain(stream) => Ok((stream, ends)),
        Stream::Tls(_) => Err(io::Error::other("bytes are not passed on to an endpoint with TLS")),
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.series.connections_active.add(-1);
    }
}
