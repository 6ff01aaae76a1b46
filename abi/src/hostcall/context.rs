//! Which context later hostcalls speak of, and the end of the root context.

use crate::callback::CallbackKind;
use crate::context::{Contexts, Rundown};
use crate::fault::Fault;
use crate::guest::Guest;
use crate::host::Host;
use crate::limits;
use crate::state::StreamAction;
use crate::storage::Refusal;
use crate::types::Status;

/// Chooses a live context of this VM until the entry ends. Its exchange is borrowed from the embedder once an entry;
/// an embedder that has none to lend leaves the context without maps and buffers. So does the bound of an entry: what
/// follows must not happen to the exchange that was chosen before.
pub(super) fn proxy_set_effective_context<H: Host>(guest: &mut Guest<'_, H>, context: u32) -> Result<(), Fault> {
    let state = guest.state();
    let context = state.contexts.find(context).ok_or(Status::BadArgument)?;
    state.contexts.choose(context);
    if !state.contexts.lacks(context) {
        return Ok(());
    }
    if state.contexts.borrowed() >= limits::BORROWED {
        let why = Refusal::Limit("contexts of one callback");
        return state.refuse("proxy_set_effective_context", &why, Status::BadArgument);
    }
    if let Some(stream) = state.host.borrow_stream(context) {
        state.contexts.borrow(context, stream);
    }
    Ok(())
}

/// Ends the wait that `proxy_on_done` of the effective context asked for.
pub(super) fn proxy_done<H: Host>(guest: &mut Guest<'_, H>) -> Result<(), Fault> {
    let state = guest.state();
    let context = state.contexts.effective();
    let rundown = match state.contexts.life(context) {
        Some(life) => &mut life.rundown,
        None => &mut state.rundown,
    };
    if *rundown != Rundown::Pending {
        return Err(Status::NotFound.into());
    }
    *rundown = Rundown::Done;
    // From within its own `proxy_on_done` a context says no more than the callback's answer would.
    let answering = state.running == CallbackKind::Done && context == state.contexts.current();
    if answering || context == Contexts::<H::Stream>::ROOT { Ok(()) } else { state.queue(StreamAction::Done) }
}
