//! Orders that need a module compiled: they wait for its code on a thread of their own, and others have their turn.
//!
//! A file that changes while what it held is compiled is looked at again afterwards: every module that was begun comes to its
//! turn, however fast files change. What an operator says of a plugin meanwhile is newer than its files, whose code is passed over.

use std::collections::{HashSet, VecDeque};
use std::mem::take;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Weak};
use std::thread::available_parallelism;

use tollgate_config::{self as config, Config};

use super::Live;
use crate::app::reload::{Asked, Order, Reloader};
use crate::filter::compile::Compiler;
use crate::filter::generation::Origin;
use crate::filter::modules::{Fetched, Missing, Ready};
use crate::filter::rollout::Trigger;

/// Modules that are compiled at a time: one for each core, but so many that one which takes long does not hold up the rest,
/// and no more than that, because each has the heap of a thread.
const SOME: RangeInclusive<usize> = 2..=4;

/// What is compiled, and what waits for that.
pub(super) struct Ahead {
    /// Where an order comes back; gone once nobody is left to give any.
    send: Weak<Sender<Asked>>,
    /// Threads at work, and how many there may be.
    working: usize,
    most: usize,
    queue: VecDeque<Job>,
    /// Files whose modules are compiled.
    files: HashSet<PathBuf>,
    /// Those that changed since.
    again: HashSet<PathBuf>,
    /// Those whose plugin an operator has changed since.
    overruled: HashSet<PathBuf>,
    /// True while modules of a reload are compiled that nobody waits for.
    reloading: bool,
    /// What ordered another one since.
    reload_again: Option<Trigger>,
}

/// An order on its way to its code. It comes back however that ends; what is not compiled then is where it is carried out.
struct Job {
    send: Weak<Sender<Asked>>,
    asked: Option<Asked>,
    ready: Ready,
    missing: Vec<Missing>,
    compiler: Arc<Compiler>,
}

impl Job {
    fn run(mut self) {
        self.ready.compile(take(&mut self.missing), &self.compiler);
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let (Some(send), Some(mut asked)) = (self.send.upgrade(), self.asked.take()) {
            asked.ready = Some(take(&mut self.ready));
            // Whoever takes orders may be gone.
            let _ = send.send(asked);
        }
    }
}

impl Ahead {
    /// Nothing to compile yet.
    pub(super) fn new(send: Weak<Sender<Asked>>) -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self {
            send,
            working: 0,
            most: cores.clamp(*SOME.start(), *SOME.end()),
            queue: VecDeque::new(),
            files: HashSet::new(),
            again: HashSet::new(),
            overruled: HashSet::new(),
            reloading: false,
            reload_again: None,
        }
    }

    fn start(&mut self) {
        while self.working < self.most
            && let Some(job) = self.queue.pop_front()
        {
            self.working += 1;
            let compile = std::thread::Builder::new().name("compile".to_owned());
            if let Err(error) = compile.spawn(move || job.run()) {
                tracing::error!("a module is compiled where other orders wait for it: no thread: {error}");
            }
        }
    }
}

impl Live {
    /// The order, if it can be carried out now; otherwise it comes back when its modules are compiled.
    pub(super) fn admit(&mut self, mut asked: Asked) -> Option<Asked> {
        if let Some(ready) = asked.ready.take() {
            self.ahead.working -= 1;
            self.ahead.start();
            self.reloader.modules.take(ready);
            return self.come_back(asked);
        }
        let asked = self.split(asked)?;
        self.overrule(&asked.order);
        let fetched = self.fetch(&asked.order);
        let missing: Vec<Missing> = fetched.iter().filter_map(|(plugin, read)| self.missing(plugin, read)).collect();
        let ready = Ready::of(fetched.into_iter().map(|(_, fetched)| fetched).collect());
        let compiler = self.reloader.modules.warm_up().map(Arc::clone);
        let Some(compiler) = compiler.ok().filter(|_| !missing.is_empty()) else {
            // An engine that does not work is told of where it is needed.
            self.reloader.modules.take(ready);
            return Some(asked);
        };
        match &asked.order {
            Order::Look(files) => self.ahead.files.extend(files.iter().cloned()),
            Order::Reload(_) => self.ahead.reloading |= asked.reply.is_none(),
            _ => {}
        }
        let send = self.ahead.send.clone();
        self.ahead.queue.push_back(Job { send, asked: Some(asked), ready, missing, compiler });
        self.ahead.start();
        None
    }

    /// The files of an order are no longer compiled. It comes to nothing where an operator was faster.
    fn come_back(&mut self, asked: Asked) -> Option<Asked> {
        let ahead = &mut self.ahead;
        if matches!(asked.order, Order::Reload(_)) && asked.reply.is_none() {
            ahead.reloading = false;
            let again = ahead.reload_again.take().map(|trigger| Asked::new(Order::Reload(trigger), None));
            self.waiting.extend(again);
            return Some(asked);
        }
        let Order::Look(files) = &asked.order else { return Some(asked) };
        ahead.files.retain(|file| !files.contains(file));
        let again: Vec<PathBuf> = ahead.again.extract_if(|file| files.contains(file)).collect();
        if !again.is_empty() {
            self.waiting.push_back(Asked::new(Order::Look(again), None));
        }
        let overruled: Vec<PathBuf> = ahead.overruled.extract_if(|file| files.contains(file)).collect();
        if overruled.is_empty() {
            return Some(asked);
        }
        let Reloader { rollouts, modules, .. } = &mut self.reloader;
        for fetched in modules.fetched() {
            let read = rollouts.iter_mut().filter(|rollout| fetched.is_of(&rollout.plugin.module));
            read.for_each(|rollout| rollout.seen = Some(fetched.digest));
        }
        None
    }

    /// Each file of its own, so that none waits for another's code; those that are compiled wait for that. A reload reads
    /// every file, and is ordered once however often it is.
    fn split(&mut self, mut asked: Asked) -> Option<Asked> {
        if let (Order::Look(files), Some(file)) = (&asked.order, &self.reloader.file)
            && files.contains(file)
        {
            asked.order = Order::Reload(Trigger::File);
        }
        let Ahead { files: compiled, again, reloading, reload_again, .. } = &mut self.ahead;
        let files = match &mut asked.order {
            Order::Reload(trigger) if *reloading && asked.reply.is_none() => {
                *reload_again = Some(*trigger);
                return None;
            }
            // Whoever waits for what comes of it has it looked at on its own.
            Order::Look(files) if asked.reply.is_none() => files,
            _ => return Some(asked),
        };
        again.extend(files.extract_if(.., |file| compiled.contains(file)));
        for file in files.drain(1.min(files.len())..) {
            self.waiting.push_back(Asked::new(Order::Look(vec![file]), None));
        }
        Some(asked)
    }

    /// What is said of a plugin is newer than what its files held before.
    fn overrule(&mut self, order: &Order) {
        let (Order::Promote(name) | Order::Rollback(name)) = order else { return };
        let plugin = self.reloader.rollouts.iter().find(|rollout| rollout.plugin.name == *name);
        let files = plugin.into_iter().flat_map(|rollout| rollout.files()).map(|file| file.path);
        self.ahead.overruled.extend(files.filter(|file| self.ahead.files.contains(file)).collect::<Vec<_>>());
    }

    /// What an order has read, with whose it is. What cannot be read is told of where the order is carried out.
    fn fetch(&self, order: &Order) -> Vec<(config::Plugin, Fetched)> {
        let reloader = &self.reloader;
        match order {
            Order::Reload(_) => self.fetch_again(),
            Order::Configure(config) => self.fetch_all(config),
            Order::Look(files) => {
                let read = reloader.rollouts.iter().filter(|rollout| rollout.reads(files));
                read.flat_map(|rollout| self.fetch_of(&rollout.plugin)).collect()
            }
            Order::Stage(name, bytes) => {
                let rollout = reloader.rollouts.iter().find(|rollout| rollout.plugin.name == *name);
                rollout
                    .map(|rollout| ((*rollout.plugin).clone(), Fetched::new(bytes.as_slice(), Origin::Upload)))
                    .into_iter()
                    .collect()
            }
            Order::Promote(_) | Order::Rollback(_) | Order::Canary(..) => Vec::new(),
        }
    }

    fn fetch_again(&self) -> Vec<(config::Plugin, Fetched)> {
        match &self.reloader.file {
            None => self.fetch_all(&self.reloader.config),
            Some(file) => {
                let config = tollgate_config::text_again(file).and_then(|text| tollgate_config::parse(&text, file));
                config.map(|config| self.fetch_all(&config)).unwrap_or_default()
            }
        }
    }

    fn fetch_all(&self, config: &Config) -> Vec<(config::Plugin, Fetched)> {
        config.plugins.iter().flat_map(|plugin| self.fetch_of(plugin)).collect()
    }

    fn fetch_of(&self, plugin: &config::Plugin) -> Vec<(config::Plugin, Fetched)> {
        let canary = plugin.rollout.canary.as_ref().map(|canary| &canary.module);
        let files = std::iter::once(&plugin.module).chain(canary);
        let fetched = files.filter_map(|file| self.reloader.modules.fetch(plugin, file).ok());
        fetched.map(|fetched| (plugin.clone(), fetched)).collect()
    }

    /// What has to be compiled for that. A file that holds what was seen of it is nothing new.
    fn missing(&self, plugin: &config::Plugin, fetched: &Fetched) -> Option<Missing> {
        let Reloader { rollouts, modules, .. } = &self.reloader;
        let rollout = rollouts.iter().find(|rollout| rollout.plugin.name == plugin.name);
        let is_old = rollout.is_some_and(|rollout| {
            let seen = [rollout.seen, rollout.seen_canary].contains(&Some(fetched.digest));
            seen && rollout.serving().is_some_and(|serving| modules.fits(serving, plugin))
        });
        if is_old { None } else { modules.lacks(plugin, fetched) }
    }
}
