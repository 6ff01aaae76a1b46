//! Whatever changes while the proxy serves: modules, canaries, the whole configuration. One thread, one order at a time.
//!
//! Everything is made ready first: read, checked, compiled, started, bound. Only then one store publishes it, and a failure
//! before leaves everything as it was. What has to be compiled is compiled on threads beside this one (`live::ahead`), so that
//! other orders have their turn meanwhile. Exchanges are never waited for, and no worker waits for this thread.

mod live;
mod plan;
pub(super) mod tls;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::oneshot;
use tollgate_config::{self as config, Config, Faults, Ratio};

pub(super) use self::live::{Change, Live, Surroundings};
use self::plan::Plan;
use crate::app::AppError;
use crate::app::listeners::Listeners;
use crate::filter::digest::Digest;
use crate::filter::fault::Fault;
use crate::filter::generation::Generation;
use crate::filter::modules::{Modules, Ready};
use crate::filter::rollout::{Base, Cause, Followed, Rollout, Trigger, View};
use crate::filter::slot::Slot;
use crate::snapshot::{ListenerId, Snapshot};
use crate::telemetry::metrics::Registry;
use crate::tls::fault as tls_fault;
use crate::upstream::fleet::{self, Fleet};

/// Something to be done.
#[derive(Debug)]
pub enum Order {
    /// Read the configuration and every module again, and take over what changed.
    Reload(Trigger),
    /// Take over this configuration.
    Configure(Box<Config>),
    /// Look at these files: what they hold has changed.
    Look(Vec<PathBuf>),
    /// Make a module ready for a plugin.
    Stage(String, Bytes),
    /// Have the staged module of a plugin, or its canary, serve.
    Promote(String),
    /// Go back to the generation before; a canary that is tried goes.
    Rollback(String),
    /// Try the staged module of a plugin with a share of exchanges.
    Canary(String, Option<Ratio>),
}

/// What came of an order that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Nothing was to be done.
    Unchanged,
    /// It serves.
    Serving,
    /// It is good, and is to serve when a replaced generation has ended. A configuration is then made ready once more.
    Waiting,
    /// It is ready, and serves when it is promoted.
    Staged,
    /// It gets its share of exchanges.
    Canary,
}

/// Why an order was not carried out. Everything is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such plugin.
    #[error("there is no filter {name:?}; there are: {}", list(.known))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// There is nothing that could be done it to.
    #[error("filter {0:?}: {1}")]
    Nothing(String, &'static str),
    /// Plugins that do not run.
    #[error("{}", .0.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n"))]
    Modules(Vec<Fault>),
    /// Certificates and what else TLS reads, which cannot be used.
    #[error("{}", .0.iter().map(tls_fault::Fault::to_string).collect::<Vec<_>>().join("\n"))]
    Tls(Vec<tls_fault::Fault>),
    /// The configuration is bad.
    #[error("{0}")]
    Config(#[from] Faults),
    /// An address cannot be bound.
    #[error("{0}")]
    Bind(#[source] Box<AppError>),
    /// The proxy went wrong itself.
    #[error("a bug of the proxy ended this; its log says where")]
    Bug,
    /// The process is about to end.
    #[error("the proxy is ending")]
    Ending,
}

impl Refused {
    fn nothing(name: &str, why: &'static str) -> Self {
        Self::Nothing(name.to_owned(), why)
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

type Answer = Result<Done, Refused>;

/// An order, who waits for what comes of it, and what was made ready for it.
struct Asked {
    /// Its place among all orders, from one on; zero until it is taken.
    number: u64,
    /// What it was compiled by.
    job: u64,
    order: Order,
    began: Instant,
    reply: Option<oneshot::Sender<Answer>>,
    ready: Option<Ready>,
}

impl Asked {
    fn new(order: Order, reply: Option<oneshot::Sender<Answer>>) -> Self {
        Self { number: 0, job: 0, order, began: Instant::now(), reply, ready: None }
    }
}

/// How the last reload of the configuration went.
#[derive(Clone, Debug)]
pub struct LastReload {
    /// When.
    pub at: SystemTime,
    /// What led to it.
    pub trigger: Trigger,
    /// Why it was refused, if it was.
    pub refused: Option<String>,
}

/// What can be seen from outside.
#[derive(Debug)]
pub struct Sight {
    /// Every plugin, in the order of the configuration.
    pub plugins: Vec<View>,
    /// What TLS is spoken with.
    pub tls: Vec<tls::View>,
    /// Absent until there was one.
    pub last_reload: Option<LastReload>,
    /// The configuration in its long form, secrets redacted.
    pub config_dump: Arc<serde_json::Value>,
    /// Every cluster with its endpoints.
    pub clusters: Vec<Arc<Fleet>>,
}

/// Where orders are given, and what came of them is seen. Clones share it.
#[derive(Clone)]
pub struct Orders {
    send: Arc<Sender<Asked>>,
    sight: Arc<ArcSwap<Sight>>,
}

impl Orders {
    /// Has something done, and waits for what comes of it.
    pub async fn ask(&self, order: Order) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.send.send(Asked::new(order, Some(reply))).map_err(|_| Refused::Ending)?;
        answer.await.unwrap_or(Err(Refused::Ending))
    }

    /// The same for a thread that may wait.
    pub fn ask_blocking(&self, order: Order) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.send.send(Asked::new(order, Some(reply))).map_err(|_| Refused::Ending)?;
        answer.blocking_recv().unwrap_or(Err(Refused::Ending))
    }

    /// Has something done.
    pub fn give(&self, order: Order) {
        // A process that ends has nothing left to change.
        let _ = self.send.send(Asked::new(order, None));
    }

    /// Orders that nobody takes, with something to be seen.
    #[cfg(test)]
    pub(crate) fn of_nobody(sight: Sight) -> Self {
        Self { send: Arc::new(std::sync::mpsc::channel().0), sight: Arc::new(ArcSwap::from_pointee(sight)) }
    }

    /// How things are.
    pub fn sight(&self) -> Arc<Sight> {
        self.sight.load_full()
    }
}

/// What the proxy runs with at the moment, and all that is needed to change it.
pub struct Reloader {
    config: Config,
    file: Option<PathBuf>,
    /// What the file held when it was last read.
    read: Option<Digest>,
    modules: Modules,
    /// In the order of the configuration's plugins.
    rollouts: Vec<Rollout>,
    /// What was left of plugins that are no longer in the configuration.
    gone: Vec<Arc<Generation>>,
    listeners: Listeners,
    /// In the order of the configuration's clusters.
    fleets: Vec<Arc<Fleet>>,
    registry: Arc<Registry>,
    tls: tls::Store,
    workers: usize,
    last_reload: Option<LastReload>,
    dump: Arc<serde_json::Value>,
}

impl Reloader {
    /// Makes every plugin ready: one VM for each worker and one to spare. All faults are reported.
    pub(super) fn prepare(
        config: Config,
        file: Option<Followed>,
        (mut modules, tls): (Modules, tls::Store),
        (workers, registry): (usize, &Arc<Registry>),
    ) -> Result<Self, Vec<Fault>> {
        let cause = Cause::now(Trigger::Start);
        let plans = gather(config.plugins.iter().map(|plugin| Plan::fresh(&mut modules, plugin, workers)))?;
        modules.settle(&config.plugins, &plan::taking_over(&plans));
        let rollouts = plans.into_iter().map(|plan| plan.carry_out(None, &Base::default(), cause)).collect();
        let fleets = fleet::succeed(&[], &config.clusters, (workers, registry));
        Ok(Self {
            dump: Arc::new(config.expanded.clone()),
            config,
            file: file.clone().map(|file| file.path),
            read: file.and_then(|file| file.read),
            modules,
            rollouts,
            gone: Vec::new(),
            listeners: Listeners::default(),
            fleets,
            registry: Arc::clone(registry),
            tls,
            workers,
            last_reload: None,
        })
    }

    /// What the workers start with.
    pub(super) fn snapshot(&self, ids: &[ListenerId]) -> Snapshot {
        Snapshot::new(None, &self.config, ids, self.slots(), (self.fleets.clone(), self.tls.parties(&self.config)))
    }

    /// Every plugin.
    pub(super) fn rollouts(&self) -> &[Rollout] {
        &self.rollouts
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// The addresses.
    pub(super) fn listeners(&mut self) -> &mut Listeners {
        &mut self.listeners
    }

    fn slots(&self) -> Vec<Slot> {
        self.rollouts.iter().map(Rollout::slot).collect()
    }

    /// Takes these clusters over. Nobody looks after the endpoints of those any more that are gone.
    fn man(&mut self, clusters: &[config::Cluster]) {
        let fleets = fleet::succeed(&self.fleets, clusters, (self.workers, &self.registry));
        let before = std::mem::replace(&mut self.fleets, fleets);
        let is_kept = |fleet: &Arc<Fleet>| self.fleets.iter().any(|kept| Arc::ptr_eq(kept, fleet));
        before.iter().filter(|fleet| !is_kept(fleet)).for_each(|fleet| fleet.retire());
    }

    /// What a configuration asks of every plugin.
    fn plans(&mut self, config: &Config) -> Result<Vec<Plan>, Vec<Fault>> {
        let Self { modules, rollouts, workers, .. } = self;
        gather(config.plugins.iter().map(|plugin| {
            match rollouts.iter().find(|rollout| rollout.plugin.name == plugin.name) {
                Some(rollout) => Plan::update(modules, rollout, plugin, *workers),
                None => Plan::fresh(modules, plugin, *workers),
            }
        }))
    }

    /// What was made for another configuration does not come.
    fn give_up(&mut self) {
        self.modules.give_up(&self.config);
    }

    /// The plugins that change and have too many generations with exchanges already.
    fn crowded(&mut self, plans: &[Plan]) -> Vec<String> {
        let changes =
            |rollout: &Rollout| plans.iter().any(|plan| plan.is_of(&rollout.plugin.name) && !plan.steps.is_empty());
        let crowded = self
            .rollouts
            .iter_mut()
            .filter_map(|rollout| (changes(rollout) && rollout.is_crowded()).then(|| rollout.plugin.name.clone()));
        crowded.collect()
    }

    /// Refuses a generation that calls a cluster that is gone.
    fn reaches(&self, generation: &Generation) -> Result<(), Refused> {
        let why = "it calls a cluster that the configuration no longer has";
        let gone = || Refused::nothing(&generation.identity.name, why);
        self.modules.reaches(generation).then_some(()).ok_or_else(gone)
    }

    /// Keeps why modules did not take over with the plugins that there are.
    fn note(&mut self, faults: &[Fault], cause: Cause) {
        for fault in faults {
            let known = self.rollouts.iter_mut().find(|rollout| rollout.plugin.name == fault.plugin);
            known.into_iter().for_each(|rollout| rollout.fail(fault, cause));
        }
    }

    /// How things are.
    pub(super) fn sight(&self) -> Sight {
        Sight {
            plugins: self.rollouts.iter().map(Rollout::view).collect(),
            tls: self.tls.views(),
            last_reload: self.last_reload.clone(),
            config_dump: Arc::clone(&self.dump),
            clusters: self.fleets.clone(),
        }
    }

    /// Every file whose change is to be followed, with what was read of it.
    fn files(&self) -> Vec<Followed> {
        if !self.config.watch {
            return Vec::new();
        }
        let config = self.file.iter().map(|path| Followed { path: path.clone(), read: self.read });
        config.chain(self.rollouts.iter().flat_map(Rollout::files)).chain(self.tls.files()).collect()
    }
}

/// All of them, or every fault.
fn gather<T>(plans: impl Iterator<Item = Result<T, Fault>>) -> Result<Vec<T>, Vec<Fault>> {
    let (mut good, mut faults) = (Vec::new(), Vec::new());
    for plan in plans {
        match plan {
            Ok(plan) => good.push(plan),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(good) } else { Err(faults) }
}
