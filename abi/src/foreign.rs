//! Foreign functions of this crate, by name.

use crate::host::Host;
use crate::state::State;
use crate::types::Status;

/// The number under which `proxy_on_foreign_function` hears of a timer; arguments: the context that set it, the timer.
pub(crate) const TIMER: u32 = 1;

/// Calls a function of this crate, else of the embedder.
pub(crate) fn call<H: Host>(state: &mut State<H>, name: &[u8], args: &[u8]) -> Result<Vec<u8>, Status> {
    state.host.foreign_function(name, args)
}
