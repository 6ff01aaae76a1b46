//! Handing bytes to the guest: its allocator makes the room, the guest owns it, and the host never frees.

use std::mem;

use wasmtime::{Instance, ModuleExport, TypedFunc};

use crate::fault::Fault;
use crate::guest::Guest;
use crate::host::Host;
use crate::memory::{GuestSlice, ResultSlots};
use crate::state::Allocator;
use crate::types::Status;

impl<H: Host> Guest<'_, H> {
    /// Room for `size` bytes that are about to be handed over. Calls the guest, so memory may have grown and moved afterwards.
    pub(crate) fn reserve(&mut self, size: usize) -> Result<GuestSlice, Fault> {
        let size = u32::try_from(size).map_err(|_| Status::InvalidMemoryAccess)?;
        // Taken out for the call, because a copy of the handle costs two atomic operations.
        let allocator = match mem::take(&mut self.state().allocator) {
            Allocator::Known(allocator) => allocator,
            Allocator::Unused(instance, export) => self.find(instance, export).ok_or(Status::InvalidMemoryAccess)?,
            Allocator::Out => return Err(Status::InvalidMemoryAccess.into()),
        };
        self.state().allocating = true;
        let start = allocator.call(&mut self.caller, size);
        let state = self.state();
        state.allocating = false;
        state.allocator = Allocator::Known(allocator);
        match start? {
            0 => Err(Status::InvalidMemoryAccess.into()),
            start => {
                let room = GuestSlice::new(start, size);
                self.state().tally(room);
                Ok(room)
            }
        }
    }

    #[cold]
    fn find(&mut self, instance: Instance, export: ModuleExport) -> Option<TypedFunc<u32, u32>> {
        let function = instance.get_module_export(&mut self.caller, &export)?.into_func()?;
        function.typed(&self.caller).ok()
    }

    /// Hands `bytes` over through `slots`. Nothing at all is pointer 0 and length 0, and does not bother the allocator.
    pub(crate) fn give(&mut self, slots: ResultSlots, bytes: &[u8]) -> Result<(), Fault> {
        let room = match bytes.len() {
            0 => GuestSlice::new(0, 0),
            size => self.reserve(size)?,
        };
        let (memory, _) = self.split()?;
        room.write(memory)?.copy_from_slice(bytes);
        Ok(slots.write(memory, room)?)
    }
}
