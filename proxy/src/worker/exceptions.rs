//! Who is served although there is no memory for it. How short memory is, is told from outside, and what is idle is closed
//! elsewhere.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::Worker;
use crate::pressure::Pressure;

/// How far apart requests are that are served, and connections that are let in, beside what lasts although there is no memory
/// for them.
const EXCEPTION: Duration = Duration::from_secs(1);

impl Worker {
    /// True where a request, or a connection that is to be passed on, is refused for want of memory. To be asked once for
    /// each: one that is not refused although memory is short counts as the exception.
    pub fn sheds(&self) -> bool {
        if !self.load().pressure.has_reached(Pressure::Over) {
            return false;
        }
        let excepts = self.excepts();
        if excepts {
            self.excepted.set(Some(self.clock.now()));
        }
        !excepts
    }

    /// True where nobody is let in for want of memory; with the same exception, and one of its own: nobody knows when those
    /// who were let in will ask for something.
    pub fn is_shut(&self) -> bool {
        let may_come = || self.crowd.get() == 0 || self.is_due(&self.let_in);
        self.load().pressure.has_reached(Pressure::FarOver) && !(self.excepts() && may_come())
    }

    /// A connection was let in.
    pub fn note_let_in(&self) {
        if self.crowd.get() > 0 && self.load().pressure.has_reached(Pressure::FarOver) {
            self.let_in.set(Some(self.clock.now()));
        }
    }

    /// Memory that the allocator keeps for later must not end all service, so one at a time is served. What is meant to last
    /// keeps no other from being that one, but there may be nothing else, so beside it they are few.
    fn excepts(&self) -> bool {
        self.crowd.get() == 0 || (self.is_due(&self.excepted) && !self.is_serving())
    }

    fn is_due(&self, last: &Cell<Option<Instant>>) -> bool {
        last.get().is_none_or(|last| self.clock.now().saturating_duration_since(last) >= EXCEPTION)
    }

    /// True while something is under way that is soon to be over.
    fn is_serving(&self) -> bool {
        let exchanges = self.exchanges.borrow();
        exchanges.iter().any(|(_, live)| !live.exchange.lasts.get() && !live.exchange.is_passage.get())
    }
}
