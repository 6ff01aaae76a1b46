//! How fast a client sends a body and takes an answer: whether that is too slow, and whose turn it is at all.
//!
//! Only waits for the client count. What an upstream or a filter holds up is bounded by timeouts of its own.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::error::Reason;

/// What is expected of a client; from `config::limits`.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Bytes of a body a second, on the average of a period; `None`: as slowly as it likes.
    pub rate: Option<u64>,
    /// The first period, in which nothing is expected, and each after it.
    pub period: Duration,
    /// How long it may take nothing of an answer that is there for it.
    pub take: Duration,
}

/// See the module.
#[derive(Debug)]
pub struct Pace {
    /// The body is wanted, and the client is asked for more of it.
    awaited: Cell<bool>,
    period: Cell<Period>,
    /// When the last bytes of an answer were handed over, until more are asked for: HTTP/2 asks when there is a window.
    handed: Cell<Option<Instant>>,
    /// The sweeper's suspicion that the client takes nothing.
    stalled: Cell<bool>,
}

/// Time that the client was waited for, and what it sent before.
#[derive(Clone, Copy, Debug)]
struct Period {
    is_first: bool,
    waited: Duration,
    bytes: u64,
    swept: Instant,
}

impl Pace {
    /// Nothing was asked for yet.
    pub fn new(now: Instant) -> Self {
        Self {
            awaited: Cell::new(false),
            period: Cell::new(Period { is_first: true, waited: Duration::ZERO, bytes: 0, swept: now }),
            handed: Cell::new(None),
            stalled: Cell::new(false),
        }
    }

    /// The client is asked for more of its body, or has sent it.
    pub fn await_body(&self, awaited: bool) {
        self.awaited.set(awaited);
    }

    /// Bytes of an answer were handed over.
    pub fn hand(&self, now: Instant) {
        self.handed.set(Some(now));
    }

    /// More of the answer was asked for, and is not there.
    pub fn ask(&self) {
        self.handed.set(None);
    }

    /// True from [`Pace::hand`] until more is asked for.
    pub fn is_handed(&self) -> bool {
        self.handed.get().is_some()
    }

    /// Answers the sweeper's suspicion, and forgets it.
    pub fn take_stalled(&self) -> bool {
        self.stalled.take()
    }

    /// The sweeper's look at a request that has not ended, of which `bytes` came. Time counts from look to look.
    pub fn sweep_body(&self, now: Instant, bytes: u64, expected: &Expected) -> Option<Reason> {
        let mut period = self.period.get();
        if self.awaited.get() {
            period.waited += now.saturating_duration_since(period.swept);
        }
        period.swept = now;
        let rate = expected.rate?;
        let is_over = period.waited >= expected.period;
        let is_slow = is_over && !period.is_first && is_under(rate, period.waited, bytes - period.bytes.min(bytes));
        if is_over {
            period = Period { is_first: false, waited: Duration::ZERO, bytes, swept: now };
        }
        self.period.set(period);
        is_slow.then_some(Reason::SlowBody)
    }

    /// The sweeper's look at an answer over HTTP/2; true for a suspicion that is new.
    pub fn sweep_answer(&self, now: Instant, expected: &Expected) -> bool {
        let since = |moment: Instant| now.saturating_duration_since(moment);
        self.handed.get().is_some_and(|moment| since(moment) > expected.take) && !self.stalled.replace(true)
    }
}

/// True for less than `rate` bytes a second.
fn is_under(rate: u64, waited: Duration, bytes: u64) -> bool {
    u128::from(bytes) * 1000 < u128::from(rate) * waited.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Expected =
        Expected { rate: Some(1024), period: Duration::from_secs(10), take: Duration::from_secs(30) };

    /// Looks once a second; `bytes` says how many had come by then. Answers the second in which it was too slow.
    fn ended_in(pace: &Pace, start: Instant, bytes: impl Fn(u64) -> u64) -> Option<u64> {
        (1..100)
            .find(|second| pace.sweep_body(start + Duration::from_secs(*second), bytes(*second), &EXPECTED).is_some())
    }

    #[test]
    fn a_body_has_a_period_of_grace_and_is_then_held_to_its_rate() {
        for (a_second, ended) in [(0, Some(20)), (1, Some(20)), (1023, Some(20)), (1024, None), (5000, None)] {
            let now = Instant::now();
            let pace = Pace::new(now);
            pace.await_body(true);

            assert_eq!(ended_in(&pace, now, |second| second * a_second), ended, "{a_second} bytes a second");
        }
    }

    #[test]
    fn a_body_that_becomes_slow_is_ended_in_the_period_after() {
        let now = Instant::now();
        let pace = Pace::new(now);
        pace.await_body(true);

        assert_eq!(ended_in(&pace, now, |second| second.min(35) * 2048), Some(50));
    }

    #[test]
    fn time_in_which_nobody_asks_for_the_body_does_not_count() {
        let now = Instant::now();
        let pace = Pace::new(now);

        assert_eq!(ended_in(&pace, now, |_| 0), None);
    }

    #[test]
    fn without_a_rate_no_body_is_too_slow() {
        let now = Instant::now();
        let pace = Pace::new(now);
        pace.await_body(true);
        let expected = Expected { rate: None, ..EXPECTED };

        assert!((1..100).all(|second| pace.sweep_body(now + Duration::from_secs(second), 0, &expected).is_none()));
    }

    #[test]
    fn an_answer_that_is_not_taken_is_suspected_once_and_again_after_it_was_forgiven() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let pace = Pace::new(now);
        let suspected = |seconds| pace.sweep_answer(at(seconds), &EXPECTED);

        assert!(!suspected(100));
        pace.hand(now);
        assert_eq!([30, 31, 32].map(suspected), [false, true, false]);
        assert!(pace.take_stalled());
        pace.hand(at(32));
        assert_eq!([62, 63].map(suspected), [false, true]);
        assert!(pace.take_stalled());
        pace.ask();
        assert!(!suspected(200));
    }
}
