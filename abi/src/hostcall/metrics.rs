//! Counters, gauges and histograms. The embedder keeps them; the kind in the id is checked here.

use crate::fault::Fault;
use crate::guest::Guest;
use crate::host::Host;
use crate::limits;
use crate::memory::{GuestPtr, GuestSlice};
use crate::types::{MetricId, MetricKind, Status};

pub(super) fn proxy_define_metric<H: Host>(
    guest: &mut Guest<'_, H>,
    kind: u32,
    name: u32,
    name_size: u32,
    metric: u32,
) -> Result<(), Fault> {
    let kind = MetricKind::try_from(kind)?;
    let (memory, state) = guest.split()?;
    GuestPtr(metric).check(memory, 4)?;
    let name = state.read(memory, GuestSlice::new(name, name_size))?;
    if name_size > limits::STRING {
        return Err(Status::BadArgument.into());
    }
    let id = state.host.define_metric(kind, name)?;
    Ok(GuestPtr(metric).write_u32(memory, id.0)?)
}

/// Adds to a counter (more than nothing) or moves a gauge.
pub(super) fn proxy_increment_metric<H: Host>(guest: &mut Guest<'_, H>, metric: u32, delta: i64) -> Result<(), Fault> {
    let id = MetricId(metric);
    match id.kind().ok_or(Status::NotFound)? {
        MetricKind::Counter if delta <= 0 => return Err(Status::BadArgument.into()),
        MetricKind::Histogram => return Err(Status::BadArgument.into()),
        MetricKind::Counter | MetricKind::Gauge => {}
    }
    Ok(guest.state().host.increment_metric(id, delta)?)
}

/// Sets a gauge, samples a histogram, adds to a counter.
pub(super) fn proxy_record_metric<H: Host>(guest: &mut Guest<'_, H>, metric: u32, value: u64) -> Result<(), Fault> {
    let id = MetricId(metric);
    id.kind().ok_or(Status::NotFound)?;
    Ok(guest.state().host.record_metric(id, value)?)
}

/// Reads a counter or gauge; a histogram has no one value.
pub(super) fn proxy_get_metric<H: Host>(guest: &mut Guest<'_, H>, metric: u32, value: u32) -> Result<(), Fault> {
    let id = MetricId(metric);
    if id.kind().ok_or(Status::NotFound)? == MetricKind::Histogram {
        return Err(Status::BadArgument.into());
    }
    let (memory, state) = guest.split()?;
    GuestPtr(value).check(memory, 8)?;
    let current = state.host.metric(id)?;
    Ok(GuestPtr(value).write_u64(memory, current)?)
}
