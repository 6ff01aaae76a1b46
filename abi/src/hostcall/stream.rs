//! What ends, answers or continues an exchange. Each is queued and takes effect after the guest returned.

use crate::fault::Fault;
use crate::guest::Guest;
use crate::host::{Host, LocalResponse, Stream};
use crate::limits;
use crate::memory::GuestSlice;
use crate::state::StreamAction;
use crate::storage::Refusal;
use crate::types::StreamType;

/// Lets a paused half go on.
pub(super) fn proxy_continue_stream<H: Host>(guest: &mut Guest<'_, H>, half: u32) -> Result<(), Fault> {
    let half = StreamType::try_from(half)?;
    guest.state().queue(StreamAction::Resume(half))
}

/// ABI 0.1.0.
pub(super) fn proxy_continue_request<H: Host>(guest: &mut Guest<'_, H>) -> Result<(), Fault> {
    guest.state().queue(StreamAction::Resume(StreamType::Request))
}

/// ABI 0.1.0.
pub(super) fn proxy_continue_response<H: Host>(guest: &mut Guest<'_, H>) -> Result<(), Fault> {
    guest.state().queue(StreamAction::Resume(StreamType::Response))
}

/// Ends the exchange.
pub(super) fn proxy_close_stream<H: Host>(guest: &mut Guest<'_, H>, half: u32) -> Result<(), Fault> {
    let half = StreamType::try_from(half)?;
    guest.state().queue(StreamAction::Close(half))
}

/// ABI 0.1.0: has the route chosen again before the request leaves.
pub(super) fn proxy_clear_route_cache<H: Host>(guest: &mut Guest<'_, H>) -> Result<(), Fault> {
    match guest.state().contexts.stream() {
        Some(stream) => stream.clear_route_cache(),
        None => guest.state().answer("proxy_clear_route_cache", Err(Refusal::Unavailable))?,
    }
    Ok(())
}

/// Answers the client in place of the upstream; the first answer of an entry wins.
#[expect(clippy::too_many_arguments, reason = "the specification has eight")]
pub(super) fn proxy_send_local_response<H: Host>(
    guest: &mut Guest<'_, H>,
    code: u32,
    details: u32,
    details_size: u32,
    body: u32,
    body_size: u32,
    headers: u32,
    headers_size: u32,
    grpc: u32,
) -> Result<(), Fault> {
    let (memory, state) = guest.split()?;
    let parts = Parts {
        details: state.read(memory, GuestSlice::new(details, details_size))?,
        body: state.read(memory, GuestSlice::new(body, body_size))?,
        headers: state.read(memory, GuestSlice::new(headers, headers_size))?,
    };
    match parts.check(code, grpc) {
        Ok(response) => state.respond(response),
        Err(why) => state.refuse_response(&why),
    }
}

/// A local response as it lies in guest memory.
struct Parts<'a> {
    details: &'a [u8],
    body: &'a [u8],
    headers: &'a [u8],
}

impl Parts<'_> {
    fn check(&self, code: u32, grpc: u32) -> Result<LocalResponse, Refusal> {
        let status = u16::try_from(code).ok().filter(|status| (200..=599).contains(status));
        let status = status.ok_or_else(|| Refusal::Value(":status".into()))?;
        if over(self.body, limits::SLICE) {
            return Err(Refusal::Limit("bytes of a local response"));
        }
        if over(self.details, limits::STRING) {
            return Err(Refusal::Limit("bytes of response details"));
        }
        let fields = super::headers::decode(self.headers)?;
        Ok(LocalResponse {
            status,
            details: self.details.to_vec(),
            headers: fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
            body: self.body.to_vec(),
            // SDKs pass −1 for "not gRPC", which arrives as the largest number.
            grpc_status: u8::try_from(grpc).ok().filter(|status| *status <= 16),
        })
    }
}

fn over(bytes: &[u8], bound: u32) -> bool {
    u32::try_from(bytes.len()).map_or(true, |size| size > bound)
}
