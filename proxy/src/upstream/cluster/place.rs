//! Places among what a cluster has under way on one worker, which are free again whatever becomes of who has them.

use std::cell::Cell;
use std::rc::Rc;

/// One more of what is counted, until it is dropped.
pub struct Place(Rc<Cell<usize>>);

impl Place {
    /// Counts one more.
    pub(in crate::upstream) fn new(taken: &Rc<Cell<usize>>) -> Self {
        taken.set(taken.get() + 1);
        Self(Rc::clone(taken))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
