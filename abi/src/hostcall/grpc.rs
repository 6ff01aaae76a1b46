//! gRPC calls and streams to other upstreams. They are handed to the embedder; what comes of them comes as later callbacks.

use super::callout::{answer, begin, check_size, fields, patience};
use crate::callout::{CalloutKind, CalloutRefusal, GrpcCall};
use crate::fault::Fault;
use crate::guest::Guest;
use crate::host::Host;
use crate::limits;
use crate::memory::{GuestPtr, GuestSlice};
use crate::state::State;
use crate::storage::Refusal;
use crate::types::{CalloutId, Status};

/// Where the parts of a gRPC callout lie.
struct GrpcParts {
    upstream: GuestSlice,
    service: GuestSlice,
    method: GuestSlice,
    metadata: GuestSlice,
    /// Absent for a stream, whose messages follow.
    message: Option<GuestSlice>,
    timeout: u32,
}

/// Calls a method with one message; the answer comes through `proxy_on_grpc_receive` or `proxy_on_grpc_close`.
#[expect(clippy::too_many_arguments, reason = "the specification has twelve")]
pub(super) fn proxy_grpc_call<H: Host>(
    guest: &mut Guest<'_, H>,
    upstream: u32,
    upstream_size: u32,
    service: u32,
    service_size: u32,
    method: u32,
    method_size: u32,
    metadata: u32,
    metadata_size: u32,
    message: u32,
    message_size: u32,
    timeout: u32,
    call: u32,
) -> Result<(), Fault> {
    let parts = GrpcParts {
        upstream: GuestSlice::new(upstream, upstream_size),
        service: GuestSlice::new(service, service_size),
        method: GuestSlice::new(method, method_size),
        metadata: GuestSlice::new(metadata, metadata_size),
        message: Some(GuestSlice::new(message, message_size)),
        timeout,
    };
    grpc(guest, "proxy_grpc_call", &parts, GuestPtr(call))
}

/// The same without initial metadata, as older C++ and AssemblyScript SDKs import it.
#[expect(clippy::too_many_arguments, reason = "old SDKs have ten")]
pub(super) fn proxy_grpc_call_without_metadata<H: Host>(
    guest: &mut Guest<'_, H>,
    upstream: u32,
    upstream_size: u32,
    service: u32,
    service_size: u32,
    method: u32,
    method_size: u32,
    message: u32,
    message_size: u32,
    timeout: u32,
    call: u32,
) -> Result<(), Fault> {
    proxy_grpc_call(
        guest,
        upstream,
        upstream_size,
        service,
        service_size,
        method,
        method_size,
        0,
        0,
        message,
        message_size,
        timeout,
        call,
    )
}

/// Opens a stream to a method; messages go with `proxy_grpc_send` and come through `proxy_on_grpc_receive`.
#[expect(clippy::too_many_arguments, reason = "the specification has nine")]
pub(super) fn proxy_grpc_stream<H: Host>(
    guest: &mut Guest<'_, H>,
    upstream: u32,
    upstream_size: u32,
    service: u32,
    service_size: u32,
    method: u32,
    method_size: u32,
    metadata: u32,
    metadata_size: u32,
    call: u32,
) -> Result<(), Fault> {
    let parts = GrpcParts {
        upstream: GuestSlice::new(upstream, upstream_size),
        service: GuestSlice::new(service, service_size),
        method: GuestSlice::new(method, method_size),
        metadata: GuestSlice::new(metadata, metadata_size),
        message: None,
        timeout: 0,
    };
    grpc(guest, "proxy_grpc_stream", &parts, GuestPtr(call))
}

/// The same without initial metadata.
#[expect(clippy::too_many_arguments, reason = "old SDKs have seven")]
pub(super) fn proxy_grpc_stream_without_metadata<H: Host>(
    guest: &mut Guest<'_, H>,
    upstream: u32,
    upstream_size: u32,
    service: u32,
    service_size: u32,
    method: u32,
    method_size: u32,
    call: u32,
) -> Result<(), Fault> {
    proxy_grpc_stream(guest, upstream, upstream_size, service, service_size, method, method_size, 0, 0, call)
}

/// Sends one message on an open stream, and closes our half after it when `end` is not 0. After that, there is no more
/// to send on.
pub(super) fn proxy_grpc_send<H: Host>(
    guest: &mut Guest<'_, H>,
    call: u32,
    message: u32,
    message_size: u32,
    end: u32,
) -> Result<(), Fault> {
    let (memory, state) = guest.split()?;
    let message = state.read(memory, GuestSlice::new(message, message_size))?;
    let id = find(state, call)?;
    if id.kind() != Some(CalloutKind::GrpcStream) || !state.callouts.takes_messages(id) {
        return Err(Status::BadArgument.into());
    }
    if message_size > limits::SLICE {
        state.host.refused("proxy_grpc_send", &Refusal::Limit("bytes of a message"));
        return Err(Status::BadArgument.into());
    }
    if end != 0 {
        state.callouts.half_close(id);
    }
    state.host.grpc_send(id, message.to_vec(), end != 0);
    Ok(())
}

/// Drops a gRPC callout; no callback follows.
pub(super) fn proxy_grpc_cancel<H: Host>(guest: &mut Guest<'_, H>, call: u32) -> Result<(), Fault> {
    let state = guest.state();
    let id = find(state, call)?;
    state.callouts.close(id);
    state.host.cancel_call(id);
    Ok(())
}

/// Closes our half of a stream; a unary call is dropped.
pub(super) fn proxy_grpc_close<H: Host>(guest: &mut Guest<'_, H>, call: u32) -> Result<(), Fault> {
    let state = guest.state();
    let id = find(state, call)?;
    if id.kind() == Some(CalloutKind::GrpcStream) {
        if state.callouts.half_close(id) {
            state.host.grpc_close(id);
        }
        return Ok(());
    }
    state.callouts.close(id);
    state.host.cancel_call(id);
    Ok(())
}

fn grpc<H: Host>(
    guest: &mut Guest<'_, H>,
    hostcall: &'static str,
    parts: &GrpcParts,
    call: GuestPtr,
) -> Result<(), Fault> {
    let (memory, state) = guest.split()?;
    call.check(memory, 4)?;
    let upstream = state.read(memory, parts.upstream)?;
    let (service, method) = (state.read(memory, parts.service)?, state.read(memory, parts.method)?);
    let metadata = state.read(memory, parts.metadata)?;
    let message = parts.message.map(|message| state.read(memory, message)).transpose()?;
    let longest = state.settings.limits.callouts.timeout;
    let kind = if message.is_some() { CalloutKind::GrpcCall } else { CalloutKind::GrpcStream };
    let request = check_size(&[upstream, service, method], message.unwrap_or_default()).and_then(|()| {
        let timeout = patience(parts.timeout, longest)?;
        Ok(GrpcCall {
            upstream: upstream.to_vec(),
            service: service.to_vec(),
            method: method.to_vec(),
            metadata: fields(metadata)?,
            message: message.map(<[u8]>::to_vec),
            timeout: message.is_some().then_some(timeout),
        })
    });
    let begun = begin(state, hostcall, kind, request, |host, id, call| host.grpc_call(id, call));
    let id = begun.map_err(|why| {
        let status = match why {
            // Envoy's answer to an upstream that it does not know, and one of two that SDKs survive here.
            CalloutRefusal::UnknownUpstream { .. } => Status::ParseFailure,
            _ => Status::InternalFailure,
        };
        answer(state, &why, status)
    })?;
    let (memory, _) = guest.split()?;
    Ok(call.write_u32(memory, id.get())?)
}

/// An open gRPC callout. HTTP callouts cannot be named: the specification has no call for that.
fn find<H: Host>(state: &State<H>, call: u32) -> Result<CalloutId, Status> {
    let id = CalloutId(call);
    match id.kind() {
        Some(CalloutKind::GrpcCall | CalloutKind::GrpcStream) if state.callouts.is_open(id) => Ok(id),
        Some(CalloutKind::GrpcCall | CalloutKind::GrpcStream) => Err(Status::NotFound),
        _ => Err(Status::BadArgument),
    }
}
