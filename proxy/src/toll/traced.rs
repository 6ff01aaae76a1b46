//! An exchange that remembers what a filter read and changed: so that bytes are counted, and the same is done without a guest.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use tollgate_abi::{Buffer, BufferType, HeaderMap, LocalResponse, MapType, Refusal, Stream, StreamType};

use crate::exchange::buffer::BodyBuffer;
use crate::exchange::head::{RequestHead, ResponseHead};
use crate::exchange::stream::FilterStream;
use crate::exchange::unsent::Unfit;
use crate::toll::passing;
use crate::toll::subject::{Sample, Subject};

type Field = (Vec<u8>, Vec<u8>);

/// One thing that was done to a map or a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The first value of this name was read.
    First(Vec<u8>),
    /// All fields were read.
    Visit,
    Add(Field),
    Replace(Field),
    Remove(Vec<u8>),
    ReplaceAll(Vec<Field>),
    /// So many bytes from there were read.
    Read(usize, usize),
    /// So many bytes from there became these.
    Splice(usize, usize, Vec<u8>),
}

/// A map or a buffer that remembers.
#[derive(Debug)]
struct Traced<T> {
    inner: T,
    steps: RefCell<Vec<Step>>,
    /// Times all fields were gone through: once to measure them, once to write them.
    visits: Cell<usize>,
}

impl<T> Traced<T> {
    fn new(inner: T) -> Self {
        Self { inner, steps: RefCell::default(), visits: Cell::default() }
    }

    fn note(&self, step: Step) {
        self.steps.borrow_mut().push(step);
    }
}

impl<T: HeaderMap> HeaderMap for Traced<T> {
    fn len(&self) -> usize {
        self.inner.len()
    }

    fn for_each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        if self.visits.replace(self.visits.get() + 1).is_multiple_of(2) {
            self.note(Step::Visit);
        }
        self.inner.for_each(visit);
    }

    fn first(&self, name: &[u8]) -> Option<&[u8]> {
        self.note(Step::First(name.to_vec()));
        self.inner.first(name)
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        self.note(Step::Add((name.to_vec(), value.to_vec())));
        self.inner.add(name, value)
    }

    fn replace(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        self.note(Step::Replace((name.to_vec(), value.to_vec())));
        self.inner.replace(name, value)
    }

    fn remove(&mut self, name: &[u8]) -> Result<(), Refusal> {
        self.note(Step::Remove(name.to_vec()));
        self.inner.remove(name)
    }

    fn replace_all(&mut self, fields: &[(&[u8], &[u8])]) -> Result<(), Refusal> {
        let owned = fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec()));
        self.note(Step::ReplaceAll(owned.collect()));
        self.inner.replace_all(fields)
    }
}

impl Buffer for Traced<BodyBuffer> {
    fn len(&self) -> usize {
        self.inner.len()
    }

    fn read(&self, start: usize, into: &mut [u8]) {
        self.note(Step::Read(start, into.len()));
        self.inner.read(start, into);
    }

    fn splice(&mut self, start: usize, size: usize, bytes: &[u8]) -> Result<(), Refusal> {
        self.note(Step::Splice(start, size, bytes.to_vec()));
        self.inner.splice(start, size, bytes)
    }
}

/// What was done to one exchange, in the order of its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trace {
    steps: Vec<(Part, Vec<Step>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Map(MapType),
    Body(BufferType),
}

/// See the module. Trailers are none of it.
#[derive(Debug)]
pub(super) struct TracedStream {
    bare: FilterStream,
    request: Traced<RequestHead>,
    response: Option<Traced<ResponseHead>>,
    body: Option<(BufferType, Traced<BodyBuffer>)>,
    bodies: Vec<(Part, Vec<Step>)>,
}

impl TracedStream {
    pub(super) fn new(bare: FilterStream) -> Box<Self> {
        let request = Traced::new(bare.request.clone());
        Box::new(Self { bare, request, response: None, body: None, bodies: Vec::new() })
    }

    pub(super) fn into_trace(self) -> Trace {
        let request = (Part::Map(MapType::RequestHeaders), self.request.steps.into_inner());
        let response = self.response.map(|map| (Part::Map(MapType::ResponseHeaders), map.steps.into_inner()));
        Trace { steps: [request].into_iter().chain(response).chain(self.bodies).collect() }
    }
}

impl Subject for Box<TracedStream> {
    fn bare(&mut self) -> &mut FilterStream {
        &mut self.bare
    }

    fn set_answer(&mut self, head: ResponseHead) {
        self.response = Some(Traced::new(head.clone()));
        self.bare.response = Some(head);
    }

    fn set_body(&mut self, body: Option<(BufferType, BodyBuffer)>) {
        if let Some((kind, known)) = self.body.take() {
            self.bodies.push((Part::Body(kind), known.steps.into_inner()));
        }
        self.body = body.map(|(kind, buffer)| (kind, Traced::new(buffer)));
    }
}

impl Stream for Box<TracedStream> {
    fn headers(&mut self, map: MapType) -> Option<&mut dyn HeaderMap> {
        match map {
            MapType::RequestHeaders => Some(&mut self.request),
            MapType::ResponseHeaders => self.response.as_mut().map(|map| map as &mut dyn HeaderMap),
            _ => None,
        }
    }

    fn buffer(&mut self, buffer: BufferType) -> Option<&mut dyn Buffer> {
        let (kind, body) = self.body.as_mut()?;
        (*kind == buffer).then_some(body as &mut dyn Buffer)
    }

    fn property(&mut self, path: &[&[u8]]) -> Option<Vec<u8>> {
        crate::exchange::properties::of_stream(&self.bare, path)
    }

    fn local_response(&mut self, response: LocalResponse) -> Result<(), Refusal> {
        self.bare.wishes.respond.get_or_insert((0, response));
        Ok(())
    }

    fn resume(&mut self, half: StreamType) {
        self.bare.wishes.resume.push((0, half));
    }

    fn close(&mut self, _: StreamType) {
        self.bare.wishes.close.get_or_insert(0);
    }
}

impl Trace {
    /// Does the same to another exchange, copying what was read as a guest would. Answers with the time that this took and the
    /// bytes that it copied.
    pub(super) fn replay(&self, sample: &Sample) -> Result<(Duration, usize), Unfit> {
        let mut stream = sample.stream()?;
        stream.response = Some(sample.answer.clone());
        let mut bodies = [&sample.request_body, &sample.answer_body].map(passing::buffer);
        let started = Instant::now();
        let copied = self.steps.iter().map(|(part, steps)| match part {
            Part::Map(MapType::RequestHeaders) => on_all(steps, |step| on_map(&mut stream.request, step)),
            Part::Map(_) => on_all(steps, |step| stream.response.as_mut().map_or(0, |head| on_map(head, step))),
            Part::Body(BufferType::RequestBody) => on_all(steps, |step| on_body(&mut bodies[0], step)),
            Part::Body(_) => on_all(steps, |step| on_body(&mut bodies[1], step)),
        });
        let copied = copied.sum();
        Ok((started.elapsed(), copied))
    }
}

fn on_all(steps: &[Step], step: impl FnMut(&Step) -> usize) -> usize {
    steps.iter().map(step).sum()
}

/// What a map refuses now it refused before.
fn on_map(map: &mut dyn HeaderMap, step: &Step) -> usize {
    let size = |(name, value): &Field| name.len() + value.len();
    match step {
        Step::First(name) => name.len() + keep(map.first(name).unwrap_or_default()),
        Step::Visit => visit(map),
        Step::Add(field) => {
            let _ = map.add(&field.0, &field.1);
            size(field)
        }
        Step::Replace(field) => {
            let _ = map.replace(&field.0, &field.1);
            size(field)
        }
        Step::Remove(name) => {
            let _ = map.remove(name);
            name.len()
        }
        Step::ReplaceAll(fields) => {
            let borrowed: Vec<_> = fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            let _ = map.replace_all(&borrowed);
            fields.iter().map(size).sum()
        }
        Step::Read(..) | Step::Splice(..) => 0,
    }
}

fn on_body(body: &mut BodyBuffer, step: &Step) -> usize {
    match step {
        Step::Read(start, size) => {
            let mut bytes = vec![0; *size];
            body.read(*start, &mut bytes);
            keep(&bytes)
        }
        Step::Splice(start, size, bytes) => {
            let _ = body.splice(*start, *size, bytes);
            bytes.len()
        }
        _ => 0,
    }
}

fn visit(map: &dyn HeaderMap) -> usize {
    let mut size = 0;
    map.for_each(&mut |name, value| size += keep(name) + keep(value));
    size
}

/// A copy that the compiler may not leave out.
fn keep(bytes: &[u8]) -> usize {
    std::hint::black_box(bytes.to_vec()).len()
}
