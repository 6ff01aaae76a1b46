//! The wire enums of proxy-wasm 0.2.x and newtypes for every id; no behaviour beyond conversion.

use std::fmt;

/// A context of the guest: the root, or one exchange. Never zero, never reused within one VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContextId(pub(crate) u32);

impl ContextId {
    /// The number the guest sees.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// A metric as its VM names it; the low two bits are the kind (`MetricKind`), as in Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MetricId(pub u32);

/// A callout under way; its low two bits are the kind (`CalloutKind`), as in Envoy. Unique per VM until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CalloutId(pub(crate) u32);

impl CalloutId {
    /// The number the guest sees.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// A shared queue. One number means the same queue to every VM of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub(crate) u32);

impl QueueId {
    /// The number the guest sees.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// What a hostcall answers to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// The call did what it says.
    Ok = 0,
    /// The thing asked for does not exist.
    NotFound = 1,
    /// An argument is outside what the call allows.
    BadArgument = 2,
    /// Bytes handed over could not be decoded.
    SerializationFailure = 3,
    /// Text handed over could not be parsed.
    ParseFailure = 4,
    /// An expression could not be evaluated.
    BadExpression = 5,
    /// A pointer and length do not lie in guest memory.
    InvalidMemoryAccess = 6,
    /// The queue is empty.
    Empty = 7,
    /// The compare-and-swap number is not the current one.
    CasMismatch = 8,
    /// The result does not match.
    ResultMismatch = 9,
    /// The host could not do it.
    InternalFailure = 10,
    /// The connection is gone.
    BrokenConnection = 11,
    /// This host does not offer the call.
    Unimplemented = 12,
}

/// Severity of a line that a guest writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
    Critical = 5,
}

/// Which header map a hostcall speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[expect(missing_docs, reason = "the names say it")]
pub enum MapType {
    RequestHeaders = 0,
    RequestTrailers = 1,
    ResponseHeaders = 2,
    ResponseTrailers = 3,
    GrpcInitialMetadata = 4,
    GrpcTrailingMetadata = 5,
    CalloutResponseHeaders = 6,
    CalloutResponseTrailers = 7,
}

/// Which buffer a hostcall speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[expect(missing_docs, reason = "the names say it")]
pub enum BufferType {
    RequestBody = 0,
    ResponseBody = 1,
    DownstreamData = 2,
    UpstreamData = 3,
    CalloutResponseBody = 4,
    GrpcMessage = 5,
    VmConfiguration = 6,
    PluginConfiguration = 7,
    CallData = 8,
}

/// Which half of an exchange or connection `continue` and `close` speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[expect(missing_docs, reason = "the names say it")]
pub enum StreamType {
    Request = 0,
    Response = 1,
    Downstream = 2,
    Upstream = 3,
}

/// Who closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "the names say it")]
pub enum PeerType {
    Unknown = 0,
    Local = 1,
    Remote = 2,
}

/// What a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[expect(missing_docs, reason = "the names say it")]
pub enum MetricKind {
    Counter = 0,
    Gauge = 1,
    Histogram = 2,
}

/// What a header callback wants: Envoy's extended answers are kept apart so that an embedder may honour them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Go on with the next filter.
    Continue,
    /// Hold this half of the exchange until the guest continues it.
    /// On headers: hold headers, deliver no body. On a body: keep the bytes, call again with all of them.
    Pause,
    /// On headers: hold the whole message, even for an embedder whose `Pause` holds headers alone (Envoy's
    /// StopAllIteration, in both of its forms).
    PauseAll,
    /// On a body: hold, and do not keep the bytes of this call (Envoy's StopIterationNoBuffer).
    PauseDroppingBytes,
}

/// The generation of the interface that a module names by its marker export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AbiVersion {
    /// Marker `proxy_abi_version_0_1_0`: an absent header value reads as empty.
    V0_1_0,
    /// Marker `proxy_abi_version_0_2_0`.
    V0_2_0,
    /// Marker `proxy_abi_version_0_2_1`, and `…_0_2_100`, which is the same with extra imports.
    V0_2_1,
}

impl fmt::Display for AbiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AbiVersion::V0_1_0 => "0.1.0",
            AbiVersion::V0_2_0 => "0.2.0",
            AbiVersion::V0_2_1 => "0.2.1",
        })
    }
}

/// A number of the guest that names no value of an enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{number} is no {what}")]
pub struct UnknownNumber {
    /// The enum, in words.
    pub what: &'static str,
    /// The number that came.
    pub number: u32,
}

/// Numbers an enum from zero: the position in the list is the number on the wire.
macro_rules! numbered {
    ($type:ident, $what:literal, [$($variant:ident),+ $(,)?]) => {
        impl TryFrom<u32> for $type {
            type Error = UnknownNumber;

            fn try_from(number: u32) -> Result<Self, UnknownNumber> {
                const ALL: &[$type] = &[$($type::$variant),+];
                let found = usize::try_from(number).ok().and_then(|index| ALL.get(index));
                found.copied().ok_or(UnknownNumber { what: $what, number })
            }
        }

        impl From<$type> for u32 {
            fn from(value: $type) -> u32 {
                value as u32
            }
        }
    };
}

numbered!(
    Status,
    "status",
    [
        Ok,
        NotFound,
        BadArgument,
        SerializationFailure,
        ParseFailure,
        BadExpression,
        InvalidMemoryAccess,
        Empty,
        CasMismatch,
        ResultMismatch,
        InternalFailure,
        BrokenConnection,
        Unimplemented,
    ]
);
numbered!(LogLevel, "log level", [Trace, Debug, Info, Warn, Error, Critical]);
numbered!(
    MapType,
    "header map",
    [
        RequestHeaders,
        RequestTrailers,
        ResponseHeaders,
        ResponseTrailers,
        GrpcInitialMetadata,
        GrpcTrailingMetadata,
        CalloutResponseHeaders,
        CalloutResponseTrailers,
    ]
);
numbered!(
    BufferType,
    "buffer",
    [
        RequestBody,
        ResponseBody,
        DownstreamData,
        UpstreamData,
        CalloutResponseBody,
        GrpcMessage,
        VmConfiguration,
        PluginConfiguration,
        CallData,
    ]
);
numbered!(StreamType, "stream type", [Request, Response, Downstream, Upstream]);
numbered!(MetricKind, "metric kind", [Counter, Gauge, Histogram]);

impl MapType {
    /// True for the maps of callouts, which exist during one callback of the root and are never written.
    pub(crate) fn is_handed(self) -> bool {
        u32::from(self) >= u32::from(MapType::GrpcInitialMetadata)
    }
}

impl BufferType {
    /// True for the buffers that exist during one callback of the root and are never written.
    pub(crate) fn is_handed(self) -> bool {
        matches!(self, BufferType::CalloutResponseBody | BufferType::GrpcMessage | BufferType::CallData)
    }
}

impl MetricId {
    /// What the metric counts, from the low two bits; `None` for the fourth pattern, which names nothing.
    pub fn kind(self) -> Option<MetricKind> {
        MetricKind::try_from(self.0 & 3).ok()
    }
}

impl Action {
    /// Reads the answer of a header callback: everything but "continue" holds the message.
    pub(crate) fn of_headers(answer: u32) -> Action {
        match answer {
            // 2 is Envoy's "continue and end the stream", which Envoy itself treats as "continue".
            0 | 2 => Action::Continue,
            1 => Action::Pause,
            _ => Action::PauseAll,
        }
    }

    /// Reads the answer of a body callback: 0 forwards, 1 and 2 keep the bytes, everything else drops them.
    pub(crate) fn of_body(answer: u32) -> Action {
        match answer {
            0 => Action::Continue,
            1 | 2 => Action::Pause,
            _ => Action::PauseDroppingBytes,
        }
    }

    /// Reads the answer of a trailer callback.
    pub(crate) fn of_trailers(answer: u32) -> Action {
        if answer == 0 { Action::Continue } else { Action::Pause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_enum_counts_from_zero_and_refuses_the_number_after_its_last() {
        for number in 0..13 {
            assert_eq!(Status::try_from(number).map(u32::from), Ok(number));
        }
        assert!(Status::try_from(13).is_err());
        assert_eq!(LogLevel::try_from(5), Ok(LogLevel::Critical));
        assert_eq!(LogLevel::try_from(6), Err(UnknownNumber { what: "log level", number: 6 }));
        assert_eq!(MapType::try_from(7), Ok(MapType::CalloutResponseTrailers));
        assert!(MapType::try_from(8).is_err());
        assert_eq!(BufferType::try_from(8), Ok(BufferType::CallData));
        assert!(BufferType::try_from(9).is_err());
        assert_eq!(StreamType::try_from(3), Ok(StreamType::Upstream));
        assert!(StreamType::try_from(4).is_err());
        assert_eq!(MetricKind::try_from(2), Ok(MetricKind::Histogram));
        assert!(MetricKind::try_from(3).is_err());
    }

    #[test]
    fn the_low_two_bits_of_a_metric_id_are_its_kind() {
        assert_eq!(MetricId(4).kind(), Some(MetricKind::Counter));
        assert_eq!(MetricId(9).kind(), Some(MetricKind::Gauge));
        assert_eq!(MetricId(2).kind(), Some(MetricKind::Histogram));
        assert_eq!(MetricId(7).kind(), None);
    }

    #[test]
    fn extended_answers_of_older_guests_keep_their_meaning() {
        assert_eq!(Action::of_headers(2), Action::Continue);
        assert_eq!(Action::of_headers(1), Action::Pause);
        assert_eq!(Action::of_headers(4), Action::PauseAll);
        assert_eq!(Action::of_body(2), Action::Pause);
        assert_eq!(Action::of_body(3), Action::PauseDroppingBytes);
        assert_eq!(Action::of_trailers(1), Action::Pause);
    }
}
