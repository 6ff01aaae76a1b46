//! Bytes become a compiled module, or one clear sentence says why not.
//!
//! Everything that can be refused is refused here, before a VM exists; nothing of the guest runs.

use std::fmt;
use std::sync::Arc;

use wasmtime::ModuleExport;

use crate::callback::{CallbackKind, Places};
use crate::engine::Engine;
use crate::error::{ModuleError, NoImage};
use crate::hostcall::Import;
use crate::instrument::{self, instrument};
use crate::limits::ModuleLimits;
use crate::outline::Outline;
use crate::types::AbiVersion;

/// Raised with every change of what [`compile_input`] makes of a module, so that kept code of before is compiled anew.
pub(crate) const CODE_VERSION: u32 = 1;

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
    places: Arc<Places>,
    /// The mutable globals that an image has to hold.
    globals: Result<Vec<ModuleExport>, NoImage>,
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
        let module = wasmtime::Module::from_binary(engine.wasmtime(), &compile_input(bytes)?)
            .map_err(|error| invalid(&error))?;
        Ok(Module::assemble(engine, module, outline, abi))
    }

    /// A module of code and of what the bytes say that the code was made from.
    pub(crate) fn assemble(engine: &Engine, module: wasmtime::Module, outline: Outline, abi: AbiVersion) -> Module {
        let place = |index: u32| module.get_export_index(&instrument::global(index));
        let globals = outline.image_globals().map(|globals| globals.into_iter().filter_map(place).collect());
        let places = Arc::new(Places::of(&module));
        let callbacks = outline.callbacks();
        let (engine, imports) = (engine.clone(), outline.into_imports());
        Module { inner: Arc::new(Compiled { module, engine, abi, callbacks, places, globals, imports }) }
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

    pub(crate) fn places(&self) -> &Arc<Places> {
        &self.inner.places
    }

    /// The mutable globals that an image of this module has to hold, or why none can be taken.
    pub(crate) fn globals(&self) -> Result<&[ModuleExport], NoImage> {
        self.inner.globals.as_deref().map_err(NoImage::clone)
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

/// What the compiler is given for a module's bytes.
pub(crate) fn compile_input(bytes: &[u8]) -> Result<Vec<u8>, ModuleError> {
    instrument(bytes)
}

/// What the compiler says about a module it refuses.
pub(crate) fn invalid(error: &wasmtime::Error) -> ModuleError {
    ModuleError::Invalid(one_line(&format!("{error:#}")))
}

/// Joins lines, so that a message fits a log line.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
