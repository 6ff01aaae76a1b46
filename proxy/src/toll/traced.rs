//! An exchange that remembers what a filter read and changed, so that the same is done without a guest.
//!
//! Everything goes on to the exchange itself: a filter meets nothing but what it meets in a proxy. Remembering takes time, so
//! what is traced is never timed.

use std::cell::RefCell;

use tollgate_abi::{Buffer, BufferType, HeaderMap, LocalResponse, MapType, MetricId, Refusal, Stream, StreamType};

use crate::exchange::buffer::BodyBuffer;
use crate::exchange::stream::FilterStream;
use crate::filter::rehearsal::Carrier;

type Field = (Vec<u8>, Vec<u8>);

/// One thing that was done to an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Something was done to this map.
    Map(MapType, MapStep),
    /// So many bytes from there of this body were read.
    Read(BufferType, usize, usize),
    /// So many bytes from there of this body became these.
    Splice(BufferType, usize, usize, Vec<u8>),
    /// This property was read.
    Property(Vec<Vec<u8>>),
    /// This property was set.
    SetProperty(Vec<u8>, Vec<u8>),
    /// The exchange was answered.
    Respond(LocalResponse),
    /// This line was logged, of a level that is written.
    Log(Vec<u8>),
    /// So much was added to this metric.
    Increment(MetricId, i64),
    /// This was recorded by that metric.
    Record(MetricId, u64),
    /// The time was asked for.
    Time,
}

/// One thing that was done to a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MapStep {
    /// The first value of this name was read.
    First(Vec<u8>),
    /// All fields were gone through: a guest that wants them has them measured first, and written then.
    Visit,
    Add(Field),
    Replace(Field),
    Remove(Vec<u8>),
    ReplaceAll(Vec<Field>),
}

/// What was done, in its order.
#[derive(Debug, Default)]
pub(super) struct Trail {
    steps: Vec<Step>,
    bytes: usize,
    /// There was more than is kept: nothing is.
    is_over: bool,
}

impl Trail {
    /// Most steps of one exchange that are kept: a filter may make millions in the time that it has.
    pub(super) const STEPS: usize = 10_000;
    /// Most bytes of names, values, lines and bodies that are kept.
    pub(super) const BYTES: usize = 16 << 20;

    /// Keeps one more, which holds so many bytes.
    pub(super) fn note(&mut self, bytes: usize, step: impl FnOnce() -> Step) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.steps.len() == Self::STEPS || self.bytes > Self::BYTES {
            self.is_over = true;
            self.steps = Vec::new();
        }
        if !self.is_over {
            self.steps.push(step());
        }
    }

    /// All of it, and what another came to at the same time; `None` where either was too long.
    pub(super) fn with(mut self, other: Self) -> Option<Vec<Step>> {
        self.steps.extend(other.steps);
        let bytes = self.bytes.saturating_add(other.bytes);
        let is_over = self.is_over || other.is_over || self.steps.len() > Self::STEPS || bytes > Self::BYTES;
        (!is_over).then_some(self.steps)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct TracedStream {
    bare: Box<FilterStream>,
    /// The map that was asked for last.
    map: MapType,
    trail: RefCell<Trail>,
}

impl From<Box<FilterStream>> for TracedStream {
    fn from(bare: Box<FilterStream>) -> Self {
        Self { bare, map: MapType::RequestHeaders, trail: RefCell::default() }
    }
}

impl Carrier for TracedStream {
    fn bare(&mut self) -> Option<&mut FilterStream> {
        Some(&mut self.bare)
    }
}

impl TracedStream {
    /// All that was done.
    pub(super) fn into_trail(self) -> Trail {
        self.trail.into_inner()
    }

    fn note(&self, bytes: usize, step: impl FnOnce() -> Step) {
        self.trail.borrow_mut().note(bytes, step);
    }

    fn note_map(&self, bytes: usize, step: impl FnOnce() -> MapStep) {
        self.note(bytes, || Step::Map(self.map, step()));
    }

    /// The map that was asked for, to read.
    fn shown(&self) -> Option<&dyn HeaderMap> {
        let bare = &self.bare;
        match self.map {
            MapType::RequestHeaders => Some(&bare.request),
            MapType::ResponseHeaders => bare.response.as_ref().map(|head| head as &dyn HeaderMap),
            MapType::RequestTrailers => bare.request_trailers.as_deref().map(|fields| fields as &dyn HeaderMap),
            MapType::ResponseTrailers => bare.response_trailers.as_deref().map(|fields| fields as &dyn HeaderMap),
            _ => None,
        }
    }

    /// The same to change.
    fn change(&mut self, change: impl FnOnce(&mut dyn HeaderMap) -> Result<(), Refusal>) -> Result<(), Refusal> {
        self.bare.headers(self.map).map_or(Err(Refusal::Unavailable), change)
    }

    fn body(&self) -> Option<(BufferType, &BodyBuffer)> {
        self.bare.body.as_ref().map(|(kind, body)| (*kind, body))
    }
}

/// The map that was asked for last.
impl HeaderMap for TracedStream {
    fn len(&self) -> usize {
        self.shown().map_or(0, HeaderMap::len)
    }

    fn for_each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        self.note_map(0, || MapStep::Visit);
        self.shown().into_iter().for_each(|map| map.for_each(visit));
    }

    fn first(&self, name: &[u8]) -> Option<&[u8]> {
        self.note_map(name.len(), || MapStep::First(name.to_vec()));
        self.shown()?.first(name)
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        self.note_map(name.len() + value.len(), || MapStep::Add((name.to_vec(), value.to_vec())));
        self.change(|map| map.add(name, value))
    }

    fn replace(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        self.note_map(name.len() + value.len(), || MapStep::Replace((name.to_vec(), value.to_vec())));
        self.change(|map| map.replace(name, value))
    }

    fn remove(&mut self, name: &[u8]) -> Result<(), Refusal> {
        self.note_map(name.len(), || MapStep::Remove(name.to_vec()));
        self.change(|map| map.remove(name))
    }

    fn replace_all(&mut self, fields: &[(&[u8], &[u8])]) -> Result<(), Refusal> {
        let owned = || fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        let bytes = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.note_map(bytes, || MapStep::ReplaceAll(owned()));
        self.change(|map| map.replace_all(fields))
    }
}

/// The body of the callback that runs.
impl Buffer for TracedStream {
    fn len(&self) -> usize {
        self.body().map_or(0, |(_, body)| body.len())
    }

    fn read(&self, start: usize, into: &mut [u8]) {
        if let Some((kind, body)) = self.body() {
            self.note(0, || Step::Read(kind, start, into.len()));
            body.read(start, into);
        }
    }

    fn splice(&mut self, start: usize, size: usize, bytes: &[u8]) -> Result<(), Refusal> {
        if let Some((kind, _)) = self.body() {
            self.note(bytes.len(), || Step::Splice(kind, start, size, bytes.to_vec()));
        }
        let body = self.bare.body.as_mut().map(|(_, body)| body);
        body.map_or(Err(Refusal::Unavailable), |body| body.splice(start, size, bytes))
    }
}

impl Stream for TracedStream {
    fn headers(&mut self, map: MapType) -> Option<&mut dyn HeaderMap> {
        self.bare.headers(map)?;
        self.map = map;
        Some(self)
    }

    fn buffer(&mut self, buffer: BufferType) -> Option<&mut dyn Buffer> {
        self.bare.buffer(buffer)?;
        Some(self)
    }

    fn property(&mut self, path: &[&[u8]]) -> Option<Vec<u8>> {
        let parts = || path.iter().map(|part| part.to_vec()).collect();
        self.note(path.iter().map(|part| part.len()).sum(), || Step::Property(parts()));
        self.bare.property(path)
    }

    fn set_property(&mut self, path: &[u8], value: &[u8]) -> Result<(), Refusal> {
        self.note(path.len() + value.len(), || Step::SetProperty(path.to_vec(), value.to_vec()));
        self.bare.set_property(path, value)
    }

    fn local_response(&mut self, response: LocalResponse) -> Result<(), Refusal> {
        self.note(response.body.len(), || Step::Respond(response.clone()));
        self.bare.local_response(response)
    }

    fn check_response(&mut self, response: &LocalResponse) -> Result<(), Refusal> {
        self.bare.check_response(response)
    }

    fn response_refused(&mut self) {
        self.bare.response_refused();
    }

    fn resume(&mut self, half: StreamType) {
        self.bare.resume(half);
    }

    fn close(&mut self, half: StreamType) {
        self.bare.close(half);
    }

    fn clear_route_cache(&mut self) {
        self.bare.clear_route_cache();
    }

    fn done(&mut self) {
        self.bare.done();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::exchange::head::Fields;
    use crate::toll::filter::Filter;
    use crate::toll::request::{USUAL, parse};
    use crate::toll::sample::Sample;

    fn traced() -> TracedStream {
        let filter = Filter::new("a".to_owned(), Bytes::new(), Vec::new());
        let sample = Sample::new(&parse(USUAL).unwrap());
        let mut bare = sample.exchange(&sample.facts(&filter.manners));
        bare.response = Some(sample.answer.clone());
        bare.request_trailers = Some(Box::new(Fields::bounded(http::HeaderMap::new(), 9)));
        TracedStream::from(bare)
    }

    #[test]
    fn each_map_is_the_exchanges_own() {
        let mut traced = traced();

        for (map, name) in [
            (MapType::RequestHeaders, &b"user-agent"[..]),
            (MapType::ResponseHeaders, b":status"),
            (MapType::RequestTrailers, b"x-a"),
        ] {
            let fields = traced.headers(map).unwrap();
            fields.add(b"x-a", b"1").unwrap();
            assert!(fields.first(name).is_some(), "{map:?}");
        }

        assert!(traced.headers(MapType::ResponseTrailers).is_none());
        let bare = traced.bare().unwrap();
        let own = [bare.request.first(b"x-a"), bare.response.as_ref().unwrap().first(b"x-a")];
        assert_eq!((own, bare.request_trailers.as_ref().unwrap().len()), ([Some(&b"1"[..]); 2], 1));
        assert_eq!(traced.into_trail().with(Trail::default()).unwrap().len(), 6);
    }

    #[test]
    fn wishes_bodies_and_properties_reach_the_exchange() {
        let mut traced = traced();
        let mut body = BodyBuffer::new(9);
        body.append(Bytes::from_static(b"abc"));
        traced.bare.body = Some((BufferType::RequestBody, body));

        traced.set_property(b"mine", b"1").unwrap();
        assert_eq!(traced.property(&[b"mine"]), Some(b"1".to_vec()));
        assert!(traced.buffer(BufferType::ResponseBody).is_none());
        traced.buffer(BufferType::RequestBody).unwrap().splice(3, 0, b"d").unwrap();
        traced.resume(StreamType::Request);
        traced.close(StreamType::Request);
        traced.response_refused();
        traced.done();
        traced.clear_route_cache();

        let bare = traced.bare().unwrap();
        assert_eq!(bare.body.as_mut().unwrap().1.take(), "abcd");
        let wishes = &bare.wishes;
        let counted = (wishes.resume.len(), wishes.close, wishes.refused, wishes.done.len());
        assert_eq!((counted, bare.request.edited.target), ((1, Some(0), Some(0), 1), true));
    }

    #[test]
    fn a_trail_that_is_longer_than_one_is_kept_is_none() {
        let of = |steps: usize, bytes: usize| {
            let mut trail = Trail::default();
            (0..steps).for_each(|_| trail.note(bytes / steps, || Step::Time));
            trail
        };
        let kept = |trail: Trail, other: Trail| trail.with(other).map(|steps| steps.len());

        assert_eq!(kept(of(Trail::STEPS - 1, 0), of(1, Trail::BYTES)), Some(Trail::STEPS));
        assert_eq!(kept(of(Trail::STEPS, 0), of(1, 0)), None);
        assert_eq!(kept(of(Trail::STEPS + 1, 0), Trail::default()), None);
        assert_eq!(kept(Trail::default(), of(1, Trail::BYTES + 1)), None);
    }
}
