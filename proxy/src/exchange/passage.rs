//! One connection that is passed on without HTTP: what its relay and the filters' root callbacks share, and what filters
//! see of it.
//!
//! Nothing here does I/O or calls a filter; all of it runs on one thread.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;

use tollgate_abi::{Buffer, BufferType, HeaderMap, LocalResponse, MapType, Refusal, Stream, StreamType};

use crate::exchange::Half;
use crate::exchange::buffer::BodyBuffer;
use crate::exchange::kept::{Kept, PropertyQuota};
use crate::exchange::properties;
use crate::exchange::stream::Names;
use crate::tls::secured::Secured;

/// See the module.
pub struct Passage {
    /// What filters see; absent while it is lent to a VM.
    pub stream: Cell<Option<Box<PassageStream>>>,
    waker: Cell<Option<Waker>>,
}

impl Passage {
    /// A connection of which no filter has heard.
    pub fn new(facts: PassageFacts) -> Self {
        let stream = PassageStream {
            facts,
            bytes: None,
            upstream: None,
            properties: Kept::default(),
            holder: 0,
            resume: Vec::new(),
            close: None,
        };
        Self { stream: Cell::new(Some(Box::new(stream))), waker: Cell::new(None) }
    }

    /// Whom `wake` wakes; the last one counts.
    pub fn register(&self, waker: &Waker) {
        let kept = self.waker.take().filter(|known| known.will_wake(waker));
        self.waker.set(Some(kept.unwrap_or_else(|| waker.clone())));
    }

    /// Has the relay look at what changed.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Names and addresses that do not change.
#[derive(Clone, Debug)]
pub struct PassageFacts {
    /// The names of its listener and cluster.
    pub names: Arc<Names>,
    /// What each filter of the chain may set, in its order.
    pub quotas: Arc<[PropertyQuota]>,
    /// The client's address.
    pub source: SocketAddr,
    /// The address that the client connected to.
    pub destination: SocketAddr,
    /// Present when the client speaks TLS.
    pub secured: Option<Arc<Secured>>,
    /// The connection's number in this process.
    pub connection: u64,
}

/// A connection as filters see it: lent to a VM with each callback, with what they wish recorded on the way.
#[derive(Debug)]
pub struct PassageStream {
    /// What does not change.
    pub facts: PassageFacts,
    /// The bytes of the current callback.
    pub bytes: Option<(BufferType, BodyBuffer)>,
    /// The endpoint, once it is connected.
    pub upstream: Option<SocketAddr>,
    /// The place in the chain of the filter that holds the stream at the moment.
    pub holder: usize,
    /// The first filter that wants the connection closed.
    pub close: Option<usize>,
    properties: Kept,
    /// Halves that filters want to go on; each once.
    resume: Vec<(usize, Half)>,
}

impl PassageStream {
    /// True when a filter wishes something that the relay has not acted on.
    pub fn has_wishes(&self) -> bool {
        self.close.is_some() || !self.resume.is_empty()
    }

    /// Takes the wish of the filter at `place` to continue `half`; true when there was one.
    pub fn take_resume(&mut self, place: usize, half: Half) -> bool {
        let before = self.resume.len();
        self.resume.retain(|wish| *wish != (place, half));
        self.resume.len() < before
    }

    /// What a filter set under this raw path.
    pub fn set_by_filter(&self, path: &[u8]) -> Option<&[u8]> {
        self.properties.find(path)
    }

    /// Everything that filters set, with its raw path.
    pub fn all_set(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.properties.all()
    }
}

impl Stream for Box<PassageStream> {
    fn headers(&mut self, _map: MapType) -> Option<&mut dyn HeaderMap> {
        None
    }

    fn buffer(&mut self, buffer: BufferType) -> Option<&mut dyn Buffer> {
        let (kind, bytes) = self.bytes.as_mut()?;
        (*kind == buffer).then_some(bytes as &mut dyn Buffer)
    }

    fn property(&mut self, path: &[&[u8]]) -> Option<Vec<u8>> {
        properties::passage::of_passage(self, path)
    }

    fn set_property(&mut self, path: &[u8], value: &[u8]) -> Result<(), Refusal> {
        let owner = self.holder;
        let quota = self.facts.quotas.get(owner).copied().ok_or(Refusal::Unavailable)?;
        self.properties.set(path, value, (owner, quota))
    }

    /// There is no HTTP to answer in, which a strict guest is told at once.
    fn check_response(&mut self, _response: &LocalResponse) -> Result<(), Refusal> {
        Err(Refusal::Unavailable)
    }

    fn resume(&mut self, half: StreamType) {
        let half = match half {
            StreamType::Downstream => Half::Request,
            StreamType::Upstream => Half::Response,
            StreamType::Request | StreamType::Response => return,
        };
        let wish = (self.holder, half);
        if !self.resume.contains(&wish) {
            self.resume.push(wish);
        }
    }

    /// The two sides of a connection live and die together.
    fn close(&mut self, half: StreamType) {
        if matches!(half, StreamType::Downstream | StreamType::Upstream) {
            self.close.get_or_insert(self.holder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Box<PassageStream> {
        let [listener, route, host, cluster] = ["raw", "tcp", "*", "db"].map(str::to_owned);
        let names = Names { listener, direction: Default::default(), route, host, cluster };
        let facts = PassageFacts {
            names: Arc::new(names),
            quotas: Arc::new([PropertyQuota { count: 3, bytes: 16 }]),
            source: "10.0.0.1:4000".parse().unwrap(),
            destination: "10.0.0.2:5432".parse().unwrap(),
            secured: None,
            connection: 7,
        };
        Passage::new(facts).stream.take().unwrap()
    }

    #[test]
    fn addresses_and_names_are_told_and_an_endpoint_once_there_is_one() {
        let mut stream = stream();

        assert_eq!(stream.property(&[b"source", b"address"]).unwrap(), b"10.0.0.1:4000");
        assert_eq!(stream.property(&[b"destination", b"port"]).unwrap(), 5432_u64.to_le_bytes());
        assert_eq!(stream.property(&[b"connection", b"id"]).unwrap(), 7_u64.to_le_bytes());
        assert_eq!(stream.property(&[b"xds", b"cluster_name"]).unwrap(), b"db");
        assert_eq!(stream.property(&[b"xds", b"route_name"]), None);
        assert_eq!(stream.property(&[b"upstream", b"port"]), None);
        stream.upstream = Some("10.0.0.3:1".parse().unwrap());
        assert_eq!(stream.property(&[b"upstream", b"port"]).unwrap(), 1_u64.to_le_bytes());
    }

    #[test]
    fn properties_of_filters_are_kept_up_to_their_quota_and_forge_nothing() {
        let mut stream = stream();

        stream.set_property(b"plugin_name", b"forged").unwrap();
        stream.set_property(b"a\0b", b"1").unwrap();
        stream.set_property(b"a\0b", &[b'x'; 16]).unwrap();
        stream.set_property(b"c", b"").unwrap();

        assert_eq!(stream.property(&[b"a", b"b"]).unwrap(), [b'x'; 16]);
        assert_eq!(stream.property(&[b"filter_state", b"wasm.a", b"b"]).unwrap(), [b'x'; 16]);
        assert_eq!(stream.property(&[b"plugin_name"]), None);
        assert!(stream.set_property(b"a\0b", &[b'x'; 17]).is_err());
        assert!(stream.set_property(b"one more", b"").is_err());
    }

    #[test]
    fn a_connection_cannot_be_answered_in_http() {
        let mut stream = stream();
        let response = LocalResponse {
            status: 403,
            details: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
            grpc_status: None,
        };

        assert_eq!(stream.check_response(&response), Err(Refusal::Unavailable));
        assert_eq!(stream.local_response(response), Err(Refusal::Unavailable));
        assert!(!stream.has_wishes());
    }

    #[test]
    fn a_wish_to_go_on_is_kept_once_and_only_for_halves_of_a_connection() {
        let mut stream = stream();

        stream.resume(StreamType::Request);
        assert!(!stream.has_wishes());
        stream.resume(StreamType::Downstream);
        stream.resume(StreamType::Downstream);

        assert!(!stream.take_resume(0, Half::Response));
        assert!(!stream.take_resume(1, Half::Request));
        assert!(stream.take_resume(0, Half::Request));
        assert!(!stream.has_wishes());
    }
}
