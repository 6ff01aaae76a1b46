//! How long one guest entry may run: CPU time of this thread, with a cap on wall-clock time.
//!
//! It is asked at epoch ticks and in hostcalls that compute for long, so a short entry never reads the CPU clock.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The time account of the running entry.
#[derive(Debug)]
pub(crate) struct Deadline {
    started: Instant,
    cpu: Duration,
    wall_factor: u32,
    /// CPU time of this thread at the first look in the entry; the guest ran for less than a tick before it.
    base: Option<Duration>,
}

impl Deadline {
    /// Starts an account at `started`.
    pub(crate) fn new(started: Instant, cpu: Duration, wall_factor: u32) -> Deadline {
        Deadline { started, cpu, wall_factor, base: None }
    }

    /// True when the time is over. Called once per tick while the guest runs, and between the steps of long hostcalls.
    ///
    /// The cap counts only for a guest that also worked: one that was merely preempted, however long and however often,
    /// ends by itself as soon as it runs.
    pub(crate) fn is_over(&mut self) -> bool {
        let now = thread_cpu_time();
        let used = now.saturating_sub(*self.base.get_or_insert(now));
        used >= self.cpu || (used >= self.cpu / self.wall_factor.max(1) && self.is_past_the_cap())
    }

    fn is_past_the_cap(&self) -> bool {
        self.started.elapsed() >= self.cpu.saturating_mul(self.wall_factor)
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

    /// Uses this much CPU time.
    fn work(time: Duration) {
        let base = thread_cpu_time();
        while thread_cpu_time().saturating_sub(base) < time {}
    }

    #[test]
    fn the_cap_ends_a_guest_that_works_slowly() {
        let mut deadline = started(Duration::from_secs(5));
        assert!(!deadline.is_over());

        work(CPU / 500);

        assert!(deadline.is_over());
    }

    #[test]
    fn before_the_cap_a_guest_may_work_slowly() {
        let mut deadline = started(Duration::from_secs(2));
        assert!(!deadline.is_over());

        work(CPU / 500);

        assert!(!deadline.is_over());
    }

    #[test]
    fn a_guest_that_was_only_preempted_is_not_ended() {
        let preempted = Duration::from_secs(3600);
        let started = Instant::now().checked_sub(preempted).unwrap_or_else(Instant::now);
        // 36 s of work are owed before the cap counts, so no number of looks reaches it.
        let mut deadline = Deadline::new(started, preempted / 10, 10);

        assert!((0..100).all(|_| !deadline.is_over()));
    }

    #[test]
    fn time_spent_computing_counts_from_the_first_tick() {
        let mut deadline = Deadline::new(Instant::now(), CPU, u32::MAX);
        assert!(!deadline.is_over());

        work(CPU);

        assert!(deadline.is_over());
    }
}
