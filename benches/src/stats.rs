//! Minimum, median and maximum of a few numbers. No means: one disturbed round must not move the result.

use serde::Serialize;

/// See the module. All three are zero when there were no numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// Half of the numbers lie on either side.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of these numbers.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Spread {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else { return Spread::default() };
        let middle = sorted.len() / 2;
        let upper = sorted.get(middle).copied().unwrap_or_default();
        let lower = sorted.get(sorted.len().div_ceil(2) - 1).copied().unwrap_or_default();
        Spread { min: *min, median: f64::midpoint(lower, upper), max: *max }
    }

    /// How far apart the extremes are, in hundredths of the median.
    pub fn percent(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.max - self.min) / self.median * 100.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]), Spread { min: 1.0, median: 2.5, max: 4.0 });
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { min: 1.0, median: 2.0, max: 3.0 });
        assert_eq!(Spread::of([]), Spread::default());
    }
}
