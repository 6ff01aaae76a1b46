//! Whether what was found keeps to what is wanted, and whether two findings differ. The interval that holds the median decides:
//! where it lies on both sides, the rounds contradict each other and nothing is decided.

use crate::stats::Interval;

/// Less than this part of what counts is no change worth a word.
const NOISE: f64 = 0.05;
/// How many rounds decide at the least: between the extremes of three lies the median in three of four cases.
const ENOUGH: usize = 3;

/// Of something that may be so much at the most.
pub(super) fn verdict(found: Interval, most: f64) -> &'static str {
    match found {
        Interval { count: 0 | 1, .. } => "one reading",
        Interval { count, .. } if count < ENOUGH => "too few rounds",
        Interval { high, .. } if high <= most => "reached",
        Interval { low, .. } if low > most => "**not reached**",
        _ => "not decided",
    }
}

/// Of what is counted, and may be so much at the most.
pub(super) fn verdict_of_count(count: f64, most: f64) -> &'static str {
    if count <= most { "reached" } else { "**not reached**" }
}

/// What became of something, where the interval of one run lies on one side of the other's, and the medians are
/// further apart than a twentieth of `measure`.
pub(super) fn change(old: Interval, new: Interval, measure: f64) -> Option<&'static str> {
    let worth = (new.median - old.median).abs() > measure * NOISE;
    match () {
        () if worth && new.low > old.high => Some("dearer"),
        () if worth && new.high < old.low => Some("cheaper"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(low: f64, median: f64, high: f64) -> Interval {
        Interval { low, median, high, count: 15 }
    }

    #[test]
    fn an_interval_on_both_sides_of_the_bound_decides_nothing() {
        assert_eq!(verdict(interval(0.9, 1.0, 1.05), 1.05), "reached");
        assert_eq!(verdict(interval(1.06, 1.1, 1.2), 1.05), "**not reached**");
        assert_eq!(verdict(interval(1.0, 1.04, 1.06), 1.05), "not decided");
        assert_eq!(verdict(interval(1.0, 1.1, 1.2), 1.05), "not decided");
        assert_eq!(verdict(interval(f64::NAN, f64::NAN, f64::NAN), 1.05), "not decided");
    }

    #[test]
    fn one_reading_and_two_decide_nothing() {
        let of = |count| verdict(Interval { count, ..interval(0.9, 1.0, 1.04) }, 1.05);

        assert_eq!([1, 2, 3].map(of), ["one reading", "too few rounds", "reached"]);
    }

    #[test]
    fn a_change_is_one_where_the_intervals_are_apart_and_it_is_worth_a_word() {
        let old = interval(0.9, 1.0, 1.1);

        assert_eq!(change(old, interval(1.11, 1.2, 1.3), 1.0), Some("dearer"));
        assert_eq!(change(old, interval(0.7, 0.8, 0.89), 1.0), Some("cheaper"));
        assert_eq!(change(old, interval(1.0, 1.2, 1.3), 1.0), None);
        assert_eq!(change(old, interval(1.11, 1.2, 1.3), 5.0), None);
    }

    #[test]
    fn what_is_below_nothing_or_next_to_it_changes_by_its_difference() {
        assert_eq!(change(interval(-0.3, -0.2, -0.1), interval(0.5, 0.6, 0.7), 0.8), Some("dearer"));
        assert_eq!(change(interval(0.001, 0.001, 0.001), interval(0.004, 0.004, 0.004), 0.8), None);
    }
}
