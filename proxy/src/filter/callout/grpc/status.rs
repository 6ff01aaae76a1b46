//! How a gRPC callout ends, in gRPC's numbers (gRPC over HTTP/2, "Responses"; "HTTP to gRPC Status Code Mapping").

use http::header::HeaderMap;
use http::{HeaderValue, StatusCode};

use crate::error::Reason;
use crate::filter::callout::grpc::frame::FrameError;
use crate::percent;
use crate::telemetry::metrics::CalloutOutcome;

const UNKNOWN: u32 = 2;
const DEADLINE_EXCEEDED: u32 = 4;
const RESOURCE_EXHAUSTED: u32 = 8;
const INTERNAL: u32 = 13;
const UNAVAILABLE: u32 = 14;
/// The largest number that has a meaning.
const LAST: u32 = 16;

/// The end of a callout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// 0–16.
    pub status: u32,
    /// Words for the guest.
    pub message: String,
    /// How it is counted: what the peer said is an answer, whatever it says.
    pub outcome: CalloutOutcome,
}

impl Ending {
    fn new(status: u32, message: &str, outcome: CalloutOutcome) -> Self {
        Self { status, message: message.to_owned(), outcome }
    }

    /// What the peer's fields say; `None` when they have no status.
    pub fn told(fields: &HeaderMap) -> Option<Self> {
        let status = fields.get("grpc-status")?;
        let number = status.to_str().ok().and_then(|digits| digits.parse().ok()).filter(|number| *number <= LAST);
        let message = fields.get("grpc-message").map(HeaderValue::as_bytes).unwrap_or_default();
        Some(Self::new(number.unwrap_or(UNKNOWN), &percent::decoded(message), CalloutOutcome::Ok))
    }

    /// A peer that answers like any web server.
    pub fn of_http(status: StatusCode) -> Self {
        let number = match status.as_u16() {
            400 => INTERNAL,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502 | 503 | 504 => UNAVAILABLE,
            _ => UNKNOWN,
        };
        Self::new(number, &format!("HTTP status {}", status.as_u16()), CalloutOutcome::Ok)
    }

    /// No answer came, for that reason.
    pub fn failed(reason: &Reason) -> Self {
        match reason {
            Reason::UpstreamConnect | Reason::UpstreamTls { sent: false, .. } => {
                Self::new(UNAVAILABLE, "connect", CalloutOutcome::Connect)
            }
            Reason::UpstreamOverflow | Reason::UpstreamBusy => {
                Self::new(UNAVAILABLE, "overflow", CalloutOutcome::Overflow)
            }
            Reason::UpstreamTimeout => Self::late(),
            Reason::UpstreamProtocol("head_too_large") => {
                Self::new(RESOURCE_EXHAUSTED, "too large", CalloutOutcome::TooLarge)
            }
            Reason::UpstreamProtocol(_) => Self::protocol("protocol"),
            _ => Self::new(UNAVAILABLE, "reset", CalloutOutcome::Reset),
        }
    }

    /// No whole answer came in time.
    pub fn late() -> Self {
        Self::new(DEADLINE_EXCEEDED, "timeout", CalloutOutcome::Timeout)
    }

    /// The guest sends faster than the peer reads.
    pub fn full() -> Self {
        Self::new(RESOURCE_EXHAUSTED, "too many bytes wait to be sent", CalloutOutcome::Overflow)
    }

    /// The peer breaks the rules.
    pub fn protocol(why: &str) -> Self {
        Self::new(INTERNAL, why, CalloutOutcome::Protocol)
    }

    /// The peer ended without a status.
    pub fn untold() -> Self {
        Self::new(UNKNOWN, "no grpc-status", CalloutOutcome::Protocol)
    }

    /// The peer answers with something else.
    pub fn not_grpc() -> Self {
        Self::new(UNKNOWN, "the answer is not application/grpc", CalloutOutcome::Protocol)
    }
}

impl From<FrameError> for Ending {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Flags => Self::protocol("a message is compressed, or is none"),
            FrameError::TooLong => Self::new(RESOURCE_EXHAUSTED, "too large", CalloutOutcome::TooLarge),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: &str, message: &str) -> Option<(u32, String)> {
        let mut fields = HeaderMap::new();
        fields.insert("grpc-status", status.parse().unwrap());
        fields.insert("grpc-message", message.parse().unwrap());
        Ending::told(&fields).map(|ending| (ending.status, ending.message))
    }

    #[test]
    fn a_status_that_means_nothing_is_unknown() {
        assert_eq!(told("0", ""), Some((0, String::new())));
        assert_eq!(told("16", "a"), Some((16, "a".to_owned())));
        for nonsense in ["17", "-1", "", "one", "4294967296"] {
            assert_eq!(told(nonsense, "a"), Some((2, "a".to_owned())), "{nonsense}");
        }
        assert_eq!(Ending::told(&HeaderMap::new()), None);
    }

    #[test]
    fn a_call_that_had_left_before_the_endpoint_refused_this_side_s_certificate_is_no_failure_to_connect() {
        let outcomes = [false, true].map(|sent| Ending::failed(&Reason::UpstreamTls { why: "refused", sent }).outcome);

        assert_eq!(outcomes, [CalloutOutcome::Connect, CalloutOutcome::Reset]);
    }

    #[test]
    fn messages_are_percent_decoded_where_they_are_encoded() {
        for (wire, text) in
            [("a%20b", "a b"), ("gr%C3%BCn", "grün"), ("100%", "100%"), ("%4", "%4"), ("%zz%41", "%zzA")]
        {
            assert_eq!(told("1", wire).unwrap().1, text);
        }
        assert_eq!(told("1", "%FF").unwrap().1, "\u{fffd}");
    }
}
