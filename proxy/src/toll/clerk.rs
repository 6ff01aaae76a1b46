//! The host of a VM that is measured: it lets the filter do what it would do in a proxy, and notes what that takes.
//!
//! Log lines and metrics go nowhere; HTTP callouts are answered at once, see `passing`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tollgate_abi::{
    CallbackKind, CalloutId, CalloutRefusal, ContextId, Host, HttpCall, LogLevel, MetricId, MetricKind, Status, Stream,
};

use crate::toll::series::nanoseconds;

/// Lines that are kept to be shown when the filter fails, the last ones.
const LINES: usize = 20;
/// Metrics that a filter may define.
const METRICS: usize = 10_000;

/// See the module. With `METERED` hostcalls are timed, which costs two clock reads each.
pub(super) struct Clerk<S, const METERED: bool> {
    /// Nanoseconds of each callback; the place is its kind's number.
    callbacks: [Vec<u32>; CallbackKind::ALL.len()],
    /// How often each hostcall was made, and how long all of them took.
    pub(super) hostcalls: BTreeMap<&'static str, (u32, Duration)>,
    /// The last lines of the filter.
    pub(super) lines: Vec<String>,
    /// Callouts that wait for an answer.
    pub(super) callouts: Vec<CalloutId>,
    /// The exchange, while no callback of its own holds it.
    pub(super) parked: Option<S>,
    metrics: HashMap<Vec<u8>, MetricId>,
}

impl<S, const METERED: bool> Default for Clerk<S, METERED> {
    fn default() -> Self {
        Self {
            callbacks: Default::default(),
            hostcalls: BTreeMap::new(),
            lines: Vec::new(),
            callouts: Vec::new(),
            parked: None,
            metrics: HashMap::new(),
        }
    }
}

impl<S, const METERED: bool> Clerk<S, METERED> {
    /// Forgets what was measured.
    pub(super) fn clear(&mut self) {
        self.callbacks.iter_mut().for_each(Vec::clear);
        self.hostcalls.clear();
    }

    /// Nanoseconds of each callback that was entered.
    pub(super) fn callbacks(&self) -> impl Iterator<Item = (CallbackKind, &[u32])> {
        let all = CallbackKind::ALL.into_iter().map(|kind| (kind, self.callbacks[kind as usize].as_slice()));
        all.filter(|(_, samples)| !samples.is_empty())
    }
}

impl<S: Stream, const METERED: bool> Host for Clerk<S, METERED> {
    type Stream = S;

    const METERS_HOSTCALLS: bool = METERED;

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        if self.lines.len() == LINES {
            self.lines.remove(0);
        }
        self.lines.push(format!("{level:?}: {}", String::from_utf8_lossy(message).escape_debug()));
    }

    fn callback_ended(&mut self, callback: CallbackKind, elapsed: Duration) {
        self.callbacks[callback as usize].push(nanoseconds(elapsed));
    }

    fn hostcall_ended(&mut self, hostcall: &'static str, elapsed: Duration, _copied: usize) {
        let (calls, time) = self.hostcalls.entry(hostcall).or_default();
        *calls += 1;
        *time += elapsed;
    }

    fn http_call(&mut self, id: CalloutId, _: HttpCall) -> Result<(), CalloutRefusal> {
        self.callouts.push(id);
        Ok(())
    }

    fn borrow_stream(&mut self, _: ContextId) -> Option<S> {
        self.parked.take()
    }

    fn return_stream(&mut self, _: ContextId, stream: S) {
        self.parked = Some(stream);
    }

    fn define_metric(&mut self, kind: MetricKind, name: &[u8]) -> Result<MetricId, Status> {
        let known = self.metrics.len();
        if let Some(id) = self.metrics.get(name) {
            return Ok(*id);
        }
        let place = u32::try_from(known).ok().filter(|_| known < METRICS).ok_or(Status::InternalFailure)?;
        let id = MetricId(place * 4 + u32::from(kind));
        self.metrics.insert(name.to_vec(), id);
        Ok(id)
    }

    fn increment_metric(&mut self, _: MetricId, _: i64) -> Result<(), Status> {
        Ok(())
    }

    fn record_metric(&mut self, _: MetricId, _: u64) -> Result<(), Status> {
        Ok(())
    }

    fn metric(&mut self, _: MetricId) -> Result<u64, Status> {
        Ok(0)
    }
}
