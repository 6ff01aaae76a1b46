//! The data that all VMs of a `vm_id` share.

use crate::fault::Fault;
use crate::guest::Guest;
use crate::host::Host;
use crate::limits::{self, Quota};
use crate::memory::{GuestPtr, GuestSlice, ResultSlots};
use crate::shared_data::SharedDataError;
use crate::storage::Refusal;
use crate::types::Status;

/// Hands a value and its compare-and-swap number over.
pub(super) fn proxy_get_shared_data<H: Host>(
    guest: &mut Guest<'_, H>,
    key: u32,
    key_size: u32,
    data: u32,
    size: u32,
    cas: u32,
) -> Result<(), Fault> {
    let (slots, cas) = (ResultSlots::new(data, size), GuestPtr(cas));
    let (memory, state) = guest.split()?;
    slots.check(memory)?;
    cas.check(memory, 4)?;
    let key = state.read(memory, GuestSlice::new(key, key_size))?;
    let value = state.settings.shared_data.get(key).ok_or(Status::NotFound)?;
    guest.give(slots, &value.bytes)?;
    let (memory, _) = guest.split()?;
    Ok(cas.write_u32(memory, value.cas)?)
}

/// Stores a value; a number other than 0 must be the current one.
pub(super) fn proxy_set_shared_data<H: Host>(
    guest: &mut Guest<'_, H>,
    key: u32,
    key_size: u32,
    value: u32,
    size: u32,
    cas: u32,
) -> Result<(), Fault> {
    let (memory, state) = guest.split()?;
    let key = state.read(memory, GuestSlice::new(key, key_size))?;
    let value = state.read(memory, GuestSlice::new(value, size))?;
    let outcome = match key_size {
        0..=limits::STRING => state.settings.shared_data.set(key, value, cas),
        _ => Err(SharedDataError::Limit("bytes of a shared key")),
    };
    match outcome {
        Ok(()) => Ok(()),
        Err(SharedDataError::CasMismatch) => Err(Status::CasMismatch.into()),
        Err(SharedDataError::Limit(what)) => {
            state.host.over_quota(Quota::SharedData);
            state.refuse("proxy_set_shared_data", &Refusal::Limit(what), Status::InternalFailure)
        }
    }
}
