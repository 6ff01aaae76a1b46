//! Ids of the metrics that a guest defines: Envoy's numbering, and one that counts nowhere.
//!
//! An SDK aborts on an error, so what cannot be defined becomes a metric that takes whatever is counted and keeps nothing.

use tollgate_abi::{MetricId, MetricKind, Status};

use crate::telemetry::metrics::{GuestMetrics, Undefined};

/// The place of a metric that counts nowhere: the last one that an id has room for.
const NOWHERE: u32 = u32::MAX >> 2;

/// The id of a metric, the kind in its low two bits, and why it counts nowhere where it does: true when that is the first of
/// its kind.
pub fn define(metrics: &GuestMetrics, kind: MetricKind, name: &[u8]) -> (MetricId, Option<(Undefined, bool)>) {
    let (slot, why) = match metrics.define(kind, name) {
        Ok(slot) => (slot.min(NOWHERE), None),
        Err(why) => (NOWHERE, Some(why)),
    };
    (MetricId(slot << 2 | u32::from(kind)), why)
}

/// Adds to a counter or gauge.
pub fn increment(metrics: &GuestMetrics, metric: MetricId, delta: i64) -> Result<(), Status> {
    counted(metric, metrics.increment(slot(metric), delta), ())
}

/// Sets a gauge, adds to a counter, samples a histogram.
pub fn record(metrics: &GuestMetrics, metric: MetricId, value: u64) -> Result<(), Status> {
    counted(metric, metrics.record(slot(metric), value), ())
}

/// What a counter or gauge has come to.
pub fn value(metrics: &GuestMetrics, metric: MetricId) -> Result<u64, Status> {
    counted(metric, metrics.get(slot(metric)), 0)
}

fn slot(metric: MetricId) -> u32 {
    metric.0 >> 2
}

/// What counts nowhere is no mistake of the filter.
fn counted<T>(metric: MetricId, found: Option<T>, nowhere: T) -> Result<T, Status> {
    found.or((slot(metric) == NOWHERE).then_some(nowhere)).ok_or(Status::NotFound)
}
