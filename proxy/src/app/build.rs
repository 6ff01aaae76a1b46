//! From a checked configuration to plugins whose VMs are ready.

use std::sync::Arc;

use tollgate_config::{Cache, Config};

use crate::app::reload::Reloader;
use crate::app::reload::tls::Store;
use crate::app::{AppError, RunOptions};
use crate::filter::compile::CompileSettings;
use crate::filter::modules::Modules;
use crate::telemetry::metrics::Registry;
use crate::tls::fault::Fault;

/// Compiles every module once and starts one VM of every plugin for each worker, and one to spare. Every plugin is
/// tried, so that all faults are known at once. Beside it come certificates that it is too late or too early for.
pub(super) fn reloader(
    config: Config,
    options: &RunOptions,
    workers: usize,
    registry: &Arc<Registry>,
) -> Result<(Reloader, Vec<Fault>), AppError> {
    let mut plan = Store::first(&config).map_err(AppError::Tls)?;
    let untimely = std::mem::take(&mut plan.untimely);
    let mut tls = Store::default();
    tls.adopt(plan, registry);
    let mut modules = Modules::new(settings(&config, options), Arc::clone(registry), &config);
    if !config.plugins.is_empty() {
        modules.warm_up()?;
    }
    let reloader = Reloader::prepare(config, options.file.clone(), (modules, tls), (workers, registry));
    Ok((reloader.map_err(AppError::Modules)?, untimely))
}

/// What compiles the modules of this run. The program is for the command line to say.
fn settings(config: &Config, options: &RunOptions) -> CompileSettings {
    CompileSettings {
        program: options.compiler.clone(),
        time: config.limits.compile_time,
        memory: config.limits.compile_memory,
        cache: match &config.cache {
            Cache::Off => None,
            Cache::Default => options.cache.clone(),
            Cache::Dir(folder) => Some(folder.clone()),
        },
    }
}
