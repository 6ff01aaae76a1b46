//! What reaches the root context from outside an exchange: answers of callouts, messages, timers, looked-up names.
//!
//! Each is one guest entry. What it hands over can be read as long as the callback runs.

use wasmtime::Store;

use super::calls::wire;
use super::ending::Ended;
use crate::callback::{CallbackKind, Exports};
use crate::callout::{CalloutFailure, CalloutKind, GrpcEvent, HttpReply};
use crate::context::Contexts;
use crate::error::Failure;
use crate::foreign::{self, DnsRecord};
use crate::host::Host;
use crate::state::{Asker, CalloutStatus, Handed, State};
use crate::storage::HeaderMap;
use crate::types::{BufferType, CalloutId, ContextId, MapType, QueueId, Status};
use crate::vm::Vm;

impl<H: Host> Vm<H> {
    /// An HTTP callout ended. One that the VM does not know (any more) is ignored.
    ///
    /// Zero headers are how a guest is told of a failure, so an answer without any counts as one.
    pub fn http_call_ended(
        &mut self,
        id: CalloutId,
        outcome: Result<HttpReply, CalloutFailure>,
    ) -> Result<(), Failure> {
        if id.kind() != Some(CalloutKind::Http) || !self.store.data_mut().callouts.close(id) {
            return Ok(());
        }
        let outcome = outcome.and_then(|reply| match reply.headers.is_empty() {
            true => Err(CalloutFailure::Protocol),
            false => Ok(reply),
        });
        let (reply, status) = match outcome {
            Ok(reply) => (reply, CalloutStatus::default()),
            Err(why) => (HttpReply::default(), failed(why)),
        };
        let sizes = (wire(reply.headers.len()), wire(reply.body.len()), wire(reply.trailers.len()));
        self.tell(CallbackKind::HttpCallResponse, Handed::Reply(reply), status, |store, exports, root| {
            let Some(response) = exports.http_call_response(&mut *store) else { return Ok(()) };
            Ok(response.call(store, (root, id.get(), sizes.0, sizes.1, sizes.2))?)
        })
    }

    /// Something happened to a gRPC callout. One that the VM does not know (any more) is ignored.
    pub fn grpc_event(&mut self, id: CalloutId, event: GrpcEvent) -> Result<(), Failure> {
        if id.kind() == Some(CalloutKind::Http) || !self.store.data().callouts.is_open(id) {
            return Ok(());
        }
        match event {
            GrpcEvent::InitialMetadata(fields) => {
                let (kind, map) = (CallbackKind::GrpcReceiveInitialMetadata, MapType::GrpcInitialMetadata);
                self.grpc(kind, id, wire(fields.len()), Handed::Metadata(map, fields), CalloutStatus::default())
            }
            GrpcEvent::TrailingMetadata(fields) => {
                let (kind, map) = (CallbackKind::GrpcReceiveTrailingMetadata, MapType::GrpcTrailingMetadata);
                self.grpc(kind, id, wire(fields.len()), Handed::Metadata(map, fields), CalloutStatus::default())
            }
            GrpcEvent::Message(bytes) => {
                if id.kind() == Some(CalloutKind::GrpcCall) {
                    self.store.data_mut().callouts.close(id);
                }
                let size = wire(bytes.len());
                let handed = Handed::Bytes(BufferType::GrpcMessage, bytes);
                self.grpc(CallbackKind::GrpcReceive, id, size, handed, CalloutStatus::default())
            }
            GrpcEvent::Closed { status, message } => {
                self.store.data_mut().callouts.close(id);
                let said = CalloutStatus { code: status, message };
                self.grpc(CallbackKind::GrpcClose, id, status, Handed::Nothing, said)
            }
        }
    }

    /// A message waits in a queue that the guest registered.
    pub fn queue_ready(&mut self, queue: QueueId) -> Result<(), Failure> {
        let (handed, status) = (Handed::Nothing, CalloutStatus::default());
        self.tell(CallbackKind::QueueReady, handed, status, |store, exports, root| {
            let Some(ready) = exports.queue_ready(&mut *store) else { return Ok(()) };
            Ok(ready.call(store, (root, queue.get()))?)
        })
    }

    /// Calls `proxy_on_foreign_function` of the root with `arguments` in buffer 8.
    pub fn call_foreign_function(&mut self, function: u32, arguments: Vec<u8>) -> Result<(), Failure> {
        let size = wire(arguments.len());
        let handed = Handed::Bytes(BufferType::CallData, arguments);
        self.tell(CallbackKind::ForeignFunction, handed, CalloutStatus::default(), |store, exports, root| {
            let Some(called) = exports.foreign_function(&mut *store) else { return Ok(()) };
            Ok(called.call(store, (root, function, size))?)
        })
    }

    /// A look-up ended; no records say that it failed. A token that the VM does not know is ignored.
    pub fn dns_resolved(&mut self, token: u32, records: &[DnsRecord]) -> Result<(), Failure> {
        let Some(asker) = self.store.data_mut().lookups.remove(&token) else { return Ok(()) };
        if let Asker::Function(context) = asker {
            return self.answer_context(foreign::RESOLVED, context, token, &foreign::records(records));
        }
        // Envoy hands nothing at all over where a look-up failed.
        let answer = if records.is_empty() { Vec::new() } else { foreign::records(records) };
        let size = wire(answer.len());
        let handed = Handed::Bytes(BufferType::CallData, answer);
        self.tell(CallbackKind::ResolveDns, handed, CalloutStatus::default(), |store, exports, root| {
            let Some(resolved) = exports.resolve_dns(&mut *store) else { return Ok(()) };
            Ok(resolved.call(store, (root, token, size))?)
        })
    }

    /// A one-shot timer is over. One that the VM does not know, or whose exchange has ended, is ignored.
    pub fn timer_fired(&mut self, timer: u32) -> Result<(), Failure> {
        let state = self.store.data_mut();
        let Some(context) = state.timers.remove(&timer) else { return Ok(()) };
        self.answer_context(foreign::TIMER, context, timer, &[])
    }

    /// Answers what a context asked for under a token, unless it has ended.
    fn answer_context(&mut self, function: u32, context: ContextId, token: u32, rest: &[u8]) -> Result<(), Failure> {
        if self.store.data().contexts.find(context.get()).is_none() {
            return Ok(());
        }
        let arguments = [&context.get().to_le_bytes()[..], &token.to_le_bytes(), rest].concat();
        self.call_foreign_function(function, arguments)
    }

    /// All gRPC callbacks have three numbers: the root, the callout, and a size or status.
    fn grpc(
        &mut self,
        kind: CallbackKind,
        id: CalloutId,
        number: u32,
        handed: Handed,
        status: CalloutStatus,
    ) -> Result<(), Failure> {
        self.tell(kind, handed, status, |store, exports, root| {
            let callback = match kind {
                CallbackKind::GrpcReceiveInitialMetadata => exports.grpc_initial_metadata(&mut *store),
                CallbackKind::GrpcReceiveTrailingMetadata => exports.grpc_trailing_metadata(&mut *store),
                CallbackKind::GrpcClose => exports.grpc_close(&mut *store),
                _ => exports.grpc_receive(&mut *store),
            };
            let Some(callback) = callback else { return Ok(()) };
            Ok(callback.call(store, (root, id.get(), number))?)
        })
    }

    /// One entry of the root that hands something over. A callback the module lacks is no entry.
    fn tell(
        &mut self,
        kind: CallbackKind,
        handed: Handed,
        status: CalloutStatus,
        call: impl FnOnce(&mut Store<State<H>>, &Exports, u32) -> Result<(), Ended>,
    ) -> Result<(), Failure> {
        if let Some(failure) = self.poisoned(kind) {
            return Err(failure);
        }
        if !self.exports.has(kind) || self.is_over() {
            return Ok(());
        }
        let state = self.store.data_mut();
        state.handed = handed;
        state.status = status;
        let outcome = self.enter_root(kind, |store, exports| call(store, exports, Contexts::<H::Stream>::ROOT.get()));
        let state = self.store.data_mut();
        state.handed = Handed::Nothing;
        outcome
    }
}

/// Envoy tells of every failure with the number of a broken connection; the words say which it was.
fn failed(why: CalloutFailure) -> CalloutStatus {
    CalloutStatus { code: Status::BrokenConnection.into(), message: why.to_string() }
}
