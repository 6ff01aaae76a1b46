//! Functions that a guest calls by name, and host names that it has looked up.

use crate::fault::Fault;
use crate::foreign;
use crate::guest::Guest;
use crate::host::Host;
use crate::limits;
use crate::memory::{GuestPtr, GuestSlice, ResultSlots};
use crate::state::Asker;
use crate::types::Status;

/// Calls a function of this crate or of the embedder. Result pointers of 0 discard the result.
pub(super) fn proxy_call_foreign_function<H: Host>(
    guest: &mut Guest<'_, H>,
    name: u32,
    name_size: u32,
    args: u32,
    args_size: u32,
    data: u32,
    size: u32,
) -> Result<(), Fault> {
    let wanted = data != 0 && size != 0;
    let slots = ResultSlots::new(data, size);
    let (memory, state) = guest.split()?;
    if wanted {
        slots.check(memory)?;
    }
    let name = state.read(memory, GuestSlice::new(name, name_size))?;
    let args = state.read(memory, GuestSlice::new(args, args_size))?;
    if name_size > limits::STRING || args_size > limits::SLICE {
        return Err(Status::BadArgument.into());
    }
    let result = foreign::call(state, name, args)?;
    if wanted { guest.give(slots, &result) } else { Ok(()) }
}

/// Envoy's extension: looks a host name up, to be answered through `envoy_on_resolve_dns`.
pub(super) fn envoy_resolve_dns<H: Host>(
    guest: &mut Guest<'_, H>,
    name: u32,
    name_size: u32,
    token: u32,
) -> Result<(), Fault> {
    let (memory, state) = guest.split()?;
    GuestPtr(token).check(memory, 4)?;
    let name = state.read(memory, GuestSlice::new(name, name_size))?;
    let number = foreign::look_up(state, name, Asker::Envoy)?;
    Ok(GuestPtr(token).write_u32(memory, number)?)
}
