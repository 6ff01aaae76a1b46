//! Bytes → generation: fetched, verified, checked, compiled, started, tested.
//!
//! Everything here runs on the control side and may take long. What is compiled is compiled once for as long as a generation
//! of it is there, which includes those that can be gone back to.

pub mod bounds;
mod ready;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use tollgate_abi::{
    AbiVersion, Engine, EngineError, EngineSettings, Module, ModuleLimits, PluginSettings, QueueLimits, SharedData,
    SharedDataLimits, SharedQueues,
};
use tollgate_config::{self as config, Config};

use self::bounds::{abi_version, wider, widest};
use self::ready::Key;
pub use self::ready::{Fetched, Missing, Ready};
use crate::exchange::properties::node::Node;
use crate::filter::blob::Blob;
use crate::filter::callout::{Callee, Reach};
use crate::filter::compile::{CompileSettings, Compiler};
use crate::filter::digest::Digest;
use crate::filter::fault::{Fault, FaultKind};
use crate::filter::generation::{Generation, Mould, NO_CLUSTER, Origin};
use crate::filter::host::Identity;
use crate::filter::manners::Manners;
use crate::filter::spares::Spares;
use crate::telemetry::metrics::{Registry, Track};

/// Compiles each module once and numbers the generations.
pub struct Modules {
    settings: CompileSettings,
    /// Absent until there is something to compile: its engine has a thread.
    compiler: Option<Compiler>,
    limits: ModuleLimits,
    /// Every generation that was made and is still there: others of the same bytes get its code.
    made: Vec<Weak<Generation>>,
    /// What was made ready for the order that is carried out.
    ready: Ready,
    /// By `vm_id`.
    shared: HashMap<String, Shared>,
    /// Empty stores for generations that are being made and keep nothing, by `vm_id`.
    fresh: HashMap<String, Arc<SharedData>>,
    queues: Arc<SharedQueues>,
    clusters: Vec<config::Cluster>,
    /// How plugins look names up.
    dns: config::Dns,
    registry: Arc<Registry>,
    node: Arc<Node>,
    /// The last number of each plugin.
    numbers: HashMap<String, u64>,
}

/// What the plugins of one `vm_id` share, with the largest of their quotas.
#[derive(Default)]
struct Shared {
    data: Arc<SharedData>,
    /// The bounds in force. While another configuration is made ready, those of the data are the wider of both.
    limits: SharedDataLimits,
    queues: QueueLimits,
}

impl Shared {
    fn new(limits: SharedDataLimits, queues: QueueLimits) -> Self {
        Self { data: Arc::new(SharedData::new(limits.clone())), limits, queues }
    }

    fn bound(&mut self, limits: SharedDataLimits) {
        self.data.limit(limits.clone());
        self.limits = limits;
    }
}

impl Modules {
    /// Nothing compiled yet.
    pub fn new(settings: CompileSettings, registry: Arc<Registry>, config: &Config) -> Self {
        let mut modules = Self {
            settings,
            compiler: None,
            limits: ModuleLimits::default(),
            made: Vec::new(),
            ready: Ready::default(),
            shared: HashMap::new(),
            fresh: HashMap::new(),
            queues: Arc::default(),
            clusters: Vec::new(),
            dns: config::Dns::default(),
            registry,
            node: Arc::new(Node::new(&config.node)),
            numbers: HashMap::new(),
        };
        modules.configure(config);
        modules
    }

    /// The compiler, made when it is first needed.
    pub fn warm_up(&mut self) -> Result<&Compiler, EngineError> {
        let compiler = match self.compiler.take() {
            Some(compiler) => compiler,
            None => Compiler::new(Engine::new(&EngineSettings::default())?, self.settings.clone()),
        };
        Ok(self.compiler.insert(compiler))
    }

    /// What has to be compiled before these bytes can serve a plugin; `None` where their code is here.
    pub fn lacks(&self, plugin: &config::Plugin, fetched: &Fetched) -> Option<Missing> {
        let key = (fetched.digest, plugin.abi.map(abi_version));
        self.known(key).is_none().then(|| Missing { key, bytes: fetched.bytes.clone() })
    }

    fn known(&self, key: Key) -> Option<Module> {
        let mut made = self.made.iter().filter_map(Weak::upgrade);
        let of_key = |made: &Arc<Generation>| (made.digest, made.plugin.abi.map(abi_version)) == key;
        made.find(of_key).map(|made| made.module.clone())
    }

    /// What was read for the order that is carried out.
    pub fn fetched(&self) -> &[Fetched] {
        &self.ready.fetched
    }

    /// Takes what was made ready for the next order, in place of what was for the one before.
    pub fn take(&mut self, ready: Ready) {
        self.ready = ready;
    }

    /// What was read, for it to be compiled elsewhere.
    pub fn hand_over(&mut self) -> Ready {
        std::mem::take(&mut self.ready)
    }

    /// Takes another configuration as the one that generations are made for; the one before can be taken again.
    pub fn configure(&mut self, config: &Config) {
        self.clusters.clone_from(&config.clusters);
        self.dns.clone_from(&config.dns);
        (self.settings.time, self.settings.memory) = (config.limits.compile_time, config.limits.compile_memory);
        if let Some(compiler) = &mut self.compiler {
            compiler.bound(config.limits.compile_time, config.limits.compile_memory);
        }
        for (vm_id, quota) in widest(&config.plugins) {
            let (data, queues) = bounds::shared(&quota);
            match self.shared.get_mut(vm_id) {
                Some(shared) => {
                    shared.data.limit(wider(&shared.limits, &data));
                    shared.queues = queues;
                }
                None => drop(self.shared.insert(vm_id.to_owned(), Shared::new(data, queues))),
            }
        }
    }

    /// Nothing takes over of what was made for another configuration than this, which is in force.
    pub fn give_up(&mut self, config: &Config) {
        self.forget();
        self.shared.retain(|vm_id, _| config.plugins.iter().any(|plugin| plugin.vm_id == *vm_id));
        self.configure(config);
        for (plugin, track) in
            config.plugins.iter().flat_map(|plugin| [Track::Stable, Track::Canary].map(|track| (plugin, track)))
        {
            let control = self.registry.control();
            drop(self.registry.plugin(control, (&plugin.name, track), plugin.quota.metric_series));
        }
    }

    /// Reads the bytes of a plugin's module, at most one more than it may have, so that a huge file costs nothing.
    pub fn fetch(&self, plugin: &config::Plugin, path: &Path) -> Result<Fetched, Fault> {
        let origin = Origin::File(path.to_owned());
        if let Some(fetched) = self.ready.fetched.iter().find(|fetched| fetched.is_of(path)) {
            return Ok(fetched.clone());
        }
        match self.read(path) {
            Ok(bytes) => Ok(Fetched::new(bytes.into(), origin)),
            Err(kind) => Err(fault(plugin, &origin, None, Arc::new(kind))),
        }
    }

    fn read(&self, path: &Path) -> Result<Blob, FaultKind> {
        let limit = self.limits.bytes;
        let read = || {
            let file = config::open(path)?;
            let expected = usize::try_from(file.metadata()?.len()).unwrap_or(limit);
            Blob::read(file, expected, limit)
        };
        let blob = read().map_err(FaultKind::Read)?;
        if blob.len() > limit {
            return Err(FaultKind::TooLarge(u64::try_from(limit).unwrap_or(u64::MAX)));
        }
        Ok(blob)
    }

    /// Everything short of starting VMs: verify, check, compile. `pin` is what the bytes must hash to.
    pub fn prepare(
        &mut self,
        plugin: &Arc<config::Plugin>,
        fetched: &Fetched,
        pin: Option<[u8; 32]>,
        track: Track,
    ) -> Result<Arc<Generation>, Fault> {
        let Fetched { bytes, digest, origin } = fetched;
        verify(plugin, fetched, pin)?;
        let module = self.compile(*digest, bytes, plugin.abi.map(abi_version));
        let module = module.map_err(|kind| fault(plugin, origin, Some(*digest), kind))?;
        let settings = Arc::new(self.settings(plugin));
        let reach = Arc::new(Reach::new(plugin, (&self.clusters, &self.dns)));
        let (plugin, origin) = (Arc::clone(plugin), origin.clone());
        Ok(self.generation(Parts { plugin, digest: *digest, origin, module, settings, mould: None, reach }, track))
    }

    /// A generation like another, with VMs of its own: nothing is read and nothing is compiled. Where it shares what the
    /// other does, it has its image, too, and nothing need be started.
    pub fn again(&mut self, like: &Generation, track: Track) -> Arc<Generation> {
        let settings = self.settings(&like.plugin);
        // An image holds what its VM got to know: the ids of its metrics, which are those of one track, and of its queues.
        let same_data = Arc::ptr_eq(&settings.shared_data, &like.settings.shared_data);
        let fits = same_data && settings.queue_limits == like.settings.queue_limits && track == like.track;
        let parts = Parts {
            plugin: Arc::clone(&like.plugin),
            digest: like.digest,
            origin: like.origin.clone(),
            module: like.module.clone(),
            settings: Arc::new(settings),
            mould: like.mould.get().filter(|_| fits).cloned(),
            // What its plugin says of clusters are places in the configuration that it was made for.
            reach: Arc::clone(&like.reach),
        };
        self.generation(parts, track)
    }

    /// True when every cluster is there that a generation may call.
    pub fn reaches(&self, generation: &Generation) -> bool {
        let has = |callee: &Callee| {
            self.clusters.iter().any(|known| known.name == callee.name && known.protocol == callee.protocol)
        };
        generation.reach.calls.iter().all(has)
    }

    fn generation(&mut self, parts: Parts, track: Track) -> Arc<Generation> {
        let Parts { plugin, digest, origin, module, settings, mould, reach } = parts;
        let number = self.numbers.entry(plugin.name.clone()).or_default();
        *number += 1;
        let generation = Arc::new(Generation {
            identity: Identity {
                name: plugin.name.as_str().into(),
                root_id: plugin.root_id.as_str().into(),
                vm_id: plugin.vm_id.as_str().into(),
                generation: *number,
                node: Arc::clone(&self.node),
            },
            track,
            manners: Manners::new(&plugin),
            digest,
            origin,
            spares: Arc::new(Spares::default()),
            module,
            settings,
            series: self.registry.plugin(self.registry.control(), (&plugin.name, track), plugin.quota.metric_series),
            refused: self.registry.callouts(self.registry.control(), &plugin.name, NO_CLUSTER),
            reach,
            residents: Default::default(),
            mould: mould.map_or_else(OnceLock::new, OnceLock::from),
            plugin,
        });
        self.made.retain(|made| made.strong_count() > 0);
        self.made.push(Arc::downgrade(&generation));
        generation
    }

    /// These generations take over: those that keep nothing leave data, queues and metrics behind, and shared data
    /// that no plugin has any more is gone. Queues stay for whoever comes back to their `vm_id`.
    pub fn settle(&mut self, plugins: &[config::Plugin], taking_over: &[Arc<Generation>]) {
        self.forget();
        self.shared.retain(|vm_id, _| plugins.iter().any(|plugin| plugin.vm_id == *vm_id));
        for generation in taking_over.iter().filter(|taking_over| taking_over.plugin.state == config::Keeping::Reset) {
            let vm_id = &generation.plugin.vm_id;
            self.queues.clear(vm_id);
            self.registry.reset_guest(&generation.plugin.name, generation.track);
            if let Some(shared) = self.shared.get_mut(vm_id) {
                shared.data = Arc::clone(&generation.settings.shared_data);
            }
        }
        for (vm_id, quota) in widest(plugins) {
            self.shared.get_mut(vm_id).into_iter().for_each(|shared| shared.bound(bounds::shared(&quota).0));
        }
    }

    /// What is made from here on shares nothing with what was made before, where plugins keep nothing.
    pub fn forget(&mut self) {
        self.fresh.clear();
    }

    /// True when nothing that a generation was made from has changed but perhaps its module.
    pub fn fits(&self, generation: &Generation, plugin: &config::Plugin) -> bool {
        let known = &generation.plugin;
        // What is tried beside it and what it is tested with do not make it another; clusters are compared by name.
        let alike = config::Plugin {
            module: known.module.clone(),
            sha256: known.sha256,
            rollout: known.rollout.clone(),
            selftest: known.selftest.clone(),
            allow: known.allow.clone(),
            ..plugin.clone()
        };
        known.is_same(&alike) && *generation.reach == Reach::new(plugin, (&self.clusters, &self.dns))
    }

    fn compile(&mut self, digest: Digest, bytes: &Bytes, abi: Option<AbiVersion>) -> Result<Module, Arc<FaultKind>> {
        let key = (digest, abi);
        match (self.known(key), self.ready.code(key)) {
            (Some(module), _) => Ok(module),
            (None, Some(code)) => code,
            (None, None) => {
                let compiled = self.warm_up().map_err(FaultKind::Engine)?.module(digest, bytes, abi);
                Ok(compiled.map_err(FaultKind::from)?.module)
            }
        }
    }

    fn settings(&mut self, plugin: &config::Plugin) -> PluginSettings {
        let shared = self.shared.entry(plugin.vm_id.clone()).or_default();
        let shared_data = match plugin.state {
            config::Keeping::Keep => Arc::clone(&shared.data),
            config::Keeping::Reset => {
                let fresh = self.fresh.entry(plugin.vm_id.clone());
                Arc::clone(fresh.or_insert_with(|| Arc::new(shared.data.emptied())))
            }
        };
        PluginSettings {
            shared_data,
            queues: Arc::clone(&self.queues),
            queue_limits: shared.queues,
            ..bounds::settings(plugin)
        }
    }
}

/// What a generation is made from.
struct Parts {
    plugin: Arc<config::Plugin>,
    digest: Digest,
    origin: Origin,
    module: Module,
    settings: Arc<PluginSettings>,
    mould: Option<Mould>,
    reach: Arc<Reach>,
}

/// True to what the bytes must hash to, where that is written.
pub fn verify(plugin: &config::Plugin, fetched: &Fetched, pin: Option<[u8; 32]>) -> Result<(), Fault> {
    let Fetched { digest: found, origin, .. } = fetched;
    match pin.map(Digest).filter(|wanted| wanted != found) {
        Some(wanted) => {
            let kind = Arc::new(FaultKind::Digest { wanted, found: *found });
            Err(fault(plugin, origin, Some(*found), kind))
        }
        None => Ok(()),
    }
}

fn fault(plugin: &config::Plugin, origin: &Origin, digest: Option<Digest>, kind: Arc<FaultKind>) -> Fault {
    Fault { plugin: plugin.name.clone(), module: origin.to_string(), digest, kind, lines: Vec::new() }
}
