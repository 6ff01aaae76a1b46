//! From a checked configuration to generations with VMs that are ready.

use std::sync::Arc;

use tollgate_abi::{Engine, EngineSettings};
use tollgate_config::Config;

use crate::app::{AppError, RunOptions};
use crate::filter::compile::{CompileSettings, Compiler};
use crate::filter::generation::{Fault, Generation, Modules};
use crate::telemetry::metrics::Registry;

/// Compiles every module once and starts one VM of every plugin for each worker, and one to spare. Every plugin is
/// tried, so that all faults are known at once.
pub(super) fn generations(
    config: &Config,
    options: &RunOptions,
    workers: usize,
    registry: &Arc<Registry>,
) -> Result<Vec<Arc<Generation>>, AppError> {
    if config.plugins.is_empty() {
        return Ok(Vec::new());
    }
    let mut modules = Modules::new(compiler(options)?, Arc::clone(registry), config);
    let (mut generations, mut faults) = (Vec::new(), Vec::new());
    for plugin in &config.plugins {
        match modules.prepare(plugin).and_then(|generation| start(&generation, workers + 1).map(|()| generation)) {
            Ok(generation) => generations.push(generation),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(generations) } else { Err(AppError::Modules(faults)) }
}

/// What compiles the modules of this run. The program is for the command line to say.
fn compiler(options: &RunOptions) -> Result<Compiler, AppError> {
    let engine = Engine::new(&EngineSettings::default())?;
    let settings = CompileSettings { program: options.compiler.clone(), ..CompileSettings::default() };
    Ok(Compiler::new(engine, settings))
}

fn start(generation: &Generation, vms: usize) -> Result<(), Fault> {
    for _ in 0..vms {
        generation.spares.add(generation.start_vm()?);
    }
    Ok(())
}
