//! Callouts that get no answer in time: given up and counted once, whoever set the time.

use std::cell::Cell;
use std::time::Duration;

use http::Request;

use crate::error::Reason;
use crate::telemetry::metrics::UpstreamFailure;
use crate::upstream::body::RequestBody;
use crate::upstream::cluster::Cluster;
use crate::upstream::late::in_time;
use crate::upstream::{self, Answer, Waits};

/// Sends the request of a callout. The cluster may have a time for each attempt.
pub(super) async fn send(
    cluster: &Cluster,
    waits: Waits<'_>,
    request: &mut Request<RequestBody>,
) -> Result<Answer, Reason> {
    let answer = upstream::send(cluster, &cluster.aim(waits), request).await;
    if let Err(Reason::UpstreamTimeout) = &answer {
        count(cluster);
    }
    answer
}

/// What a callout comes to within the time that the filter gives it; `None` once that is over, and the cell is true.
pub(super) async fn within<T>(
    time: Duration,
    cluster: &Cluster,
    callout: impl AsyncFnOnce(&Cell<bool>) -> T,
) -> Option<T> {
    let ended = in_time(time, callout).await;
    if ended.is_none() {
        count(cluster);
    }
    ended
}

fn count(cluster: &Cluster) {
    cluster.series.failures[UpstreamFailure::Timeout.index()].inc();
}
