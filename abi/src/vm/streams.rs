//! What reaches the context of one exchange or connection: its beginning, what passes, its end.
//!
//! Each is one guest entry, and the stream that goes in comes back with the answer.

use wasmtime::Store;

use super::calls::{conclude, create_context, deliver, wire};
use super::ending::Ended;
use crate::callback::{CallbackKind, Exports, StreamCallback};
use crate::context::Contexts;
use crate::error::Failure;
use crate::host::Host;
use crate::state::State;
use crate::types::{Action, ContextId};
use crate::vm::Vm;

impl<H: Host> Vm<H> {
    /// Opens a context for an exchange and shows it the request head, in one guest entry.
    /// The stream always comes back.
    pub fn begin_stream(
        &mut self,
        stream: H::Stream,
        fields: usize,
        end_of_stream: bool,
    ) -> (H::Stream, Result<(ContextId, Action), Failure>) {
        self.begin(CallbackKind::RequestHeaders, stream, |store, exports, id| {
            match exports.request_headers(&mut *store) {
                Some(headers) => Ok(Action::of_headers(headers.call(store, id.get(), wire(fields), end_of_stream)?)),
                None => Ok(Action::Continue),
            }
        })
    }

    /// Opens a context for a connection (`proxy_on_new_connection`), in one guest entry. The stream always comes back.
    pub fn begin_connection(&mut self, stream: H::Stream) -> (H::Stream, Result<(ContextId, Action), Failure>) {
        self.begin(CallbackKind::NewConnection, stream, |store, exports, id| {
            match exports.new_connection(&mut *store) {
                Some(connection) => Ok(Action::of_trailers(connection.call(store, id.get())?)),
                None => Ok(Action::Continue),
            }
        })
    }

    fn begin(
        &mut self,
        kind: CallbackKind,
        stream: H::Stream,
        first: impl FnOnce(&mut Store<State<H>>, &Exports, ContextId) -> Result<Action, Ended>,
    ) -> (H::Stream, Result<(ContextId, Action), Failure>) {
        if let Some(failure) = self.poisoned(kind) {
            return (stream, Err(failure));
        }
        let Some(id) = self.store.data_mut().contexts.open() else {
            let failure = self.bury(Ended::Host("all context ids are used up".to_owned()));
            return (stream, Err(failure));
        };
        if !self.exports.has(CallbackKind::ContextCreate) && !self.exports.has(kind) {
            return (stream, Ok((id, Action::Continue)));
        }
        let (stream, outcome) = self.enter_stream(kind, id, stream, |store, exports| {
            create_context(store, exports, id, Contexts::<H::Stream>::ROOT.get())?;
            store.data_mut().running = kind;
            first(store, exports, id)
        });
        if outcome.is_err() {
            self.store.data_mut().close(id);
        }
        (stream, outcome.map(|action| (id, action)))
    }

    /// Delivers a later callback. A context that has ended, and a callback the module lacks, answer `Continue` at once.
    /// The stream always comes back.
    pub fn deliver(
        &mut self,
        id: ContextId,
        stream: H::Stream,
        callback: StreamCallback,
    ) -> (H::Stream, Result<Action, Failure>) {
        let kind = callback.kind();
        if let Some(failure) = self.poisoned(kind) {
            return (stream, Err(failure));
        }
        if !self.exports(kind) || !self.store.data().contexts.is_live(id) {
            return (stream, Ok(Action::Continue));
        }
        self.enter_stream(kind, id, stream, |store, exports| Ok(deliver(store, exports, id.get(), callback)?))
    }

    /// Ends a context unless its guest asks for more time: done, then log and delete, in one guest entry.
    ///
    /// True: it is gone. False: `proxy_on_done` answered false. Callouts and ticks may still choose the context, until
    /// `Stream::done` says that it is ready, or the embedder's patience ends; either way `end_stream` comes next. The guest
    /// is asked once; asking again as long as it is not ready answers false.
    /// The stream always comes back.
    pub fn finish_stream(&mut self, id: ContextId, stream: H::Stream) -> (H::Stream, Result<bool, Failure>) {
        self.conclude(id, stream, false)
    }

    /// Ends a context whatever its guest says: done unless asked before, log and delete in one guest entry. It is gone
    /// afterwards, failure or not. The stream always comes back.
    pub fn end_stream(&mut self, id: ContextId, stream: H::Stream) -> (H::Stream, Result<(), Failure>) {
        let (stream, outcome) = self.conclude(id, stream, true);
        (stream, outcome.map(drop))
    }

    fn conclude(&mut self, id: ContextId, stream: H::Stream, force: bool) -> (H::Stream, Result<bool, Failure>) {
        let was_live = self.store.data().contexts.is_live(id);
        if let Some(failure) = self.poisoned(CallbackKind::Log) {
            self.store.data_mut().close(id);
            return (stream, Err(failure));
        }
        let ends = [CallbackKind::Done, CallbackKind::Log, CallbackKind::Delete];
        if !was_live || !ends.into_iter().any(|kind| self.exports.has(kind)) {
            self.store.data_mut().close(id);
            return (stream, Ok(true));
        }
        let (stream, outcome) =
            self.enter_stream(CallbackKind::Log, id, stream, |store, exports| conclude(store, exports, id, force));
        if !matches!(outcome, Ok(false)) {
            self.store.data_mut().close(id);
        }
        (stream, outcome)
    }

    fn enter_stream<T>(
        &mut self,
        kind: CallbackKind,
        id: ContextId,
        stream: H::Stream,
        call: impl FnOnce(&mut Store<State<H>>, &Exports) -> Result<T, Ended>,
    ) -> (H::Stream, Result<T, Failure>) {
        let (stream, outcome) = self.enter(kind, id, Some(stream), call);
        #[expect(
            clippy::expect_used,
            reason = "a lent stream stays in the state while the guest runs: nothing else takes it out"
        )]
        let stream = stream.expect("the stream comes back");
        (stream, outcome)
    }
}
