//! Plugins on one worker whose generation was replaced: each ends with its last exchange and callout, or when its time is
//! over.
//!
//! New exchanges do not see them. A connection that is passed on has a time of its own, which may be without end.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::filter::plugin::Plugin;

/// How long a root context may take to end once it was told.
const ROOT_PATIENCE: Duration = Duration::from_secs(5);

/// Those of one worker.
#[derive(Default)]
pub struct Retiring(RefCell<Vec<Leaving>>);

struct Leaving {
    plugin: Rc<Plugin>,
    since: Instant,
    /// When its root context heard of the end.
    told: Option<Instant>,
}

/// How long a replaced generation may stay.
#[derive(Clone, Copy, Debug)]
pub struct Stay {
    /// With exchanges and callouts.
    pub exchanges: Duration,
    /// With connections that are passed on; `None`: as long as they do.
    pub passages: Option<Duration>,
}

impl Retiring {
    /// Lets a plugin end.
    pub fn add(&self, plugin: Rc<Plugin>, now: Instant) {
        self.0.borrow_mut().push(Leaving { plugin, since: now, told: None });
    }

    /// Ends those that are no longer needed, and those whose time is over.
    pub fn sweep(&self, now: Instant, stay: Stay) {
        if self.0.borrow().is_empty() {
            return;
        }
        // What a guest does while it ends must not find the list in use.
        let mut list = std::mem::take(&mut *self.0.borrow_mut());
        list.retain_mut(|leaving| !leaving.step(now, stay));
        self.0.borrow_mut().append(&mut list);
    }

    /// All of them, to be ended with their worker.
    pub fn take(&self) -> Vec<Rc<Plugin>> {
        std::mem::take(&mut *self.0.borrow_mut()).into_iter().map(|leaving| leaving.plugin).collect()
    }
}

impl Leaving {
    /// True when it is over.
    fn step(&mut self, now: Instant, stay: Stay) -> bool {
        if self.told.is_none() && self.is_due(now, stay) {
            self.told = Some(now);
            self.plugin.retire();
        } else if self.lasts(now, stay.exchanges) {
            self.plugin.shut_out_exchanges();
        }
        let Some(told) = self.told else { return false };
        let over = self.plugin.is_gone() || now.saturating_duration_since(told) >= ROOT_PATIENCE;
        if over {
            self.plugin.end();
        }
        over
    }

    fn is_due(&self, now: Instant, stay: Stay) -> bool {
        if self.plugin.has_passages() {
            return stay.passages.is_some_and(|limit| self.lasts(now, limit));
        }
        let is_used = self.plugin.is_engaged() || self.plugin.is_waiting();
        !is_used || self.lasts(now, stay.exchanges)
    }

    /// True once it has been replaced for so long.
    fn lasts(&self, now: Instant, limit: Duration) -> bool {
        now.saturating_duration_since(self.since) >= limit
    }
}
