//! When most calls of a plugin kill its VM: fresh VMs are then held back, because each costs its neighbours CPU.
//!
//! A VM that dies is replaced at once, always, unless over half of at least a hundred calls within ten seconds died. It
//! decides; it does not wait.

use std::time::{Duration, Instant};

use crate::filter::spares;

/// How long calls are counted together.
const WINDOW: Duration = Duration::from_secs(10);
/// Calls below which no share says anything.
const ENOUGH: u32 = 100;

/// See the module; of one plugin on one worker.
#[derive(Debug, Default)]
pub struct Storm {
    since: Option<Instant>,
    calls: u32,
    deaths: u32,
    /// How often fresh VMs were held back without a calm window between.
    level: u32,
    until: Option<Instant>,
}

impl Storm {
    /// A call that may kill the VM.
    pub fn call(&mut self) {
        self.calls = self.calls.saturating_add(1);
    }

    /// A call killed the VM.
    pub fn death(&mut self, now: Instant) {
        self.roll(now);
        self.deaths = self.deaths.saturating_add(1);
        // A window begins with a death: where every other call dies, it has one death more than half of them.
        if self.calls >= ENOUGH && self.deaths > self.calls.div_ceil(2) {
            self.level = self.level.saturating_add(1);
            self.until = Some(now + spares::delay(self.level));
            self.begin(now);
        }
    }

    /// True while no fresh VM is to take over.
    pub fn holds(&mut self, now: Instant) -> bool {
        self.until = self.until.filter(|until| now < *until);
        self.until.is_some()
    }

    fn roll(&mut self, now: Instant) {
        match self.since {
            Some(since) if now.saturating_duration_since(since) < WINDOW => {}
            // A window that ends without a hold was calm. Before the first death nobody looks at the time, and calls may be
            // of any age.
            _ => {
                self.level = 0;
                self.begin(now);
                self.calls = 1;
            }
        }
    }

    fn begin(&mut self, now: Instant) {
        self.since = Some(now);
        (self.calls, self.deaths) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(storm: &mut Storm, now: Instant, deaths: u32, of: u32) {
        for call in 0..of {
            storm.call();
            if (call + 1) % (of / deaths) == 0 {
                storm.death(now);
            }
        }
    }

    #[test]
    fn half_of_all_calls_may_die_for_ever() {
        let (mut storm, now) = (Storm::default(), Instant::now());

        calls(&mut storm, now, 5_000, 10_000);

        assert!(!storm.holds(now));
    }

    #[test]
    fn a_few_calls_that_all_die_hold_nothing_back() {
        let (mut storm, now) = (Storm::default(), Instant::now());

        calls(&mut storm, now, 99, 99);
        assert!(!storm.holds(now));

        calls(&mut storm, now, 1, 1);
        assert!(storm.holds(now));
    }

    #[test]
    fn calls_before_the_first_death_say_nothing_of_those_after_it() {
        let (mut storm, now) = (Storm::default(), Instant::now());
        for _ in 0..100_000 {
            storm.call();
        }

        calls(&mut storm, now, 99, 99);
        assert!(!storm.holds(now));

        calls(&mut storm, now, 1, 1);
        assert!(storm.holds(now));
    }

    #[test]
    fn each_hold_in_a_row_is_twice_as_long() {
        let (mut storm, now) = (Storm::default(), Instant::now());

        calls(&mut storm, now, 100, 100);
        assert!(storm.holds(now + Duration::from_millis(99)));
        let later = now + Duration::from_millis(100);
        assert!(!storm.holds(later));

        calls(&mut storm, later, 100, 100);
        assert!(storm.holds(later + Duration::from_millis(199)));
        assert!(!storm.holds(later + Duration::from_millis(200)));
    }

    #[test]
    fn calls_of_long_ago_do_not_count() {
        let (mut storm, now) = (Storm::default(), Instant::now());
        calls(&mut storm, now, 99, 99);

        let later = now + WINDOW;
        calls(&mut storm, later, 99, 99);

        assert!(!storm.holds(later));
    }
}
