//! Bodies and configuration as bytes.

use std::sync::Arc;

use crate::callback::CallbackKind;
use crate::fault::Fault;
use crate::guest::Guest;
use crate::host::Host;
use crate::limits;
use crate::memory::{GuestPtr, GuestSlice, ResultSlots};
use crate::settings::{GuestErrors, PluginSettings};
use crate::state::State;
use crate::storage::Refusal;
use crate::types::{BufferType, Status};

/// Hands at most `max` bytes from `start` over, written straight into guest memory.
pub(super) fn proxy_get_buffer_bytes<H: Host>(
    guest: &mut Guest<'_, H>,
    buffer: u32,
    start: u32,
    max: u32,
    data: u32,
    size: u32,
) -> Result<(), Fault> {
    let buffer = BufferType::try_from(buffer)?;
    let slots = ResultSlots::new(data, size);
    let (memory, state) = guest.split()?;
    slots.check(memory)?;
    // A range past 4 GiB means "to the end" to everyone who asks for it, but the specification refuses it.
    if start.checked_add(max).is_none() && state.settings.guest_errors == GuestErrors::Strict {
        return Err(Status::BadArgument.into());
    }
    let len = size_of(state, buffer).ok_or(Status::NotFound)?;
    let (start, size) = clamp(start, max, len);
    if size == 0 {
        return guest.give(slots, &[]);
    }
    let room = guest.reserve(size)?;
    let (memory, state) = guest.split()?;
    copy(state, buffer, start, room.write(memory)?);
    Ok(slots.write(memory, room)?)
}

/// Size of a buffer; flags are always 0.
pub(super) fn proxy_get_buffer_status<H: Host>(
    guest: &mut Guest<'_, H>,
    buffer: u32,
    size: u32,
    flags: u32,
) -> Result<(), Fault> {
    let buffer = BufferType::try_from(buffer)?;
    let (memory, state) = guest.split()?;
    let len = size_of(state, buffer).ok_or(Status::NotFound)?;
    let len = u32::try_from(len).map_err(|_| Status::InternalFailure)?;
    GuestPtr(flags).check(memory, 4)?;
    GuestPtr(size).write_u32(memory, len)?;
    Ok(GuestPtr(flags).write_u32(memory, 0)?)
}

/// Replaces `replaced` bytes at `start`; both are cut to what is there, so a start past the end appends
/// and a start of 0 with nothing to replace prepends.
pub(super) fn proxy_set_buffer_bytes<H: Host>(
    guest: &mut Guest<'_, H>,
    buffer: u32,
    start: u32,
    replaced: u32,
    data: u32,
    size: u32,
) -> Result<(), Fault> {
    let buffer = BufferType::try_from(buffer)?;
    let (memory, state) = guest.split()?;
    let bytes = state.read(memory, GuestSlice::new(data, size))?;
    let read_only = configuration(&state.settings, buffer).is_some() || buffer.is_handed();
    let outcome = match state.buffer_mut(buffer) {
        _ if read_only => Err(Refusal::ReadOnly),
        _ if size > limits::SLICE => Err(Refusal::Limit("bytes of one write to a buffer")),
        Some(target) => {
            let (start, replaced) = clamp(start, replaced, target.len());
            target.splice(start, replaced, bytes)
        }
        None => Err(Refusal::Unavailable),
    };
    match outcome {
        Err(Refusal::Unavailable) => state.refuse("proxy_set_buffer_bytes", &Refusal::Unavailable, Status::NotFound),
        outcome => state.answer("proxy_set_buffer_bytes", outcome),
    }
}

/// ABI 0.1.0: the plugin configuration while the root is configured, the VM configuration at any other time.
pub(super) fn proxy_get_configuration<H: Host>(guest: &mut Guest<'_, H>, data: u32, size: u32) -> Result<(), Fault> {
    let slots = ResultSlots::new(data, size);
    let (memory, state) = guest.split()?;
    slots.check(memory)?;
    let settings = Arc::clone(&state.settings);
    let configuring = state.running == CallbackKind::Configure;
    guest.give(slots, if configuring { &settings.config } else { &settings.vm_config })
}

fn size_of<H: Host>(state: &mut State<H>, buffer: BufferType) -> Option<usize> {
    match configuration(&state.settings, buffer) {
        Some(bytes) => Some(bytes.len()),
        None => state.buffer(buffer).map(|bytes| bytes.len()),
    }
}

fn copy<H: Host>(state: &mut State<H>, buffer: BufferType, start: usize, into: &mut [u8]) {
    if let Some(bytes) = configuration(&state.settings, buffer) {
        if let Some(part) = bytes.get(start..start + into.len()) {
            into.copy_from_slice(part);
        }
    } else if let Some(bytes) = state.buffer(buffer) {
        bytes.read(start, into);
    }
}

fn configuration(settings: &PluginSettings, buffer: BufferType) -> Option<&[u8]> {
    match buffer {
        BufferType::VmConfiguration => Some(&settings.vm_config),
        BufferType::PluginConfiguration => Some(&settings.config),
        _ => None,
    }
}

fn clamp(start: u32, size: u32, len: usize) -> (usize, usize) {
    let start = usize::try_from(start).unwrap_or(usize::MAX).min(len);
    let size = usize::try_from(size).unwrap_or(usize::MAX).min(len - start);
    (start, size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_to_what_is_there() {
        assert_eq!(clamp(0, 0, 10), (0, 0));
        assert_eq!(clamp(3, 4, 10), (3, 4));
        assert_eq!(clamp(8, 4, 10), (8, 2));
        assert_eq!(clamp(11, 4, 10), (10, 0));
        assert_eq!(clamp(u32::MAX, u32::MAX, 10), (10, 0));
    }
}
