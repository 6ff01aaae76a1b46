//! Lines of the guest and the level it should write at.

use crate::fault::Fault;
use crate::guest::Guest;
use crate::host::Host;
use crate::limits;
use crate::memory::{GuestPtr, GuestSlice};
use crate::types::LogLevel;

/// Hands a line to the embedder; what is past 64 KiB is cut off.
pub(super) fn proxy_log<H: Host>(guest: &mut Guest<'_, H>, level: u32, text: u32, size: u32) -> Result<(), Fault> {
    let level = LogLevel::try_from(level)?;
    let (memory, state) = guest.split()?;
    GuestSlice::new(text, size).read(memory)?;
    let line = state.read(memory, GuestSlice::new(text, size.min(limits::STRING)))?;
    state.host.log(level, line);
    Ok(())
}

pub(super) fn proxy_get_log_level<H: Host>(guest: &mut Guest<'_, H>, level: u32) -> Result<(), Fault> {
    let (memory, state) = guest.split()?;
    Ok(GuestPtr(level).write_u32(memory, state.host.log_level().into())?)
}
