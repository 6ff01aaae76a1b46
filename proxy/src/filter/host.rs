//! What one VM of a plugin may ask of the proxy: log lines, metrics, timers, names, exchanges of its own, and other
//! upstreams.
//!
//! A host is made on the control side, where the VM starts, and settles once on the worker that runs the VM.

mod asking;
mod contexts;
pub mod metrics;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fragile::Fragile;
use tokio::sync::Notify;
use tollgate_abi::{
    CallbackKind, CalloutId, CalloutRefusal, ContextId, GrpcCall, Host, HttpCall, LogLevel, MetricId, MetricKind,
    QueueId, Quota, Refusal, Status,
};

pub use self::asking::Asking;
pub use self::contexts::Contexts;
use crate::exchange::lent::Lent;
use crate::exchange::properties::node::Node;
use crate::filter::callout::desk::Desk;
use crate::filter::callout::{Event, hops};
use crate::filter::rehearsal::Stage;
use crate::telemetry::log::{self, LineBudget, LineQuota};
use crate::telemetry::metrics::{PluginSeries, Undefined, phase_index};

/// The shortest period of a timer: a faster one would cost its neighbours their CPU.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);
/// Lines that are kept of a starting VM, to be shown when it fails.
const KEPT_LINES: usize = 100;

/// Bytes of a metric's name that a log line shows.
const SHOWN_NAME: usize = 256;

/// Which plugin a host speaks for.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The plugin's name.
    pub name: Arc<str>,
    /// Which root context of the module it is.
    pub root_id: Arc<str>,
    /// Whose shared data it sees.
    pub vm_id: Arc<str>,
    /// The generation's number.
    pub generation: u64,
    /// How the proxy introduces itself.
    pub node: Arc<Node>,
}

/// What a VM asked the proxy for in its start that another VM of its image is owed, too.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    period: Option<Duration>,
    queues: Vec<QueueId>,
}

/// The timer of one root context: the period, and a bell for its change.
#[derive(Debug, Default)]
pub struct Ticker {
    /// Absent: no ticks.
    pub period: std::cell::Cell<Option<Duration>>,
    /// Rung when the period changed or the VM was replaced.
    pub changed: Notify,
}

/// What a host gets when its VM arrives at a worker.
pub struct Arrival {
    /// The worker's counters.
    pub series: Arc<PluginSeries>,
    /// Exchanges with a context in the VM.
    pub contexts: Rc<Contexts>,
    /// The timer of the root context.
    pub ticker: Rc<Ticker>,
    /// Where the VM's questions go.
    pub desk: Rc<Desk>,
    /// What all VMs of the plugin on that worker may log together.
    pub lines: Rc<RefCell<LineBudget>>,
}

/// What a host keeps of that.
struct Settled {
    contexts: Rc<Contexts>,
    ticker: Rc<Ticker>,
    lines: Rc<RefCell<LineBudget>>,
}

/// See the module.
pub struct PluginHost {
    identity: Identity,
    series: Arc<PluginSeries>,
    /// For the lines of the start.
    budget: LineBudget,
    /// Lines of the start; `None` once the VM serves and lines go straight to the log.
    kept: Option<Vec<(LogLevel, Vec<u8>)>>,
    /// The period asked for before the VM settled.
    period: Option<Duration>,
    settled: Option<Fragile<Settled>>,
    /// Time spent in the guest since it was last asked for.
    spent: Duration,
    /// When the next entry begins, if that is known.
    begins: Option<Instant>,
    /// When the guest was entered last.
    entered: Option<Instant>,
    asking: Asking,
}

impl PluginHost {
    /// A host for a VM that is about to start and may log so much; it counts in the control side's series.
    pub fn new(identity: Identity, lines: LineQuota, series: Arc<PluginSeries>, asking: Asking) -> Self {
        Self {
            identity,
            series,
            budget: LineBudget::new(lines, Instant::now()),
            kept: Some(Vec::new()),
            period: None,
            settled: None,
            spent: Duration::ZERO,
            begins: None,
            entered: None,
            asking,
        }
    }

    /// What its VM asked for in its start; to be called before it settles.
    pub fn asked(&self) -> Asked {
        Asked { period: self.period, queues: self.asking.queues().to_vec() }
    }

    /// Asks for the same; to be called before it settles.
    pub fn ask_again(&mut self, asked: &Asked) {
        self.period = asked.period;
        asked.queues.iter().for_each(|queue| self.asking.registered(*queue));
    }

    /// The lines that a failed start leaves, as text.
    pub fn kept_lines(&self) -> Vec<String> {
        let lines = self.kept.iter().flatten();
        let text = |bytes| log::GuestText { bytes, limit: self.budget.bytes() };
        lines.map(|(level, line)| format!("{}: {}", level_name(*level), text(line))).collect()
    }

    /// Arrives at a worker: kept lines are logged, counters and the timer move here, kept questions are asked.
    pub fn settle(&mut self, arrival: Arrival) {
        for (level, line) in self.kept.take().into_iter().flatten() {
            self.write(level, &line);
        }
        let Arrival { series, contexts, ticker, desk, lines } = arrival;
        self.series = series;
        ticker.period.set(self.period);
        ticker.changed.notify_one();
        self.settled = Some(Fragile::new(Settled { contexts, ticker, lines }));
        self.asking.settle(desk);
    }

    /// True while the VM waits for what it asked others for.
    pub fn is_waiting(&self) -> bool {
        self.asking.is_waiting()
    }

    /// True when answers of that desk are for this VM.
    pub fn is_served_by(&self, desk: &Desk) -> bool {
        self.asking.is_of(desk)
    }

    /// What the guest is told of next came after so many callouts.
    pub fn follow(&mut self, hops: u8) {
        self.asking.follow(hops);
    }

    /// The guest is about to hear of the end of this.
    pub fn forget(&mut self, event: &Event) {
        self.asking.forget(event);
    }

    /// True when the guest was refused a callout since `follow` because it would go round, for the exchange it was entered with.
    pub fn looped(&self) -> bool {
        self.asking.looped(None)
    }

    /// The next entry begins at this moment, if it is one; else somebody looks at the clock.
    pub fn begin_at(&mut self, moment: Option<Instant>) {
        (self.begins, self.entered) = (moment, None);
    }

    /// Time spent in the guest since the last call of this, and when it was left, if it was entered since.
    pub fn take_times(&mut self) -> (Duration, Option<Instant>) {
        let spent = std::mem::take(&mut self.spent);
        self.begins = None;
        (spent, self.entered.take().map(|entered| entered + spent))
    }

    fn write(&mut self, level: LogLevel, message: &[u8]) {
        // A line that nobody would see takes nothing from those that somebody would.
        if level < lowest_level() {
            return;
        }
        let Some(dropped) = self.take_line() else {
            self.drop_line();
            return;
        };
        if dropped > 0 {
            tracing::warn!(filter = &*self.identity.name, dropped, "lines of the filter were dropped");
        }
        let text = log::GuestText { bytes: message, limit: self.budget.bytes() };
        log::guest_line(&self.identity.name, self.identity.generation, level, &text);
    }

    /// As [`LineBudget::take`] says.
    fn take_line(&mut self) -> Option<u64> {
        let now = Instant::now();
        match &self.settled {
            Some(settled) => settled.get().lines.borrow_mut().take(now),
            None => self.budget.take(now),
        }
    }

    fn drop_line(&self) {
        self.series.log_lines_dropped.inc();
        self.series.over_quota(Quota::Log);
    }

    /// Says once for a plugin why a metric is missing from the page.
    fn undefined(&self, name: &[u8], why: Undefined, first: bool) {
        if why == Undefined::Cap {
            self.series.over_quota(Quota::MetricSeries);
        }
        if first {
            let metric = log::GuestText { bytes: name, limit: SHOWN_NAME };
            tracing::warn!(filter = &*self.identity.name, %metric, "a metric counts nowhere: {why}");
        }
    }
}

fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
        LogLevel::Critical => "critical",
    }
}

/// The lowest level that anybody would see.
fn lowest_level() -> LogLevel {
    match tracing::level_filters::LevelFilter::current().into_level() {
        Some(tracing::Level::TRACE) => LogLevel::Trace,
        Some(tracing::Level::DEBUG) => LogLevel::Debug,
        Some(tracing::Level::INFO) => LogLevel::Info,
        Some(tracing::Level::WARN) => LogLevel::Warn,
        Some(tracing::Level::ERROR) => LogLevel::Error,
        None => LogLevel::Critical,
    }
}

/// What its VM asks of others is not answered in a rehearsal.
impl Stage for PluginHost {}

impl Host for PluginHost {
    type Stream = Lent;

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        match &mut self.kept {
            Some(kept) if kept.len() < KEPT_LINES => kept.push((level, message.to_vec())),
            Some(_) => self.drop_line(),
            None => self.write(level, message),
        }
    }

    fn log_level(&self) -> LogLevel {
        lowest_level()
    }

    fn callback_begins(&mut self) -> Instant {
        let begins = self.begins.take().unwrap_or_else(Instant::now);
        self.entered = Some(begins);
        begins
    }

    fn callback_ended(&mut self, callback: CallbackKind, elapsed: Duration) {
        let phase = phase_index(callback);
        self.spent += elapsed;
        self.series.calls[phase].inc();
        self.series.duration[phase].observe(elapsed);
    }

    fn refused(&mut self, hostcall: &'static str, why: &Refusal) {
        self.series.refusals.inc();
        if let Refusal::Callout(why) = why {
            self.asking.refused(hostcall, why);
        }
        self.log(LogLevel::Warn, format!("{hostcall} had no effect: {why}").as_bytes());
    }

    fn over_quota(&mut self, quota: Quota) {
        self.series.over_quota(quota);
    }

    fn set_tick_period(&mut self, period: Option<Duration>) {
        let period = period.map(|period| period.max(SHORTEST_PERIOD));
        self.period = period;
        if let Some(settled) = &self.settled {
            let ticker = &settled.get().ticker;
            ticker.period.set(period);
            ticker.changed.notify_one();
        }
    }

    fn property(&mut self, path: &[&[u8]]) -> Option<Vec<u8>> {
        let value = match path {
            [b"plugin_name"] => &self.identity.name,
            [b"plugin_root_id"] => &self.identity.root_id,
            [b"plugin_vm_id"] => &self.identity.vm_id,
            _ => return self.identity.node.find(path),
        };
        Some(value.as_bytes().to_vec())
    }

    fn borrow_stream(&mut self, context: ContextId) -> Option<Lent> {
        let stream = self.settled.as_ref()?.get().contexts.lend(context)?;
        self.asking.turn_to(context, &stream);
        Some(stream)
    }

    fn return_stream(&mut self, context: ContextId, mut stream: Lent) {
        if self.asking.looped(Some(context)) {
            hops::end_loop(&mut stream);
        }
        if let Some(settled) = &self.settled {
            settled.get().contexts.put_back(context, stream, &self.identity.name);
        }
    }

    fn http_call(&mut self, id: CalloutId, call: HttpCall) -> Result<(), CalloutRefusal> {
        self.asking.http(id, call)
    }

    fn grpc_call(&mut self, id: CalloutId, call: GrpcCall) -> Result<(), CalloutRefusal> {
        self.asking.grpc(id, call)
    }

    fn grpc_send(&mut self, id: CalloutId, message: Vec<u8>, end_of_stream: bool) {
        self.asking.grpc_send(id, &message, end_of_stream);
    }

    fn grpc_close(&mut self, id: CalloutId) {
        self.asking.grpc_close(id);
    }

    fn cancel_call(&mut self, id: CalloutId) {
        self.asking.cancel(id);
    }

    fn queue_registered(&mut self, queue: QueueId) {
        self.asking.registered(queue);
    }

    fn resolve_dns(&mut self, token: u32, name: &str) -> Result<(), CalloutRefusal> {
        self.asking.resolve(token, name)
    }

    fn set_timer(&mut self, timer: u32, after: Duration) {
        self.asking.timer(timer, after);
    }

    fn cancel_timer(&mut self, timer: u32) {
        self.asking.cancel_timer(timer);
    }

    fn define_metric(&mut self, kind: MetricKind, name: &[u8]) -> Result<MetricId, Status> {
        let (metric, why) = metrics::define(&self.series.custom, kind, name);
        if let Some((why, first)) = why {
            self.undefined(name, why, first);
        }
        Ok(metric)
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
