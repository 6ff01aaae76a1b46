//! Samples of one thing, taken in rounds.

use std::time::{Duration, Instant};

use crate::toll::report::Times;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Series {
    /// Nanoseconds, in the order in which they were taken.
    samples: Vec<u32>,
    /// The middle of each round.
    middles: Vec<f64>,
}

impl Series {
    /// Takes so many more.
    pub(super) fn round<E>(&mut self, count: u32, mut take: impl FnMut() -> Result<Duration, E>) -> Result<(), E> {
        let begin = self.samples.len();
        for _ in 0..count {
            self.samples.push(nanoseconds(take()?));
        }
        let mut round = self.samples[begin..].to_vec();
        self.middles.push(Times::of(&mut round).median);
        Ok(())
    }

    /// All of them.
    pub(super) fn times(&self) -> Times {
        Times::of(&mut self.samples.clone())
    }

    /// How far the middles of the rounds lie apart, in hundredths of the middle one.
    pub(super) fn noise(&self) -> f64 {
        let mut middles = self.middles.clone();
        middles.sort_by(f64::total_cmp);
        match (middles.first(), middles.get(middles.len() / 2), middles.last()) {
            (Some(least), Some(middle), Some(most)) if *middle > 0.0 => (most - least) / middle * 100.0,
            _ => 0.0,
        }
    }
}

/// The middle of so many times of `work`, in nanoseconds.
pub(super) fn middle(count: usize, mut work: impl FnMut()) -> f64 {
    let samples = (0..count).map(|_| {
        let started = Instant::now();
        work();
        nanoseconds(started.elapsed())
    });
    Times::of(&mut samples.collect::<Vec<_>>()).median
}

/// What fits: four seconds are more than anything here takes.
pub(super) fn nanoseconds(time: Duration) -> u32 {
    u32::try_from(time.as_nanos()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn noise_is_how_far_rounds_lie_apart() {
        let mut series = Series::default();
        for nanoseconds in [100, 110, 130] {
            let Ok(()) = series.round(3, || Ok::<_, Infallible>(Duration::from_nanos(nanoseconds)));
        }

        assert!((series.noise() - 30.0 / 1.1).abs() < 1e-9);
        assert_eq!(series.times(), Times { median: 110.0, p99: 130.0 });
    }
}
