//! The host of a VM that is measured: it lets the filter do what it would do in a proxy, and notes what that takes.
//!
//! Lines below the level go nowhere, others are kept to be shown when the filter fails; metrics are those of the proxy.
//! Callouts over HTTP are answered behind the callback that made them, with 200 and nothing, and others are refused.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tollgate_abi::{
    CallbackKind, CalloutId, CalloutRefusal, ContextId, Failure, Host, HttpCall, HttpReply, LogLevel, MetricId,
    MetricKind, Status, VecHeaderMap, Vm,
};

use crate::filter::host::metrics;
use crate::filter::rehearsal::{Carrier, Stage};
use crate::telemetry::log::GuestText;
use crate::telemetry::metrics::{PluginSeries, Registry, Track};
use crate::toll::filter::Filter;
use crate::toll::series::nanoseconds;

/// Lines that are kept, the last ones.
const LINES: usize = 20;
/// The lowest level that a proxy writes unless it is told otherwise.
const LEVEL: LogLevel = LogLevel::Info;
/// Callouts that are answered behind one callback: a filter may begin another in each answer, for ever.
const CALLOUTS: usize = 32;
/// Times that are kept of one thing.
const TIMES: usize = 1_000_000;

/// See the module. With `METERED` hostcalls are timed, which costs two clock reads each.
pub(super) struct Clerk<S, const METERED: bool> {
    /// What exchanges came to that passed; the place of each callback is its kind's number.
    callbacks: Box<[Entries; CallbackKind::ALL.len()]>,
    /// The same of hostcalls, by their name.
    hostcalls: BTreeMap<&'static str, Entries>,
    /// Callbacks of the exchange under way.
    entered: Vec<(CallbackKind, Duration, Within)>,
    /// Its hostcalls.
    called: Vec<(&'static str, Within)>,
    /// Hostcalls of the callback that runs.
    running: Within,
    lines: VecDeque<(LogLevel, String)>,
    /// The most bytes of a line that are shown.
    line: usize,
    /// Callouts that wait for an answer, in their order.
    asked: VecDeque<CalloutId>,
    /// The exchange, while no callback of its own holds it.
    parked: Option<(ContextId, S)>,
    series: Arc<PluginSeries>,
}

/// One kind of callback or hostcall.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    /// How often it was entered.
    pub(super) count: u32,
    /// Nanoseconds of each.
    pub(super) times: Vec<u32>,
    /// Of a callback: nanoseconds inside hostcalls, of each.
    pub(super) inside: Vec<u32>,
    /// Hostcalls within all of them; of a hostcall, itself.
    pub(super) hostcalls: u32,
    /// Bytes that all of them copied.
    pub(super) copied: usize,
}

/// What hostcalls came to within one callback.
#[derive(Clone, Copy, Debug, Default)]
struct Within {
    calls: u32,
    time: Duration,
    copied: usize,
}

impl Entries {
    fn note(&mut self, time: Duration, within: Within) {
        self.count += 1;
        self.hostcalls += within.calls;
        self.copied += within.copied;
        if self.times.len() < TIMES {
            self.times.push(nanoseconds(time));
            self.inside.push(nanoseconds(within.time));
        }
    }
}

/// What a clerk has noted.
#[derive(Default)]
pub(super) struct Notes {
    /// By callback.
    pub(super) callbacks: Vec<(CallbackKind, Entries)>,
    /// By hostcall.
    pub(super) hostcalls: BTreeMap<&'static str, Entries>,
}

impl<S, const METERED: bool> Clerk<S, METERED> {
    pub(super) fn new(filter: &Filter) -> Self {
        let registry = Registry::new(0);
        let series = registry.plugin(registry.control(), (&filter.name, Track::Stable), filter.metric_series);
        Self {
            callbacks: Default::default(),
            hostcalls: BTreeMap::new(),
            entered: Vec::new(),
            called: Vec::new(),
            running: Within::default(),
            lines: VecDeque::new(),
            line: filter.line,
            asked: VecDeque::new(),
            parked: None,
            series,
        }
    }

    /// The exchange under way has passed: what it came to counts. That of one whose filter fails never does.
    pub(super) fn count(&mut self) {
        for (kind, time, within) in self.entered.drain(..) {
            self.callbacks[kind as usize].note(time, within);
        }
        for (name, itself) in self.called.drain(..) {
            self.hostcalls.entry(name).or_default().note(itself.time, itself);
        }
    }

    /// Forgets what was entered before the first exchange.
    pub(super) fn forget(&mut self) {
        self.entered.clear();
        self.called.clear();
    }

    /// Hands over what was noted since the last call of this.
    pub(super) fn take_notes(&mut self) -> Notes {
        let callbacks = CallbackKind::ALL.into_iter().zip(*std::mem::take(&mut self.callbacks));
        Notes {
            callbacks: callbacks.filter(|(_, entries)| entries.count > 0).collect(),
            hostcalls: std::mem::take(&mut self.hostcalls),
        }
    }

    /// The filter's last lines.
    pub(super) fn said(&self) -> Vec<String> {
        let text = |(level, text): &(LogLevel, String)| format!("{}: {text}", format!("{level:?}").to_lowercase());
        self.lines.iter().map(text).collect()
    }
}

impl<S: Carrier, const METERED: bool> Clerk<S, METERED> {
    /// Answers what the filter asked others for, in its order.
    pub(super) fn answer(vm: &mut Vm<Self>) -> Result<(), Failure> {
        for _ in 0..CALLOUTS {
            let Some(callout) = vm.host_mut().asked.pop_front() else { return Ok(()) };
            vm.http_call_ended(callout, Ok(reply()))?;
        }
        vm.host_mut().asked.clear();
        Ok(())
    }
}

fn reply() -> HttpReply {
    HttpReply { headers: VecHeaderMap::new([(":status", "200")]), ..HttpReply::default() }
}

impl<S: Carrier, const METERED: bool> Stage for Clerk<S, METERED> {
    fn behind(vm: &mut Vm<Self>, id: ContextId, carrier: S) -> (S, Result<(), Failure>) {
        if vm.host().asked.is_empty() {
            return (carrier, Ok(()));
        }
        vm.host_mut().parked = Some((id, carrier));
        let answered = Self::answer(vm);
        #[expect(clippy::expect_used, reason = "whatever a VM borrows it returns, see `Host::return_stream`")]
        let (_, carrier) = vm.host_mut().parked.take().expect("the exchange is parked");
        (carrier, answered)
    }
}

impl<S: Carrier, const METERED: bool> Host for Clerk<S, METERED> {
    type Stream = S;

    const METERS_HOSTCALLS: bool = METERED;

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        if level < LEVEL {
            return;
        }
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        // Putting it into words is what a proxy does for each line.
        self.lines.push_back((level, GuestText { bytes: message, limit: self.line }.to_string()));
    }

    fn log_level(&self) -> LogLevel {
        LEVEL
    }

    fn callback_ended(&mut self, callback: CallbackKind, elapsed: Duration) {
        let within = std::mem::take(&mut self.running);
        self.entered.push((callback, elapsed, within));
    }

    fn hostcall_ended(&mut self, hostcall: &'static str, elapsed: Duration, copied: usize) {
        self.running.calls += 1;
        self.running.time += elapsed;
        self.running.copied += copied;
        self.called.push((hostcall, Within { calls: 1, time: elapsed, copied }));
    }

    fn http_call(&mut self, id: CalloutId, _: HttpCall) -> Result<(), CalloutRefusal> {
        self.asked.push_back(id);
        Ok(())
    }

    fn borrow_stream(&mut self, context: ContextId) -> Option<S> {
        self.parked.take_if(|(id, _)| *id == context).map(|(_, stream)| stream)
    }

    fn return_stream(&mut self, context: ContextId, stream: S) {
        self.parked = Some((context, stream));
    }

    fn define_metric(&mut self, kind: MetricKind, name: &[u8]) -> Result<MetricId, Status> {
        Ok(metrics::define(&self.series.custom, kind, name).0)
    }

    fn increment_metric(&mut self, metric: MetricId, delta: i64) -> Result<(), Status> {
        metrics::increment(&self.series.custom, metric, delta)
    }

    fn record_metric(&mut self, metric: MetricId, value: u64) -> Result<(), Status> {
        metrics::record(&self.series.custom, metric, value)
    }

    fn metric(&mut self, metric: MetricId) -> Result<u64, Status> {
        metrics::value(&self.series.custom, metric)
    }
}
