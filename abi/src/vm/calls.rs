//! The calls into the guest, each with the arguments that the specification gives it.

use wasmtime::Store;

use super::ending::Ended;
use crate::callback::{CallbackKind, Exports, StreamCallback};
use crate::host::Host;
use crate::state::State;
use crate::types::{Action, ContextId};

pub(super) fn create_context<H: Host>(
    store: &mut Store<State<H>>,
    exports: &Exports,
    id: ContextId,
    parent: u32,
) -> Result<(), Ended> {
    if let Some(create) = &exports.context_create {
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
            let Some(body) = &exports.request_body else {
                return Ok(Action::Continue);
            };
            body.call(store, (id, wire(size), u32::from(end_of_stream))).map(Action::of_body)
        }
        StreamCallback::ResponseBody { size, end_of_stream } => {
            let Some(body) = &exports.response_body else {
                return Ok(Action::Continue);
            };
            body.call(store, (id, wire(size), u32::from(end_of_stream))).map(Action::of_body)
        }
        StreamCallback::ResponseHeaders { fields, end_of_stream } => {
            let Some(headers) = &exports.response_headers else {
                return Ok(Action::Continue);
            };
            headers.call(store, id, wire(fields), end_of_stream).map(Action::of_headers)
        }
        StreamCallback::RequestTrailers { fields } => {
            let Some(trailers) = &exports.request_trailers else {
                return Ok(Action::Continue);
            };
            trailers.call(store, (id, wire(fields))).map(Action::of_trailers)
        }
        StreamCallback::ResponseTrailers { fields } => {
            let Some(trailers) = &exports.response_trailers else {
                return Ok(Action::Continue);
            };
            trailers.call(store, (id, wire(fields))).map(Action::of_trailers)
        }
    }
}

// spec v0.2.1: done, then log, then delete. What a stream's done answers is not waited for; see SUPPORTED.md.
pub(super) fn end_context<H: Host>(store: &mut Store<State<H>>, exports: &Exports, id: ContextId) -> Result<(), Ended> {
    if let Some(done) = &exports.done {
        store.data_mut().running = CallbackKind::Done;
        done.call(&mut *store, id.get())?;
    }
    if let Some(log) = &exports.log {
        store.data_mut().running = CallbackKind::Log;
        log.call(&mut *store, id.get())?;
    }
    if let Some(delete) = &exports.delete {
        store.data_mut().running = CallbackKind::Delete;
        delete.call(&mut *store, id.get())?;
    }
    Ok(())
}

/// A count or size as the guest sees it; none of ours comes near four billion.
pub(super) fn wire(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
