//! The calls into the guest, each with the arguments that the specification gives it.

use wasmtime::{Store, TypedFunc};

use super::ending::Ended;
use crate::callback::{CallbackKind, Exports, StreamCallback};
use crate::context::Rundown;
use crate::host::Host;
use crate::state::State;
use crate::types::{Action, ContextId, PeerType};

pub(super) fn create_context<H: Host>(
    store: &mut Store<State<H>>,
    exports: &Exports,
    id: ContextId,
    parent: u32,
) -> Result<(), Ended> {
    if let Some(create) = exports.context_create(&mut *store) {
        store.data_mut().running = CallbackKind::ContextCreate;
        create.call(store, (id.get(), parent))?;
    }
    Ok(())
}

pub(super) fn deliver<H: Host>(
    store: &mut Store<State<H>>,
    exports: &Exports,
    id: u32,
    callback: StreamCallback,
) -> wasmtime::Result<Action> {
    match callback {
        StreamCallback::RequestBody { size, end_of_stream } => {
            let Some(body) = exports.request_body(&mut *store) else {
                return Ok(Action::Continue);
            };
            body.call(store, (id, wire(size), u32::from(end_of_stream))).map(Action::of_body)
        }
        StreamCallback::ResponseBody { size, end_of_stream } => {
            let Some(body) = exports.response_body(&mut *store) else {
                return Ok(Action::Continue);
            };
            body.call(store, (id, wire(size), u32::from(end_of_stream))).map(Action::of_body)
        }
        StreamCallback::ResponseHeaders { fields, end_of_stream } => {
            let Some(headers) = exports.response_headers(&mut *store) else {
                return Ok(Action::Continue);
            };
            headers.call(store, id, wire(fields), end_of_stream).map(Action::of_headers)
        }
        StreamCallback::RequestTrailers { fields } => {
            let Some(trailers) = exports.request_trailers(&mut *store) else {
                return Ok(Action::Continue);
            };
            trailers.call(store, (id, wire(fields))).map(Action::of_trailers)
        }
        StreamCallback::ResponseTrailers { fields } => {
            let Some(trailers) = exports.response_trailers(&mut *store) else {
                return Ok(Action::Continue);
            };
            trailers.call(store, (id, wire(fields))).map(Action::of_trailers)
        }
        StreamCallback::DownstreamData { size, end_of_stream } => {
            let Some(data) = exports.downstream_data(&mut *store) else {
                return Ok(Action::Continue);
            };
            data.call(store, (id, wire(size), u32::from(end_of_stream))).map(Action::of_trailers)
        }
        StreamCallback::UpstreamData { size, end_of_stream } => {
            let Some(data) = exports.upstream_data(&mut *store) else {
                return Ok(Action::Continue);
            };
            data.call(store, (id, wire(size), u32::from(end_of_stream))).map(Action::of_trailers)
        }
        StreamCallback::DownstreamClose { peer } => closed(exports.downstream_close(&mut *store), store, id, peer),
        StreamCallback::UpstreamClose { peer } => closed(exports.upstream_close(&mut *store), store, id, peer),
    }
}

fn closed<H: Host>(
    callback: Option<&TypedFunc<(u32, u32), ()>>,
    store: &mut Store<State<H>>,
    id: u32,
    peer: PeerType,
) -> wasmtime::Result<Action> {
    if let Some(callback) = callback {
        callback.call(store, (id, peer as u32))?;
    }
    Ok(Action::Continue)
}

/// Ends a context in the order of the specification: done, then log, then delete. False when the guest asked to wait and
/// `force` is not set; done is asked only once.
pub(super) fn conclude<H: Host>(
    store: &mut Store<State<H>>,
    exports: &Exports,
    id: ContextId,
    force: bool,
) -> Result<bool, Ended> {
    let ready = match rundown(store, id) {
        Rundown::Serving => ask_done(store, exports, id)?,
        Rundown::Pending => false,
        Rundown::Done => true,
    };
    if !ready && !force {
        return Ok(false);
    }
    if let Some(log) = exports.log(&mut *store) {
        store.data_mut().running = CallbackKind::Log;
        log.call(&mut *store, id.get())?;
    }
    if let Some(delete) = exports.delete(&mut *store) {
        store.data_mut().running = CallbackKind::Delete;
        delete.call(&mut *store, id.get())?;
    }
    Ok(true)
}

/// True when the context may go: the guest says so, or called `proxy_done` meanwhile.
fn ask_done<H: Host>(store: &mut Store<State<H>>, exports: &Exports, id: ContextId) -> Result<bool, Ended> {
    let Some(done) = exports.done(&mut *store) else {
        return Ok(true);
    };
    store.data_mut().running = CallbackKind::Done;
    // Pending before the call, so that a guest may call `proxy_done` from within it.
    set_rundown(store, id, Rundown::Pending);
    let ready = done.call(&mut *store, id.get())? != 0;
    if ready {
        set_rundown(store, id, Rundown::Done);
    }
    Ok(rundown(store, id) == Rundown::Done)
}

fn rundown<H: Host>(store: &mut Store<State<H>>, id: ContextId) -> Rundown {
    store.data_mut().contexts.life(id).map_or(Rundown::Done, |life| life.rundown)
}

fn set_rundown<H: Host>(store: &mut Store<State<H>>, id: ContextId, rundown: Rundown) {
    if let Some(life) = store.data_mut().contexts.life(id) {
        life.rundown = rundown;
    }
}

/// A count or size as the guest sees it; none of ours comes near four billion.
pub(super) fn wire(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
