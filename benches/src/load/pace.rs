//! Requests that are due one after the other at a fixed pace, until an end. It asks no clock: it is told what time it is.

use std::time::{Duration, Instant};

/// See the module.
pub(super) struct Pace {
    begun: Instant,
    end: Instant,
    /// Requests a second.
    rate: f64,
    /// How many have left.
    left: u32,
}

impl Pace {
    /// So many a second for this long, the first at once.
    pub(super) fn new(rate: f64, begun: Instant, time: Duration) -> Pace {
        Pace { begun, end: begun + time, rate, left: 0 }
    }

    /// When nothing more is due.
    pub(super) fn end(&self) -> Instant {
        self.end
    }

    /// When the next request is due; `None` where that is not before the end.
    pub(super) fn next(&self) -> Option<Instant> {
        Some(self.due(self.left)).filter(|due| *due < self.end)
    }

    /// When the next request was due, if it is by now; with that it has left.
    pub(super) fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next().filter(|due| *due <= now)?;
        self.left += 1;
        Some(due)
    }

    /// Takes all that are due by now: how many there are.
    pub(super) fn drop_due(&mut self, now: Instant) -> usize {
        std::iter::from_fn(|| self.take(now)).count()
    }

    fn due(&self, place: u32) -> Instant {
        self.begun + Duration::from_secs_f64(f64::from(place) / self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was due, in microseconds, of those that leave at each look at the clock: 1,000 a second for four milliseconds.
    fn leaving(looks: &[u64]) -> Vec<Vec<u64>> {
        let begun = Instant::now();
        let mut pace = Pace::new(1000.0, begun, Duration::from_millis(4));
        let mut at = |look: &u64| {
            let now = begun + Duration::from_micros(*look);
            let due = std::iter::from_fn(|| pace.take(now));
            due.map(|due| (due - begun).as_micros().try_into().unwrap()).collect()
        };
        looks.iter().map(&mut at).collect()
    }

    #[test]
    fn a_request_leaves_when_it_is_due_and_not_with_the_next() {
        assert_eq!(leaving(&[0, 999, 1000, 1999, 2000]), [vec![0], vec![], vec![1000], vec![], vec![2000]]);
    }

    #[test]
    fn what_leaves_late_was_due_when_it_was() {
        assert_eq!(leaving(&[2500, 2999]), [vec![0, 1000, 2000], vec![]]);
    }

    #[test]
    fn nothing_is_due_at_the_end_or_behind_it() {
        let begun = Instant::now();
        let mut pace = Pace::new(1000.0, begun, Duration::from_millis(4));

        assert_eq!(leaving(&[9000]), [[0, 1000, 2000, 3000]]);
        assert_eq!(pace.drop_due(begun + Duration::from_secs(1)), 4);
        assert_eq!(pace.next(), None);
    }
}
