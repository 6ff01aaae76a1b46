//! A plugin's share of a worker: what it spends in its guests against what `budget.share` lets it spend.
//!
//! It keeps an account that drains at the rate of the share. Whether an exchange is turned away is its plugin's business.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tollgate_config::Ratio;

/// How far ahead of its share a plugin may be: a second of it, so that one slow exchange is no offence.
const AHEAD: Duration = Duration::from_secs(1);
const WHOLE: u64 = 1_000_000;

/// See the module; of one plugin on one worker.
#[derive(Debug)]
pub struct Share {
    rate: Ratio,
    /// Time spent that the share has not paid for yet, as of `at`.
    owed: Cell<Duration>,
    at: Cell<Instant>,
}

impl Share {
    /// Nothing spent yet.
    pub fn new(rate: Ratio, now: Instant) -> Self {
        Self { rate, owed: Cell::new(Duration::ZERO), at: Cell::new(now) }
    }

    /// The plugin spent this.
    pub fn spend(&self, time: Duration) {
        self.owed.set(self.owed.get().saturating_add(time));
    }

    /// True when it spent more than its share.
    pub fn is_over(&self, now: Instant) -> bool {
        let paid = self.of(now.saturating_duration_since(self.at.replace(now)));
        let owed = self.owed.get().saturating_sub(paid);
        self.owed.set(owed);
        owed > self.of(AHEAD)
    }

    fn of(&self, time: Duration) -> Duration {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / WHOLE);
        let rate = u64::from(self.rate.parts_per_million());
        Duration::from_nanos((nanos / WHOLE).saturating_mul(rate).saturating_add(nanos % WHOLE * rate / WHOLE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn half() -> (Share, Instant) {
        let now = Instant::now();
        (Share::new(Ratio::of_percent(50), now), now)
    }

    #[test]
    fn a_second_of_its_share_may_be_spent_at_once() {
        let (share, now) = half();

        share.spend(500 * MS);
        assert!(!share.is_over(now));

        share.spend(MS);
        assert!(share.is_over(now));
    }

    #[test]
    fn what_is_owed_is_paid_at_the_rate_of_the_share() {
        let (share, now) = half();
        share.spend(600 * MS);

        assert!(share.is_over(now + 199 * MS));
        assert!(!share.is_over(now + 200 * MS));
    }

    #[test]
    fn who_stays_within_its_share_is_never_over() {
        let (share, now) = half();

        for second in 1..=1_000 {
            share.spend(500 * MS);
            assert!(!share.is_over(now + second * 1_000 * MS));
        }
    }
}
