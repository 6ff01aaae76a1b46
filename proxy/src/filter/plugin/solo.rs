//! Isolation by request: an exchange goes through a VM that no other exchange has seen, made from the image of the
//! configured one.
//!
//! The plugin itself keeps a VM for what is nobody's: ticks, queues, the end. The VM of an exchange hears of nothing but
//! that exchange, and of what it asked for itself while that lasts.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use tollgate_config::Isolation;

use super::{Engaged, Plugin};
use crate::filter::generation::ReadyVm;

/// VMs that are kept for the next exchanges, with nothing left in them. Others are made when they are needed.
const IDLE: usize = 64;
/// Exchanges of one plugin on one worker that may have a VM at a time: each has the memory of one.
const MOST: usize = 1_000;

impl Plugin {
    /// What an exchange goes through: the plugin, or one that has a VM for it alone.
    pub(super) fn of_exchange(self: &Rc<Self>) -> Rc<Plugin> {
        match self.generation.plugin.isolation {
            Isolation::Worker => Rc::clone(self),
            Isolation::Request => self.solo(),
        }
    }

    fn solo(self: &Rc<Self>) -> Rc<Plugin> {
        let plugin = Rc::new_cyclic(|me| {
            let record = Rc::clone(&self.record);
            let mut plugin = Self::bare(me, Arc::clone(&self.generation), self.means.clone(), record);
            plugin.last_cause.set(self.last_cause.get());
            plugin.base = Some(Rc::clone(self));
            plugin
        });
        if let Some(vm) = self.fresh_vm() {
            plugin.install(vm);
        }
        plugin
    }

    /// A VM in which nobody was; `None` when the host has no room for one, as many are in use as may be, or the plugin goes
    /// away. Counted until [`Plugin::count_out`].
    fn fresh_vm(&self) -> Option<ReadyVm> {
        if self.retiring.get() {
            return None;
        }
        if self.alive.get() >= MOST {
            tracing::warn!(filter = self.name(), most = MOST, "filter has a VM for as many exchanges as it may");
            return None;
        }
        let idle = self.idle.borrow_mut().pop();
        let vm = idle.or_else(|| self.generation.hatch_for_exchange())?;
        self.alive.set(self.alive.get() + 1);
        Some(vm)
    }

    /// The VM of an exchange is dead, or its exchange over.
    pub(super) fn count_out(&self) {
        self.alive.set(self.alive.get().saturating_sub(1));
    }

    /// The exchange of a VM is over: what it left is wiped, and the VM kept, where that is cheaper than another.
    pub(super) fn take_back(&self, vm: ReadyVm) {
        if self.idle.borrow().len() < IDLE
            && let Some(vm) = self.generation.rewind(vm)
        {
            self.idle.borrow_mut().push(vm);
        }
    }

    /// The plugin that the configuration knows.
    pub fn whole(&self) -> &Plugin {
        self.base.as_deref().unwrap_or(self)
    }

    /// True for a plugin of one exchange.
    pub(super) fn is_solo(&self) -> bool {
        self.base.is_some()
    }
}

impl Plugin {
    /// Lets an exchange that goes through it stay beyond its end, when nobody waits for it any more.
    pub fn stay(self: &Rc<Self>) -> Engaged {
        let whole = self.whole();
        whole.engaged.set(whole.engaged.get() + 1);
        Engaged { plugin: Rc::clone(self), is_passage: Cell::new(false), counts: false }
    }
}

impl Engaged {
    /// Lets an exchange or a connection through.
    pub(super) fn new<'a>(plugin: &Rc<Plugin>, is_passage: bool, before: impl Iterator<Item = &'a Engaged>) -> Self {
        plugin.engaged.set(plugin.engaged.get() + 1);
        // Asked only where it matters: it costs as much as the chain is long.
        let counts = plugin.record.share.is_some() && !before.into_iter().any(|known| known.is_of(plugin));
        if counts {
            plugin.record.under_way.set(plugin.record.under_way.get() + 1);
        }
        if is_passage {
            plugin.passages.set(plugin.passages.get() + 1);
        }
        Self { plugin: plugin.of_exchange(), is_passage: Cell::new(is_passage), counts }
    }

    /// An exchange becomes a connection that is passed on.
    pub(in crate::filter) fn pass_on(&self) {
        if !self.is_passage.replace(true) {
            let passages = &self.plugin.whole().passages;
            passages.set(passages.get() + 1);
        }
    }

    fn is_of(&self, plugin: &Plugin) -> bool {
        Rc::ptr_eq(&self.plugin.record, &plugin.record)
    }
}

impl Drop for Engaged {
    fn drop(&mut self) {
        let less = |count: &Cell<usize>| count.set(count.get().saturating_sub(1));
        let whole = self.plugin.whole();
        less(&whole.engaged);
        if self.counts {
            less(&whole.record.under_way);
        }
        if self.is_passage.get() {
            less(&whole.passages);
        }
    }
}
