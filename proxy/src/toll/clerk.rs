//! The host of a VM that is measured: it lets the filter do what it would do in a proxy, and notes what that takes.
//!
//! Lines below the level or beyond the quota go nowhere, others are kept to be shown when the filter fails; metrics are those
//! of the proxy. Callouts over HTTP are answered behind the callback that made them, with 200 and nothing, and others are
//! refused.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate_abi::{
    CallbackKind, CalloutFailure, CalloutId, CalloutRefusal, ContextId, Failure, Host, HttpCall, HttpReply, LogLevel,
    MetricId, MetricKind, Status, VecHeaderMap, Vm,
};

use crate::filter::host::metrics;
use crate::filter::rehearsal::{Carrier, Stage};
use crate::telemetry::log::{GuestText, LineBudget};
use crate::telemetry::metrics::{PluginSeries, Registry, Track};
use crate::toll::filter::Filter;
use crate::toll::ledger::Account;
use crate::toll::traced::{Step, Trail};

/// Lines that are kept, the last ones.
const LINES: usize = 20;
/// The lowest level that a proxy writes unless it is told otherwise.
const LEVEL: LogLevel = LogLevel::Info;
/// Callouts that are answered behind one callback: a filter may begin another in each answer, for ever.
const CALLOUTS: usize = 32;

/// See the module. With `METERED` hostcalls are timed, which costs two clock reads each.
pub(super) struct Clerk<S, const METERED: bool> {
    /// What the exchange under way has come to.
    pub(super) account: Account,
    lines: VecDeque<(LogLevel, String)>,
    /// What may be logged.
    budget: LineBudget,
    /// Callouts that wait for an answer, in their order.
    asked: VecDeque<CalloutId>,
    /// As many were answered behind one callback as may be.
    refuses: bool,
    /// The exchange, while no callback of its own holds it.
    parked: Option<(ContextId, S)>,
    /// What the filter did with lines and metrics, where that is to be repeated.
    pub(super) trail: Option<Trail>,
    pub(super) series: Arc<PluginSeries>,
}

impl<S, const METERED: bool> Clerk<S, METERED> {
    pub(super) fn new(filter: &Filter) -> Self {
        let registry = Registry::new(0);
        let series = registry.plugin(registry.control(), (&filter.name, Track::Stable), filter.metric_series);
        Self {
            account: Account::default(),
            lines: VecDeque::new(),
            budget: LineBudget::new(filter.lines, Instant::now()),
            asked: VecDeque::new(),
            refuses: false,
            parked: None,
            trail: None,
            series,
        }
    }

    /// The host of the VM that comes after: what this one keeps moves there.
    pub(super) fn successor(&mut self) -> Self {
        Self {
            account: std::mem::take(&mut self.account),
            lines: std::mem::take(&mut self.lines),
            budget: self.budget.clone(),
            asked: VecDeque::new(),
            refuses: false,
            parked: None,
            trail: self.trail.take(),
            series: Arc::clone(&self.series),
        }
    }

    fn note(&mut self, bytes: usize, step: impl FnOnce() -> Step) {
        if let Some(trail) = &mut self.trail {
            trail.note(bytes, step);
        }
    }

    /// The filter's last lines.
    pub(super) fn said(&self) -> Vec<String> {
        let text = |(level, text): &(LogLevel, String)| format!("{}: {text}", format!("{level:?}").to_lowercase());
        self.lines.iter().map(text).collect()
    }
}

impl<S: Carrier, const METERED: bool> Clerk<S, METERED> {
    /// Answers what the filter asked others for, in its order. What is asked beyond the bound fails, and nothing new may be
    /// asked meanwhile: none stays under way.
    pub(super) fn answer(vm: &mut Vm<Self>) -> Result<(), Failure> {
        for _ in 0..CALLOUTS {
            let Some(callout) = vm.host_mut().asked.pop_front() else { return Ok(()) };
            vm.http_call_ended(callout, Ok(reply()))?;
        }
        vm.host_mut().refuses = true;
        while let Some(callout) = vm.host_mut().asked.pop_front() {
            vm.http_call_ended(callout, Err(CalloutFailure::Overflow))?;
        }
        vm.host_mut().refuses = false;
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
        self.note(message.len(), || Step::Log(message.to_vec()));
        // As in a proxy, a line beyond the quota goes nowhere, and one within it is put into words.
        if self.budget.take(Instant::now()).is_none() {
            return;
        }
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back((level, GuestText { bytes: message, limit: self.budget.bytes() }.to_string()));
    }

    fn log_level(&self) -> LogLevel {
        LEVEL
    }

    fn callback_ended(&mut self, callback: CallbackKind, elapsed: Duration) {
        self.account.callback(callback, elapsed);
    }

    fn hostcall_ended(&mut self, hostcall: &'static str, elapsed: Duration, copied: usize) {
        self.account.hostcall(hostcall, elapsed, copied);
    }

    fn http_call(&mut self, id: CalloutId, _: HttpCall) -> Result<(), CalloutRefusal> {
        if self.refuses {
            return Err(CalloutRefusal::Overflow("callouts behind one callback of a measurement"));
        }
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
        self.note(0, || Step::Increment(metric, delta));
        metrics::increment(&self.series.custom, metric, delta)
    }

    fn record_metric(&mut self, metric: MetricId, value: u64) -> Result<(), Status> {
        self.note(0, || Step::Record(metric, value));
        metrics::record(&self.series.custom, metric, value)
    }

    fn metric(&mut self, metric: MetricId) -> Result<u64, Status> {
        metrics::value(&self.series.custom, metric)
    }
}
