//! A connection to an endpoint that changed its protocol: it has left its pool, and counts against its bounds until it ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use socket2::SockRef;

use crate::telemetry::metrics::ClusterSeries;
use crate::upstream::Lease;
use crate::upstream::connect::{Open, socket};
use crate::upstream::hearing::Hearing;
use crate::upstream::pool::Transport;

/// See the module.
pub struct Switched {
    /// The connection.
    pub transport: Transport,
    /// What was read of it behind the answer.
    pub early: Bytes,
    _open: Open,
    _lease: Lease,
}

impl Switched {
    /// Takes a connection out of HTTP that answered 101, as soon as hyper lets go of it.
    pub async fn new(on: OnUpgrade, lease: Lease, series: &Arc<ClusterSeries>) -> io::Result<Self> {
        let open = Open::again(series);
        let upgraded = on.await.map_err(io::Error::other)?;
        let parts = upgraded.downcast::<Hearing<TokioIo<Transport>>>();
        let parts = parts.map_err(|_| io::Error::other("the connection is of an unknown kind"))?;
        Ok(Self { transport: parts.io.into_socket().into_inner(), early: parts.read_buf, _open: open, _lease: lease })
    }

    /// Has it closed with a reset, so that the endpoint takes nothing for a whole conversation.
    pub fn reset(&self) {
        // A socket that refuses is gone already.
        let _ = SockRef::from(socket(&self.transport)).set_linger(Some(Duration::ZERO));
    }
}
