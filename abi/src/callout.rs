//! Requests that a guest makes through the embedder: what is asked, what comes back, and which are under way.
//!
//! Nothing here connects anywhere. The embedder sends, and brings answers with `Vm::http_call_ended` and `Vm::grpc_event`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use crate::storage::VecHeaderMap;
use crate::types::CalloutId;

/// Fields in order, as the guest gave them: not yet checked by the embedder.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What `proxy_http_call` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCall {
    /// The name of an upstream in the embedder's own terms.
    pub upstream: Vec<u8>,
    /// Fields; `:method`, `:path` and `:authority` are among them.
    pub headers: Fields,
    /// The body; empty is none.
    pub body: Vec<u8>,
    /// Trailers; empty is none.
    pub trailers: Fields,
    /// How long the whole answer may take; never zero and within `CalloutLimits::timeout`.
    pub timeout: Duration,
}

/// What `proxy_grpc_call` and `proxy_grpc_stream` ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcCall {
    /// The name of an upstream, or a serialised `envoy.config.core.v3.GrpcService` that holds one.
    pub upstream: Vec<u8>,
    /// The service with its package.
    pub service: Vec<u8>,
    /// The method.
    pub method: Vec<u8>,
    /// Fields to send before the first message.
    pub metadata: Fields,
    /// The one message of a unary call, without its length prefix; `None` opens a stream.
    pub message: Option<Vec<u8>>,
    /// How long a unary call may take, within `CalloutLimits::timeout`; `None` for a stream.
    pub timeout: Option<Duration>,
}

/// A callout as it is counted.
pub(crate) trait Request {
    /// Bytes that the host keeps for it until it ends.
    fn bytes(&self) -> usize;
}

impl Request for HttpCall {
    fn bytes(&self) -> usize {
        self.upstream.len() + of_fields(&self.headers) + self.body.len() + of_fields(&self.trailers)
    }
}

impl Request for GrpcCall {
    fn bytes(&self) -> usize {
        let names = self.upstream.len() + self.service.len() + self.method.len();
        names + of_fields(&self.metadata) + self.message.as_ref().map_or(0, Vec::len)
    }
}

fn of_fields(fields: &Fields) -> usize {
    fields.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// The whole answer of an HTTP callout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpReply {
    /// Fields, `:status` first.
    pub headers: VecHeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// Trailers.
    pub trailers: VecHeaderMap,
}

/// What happened to a gRPC callout.
///
/// A unary call that succeeds is its metadata, if any, then `Message`, which ends it. One that fails is `Closed`.
/// A stream is initial metadata, messages, trailing metadata and `Closed`, which ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrpcEvent {
    /// Fields before the first message.
    InitialMetadata(VecHeaderMap),
    /// One message, without its length prefix.
    Message(Vec<u8>),
    /// Fields after the last message.
    TrailingMetadata(VecHeaderMap),
    /// The peer ended it, or it failed.
    Closed {
        /// 0–16.
        status: u32,
        /// Words for `proxy_get_status`.
        message: String,
    },
}

/// Why a callout was not begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalloutRefusal {
    /// No upstream of that name may be called by this plugin.
    #[error("unknown upstream {name:?}; this filter may call: {}", list(known))]
    UnknownUpstream {
        /// The name that was asked for.
        name: String,
        /// The names that would do.
        known: Vec<String>,
    },
    /// The request is not one that can be sent.
    #[error("not a request that can be sent: {0}")]
    Invalid(String),
    /// A bound of the VM or of the embedder is reached.
    #[error("over the limit: {0}")]
    Overflow(&'static str),
    /// The embedder makes no such calls.
    #[error("this host makes no such calls")]
    Unsupported,
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Why a callout that was begun brought no answer. The guest reads the word through `proxy_get_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CalloutFailure {
    /// The answer was not whole in time.
    #[error("timeout")]
    Timeout,
    /// No endpoint took the connection.
    #[error("connect")]
    Connect,
    /// The upstream closed or reset before its answer was whole.
    #[error("reset")]
    Reset,
    /// The upstream's connections and queue are full.
    #[error("overflow")]
    Overflow,
    /// The answer is not what the protocol allows.
    #[error("protocol")]
    Protocol,
    /// The answer is larger than the embedder lets a filter hold.
    #[error("too large")]
    TooLarge,
}

/// The kind of a callout, as the low two bits of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum CalloutKind {
    Http = 0,
    GrpcCall = 1,
    GrpcStream = 2,
}

impl CalloutId {
    /// What it is; `None` for a number that no callout can have.
    pub fn kind(self) -> Option<CalloutKind> {
        match self.0 & 3 {
            0 => Some(CalloutKind::Http),
            1 => Some(CalloutKind::GrpcCall),
            2 => Some(CalloutKind::GrpcStream),
            _ => None,
        }
    }
}

/// The callouts of one VM that have begun and not ended.
#[derive(Debug, Default)]
pub(crate) struct Callouts {
    /// What is under way; bounded by `CalloutLimits::in_flight`.
    open: HashMap<CalloutId, Open>,
    /// The sum of what is open; bounded by `limits::CALLOUT_BYTES`.
    bytes: usize,
    /// The last sequence number; ids come round after a billion, past those still open.
    last: u32,
    /// Callouts that the running entry, or step of the start, began.
    pub(crate) of_entry: usize,
}

#[derive(Debug)]
struct Open {
    bytes: usize,
    /// The guest has said its last word on a stream.
    half_closed: bool,
}

impl Callouts {
    /// The largest sequence number: two bits of an id say the kind.
    const LAST: u32 = u32::MAX >> 2;

    /// None under way, and no id given that comes before this sequence number.
    pub(crate) fn after(last: u32) -> Callouts {
        Callouts { last, ..Callouts::default() }
    }

    pub(crate) fn last(&self) -> u32 {
        self.last
    }

    pub(crate) fn open(&mut self, kind: CalloutKind, bytes: usize) -> CalloutId {
        loop {
            self.last = if self.last >= Self::LAST { 1 } else { self.last + 1 };
            let id = CalloutId(self.last << 2 | kind as u32);
            if let Entry::Vacant(place) = self.open.entry(id) {
                place.insert(Open { bytes, half_closed: false });
                self.bytes = self.bytes.saturating_add(bytes);
                return id;
            }
        }
    }

    /// Forgets a callout. False when it was not open.
    pub(crate) fn close(&mut self, id: CalloutId) -> bool {
        let closed = self.open.remove(&id);
        self.bytes = self.bytes.saturating_sub(closed.as_ref().map_or(0, |closed| closed.bytes));
        closed.is_some()
    }

    /// Notes that the guest sends no more. False when it had said so before.
    pub(crate) fn half_close(&mut self, id: CalloutId) -> bool {
        self.open.get_mut(&id).is_some_and(|open| !std::mem::replace(&mut open.half_closed, true))
    }

    pub(crate) fn is_open(&self, id: CalloutId) -> bool {
        self.open.contains_key(&id)
    }

    /// True when the guest may still send on a stream.
    pub(crate) fn takes_messages(&self, id: CalloutId) -> bool {
        self.open.get(&id).is_some_and(|open| !open.half_closed)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn count(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_their_kind_and_are_not_given_twice_while_open() {
        let mut callouts = Callouts { last: Callouts::LAST - 1, ..Callouts::default() };

        let last = callouts.open(CalloutKind::GrpcStream, 1);
        let first = callouts.open(CalloutKind::Http, 2);
        callouts.last = 0;
        let second = callouts.open(CalloutKind::Http, 4);

        assert_eq!(last.get(), u32::MAX - 1);
        assert_eq!(last.kind(), Some(CalloutKind::GrpcStream));
        assert_eq!((first.get(), second.get()), (4, 8));
        assert_eq!(callouts.bytes(), 7);
        assert!(callouts.close(first) && !callouts.close(first));
        assert_eq!(callouts.bytes(), 5);
    }

    #[test]
    fn an_unknown_upstream_is_refused_with_those_that_would_do() {
        let refusal = |known: &[&str]| {
            let known = known.iter().map(|name| (*name).to_owned()).collect();
            CalloutRefusal::UnknownUpstream { name: "idq".to_owned(), known }.to_string()
        };

        assert_eq!(refusal(&["idp", "geo"]), "unknown upstream \"idq\"; this filter may call: idp, geo");
        assert_eq!(refusal(&[]), "unknown upstream \"idq\"; this filter may call: none");
    }
}
