//! Metrics that guests define: names become series, bounded per plugin.
//!
//! All workers of a plugin see one set: a slot means the same everywhere, a gauge has one level, a counter is the sum of
//! what every worker counted. Defining takes a lock shared by the workers of one plugin; counting takes none. How names
//! are shown is decided in `guest/name.rs`, once, when the metric is defined.

mod name;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tollgate_abi::MetricKind;

pub(super) use self::name::SeriesName;
use super::cell::{Counter, Distribution, GUEST_SCALE, Histogram, SharedCounter};

/// Series that the guests of one plugin may define, over all workers, where nothing else is asked for.
pub const DEFAULT_SERIES: usize = 1_000;

/// Cells that are made together.
const BLOCK: usize = 64;
/// Each chunk has twice the blocks of the one before it.
const CHUNKS: usize = 12;
/// Series that there is room for, whatever is asked for.
const MAX_SERIES: usize = BLOCK * ((1 << CHUNKS) - 1);

/// Why a definition counts nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undefined {
    /// The plugin has all the series it may have.
    #[error("the filter has as many series as it may have")]
    Cap,
    /// The name passes a bound, or its labels cannot be read.
    #[error("its name is too long or its labels cannot be read")]
    Name,
}

/// What the guests of one plugin have defined, and where each worker keeps its part of the values.
#[derive(Debug)]
pub(super) struct GuestTable {
    /// Guards definitions and the list of workers, no values.
    definitions: Mutex<Definitions>,
    /// Series that may be defined.
    cap: AtomicUsize,
    /// Definitions refused, by [`Undefined`].
    dropped: [SharedCounter; 2],
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
    /// What was counted before the last reset. Workers write their cells without a lock, so those never go back.
    before: Arc<Before>,
}

/// See [`Definition`].
#[derive(Debug, Default)]
struct Before {
    count: u64,
    distribution: Option<Distribution>,
}

/// A series with its value over all workers.
pub(super) enum GuestValue {
    Counter(u64),
    Gauge(i64),
    Histogram(Distribution),
}

impl GuestTable {
    /// Nothing defined yet.
    pub(super) fn new(cap: usize) -> GuestTable {
        let table =
            GuestTable { definitions: Mutex::default(), cap: AtomicUsize::default(), dropped: Default::default() };
        table.limit(cap);
        table
    }

    /// Changes how many series may be defined; those that are stay.
    pub(super) fn limit(&self, cap: usize) {
        self.cap.store(cap.min(MAX_SERIES), Relaxed);
    }

    /// Every series with its value, in the order of their slots.
    pub(super) fn values(&self) -> Vec<(SeriesName, GuestValue)> {
        let definitions = self.lock();
        let with_value = |(slot, series): (u32, &Definition)| (series.name.clone(), definitions.value(slot, series));
        (0..).zip(&definitions.series).map(with_value).collect()
    }

    /// Every value begins at nothing again; names and slots stay, since VMs hold them.
    pub(super) fn reset(&self) {
        let mut definitions = self.lock();
        for slot in 0..definitions.series.len() {
            definitions.reset(slot);
        }
    }

    /// Definitions refused so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.iter().map(SharedCounter::get).sum()
    }

    fn slot(&self, kind: MetricKind, name: &[u8]) -> Result<u32, Undefined> {
        let name = SeriesName::parse(name).ok_or(Undefined::Name)?;
        self.lock().slot(name, kind, self.cap.load(Relaxed)).ok_or(Undefined::Cap)
    }

    fn lock(&self) -> MutexGuard<'_, Definitions> {
        self.definitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Definitions {
    fn slot(&mut self, name: SeriesName, kind: MetricKind, cap: usize) -> Option<u32> {
        let key = (name.clone(), kind);
        if let Some(slot) = self.slots.get(&key) {
            return Some(*slot);
        }
        if self.series.len() >= cap {
            return None;
        }
        let slot = u32::try_from(self.series.len()).ok()?;
        self.series.push(Definition { name, kind, level: Arc::default(), before: Arc::default() });
        self.slots.insert(key, slot);
        Some(slot)
    }

    fn definition(&self, slot: u32) -> Option<&Definition> {
        self.series.get(usize::try_from(slot).ok()?)
    }

    fn reset(&mut self, slot: usize) {
        let Some(name) = u32::try_from(slot).ok() else { return };
        let (count, distribution) = (self.count(name), self.distribution(name));
        let Some(series) = self.series.get_mut(slot) else { return };
        series.level.store(0, Relaxed);
        series.before = Arc::new(Before { count, distribution: Some(distribution) });
    }

    fn value(&self, slot: u32, series: &Definition) -> GuestValue {
        let before = &series.before;
        match series.kind {
            MetricKind::Counter => GuestValue::Counter(self.count(slot).wrapping_sub(before.count)),
            MetricKind::Gauge => GuestValue::Gauge(series.level.load(Relaxed)),
            MetricKind::Histogram => {
                let mut distribution = self.distribution(slot);
                before.distribution.iter().for_each(|before| distribution.subtract(before));
                GuestValue::Histogram(distribution)
            }
        }
    }

    /// What every worker ever counted.
    fn count(&self, slot: u32) -> u64 {
        self.cells(slot).filter_map(Cell::count).fold(0, u64::wrapping_add)
    }

    fn distribution(&self, slot: u32) -> Distribution {
        Distribution::of(self.cells(slot).filter_map(Cell::histogram))
    }

    fn cells(&self, slot: u32) -> impl Iterator<Item = &Cell> {
        self.workers.iter().filter_map(move |worker| worker.get(slot))
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

    /// The slot of a metric, new or defined before under this name, kind and labels by any worker of the plugin.
    ///
    /// Labels are read from `name{key="value"}` and from `name;key=value`, in any order. One name may have several sets
    /// of labels, each a series, and several kinds, each shown as a family of its own. An error is counted, and comes with
    /// true where it is the plugin's first of its sort.
    pub fn define(&self, kind: MetricKind, name: &[u8]) -> Result<u32, (Undefined, bool)> {
        self.table.slot(kind, name).map_err(|why| (why, self.table.dropped[why as usize].inc()))
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
struct Cells([OnceLock<Box<[Block]>>; CHUNKS]);

#[derive(Debug)]
#[repr(align(128))]
struct Block([OnceLock<Cell>; BLOCK]);

#[derive(Debug)]
enum Cell {
    Counter(Counter),
    /// The plugin's one level: setting it on one worker must not leave another worker's part behind.
    Gauge(Arc<AtomicI64>),
    Histogram(Box<Histogram>),
}

impl Cells {
    fn get(&self, slot: u32) -> Option<&Cell> {
        let place = Place::of(slot)?;
        place.within(self.0.get(place.chunk)?.get()?)?.get()
    }

    fn make(&self, slot: u32, definition: &Definition) -> Option<&Cell> {
        let place = Place::of(slot)?;
        let block = |_| Block([const { OnceLock::new() }; BLOCK]);
        let chunk = self.0.get(place.chunk)?.get_or_init(|| (0..1_usize << place.chunk).map(block).collect());
        Some(place.within(chunk)?.get_or_init(|| Cell::new(definition)))
    }
}

/// Where the cell of a slot is: chunk 0 has one block, chunk 1 the next two, chunk 2 the next four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    chunk: usize,
    block: usize,
    cell: usize,
}

impl Place {
    fn of(slot: u32) -> Option<Place> {
        let slot = usize::try_from(slot).ok()?;
        let nth = slot / BLOCK + 1;
        let chunk = nth.ilog2();
        Some(Place { chunk: usize::try_from(chunk).ok()?, block: nth - (1 << chunk), cell: slot % BLOCK })
    }

    fn within(self, chunk: &[Block]) -> Option<&OnceLock<Cell>> {
        chunk.get(self.block)?.0.get(self.cell)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> GuestMetrics {
        GuestMetrics::new(Arc::new(GuestTable::new(DEFAULT_SERIES)))
    }

    fn two_workers() -> (GuestMetrics, GuestMetrics) {
        let table = Arc::new(GuestTable::new(DEFAULT_SERIES));
        (GuestMetrics::new(Arc::clone(&table)), GuestMetrics::new(table))
    }

    #[test]
    fn a_name_defined_twice_is_one_slot() {
        let metrics = metrics();

        let first = metrics.define(MetricKind::Counter, b"hits");
        let second = metrics.define(MetricKind::Counter, b"hits");

        assert!(first.is_ok());
        assert_eq!(first, second);
    }

    #[test]
    fn one_set_of_labels_is_one_slot_however_it_is_written() {
        let metrics = metrics();
        let slot = |name: &[u8]| metrics.define(MetricKind::Counter, name).unwrap();

        let first = slot(b"hits;zone=a;tenant=b");

        assert_eq!(slot(br#"hits{tenant="b",zone="a"}"#), first);
        assert_ne!(slot(b"hits;zone=b;tenant=a"), first);
        assert_ne!(slot(b"hits;zone=a"), first);
        assert_ne!(slot(b"hits"), first);
        assert_ne!(metrics.define(MetricKind::Gauge, b"hits;zone=a;tenant=b"), Ok(first));
    }

    #[test]
    fn values_begin_at_nothing_after_a_reset_and_go_on_from_there() {
        let metrics = metrics();
        let slots = [MetricKind::Counter, MetricKind::Gauge, MetricKind::Histogram]
            .map(|kind| metrics.define(kind, b"a").unwrap());
        slots.iter().for_each(|slot| metrics.record(*slot, 5).unwrap());

        metrics.table().reset();
        assert_eq!([metrics.get(slots[0]), metrics.get(slots[1])], [Some(0), Some(0)]);
        slots.iter().for_each(|slot| metrics.record(*slot, 7).unwrap());

        assert_eq!([metrics.get(slots[0]), metrics.get(slots[1])], [Some(7), Some(7)]);
        let values = metrics.table().values();
        let [.., (_, GuestValue::Histogram(histogram))] = &values[..] else { panic!("a histogram") };
        assert_eq!((histogram.count(), histogram.sum()), (1, 7.0));
    }

    #[test]
    fn workers_of_one_plugin_agree_on_slots() {
        let (one, two) = two_workers();
        one.define(MetricKind::Counter, b"a").unwrap();

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
    fn the_last_series_is_kept_and_one_more_counts_nowhere() {
        let metrics = GuestMetrics::new(Arc::new(GuestTable::new(3)));
        for name in ["a", "a;k=1"] {
            metrics.define(MetricKind::Counter, name.as_bytes()).unwrap();
        }

        let last = metrics.define(MetricKind::Counter, b"a;k=2");
        let past = metrics.define(MetricKind::Counter, b"a;k=3");

        assert_eq!(last, Ok(2));
        assert_eq!(past, Err((Undefined::Cap, true)));
        assert_eq!(metrics.define(MetricKind::Counter, b"a;k=1"), Ok(1));
        assert_eq!(metrics.increment(2, 2), Some(()));
        assert_eq!(metrics.get(2), Some(2));
    }

    #[test]
    fn a_higher_cap_takes_more_and_a_lower_one_keeps_what_is_there() {
        let metrics = GuestMetrics::new(Arc::new(GuestTable::new(1)));
        metrics.define(MetricKind::Counter, b"a").unwrap();

        metrics.table().limit(2);
        let more = metrics.define(MetricKind::Counter, b"b");
        metrics.table().limit(0);

        assert_eq!(more, Ok(1));
        assert_eq!(metrics.define(MetricKind::Counter, b"b"), Ok(1));
        assert_eq!(metrics.define(MetricKind::Counter, b"c"), Err((Undefined::Cap, true)));
    }

    #[test]
    fn every_refused_definition_is_counted_and_the_first_of_each_sort_is_told_apart() {
        let metrics = GuestMetrics::new(Arc::new(GuestTable::new(0)));
        let refused = |name: &[u8]| metrics.define(MetricKind::Counter, name).unwrap_err();

        assert_eq!(refused(b"a"), (Undefined::Cap, true));
        assert_eq!(refused(b"a;"), (Undefined::Name, true));
        assert_eq!(refused(b"a"), (Undefined::Cap, false));
        assert_eq!(refused(b"a;"), (Undefined::Name, false));

        assert_eq!(metrics.table().dropped(), 4);
    }

    #[test]
    fn every_slot_below_the_highest_cap_has_a_place_and_no_two_have_the_same() {
        let place = |slot| Place::of(slot).unwrap();

        assert_eq!(place(0), Place { chunk: 0, block: 0, cell: 0 });
        assert_eq!(place(63), Place { chunk: 0, block: 0, cell: 63 });
        assert_eq!(place(64), Place { chunk: 1, block: 0, cell: 0 });
        assert_eq!(place(191), Place { chunk: 1, block: 1, cell: 63 });
        assert_eq!(place(192), Place { chunk: 2, block: 0, cell: 0 });
        let last = place(u32::try_from(MAX_SERIES).unwrap() - 1);
        assert_eq!(last, Place { chunk: CHUNKS - 1, block: (1 << (CHUNKS - 1)) - 1, cell: 63 });
    }

    #[test]
    fn every_series_of_the_default_cap_counts_for_itself() {
        let metrics = metrics();
        for at in 0..DEFAULT_SERIES {
            let slot = metrics.define(MetricKind::Counter, format!("m;at={at}").as_bytes()).unwrap();
            metrics.record(slot, at as u64).unwrap();
        }

        for (at, slot) in (0..DEFAULT_SERIES).zip(0..) {
            assert_eq!(metrics.get(slot), Some(at as u64));
        }
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
