//! Functions of the embedder that a guest calls by name. There are none yet.

use crate::fault::Fault;
use crate::guest::Guest;
use crate::host::Host;
use crate::memory::GuestSlice;
use crate::types::Status;

/// No name is known, which every SDK survives.
pub(super) fn proxy_call_foreign_function<H: Host>(
    guest: &mut Guest<'_, H>,
    name: u32,
    name_size: u32,
    args: u32,
    args_size: u32,
    _data: u32,
    _size: u32,
) -> Result<(), Fault> {
    let (memory, _) = guest.split()?;
    GuestSlice::new(name, name_size).read(memory)?;
    GuestSlice::new(args, args_size).read(memory)?;
    Err(Status::NotFound.into())
}
