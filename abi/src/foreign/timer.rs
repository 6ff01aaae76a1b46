//! `tollgate.set_timer` and `tollgate.cancel_timer`: one-shot timers, as many as the limits allow.

use std::time::Duration;

use super::Reader;
use crate::host::Host;
use crate::limits::{self, Quota};
use crate::state::State;
use crate::storage::Refusal;
use crate::types::Status;

/// Milliseconds; the result is the number of the timer. It belongs to the effective context and ends with it.
pub(super) fn set<H: Host>(state: &mut State<H>, args: &[u8]) -> Result<Vec<u8>, Status> {
    let mut args = Reader::new(args);
    let after = Duration::from_millis(u64::from(args.number()?));
    args.end()?;
    if state.timers.len() >= state.settings.limits.timers {
        state.host.over_quota(Quota::Timer);
        state.host.refused("proxy_call_foreign_function", &Refusal::Limit("timers that run"));
        return Err(Status::InternalFailure);
    }
    let timer = state.token();
    state.timers.insert(timer, state.contexts.effective());
    state.host.set_timer(timer, after.max(limits::SHORTEST_TIMER));
    Ok(timer.to_le_bytes().to_vec())
}

/// The number of a timer; one that has fired, or never was, is not found.
pub(super) fn cancel<H: Host>(state: &mut State<H>, args: &[u8]) -> Result<Vec<u8>, Status> {
    let mut args = Reader::new(args);
    let timer = args.number()?;
    args.end()?;
    state.timers.remove(&timer).ok_or(Status::NotFound)?;
    state.host.cancel_timer(timer);
    Ok(Vec::new())
}
