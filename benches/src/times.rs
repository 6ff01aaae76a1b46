//! How long many things took: percentiles. Not those of a few rounds, which `stats` is for.

use std::fmt;
use std::time::Duration;

/// Times in their order, to ask for parts of them.
#[derive(Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Of these.
    pub fn of(times: impl IntoIterator<Item = Duration>) -> Times {
        let mut sorted: Vec<_> = times.into_iter().collect();
        sorted.sort_unstable();
        Times(sorted)
    }

    /// The time that this many of a thousand are not above; zero when there are none.
    pub fn per_mille(&self, part: usize) -> Duration {
        let place = (self.0.len() * part).div_ceil(1000).saturating_sub(1);
        self.0.get(place).copied().unwrap_or_default()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, nearly, all] = [500, 990, 999, 1000].map(|part| millis(self.per_mille(part)));
        write!(f, "p50 {half}, p99 {most}, p99.9 {nearly}, max {all} ms of {}", self.0.len())
    }
}

/// Milliseconds as people read them.
pub fn millis(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_times_are_counted_from_the_least() {
        let times = Times::of((1..=1000).rev().map(Duration::from_millis));

        assert_eq!([500, 990, 999, 1000].map(|part| times.per_mille(part).as_millis()), [500, 990, 999, 1000]);
        assert_eq!(Times::default().per_mille(990), Duration::ZERO);
    }
}
