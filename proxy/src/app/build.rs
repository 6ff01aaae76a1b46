//! From a checked configuration to plugins whose VMs are ready.

use std::path::PathBuf;
use std::sync::Arc;

use tollgate_abi::{Engine, EngineSettings};
use tollgate_config::Config;

use crate::app::AppError;
use crate::app::reload::Reloader;
use crate::filter::modules::Modules;
use crate::telemetry::metrics::Registry;

/// Compiles every module once and starts one VM of every plugin for each worker, and one to spare. Every plugin is
/// tried, so that all faults are known at once.
pub(super) fn reloader(
    config: Config,
    file: Option<PathBuf>,
    workers: usize,
    registry: &Arc<Registry>,
) -> Result<Reloader, AppError> {
    let engine = Engine::new(&EngineSettings::default())?;
    let modules = Modules::new(engine, Arc::clone(registry), &config);
    Reloader::prepare(config, file, modules, workers).map_err(AppError::Modules)
}
