//! A worker: one thread, one runtime, and everything that a request touches. Nothing here is shared with another worker
//! but snapshots, and counters that only this worker writes.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use arc_swap::ArcSwap;
use slab::Slab;

use crate::client::Handle;
use crate::clock::Clock;
use crate::exchange::Exchange;
use crate::filter::chain::Chain;
use crate::filter::lingering::Lingering;
use crate::snapshot::{Local, Place, Snapshot};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Registry;

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
    /// Numbers connections.
    pub connection_ids: AtomicU64,
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
}

/// See the module.
pub struct Worker {
    /// Its number.
    pub index: usize,
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// Its clock.
    pub clock: Rc<Clock>,
    /// True once the process is told to end.
    pub draining: Cell<bool>,
    /// Contexts that outlive their exchange.
    pub lingering: Lingering,
    local: RefCell<Rc<Local>>,
    exchanges: RefCell<Slab<Live>>,
    connections: RefCell<Slab<Handle>>,
}

/// An exchange that the sweeper looks at.
struct Live {
    exchange: Rc<Exchange>,
    chain: Option<Weak<Chain>>,
}

impl Worker {
    /// A worker with the current snapshot taken up; must be made on the worker's own thread.
    pub fn new(index: usize, shared: Arc<Shared>) -> Rc<Self> {
        let clock = Rc::new(Clock::new());
        let local = Local::new(shared.snapshot.load_full(), &place(index, &shared, &clock));
        Rc::new(Self {
            index,
            shared,
            clock,
            draining: Cell::new(false),
            lingering: Lingering::default(),
            local: RefCell::new(Rc::new(local)),
            exchanges: RefCell::default(),
            connections: RefCell::default(),
        })
    }

    /// Idle connections close, busy ones close after their exchange, new ones are served once.
    pub fn drain(&self) {
        self.draining.set(true);
        self.connections.borrow().iter().for_each(|(_, connection)| connection.drain());
    }

    /// The current snapshot as this worker uses it.
    pub fn local(&self) -> Rc<Local> {
        let current = self.shared.snapshot.load();
        let known = self.local.borrow();
        if known.snapshot.number == current.number {
            return Rc::clone(&known);
        }
        drop(known);
        let fresh = Rc::new(Local::new(Arc::clone(&current), &place(self.index, &self.shared, &self.clock)));
        *self.local.borrow_mut() = Rc::clone(&fresh);
        fresh
    }

    /// Has the sweeper look after an exchange until `forget`.
    pub fn watch(&self, exchange: &Rc<Exchange>) -> usize {
        self.load().exchanges.store(self.exchanges.borrow().len() + 1, Relaxed);
        self.exchanges.borrow_mut().insert(Live { exchange: Rc::clone(exchange), chain: None })
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
        self.load().exchanges.store(self.exchanges.borrow().len(), Relaxed);
    }

    /// What others see of this worker.
    pub fn load(&self) -> &Load {
        &self.shared.loads[self.index]
    }

    /// Knows a client connection until `disconnect`.
    pub fn connect(&self, handle: Handle) -> usize {
        self.connections.borrow_mut().insert(handle)
    }

    /// A client connection is closed.
    pub fn disconnect(&self, key: usize) {
        self.connections.borrow_mut().try_remove(key);
    }

    /// Tells every filter that it goes away, and gives those that ask for time until `hurry` completes. Exchanges that are
    /// still there get their policy.
    pub async fn retire(&self, hurry: impl Future<Output = ()>) {
        self.lingering.end_all();
        let local = Rc::clone(&self.local.borrow());
        local.plugins.iter().for_each(|plugin| plugin.retire());
        let gone = async {
            for plugin in &local.plugins {
                plugin.retired().await;
            }
        };
        tokio::select! {
            biased;
            () = gone => {}
            () = hurry => {}
        }
        local.plugins.iter().for_each(|plugin| plugin.end());
    }

    /// Ends exchanges that are out of time.
    pub fn sweep_exchanges(&self) {
        let now = self.clock.look();
        for (_, live) in self.exchanges.borrow().iter() {
            let chain = live.chain.as_ref().and_then(Weak::upgrade);
            if let Some(chain) = &chain {
                chain.sweep(now);
            }
            let name = |place| chain.as_ref().map_or_else(String::new, |chain| chain.name(place).to_owned());
            live.exchange.sweep(now, name);
        }
        self.lingering.sweep(now);
    }

    /// Looks after what changes slowly: idle upstream connections, the memory of VMs.
    pub fn sweep_slowly(&self) {
        let local = Rc::clone(&self.local.borrow());
        local.clusters.iter().for_each(|cluster| cluster.sweep());
        local.plugins.iter().for_each(|plugin| plugin.sample());
    }
}

fn place<'a>(worker: usize, shared: &'a Shared, clock: &'a Rc<Clock>) -> Place<'a> {
    Place { worker, workers: shared.loads.len(), registry: &shared.registry, clock }
}
