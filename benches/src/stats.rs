//! What a few numbers say: their extremes, their median, and how sure that is. No means: one disturbed round must not move the
//! result.

use serde::Serialize;

/// How often an interval may miss the median.
const MISSES: f64 = 0.05;

/// Minimum, median and maximum. All three are zero when there were no numbers.
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
        let sorted = sorted(numbers);
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else { return Spread::default() };
        Spread { min: *min, median: median(&sorted), max: *max }
    }
}

/// The median, and the two of the numbers between which lies, in 95 of 100 cases and more, the median of all that might have
/// been measured. Of five numbers and fewer these are the extremes, which hold it more seldom: five in 93.75 cases, three in 75.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    /// Where it begins.
    pub low: f64,
    /// Half of the numbers lie on either side.
    pub median: f64,
    /// Where it ends.
    pub high: f64,
    /// How many numbers there were; where there were none, the others are zero.
    pub count: usize,
}

impl Interval {
    /// Of these numbers.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Interval {
        let sorted = sorted(numbers);
        let (count, place) = (sorted.len(), rank(sorted.len()) - 1);
        let (low, high) = (sorted.get(place), sorted.iter().rev().nth(place));
        let Some((low, high)) = low.zip(high) else { return Interval::default() };
        Interval { low: *low, median: median(&sorted), high: *high, count }
    }

    /// How wide it is, in hundredths of the median.
    pub fn percent(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.high - self.low) / self.median * 100.0 }
    }
}

fn sorted(numbers: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = numbers.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn median(sorted: &[f64]) -> f64 {
    let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
    f64::midpoint(at((sorted.len().max(1) - 1) / 2), at(sorted.len() / 2))
}

/// The highest rank, from 1, whose number and that of the same rank from the other end hold the median between them as often
/// as is wanted; 1 where none do.
///
/// So many of the numbers are below the median as so many coins show heads: whatever the numbers are, that of a rank is above
/// it where there were fewer heads than that.
fn rank(count: usize) -> usize {
    let (mut rank, mut fewer, mut exactly) = (0, 0.0, 0.5_f64.powf(count as f64));
    while rank < count.div_ceil(2) {
        fewer += exactly;
        if 2.0 * fewer > MISSES {
            break;
        }
        rank += 1;
        exactly *= (count + 1 - rank) as f64 / rank as f64;
    }
    rank.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]), Spread { min: 1.0, median: 2.5, max: 4.0 });
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { min: 1.0, median: 2.0, max: 3.0 });
        assert_eq!(Spread::of([7.0]), Spread { min: 7.0, median: 7.0, max: 7.0 });
        assert_eq!(Spread::of([]), Spread::default());
    }

    #[test]
    fn ranks_are_those_of_the_tables_for_95_in_100() {
        let ranks = [6, 8, 9, 11, 12, 15, 20, 25, 30, 50, 100].map(rank);

        assert_eq!(ranks, [1, 1, 2, 2, 3, 4, 6, 8, 10, 18, 40]);
    }

    #[test]
    fn of_five_numbers_and_fewer_the_interval_has_all() {
        assert_eq!([0, 1, 2, 3, 4, 5].map(rank), [1; 6]);
    }

    #[test]
    fn many_numbers_have_a_rank() {
        // The ranks of 1,000 lie 1.96 standard deviations, half the root of 1,000 each, from the middle.
        assert_eq!(rank(1000), 469);
    }

    #[test]
    fn three_disturbed_rounds_of_fifteen_at_either_end_are_outside_of_the_interval() {
        let numbers = (1..=15).rev().map(f64::from);

        assert_eq!(Interval::of(numbers), Interval { low: 4.0, median: 8.0, high: 12.0, count: 15 });
        assert_eq!(Interval::of([3.0, 1.0, 2.0]), Interval { low: 1.0, median: 2.0, high: 3.0, count: 3 });
        assert_eq!(Interval::of([]), Interval::default());
    }

    #[test]
    fn the_width_of_an_interval_is_told_in_hundredths_of_its_median() {
        assert_eq!(
            [&[3.0, 4.0, 5.0][..], &[0.0], &[]].map(|numbers| Interval::of(numbers.iter().copied()).percent()),
            [50.0, 0.0, 0.0]
        );
    }
}
