//! Requests to other upstreams. They are handed to the embedder; answers come as later callbacks.

use std::time::Duration;

use crate::callout::{CalloutKind, CalloutRefusal, Fields, GrpcCall, HttpCall};
use crate::context::Contexts;
use crate::fault::Fault;
use crate::guest::Guest;
use crate::host::Host;
use crate::limits::{self, Quota};
use crate::memory::{GuestPtr, GuestSlice, ResultSlots};
use crate::state::State;
use crate::storage::Refusal;
use crate::types::{CalloutId, Status};

/// Sends a request; the answer comes through `proxy_on_http_call_response`. A timeout of 0 is the longest one allowed.
#[expect(clippy::too_many_arguments, reason = "the specification has ten")]
pub(super) fn proxy_http_call<H: Host>(
    guest: &mut Guest<'_, H>,
    upstream: u32,
    upstream_size: u32,
    headers: u32,
    headers_size: u32,
    body: u32,
    body_size: u32,
    trailers: u32,
    trailers_size: u32,
    timeout: u32,
    call: u32,
) -> Result<(), Fault> {
    let (memory, state) = guest.split()?;
    GuestPtr(call).check(memory, 4)?;
    let upstream = GuestSlice::new(upstream, upstream_size).read(memory)?;
    let headers = GuestSlice::new(headers, headers_size).read(memory)?;
    let body = GuestSlice::new(body, body_size).read(memory)?;
    let trailers = GuestSlice::new(trailers, trailers_size).read(memory)?;
    let timeout = patience(timeout, state.settings.limits.callouts.timeout)?;
    let request = check_size(upstream, body).and_then(|()| {
        let headers = fields(headers)?;
        complete(&headers)?;
        Ok(HttpCall { upstream: upstream.to_vec(), headers, body: body.to_vec(), trailers: fields(trailers)?, timeout })
    });
    let begun = begin(state, "proxy_http_call", CalloutKind::Http, request, |host, id, call| host.http_call(id, call));
    let id = begun.map_err(|why| match why {
        CalloutRefusal::UnknownUpstream { .. } | CalloutRefusal::Invalid(_) => Status::BadArgument,
        CalloutRefusal::Overflow(_) | CalloutRefusal::Unsupported => Status::InternalFailure,
    })?;
    let (memory, _) = guest.split()?;
    Ok(GuestPtr(call).write_u32(memory, id.get())?)
}

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

/// Sends one message on an open stream, and closes our half after it when `end` is not 0.
pub(super) fn proxy_grpc_send<H: Host>(
    guest: &mut Guest<'_, H>,
    call: u32,
    message: u32,
    message_size: u32,
    end: u32,
) -> Result<(), Fault> {
    let (memory, state) = guest.split()?;
    let message = GuestSlice::new(message, message_size).read(memory)?;
    let id = find(state, call)?;
    if id.kind() != Some(CalloutKind::GrpcStream) || message_size > limits::SLICE {
        return Err(Status::BadArgument.into());
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
        state.host.grpc_close(id);
        return Ok(());
    }
    state.callouts.close(id);
    state.host.cancel_call(id);
    Ok(())
}

/// How the last callout ended, in a number and words. Outside the callback of a callout that is 0 and nothing, or why the
/// last callout of this entry was not begun.
pub(super) fn proxy_get_status<H: Host>(
    guest: &mut Guest<'_, H>,
    code: u32,
    data: u32,
    size: u32,
) -> Result<(), Fault> {
    let slots = ResultSlots::new(data, size);
    let (memory, state) = guest.split()?;
    slots.check(memory)?;
    GuestPtr(code).write_u32(memory, state.status.code)?;
    let message = state.status.message.clone();
    guest.give(slots, message.as_bytes())
}

fn grpc<H: Host>(
    guest: &mut Guest<'_, H>,
    hostcall: &'static str,
    parts: &GrpcParts,
    call: GuestPtr,
) -> Result<(), Fault> {
    let (memory, state) = guest.split()?;
    call.check(memory, 4)?;
    let upstream = parts.upstream.read(memory)?;
    let (service, method) = (parts.service.read(memory)?, parts.method.read(memory)?);
    let metadata = parts.metadata.read(memory)?;
    let message = parts.message.map(|message| message.read(memory)).transpose()?;
    let timeout = patience(parts.timeout, state.settings.limits.callouts.timeout)?;
    let (kind, timeout) = match message {
        Some(_) => (CalloutKind::GrpcCall, Some(timeout)),
        None => (CalloutKind::GrpcStream, None),
    };
    let request = check_size(upstream, message.unwrap_or_default())
        .and_then(|()| check_size(&[service, method].concat(), &[]))
        .and_then(|()| {
            Ok(GrpcCall {
                upstream: upstream.to_vec(),
                service: service.to_vec(),
                method: method.to_vec(),
                metadata: fields(metadata)?,
                message: message.map(<[u8]>::to_vec),
                timeout,
            })
        });
    let begun = begin(state, hostcall, kind, request, |host, id, call| host.grpc_call(id, call));
    let id = begun.map_err(|why| match why {
        // Envoy's answer to an upstream that it does not know, and one of two that SDKs survive here.
        CalloutRefusal::UnknownUpstream { .. } => Status::ParseFailure,
        _ => Status::InternalFailure,
    })?;
    let (memory, _) = guest.split()?;
    Ok(call.write_u32(memory, id.get())?)
}

/// Opens a callout within the bounds and has the embedder begin it. What is refused is reported, and readable as status.
fn begin<H: Host, C>(
    state: &mut State<H>,
    hostcall: &'static str,
    kind: CalloutKind,
    request: Result<C, CalloutRefusal>,
    begin: impl FnOnce(&mut H, CalloutId, C) -> Result<(), CalloutRefusal>,
) -> Result<CalloutId, CalloutRefusal> {
    let begun = request.and_then(|call| {
        admit(state)?;
        let id = state.callouts.open(kind);
        match begin(&mut state.host, id, call) {
            Ok(()) => Ok(id),
            Err(why) => {
                state.callouts.close(id);
                Err(why)
            }
        }
    });
    match &begun {
        Ok(_) => count(state),
        Err(why) => report(state, hostcall, why),
    }
    begun
}

/// Fails when one more callout would pass a bound.
fn admit<H: Host>(state: &mut State<H>) -> Result<(), CalloutRefusal> {
    let bounds = &state.settings.limits.callouts;
    let context = state.contexts.effective();
    let of_stream = state.contexts.life(context).map_or(0, |life| life.callouts);
    let over = if state.callouts.of_entry >= bounds.per_callback {
        "callouts of one callback"
    } else if context != Contexts::<H::Stream>::ROOT && of_stream >= bounds.per_stream {
        "callouts of one exchange"
    } else if state.callouts.count() >= bounds.in_flight {
        "callouts under way"
    } else {
        return Ok(());
    };
    state.host.over_quota(Quota::Callout);
    Err(CalloutRefusal::Overflow(over))
}

fn count<H: Host>(state: &mut State<H>) {
    state.callouts.of_entry += 1;
    let context = state.contexts.effective();
    if let Some(life) = state.contexts.life(context) {
        life.callouts += 1;
    }
}

fn report<H: Host>(state: &mut State<H>, hostcall: &'static str, why: &CalloutRefusal) {
    state.status.message = why.to_string();
    state.status.code = Status::InternalFailure.into();
    state.host.refused(hostcall, &Refusal::Callout(why.clone()));
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

/// Milliseconds as the guest gave them: negative ones are refused, 0 and too many are cut to `longest`.
fn patience(milliseconds: u32, longest: Duration) -> Result<Duration, Status> {
    match i32::try_from(milliseconds) {
        Ok(0) => Ok(longest),
        Ok(_) => Ok(Duration::from_millis(milliseconds.into()).min(longest)),
        Err(_) => Err(Status::BadArgument),
    }
}

fn check_size(name: &[u8], body: &[u8]) -> Result<(), CalloutRefusal> {
    let over = |bytes: &[u8], bound: u32| u32::try_from(bytes.len()).map_or(true, |size| size > bound);
    if over(name, limits::STRING) {
        return Err(CalloutRefusal::Overflow("bytes of a name"));
    }
    if over(body, limits::SLICE) {
        return Err(CalloutRefusal::Overflow("bytes of the body of a callout"));
    }
    Ok(())
}

fn fields(bytes: &[u8]) -> Result<Fields, CalloutRefusal> {
    let pairs = super::headers::decode(bytes).map_err(|why| CalloutRefusal::Invalid(why.to_string()))?;
    Ok(pairs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect())
}

fn complete(headers: &Fields) -> Result<(), CalloutRefusal> {
    for wanted in [":method", ":path", ":authority"] {
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes())) {
            return Err(CalloutRefusal::Invalid(format!("{wanted} is missing")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_cut_to_the_longest_and_never_none() {
        let longest = Duration::from_secs(5);

        assert_eq!(patience(0, longest), Ok(longest));
        assert_eq!(patience(20, longest), Ok(Duration::from_millis(20)));
        assert_eq!(patience(6_000, longest), Ok(longest));
        assert_eq!(patience(u32::MAX, longest), Err(Status::BadArgument));
    }
}
