//! One plugin at one time: its module, compiled, with its configuration and bounds, ready to start VMs.
//!
//! It is made on the control side and never changes; a worker only takes VMs that are ready. Bytes become one in
//! `modules`.

use std::cell::Cell;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use tollgate_abi::{CallbackKind, Image, Module, PluginSettings, Vm};
use tollgate_config as config;

use crate::filter::callout::desk::{LocalCallee, Means};
use crate::filter::callout::{Callee, Reach};
use crate::filter::digest::Digest;
use crate::filter::fault::{Fault, FaultKind};
use crate::filter::host::{Asked, Asking, Identity, PluginHost};
use crate::filter::manners::Manners;
use crate::filter::modules::bounds;
use crate::filter::spares::Spares;
use crate::telemetry::log::LineQuota;
use crate::telemetry::metrics::{CalloutSeries, ModuleInfo, PluginSeries, Registry, Track};
use crate::upstream::cluster::Cluster;
use crate::upstream::resolve::Resolvers;

/// The label of callouts that were refused before there was a cluster.
pub(super) const NO_CLUSTER: &str = "none";

/// A VM that was started and configured.
pub type ReadyVm = Vm<PluginHost>;

/// Where a module's bytes came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file that the configuration names.
    File(PathBuf),
    /// The admin endpoints.
    Upload,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Upload => f.write_str("upload"),
        }
    }
}

/// See the module. Shared by all workers.
pub struct Generation {
    /// What the host of each VM speaks for.
    pub identity: Identity,
    /// Whether it serves alone or is tried beside another.
    pub track: Track,
    /// What the configuration says of the plugin.
    pub plugin: Arc<config::Plugin>,
    /// How its exchanges are treated.
    pub manners: Manners,
    /// SHA-256 of the module's bytes.
    pub digest: Digest,
    /// Where the module came from.
    pub origin: Origin,
    /// VMs that are ready, for a worker that takes the generation up or lost its own.
    pub spares: Arc<Spares>,
    pub(super) module: Module,
    pub(super) settings: Arc<PluginSettings>,
    pub(super) series: Arc<PluginSeries>,
    /// Where callouts are counted that a starting VM was refused.
    pub(super) refused: Arc<CalloutSeries>,
    pub(super) reach: Arc<Reach>,
    /// Workers that took it up and have not ended it.
    pub(super) residents: Arc<AtomicUsize>,
    /// Set with the first VM, where its module allows that.
    pub(super) mould: OnceLock<Mould>,
}

/// What VMs are made of without a start.
#[derive(Clone)]
pub(super) struct Mould {
    image: Image<PluginHost>,
    asked: Asked,
}

impl Mould {
    /// True when nothing was under way that a VM made of it would wait for in vain.
    fn is_whole(&self) -> bool {
        self.image.is_self_contained()
    }
}

impl Generation {
    /// Its number, greater than those of the plugin's generations before; those that never served have numbers, too.
    pub fn number(&self) -> u64 {
        self.identity.generation
    }

    /// Starts one VM; on failure the fault carries the filter's own lines.
    pub fn start_vm(&self) -> Result<ReadyVm, Fault> {
        self.start_with(Arc::clone(&self.settings))
    }

    /// Starts one VM for exchanges that no client sent: it shares neither data nor queues with any other.
    pub fn start_apart(&self) -> Result<ReadyVm, Fault> {
        let settings = PluginSettings {
            shared_data: Arc::new(self.settings.shared_data.emptied()),
            queues: Arc::default(),
            ..(*self.settings).clone()
        };
        self.start_with(Arc::new(settings))
    }

    fn start_with(&self, settings: Arc<PluginSettings>) -> Result<ReadyVm, Fault> {
        let started = Vm::start(&self.module, settings, self.host());
        started.map_err(|(failure, host)| self.fault(FaultKind::Start(failure), host.kept_lines()))
    }

    /// Starts VMs for whoever takes them, and takes the image of the first.
    pub fn stock(&self, vms: usize) -> Result<(), Fault> {
        for _ in 0..vms {
            let mut vm = self.start_vm()?;
            if self.mould.get().is_none() {
                self.cast(&mut vm)?;
            }
            self.spares.add(vm);
        }
        Ok(())
    }

    /// The same for a generation that was made like another: without running any of its code, where it has the other's image.
    pub fn restock(&self, vms: usize) -> Result<(), Fault> {
        for left in (1..=vms).rev() {
            let Some(vm) = self.hatch() else { return self.stock(left) };
            self.spares.add(vm);
        }
        Ok(())
    }

    /// Takes the image of a VM that was just started; what has none is started anew each time.
    fn cast(&self, vm: &mut ReadyVm) -> Result<(), Fault> {
        match vm.image() {
            Ok(image) => drop(self.mould.set(Mould { image, asked: vm.host().asked() })),
            Err(why) if self.plugin.isolation == config::Isolation::Request => {
                return Err(self.fault(FaultKind::NoImage(why), Vec::new()));
            }
            Err(why) => tracing::debug!(filter = &*self.identity.name, %why, "its VMs are started one by one"),
        }
        Ok(())
    }

    /// A VM like those that were started, made without running any of its code; `None` where that cannot be.
    pub fn hatch(&self) -> Option<ReadyVm> {
        let mould = self.mould.get().filter(|mould| mould.is_whole())?;
        let mut host = self.host();
        host.ask_again(&mould.asked);
        Vm::from_image(&mould.image, host).ok()
    }

    /// The same for one exchange: what the plugin asked for in its start is not asked for again.
    pub fn hatch_for_exchange(&self) -> Option<ReadyVm> {
        Vm::from_image(&self.mould.get()?.image, self.host()).ok()
    }

    /// A VM of an exchange as if nobody had been in it; `None` where another is cheaper.
    pub fn rewind(&self, vm: ReadyVm) -> Option<ReadyVm> {
        vm.rewind(self.host()).ok()
    }

    /// What its VMs may log.
    pub fn lines(&self) -> LineQuota {
        bounds::lines(&self.plugin.quota)
    }

    fn host(&self) -> PluginHost {
        let asking = Asking::new(Arc::clone(&self.reach), Arc::clone(&self.refused));
        PluginHost::new(self.identity.clone(), bounds::lines(&self.plugin.quota), Arc::clone(&self.series), asking)
    }

    fn fault(&self, kind: FaultKind, lines: Vec<String>) -> Fault {
        Fault {
            plugin: self.identity.name.to_string(),
            module: self.origin.to_string(),
            digest: Some(self.digest),
            kind: Arc::new(kind),
            lines,
        }
    }

    /// What the plugin works with on a worker.
    pub fn means(
        &self,
        (registry, resolvers): (&Registry, &Resolvers),
        (worker, crowd): (usize, &Rc<Cell<usize>>),
        clusters: &[Rc<Cluster>],
    ) -> Means {
        let name = &self.identity.name;
        Means {
            callees: Rc::new(self.callees(registry, worker, clusters).into()),
            reach: Arc::clone(&self.reach),
            resolver: resolvers.of(&self.reach.dns),
            series: (
                registry.plugin(worker, (name, self.track), self.plugin.quota.metric_series),
                registry.callouts(worker, name, NO_CLUSTER),
            ),
            crowd: Rc::clone(crowd),
            queues: (Arc::clone(&self.settings.queues), self.settings.queue_limits.messages),
        }
    }

    /// The clusters that the plugin may call, as a worker uses them.
    pub fn callees(&self, registry: &Registry, worker: usize, clusters: &[Rc<Cluster>]) -> Vec<LocalCallee> {
        let callee = |callee: &Callee| {
            let cluster = clusters.iter().find(|cluster| *cluster.name == *callee.name).map(Rc::clone);
            LocalCallee { cluster, series: registry.callouts(worker, &self.identity.name, &callee.name) }
        };
        // A callee's place is what the guest's questions carry, so one whose cluster is gone keeps its own.
        self.reach.calls.iter().map(callee).collect()
    }

    /// True when the module wants to see this callback.
    pub fn exports(&self, callback: CallbackKind) -> bool {
        self.module.exports(callback)
    }

    /// The version of proxy-wasm that the module speaks.
    pub fn abi(&self) -> String {
        self.module.abi_version().to_string()
    }

    /// How many workers have it and have not ended it.
    pub fn residents(&self) -> usize {
        self.residents.load(Relaxed)
    }

    /// What `/metrics` says about the module.
    pub fn describe(&self) -> ModuleInfo {
        ModuleInfo {
            plugin: self.identity.name.to_string(),
            track: self.track,
            digest: self.digest.to_string(),
            abi: self.abi(),
            source: self.origin.to_string(),
            generation: self.number(),
        }
    }
}

/// Whoever fills the spares hears that there is nothing left to fill.
impl Drop for Generation {
    fn drop(&mut self) {
        self.spares.close();
    }
}
