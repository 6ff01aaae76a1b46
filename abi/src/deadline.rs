//! How long one guest entry may run: CPU time of this thread, with a cap on wall-clock time.
//!
//! It is asked at epoch ticks only, so an entry shorter than a tick never reads the CPU clock.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The time account of the running entry.
#[derive(Debug)]
pub(crate) struct Deadline {
    started: Instant,
    cpu: Duration,
    wall_factor: u32,
    /// CPU time of this thread at the first tick of the entry; the guest ran for less than a tick before it.
    base: Option<Duration>,
}

impl Deadline {
    /// Starts an account at `started`.
    pub(crate) fn new(started: Instant, cpu: Duration, wall_factor: u32) -> Deadline {
        Deadline { started, cpu, wall_factor, base: None }
    }

    /// True when the time is over. Called once per tick while the guest runs.
    ///
    /// Never at the first tick: after it a guest that was only preempted ends by itself, however long that took.
    pub(crate) fn is_over(&mut self) -> bool {
        let now = thread_cpu_time();
        let Some(base) = self.base else {
            self.base = Some(now);
            return false;
        };
        now.saturating_sub(base) >= self.cpu || self.started.elapsed() >= self.cpu.saturating_mul(self.wall_factor)
    }
}

fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: Duration = Duration::from_millis(10);

    fn started(ago: Duration) -> Deadline {
        let now = Instant::now();
        Deadline::new(now.checked_sub(ago).unwrap_or(now), CPU, 500)
    }

    #[test]
    fn time_spent_waiting_does_not_count_until_the_wall_cap() {
        let mut waited = started(Duration::from_secs(2));
        assert!(!waited.is_over());
        assert!(!waited.is_over());

        let mut past_the_cap = started(Duration::from_secs(5));
        past_the_cap.is_over();
        assert!(past_the_cap.is_over());
    }

    #[test]
    fn one_preemption_of_any_length_ends_nobody() {
        assert!(!started(Duration::from_secs(3600)).is_over());
    }

    #[test]
    fn time_spent_computing_counts_from_the_first_tick() {
        let mut deadline = Deadline::new(Instant::now(), CPU, u32::MAX);
        assert!(!deadline.is_over());

        let base = thread_cpu_time();
        while thread_cpu_time().saturating_sub(base) < CPU {}

        assert!(deadline.is_over());
    }
}
