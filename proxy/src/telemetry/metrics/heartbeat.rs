//! Signs of life: when each worker last came back to look after its timeouts.
//!
//! A worker that does not is held by something, most likely by a filter with a long budget. Nothing is measured on the path
//! of a request.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A worker that gave no sign for so long is stuck: that is twenty of its rounds, more than a busy machine holds a thread
/// back for, and less than those who ask for liveness wait before they act.
pub const STUCK: Duration = Duration::from_secs(2);

const NEVER: u64 = u64::MAX;
const ENDED: u64 = u64::MAX - 1;

/// What is known of a worker's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// It has not begun.
    Starting,
    /// It comes round.
    Beating,
    /// It has given no sign for so long.
    Stuck(Duration),
    /// It has ended in order.
    Ended,
}

impl Pulse {
    /// True when the worker should have given a sign and did not.
    pub fn is_stuck(self) -> bool {
        matches!(self, Pulse::Stuck(_))
    }
}

/// The last sign of every worker, in milliseconds of the monotonic clock since `born`.
#[derive(Debug)]
pub(super) struct Heartbeats {
    born: Instant,
    last: Box<[AtomicU64]>,
}

impl Heartbeats {
    pub(super) fn new(workers: usize) -> Heartbeats {
        Heartbeats { born: Instant::now(), last: (0..workers).map(|_| AtomicU64::new(NEVER)).collect() }
    }

    pub(super) fn beat(&self, worker: usize, now: Instant) {
        self.store(worker, self.millis(now));
    }

    pub(super) fn end(&self, worker: usize) {
        self.store(worker, ENDED);
    }

    pub(super) fn pulses(&self, now: Instant) -> Vec<Pulse> {
        self.last.iter().map(|last| pulse(last.load(Relaxed), self.millis(now))).collect()
    }

    fn store(&self, worker: usize, value: u64) {
        if let Some(last) = self.last.get(worker) {
            last.store(value, Relaxed);
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX).min(ENDED - 1)
    }
}

fn pulse(last: u64, now: u64) -> Pulse {
    let silent = Duration::from_millis(now.saturating_sub(last));
    match last {
        NEVER => Pulse::Starting,
        ENDED => Pulse::Ended,
        _ if silent < STUCK => Pulse::Beating,
        _ => Pulse::Stuck(silent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_stuck_once_it_gave_no_sign_for_two_seconds() {
        let (hearts, born) = (Heartbeats::new(1), Instant::now());
        assert_eq!(hearts.pulses(born + STUCK * 2), [Pulse::Starting]);

        hearts.beat(0, born + STUCK);

        assert_eq!(hearts.pulses(born + STUCK * 2 - Duration::from_millis(1)), [Pulse::Beating]);
        let stuck = hearts.pulses(born + STUCK * 2);
        assert_eq!(stuck, [Pulse::Stuck(STUCK)]);
        assert!(stuck[0].is_stuck());
    }

    #[test]
    fn a_worker_that_comes_back_or_ended_is_not_stuck() {
        let (hearts, born) = (Heartbeats::new(2), Instant::now());
        hearts.beat(0, born);
        hearts.beat(1, born);

        hearts.beat(0, born + STUCK * 2);
        hearts.end(1);

        assert_eq!(hearts.pulses(born + STUCK * 2), [Pulse::Beating, Pulse::Ended]);
    }
}
