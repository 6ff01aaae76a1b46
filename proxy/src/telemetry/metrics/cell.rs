//! The cells that hold numbers: counter, gauge, histogram.
//!
//! They know neither names nor labels. All but [`SharedCounter`] have one writer, so that counting needs no lock prefix.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A count that only one thread writes and any thread reads.
///
/// Two writers lose counts, they never corrupt anything.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `count`; wraps at 2⁶⁴.
    pub fn add(&self, count: u64) {
        // One writer: a plain load and store is enough, and leaves the cache line's lock alone.
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// What was counted so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A count that several threads write, for what happens seldom.
#[derive(Debug, Default)]
pub struct SharedCounter(AtomicU64);

impl SharedCounter {
    /// Adds one. True when it is the first.
    pub fn inc(&self) -> bool {
        self.0.fetch_add(1, Relaxed) == 0
    }

    /// What was counted so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A level that only one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Raises the level, or lowers it by a negative `change`.
    pub fn add(&self, change: i64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(change), Relaxed);
    }

    /// Makes `level` the level.
    pub fn set(&self, level: i64) {
        self.0.store(level, Relaxed);
    }

    /// The level.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Finite buckets of every histogram; one more takes what is above the last bound.
pub const BUCKETS: usize = 16;

/// The upper bounds of a histogram's buckets, and the unit in which they are shown.
#[derive(Debug)]
pub struct Scale {
    /// Inclusive upper bounds, ascending, in the unit that is observed.
    pub bounds: [u64; BUCKETS],
    /// Observed units in one shown unit: 10⁹ where nanoseconds are shown as seconds.
    pub per_unit: f64,
}

/// Whole exchanges and upstreams: 0.5 ms to one minute.
pub static EXCHANGE_SCALE: Scale = Scale {
    bounds: micros([
        500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
        10_000_000, 30_000_000, 60_000_000,
    ]),
    per_unit: 1e9,
};

/// One callback of a filter: 1 µs to one second.
pub static CALLBACK_SCALE: Scale = Scale {
    bounds: micros([1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 1_000_000]),
    per_unit: 1e9,
};

/// Histograms that guests define: bare numbers whose unit only the guest knows.
pub static GUEST_SCALE: Scale = Scale {
    bounds: [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 3_600_000],
    per_unit: 1.0,
};

const fn micros(mut bounds: [u64; BUCKETS]) -> [u64; BUCKETS] {
    let mut at = 0;
    while at < BUCKETS {
        bounds[at] *= 1_000;
        at += 1;
    }
    bounds
}

/// A distribution that only one thread writes and any thread reads.
#[derive(Debug)]
pub struct Histogram {
    scale: &'static Scale,
    /// Not cumulative; the last one is above every bound.
    buckets: [Counter; BUCKETS + 1],
    sum: Counter,
}

impl Histogram {
    /// An empty distribution over the buckets of `scale`.
    pub fn new(scale: &'static Scale) -> Histogram {
        Histogram { scale, buckets: Default::default(), sum: Counter::default() }
    }

    /// Takes one duration, kept in nanoseconds.
    pub fn observe(&self, elapsed: Duration) {
        let nanos = elapsed.as_secs().saturating_mul(1_000_000_000).saturating_add(elapsed.subsec_nanos().into());
        self.record(nanos);
    }

    /// Takes one number in the unit of the scale.
    pub fn record(&self, value: u64) {
        let bucket = self.scale.bounds.partition_point(|bound| *bound < value);
        // `partition_point` answers at most `BUCKETS`, which is the index of the last bucket.
        self.buckets[bucket].inc();
        self.sum.add(value);
    }

    /// Adds this distribution to `total`.
    pub(super) fn add_to(&self, total: &mut Distribution) {
        total.scale = self.scale;
        for (sum, bucket) in total.buckets.iter_mut().zip(&self.buckets) {
            *sum = sum.wrapping_add(bucket.get());
        }
        total.sum = total.sum.wrapping_add(self.sum.get());
    }
}

/// Histograms of several workers, summed for one scrape.
#[derive(Debug)]
pub(super) struct Distribution {
    scale: &'static Scale,
    buckets: [u64; BUCKETS + 1],
    sum: u64,
}

impl Distribution {
    /// The sum of `parts`, which share one scale.
    pub(super) fn of<'a>(parts: impl IntoIterator<Item = &'a Histogram>) -> Distribution {
        let mut total = Distribution { scale: &EXCHANGE_SCALE, buckets: [0; BUCKETS + 1], sum: 0 };
        for part in parts {
            part.add_to(&mut total);
        }
        total
    }

    /// Takes those out that `before` has, which were counted earlier.
    pub(super) fn subtract(&mut self, before: &Distribution) {
        for (bucket, earlier) in self.buckets.iter_mut().zip(&before.buckets) {
            *bucket = bucket.wrapping_sub(*earlier);
        }
        self.sum = self.sum.wrapping_sub(before.sum);
    }

    /// How many values were taken.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of the values, in the shown unit.
    pub(super) fn sum(&self) -> f64 {
        self.sum as f64 / self.scale.per_unit
    }

    /// Upper bound in the shown unit and count of the values up to it, ascending.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = self.scale.bounds.iter().map(|bound| *bound as f64 / self.scale.per_unit);
        let counts = self.buckets.iter().scan(0_u64, |below, count| {
            *below = below.wrapping_add(*count);
            Some(*below)
        });
        bounds.zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_to_the_bucket_below_it() {
        let histogram = Histogram::new(&GUEST_SCALE);

        histogram.record(5);
        histogram.record(6);

        let total = Distribution::of([&histogram]);
        let counts: Vec<_> = total.cumulative().take(3).collect();
        assert_eq!(counts, [(1.0, 0), (5.0, 1), (10.0, 2)]);
    }

    #[test]
    fn a_value_above_every_bound_is_counted_and_summed() {
        let histogram = Histogram::new(&EXCHANGE_SCALE);

        histogram.observe(Duration::from_secs(90));

        let total = Distribution::of([&histogram]);
        assert_eq!(total.count(), 1);
        assert_eq!(total.sum(), 90.0);
        assert!(total.cumulative().all(|(_, count)| count == 0));
    }

    #[test]
    fn bounds_ascend() {
        for scale in [&EXCHANGE_SCALE, &CALLBACK_SCALE, &GUEST_SCALE] {
            assert!(scale.bounds.is_sorted_by(|a, b| a < b));
        }
    }
}
