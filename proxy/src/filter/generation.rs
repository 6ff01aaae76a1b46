//! Bytes → generation: one plugin's module, compiled, with its configuration and bounds, ready to start VMs.
//!
//! Everything here runs on the control side; a worker only takes VMs that are ready.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use tollgate_abi::{
    AbiVersion, CallbackKind, CalloutLimits, Failure, GuestErrors, Limits, Module, ModuleError, PluginSettings,
    QueueLimits, SharedData, SharedDataLimits, SharedQueues, Vm,
};
use tollgate_config as config;

use crate::exchange::properties::node::Node;
use crate::filter::callout::desk::{LocalCallee, Means};
use crate::filter::callout::{Callee, Reach};
use crate::filter::compile::{CompileError, Compiler};
use crate::filter::host::{Asking, Identity, PluginHost};
use crate::filter::manners::Manners;
use crate::filter::spares::Spares;
use crate::telemetry::log::LineQuota;
use crate::telemetry::metrics::{CalloutSeries, ModuleInfo, PluginSeries, Registry};
use crate::upstream::cluster::Cluster;

/// The label of callouts that were refused before there was a cluster.
const NO_CLUSTER: &str = "none";

/// A VM that was started and configured.
pub type ReadyVm = Vm<PluginHost>;

/// One plugin at one time: immutable, shared by all workers.
pub struct Generation {
    /// What the host of each VM speaks for.
    pub identity: Identity,
    /// How much the plugin may keep and ask for.
    pub quota: config::Quota,
    /// What happens to an exchange that the plugin cannot serve.
    pub on_error: config::OnError,
    /// How its exchanges are treated.
    pub manners: Manners,
    /// SHA-256 of the module's bytes.
    pub digest: Digest,
    /// Where the module came from.
    pub source: PathBuf,
    /// VMs that are ready, for a worker that lost its own.
    pub spares: Spares,
    module: Module,
    settings: Arc<PluginSettings>,
    series: Arc<PluginSeries>,
    /// Where callouts are counted that a starting VM was refused.
    refused: Arc<CalloutSeries>,
    reach: Arc<Reach>,
}

impl Generation {
    /// Starts one VM; on failure the fault carries the filter's own lines.
    pub fn start_vm(&self) -> Result<ReadyVm, Fault> {
        let asking = Asking::new(Arc::clone(&self.reach), Arc::clone(&self.refused));
        let host = PluginHost::new(self.identity.clone(), lines(&self.quota), Arc::clone(&self.series), asking);
        Vm::start(&self.module, Arc::clone(&self.settings), host).map_err(|(failure, host)| Fault {
            plugin: self.identity.name.to_string(),
            module: self.source.clone(),
            kind: Box::new(FaultKind::Start(failure)),
            lines: host.kept_lines(),
        })
    }

    /// What the plugin works with on a worker that has these clusters, which are those of the configuration in their order.
    pub fn means(&self, registry: &Registry, worker: usize, clusters: &[Rc<Cluster>]) -> Means {
        let name = &self.identity.name;
        let callee = |callee: &Callee| {
            let cluster = Rc::clone(clusters.get(callee.cluster.0)?);
            Some(LocalCallee { cluster, series: registry.callouts(worker, name, &callee.name) })
        };
        Means {
            callees: self.reach.calls.iter().filter_map(callee).collect(),
            reach: Arc::clone(&self.reach),
            series: (
                registry.plugin(worker, name, self.quota.metric_series),
                registry.callouts(worker, name, NO_CLUSTER),
            ),
            queues: (Arc::clone(&self.settings.queues), self.settings.queue_limits.messages),
        }
    }

    /// True when the module wants to see this callback.
    pub fn exports(&self, callback: CallbackKind) -> bool {
        self.module.exports(callback)
    }

    /// The version of proxy-wasm that the module speaks.
    pub fn abi(&self) -> String {
        self.module.abi_version().to_string()
    }

    /// What `/metrics` says about the module.
    pub fn describe(&self) -> ModuleInfo {
        ModuleInfo {
            plugin: self.identity.name.to_string(),
            digest: self.digest.to_string(),
            abi: self.abi(),
            source: self.source.display().to_string(),
            generation: self.identity.generation,
        }
    }
}

/// A SHA-256, shown as hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Self(hash)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a plugin cannot run, with what its author needs to know.
#[derive(Debug)]
pub struct Fault {
    /// The plugin's name.
    pub plugin: String,
    /// Its module's file.
    pub module: PathBuf,
    /// The step that failed.
    pub kind: Box<FaultKind>,
    /// What the filter itself wrote while it started.
    pub lines: Vec<String>,
}

/// The step between bytes and a VM that failed.
#[derive(Debug)]
pub enum FaultKind {
    /// The file could not be read.
    Read(std::io::Error),
    /// The file is larger than a module may be.
    TooLarge(u64),
    /// The bytes are not the pinned ones.
    Digest {
        /// What the configuration names.
        wanted: Digest,
        /// What the file hashes to.
        found: Digest,
    },
    /// The bytes are not a module that can run here.
    Module(ModuleError),
    /// The module was not compiled, through no fault of its bytes' form.
    Compile(CompileError),
    /// The VM did not start or refused its configuration.
    Start(Failure),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plugin, module) = (&self.plugin, self.module.display());
        match &*self.kind {
            FaultKind::Read(error) => write!(f, "error[TG0201]: plugin {plugin:?}: cannot read {module}: {error}")?,
            FaultKind::TooLarge(limit) => {
                write!(f, "error[TG0202]: plugin {plugin:?}: {module} is larger than the limit of {limit} bytes")?;
            }
            FaultKind::Digest { wanted, found } => {
                write!(
                    f,
                    "error[TG0203]: plugin {plugin:?}: {module} has sha256 {found}, the configuration wants {wanted}"
                )?;
            }
            FaultKind::Module(error) => write!(f, "error[TG0204]: plugin {plugin:?}: {module}: {error}")?,
            FaultKind::Compile(error) => write!(f, "error[TG0207]: plugin {plugin:?}: {module}: {error}")?,
            FaultKind::Start(failure) => {
                write!(f, "error[TG0205]: plugin {plugin:?}: {module} did not start: {failure}")?;
                failure.backtrace.iter().try_for_each(|frame| write!(f, "\n    at {frame}"))?;
            }
        }
        self.lines.iter().try_for_each(|line| write!(f, "\n    filter: {line}"))
    }
}

impl From<CompileError> for FaultKind {
    fn from(error: CompileError) -> Self {
        match error {
            CompileError::Module(error) => Self::Module(error),
            other => Self::Compile(other),
        }
    }
}

/// Compiles each module once and numbers the generations.
pub struct Modules {
    compiler: Compiler,
    compiled: HashMap<(Digest, Option<AbiVersion>), Module>,
    /// By `vm_id`, with the largest of its plugins' quotas.
    shared: HashMap<String, (Arc<SharedData>, QueueLimits)>,
    queues: Arc<SharedQueues>,
    clusters: Vec<config::Cluster>,
    registry: Arc<Registry>,
    node: Arc<Node>,
    number: u64,
}

impl Modules {
    /// Nothing of the configuration's plugins compiled yet.
    pub fn new(compiler: Compiler, registry: Arc<Registry>, config: &config::Config) -> Self {
        Self {
            compiler,
            compiled: HashMap::new(),
            shared: shared(&config.plugins),
            queues: Arc::default(),
            clusters: config.clusters.clone(),
            registry,
            node: Arc::new(Node::new(&config.node)),
            number: 0,
        }
    }

    /// Everything short of starting VMs: read, verify, compile, link.
    pub fn prepare(&mut self, plugin: &config::Plugin) -> Result<Arc<Generation>, Fault> {
        self.load(plugin).map_err(|kind| Fault {
            plugin: plugin.name.clone(),
            module: plugin.module.clone(),
            kind: Box::new(kind),
            lines: Vec::new(),
        })
    }

    fn load(&mut self, plugin: &config::Plugin) -> Result<Arc<Generation>, FaultKind> {
        let bytes = self.read(plugin)?;
        let digest = Digest::of(&bytes);
        if let Some(wanted) = plugin.sha256.map(Digest).filter(|wanted| *wanted != digest) {
            return Err(FaultKind::Digest { wanted, found: digest });
        }
        let module = self.compile(digest, &bytes, plugin.abi.map(abi_version))?;
        self.number += 1;
        let generation = Generation {
            identity: Identity {
                name: plugin.name.as_str().into(),
                root_id: plugin.root_id.as_str().into(),
                vm_id: plugin.vm_id.as_str().into(),
                generation: self.number,
                node: Arc::clone(&self.node),
            },
            quota: plugin.quota,
            on_error: plugin.on_error,
            manners: Manners::new(plugin),
            digest,
            source: plugin.module.clone(),
            spares: Spares::default(),
            module,
            settings: Arc::new(self.settings(plugin)),
            series: self.registry.plugin(self.registry.control(), &plugin.name, plugin.quota.metric_series),
            refused: self.registry.callouts(self.registry.control(), &plugin.name, NO_CLUSTER),
            reach: Arc::new(Reach::new(plugin, &self.clusters)),
        };
        self.registry.set_module(generation.describe());
        Ok(Arc::new(generation))
    }

    /// Reads at most one byte more than a module may have, so that a huge file costs nothing.
    fn read(&self, plugin: &config::Plugin) -> Result<Vec<u8>, FaultKind> {
        use std::io::Read;
        let limit = u64::try_from(self.compiler.limits().bytes).unwrap_or(u64::MAX);
        let file = std::fs::File::open(&plugin.module).map_err(FaultKind::Read)?;
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(FaultKind::Read)?;
        if bytes.len() > self.compiler.limits().bytes {
            return Err(FaultKind::TooLarge(limit));
        }
        Ok(bytes)
    }

    fn compile(&mut self, digest: Digest, bytes: &[u8], abi: Option<AbiVersion>) -> Result<Module, FaultKind> {
        if let Some(module) = self.compiled.get(&(digest, abi)) {
            return Ok(module.clone());
        }
        let module = self.compiler.module(digest, bytes, abi)?.module;
        self.compiled.insert((digest, abi), module.clone());
        Ok(module)
    }

    fn settings(&mut self, plugin: &config::Plugin) -> PluginSettings {
        let (shared_data, queue_limits) = self.shared.entry(plugin.vm_id.clone()).or_default();
        PluginSettings {
            name: plugin.name.clone(),
            root_id: plugin.root_id.clone(),
            vm_id: plugin.vm_id.clone(),
            vm_config: plugin.vm_config.clone(),
            config: plugin.config.clone(),
            env: plugin.env.clone(),
            limits: limits(plugin.budget, &plugin.quota),
            guest_errors: match plugin.guest_errors {
                config::GuestErrors::Lenient => GuestErrors::Lenient,
                config::GuestErrors::Strict => GuestErrors::Strict,
            },
            shared_data: Arc::clone(shared_data),
            queues: Arc::clone(&self.queues),
            queue_limits: *queue_limits,
        }
    }
}

fn lines(quota: &config::Quota) -> LineQuota {
    LineQuota { per_second: quota.log_lines, burst: quota.log_burst, bytes: size(quota.log_line) }
}

/// What plugins of one `vm_id` share, each bound the largest of theirs.
fn shared(plugins: &[config::Plugin]) -> HashMap<String, (Arc<SharedData>, QueueLimits)> {
    let mut quotas: HashMap<&str, config::Quota> = HashMap::new();
    for plugin in plugins {
        let widest = quotas.entry(&plugin.vm_id).or_insert(plugin.quota);
        let own = &plugin.quota;
        widest.shared_data_keys = widest.shared_data_keys.max(own.shared_data_keys);
        widest.shared_data_value = widest.shared_data_value.max(own.shared_data_value);
        widest.shared_data = widest.shared_data.max(own.shared_data);
        widest.queues = widest.queues.max(own.queues);
        widest.queue_messages = widest.queue_messages.max(own.queue_messages);
        widest.queue_bytes = widest.queue_bytes.max(own.queue_bytes);
    }
    let made = quotas.into_iter().map(|(vm_id, quota)| {
        let data = SharedDataLimits {
            keys: quota.shared_data_keys,
            value: size(quota.shared_data_value),
            total: size(quota.shared_data),
        };
        let queues =
            QueueLimits { queues: quota.queues, messages: quota.queue_messages, bytes: size(quota.queue_bytes) };
        (vm_id.to_owned(), (Arc::new(SharedData::new(data)), queues))
    });
    made.collect()
}

fn limits(budget: config::Budget, quota: &config::Quota) -> Limits {
    Limits {
        memory: size(budget.memory),
        callback: budget.time,
        start: budget.start,
        callouts: CalloutLimits {
            per_callback: quota.callouts_per_callback,
            per_stream: quota.callouts_per_stream,
            in_flight: quota.callouts,
            timeout: quota.callout_timeout,
        },
        timers: quota.timers,
        ..Limits::default()
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn abi_version(version: config::AbiVersion) -> AbiVersion {
    match version {
        config::AbiVersion::V0_1_0 => AbiVersion::V0_1_0,
        config::AbiVersion::V0_2_0 => AbiVersion::V0_2_0,
        config::AbiVersion::V0_2_1 => AbiVersion::V0_2_1,
    }
}
