//! Bytes become a compiled module, or one clear sentence says why not.
//!
//! Everything that can be refused is refused here, before a VM exists; nothing of the guest runs.

use std::fmt;
use std::sync::Arc;

use crate::callback::CallbackKind;
use crate::engine::Engine;
use crate::error::ModuleError;
use crate::hostcall::Import;
use crate::limits::ModuleLimits;
use crate::outline::Outline;
use crate::types::AbiVersion;

/// A compiled module. Clones share it; plugins and workers with the same bytes need one.
#[derive(Clone)]
pub struct Module {
    inner: Arc<Compiled>,
}

struct Compiled {
    module: wasmtime::Module,
    /// Keeps the ticker alive as long as any VM, which holds its module.
    engine: Engine,
    abi: AbiVersion,
    callbacks: Vec<CallbackKind>,
    imports: Vec<Import>,
}

impl Module {
    /// Checks and compiles. Costs about a second of CPU per megabyte, so it belongs on no thread that serves.
    pub fn compile(engine: &Engine, bytes: &[u8], limits: &ModuleLimits) -> Result<Module, ModuleError> {
        Self::compile_as(engine, bytes, limits, None)
    }

    /// The same for a module that speaks `abi` whatever its marker says: for those without one.
    pub fn compile_as(
        engine: &Engine,
        bytes: &[u8],
        limits: &ModuleLimits,
        abi: Option<AbiVersion>,
    ) -> Result<Module, ModuleError> {
        let outline = Outline::read(bytes, limits)?;
        let abi = outline.check(abi)?;
        let module = wasmtime::Module::from_binary(engine.wasmtime(), bytes)
            .map_err(|error| ModuleError::Invalid(one_line(&format!("{error:#}"))))?;
        Ok(Module {
            inner: Arc::new(Compiled {
                module,
                engine: engine.clone(),
                abi,
                callbacks: outline.callbacks(),
                imports: outline.into_imports(),
            }),
        })
    }

    /// The generation of the interface that the module names.
    pub fn abi_version(&self) -> AbiVersion {
        self.inner.abi
    }

    /// True when the module exports this callback; for `Init`, when anything runs at the start.
    pub fn exports(&self, kind: CallbackKind) -> bool {
        self.inner.callbacks.contains(&kind)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Module {
        &self.inner.module
    }

    pub(crate) fn imports(&self) -> &[Import] {
        &self.inner.imports
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("abi", &self.inner.abi).finish_non_exhaustive()
    }
}

/// Joins lines, so that a message fits a log line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
