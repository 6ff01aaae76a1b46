//! Requests to other upstreams. They are handed to the embedder; answers come as later callbacks.

use std::time::Duration;

use crate::callout::{CalloutKind, CalloutRefusal, Fields, HttpCall, Request};
use crate::context::Contexts;
use crate::fault::Fault;
use crate::guest::Guest;
use crate::host::Host;
use crate::limits::{self, Quota};
use crate::memory::{GuestPtr, GuestSlice, ResultSlots};
use crate::state::{CalloutStatus, State};
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
    let upstream = state.read(memory, GuestSlice::new(upstream, upstream_size))?;
    let headers = state.read(memory, GuestSlice::new(headers, headers_size))?;
    let body = state.read(memory, GuestSlice::new(body, body_size))?;
    let trailers = state.read(memory, GuestSlice::new(trailers, trailers_size))?;
    let longest = state.settings.limits.callouts.timeout;
    let request = check_size(&[upstream], body).and_then(|()| {
        let timeout = patience(timeout, longest)?;
        let headers = fields(headers)?;
        complete(&headers)?;
        Ok(HttpCall { upstream: upstream.to_vec(), headers, body: body.to_vec(), trailers: fields(trailers)?, timeout })
    });
    let begun = begin(state, "proxy_http_call", CalloutKind::Http, request, |host, id, call| host.http_call(id, call));
    let id = begun.map_err(|why| answer(state, &why, http_status(&why)))?;
    let (memory, _) = guest.split()?;
    Ok(GuestPtr(call).write_u32(memory, id.get())?)
}

/// Two answers that SDKs survive here.
fn http_status(why: &CalloutRefusal) -> Status {
    match why {
        CalloutRefusal::UnknownUpstream { .. } | CalloutRefusal::Invalid(_) => Status::BadArgument,
        CalloutRefusal::Overflow(_) | CalloutRefusal::Unsupported => Status::InternalFailure,
    }
}

/// How the last callout ended, in a number and words. Outside the callback of a callout that is 0 and nothing, or what
/// the last callout that this entry could not begin was answered.
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

/// Opens a callout within the bounds and has the embedder begin it. What is refused is reported.
pub(super) fn begin<H: Host, C: Request>(
    state: &mut State<H>,
    hostcall: &'static str,
    kind: CalloutKind,
    request: Result<C, CalloutRefusal>,
    begin: impl FnOnce(&mut H, CalloutId, C) -> Result<(), CalloutRefusal>,
) -> Result<CalloutId, CalloutRefusal> {
    let begun = request.and_then(|call| {
        let bytes = call.bytes();
        admit(state, bytes)?;
        let id = state.callouts.open(kind, bytes);
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
        Err(why) => state.host.refused(hostcall, &Refusal::Callout(why.clone())),
    }
    begun
}

/// Fails when one more callout would pass a bound.
fn admit<H: Host>(state: &mut State<H>, bytes: usize) -> Result<(), CalloutRefusal> {
    let bounds = &state.settings.limits.callouts;
    let context = state.contexts.effective();
    let of_stream = state.contexts.life(context).map_or(0, |life| life.callouts);
    let over = if state.callouts.of_entry >= bounds.per_callback {
        "callouts of one callback"
    } else if context != Contexts::<H::Stream>::ROOT && of_stream >= bounds.per_stream {
        "callouts of one exchange"
    } else if state.callouts.count() >= bounds.in_flight {
        "callouts under way"
    } else if state.callouts.bytes().saturating_add(bytes) > limits::CALLOUT_BYTES {
        "bytes of callouts under way"
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

/// Lets `proxy_get_status` repeat the answer, with its reason.
pub(super) fn answer<H: Host>(state: &mut State<H>, why: &CalloutRefusal, status: Status) -> Status {
    state.status = CalloutStatus { code: status.into(), message: why.to_string() };
    status
}

/// Milliseconds as the guest gave them: negative ones are refused, 0 and too many are cut to `longest`.
pub(super) fn patience(milliseconds: u32, longest: Duration) -> Result<Duration, CalloutRefusal> {
    match i32::try_from(milliseconds) {
        Ok(0) => Ok(longest),
        Ok(_) => Ok(Duration::from_millis(milliseconds.into()).min(longest)),
        Err(_) => Err(CalloutRefusal::Invalid("a negative timeout".to_owned())),
    }
}

pub(super) fn check_size(names: &[&[u8]], body: &[u8]) -> Result<(), CalloutRefusal> {
    let over = |bytes: &[u8], bound: u32| u32::try_from(bytes.len()).map_or(true, |size| size > bound);
    if names.iter().any(|name| over(name, limits::STRING)) {
        return Err(CalloutRefusal::Overflow("bytes of a name"));
    }
    if over(body, limits::SLICE) {
        return Err(CalloutRefusal::Overflow("bytes of the body of a callout"));
    }
    Ok(())
}

pub(super) fn fields(bytes: &[u8]) -> Result<Fields, CalloutRefusal> {
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
        assert_eq!(patience(0x7fff_ffff, longest), Ok(longest));
        assert_eq!(patience(0x8000_0000, longest), Err(CalloutRefusal::Invalid("a negative timeout".to_owned())));
    }
}
