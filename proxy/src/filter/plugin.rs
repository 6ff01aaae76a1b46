//! One plugin on one worker: its VM, entered by one exchange at a time, and replaced when it dies.
//!
//! A VM is never entered again after a failure. Which policy an exchange gets is the chain's business.

mod leaving;
mod root;
mod solo;

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tollgate_abi::{CallbackKind, Cause, Failure, QueueId};
use tollgate_config::OnError;

use crate::exchange::lent::Lent;
use crate::filter::callout::desk::{Desk, LocalCallee, Means};
use crate::filter::callout::mailbox::Mail;
use crate::filter::callout::{Event, hops};
use crate::filter::generation::{Generation, ReadyVm};
use crate::filter::host::{Arrival, Contexts, Ticker};
use crate::filter::share::Share;
use crate::filter::storm::Storm;
use crate::telemetry::log::LineBudget;
use crate::telemetry::metrics::{PluginSeries, failure_index};

/// How often one wait for a spare VM is looked at again.
const SPARE_WAIT: Duration = Duration::from_secs(1);
/// Waits for a spare VM before the policy applies: a start may take its whole budget, a client would not wait for two.
const SPARE_WAITS: usize = 10;

/// See the module.
pub struct Plugin {
    /// What its VMs are made from.
    pub generation: Arc<Generation>,
    /// What this worker counts about it.
    pub series: Arc<PluginSeries>,
    /// Exchanges with a context in the VM.
    pub contexts: Rc<Contexts>,
    /// Halves of exchanges that it holds paused.
    pub paused: Cell<usize>,
    vm: RefCell<Option<ReadyVm>>,
    /// Changes whenever the VM does, so that contexts of a dead one are recognised.
    incarnation: Cell<u32>,
    /// The VM's bytes of memory, as the series have them.
    shown: Cell<Option<i64>>,
    /// Bytes of memory that the VM had when it came.
    fresh_bytes: Cell<usize>,
    /// Exchanges and connections that go through it.
    engaged: Cell<usize>,
    /// Those of them that are connections.
    passages: Cell<usize>,
    /// True once another VM of the generation takes its place.
    worn: Cell<bool>,
    record: Rc<Record>,
    /// Ticks in a row that killed their VM.
    failed_ticks: Cell<u32>,
    /// True while the generation counts this worker.
    resident: Cell<bool>,
    /// True once the control side was told that there is no VM here.
    missing: Cell<bool>,
    last_cause: Cell<Cause>,
    ticker: Rc<Ticker>,
    means: Means,
    mail: Mail,
    me: Weak<Plugin>,
    /// True once the plugin goes away: exchanges get its policy, and no VM takes the place of the last one.
    retiring: Cell<bool>,
    /// True once exchanges get its policy, whatever becomes of connections that are passed on.
    shut: Cell<bool>,
    /// Rung when the last VM is gone.
    gone: Notify,
    /// The plugin that the configuration knows, for one that has a VM for one exchange alone.
    base: Option<Rc<Plugin>>,
    /// VMs for exchanges to come, in which nobody was.
    idle: RefCell<Vec<ReadyVm>>,
    /// VMs of one exchange each.
    alive: Cell<usize>,
}

/// What a plugin did on this worker and has to answer for, whichever VM of its generation is there.
struct Record {
    storm: RefCell<Storm>,
    /// Absent unless the configuration bounds it.
    share: Option<Share>,
    /// What its VMs may log: a VM that dies, or ends with its exchange, leaves the next one no more than that.
    lines: Rc<RefCell<LineBudget>>,
    /// Exchanges and connections under way that go through it, each once.
    under_way: Cell<usize>,
}

impl Record {
    fn new(generation: &Generation) -> Self {
        let now = Instant::now();
        Self {
            storm: RefCell::default(),
            share: generation.plugin.budget.share.map(|rate| Share::new(rate, now)),
            lines: Rc::new(RefCell::new(LineBudget::new(generation.lines(), now))),
            under_way: Cell::new(0),
        }
    }
}

/// What a stay in the VM came to.
pub struct Stay<T> {
    /// What was lent, back from the guest.
    pub stream: Lent,
    /// The guest's answer; `Err` once the VM is dead.
    pub answer: Result<T, Cause>,
    /// Time spent in the guest.
    pub spent: Duration,
}

impl Plugin {
    /// Takes up a plugin on this worker with one of its ready VMs, and runs its timer as long as the plugin lives. `worn`: the
    /// one of the same generation whose place it takes.
    pub fn new(generation: Arc<Generation>, means: Means, worn: Option<&Plugin>) -> Rc<Self> {
        let record = worn.map_or_else(|| Rc::new(Record::new(&generation)), |worn| Rc::clone(&worn.record));
        let plugin = Rc::new_cyclic(|me| {
            let plugin = Self::bare(me, generation, means, record);
            plugin.resident.set(true);
            plugin
        });
        plugin.generation.residents.fetch_add(1, Relaxed);
        plugin.revive();
        tokio::task::spawn_local(root::tick(Rc::downgrade(&plugin), Rc::clone(&plugin.ticker)));
        plugin
    }

    /// One without a VM, which counts for nothing yet.
    fn bare(me: &Weak<Self>, generation: Arc<Generation>, means: Means, record: Rc<Record>) -> Self {
        Self {
            generation,
            series: Arc::clone(&means.series.0),
            contexts: Rc::default(),
            paused: Cell::new(0),
            vm: RefCell::new(None),
            incarnation: Cell::new(0),
            shown: Cell::new(None),
            fresh_bytes: Cell::new(0),
            engaged: Cell::new(0),
            passages: Cell::new(0),
            worn: Cell::new(false),
            record,
            failed_ticks: Cell::new(0),
            resident: Cell::new(false),
            missing: Cell::new(false),
            last_cause: Cell::new(Cause::Refused),
            ticker: Rc::default(),
            means,
            mail: Mail::default(),
            me: Weak::clone(me),
            retiring: Cell::new(false),
            shut: Cell::new(false),
            alive: Cell::new(0),
            gone: Notify::new(),
            base: None,
            idle: RefCell::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.generation.identity.name
    }

    /// What happens to an exchange that it cannot serve.
    pub fn on_error(&self) -> OnError {
        self.generation.plugin.on_error
    }

    /// Keeps its generation from ending as long as an exchange goes through it. `before`: the filters that the exchange goes
    /// through already, among which it may be.
    pub fn engage<'a>(self: &Rc<Self>, before: impl Iterator<Item = &'a Engaged>) -> Engaged {
        Engaged::new(self, false, before)
    }

    /// The same for a connection that is passed on.
    pub fn engage_passage<'a>(self: &Rc<Self>, before: impl Iterator<Item = &'a Engaged>) -> Engaged {
        Engaged::new(self, true, before)
    }

    /// True while a connection that is passed on goes through it.
    pub fn has_passages(&self) -> bool {
        self.passages.get() > 0
    }

    /// True where it may make callouts.
    pub fn may_call(&self) -> bool {
        !self.generation.plugin.allow.calls.is_empty()
    }

    /// True when it has no VM.
    pub fn is_gone(&self) -> bool {
        self.vm.borrow().is_none()
    }

    /// True while an exchange or a connection goes through it.
    pub fn is_engaged(&self) -> bool {
        self.engaged.get() > 0
    }

    /// True while its VM waits for what it asked others for. Timers do not count: they may go on for ever.
    pub fn is_waiting(&self) -> bool {
        self.vm.borrow().as_ref().is_some_and(|vm| vm.host().is_waiting())
    }

    /// The worker's clusters are others than before.
    pub fn rewire(&self, callees: Vec<LocalCallee>) {
        *self.means.callees.borrow_mut() = callees;
    }

    /// Names the VM that contexts belong to.
    pub fn incarnation(&self) -> u32 {
        let of_base = self.base.as_ref().map_or(0, |base| base.retiring.get().into());
        self.incarnation.get().wrapping_add(of_base)
    }

    /// Why the last VM died.
    pub fn last_cause(&self) -> Cause {
        self.last_cause.get()
    }

    /// True when the plugin has used its share of the worker, and others wait for the worker: the next exchange is to go
    /// without it, or not at all.
    pub fn sheds(&self) -> bool {
        let Some(share) = &self.record.share else { return false };
        let over = share.is_over(Instant::now()) && self.means.crowd.get() > self.record.under_way.get();
        if over {
            self.series.shed.inc();
        }
        over
    }

    fn charge(&self, spent: Duration) {
        if let Some(share) = &self.record.share {
            share.spend(spent);
        }
    }

    /// True when there is a VM; otherwise waits for one within bounds. False: the policy applies.
    pub async fn ready(&self) -> bool {
        if self.is_solo() {
            return !self.is_gone();
        }
        // The bell is shared with the other workers: whoever has a VM does not touch it.
        if self.revive() {
            return true;
        }
        for _ in 0..SPARE_WAITS {
            if self.retiring.get() {
                return false;
            }
            let arrived = self.generation.spares.arrived();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if self.revive() {
                return true;
            }
            if self.is_held() {
                return false;
            }
            // A wait that ends without a VM is looked at again by `revive`.
            let _ = tokio::time::timeout(SPARE_WAIT, arrived).await;
        }
        self.revive()
    }

    /// True when there is a VM, taking a spare one where needed.
    pub fn revive(&self) -> bool {
        if self.vm.borrow().is_some() || self.retiring.get() {
            return !self.retiring.get();
        }
        if self.is_solo() {
            return false;
        }
        if self.record.storm.borrow_mut().holds(Instant::now()) {
            return false;
        }
        // The first VM is one that was started for this worker; whoever takes its place is the image of one.
        let image = (self.incarnation.get() > 0).then(|| self.generation.hatch()).flatten();
        let spare = image.or_else(|| {
            let spare = self.generation.spares.take(self.missing.get());
            self.missing.set(spare.is_none());
            spare
        });
        spare.is_some_and(|vm| {
            self.install(vm);
            true
        })
    }

    /// True when waiting for a VM makes no sense.
    fn is_held(&self) -> bool {
        !self.generation.spares.delay().is_zero() || self.record.storm.borrow_mut().holds(Instant::now())
    }

    fn install(&self, mut vm: ReadyVm) {
        vm.host_mut().settle(Arrival {
            series: Arc::clone(&self.series),
            contexts: Rc::clone(&self.contexts),
            ticker: Rc::clone(&self.ticker),
            desk: Desk::new(Weak::clone(&self.me), self.means.clone()),
            lines: Rc::clone(&self.record.lines),
        });
        self.incarnation.set(self.incarnation.get().wrapping_add(1));
        self.fresh_bytes.set(vm.memory_bytes());
        *self.vm.borrow_mut() = Some(vm);
        self.sample();
    }

    /// True once the VM has taken so much memory that another is to take its place, and one is ready: exchanges that are
    /// in it end there, the next ones come to the other.
    pub fn wears_out(&self) -> bool {
        let Some(most) = self.generation.plugin.budget.recycle else { return false };
        let bytes = self.vm.borrow().as_ref().map_or(0, ReadyVm::memory_bytes);
        let grown = u64::try_from(bytes).is_ok_and(|bytes| bytes > most) && bytes > self.fresh_bytes.get();
        if grown && !self.worn.get() && self.generation.spares.has_ready() {
            self.worn.set(true);
            self.series.recycled.inc();
        }
        self.worn.get()
    }

    /// True when it goes on only for the exchanges that it has.
    pub fn is_worn(&self) -> bool {
        self.worn.get()
    }

    /// Reads what costs too much to read per request.
    pub fn sample(&self) {
        if self.is_solo() {
            return;
        }
        let bytes = self.vm.borrow().as_ref().map(ReadyVm::memory_bytes);
        self.show(bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)));
    }

    /// Counts the VM that there is, or that there is none. Generations share a series, so each changes it by its own part.
    fn show(&self, bytes: Option<i64>) {
        let before = self.shown.replace(bytes);
        self.series.vms.add(i64::from(bytes.is_some()) - i64::from(before.is_some()));
        self.series.memory_bytes.add(bytes.unwrap_or(0) - before.unwrap_or(0));
    }

    /// Lends a stream to the VM for one callback. Without a VM the stream comes straight back.
    ///
    /// `left`: when the VM before was left, unless something waited since. The entry begins then, which saves a look at the
    /// clock; afterwards it is when this one was left, if it was entered and lives.
    pub fn enter<T>(
        &self,
        stream: impl Into<Lent>,
        left: &mut Option<Instant>,
        call: impl FnOnce(&mut ReadyVm, Lent) -> (Lent, Result<T, Failure>),
    ) -> Stay<T> {
        let stream = stream.into();
        let mut guard = self.vm.borrow_mut();
        let Some(vm) = guard.as_mut() else {
            return Stay { stream, answer: Err(self.last_cause.get()), spent: Duration::ZERO };
        };
        let calls = self.may_call();
        if calls {
            vm.host_mut().follow(hops::of_lent(&stream));
        }
        vm.host_mut().begin_at(left.take());
        let (mut stream, answer) = call(vm, stream);
        if calls && vm.host().looped() {
            hops::end_loop(&mut stream);
        }
        let (spent, ended) = vm.host_mut().take_times();
        self.charge(spent);
        // Burying one that died, and making another, is nothing that the next filter does.
        *left = ended.filter(|_| answer.is_ok());
        let answer = answer.map_err(|failure| {
            *guard = None;
            drop(guard);
            self.replace(&failure);
            failure.cause
        });
        Stay { stream, answer, spent }
    }

    /// An exchange is about to get its context here. Counted before the callback, which may kill the VM.
    pub fn count_exchange(&self) {
        self.record.storm.borrow_mut().call();
        self.series.exchanges.inc();
    }

    /// Tells the VM what came of something it asked for, `hops` callouts in a row; a VM that came after it hears nothing.
    pub fn deliver(&self, from: &Desk, hops: u8, event: Event) {
        self.enter_root(|vm| {
            if !vm.host().is_served_by(from) {
                return Ok(());
            }
            vm.host_mut().follow(hops);
            vm.host_mut().forget(&event);
            event.tell(vm)
        });
    }

    /// Has the plugin's VM told of the messages of a queue from now on, whichever VM that is then.
    pub fn listen(&self, queue: QueueId) {
        if self.is_solo() {
            // Word of a queue is for the VM that stays.
            return;
        }
        self.mail.listen(queue, &self.means.queues, |mailbox| {
            tokio::task::spawn_local(root::read(Weak::clone(&self.me), mailbox)).abort_handle()
        });
    }

    /// The VM is gone: says so once, wakes the exchanges that had a context in it, and has a fresh one take over.
    fn replace(&self, failure: &Failure) {
        self.last_cause.set(failure.cause);
        self.series.failures[failure_index(&failure.cause)].inc();
        self.incarnation.set(self.incarnation.get().wrapping_add(1));
        self.lament(failure);
        self.contexts.abandon();
        if let Some(base) = &self.base {
            base.count_out();
            return;
        }
        self.sample();
        match failure.callback {
            CallbackKind::Tick => self.failed_ticks.set(self.failed_ticks.get().saturating_add(1)),
            _ => self.record.storm.borrow_mut().death(Instant::now()),
        }
        if self.retiring.get() {
            self.gone.notify_waiters();
        } else {
            self.revive();
        }
    }

    fn lament(&self, failure: &Failure) {
        tracing::error!(
            filter = self.name(),
            generation = self.generation.identity.generation,
            callback = %failure.callback,
            cause = failure.cause.as_str(),
            backtrace = failure.backtrace.join(" < "),
            "filter failed: {}",
            failure.message
        );
    }
}

/// The timer's task sleeps on the bell without a period: it must hear that there is nothing left to ring for.
impl Drop for Plugin {
    fn drop(&mut self) {
        if let (Some(base), Some(vm)) = (&self.base, self.vm.take()) {
            base.count_out();
            base.take_back(vm);
        }
        self.mail.close();
        self.leave();
        self.show(None);
        self.ticker.changed.notify_one();
    }
}

/// A plugin that an exchange or a connection goes through.
pub struct Engaged {
    plugin: Rc<Plugin>,
    is_passage: Cell<bool>,
    /// Whether the record of the plugin has it.
    counts: bool,
}

impl Deref for Engaged {
    type Target = Rc<Plugin>;

    fn deref(&self) -> &Rc<Plugin> {
        &self.plugin
    }
}
