//! Endpoints that fail clients: counting on each worker, deciding on the control side.

use std::cell::Cell;
use std::time::Duration;

use tollgate_config::{Outliers, Ratio};

/// Failures in a row as one worker sees them.
#[derive(Debug, Default)]
pub struct Failures(Cell<usize>);

impl Failures {
    /// One more attempt; true when it is the one too many, from which on they are counted anew.
    pub fn take(&self, failed: bool, most: usize) -> bool {
        let count = if failed { self.0.get() + 1 } else { 0 };
        let is_over = count >= most;
        self.0.set(if is_over { 0 } else { count });
        is_over && failed
    }
}

/// True where one more of `all` may be left alone: never all of them, and no more than the part but for the first.
pub fn may_eject(all: usize, ejected: usize, most: Ratio) -> bool {
    let all = u64::try_from(all).unwrap_or(u64::MAX);
    let next = u64::try_from(ejected).unwrap_or(u64::MAX).saturating_add(1);
    next < all && next <= most.of(all).max(1)
}

/// How long an endpoint is left alone that was so `before` times in a row.
pub fn stay(before: u32, outliers: Outliers) -> Duration {
    outliers.base.saturating_mul(before.saturating_add(1)).min(outliers.max)
}

/// How many of its times count still: none when it has served well since `until` for as long as it may be left alone.
pub fn remembered(before: u32, until: u64, now: u64, most: Duration) -> u32 {
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    if now.saturating_sub(until) > most { 0 } else { before }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_in_a_row_and_begin_anew_after_the_last() {
        let failures = Failures::default();

        let told = [true, true, false, true, true, true, true, true].map(|failed| failures.take(failed, 3));

        assert_eq!(told, [false, false, false, false, false, true, false, false]);
    }

    #[test]
    fn a_part_may_be_left_alone_and_never_all() {
        let half = Ratio::of_percent(50);
        assert_eq!([0, 1, 2].map(|ejected| may_eject(4, ejected, half)), [true, true, false]);
        assert_eq!([0, 1].map(|ejected| may_eject(3, ejected, half)), [true, false]);
        assert!(!may_eject(1, 0, half));
        let (all, few) = (Ratio::of_percent(100), Ratio::of_percent(1));
        assert_eq!([0, 1, 2].map(|ejected| may_eject(3, ejected, all)), [true, true, false]);
        assert_eq!([0, 1].map(|ejected| may_eject(3, ejected, few)), [true, false]);
    }

    #[test]
    fn each_time_in_a_row_is_longer_to_a_bound() {
        let outliers = Outliers::default();
        let stays = [0, 1, 9, 100].map(|before| stay(before, outliers).as_secs());
        assert_eq!(stays, [30, 60, 300, 300]);
    }

    #[test]
    fn who_has_served_well_for_long_begins_anew() {
        let most = Duration::from_secs(1);
        assert_eq!([1500, 2000, 2001].map(|now| remembered(3, 1000, now, most)), [3, 3, 0]);
        assert_eq!(remembered(3, 9000, 1000, most), 3);
    }
}
