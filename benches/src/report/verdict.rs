//! Whether what was found keeps to what is wanted, and whether two findings differ. Extremes decide: where they lie on both
//! sides, the rounds contradict each other and nothing is decided.

use crate::stats::Spread;

/// Less than this part of what counts is no change worth a word.
const NOISE: f64 = 0.05;

/// Of something that may be so much at the most.
pub(super) fn verdict(found: Spread, most: f64) -> &'static str {
    match found {
        Spread { max, .. } if max <= most => "reached",
        Spread { min, .. } if min > most => "**not reached**",
        _ => "not decided",
    }
}

/// What became of something, where all rounds of one run lie on the same side of all of the other's, and the medians are
/// further apart than a twentieth of `measure`.
pub(super) fn change(old: Spread, new: Spread, measure: f64) -> Option<&'static str> {
    let worth = (new.median - old.median).abs() > measure * NOISE;
    match () {
        () if worth && new.min > old.max => Some("dearer"),
        () if worth && new.max < old.min => Some("cheaper"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(min: f64, median: f64, max: f64) -> Spread {
        Spread { min, median, max }
    }

    #[test]
    fn extremes_on_both_sides_of_the_bound_decide_nothing() {
        assert_eq!(verdict(spread(0.9, 1.0, 1.05), 1.05), "reached");
        assert_eq!(verdict(spread(1.06, 1.1, 1.2), 1.05), "**not reached**");
        assert_eq!(verdict(spread(1.0, 1.04, 1.06), 1.05), "not decided");
        assert_eq!(verdict(spread(1.0, 1.1, 1.2), 1.05), "not decided");
        assert_eq!(verdict(spread(f64::NAN, f64::NAN, f64::NAN), 1.05), "not decided");
    }

    #[test]
    fn a_change_is_one_where_no_round_contradicts_it_and_it_is_worth_a_word() {
        let old = spread(0.9, 1.0, 1.1);

        assert_eq!(change(old, spread(1.11, 1.2, 1.3), 1.0), Some("dearer"));
        assert_eq!(change(old, spread(0.7, 0.8, 0.89), 1.0), Some("cheaper"));
        assert_eq!(change(old, spread(1.0, 1.2, 1.3), 1.0), None);
        assert_eq!(change(old, spread(1.11, 1.2, 1.3), 5.0), None);
    }

    #[test]
    fn what_is_below_nothing_or_next_to_it_changes_by_its_difference() {
        assert_eq!(change(spread(-0.3, -0.2, -0.1), spread(0.5, 0.6, 0.7), 0.8), Some("dearer"));
        assert_eq!(change(spread(0.001, 0.001, 0.001), spread(0.004, 0.004, 0.004), 0.8), None);
    }
}
