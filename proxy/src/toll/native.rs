//! What a filter did to an exchange, done in Rust: the same reads, copied as a guest has them copied, the same changes, lines
//! and counts.
//!
//! What the filter thinks between them is not part of it, nor is what it asks of others: shared data, queues, callouts, and
//! whatever else [`without`] names.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tollgate_abi::{Buffer as _, BufferType, HeaderMap, LocalResponse, MapType, Stream as _};
use tollgate_config::Limits;

use crate::exchange::buffer::BodyBuffer;
use crate::exchange::local;
use crate::exchange::stream::{Facts, FilterStream};
use crate::filter::host::metrics;
use crate::telemetry::log::{GuestText, LineBudget, LineQuota};
use crate::telemetry::metrics::PluginSeries;
use crate::toll::ledger::Notes;
use crate::toll::sample::Sample;
use crate::toll::series::timed;
use crate::toll::traced::{MapStep, Step, Trail};

/// Hostcalls that ask for the time.
const CLOCKS: [&str; 2] = ["proxy_get_current_time_nanoseconds", "clock_time_get"];
/// Hostcalls that are repeated, or stand for nothing that Rust would do.
const REPEATED: [&str; 27] = [
    "proxy_log",
    "fd_write",
    "proxy_get_log_level",
    "proxy_increment_metric",
    "proxy_record_metric",
    "proxy_get_property",
    "proxy_set_property",
    "proxy_get_buffer_bytes",
    "proxy_get_buffer_status",
    "proxy_set_buffer_bytes",
    "proxy_get_header_map_pairs",
    "proxy_set_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_add_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_remove_header_map_value",
    "proxy_get_header_map_size",
    "proxy_continue_stream",
    "proxy_continue_request",
    "proxy_continue_response",
    "proxy_close_stream",
    "proxy_send_local_response",
    "proxy_set_effective_context",
    "proxy_done",
    "proxy_get_status",
    "emscripten_notify_memory_growth",
    "pthread_equal",
];

/// See the module.
pub(super) struct Native<'a> {
    acts: Vec<Act<'a>>,
    lines: LineBudget,
    /// Where metrics count.
    series: Arc<PluginSeries>,
    sample: &'a Sample,
    facts: Facts,
}

/// A step with its arguments as the exchange takes them: preparing them is no part of it.
enum Act<'a> {
    Map(MapType, &'a MapStep),
    ReplaceAll(MapType, Vec<(&'a [u8], &'a [u8])>),
    Property(Vec<&'a [u8]>),
    Respond(&'a LocalResponse),
    Other(&'a Step),
}

impl<'a> Act<'a> {
    fn of(step: &'a Step) -> Self {
        match step {
            Step::Map(map, MapStep::ReplaceAll(fields)) => {
                Self::ReplaceAll(*map, fields.iter().map(|(name, value)| (&name[..], &value[..])).collect())
            }
            Step::Map(map, step) => Self::Map(*map, step),
            Step::Property(path) => Self::Property(path.iter().map(Vec::as_slice).collect()),
            Step::Respond(response) => Self::Respond(response),
            other => Self::Other(other),
        }
    }
}

/// What the steps of one exchange are done to.
struct Stage {
    stream: Box<FilterStream>,
    /// Of the request and of the answer.
    bodies: [BodyBuffer; 2],
    /// The next is the last one.
    responses: Vec<LocalResponse>,
}

impl<'a> Native<'a> {
    pub(super) fn new(
        steps: &'a [Step],
        (lines, series): (LineQuota, Arc<PluginSeries>),
        (sample, facts): (&'a Sample, Facts),
    ) -> Self {
        let acts = steps.iter().map(Act::of).collect();
        Self { acts, lines: LineBudget::new(lines, Instant::now()), series, sample, facts }
    }

    /// Does it once, to an exchange of its own, and says how long that took.
    pub(super) fn replay(&mut self) -> Duration {
        let mut stage = self.stage();
        let (acts, lines, series) = (&self.acts, &mut self.lines, &*self.series);
        let (time, ()) = timed(|| acts.iter().for_each(|act| stage.take(act, (lines, series))));
        time
    }

    fn stage(&self) -> Stage {
        let mut stream = self.sample.exchange(&self.facts);
        stream.response = Some(self.sample.answer.clone());
        let responses = self.acts.iter().rev().filter_map(|act| match act {
            Act::Respond(response) => Some((*response).clone()),
            _ => None,
        });
        let bodies = [&self.sample.body, &self.sample.answer_body].map(buffer);
        Stage { stream, bodies, responses: responses.collect() }
    }
}

fn buffer(body: &Bytes) -> BodyBuffer {
    let mut buffer = BodyBuffer::new(Limits::default().buffer.as_usize());
    buffer.append(body.clone());
    buffer
}

impl Stage {
    /// What is refused now was refused before.
    fn take(&mut self, act: &Act<'_>, (lines, series): (&mut LineBudget, &PluginSeries)) {
        match act {
            Act::Map(map, step) => {
                if let Some(map) = self.stream.headers(*map) {
                    on_map(map, step);
                }
            }
            Act::ReplaceAll(map, fields) => {
                let _ = self.stream.headers(*map).map(|map| map.replace_all(fields));
            }
            Act::Property(path) => drop(black_box(self.stream.property(path))),
            Act::Respond(_) => drop(black_box(self.responses.pop().map(|response| local::compose(response, false)))),
            Act::Other(Step::Log(line)) => log(line, lines),
            Act::Other(Step::Increment(metric, delta)) => {
                let _ = metrics::increment(&series.custom, *metric, *delta);
            }
            Act::Other(Step::Record(metric, value)) => {
                let _ = metrics::record(&series.custom, *metric, *value);
            }
            Act::Other(step) => self.other(step),
        }
    }

    fn other(&mut self, step: &Step) {
        match step {
            Step::Read(kind, start, size) => {
                let mut bytes = vec![0; *size];
                self.body(*kind).read(*start, &mut bytes);
                black_box(bytes);
            }
            Step::Splice(kind, start, size, bytes) => drop(self.body(*kind).splice(*start, *size, bytes)),
            Step::SetProperty(path, value) => drop(self.stream.set_property(path, value)),
            Step::Time => drop(black_box(SystemTime::now())),
            _ => {}
        }
    }

    fn body(&mut self, kind: BufferType) -> &mut BodyBuffer {
        let [request, answer] = &mut self.bodies;
        if kind == BufferType::RequestBody { request } else { answer }
    }
}

/// Puts a line into words where the quota has one left.
fn log(line: &[u8], lines: &mut LineBudget) {
    if lines.take(Instant::now()).is_some() {
        black_box(GuestText { bytes: line, limit: lines.bytes() }.to_string());
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
        // Prepared, it is an act of its own.
        MapStep::ReplaceAll(_) => {}
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

/// The same with the readings of the clock that an exchange makes, of which no exchange hears; `None` where these are too many.
pub(super) fn with_clock(mut steps: Vec<Step>, notes: &Notes, exchanges: u32) -> Option<Vec<Step>> {
    let readings = CLOCKS.iter().filter_map(|name| notes.hostcalls.get(name)).map(|entries| entries.count).sum::<u64>();
    let readings = usize::try_from(readings / u64::from(exchanges.max(1))).ok()?;
    let length = steps.len().checked_add(readings).filter(|length| *length <= Trail::STEPS)?;
    steps.resize(length, Step::Time);
    Some(steps)
}

/// Hostcalls that were made and are not repeated.
pub(super) fn without(notes: &Notes) -> Vec<String> {
    let is_repeated = |name: &str| REPEATED.contains(&name) || CLOCKS.contains(&name);
    notes.hostcalls.keys().filter(|name| !is_repeated(name)).map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use tollgate_abi::MapType::{RequestHeaders, ResponseHeaders};
    use tollgate_abi::MetricKind;

    use super::*;
    use crate::toll::clerk::Clerk;
    use crate::toll::filter::Filter;
    use crate::toll::ledger::{Account, Ledger};
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
        let filter = Filter::new("a".to_owned(), Bytes::new(), Vec::new());
        let sample = Sample::new(&parse(USUAL).unwrap());
        let clerk: Clerk<Box<FilterStream>, false> = Clerk::new(&filter);
        let series = Arc::clone(&clerk.series);
        let (metric, _) = metrics::define(&series.custom, MetricKind::Counter, b"a");
        let all = [
            Step::Map(RequestHeaders, MapStep::Add((b"x-a".to_vec(), b"1".to_vec()))),
            Step::Map(RequestHeaders, MapStep::Remove(b"accept".to_vec())),
            Step::Map(ResponseHeaders, MapStep::ReplaceAll(vec![(b"content-type".to_vec(), b"text/html".to_vec())])),
            Step::Splice(BufferType::ResponseBody, 0, 5, b"Goodbye".to_vec()),
            Step::SetProperty(b"mine".to_vec(), b"1".to_vec()),
            Step::Increment(metric, 2),
            Step::Record(metric, 3),
            Step::Log(b"a".to_vec()),
        ];
        let facts = sample.facts(&filter.manners);
        let mut native = Native::new(&all, (filter.lines, Arc::clone(&series)), (&sample, facts));
        let mut stage = native.stage();

        native.acts.iter().for_each(|act| stage.take(act, (&mut native.lines, &series)));

        let stream = &stage.stream;
        assert_eq!((stream.request.first(b"x-a"), stream.request.first(b"accept")), (Some(&b"1"[..]), None));
        assert_eq!(stream.response.as_ref().unwrap().first(b"content-type"), Some(&b"text/html"[..]));
        assert_eq!(stream.set_by_filter(b"mine"), Some(&b"1"[..]));
        assert_eq!(stage.bodies[1].take(), "Goodbye, toll!\n");
        assert_eq!(metrics::value(&series.custom, metric), Ok(5));
    }

    #[test]
    fn readings_of_the_clock_are_those_of_one_exchange_and_what_is_not_repeated_is_named() {
        let (mut ledger, mut account) = (Ledger::default(), Account::default());
        for name in ["clock_time_get", "proxy_get_shared_data", "proxy_log", "clock_time_get"] {
            account.hostcall(name, Duration::ZERO, 0);
        }
        ledger.count(&mut account);
        let notes = ledger.take_notes();

        assert_eq!(with_clock(Vec::new(), &notes, 1), Some(vec![Step::Time; 2]));
        assert_eq!(with_clock(Vec::new(), &notes, 3), Some(Vec::new()));
        assert_eq!(with_clock(vec![Step::Time; Trail::STEPS - 1], &notes, 1), None);
        assert_eq!(without(&notes), ["proxy_get_shared_data"]);
    }
}
