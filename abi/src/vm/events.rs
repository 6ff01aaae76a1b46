//! What reaches the root context from outside an exchange: answers of callouts, messages, timers, looked-up names.
//!
//! Each is one guest entry. What it hands over can be read as long as the callback runs.

use std::net::IpAddr;
use std::time::Duration;

use wasmtime::Store;

use super::calls::wire;
use super::ending::Ended;
use crate::callback::{CallbackKind, Exports};
use crate::callout::{CalloutFailure, CalloutKind, GrpcEvent, HttpReply};
use crate::context::Contexts;
use crate::error::Failure;
use crate::foreign;
use crate::host::Host;
use crate::state::{CalloutStatus, Handed, State};
use crate::storage::HeaderMap;
use crate::types::{BufferType, CalloutId, MapType, QueueId, Status};
use crate::vm::Vm;

/// One address of a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsRecord {
    /// The address.
    pub address: IpAddr,
    /// How long it may be used.
    pub ttl: Duration,
}

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
            let Some(response) = &exports.http_call_response else { return Ok(()) };
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
            let Some(ready) = &exports.queue_ready else { return Ok(()) };
            Ok(ready.call(store, (root, queue.get()))?)
        })
    }

    /// Calls `proxy_on_foreign_function` of the root with `arguments` in buffer 8.
    pub fn call_foreign_function(&mut self, function: u32, arguments: Vec<u8>) -> Result<(), Failure> {
        let size = wire(arguments.len());
        let handed = Handed::Bytes(BufferType::CallData, arguments);
        self.tell(CallbackKind::ForeignFunction, handed, CalloutStatus::default(), |store, exports, root| {
            let Some(called) = &exports.foreign_function else { return Ok(()) };
            Ok(called.call(store, (root, function, size))?)
        })
    }

    /// A look-up ended; no records say that it failed. A token that the VM does not know is ignored.
    pub fn dns_resolved(&mut self, token: u32, records: &[DnsRecord]) -> Result<(), Failure> {
        if !self.store.data_mut().lookups.remove(&token) {
            return Ok(());
        }
        let answer = envoy_records(records);
        let size = wire(answer.len());
        let handed = Handed::Bytes(BufferType::CallData, answer);
        self.tell(CallbackKind::ResolveDns, handed, CalloutStatus::default(), |store, exports, root| {
            let Some(resolved) = &exports.resolve_dns else { return Ok(()) };
            Ok(resolved.call(store, (root, token, size))?)
        })
    }

    /// A one-shot timer is over. One that the VM does not know, or whose exchange has ended, is ignored.
    pub fn timer_fired(&mut self, timer: u32) -> Result<(), Failure> {
        let state = self.store.data_mut();
        let Some(context) = state.timers.remove(&timer) else { return Ok(()) };
        if state.contexts.find(context.get()).is_none() {
            return Ok(());
        }
        let arguments = [context.get().to_le_bytes(), timer.to_le_bytes()].concat();
        self.call_foreign_function(foreign::TIMER, arguments)
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
                CallbackKind::GrpcReceiveInitialMetadata => &exports.grpc_initial_metadata,
                CallbackKind::GrpcReceiveTrailingMetadata => &exports.grpc_trailing_metadata,
                CallbackKind::GrpcClose => &exports.grpc_close,
                _ => &exports.grpc_receive,
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

/// Envoy's layout: the count, every time to live in seconds, every address with a NUL behind it.
fn envoy_records(records: &[DnsRecord]) -> Vec<u8> {
    if records.is_empty() {
        return Vec::new();
    }
    let mut bytes = wire(records.len()).to_le_bytes().to_vec();
    for record in records {
        let seconds = u32::try_from(record.ttl.as_secs()).unwrap_or(u32::MAX);
        bytes.extend(seconds.to_le_bytes());
    }
    for record in records {
        bytes.extend(record.address.to_string().into_bytes());
        bytes.push(0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_laid_out_as_envoy_does() {
        let record = |address: [u8; 4], ttl| DnsRecord { address: address.into(), ttl: Duration::from_secs(ttl) };

        let bytes = envoy_records(&[record([10, 0, 0, 1], 60), record([10, 0, 0, 2], 5)]);

        assert_eq!(bytes, b"\x02\0\0\0\x3c\0\0\0\x05\x00\x00\x0010.0.0.1\x0010.0.0.2\0");
        assert!(envoy_records(&[]).is_empty());
    }
}
