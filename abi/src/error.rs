//! What an embedder learns when something goes wrong, one type per moment: engine, module, VM.
//!
//! A guest never sees these; it sees a `Status`.

use std::fmt;

use crate::callback::CallbackKind;
use crate::signature::Signature;

/// The engine could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The compiler refuses these settings on this machine.
    #[error("wasm engine: {0}")]
    Settings(String),
    /// The thread that ends overlong callbacks did not start.
    #[error("epoch ticker thread: {0}")]
    Ticker(std::io::Error),
}

/// Bytes are not a module this host runs. No VM exists.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// The bytes are not a WebAssembly module.
    #[error("not a wasm module: {0}")]
    Malformed(String),
    /// The bytes are a component, which is another format than a module.
    #[error("a wasm component, not a module: build the filter as a core module (wasm32-wasip1)")]
    Component,
    /// The module does not validate or uses a proposal that is off.
    #[error("invalid wasm module: {0}")]
    Invalid(String),
    /// A bound of `ModuleLimits` is passed.
    #[error("{count} {what}, over the limit of {limit}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many there are.
        count: u64,
        /// How many there may be.
        limit: u64,
    },
    /// No export names a version of the interface.
    #[error("no export proxy_abi_version_0_1_0, _0_2_0 or _0_2_1: not a proxy-wasm filter")]
    NoAbiVersion,
    /// The export names a version that this host does not speak.
    #[error("export {0}: this host speaks proxy-wasm 0.1.0, 0.2.0 and 0.2.1")]
    UnknownAbiVersion(String),
    /// No memory of that name is exported.
    #[error("no memory is exported as \"memory\"")]
    NoMemory,
    /// Results could not be handed to the guest.
    #[error("neither proxy_on_memory_allocate nor malloc is exported: results could not be handed to the filter")]
    NoAllocator,
    /// A callback has a type the host cannot call.
    #[error("export {export} has type {found}, expected {expected}")]
    CallbackType {
        /// Name of the export.
        export: String,
        /// Every type the host can call, in words.
        expected: String,
        /// The type it has.
        found: String,
    },
    /// An export has a name that the host needs for itself.
    #[error("export {0}: names that begin with \"tollgate:\" are reserved")]
    ReservedExport(String),
    /// Imports that this host does not offer, all of them.
    #[error("imports that this host does not offer: {}", list(.0))]
    UnknownImports(Vec<UnknownImport>),
    /// Compiled code was handed in that is not for this engine.
    #[error("its compiled code is not for this engine: {0}")]
    Artifact(String),
}

impl ModuleError {
    #[expect(clippy::needless_pass_by_value, reason = "it stands where map_err hands the error over")]
    pub(crate) fn malformed(error: wasmparser::BinaryReaderError) -> ModuleError {
        ModuleError::Malformed(format!("{} at byte {}", error.message(), error.offset()))
    }
}

/// One import that this host does not offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownImport {
    /// The module part of the name, usually `env`.
    pub module: String,
    /// The name.
    pub name: String,
    /// The type it is imported with, in words.
    pub wanted: String,
    /// The types under which this host knows the name; empty when it does not.
    pub known: Vec<Signature>,
    /// The import that was probably meant, with its module; `None` when nothing comes near.
    pub meant: Option<String>,
}

impl fmt::Display for UnknownImport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} {}", self.module, self.name, self.wanted)?;
        if let Some(meant) = &self.meant {
            write!(f, " (did you mean {meant}?)")?;
        }
        if self.known.is_empty() {
            return Ok(());
        }
        let known: Vec<String> = self.known.iter().map(Signature::to_string).collect();
        write!(f, " (known as {})", known.join(" or "))
    }
}

fn list(imports: &[UnknownImport]) -> String {
    let shown: Vec<String> = imports.iter().map(UnknownImport::to_string).collect();
    shown.join("; ")
}

/// A VM of which no image can be taken. It goes on as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoImage {
    /// The module has an instruction that changes its table, and the table is not in an image.
    #[error("the module may change its table ({0})")]
    Table(&'static str),
    /// The module has an instruction that drops a segment, and no instance can be made that has dropped one.
    #[error("the module may drop a segment ({0})")]
    Segment(&'static str),
    /// A mutable global refers to something in the VM, which no other VM has.
    #[error("a mutable global of the module is a reference")]
    Reference,
    /// More mutable globals than an image holds.
    #[error("the module has {count} mutable globals, over the limit of {limit}")]
    Globals {
        /// How many it has.
        count: usize,
        /// How many an image holds.
        limit: usize,
    },
    /// One import is wanted in two types: such a module is linked anew for each VM.
    #[error("the module imports {0} in two types")]
    ImportedTwice(String),
    /// The VM was entered since its start: what it did for an exchange may be in its memory.
    #[error("the VM was entered since it started")]
    Entered,
    /// The host has no room for the second instance with which the VM is compared.
    #[error("no instance to compare with: {0}")]
    Host(String),
}

/// A guest entry ended badly. The VM is dead, never to be entered again, unless the cause is `Refused`,
/// which only `Vm::start` reports and which leaves no VM at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was running.
    pub callback: CallbackKind,
    /// Why it ended.
    pub cause: Cause,
    /// One line for the log.
    pub message: String,
    /// Frames of the guest, innermost first, demangled; empty when none were running.
    pub backtrace: Vec<String>,
}

/// Why a guest entry ended badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The guest did what WebAssembly forbids, or called what it may not call at this point.
    Trap,
    /// Its time was over.
    Deadline,
    /// It trapped after the host had refused it memory or table elements in the same entry.
    Memory,
    /// It ended itself with this code.
    Exit(i32),
    /// `proxy_on_vm_start` or `proxy_on_configure` answered false.
    Refused,
    /// A hostcall of the embedder panicked, or the host ran out of something.
    Host,
    /// The VM had died before.
    Poisoned,
}

impl Cause {
    /// A word for metrics and log fields.
    pub fn as_str(&self) -> &'static str {
        match self {
            Cause::Trap => "trap",
            Cause::Deadline => "deadline",
            Cause::Memory => "memory",
            Cause::Exit(_) => "exit",
            Cause::Refused => "refused",
            Cause::Host => "host",
            Cause::Poisoned => "poisoned",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}: {}", self.cause.as_str(), self.callback, self.message)
    }
}

impl std::error::Error for Failure {}
