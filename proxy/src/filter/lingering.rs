//! Contexts that outlive their exchange because their filter asked for it: `proxy_on_done` answered false.
//!
//! Clients and accounts do not wait for them. Each is ended, with log and delete, when the filter says so or its time is
//! over; a VM that dies takes its own along.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tollgate_abi::ContextId;

use crate::exchange::Exchange;
use crate::exchange::lent::Lent;
use crate::filter::plugin::{Engaged, Plugin};

/// How many contexts of a worker may linger.
const MOST: usize = 1_000;
/// For how long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Those of one worker.
#[derive(Default)]
pub struct Lingering(RefCell<Vec<Linger>>);

/// One context without an exchange under way.
struct Linger {
    plugin: Engaged,
    id: ContextId,
    incarnation: u32,
    /// Over, and kept for what its filter may still read.
    exchange: Rc<Exchange>,
    place: usize,
    until: Instant,
}

impl Lingering {
    /// Keeps a context of the filter at `place`, reachable from its root context. False: there is no room.
    pub(super) fn keep(
        &self,
        plugin: &Rc<Plugin>,
        id: ContextId,
        (exchange, place): (&Rc<Exchange>, usize),
        now: Instant,
    ) -> bool {
        let mut list = self.0.borrow_mut();
        if list.len() >= MOST {
            return false;
        }
        plugin.contexts.insert(id, exchange, place);
        list.push(Linger {
            plugin: plugin.stay(),
            id,
            incarnation: plugin.incarnation(),
            exchange: Rc::clone(exchange),
            place,
            until: now + PATIENCE,
        });
        true
    }

    /// Ends those that are ready or out of time.
    pub fn sweep(&self, now: Instant) {
        self.end_where(|linger| linger.until <= now || linger.is_ready());
    }

    /// Ends all of them: their worker goes away.
    pub fn end_all(&self) {
        self.end_where(|_| true);
    }

    fn end_where(&self, due: impl Fn(&Linger) -> bool) {
        // What a guest does while it is ended must not find the list in use.
        let ended: Vec<Linger> = self.0.borrow_mut().extract_if(.., |linger| due(linger)).collect();
        ended.iter().for_each(Linger::end);
    }
}

impl Linger {
    /// True when the filter said that it is ready, or its VM is gone.
    fn is_ready(&self) -> bool {
        let Some(stream) = self.exchange.lend() else { return false };
        let said = stream.wishes.done.contains(&self.place);
        self.exchange.stream.set(Some(stream));
        said || self.incarnation != self.plugin.incarnation()
    }

    fn end(&self) {
        // The contexts of a dead VM are forgotten already.
        if self.incarnation != self.plugin.incarnation() {
            return;
        }
        self.plugin.contexts.remove(self.id);
        let Some(mut stream) = self.exchange.lend() else { return };
        stream.holder = self.place;
        let stay = self.plugin.enter(stream, &mut None, |vm, stream| vm.end_stream(self.id, stream));
        if let Lent::Http(stream) = stay.stream {
            self.exchange.stream.set(Some(stream));
        }
    }
}
