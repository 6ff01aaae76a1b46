//! A worker: one thread, one runtime, and everything that a request touches. Nothing here is shared with another worker
//! but snapshots, and counters that only this worker writes.

mod exceptions;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::Release};
use std::time::Instant;

use arc_swap::ArcSwap;
use slab::Slab;

use crate::client::Handle;
use crate::clock::Clock;
use crate::exchange::Exchange;
use crate::filter::chain::Chain;
use crate::filter::lingering::Lingering;
use crate::filter::plugin::Plugin;
use crate::filter::retiring::{Retiring, Stay};
use crate::pressure::{Level, Pressure};
use crate::room::Room;
use crate::snapshot::{ListenerId, Local, Place, Snapshot};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::{Measure, Registry};
use crate::upstream::resolve::Resolvers;

/// What all workers share.
pub struct Shared {
    /// The current snapshot.
    pub snapshot: ArcSwap<Snapshot>,
    /// Where counters come from.
    pub registry: Arc<Registry>,
    /// Where answered requests are written, if anywhere.
    pub access_log: Option<AccessLog>,
    /// One for each worker.
    pub loads: Box<[Load]>,
    /// Workers that have taken up their sockets and not ended.
    pub serving: AtomicUsize,
    /// Client connections of the process.
    pub connections: AtomicUsize,
    /// How many of them there are descriptors for.
    pub room: Room,
    /// Where this process listens, admin endpoints included. Only control threads change it.
    pub own: ArcSwap<Vec<SocketAddr>>,
    /// Numbers connections.
    pub connection_ids: AtomicU64,
    /// Who looks names up for filters; they take nothing away from those of endpoints.
    pub resolvers: Arc<Resolvers>,
}

impl Shared {
    /// A worker gets a connection that was admitted to the process.
    pub fn count_connection(&self, worker: usize) {
        if let Some(load) = self.loads.get(worker) {
            load.connections.fetch_add(1, Relaxed);
        }
    }

    /// A connection left the process, and the worker that it had been counted for.
    pub fn discount_connection(&self, worker: Option<usize>) {
        if let Some(load) = worker.and_then(|worker| self.loads.get(worker)) {
            load.connections.fetch_sub(1, Relaxed);
        }
        self.connections.fetch_sub(1, Relaxed);
    }
}

/// What one worker lets others see; alone on its cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Load {
    /// Client connections.
    pub connections: AtomicUsize,
    /// Exchanges in flight. Only the worker writes it.
    pub exchanges: AtomicUsize,
    /// Connections that are passed on as bytes. Only the worker writes it.
    pub passages: AtomicUsize,
    /// While the worker drains: connections whose clients are sending a head. Only the worker writes it.
    pub heads: AtomicUsize,
    /// While the worker drains: what is left on listeners that drain first. Only the worker writes it.
    pub first: First,
    /// What is to be done for want of memory. Only the control thread writes it, when it changes.
    pub pressure: Level,
}

/// What is left on the listeners of a worker that drain first.
#[derive(Debug, Default)]
pub struct First {
    /// True once the worker has looked.
    pub counted: AtomicBool,
    /// Their connections.
    pub connections: AtomicUsize,
    /// Exchanges, heads that are on their way, and connections that are passed on as bytes.
    pub busy: AtomicUsize,
}

/// Which listeners of a worker drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Draining {
    Nobody,
    /// All but those that serve until the others are done.
    First,
    Everybody,
}

/// See the module.
pub struct Worker {
    /// Its number.
    pub index: usize,
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// Its clock.
    pub clock: Rc<Clock>,
    /// Exchanges and connections in flight.
    pub crowd: Rc<Cell<usize>>,
    /// Whom the end of the process concerns already.
    draining: Cell<Draining>,
    /// True once the plugins are told that they go away: others would never hear of it.
    retired: Cell<bool>,
    /// When a request was last served although there was no memory for it.
    excepted: Cell<Option<Instant>>,
    /// When a connection was last let in although there was far too little.
    let_in: Cell<Option<Instant>>,
    /// Contexts that outlive their exchange.
    pub lingering: Lingering,
    /// Plugins whose generation was replaced.
    pub retiring: Retiring,
    /// Listeners that connections come from.
    doors: RefCell<Vec<ListenerId>>,
    local: RefCell<Rc<Local>>,
    exchanges: RefCell<Slab<Live>>,
    connections: RefCell<Slab<(ListenerId, Handle)>>,
}

/// An exchange that the sweeper looks at.
struct Live {
    listener: ListenerId,
    exchange: Rc<Exchange>,
    chain: Option<Weak<Chain>>,
}

impl Worker {
    /// A worker with the current snapshot taken up; must be made on the worker's own thread.
    pub fn new(index: usize, shared: Arc<Shared>) -> Rc<Self> {
        let clock = Rc::new(Clock::new());
        let crowd = Rc::default();
        let local = Local::new(shared.snapshot.load_full(), &place(index, &shared, (&clock, &crowd)), None, |_| false);
        Rc::new(Self {
            index,
            shared,
            clock,
            crowd,
            draining: Cell::new(Draining::Nobody),
            retired: Cell::new(false),
            excepted: Cell::new(None),
            let_in: Cell::new(None),
            lingering: Lingering::default(),
            retiring: Retiring::default(),
            doors: RefCell::default(),
            local: RefCell::new(Rc::new(local)),
            exchanges: RefCell::default(),
            connections: RefCell::default(),
        })
    }

    /// Idle connections close, busy ones close after their exchange, new ones are served once.
    pub fn drain(&self) {
        self.draining.set(Draining::Everybody);
        self.connections.borrow().iter().for_each(|(_, (_, connection))| connection.drain());
    }

    /// The same for all listeners but those that take what the application beside the proxy sends out.
    pub fn drain_first(&self) {
        self.draining.set(Draining::First);
        let local = self.local();
        let connections = self.connections.borrow();
        let first = connections.iter().filter(|(_, (listener, _))| local.drains_first(*listener));
        first.for_each(|(_, (_, connection))| connection.drain());
        drop(connections);
        self.count_first();
    }

    /// True where connections of a listener are to close.
    pub fn drains(&self, listener: ListenerId) -> bool {
        match self.draining.get() {
            Draining::Nobody => false,
            Draining::First => self.local().drains_first(listener),
            Draining::Everybody => true,
        }
    }

    fn count_first(&self) {
        let local = self.local();
        let (connections, exchanges) = (self.connections.borrow(), self.exchanges.borrow());
        let first = || connections.iter().filter(|(_, (listener, _))| local.drains_first(*listener));
        let is_busy = |(_, (listener, connection)): &(usize, &(ListenerId, Handle))| {
            connection.is_asking() || local.listener(*listener).is_some_and(|known| known.tcp.is_some())
        };
        let serving = exchanges.iter().filter(|(_, live)| local.drains_first(live.listener)).count();
        let left = &self.load().first;
        left.connections.store(first().count(), Relaxed);
        left.busy.store(first().filter(is_busy).count() + serving, Relaxed);
        left.counted.store(true, Release);
    }

    /// The same for the connections of one listener, which goes away.
    pub fn drain_listener(&self, id: ListenerId) {
        let connections = self.connections.borrow();
        let its_own = connections.iter().filter(|(_, (listener, _))| *listener == id);
        its_own.for_each(|(_, (_, connection))| connection.drain());
    }

    /// The current snapshot as this worker uses it.
    pub fn local(&self) -> Rc<Local> {
        let current = self.shared.snapshot.load();
        let known = self.local.borrow();
        if known.snapshot.number == current.number {
            return Rc::clone(&known);
        }
        drop(known);
        self.take_up(Arc::clone(&current))
    }

    /// Changes to another snapshot, or to the same one with fresh VMs in place of worn ones. What it no longer has begins
    /// to end. A worker whose plugins are going away stays as it is.
    #[cold]
    fn take_up(&self, snapshot: Arc<Snapshot>) -> Rc<Local> {
        let before = Rc::clone(&self.local.borrow());
        if self.retired.get() {
            return before;
        }
        let served: Vec<Rc<Plugin>> = before.plugins().collect();
        let place = place(self.index, &self.shared, (&self.clock, &self.crowd));
        let fresh = Rc::new(Local::new(snapshot, &place, Some(&before), |id| self.is_open(id)));
        *self.local.borrow_mut() = Rc::clone(&fresh);
        let now = self.clock.look();
        let kept: Vec<Rc<Plugin>> = fresh.plugins().collect();
        let gone = served.into_iter().filter(|plugin| !kept.iter().any(|kept| Rc::ptr_eq(kept, plugin)));
        gone.for_each(|plugin| self.retiring.add(plugin, now));
        // What nobody needs ends here, so that swaps in quick succession do not wait for one another.
        self.retiring.sweep(now, stay(&fresh));
        fresh
    }

    /// True for a listener of the current snapshot.
    pub fn knows(&self, id: ListenerId) -> bool {
        self.local().snapshot.listeners.iter().any(|known| known.id == id)
    }

    /// True while connections come from a listener, or are there.
    fn is_open(&self, id: ListenerId) -> bool {
        let doors = self.doors.borrow();
        doors.contains(&id) || self.connections.borrow().iter().any(|(_, (listener, _))| *listener == id)
    }

    /// Connections come from a socket of a listener until `shut`.
    pub fn open(&self, id: ListenerId) {
        self.doors.borrow_mut().push(id);
    }

    /// No connection comes from that socket any more.
    pub fn shut(&self, id: ListenerId) {
        let mut doors = self.doors.borrow_mut();
        if let Some(place) = doors.iter().position(|open| *open == id) {
            doors.swap_remove(place);
        }
    }

    /// Has the sweeper look after an exchange until `forget`.
    pub fn watch(&self, exchange: &Rc<Exchange>, listener: ListenerId) -> usize {
        self.load().exchanges.store(self.exchanges.borrow().len() + 1, Relaxed);
        self.crowd.set(self.crowd.get() + 1);
        self.exchanges.borrow_mut().insert(Live { listener, exchange: Rc::clone(exchange), chain: None })
    }

    /// Tells the sweeper whose filters an exchange waits for.
    pub fn watch_chain(&self, key: usize, chain: &Rc<Chain>) {
        if let Some(live) = self.exchanges.borrow_mut().get_mut(key) {
            live.chain = Some(Rc::downgrade(chain));
        }
    }

    /// The exchange is over.
    pub fn forget(&self, key: usize) {
        self.exchanges.borrow_mut().try_remove(key);
        self.crowd.set(self.crowd.get().saturating_sub(1));
        self.load().exchanges.store(self.exchanges.borrow().len(), Relaxed);
    }

    /// What others see of this worker.
    pub fn load(&self) -> &Load {
        &self.shared.loads[self.index]
    }

    /// Closes what is idle, of clients and of upstreams.
    fn close_idle(&self, local: &Local) {
        for (_, (listener, connection)) in self.connections.borrow().iter().filter(|(_, (_, known))| known.is_idle()) {
            connection.drain();
            if let Some(known) = local.listener(*listener) {
                known.series.overload[Measure::Closed.index()].inc();
            }
        }
        local.clusters.iter().for_each(|cluster| cluster.close_idle());
    }

    /// Knows a client connection until `disconnect`.
    pub fn connect(&self, listener: ListenerId, handle: Handle) -> usize {
        self.connections.borrow_mut().insert((listener, handle))
    }

    /// A client connection is closed.
    pub fn disconnect(&self, key: usize) {
        self.connections.borrow_mut().try_remove(key);
    }

    /// Tells every filter that it goes away, and gives those that ask for time until `hurry` completes. Exchanges that are
    /// still there get their policy.
    pub async fn retire(&self, hurry: impl Future<Output = ()>) {
        self.retired.set(true);
        self.lingering.end_all();
        let mut plugins: Vec<Rc<Plugin>> = self.local.borrow().plugins().collect();
        plugins.extend(self.retiring.take());
        plugins.iter().for_each(|plugin| plugin.retire());
        let gone = async {
            for plugin in &plugins {
                plugin.retired().await;
            }
        };
        tokio::select! {
            biased;
            () = gone => {}
            () = hurry => {}
        }
        plugins.iter().for_each(|plugin| plugin.end());
    }

    /// Ends exchanges that are out of time.
    pub fn sweep_exchanges(&self) {
        let now = self.clock.look();
        if self.draining.get() == Draining::First {
            self.count_first();
        }
        if self.draining.get() != Draining::Nobody {
            let connections = self.connections.borrow();
            let heads = connections.iter().filter(|(_, (_, connection))| connection.is_asking()).count();
            self.load().heads.store(heads, Relaxed);
        }
        for (_, live) in self.exchanges.borrow().iter() {
            let chain = live.chain.as_ref().and_then(Weak::upgrade);
            if let Some(chain) = &chain {
                chain.sweep(now);
            }
            let name = |place| chain.as_ref().map_or_else(String::new, |chain| chain.name(place).to_owned());
            live.exchange.sweep(now, name);
        }
        self.lingering.sweep(now);
        // A worker without requests lets go of what was replaced, too.
        let local = self.local();
        self.retiring.sweep(now, stay(&local));
    }

    /// Looks after what changes slowly: idle upstream connections, the memory of VMs.
    pub fn sweep_slowly(&self) {
        let local = self.local();
        local.clusters.iter().for_each(|cluster| cluster.sweep());
        local.plugins().for_each(|plugin| plugin.sample());
        if self.load().pressure.has_reached(Pressure::Tight) {
            self.close_idle(&local);
        }
        let is_over = local.left().any(|known| !self.is_open(known.listener.id));
        // What is left of other snapshots is worn for good: nothing takes its place.
        if is_over || local.current().any(|plugin| plugin.wears_out()) {
            self.take_up(Arc::clone(&local.snapshot));
        }
    }
}

/// How long what was replaced may stay.
fn stay(local: &Local) -> Stay {
    let limits = &local.snapshot.limits;
    Stay { exchanges: limits.retire_timeout, passages: limits.upgrade_age }
}

fn place<'a>(worker: usize, shared: &'a Shared, (clock, crowd): (&'a Rc<Clock>, &'a Rc<Cell<usize>>)) -> Place<'a> {
    let (registry, resolvers) = (&shared.registry, &shared.resolvers);
    Place { worker, workers: shared.loads.len(), registry, resolvers, clock, crowd }
}
