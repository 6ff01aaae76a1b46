//! A worker's clock: read once a request, close enough for timeouts of seconds.

use std::cell::Cell;
use std::time::Instant;

/// The moment at which the worker last looked at the time; at most a sweep old.
#[derive(Debug)]
pub struct Clock(Cell<Instant>);

impl Clock {
    /// A clock that shows the present.
    pub fn new() -> Self {
        Self(Cell::new(Instant::now()))
    }

    /// The last look.
    pub fn now(&self) -> Instant {
        self.0.get()
    }

    /// Looks again.
    pub fn look(&self) -> Instant {
        let now = Instant::now();
        self.0.set(now);
        now
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
