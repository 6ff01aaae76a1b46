//! How long a filter's bytes take to become code, and its code to become a VM.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate_abi::{Engine, Host, Module, ModuleError, ModuleLimits, PluginSettings, Vm};

use crate::toll::Filter;
use crate::toll::series::middle;

/// Times that something is done of which the middle one counts.
const TIMES: usize = 9;
/// What takes longer is done once.
const LONG: Duration = Duration::from_millis(300);

/// A module, with how long it took, in nanoseconds.
pub(super) struct Code {
    pub(super) module: Module,
    /// From bytes.
    pub(super) cold: f64,
    /// From code that was kept.
    pub(super) cached: f64,
}

impl Code {
    pub(super) fn of(engine: &Engine, bytes: &[u8]) -> Result<Self, ModuleError> {
        let limits = ModuleLimits::default();
        let began = Instant::now();
        let artifact = Module::precompile(engine, bytes, &limits, None)?;
        let once = began.elapsed();
        let module = Module::from_artifact(engine, bytes, &limits, None, &artifact)?;
        // What fails the second time has not failed the first.
        let cold = repeated(once, || drop(Module::precompile(engine, bytes, &limits, None)));
        let cached = middle(TIMES, || drop(Module::from_artifact(engine, bytes, &limits, None, &artifact)));
        Ok(Self { module, cold, cached })
    }
}

/// Nanoseconds of something that took `once` the first time.
pub(super) fn repeated(once: Duration, work: impl FnMut()) -> f64 {
    if once > LONG { once.as_secs_f64() * 1e9 } else { middle(TIMES, work) }
}

/// What a filter is started with.
pub(super) fn settings(filter: &Filter) -> Arc<PluginSettings> {
    Arc::new(PluginSettings { name: filter.name.clone(), config: filter.config.clone(), ..PluginSettings::default() })
}

/// Nanoseconds of a start of something that has started before.
pub(super) fn start_time<H: Host + Default>(module: &Module, filter: &Filter, once: Duration) -> f64 {
    repeated(once, || drop(Vm::start(module, settings(filter), H::default())))
}
