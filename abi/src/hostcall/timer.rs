//! The one timer of a root context.

use std::time::Duration;

use crate::fault::Fault;
use crate::guest::Guest;
use crate::host::Host;

/// Sets the timer of the root context, whichever context asks; 0 stops it.
pub(super) fn proxy_set_tick_period_milliseconds<H: Host>(guest: &mut Guest<'_, H>, period: u32) -> Result<(), Fault> {
    let period = (period != 0).then(|| Duration::from_millis(u64::from(period)));
    guest.state().host.set_tick_period(period);
    Ok(())
}
