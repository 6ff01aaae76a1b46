//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::fault::Fault;
use crate::guest::Guest;
use crate::host::Host;
use crate::memory::GuestPtr;

pub(super) fn proxy_get_current_time_nanoseconds<H: Host>(guest: &mut Guest<'_, H>, time: u32) -> Result<(), Fault> {
    let (memory, _) = guest.split()?;
    Ok(GuestPtr(time).write_u64(memory, wall_clock())?)
}

/// Nanoseconds since 1970; 0 before, and the largest number after 2554.
pub(crate) fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
