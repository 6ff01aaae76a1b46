//! What one VM of a plugin may ask of the proxy: log lines, metrics, a timer, names, and exchanges of its own.
//!
//! A host is made on the control side, where the VM starts, and settles once on the worker that runs the VM.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fragile::Fragile;
use tokio::sync::Notify;
use tollgate_abi::{CallbackKind, ContextId, Host, LogLevel, MetricId, MetricKind, Quota, Refusal, Status};

use crate::exchange::Exchange;
use crate::exchange::lent::{Lender, Lent};
use crate::exchange::passage::Passage;
use crate::exchange::properties::node::Node;
use crate::telemetry::log::{self, LineBudget, LineQuota};
use crate::telemetry::metrics::{PluginSeries, Undefined, phase_index};

/// The shortest period of a timer: a faster one would cost its neighbours their CPU.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);
/// Lines that are kept of a starting VM, to be shown when it fails.
const KEPT_LINES: usize = 100;

/// Bytes of a metric's name that a log line shows.
const SHOWN_NAME: usize = 256;
/// The place of a metric that counts nowhere: the last one that an id has room for.
const NOWHERE: u32 = u32::MAX >> 2;

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

/// The exchanges and connections that have a context in one VM, and the place of the filter in their chains.
#[derive(Default)]
pub struct Contexts {
    live: RefCell<HashMap<ContextId, Owner, BuildHasherDefault<IdHasher>>>,
}

/// Whose a context is, and the place of the filter in its chain.
struct Owner {
    lender: Lender,
    place: usize,
}

impl Contexts {
    /// A context was created for the filter at `place` of the exchange's chain.
    pub fn insert(&self, context: ContextId, exchange: &Rc<Exchange>, place: usize) {
        let owner = Owner { lender: Lender::Exchange(Rc::clone(exchange)), place };
        self.live.borrow_mut().insert(context, owner);
    }

    /// A context was created for the filter at `place` of a connection's chain.
    pub fn insert_passage(&self, context: ContextId, passage: &Rc<Passage>, place: usize) {
        let owner = Owner { lender: Lender::Passage(Rc::clone(passage)), place };
        self.live.borrow_mut().insert(context, owner);
    }

    /// A context is gone.
    pub fn remove(&self, context: ContextId) {
        self.live.borrow_mut().remove(&context);
    }

    /// Forgets all of them, waking each exchange: the VM is dead and its policy is due.
    pub fn abandon(&self) {
        let abandoned = std::mem::take(&mut *self.live.borrow_mut());
        abandoned.values().for_each(|owner| owner.lender.wake());
    }
}

/// The timer of one root context: the period, and a bell for its change.
#[derive(Debug, Default)]
pub struct Ticker {
    /// Absent: no ticks.
    pub period: std::cell::Cell<Option<Duration>>,
    /// Rung when the period changed or the VM was replaced.
    pub changed: Notify,
}

/// Spreads context ids, which only we choose: one multiplication, where a keyed hash would cost more than the look-up.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    /// 2⁶⁴ divided by the golden ratio (Knuth, The Art of Computer Programming, vol. 3, §6.4).
    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// What a host gets when its VM arrives at a worker.
struct Settled {
    contexts: Rc<Contexts>,
    ticker: Rc<Ticker>,
}

/// See the module.
pub struct PluginHost {
    identity: Identity,
    series: Arc<PluginSeries>,
    budget: LineBudget,
    /// Lines of the start; `None` once the VM serves and lines go straight to the log.
    kept: Option<Vec<(LogLevel, Vec<u8>)>>,
    /// The period asked for before the VM settled.
    period: Option<Duration>,
    settled: Option<Fragile<Settled>>,
    /// Time spent in the guest since it was last asked for.
    spent: Duration,
}

impl PluginHost {
    /// A host for a VM that is about to start and may log so much; it counts in the control side's series.
    pub fn new(identity: Identity, lines: LineQuota, series: Arc<PluginSeries>) -> Self {
        Self {
            identity,
            series,
            budget: LineBudget::new(lines, Instant::now()),
            kept: Some(Vec::new()),
            period: None,
            settled: None,
            spent: Duration::ZERO,
        }
    }

    /// The lines that a failed start leaves, as text.
    pub fn kept_lines(&self) -> Vec<String> {
        let lines = self.kept.iter().flatten();
        let text = |bytes| log::GuestText { bytes, limit: self.budget.bytes() };
        lines.map(|(level, line)| format!("{}: {}", level_name(*level), text(line))).collect()
    }

    /// Arrives at a worker: kept lines are logged, counters and the timer move here.
    pub fn settle(&mut self, series: Arc<PluginSeries>, contexts: Rc<Contexts>, ticker: Rc<Ticker>) {
        for (level, line) in self.kept.take().into_iter().flatten() {
            self.write(level, &line);
        }
        self.series = series;
        ticker.period.set(self.period);
        ticker.changed.notify_one();
        self.settled = Some(Fragile::new(Settled { contexts, ticker }));
    }

    /// Time spent in the guest since the last call of this.
    pub fn take_spent(&mut self) -> Duration {
        std::mem::take(&mut self.spent)
    }

    fn write(&mut self, level: LogLevel, message: &[u8]) {
        let Some(dropped) = self.budget.take(Instant::now()) else {
            self.drop_line();
            return;
        };
        if dropped > 0 {
            tracing::warn!(filter = &*self.identity.name, dropped, "lines of the filter were dropped");
        }
        let text = log::GuestText { bytes: message, limit: self.budget.bytes() };
        log::guest_line(&self.identity.name, self.identity.generation, level, &text);
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

    fn live<T>(&self, context: ContextId, act: impl FnOnce(&Lender, usize) -> T) -> Option<T> {
        let settled = self.settled.as_ref()?.get();
        let live = settled.contexts.live.borrow();
        live.get(&context).map(|owner| act(&owner.lender, owner.place))
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

    fn callback_ended(&mut self, callback: CallbackKind, elapsed: Duration) {
        let phase = phase_index(callback);
        self.spent += elapsed;
        self.series.calls[phase].inc();
        self.series.duration[phase].observe(elapsed);
    }

    fn refused(&mut self, hostcall: &'static str, why: &Refusal) {
        self.series.refusals.inc();
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
        self.live(context, Lender::lend).flatten()
    }

    fn return_stream(&mut self, context: ContextId, stream: Lent) {
        self.live(context, |lender, _| lender.take_back(stream));
    }

    fn define_metric(&mut self, kind: MetricKind, name: &[u8]) -> Result<MetricId, Status> {
        // An SDK would abort on an error, so what cannot be defined becomes a metric that counts nowhere.
        let defined = self.series.custom.define(kind, name).map_err(|(why, first)| self.undefined(name, why, first));
        let slot = defined.ok().filter(|slot| *slot < NOWHERE).unwrap_or(NOWHERE);
        // Envoy's numbering: the kind in the low two bits.
        Ok(MetricId(slot << 2 | kind as u32))
    }

    fn increment_metric(&mut self, metric: MetricId, delta: i64) -> Result<(), Status> {
        let counted = self.series.custom.increment(metric.0 >> 2, delta);
        counted.or((metric.0 >> 2 == NOWHERE).then_some(())).ok_or(Status::NotFound)
    }

    fn record_metric(&mut self, metric: MetricId, value: u64) -> Result<(), Status> {
        let counted = self.series.custom.record(metric.0 >> 2, value);
        counted.or((metric.0 >> 2 == NOWHERE).then_some(())).ok_or(Status::NotFound)
    }

    fn metric(&mut self, metric: MetricId) -> Result<u64, Status> {
        let value = self.series.custom.get(metric.0 >> 2);
        value.or((metric.0 >> 2 == NOWHERE).then_some(0)).ok_or(Status::NotFound)
    }
}
