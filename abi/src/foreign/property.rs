//! Properties that can be set only once: who declares them, and who may still write.

use crate::host::{Host, Stream};
use crate::state::{State, Writable};
use crate::storage::Refusal;

/// Writes a property of the effective context unless it is declared for once and there already.
pub(crate) fn write<H: Host>(state: &mut State<H>, path: &[u8], value: &[u8]) -> Result<(), Refusal> {
    let once = state.declared.get(path) == Some(&Writable::Once);
    let stream = state.contexts.stream().ok_or(Refusal::Unavailable)?;
    // Asked of the exchange, so that what another plugin wrote under the name counts too.
    if once && stream.property(&path.split(|byte| *byte == 0).collect::<Vec<_>>()).is_some() {
        return Err(Refusal::ReadOnly);
    }
    stream.set_property(path, value)
}
