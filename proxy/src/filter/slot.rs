//! A plugin's place in the chains: which of its generations serves an exchange.
//!
//! The control side fills a [`Slot`] for all workers; each worker has a [`LocalSlot`] of its own VMs.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use tollgate_config::{Policy, Ratio};

use crate::filter::generation::Generation;
use crate::filter::plugin::Plugin;

/// What serves a plugin, as the snapshot says.
#[derive(Clone)]
pub struct Slot {
    /// The plugin's name.
    pub name: Arc<str>,
    /// The generation that serves; absent when none could be loaded and the configuration lets the proxy run all the same.
    pub serving: Option<Arc<Generation>>,
    /// The generation that is tried beside it, with its share of exchanges.
    pub canary: Option<(Arc<Generation>, Ratio)>,
    /// What happens to exchanges while nothing serves.
    pub load: Policy,
}

impl Slot {
    /// Both generations.
    pub fn generations(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.serving.iter().chain(self.canary.iter().map(|(generation, _)| generation))
    }
}

/// What serves a plugin on one worker. Routes keep it from one snapshot to the next; what serves changes in it.
pub struct LocalSlot {
    /// The plugin's name.
    pub name: Arc<str>,
    serving: RefCell<Option<Rc<Plugin>>>,
    canary: RefCell<Option<Trial>>,
    /// What happens to exchanges while nothing serves.
    pub load: Policy,
}

/// A generation that gets some of the exchanges.
struct Trial {
    plugin: Rc<Plugin>,
    share: Ratio,
    /// What the trial is owed, in parts of a million of an exchange.
    owed: Cell<u32>,
    /// True when the last exchange is the trial's.
    took: Cell<bool>,
}

const WHOLE: u32 = 1_000_000;

impl Trial {
    /// True for as many exchanges as the share says, evenly spread.
    fn takes(&self) -> bool {
        let owed = self.owed.get() + self.share.parts_per_million();
        let takes = owed >= WHOLE;
        self.owed.set(if takes { owed - WHOLE } else { owed });
        self.took.set(takes);
        takes
    }
}

impl LocalSlot {
    /// A slot that nothing serves yet.
    pub fn new(slot: &Slot) -> Self {
        Self { name: Arc::clone(&slot.name), serving: RefCell::default(), canary: RefCell::default(), load: slot.load }
    }

    /// Has the next exchanges served as the slot says, with this worker's plugins.
    pub fn turn(&self, slot: &Slot, mut plugin: impl FnMut(&Arc<Generation>) -> Rc<Plugin>) {
        let canary = slot.canary.as_ref();
        let canary = canary.map(|(generation, share)| Trial {
            plugin: plugin(generation),
            share: *share,
            owed: Cell::new(0),
            took: Cell::new(false),
        });
        self.canary.replace(canary);
        self.serving.replace(slot.serving.as_ref().map(plugin));
    }

    /// What serves.
    pub fn serving(&self) -> Option<Rc<Plugin>> {
        self.serving.borrow().clone()
    }

    /// What serves the next exchange.
    pub fn pick(&self) -> Option<Rc<Plugin>> {
        match &*self.canary.borrow() {
            Some(trial) if trial.takes() => Some(Rc::clone(&trial.plugin)),
            _ => self.serving(),
        }
    }

    /// What [`LocalSlot::pick`] answered last.
    pub fn pick_again(&self) -> Option<Rc<Plugin>> {
        match &*self.canary.borrow() {
            Some(trial) if trial.took.get() => Some(Rc::clone(&trial.plugin)),
            _ => self.serving(),
        }
    }

    /// Every plugin of the slot.
    pub fn plugins(&self) -> impl Iterator<Item = Rc<Plugin>> {
        let canary = self.canary.borrow().as_ref().map(|trial| Rc::clone(&trial.plugin));
        self.serving().into_iter().chain(canary)
    }

    /// True when routes need not be made anew for what the slot says.
    pub fn fits(&self, slot: &Slot) -> bool {
        let quota = |generation: &Generation| generation.manners.properties;
        let own = self.serving.borrow().as_ref().map(|serving| quota(&serving.generation));
        self.name == slot.name && self.load == slot.load && own == slot.serving.as_deref().map(quota)
    }

    /// True when exchanges are refused because nothing serves.
    pub fn denies(&self) -> bool {
        self.serving.borrow().is_none() && self.load == Policy::Deny
    }
}
