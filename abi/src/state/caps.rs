//! The bounds of a guest's memory and table, as the engine asks for them.

use wasmtime::ResourceLimiter;

use crate::engine::Ceiling;
use crate::limits::Limits;

/// Holds memory and table of the guest under their bounds.
pub(crate) struct Caps {
    memory: usize,
    table_elements: usize,
    /// True once the running entry was refused growth: a trap after it counts as `Cause::Memory`.
    pub(crate) refused: bool,
}

impl Caps {
    pub(super) fn new(limits: &Limits, ceiling: Ceiling) -> Caps {
        Caps {
            memory: limits.memory.min(ceiling.memory),
            table_elements: limits.table_elements.min(ceiling.table_elements),
            refused: false,
        }
    }

    fn admit(&mut self, desired: usize, bound: usize) -> bool {
        self.refused |= desired > bound;
        desired <= bound
    }
}

impl ResourceLimiter for Caps {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.admit(desired, self.memory))
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.admit(desired, self.table_elements))
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        1
    }

    fn memories(&self) -> usize {
        1
    }
}
