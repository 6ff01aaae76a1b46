//! Header and trailer maps of the effective context.
//!
//! A map that does not exist reads as empty or absent and refuses changes, because most SDKs abort on an error code.

use std::mem;

use crate::fault::Fault;
use crate::guest::Guest;
use crate::host::Host;
use crate::limits;
use crate::memory::{GuestPtr, GuestSlice, ResultSlots};
use crate::pairs::{self, Pairs};
use crate::storage::{HeaderMap, Refusal};
use crate::types::{AbiVersion, MapType, Status};

/// Hands all fields over, serialised straight into guest memory.
pub(super) fn proxy_get_header_map_pairs<H: Host>(
    guest: &mut Guest<'_, H>,
    map: u32,
    data: u32,
    size: u32,
) -> Result<(), Fault> {
    let map = MapType::try_from(map)?;
    let slots = ResultSlots::new(data, size);
    let (memory, state) = guest.split()?;
    slots.check(memory)?;
    let needed = state.map(map).map_or(0, pairs::size_of);
    if needed == 0 {
        return guest.give(slots, &[]);
    }
    let room = guest.reserve(needed)?;
    let (memory, state) = guest.split()?;
    let into = room.write(memory)?;
    if !state.map(map).is_some_and(|fields| pairs::write(fields, into)) {
        return Err(Status::InternalFailure.into());
    }
    Ok(slots.write(memory, room)?)
}

/// Replaces all fields, or none when one of them or the list itself is not acceptable.
pub(super) fn proxy_set_header_map_pairs<H: Host>(
    guest: &mut Guest<'_, H>,
    map: u32,
    data: u32,
    size: u32,
) -> Result<(), Fault> {
    let map = MapType::try_from(map)?;
    let (memory, state) = guest.split()?;
    let bytes = state.read(memory, GuestSlice::new(data, size))?;
    let outcome = match decode(bytes) {
        Ok(fields) => state.map_mut(map).and_then(|target| target.replace_all(&fields)),
        Err(why) => Err(why),
    };
    state.answer("proxy_set_header_map_pairs", outcome)
}

/// Decodes pairs of a guest within the bounds.
pub(super) fn decode(bytes: &[u8]) -> Result<Pairs<'_>, Refusal> {
    if u32::try_from(bytes.len()).is_ok_and(|size| size <= limits::PAIRS_BYTES) {
        return pairs::decode(bytes).map_err(|error| Refusal::Malformed(error.as_str()));
    }
    Err(Refusal::Limit("bytes of a list of pairs"))
}

/// Hands the first value of a name over.
pub(super) fn proxy_get_header_map_value<H: Host>(
    guest: &mut Guest<'_, H>,
    map: u32,
    key: u32,
    key_size: u32,
    data: u32,
    size: u32,
) -> Result<(), Fault> {
    let map = MapType::try_from(map)?;
    let slots = ResultSlots::new(data, size);
    let (memory, state) = guest.split()?;
    slots.check(memory)?;
    let key = state.read(memory, GuestSlice::new(key, key_size))?;
    // The allocator is guest code, so the value is carried past it in a buffer that every call uses again.
    let mut value = mem::take(&mut state.scratch);
    value.clear();
    let found = state.map(map).and_then(|fields| fields.first(key)).map(|bytes| value.extend_from_slice(bytes));
    // spec v0.1.0: an absent name answers OK with an empty value; later versions answer NOT_FOUND.
    let absent = found.is_none() && state.abi != AbiVersion::V0_1_0;
    let answer = if absent { Err(Status::NotFound.into()) } else { guest.give(slots, &value) };
    guest.state().scratch = value;
    answer
}

pub(super) fn proxy_add_header_map_value<H: Host>(
    guest: &mut Guest<'_, H>,
    map: u32,
    key: u32,
    key_size: u32,
    value: u32,
    size: u32,
) -> Result<(), Fault> {
    let field = (GuestSlice::new(key, key_size), GuestSlice::new(value, size));
    change(guest, "proxy_add_header_map_value", map, field, |fields, key, value| fields.add(key, value))
}

/// Leaves the value as the only one of its name.
pub(super) fn proxy_replace_header_map_value<H: Host>(
    guest: &mut Guest<'_, H>,
    map: u32,
    key: u32,
    key_size: u32,
    value: u32,
    size: u32,
) -> Result<(), Fault> {
    let field = (GuestSlice::new(key, key_size), GuestSlice::new(value, size));
    change(guest, "proxy_replace_header_map_value", map, field, |fields, key, value| fields.replace(key, value))
}

/// Removes every field of a name; an absent one is fine.
pub(super) fn proxy_remove_header_map_value<H: Host>(
    guest: &mut Guest<'_, H>,
    map: u32,
    key: u32,
    key_size: u32,
) -> Result<(), Fault> {
    let field = (GuestSlice::new(key, key_size), GuestSlice::new(0, 0));
    change(guest, "proxy_remove_header_map_value", map, field, |fields, key, _| fields.remove(key))
}

/// The size that `proxy_get_header_map_pairs` would hand over.
pub(super) fn proxy_get_header_map_size<H: Host>(guest: &mut Guest<'_, H>, map: u32, size: u32) -> Result<(), Fault> {
    let map = MapType::try_from(map)?;
    let (memory, state) = guest.split()?;
    let bytes = state.map(map).map_or(0, pairs::size_of);
    let bytes = u32::try_from(bytes).map_err(|_| Status::InternalFailure)?;
    Ok(GuestPtr(size).write_u32(memory, bytes)?)
}

fn change<H: Host>(
    guest: &mut Guest<'_, H>,
    hostcall: &'static str,
    map: u32,
    (key, value): (GuestSlice, GuestSlice),
    change: impl FnOnce(&mut dyn HeaderMap, &[u8], &[u8]) -> Result<(), Refusal>,
) -> Result<(), Fault> {
    let map = MapType::try_from(map)?;
    let (memory, state) = guest.split()?;
    let (name, bytes) = (state.read(memory, key)?, state.read(memory, value)?);
    let outcome = match state.map_mut(map) {
        _ if key.len().max(value.len()) > limits::STRING => Err(Refusal::Limit("bytes of a field")),
        Ok(fields) => change(fields, name, bytes),
        Err(why) => Err(why),
    };
    state.answer(hostcall, outcome)
}
