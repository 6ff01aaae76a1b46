//! The guest as a running hostcall sees it: its memory and the state of its VM, borrowed side by side.
//!
//! No borrow of guest memory lives across a call into the guest; the types see to it.

use wasmtime::Caller;

use crate::fault::Fault;
use crate::host::Host;
use crate::state::{Stage, State};
use crate::types::Status;

/// One hostcall under way.
pub(crate) struct Guest<'a, H: Host> {
    pub(crate) caller: Caller<'a, State<H>>,
}

impl<'a, H: Host> Guest<'a, H> {
    pub(crate) fn new(caller: Caller<'a, State<H>>) -> Self {
        Guest { caller }
    }

    /// Stops the guest when it makes a call that is closed at this point.
    pub(crate) fn admit(&self, hostcall: &'static str) -> wasmtime::Result<()> {
        let state = self.caller.data();
        if state.allocating {
            return Err(closed(hostcall, "inside the allocator"));
        }
        if state.stage == Stage::Init {
            return Err(closed(hostcall, "before the filter is initialised"));
        }
        Ok(())
    }

    pub(crate) fn state(&mut self) -> &mut State<H> {
        self.caller.data_mut()
    }

    /// Guest memory and the state of the VM, at once.
    pub(crate) fn split(&mut self) -> Result<(&mut [u8], &mut State<H>), Fault> {
        let memory = self.caller.data().memory.ok_or(Status::InvalidMemoryAccess)?;
        Ok(memory.data_and_store_mut(&mut self.caller))
    }
}

#[cold]
fn closed(hostcall: &'static str, when: &'static str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("{hostcall} may not be called {when}"))
}
