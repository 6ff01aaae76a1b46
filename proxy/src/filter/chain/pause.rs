//! Pauses: how long a filter may hold a half of an exchange, and how many at a time.
//!
//! The sweeper times them, so a pause costs no look at the clock and ends within a sweep of its time.

use std::rc::Rc;
use std::time::Instant;

use super::{Chain, Context, Halt};
use crate::error::Reason;
use crate::exchange::Half;
use crate::filter::plugin::Plugin;
use crate::telemetry::metrics::PAUSED;

/// Halves that one filter may hold paused on one worker.
const MOST: usize = 1_000;

/// What would end a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Only the filter.
    Filter,
    /// More of the body, too: whether the filter or the sender is slow, nobody can tell.
    Body,
}

/// A half that a filter holds; counted as long as it lives.
pub(super) struct Pause {
    plugin: Rc<Plugin>,
    until: Until,
    /// When the sweeper saw it first.
    since: Option<Instant>,
    expired: bool,
}

impl Pause {
    fn new(plugin: &Rc<Plugin>, until: Until) -> Option<Self> {
        let paused = &plugin.whole().paused;
        if paused.get() >= MOST {
            return None;
        }
        paused.set(paused.get() + 1);
        Some(Self { plugin: Rc::clone(plugin), until, since: None, expired: false })
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        let paused = &self.plugin.whole().paused;
        paused.set(paused.get().saturating_sub(1));
    }
}

impl Chain {
    /// A filter holds a half from now on; a new callback for a half that it holds begins the wait anew. `Ok(false)`:
    /// it may not hold one more, and the exchange goes on without it.
    pub(super) fn pause(&self, place: usize, half: Half, until: Until) -> Result<bool, Halt> {
        let link = &self.links[place];
        // The one before is dropped first, so a filter at its bound may go on holding what it holds.
        link.pause(half).take();
        if let Some(pause) = Pause::new(&link.plugin, until) {
            *link.pause(half).borrow_mut() = Some(pause);
            return Ok(true);
        }
        tracing::warn!(filter = link.plugin.name(), most = MOST, "filter holds as many exchanges as it may");
        link.plugin.series.failures[PAUSED].inc();
        let reason = Reason::FilterPausesTooMany(link.plugin.name().to_owned());
        self.give_up(place, reason).map(|()| false)
    }

    /// A filter let a half go.
    pub(super) fn unpause(&self, place: usize, half: Half) {
        self.links[place].pause(half).take();
    }

    /// The sweeper's look: pauses that are over their time are noticed by the halves, which wake.
    pub fn sweep(&self, now: Instant) {
        let mut expired = false;
        for (place, link) in self.links.iter().enumerate() {
            // A VM of this exchange alone wakes nobody when its plugin has to end.
            expired |= self.is_dead(place);
            for half in [Half::Request, Half::Response] {
                let mut pause = link.pause(half).borrow_mut();
                let Some(pause) = pause.as_mut() else { continue };
                let since = *pause.since.get_or_insert(now);
                pause.expired = now.saturating_duration_since(since) > pause.plugin.generation.manners.pause_timeout;
                expired |= pause.expired;
            }
        }
        if expired {
            self.exchange.wake();
        }
    }

    /// What becomes of a pause that is over its time; `None` for any other.
    pub(super) fn expired(&self, place: usize, half: Half) -> Option<Result<(), Halt>> {
        let link = &self.links[place];
        let pause = link.pause(half).borrow_mut().take_if(|pause| pause.expired)?;
        tracing::warn!(filter = link.plugin.name(), half = half.as_str(), "filter held an exchange for too long");
        link.plugin.series.failures[PAUSED].inc();
        let reason = Reason::FilterPaused(link.plugin.name().to_owned());
        Some(match pause.until {
            Until::Filter => self.give_up(place, reason),
            // A sender that stalls must not get past a filter that may be skipped.
            Until::Body => {
                self.set_aside(place);
                link.plugin.series.denied.inc();
                Err(Halt::Fail(reason))
            }
        })
    }

    /// `on_error` of a filter that lives and is to be called no more for this exchange.
    fn give_up(&self, place: usize, reason: Reason) -> Result<(), Halt> {
        self.set_aside(place);
        self.judge(place, reason)
    }

    /// The filter hears of the exchange's end and of nothing before, and cannot reach it from its root context.
    fn set_aside(&self, place: usize) {
        let link = &self.links[place];
        if let Context::Live { id, incarnation } = link.context.get() {
            link.plugin.contexts.remove(id);
            link.context.set(Context::Aside { id, incarnation });
        }
    }
}
