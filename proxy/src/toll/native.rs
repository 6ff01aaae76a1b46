//! What a filter did to an exchange, done in Rust: the same reads, copied as a guest has them copied, and the same changes.
//! What the filter thinks between them is not part of it.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use tollgate_abi::{Buffer as _, BufferType, HeaderMap, Stream as _};
use tollgate_config::Limits;

use crate::exchange::buffer::BodyBuffer;
use crate::exchange::local;
use crate::exchange::stream::{Facts, FilterStream};
use crate::toll::sample::Sample;
use crate::toll::series::timed;
use crate::toll::traced::{MapStep, Step};

/// What the steps are done to.
struct Stage {
    stream: Box<FilterStream>,
    /// Of the request and of the answer.
    bodies: [BodyBuffer; 2],
}

/// Does it once, to an exchange of its own, and says how long that took.
pub(super) fn replay(steps: &[Step], sample: &Sample, facts: &Facts) -> Duration {
    let mut stage = Stage::new(sample, facts);
    let (time, ()) = timed(|| steps.iter().for_each(|step| stage.take(step)));
    time
}

fn buffer(body: &Bytes) -> BodyBuffer {
    let mut buffer = BodyBuffer::new(Limits::default().buffer.as_usize());
    buffer.append(body.clone());
    buffer
}

impl Stage {
    fn new(sample: &Sample, facts: &Facts) -> Self {
        let mut stream = sample.exchange(facts);
        stream.response = Some(sample.answer.clone());
        Self { stream, bodies: [&sample.body, &sample.answer_body].map(buffer) }
    }

    /// What is refused now was refused before.
    fn take(&mut self, step: &Step) {
        match step {
            Step::Map(map, step) => {
                if let Some(map) = self.stream.headers(*map) {
                    on_map(map, step);
                }
            }
            Step::Read(kind, start, size) => {
                let mut bytes = vec![0; *size];
                self.body(*kind).read(*start, &mut bytes);
                black_box(bytes);
            }
            Step::Splice(kind, start, size, bytes) => drop(self.body(*kind).splice(*start, *size, bytes)),
            Step::Property(path) => {
                let path: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
                black_box(self.stream.property(&path));
            }
            Step::SetProperty(path, value) => drop(self.stream.set_property(path, value)),
            Step::Respond(response) => drop(black_box(local::compose(response.clone(), false))),
        }
    }

    fn body(&mut self, kind: BufferType) -> &mut BodyBuffer {
        let [request, answer] = &mut self.bodies;
        if kind == BufferType::RequestBody { request } else { answer }
    }
}

fn on_map(map: &mut dyn HeaderMap, step: &MapStep) {
    match step {
        MapStep::First(name) => drop(black_box(map.first(name).map(<[u8]>::to_vec))),
        MapStep::Visit => {
            let mut all = Vec::new();
            map.for_each(&mut |name, value| {
                all.extend_from_slice(name);
                all.extend_from_slice(value);
            });
            black_box(all);
        }
        MapStep::Add((name, value)) => drop(map.add(name, value)),
        MapStep::Replace((name, value)) => drop(map.replace(name, value)),
        MapStep::Remove(name) => drop(map.remove(name)),
        MapStep::ReplaceAll(fields) => {
            let borrowed: Vec<_> = fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            let _ = map.replace_all(&borrowed);
        }
    }
}

/// The steps that native code takes: what a guest goes through twice, to have it measured and written, it goes through once.
pub(super) fn steps(all: Vec<Step>) -> Vec<Step> {
    let mut kept: Vec<Step> = Vec::with_capacity(all.len());
    let mut measured = false;
    for step in all {
        let visits = matches!(step, Step::Map(_, MapStep::Visit));
        measured = visits && !(measured && kept.last() == Some(&step));
        if measured || !visits {
            kept.push(step);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use tollgate_abi::MapType::{RequestHeaders, ResponseHeaders};

    use super::*;
    use crate::toll::filter::Filter;
    use crate::toll::request::{USUAL, parse};

    #[test]
    fn what_is_gone_through_twice_in_a_row_is_gone_through_once() {
        let visit = |map| Step::Map(map, MapStep::Visit);
        let first = || Step::Map(RequestHeaders, MapStep::First(b"a".to_vec()));
        let [request, response] = [RequestHeaders, ResponseHeaders];

        let kept =
            steps(vec![visit(request), visit(request), visit(request), visit(request), first(), visit(response)]);

        assert_eq!(kept, [visit(request), visit(request), first(), visit(response)]);
    }

    #[test]
    fn what_a_filter_did_happens_again() {
        let Filter { manners, .. } = Filter::new("a".to_owned(), Bytes::new(), Vec::new());
        let sample = Sample::new(&parse(USUAL).unwrap());
        let mut stage = Stage::new(&sample, &sample.facts(&manners));

        for step in [
            Step::Map(RequestHeaders, MapStep::Add((b"x-a".to_vec(), b"1".to_vec()))),
            Step::Map(RequestHeaders, MapStep::Remove(b"accept".to_vec())),
            Step::Map(ResponseHeaders, MapStep::Replace((b"content-type".to_vec(), b"text/html".to_vec()))),
            Step::Splice(BufferType::ResponseBody, 0, 5, b"Goodbye".to_vec()),
            Step::SetProperty(b"mine".to_vec(), b"1".to_vec()),
        ] {
            stage.take(&step);
        }

        let stream = &stage.stream;
        assert_eq!((stream.request.first(b"x-a"), stream.request.first(b"accept")), (Some(&b"1"[..]), None));
        assert_eq!(stream.response.as_ref().unwrap().first(b"content-type"), Some(&b"text/html"[..]));
        assert_eq!(stream.set_by_filter(b"mine"), Some(&b"1"[..]));
        assert_eq!(stage.bodies[1].take(), "Goodbye, toll!\n");
    }
}
