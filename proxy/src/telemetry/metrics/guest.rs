//! Metrics that guests define: names become series, bounded per plugin.
//!
//! All workers of a plugin see one set: a slot means the same everywhere, a gauge has one level, a counter is the sum of
//! what every worker counted. Defining takes a lock shared by the workers of one plugin; counting takes none. How names
//! are shown is decided in `guest/name.rs`, once, when the metric is defined.

mod name;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tollgate_abi::MetricKind;

pub(super) use self::name::SeriesName;
use super::cell::{Counter, Distribution, GUEST_SCALE, Histogram, SharedCounter};

/// Series that the guests of one plugin may define, over all workers.
pub const MAX_SERIES: usize = 1_000;

const CHUNK: usize = 64;
const CHUNKS: usize = MAX_SERIES.div_ceil(CHUNK);

/// What the guests of one plugin have defined, and where each worker keeps its part of the values.
#[derive(Debug, Default)]
pub(super) struct GuestTable {
    /// Guards definitions and the list of workers, no values.
    definitions: Mutex<Definitions>,
    /// Definitions refused: over the cap, or a name that cannot be shown.
    dropped: SharedCounter,
}

#[derive(Debug, Default)]
struct Definitions {
    slots: HashMap<(SeriesName, MetricKind), u32>,
    /// In the order of their slots.
    series: Vec<Definition>,
    /// Kept after a worker has gone, so that counters never fall.
    workers: Vec<Arc<Cells>>,
}

/// One series of a plugin.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    /// How it is shown.
    pub(super) name: SeriesName,
    /// What its numbers mean.
    pub(super) kind: MetricKind,
    /// The level, where this is a gauge.
    level: Arc<AtomicI64>,
}

/// A series with its value over all workers.
pub(super) enum GuestValue {
    Counter(u64),
    Gauge(i64),
    Histogram(Distribution),
}

impl GuestTable {
    /// Every series with its value, in the order of their slots.
    pub(super) fn values(&self) -> Vec<(SeriesName, GuestValue)> {
        let definitions = self.lock();
        let with_value = |(slot, series): (u32, &Definition)| (series.name.clone(), definitions.value(slot, series));
        (0..).zip(&definitions.series).map(with_value).collect()
    }

    /// Definitions refused so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    fn slot(&self, kind: MetricKind, name: &[u8]) -> Option<u32> {
        let slot = SeriesName::parse(name).and_then(|name| self.lock().slot(name, kind));
        if slot.is_none() {
            self.dropped.inc();
        }
        slot
    }

    fn lock(&self) -> MutexGuard<'_, Definitions> {
        self.definitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Definitions {
    fn slot(&mut self, name: SeriesName, kind: MetricKind) -> Option<u32> {
        let key = (name.clone(), kind);
        if let Some(slot) = self.slots.get(&key) {
            return Some(*slot);
        }
        if self.series.len() >= MAX_SERIES {
            return None;
        }
        let slot = u32::try_from(self.series.len()).ok()?;
        self.series.push(Definition { name, kind, level: Arc::default() });
        self.slots.insert(key, slot);
        Some(slot)
    }

    fn definition(&self, slot: u32) -> Option<&Definition> {
        self.series.get(usize::try_from(slot).ok()?)
    }

    fn value(&self, slot: u32, series: &Definition) -> GuestValue {
        let cells = self.workers.iter().filter_map(|worker| worker.get(slot));
        match series.kind {
            MetricKind::Counter => GuestValue::Counter(cells.filter_map(Cell::count).fold(0, u64::wrapping_add)),
            MetricKind::Gauge => GuestValue::Gauge(series.level.load(Relaxed)),
            MetricKind::Histogram => GuestValue::Histogram(Distribution::of(cells.filter_map(Cell::histogram))),
        }
    }
}

/// The guest-defined metrics of one plugin, as one worker writes them.
#[derive(Debug)]
pub struct GuestMetrics {
    table: Arc<GuestTable>,
    cells: Arc<Cells>,
}

impl GuestMetrics {
    pub(super) fn new(table: Arc<GuestTable>) -> GuestMetrics {
        let cells = Arc::new(Cells::default());
        table.lock().workers.push(Arc::clone(&cells));
        GuestMetrics { table, cells }
    }

    pub(super) fn table(&self) -> &Arc<GuestTable> {
        &self.table
    }

    /// The slot of a metric, new or defined before under this name and kind by any worker of the plugin.
    ///
    /// `None` when the plugin has [`MAX_SERIES`] already or the name cannot be shown; that is counted.
    /// Labels are read from `name{key="value"}` and from `name;key=value`.
    pub fn define(&self, kind: MetricKind, name: &[u8]) -> Option<u32> {
        self.table.slot(kind, name)
    }

    /// Adds to a counter or a gauge. `None`: no such slot, a histogram, or a negative change of a counter.
    pub fn increment(&self, slot: u32, change: i64) -> Option<()> {
        match self.cell(slot)? {
            Cell::Counter(counter) => counter.add(u64::try_from(change).ok()?),
            Cell::Gauge(level) => {
                level.fetch_add(change, Relaxed);
            }
            Cell::Histogram(_) => return None,
        }
        Some(())
    }

    /// Sets a gauge, adds to a counter, samples a histogram. `None`: no such slot.
    pub fn record(&self, slot: u32, value: u64) -> Option<()> {
        match self.cell(slot)? {
            Cell::Counter(counter) => counter.add(value),
            Cell::Gauge(level) => level.store(value.cast_signed(), Relaxed),
            Cell::Histogram(histogram) => histogram.record(value),
        }
        Some(())
    }

    /// The value of a counter or gauge over all workers; a gauge below zero keeps its bits.
    /// `None`: no such slot, or a histogram.
    pub fn get(&self, slot: u32) -> Option<u64> {
        let definitions = self.table.lock();
        match definitions.value(slot, definitions.definition(slot)?) {
            GuestValue::Counter(count) => Some(count),
            GuestValue::Gauge(level) => Some(level.cast_unsigned()),
            GuestValue::Histogram(_) => None,
        }
    }

    /// This worker's cell, made on its first use here.
    fn cell(&self, slot: u32) -> Option<&Cell> {
        if let Some(cell) = self.cells.get(slot) {
            return Some(cell);
        }
        let definition = self.table.lock().definition(slot)?.clone();
        self.cells.make(slot, &definition)
    }
}

/// One worker's part of the values. A cell is made once and stays where it is, so that reaching it needs no lock.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cells([OnceLock<Box<Chunk>>; CHUNKS]);

#[derive(Debug)]
#[repr(align(128))]
struct Chunk([OnceLock<Cell>; CHUNK]);

#[derive(Debug)]
enum Cell {
    Counter(Counter),
    /// The plugin's one level: setting it on one worker must not leave another worker's part behind.
    Gauge(Arc<AtomicI64>),
    Histogram(Box<Histogram>),
}

impl Cells {
    fn get(&self, slot: u32) -> Option<&Cell> {
        let (chunk, at) = place(slot)?;
        self.0.get(chunk)?.get()?.0.get(at)?.get()
    }

    fn make(&self, slot: u32, definition: &Definition) -> Option<&Cell> {
        let (chunk, at) = place(slot)?;
        let chunk = self.0.get(chunk)?.get_or_init(|| Box::new(Chunk([const { OnceLock::new() }; CHUNK])));
        Some(chunk.0.get(at)?.get_or_init(|| Cell::new(definition)))
    }
}

impl Cell {
    fn new(definition: &Definition) -> Cell {
        match definition.kind {
            MetricKind::Counter => Cell::Counter(Counter::default()),
            MetricKind::Gauge => Cell::Gauge(Arc::clone(&definition.level)),
            MetricKind::Histogram => Cell::Histogram(Box::new(Histogram::new(&GUEST_SCALE))),
        }
    }

    fn count(&self) -> Option<u64> {
        match self {
            Cell::Counter(counter) => Some(counter.get()),
            Cell::Gauge(_) | Cell::Histogram(_) => None,
        }
    }

    fn histogram(&self) -> Option<&Histogram> {
        match self {
            Cell::Histogram(histogram) => Some(histogram),
            Cell::Counter(_) | Cell::Gauge(_) => None,
        }
    }
}

fn place(slot: u32) -> Option<(usize, usize)> {
    let slot = usize::try_from(slot).ok()?;
    Some((slot / CHUNK, slot % CHUNK))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> GuestMetrics {
        GuestMetrics::new(Arc::default())
    }

    fn two_workers() -> (GuestMetrics, GuestMetrics) {
        let table = Arc::new(GuestTable::default());
        (GuestMetrics::new(Arc::clone(&table)), GuestMetrics::new(table))
    }

    #[test]
    fn a_name_defined_twice_is_one_slot() {
        let metrics = metrics();

        let first = metrics.define(MetricKind::Counter, b"hits");
        let second = metrics.define(MetricKind::Counter, b"hits");

        assert!(first.is_some());
        assert_eq!(first, second);
    }

    #[test]
    fn workers_of_one_plugin_agree_on_slots() {
        let (one, two) = two_workers();
        one.define(MetricKind::Counter, b"a");

        let here = one.define(MetricKind::Counter, b"b");
        let there = two.define(MetricKind::Counter, b"b");

        assert_eq!(here, there);
    }

    #[test]
    fn a_slot_defined_by_one_worker_is_writable_on_another_and_its_sum_readable_on_both() {
        let (one, two) = two_workers();
        let slot = one.define(MetricKind::Counter, b"hits").unwrap();

        one.increment(slot, 1).unwrap();
        two.increment(slot, 2).unwrap();

        assert_eq!((one.get(slot), two.get(slot)), (Some(3), Some(3)));
    }

    #[test]
    fn a_gauge_has_one_level_whoever_sets_it() {
        let (one, two) = two_workers();
        let slot = one.define(MetricKind::Gauge, b"level").unwrap();

        one.record(slot, 5).unwrap();
        two.record(slot, 7).unwrap();

        assert_eq!(one.get(slot), Some(7));
    }

    #[test]
    fn a_counter_keeps_what_a_worker_counted_before_it_went() {
        let (one, two) = two_workers();
        let slot = one.define(MetricKind::Counter, b"hits").unwrap();
        two.increment(slot, 4).unwrap();

        drop(two);

        assert_eq!(one.get(slot), Some(4));
    }

    #[test]
    fn the_last_series_is_kept_and_one_more_is_dropped_and_counted() {
        let metrics = metrics();
        for at in 1..MAX_SERIES {
            metrics.define(MetricKind::Counter, format!("m{at}").as_bytes());
        }

        let last = metrics.define(MetricKind::Counter, b"last");
        let past = metrics.define(MetricKind::Counter, b"past");

        assert_eq!(last, Some(999));
        assert_eq!(past, None);
        assert_eq!(metrics.table().dropped(), 1);
        assert_eq!(metrics.increment(999, 2), Some(()));
        assert_eq!(metrics.get(999), Some(2));
    }

    #[test]
    fn a_slot_nobody_defined_has_no_value() {
        let metrics = metrics();

        assert_eq!(metrics.get(7), None);
        assert_eq!(metrics.record(u32::MAX, 1), None);
    }

    #[test]
    fn a_gauge_goes_down_and_a_counter_does_not() {
        let metrics = metrics();
        let gauge = metrics.define(MetricKind::Gauge, b"level").unwrap();
        let counter = metrics.define(MetricKind::Counter, b"count").unwrap();

        assert_eq!(metrics.increment(gauge, -3), Some(()));
        assert_eq!(metrics.increment(counter, -3), None);

        assert_eq!(metrics.get(gauge), Some((-3_i64).cast_unsigned()));
        assert_eq!(metrics.get(counter), Some(0));
    }
}
