//! Why an exchange did not end with the upstream's own answer: one enum, from which status, blame and log words follow.
//!
//! It does not carry sources: what an operator needs is in the access log's `reason` and in one log line where it happened.

use std::fmt;

use http::StatusCode;
use tollgate_abi::Cause;

/// Whose fault it is: decides who is told and how loudly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client sent something impossible, too slow or too large, or left.
    Downstream,
    /// The upstream refused, failed or was too slow.
    Upstream,
    /// A filter failed.
    Filter,
    /// The proxy itself.
    Internal,
}

/// Why Tollgate answered by itself, or ended the exchange without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No route matches.
    NoRoute,
    /// The request is not one that may be forwarded; the words say why.
    BadRequest(&'static str),
    /// The request target is over its limit.
    TargetTooLong,
    /// The header section, or the trailer section, is over its limit.
    HeadersTooLarge,
    /// The version of the protocol is none that is spoken here.
    UnknownVersion,
    /// The request expects what nobody here knows how to do.
    UnknownExpectation,
    /// The client left, or its body broke off.
    ClientGone,
    /// The client or the exchange as a whole took too long.
    RequestTimeout,
    /// The client sent its body too slowly.
    SlowBody,
    /// The client took nothing of the answer for too long.
    SlowReader,
    /// The connection was meant for this proxy itself.
    DestinationLoop,
    /// The connection was meant for an address that takes permission.
    DestinationForbidden,
    /// No endpoint took the connection.
    UpstreamConnect,
    /// An endpoint took the connection, and TLS came to nothing.
    UpstreamTls {
        /// What was wrong, in a word.
        why: &'static str,
        /// True when hands were shaken and the request had left before the endpoint said so.
        sent: bool,
    },
    /// The upstream's connection limit or queue is full.
    UpstreamOverflow,
    /// None of the upstream's connections was free in time, and it may have no more.
    UpstreamBusy,
    /// The upstream closed or reset before its answer was whole.
    UpstreamReset,
    /// The upstream's answer is not HTTP that may be passed on.
    UpstreamProtocol(&'static str),
    /// The upstream's answer did not begin in time.
    UpstreamTimeout,
    /// Nothing moved in either direction for too long.
    StreamIdle,
    /// A filter paused and nobody continued in time.
    FilterPaused(String),
    /// A filter would hold more exchanges paused than it may, and its policy is `deny`.
    FilterPausesTooMany(String),
    /// A filter had used its share of the worker while others waited, and its policy is `deny`.
    FilterOverShare(String),
    /// A filter failed and its policy is `deny`.
    FilterFailed {
        /// The plugin's name.
        plugin: String,
        /// What happened to its VM.
        cause: Cause,
    },
    /// A filter asked for a local response that could not be sent.
    LocalResponseRefused(String),
    /// A filter answered in place of the upstream.
    FilterResponded(String),
    /// A filter closed the exchange.
    FilterClosed(String),
    /// A filter held more of a body than its limit.
    BodyOverLimit {
        /// True for the request's body.
        request: bool,
    },
    /// The process is short of memory.
    Overloaded,
    /// A broken invariant of ours; the exchange is ended, the process goes on.
    Internal(&'static str),
}

impl Reason {
    /// The status that the client gets when headers have not left yet.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::FilterResponded(_) => StatusCode::OK,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UnknownVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::UnknownExpectation => StatusCode::EXPECTATION_FAILED,
            Self::ClientGone => StatusCode::BAD_REQUEST,
            Self::RequestTimeout | Self::SlowBody | Self::SlowReader => StatusCode::REQUEST_TIMEOUT,
            Self::UpstreamConnect | Self::UpstreamTls { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamOverflow | Self::UpstreamBusy | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::FilterFailed { .. } | Self::FilterPausesTooMany(_) | Self::FilterOverShare(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::DestinationForbidden => StatusCode::FORBIDDEN,
            Self::DestinationLoop | Self::UpstreamReset | Self::UpstreamProtocol(_) => StatusCode::BAD_GATEWAY,
            Self::UpstreamTimeout | Self::StreamIdle | Self::FilterPaused(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::BodyOverLimit { request: true } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyOverLimit { request: false } => StatusCode::BAD_GATEWAY,
            Self::LocalResponseRefused(_) | Self::FilterClosed(_) | Self::Internal(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// Whose fault it is.
    pub fn side(&self) -> Side {
        match self {
            Self::NoRoute | Self::BadRequest(_) | Self::TargetTooLong | Self::HeadersTooLarge => Side::Downstream,
            Self::UnknownVersion | Self::UnknownExpectation => Side::Downstream,
            Self::ClientGone | Self::RequestTimeout | Self::BodyOverLimit { request: true } => Side::Downstream,
            Self::SlowBody | Self::SlowReader => Side::Downstream,
            Self::UpstreamConnect | Self::UpstreamOverflow | Self::UpstreamReset => Side::Upstream,
            Self::UpstreamTls { .. } | Self::UpstreamBusy => Side::Upstream,
            Self::DestinationForbidden => Side::Downstream,
            Self::DestinationLoop => Side::Internal,
            Self::UpstreamProtocol(_) | Self::UpstreamTimeout | Self::StreamIdle => Side::Upstream,
            Self::BodyOverLimit { request: false } => Side::Upstream,
            Self::FilterPaused(_) | Self::FilterFailed { .. } | Self::FilterResponded(_) => Side::Filter,
            Self::LocalResponseRefused(_) | Self::FilterClosed(_) | Self::FilterPausesTooMany(_) => Side::Filter,
            Self::FilterOverShare(_) => Side::Filter,
            Self::Internal(_) | Self::Overloaded => Side::Internal,
        }
    }

    /// True when no connection could be made, so that the request is whole.
    pub fn is_unreached(&self) -> bool {
        matches!(self, Self::UpstreamConnect | Self::UpstreamTls { sent: false, .. })
    }

    /// True when the client's connection must not be used again: its framing is in doubt, or there is no memory for it.
    pub fn closes(&self) -> bool {
        matches!(self, Self::BadRequest(_) | Self::TargetTooLong | Self::HeadersTooLarge)
            || matches!(self, Self::RequestTimeout | Self::SlowBody | Self::SlowReader)
            || matches!(self, Self::UnknownVersion | Self::UnknownExpectation | Self::Overloaded)
    }
}

/// The words of the access log: `upstream_connect`, `filter_trap:auth`.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute => f.write_str("no_route"),
            Self::BadRequest(why) => write!(f, "bad_request:{why}"),
            Self::TargetTooLong => f.write_str("target_too_long"),
            Self::HeadersTooLarge => f.write_str("headers_too_large"),
            Self::UnknownVersion => f.write_str("unknown_version"),
            Self::UnknownExpectation => f.write_str("unknown_expectation"),
            Self::ClientGone => f.write_str("client_gone"),
            Self::RequestTimeout => f.write_str("request_timeout"),
            Self::SlowBody => f.write_str("slow_body"),
            Self::SlowReader => f.write_str("slow_reader"),
            Self::DestinationLoop => f.write_str("loop"),
            Self::DestinationForbidden => f.write_str("destination_forbidden"),
            Self::UpstreamConnect => f.write_str("upstream_connect"),
            Self::UpstreamTls { why, .. } => write!(f, "upstream_tls:{why}"),
            Self::UpstreamOverflow => f.write_str("upstream_overflow"),
            Self::UpstreamBusy => f.write_str("upstream_pool_timeout"),
            Self::UpstreamReset => f.write_str("upstream_reset"),
            Self::UpstreamProtocol(why) => write!(f, "upstream_protocol:{why}"),
            Self::UpstreamTimeout => f.write_str("upstream_timeout"),
            Self::StreamIdle => f.write_str("stream_idle"),
            Self::FilterPaused(plugin) => write!(f, "filter_paused:{plugin}"),
            Self::FilterPausesTooMany(plugin) => write!(f, "filter_pauses_too_many:{plugin}"),
            Self::FilterOverShare(plugin) => write!(f, "filter_over_share:{plugin}"),
            Self::FilterFailed { plugin, cause } => write!(f, "filter_{}:{plugin}", cause.as_str()),
            Self::LocalResponseRefused(plugin) => write!(f, "filter_local_response_refused:{plugin}"),
            Self::FilterResponded(plugin) => write!(f, "filter_responded:{plugin}"),
            Self::FilterClosed(plugin) => write!(f, "filter_closed:{plugin}"),
            Self::BodyOverLimit { request: true } => f.write_str("request_body_over_limit"),
            Self::BodyOverLimit { request: false } => f.write_str("response_body_over_limit"),
            Self::Overloaded => f.write_str("overloaded"),
            Self::Internal(what) => write!(f, "internal:{what}"),
        }
    }
}

/// What a body or a service gives to hyper to end a transport abnormally; the reason is kept by the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the exchange was ended by the proxy")]
pub struct Abort;

/// What a body ends with whose framing is not as it should be: a part of what hyper says of the transport.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub Reason);

impl Malformed {
    /// The reason, if that is what `error` comes from.
    pub fn found_in<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Reason> {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        causes.find_map(|cause| {
            let inner = cause.downcast_ref::<std::io::Error>()?.get_ref()?;
            inner.downcast_ref().map(|Self(reason)| reason)
        })
    }
}
