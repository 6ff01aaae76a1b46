//! Samples of one thing, and what is said of them.

use std::time::{Duration, Instant};

use crate::toll::report::{Noise, Times};

/// Samples of which one is a hundredth.
pub(super) const HUNDRED: usize = 100;

/// Samples taken in rounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    /// Nanoseconds, in the order in which they were taken.
    samples: Vec<u32>,
    /// Where the round that is taken began.
    begun: usize,
    /// The middle of each round.
    pub(super) middles: Vec<f64>,
    /// What one of a hundred exceeds, of each round that has as many.
    pub(super) slowest: Vec<f64>,
}

impl Series {
    pub(super) fn add(&mut self, time: Duration) {
        self.samples.push(nanoseconds(time));
    }

    /// More of them, in nanoseconds.
    pub(super) fn extend<'a>(&mut self, samples: impl Iterator<Item = &'a u32>) {
        self.samples.extend(samples);
    }

    /// All of them, in nanoseconds.
    pub(super) fn samples(&self) -> &[u32] {
        &self.samples
    }

    /// How many there are of the round that is taken.
    pub(super) fn of_round(&self) -> usize {
        self.samples.len() - self.begun
    }

    /// Ends a round. One without a sample is none.
    pub(super) fn close(&mut self) {
        let mut round = self.samples.get(self.begun..).unwrap_or_default().to_vec();
        self.begun = self.samples.len();
        let times = Times::of(&mut round);
        if times.samples > 0 {
            self.middles.push(times.median);
        }
        if times.samples >= HUNDRED {
            self.slowest.push(times.p99);
        }
    }

    /// All of them.
    pub(super) fn times(&self) -> Times {
        Times::of(&mut self.samples.clone())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.samples.len()
    }

    /// How far the middle half of the rounds lies apart, in hundredths of the median.
    pub(super) fn noise(&self) -> Noise {
        let mut middles = self.middles.clone();
        middles.sort_by(f64::total_cmp);
        let at = |share: usize| middles.get(middles.len().saturating_sub(1) * share / 4).copied().unwrap_or(0.0);
        let median = at(2);
        Noise(if median > 0.0 { (at(3) - at(1)) / median * 100.0 } else { 0.0 })
    }
}

/// How long something takes, with what it makes. Dropping that is not timed.
pub(super) fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let started = Instant::now();
    let made = work();
    (started.elapsed(), made)
}

/// The middle of so many times of `work`, in nanoseconds.
pub(super) fn middle<T>(count: usize, mut work: impl FnMut() -> T) -> f64 {
    let samples = (0..count).map(|_| nanoseconds(timed(&mut work).0));
    Times::of(&mut samples.collect::<Vec<_>>()).median
}

/// What fits: four seconds are more than anything that is counted so takes.
pub(super) fn nanoseconds(time: Duration) -> u32 {
    u32::try_from(time.as_nanos()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(middles: &[u64]) -> Series {
        let mut series = Series::default();
        for middle in middles {
            for off in [1, 0, 2] {
                series.add(Duration::from_nanos(middle - 1 + off));
            }
            series.close();
        }
        series
    }

    #[test]
    fn noise_is_how_far_the_middle_half_of_the_rounds_lies_apart() {
        let series = rounds(&[500, 100, 110, 90, 120, 95, 105, 100, 2]);

        assert_eq!(series.middles, [500.0, 100.0, 110.0, 90.0, 120.0, 95.0, 105.0, 100.0, 2.0]);
        // In order: 2, 90, 95, 100, 100, 105, 110, 120, 500.
        assert_eq!(series.noise(), Noise(15.0));
        assert_eq!(rounds(&[100]).noise(), Noise(0.0));
        assert_eq!(Series::default().noise(), Noise(0.0));
    }

    #[test]
    fn a_round_without_a_sample_is_none() {
        let mut series = rounds(&[100]);
        series.close();

        assert_eq!((series.middles.len(), series.len()), (1, 3));
    }

    #[test]
    fn a_round_of_fewer_than_a_hundred_has_no_slowest_hundredth() {
        let slowest = |count: u64| {
            let mut series = Series::default();
            (1..=count).for_each(|nanoseconds| series.add(Duration::from_nanos(nanoseconds)));
            series.close();
            series.slowest
        };

        assert_eq!((slowest(99), slowest(100)), (vec![], vec![100.0]));
    }

    #[test]
    fn what_is_made_outlives_its_time() {
        let made = std::rc::Rc::new(());

        let (_, kept) = timed(|| made.clone());

        assert_eq!(std::rc::Rc::strong_count(&kept), 2);
    }
}
