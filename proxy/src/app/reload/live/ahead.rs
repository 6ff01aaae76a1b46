//! Orders that need a module compiled: they wait for its code on a thread of their own, and others have their turn.
//!
//! Whatever concerns the same plugin keeps its order: it waits for the one before. An operator who has a module serve that is
//! ready, or goes back, waits for no file. That word stands: what files held before it is passed over when its code comes.

use std::collections::VecDeque;
use std::mem::take;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::sync::mpsc::Sender;
use std::thread::available_parallelism;

use tollgate_config::{self as config, Config};

use super::Live;
use crate::app::reload::{Asked, Order, Reloader};
use crate::filter::compile::Compiler;
use crate::filter::generation::Origin;
use crate::filter::modules::{Fetched, Missing, Ready};
use crate::filter::rollout::{Rollout, Trigger};

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
    /// Orders whose modules are compiled, by the number of their job.
    away: Vec<(u64, Concern)>,
    /// Jobs so far.
    jobs: u64,
    /// Those that come after one of them, oldest first.
    held: Vec<(Asked, Concern)>,
}

/// What an order is about.
struct Concern {
    /// The plugins it may change; `None` stands for all.
    plugins: Option<Vec<String>>,
    voice: Voice,
}

/// Who says it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Voice {
    /// Files, or the configuration.
    File,
    /// An operator, of what has to be made ready.
    Operator,
    /// An operator, of what is ready.
    Instant,
}

impl Concern {
    /// True when `later` has to wait for this.
    fn holds(&self, later: &Concern) -> bool {
        let shares = |ours: &Vec<String>| {
            later.plugins.as_ref().is_none_or(|theirs| ours.iter().any(|name| theirs.contains(name)))
        };
        let overtakes = later.voice == Voice::Instant && self.voice == Voice::File;
        !overtakes && self.plugins.as_ref().is_none_or(shares)
    }
}

/// An order on its way to its code. It comes back however that ends; what is not compiled then is where it is carried out.
struct Job {
    send: Weak<Sender<Asked>>,
    asked: Option<Asked>,
    ready: Ready,
    missing: Vec<Missing>,
    compiler: Compiler,
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
        let most = cores.clamp(*SOME.start(), *SOME.end());
        Self { send, working: 0, most, queue: VecDeque::new(), away: Vec::new(), jobs: 0, held: Vec::new() }
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

    fn holds(&self, concern: &Concern) -> bool {
        let before = self.away.iter().map(|(_, before)| before).chain(self.held.iter().map(|(_, before)| before));
        before.into_iter().any(|before| before.holds(concern))
    }

    /// Keeps an order until those before it were carried out. One that reads what another would have read makes that needless.
    fn hold(&mut self, asked: Asked, concern: Concern) {
        self.held.retain_mut(|(before, _)| !is_covered(before, &asked));
        self.held.push((asked, concern));
    }
}

/// True when nobody waits for what comes of `before`, and whatever it reads is read again by `after`.
fn is_covered(before: &mut Asked, after: &Asked) -> bool {
    match (&mut before.order, &after.order) {
        _ if before.reply.is_some() || before.ready.is_some() => false,
        (Order::Reload(_), Order::Reload(_)) => true,
        (Order::Look(files), Order::Look(newer)) => {
            files.retain(|file| !newer.contains(file));
            files.is_empty()
        }
        _ => false,
    }
}

impl Live {
    /// The order, if it can be carried out now; otherwise it comes back when its modules are compiled, or when the order
    /// before it was carried out.
    pub(super) fn admit(&mut self, mut asked: Asked) -> Option<Asked> {
        if let Some(ready) = asked.ready.take() {
            let Ahead { working, away, held, .. } = &mut self.ahead;
            *working -= 1;
            away.retain(|(job, _)| *job != asked.job);
            held.drain(..).rev().for_each(|(held, _)| self.waiting.push_front(held));
            self.ahead.start();
            self.reloader.modules.take(ready);
            self.overrule(&asked);
            return Some(asked);
        }
        let mut asked = self.split(asked);
        let concern = self.concern(&asked.order);
        if self.ahead.holds(&concern) {
            self.ahead.hold(asked, concern);
            return None;
        }
        self.cover(&asked);
        let config = self.configuration(&asked.order);
        let fetched = self.fetch(&asked.order, config.as_ref());
        self.reloader.modules.take(Ready::of(fetched.iter().map(|(_, fetched)| fetched.clone()).collect()));
        self.overrule(&asked);
        let missing: Vec<Missing> =
            fetched.iter().filter_map(|(plugin, read)| self.missing(&asked.order, plugin, read)).collect();
        if missing.is_empty() {
            return Some(asked);
        }
        // An engine that does not work is told of where it is needed.
        let Ok(mut compiler) = self.reloader.modules.warm_up().cloned() else { return Some(asked) };
        if let Some(config) = config {
            compiler.bound(config.limits.compile_time, config.limits.compile_memory);
        }
        self.ahead.jobs += 1;
        asked.job = self.ahead.jobs;
        self.ahead.away.push((asked.job, concern));
        let (send, ready) = (self.ahead.send.clone(), self.reloader.modules.hand_over());
        self.ahead.queue.push_back(Job { send, asked: Some(asked), ready, missing, compiler });
        self.ahead.start();
        None
    }

    /// What is read now need not be read again for orders that wait, as far as no operator speaks between them.
    fn cover(&mut self, asked: &Asked) {
        let mut files_speak = true;
        self.waiting.retain_mut(|later| {
            files_speak &= matches!(later.order, Order::Look(_) | Order::Reload(_));
            !(files_speak && is_covered(later, asked))
        });
    }

    /// Each file of its own, so that none waits for another's code. The configuration's file has every one read.
    fn split(&mut self, mut asked: Asked) -> Asked {
        let Order::Look(files) = &mut asked.order else { return asked };
        if self.reloader.file.as_ref().is_some_and(|file| files.contains(file)) {
            asked.order = Order::Reload(Trigger::File);
        } else if asked.reply.is_none() {
            for file in files.drain(1.min(files.len())..).rev() {
                let rest = Asked { number: asked.number, ..Asked::new(Order::Look(vec![file]), None) };
                self.waiting.push_front(rest);
            }
        }
        asked
    }

    fn concern(&self, order: &Order) -> Concern {
        let (plugins, voice) = match order {
            Order::Reload(_) | Order::Configure(_) => (None, Voice::File),
            Order::Look(files) => {
                let read = self.reloader.rollouts.iter().filter(|rollout| rollout.reads(files));
                (Some(read.map(|rollout| rollout.plugin.name.clone()).collect()), Voice::File)
            }
            Order::Stage(name, _) | Order::Canary(name, _) => (Some(vec![name.clone()]), Voice::Operator),
            Order::Promote(name) | Order::Rollback(name) => (Some(vec![name.clone()]), Voice::Instant),
        };
        Concern { plugins, voice }
    }

    /// What files held before an operator spoke counts as known: it does not take over.
    fn overrule(&mut self, asked: &Asked) {
        if !matches!(asked.order, Order::Look(_) | Order::Reload(_)) {
            return;
        }
        let Reloader { rollouts, modules, .. } = &mut self.reloader;
        rollouts.iter_mut().for_each(|rollout| rollout.overrule(asked.number, modules.fetched()));
    }

    /// The configuration that an order is to put in force.
    fn configuration(&self, order: &Order) -> Option<Config> {
        match (order, &self.reloader.file) {
            (Order::Configure(config), _) => Some((**config).clone()),
            (Order::Reload(_), None) => Some(self.reloader.config.clone()),
            (Order::Reload(_), Some(file)) => {
                let text = tollgate_config::text_again(file);
                text.and_then(|text| tollgate_config::parse(&text, file)).ok()
            }
            _ => None,
        }
    }

    /// What an order has read, with whose it is. What cannot be read is told of where the order is carried out.
    fn fetch(&self, order: &Order, config: Option<&Config>) -> Vec<(config::Plugin, Fetched)> {
        let every = |_: &Path| true;
        match order {
            Order::Reload(_) | Order::Configure(_) => {
                let plugins = config.into_iter().flat_map(|config| &config.plugins);
                plugins.flat_map(|plugin| self.fetch_of(plugin, every)).collect()
            }
            Order::Look(files) => {
                let named = |file: &Path| files.iter().any(|named| named == file);
                self.reloader.rollouts.iter().flat_map(|rollout| self.fetch_of(&rollout.plugin, named)).collect()
            }
            Order::Stage(name, bytes) => {
                let upload =
                    |rollout: &Rollout| ((*rollout.plugin).clone(), Fetched::new(bytes.clone(), Origin::Upload));
                let rollout = self.reloader.rollouts.iter().find(|rollout| rollout.plugin.name == *name);
                rollout.map(upload).into_iter().collect()
            }
            Order::Promote(_) | Order::Rollback(_) | Order::Canary(..) => Vec::new(),
        }
    }

    fn fetch_of(&self, plugin: &config::Plugin, wanted: impl Fn(&Path) -> bool) -> Vec<(config::Plugin, Fetched)> {
        let canary = plugin.rollout.canary.as_ref().map(|canary| &canary.module);
        let files = std::iter::once(&plugin.module).chain(canary).filter(|file| wanted(file));
        let fetched = files.filter_map(|file: &PathBuf| self.reloader.modules.fetch(plugin, file).ok());
        fetched.map(|fetched| (plugin.clone(), fetched)).collect()
    }

    /// What has to be compiled for that. A file that holds what was seen of it is nothing new.
    fn missing(&self, order: &Order, plugin: &config::Plugin, fetched: &Fetched) -> Option<Missing> {
        let Reloader { rollouts, modules, .. } = &self.reloader;
        let rollout = rollouts.iter().find(|rollout| rollout.plugin.name == plugin.name);
        let is_old = rollout.is_some_and(|rollout| {
            let serves = rollout.serving().is_some_and(|serving| modules.fits(serving, plugin));
            serves && rollout.has_seen(fetched)
        });
        let is_old = is_old && !matches!(order, Order::Stage(..));
        if is_old { None } else { modules.lacks(plugin, fetched) }
    }
}
