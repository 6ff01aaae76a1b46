//! Why a plugin does not run: the step that failed, and what its author needs to know.

use std::fmt;
use std::sync::Arc;

use tollgate_abi::{CallbackKind, EngineError, Failure, ModuleError, NoImage};

use crate::filter::compile::CompileError;
use crate::filter::digest::Digest;

/// One plugin that does not run, or a module that does not take over.
#[derive(Debug)]
pub struct Fault {
    /// The plugin's name.
    pub plugin: String,
    /// Where its module came from.
    pub module: String,
    /// What the module's bytes hash to, if they were read.
    pub digest: Option<Digest>,
    /// The step that failed.
    pub kind: Arc<FaultKind>,
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
    /// The wasm engine does not work on this machine.
    Engine(EngineError),
    /// The VM did not start or refused its configuration.
    Start(Failure),
    /// Exchanges cannot have a VM of their own, as the configuration wants.
    NoImage(NoImage),
    /// A request of the configuration's was not answered as it says.
    SelfTest {
        /// Which one, counted from zero.
        place: usize,
        /// What came in place of what was expected.
        why: String,
        /// Frames of the guest, innermost first, where it trapped.
        backtrace: Vec<String>,
    },
}

impl FaultKind {
    /// The code that `tollgate help` explains.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read(_) => "TG0201",
            Self::TooLarge(_) => "TG0202",
            Self::Digest { .. } => "TG0203",
            Self::Module(_) => "TG0204",
            Self::Start(_) => "TG0205",
            Self::Engine(_) => "TG0206",
            Self::Compile(_) => "TG0207",
            Self::SelfTest { .. } => "TG0208",
            Self::NoImage(_) => "TG0209",
        }
    }

    /// The step in a word.
    pub fn step(&self) -> &'static str {
        match self {
            Self::Read(_) | Self::TooLarge(_) => "fetch",
            Self::Digest { .. } => "verify",
            Self::Module(ModuleError::Invalid(_)) | Self::Compile(_) | Self::Engine(_) => "compile",
            Self::Module(_) => "check",
            Self::Start(failure) if failure.callback == CallbackKind::Configure => "configure",
            Self::Start(_) | Self::NoImage(_) => "start",
            Self::SelfTest { .. } => "selftest",
        }
    }

    /// Frames of the guest, innermost first, where it trapped.
    pub fn backtrace(&self) -> &[String] {
        match self {
            Self::Start(failure) => &failure.backtrace,
            Self::SelfTest { backtrace, .. } => backtrace,
            _ => &[],
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "cannot be read: {error}"),
            Self::TooLarge(limit) => write!(f, "is larger than the limit of {limit} bytes"),
            Self::Digest { wanted, found } => write!(f, "has sha256 {found}, the configuration wants {wanted}"),
            Self::Module(error) => error.fmt(f),
            Self::Compile(error) => error.fmt(f),
            Self::Engine(error) => error.fmt(f),
            Self::Start(failure) => write!(f, "did not start: {failure}"),
            Self::NoImage(why) => write!(f, "cannot have `isolation: request`: {why}"),
            Self::SelfTest { place, why, .. } => write!(f, "selftest {place}: {why}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, plugin, module) = (self.kind.code(), &self.plugin, &self.module);
        match &*self.kind {
            FaultKind::Read(error) => write!(f, "error[{code}]: plugin {plugin:?}: cannot read {module}: {error}")?,
            kind @ (FaultKind::Module(_) | FaultKind::Compile(_) | FaultKind::Engine(_)) => {
                write!(f, "error[{code}]: plugin {plugin:?}: {module}: {kind}")?;
            }
            kind => write!(f, "error[{code}]: plugin {plugin:?}: {module} {kind}")?,
        }
        self.kind.backtrace().iter().try_for_each(|frame| write!(f, "\n    at {frame}"))?;
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
