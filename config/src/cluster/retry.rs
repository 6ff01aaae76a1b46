//! Retries: after what a request is sent once more, how often, and at what cost.
//! Whether the request at hand may be sent again is decided by the proxy.

use std::time::Duration;

use crate::cluster::status::Statuses;
use crate::ratio::Ratio;
use crate::scalar::Word;
use crate::unit::ByteSize;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// After what.
    pub on: RetryOn,
    /// The most attempts, the first one included.
    pub tries: usize,
    /// The longest wait for the head of the answer to one attempt.
    pub try_timeout: Option<Duration>,
    /// True where requests are repeated after a byte was sent although carrying them out twice may do harm.
    pub non_idempotent: bool,
    /// The most bytes of a body that are kept to be sent again; a request that sent more is not repeated.
    pub replay: ByteSize,
    /// The part of the requests under way that may be repetitions.
    pub budget: Ratio,
    /// The wait before the first repetition, on the average; doubled for each further one, to ten times as much.
    pub backoff: Duration,
}

/// What a request is repeated after.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetryOn {
    /// No connection.
    pub connect: bool,
    /// The endpoint says that it did not look at the request.
    pub refused_stream: bool,
    /// The connection broke, or what came was no answer.
    pub reset: bool,
    /// No answer within [`Retry::try_timeout`].
    pub timeout: bool,
    /// These statuses.
    pub statuses: Statuses,
    /// These statuses of gRPC, where they come without an answer before them.
    pub grpc: Vec<u8>,
}

impl Retry {
    /// [`Retry::tries`] when none is written.
    pub const TRIES: usize = 2;
    /// [`Retry::replay`] when none is written.
    pub const REPLAY: ByteSize = ByteSize::kib(64);
    /// [`Retry::budget`] when none is written.
    pub const BUDGET: Ratio = Ratio::of_percent(20);
    /// [`Retry::backoff`] when none is written.
    pub const BACKOFF: Duration = Duration::from_millis(25);
    /// The words of [`Retry::on`] when none is written.
    pub(crate) const ON: [RetryWord; 2] = [RetryWord::Connect, RetryWord::RefusedStream];
}

/// What a request may be repeated after, apart from single statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryWord {
    Connect,
    RefusedStream,
    Reset,
    Timeout,
    ServerError,
    GrpcCancelled,
    GrpcDeadlineExceeded,
    GrpcResourceExhausted,
    GrpcInternal,
    GrpcUnavailable,
}

impl RetryWord {
    /// The number of a status of gRPC.
    pub(crate) fn grpc(self) -> Option<u8> {
        match self {
            RetryWord::GrpcCancelled => Some(1),
            RetryWord::GrpcDeadlineExceeded => Some(4),
            RetryWord::GrpcResourceExhausted => Some(8),
            RetryWord::GrpcInternal => Some(13),
            RetryWord::GrpcUnavailable => Some(14),
            _ => None,
        }
    }
}

impl Word for RetryWord {
    const WORDS: &'static [(&'static str, RetryWord)] = &[
        ("connect", RetryWord::Connect),
        ("refused-stream", RetryWord::RefusedStream),
        ("reset", RetryWord::Reset),
        ("timeout", RetryWord::Timeout),
        ("5xx", RetryWord::ServerError),
        ("grpc-cancelled", RetryWord::GrpcCancelled),
        ("grpc-deadline-exceeded", RetryWord::GrpcDeadlineExceeded),
        ("grpc-resource-exhausted", RetryWord::GrpcResourceExhausted),
        ("grpc-internal", RetryWord::GrpcInternal),
        ("grpc-unavailable", RetryWord::GrpcUnavailable),
    ];
    const EXPECTED: &'static str = "connect, refused-stream, reset, timeout, 5xx, a status such as 503, \
         grpc-cancelled, grpc-deadline-exceeded, grpc-resource-exhausted, grpc-internal or grpc-unavailable";
}

/// Whether something is done at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Switch {
    On,
    #[default]
    Off,
}

impl Word for Switch {
    const WORDS: &'static [(&'static str, Switch)] = &[("on", Switch::On), ("off", Switch::Off)];
    const EXPECTED: &'static str = "\"on\" or \"off\"";
}
