//! A new connection to an endpoint: name, TCP, HTTP/1.1.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::telemetry::metrics::ClusterSeries;
use crate::upstream::cluster::HeadLimits;
use crate::upstream::pool::Connection;

/// The number of fields that hyper parses without an allocation of its own.
const FREE_FIELDS: usize = 100;

/// Connects; the caller bounds the time. The connection's task ends when its sender is dropped or the peer closes.
pub async fn connect(host: &str, port: u16, head: HeadLimits, series: &Arc<ClusterSeries>) -> io::Result<Connection> {
    let stream = dial(host, port).await?;
    let address = stream.peer_addr()?;
    stream.set_nodelay(true)?;
    let mut builder = http1::Builder::new();
    builder.max_header_size(head.bytes);
    if head.fields != FREE_FIELDS {
        builder.max_headers(head.fields);
    }
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    series.connections.inc();
    series.connections_active.add(1);
    let series = Arc::clone(series);
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%address, %error, "upstream connection ended");
        }
        series.connections_active.add(-1);
    });
    Ok(Connection { sender, address })
}

/// Addresses are dialled as they are; names are looked up off the worker, and their addresses tried in turn.
async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(address) => TcpStream::connect(SocketAddr::new(address, port)).await,
        Err(_) => TcpStream::connect((host, port)).await,
    }
}
