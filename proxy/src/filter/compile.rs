//! A module's bytes become code: out of the cache, or in a process of its own that is bounded and ended.
//!
//! Compiling is work that a module's author chooses and no sandbox bounds, so it happens beside the proxy. This blocks, and
//! belongs on no thread that serves. Remembering modules in memory is for `modules`.

mod cache;
mod child;
pub mod wire;

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tollgate_abi::{AbiVersion, Artifact, Engine, Fingerprint, Module, ModuleError, ModuleLimits};
use tollgate_config::ByteSize;

use self::cache::{Cache, Subject};
use self::child::Bounds;
use self::wire::Request;
use crate::filter::digest::Digest;

/// How modules are compiled.
#[derive(Clone, Debug)]
pub struct CompileSettings {
    /// The program that compiles, which answers to `compile` as `tollgate` does; `None` compiles in this process, without
    /// any bound of time or memory.
    pub program: Option<PathBuf>,
    /// Wall-clock time that compiling one module may take, and CPU time of all its threads together in whole seconds.
    pub time: Duration,
    /// Bytes of memory that it may take, beside the stacks of its threads.
    pub memory: u64,
    /// The folder in which code is kept; `None` keeps none.
    pub cache: Option<PathBuf>,
}

impl Default for CompileSettings {
    fn default() -> Self {
        Self { program: None, time: Duration::from_secs(30), memory: 2 << 30, cache: None }
    }
}

/// A module that is ready, and what that took.
#[derive(Debug)]
pub struct Compiled {
    /// The module.
    pub module: Module,
    /// Where its code came from.
    pub source: CodeSource,
    /// Wall-clock time from the bytes to the module.
    pub took: Duration,
}

/// Where code came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeSource {
    /// It had been kept.
    Cache,
    /// A process of its own compiled it.
    Child,
    /// This process compiled it.
    InProcess,
}

impl CodeSource {
    /// A word for the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Child => "child",
            Self::InProcess => "in-process",
        }
    }
}

/// Why there is no module. Each is one sentence about "it", the module.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The bytes are not a module that can run here.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// Its time was over.
    #[error("its compilation was stopped after {0:?}, the time that limits.compile_time gives it")]
    OverTime(Duration),
    /// The compiler was refused memory.
    #[error(
        "its compilation needs more than the {} of memory that limits.compile_memory gives it",
        ByteSize::new(*.0)
    )]
    OverMemory(u64),
    /// A signal ended the compiler.
    #[error("its compilation was ended by {signal}{}", said(.complaint))]
    Killed {
        /// The signal's number and name, such as `signal 9 (SIGKILL)`.
        signal: String,
        /// What was on standard error, as one line.
        complaint: String,
    },
    /// The compiler did not begin.
    #[error("it was not compiled: {} cannot be started: {error}", program.display())]
    NotStarted {
        /// The compiler.
        program: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The compiler ended without an answer that can be used.
    #[error("it was not compiled: {} {what}{}", program.display(), said(.complaint))]
    BadAnswer {
        /// The compiler.
        program: PathBuf,
        /// What it did.
        what: String,
        /// What was on standard error, as one line.
        complaint: String,
    },
}

fn said(complaint: &str) -> String {
    if complaint.is_empty() { String::new() } else { format!("; it said: {complaint}") }
}

/// Turns modules into code. Clones share the engine and the cache.
#[derive(Clone)]
pub struct Compiler {
    engine: Engine,
    fingerprint: Fingerprint,
    limits: ModuleLimits,
    program: Option<PathBuf>,
    bounds: Bounds,
    cache: Option<Arc<Cache>>,
}

impl Compiler {
    /// Opens the cache. Where that cannot be, a warning says why, and every module is compiled.
    pub fn new(engine: Engine, settings: CompileSettings) -> Self {
        let CompileSettings { program, time, memory, cache } = settings;
        let open = |path: PathBuf| {
            let warn = |error: &io::Error| {
                tracing::warn!(folder = %path.display(), %error, "compiled code is not kept: the folder cannot be used");
            };
            Cache::open(&path).inspect_err(warn).ok()
        };
        let (fingerprint, limits) = (engine.fingerprint(), ModuleLimits::default());
        let cache = cache.and_then(open).map(Arc::new);
        Self { engine, fingerprint, limits, program, bounds: Bounds { time, memory }, cache }
    }

    /// Changes what compiling one module may take, with this clone.
    pub fn bound(&mut self, time: Duration, memory: u64) {
        self.bounds = Bounds { time, memory };
    }

    /// What a module may be.
    pub fn limits(&self) -> &ModuleLimits {
        &self.limits
    }

    /// The module of `bytes`, whose digest the caller has computed. `abi` stands above its own marker.
    pub fn module(&self, digest: Digest, bytes: &Bytes, abi: Option<AbiVersion>) -> Result<Compiled, CompileError> {
        let begun = Instant::now();
        // Whatever can be refused by reading alone costs no process, and is told in full.
        Module::check(bytes, &self.limits, abi)?;
        let subject = Subject { digest, fingerprint: self.fingerprint };
        let (module, source) = match self.kept(&subject, bytes, abi) {
            Some(module) => (module, CodeSource::Cache),
            None => self.fresh(&subject, bytes, abi)?,
        };
        let took = begun.elapsed();
        tracing::debug!(%digest, source = source.as_str(), ?took, "a module is compiled");
        Ok(Compiled { module, source, took })
    }

    /// The module out of the cache.
    fn kept(&self, subject: &Subject, bytes: &[u8], abi: Option<AbiVersion>) -> Option<Module> {
        let cache = self.cache.as_ref()?;
        let artifact = cache.load(subject)?;
        let loaded = self.load(bytes, abi, &artifact);
        loaded.inspect_err(|error| cache.discard(subject, &error.to_string())).ok()
    }

    /// The module compiled, and its code kept once it has proven to load.
    fn fresh(
        &self,
        subject: &Subject,
        bytes: &Bytes,
        abi: Option<AbiVersion>,
    ) -> Result<(Module, CodeSource), CompileError> {
        let (artifact, source) = match (&self.program, &self.cache) {
            (Some(program), _) => (self.compile_apart(program.clone(), bytes, abi)?, CodeSource::Child),
            (None, Some(_)) => (Module::precompile(&self.engine, bytes, &self.limits, abi)?, CodeSource::InProcess),
            (None, None) => {
                let module = Module::compile_as(&self.engine, bytes, &self.limits, abi)?;
                return Ok((module, CodeSource::InProcess));
            }
        };
        let module = self.load(bytes, abi, &artifact)?;
        if let Some(cache) = &self.cache {
            cache.store(subject, &artifact);
        }
        Ok((module, source))
    }

    fn load(&self, bytes: &[u8], abi: Option<AbiVersion>, artifact: &Artifact) -> Result<Module, ModuleError> {
        Module::from_artifact(&self.engine, bytes, &self.limits, abi, artifact)
    }

    fn compile_apart(
        &self,
        program: PathBuf,
        bytes: &Bytes,
        abi: Option<AbiVersion>,
    ) -> Result<Artifact, CompileError> {
        let request = Request { abi, limits: self.limits.clone(), module: bytes.clone() };
        let answer = child::compile(&program, self.bounds, &request)?;
        if answer.fingerprint != self.fingerprint {
            let what = "is another build of this program or compiles for another processor".to_owned();
            return Err(CompileError::BadAnswer { program, what, complaint: String::new() });
        }
        answer.outcome.map_err(|text| CompileError::Module(ModuleError::Invalid(text)))
    }
}

/// Where compiled code is kept unless something else is said: `tollgate` in the user's folder of caches, if there is one.
pub fn default_cache() -> Option<PathBuf> {
    cache_below(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"))
}

fn cache_below(caches: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    // The XDG Base Directory Specification has relative paths ignored.
    let absolute = |path: Option<OsString>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute(caches).or_else(|| Some(absolute(home)?.join(".cache")))?;
    Some(caches.join("tollgate"))
}

#[cfg(test)]
mod tests {
    use tollgate_abi::EngineSettings;

    use super::*;

    #[test]
    fn code_is_kept_in_the_users_folder_of_caches() {
        let below = |caches: &str, home: &str| {
            let value = |text: &str| (text != "-").then(|| OsString::from(text));
            cache_below(value(caches), value(home)).map(|path| path.display().to_string())
        };

        assert_eq!(below("/caches", "/home/a").as_deref(), Some("/caches/tollgate"));
        assert_eq!(below("-", "/home/a").as_deref(), Some("/home/a/.cache/tollgate"));
        assert_eq!(below("relative", "/home/a").as_deref(), Some("/home/a/.cache/tollgate"));
        assert_eq!(below("", "").as_deref(), None);
        assert_eq!(below("-", "-").as_deref(), None);
    }

    #[test]
    fn kept_code_that_does_not_load_is_removed_and_compiled_anew() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::new(&EngineSettings::default()).unwrap();
        let cache = Some(folder.path().to_owned());
        let compiler = Compiler::new(engine, CompileSettings { cache, ..CompileSettings::default() });
        let bytes = Bytes::from(tollgate_abi::testing::guest(""));
        let subject = Subject { digest: Digest::of(&bytes), fingerprint: compiler.fingerprint };
        let cache = compiler.cache.as_ref().unwrap();
        cache.store(&subject, &Artifact::vouched(b"proven, and no code".to_vec()));

        let first = compiler.module(subject.digest, &bytes, None).unwrap();
        let second = compiler.module(subject.digest, &bytes, None).unwrap();

        assert_eq!((first.source, second.source), (CodeSource::InProcess, CodeSource::Cache));
    }

    #[test]
    fn each_reason_is_one_sentence_without_a_full_stop() {
        let (program, complaint) = (PathBuf::from("/bin/compiler"), "why".to_owned());
        let reasons = [
            CompileError::OverTime(Duration::from_secs(60)),
            CompileError::OverMemory(2 << 30),
            CompileError::Killed { signal: "signal 9 (SIGKILL)".to_owned(), complaint: String::new() },
            CompileError::BadAnswer { program, what: "ended with exit status: 1".to_owned(), complaint },
        ];

        assert_eq!(
            reasons.map(|reason| reason.to_string()),
            [
                "its compilation was stopped after 60s, the time that limits.compile_time gives it",
                "its compilation needs more than the 2GiB of memory that limits.compile_memory gives it",
                "its compilation was ended by signal 9 (SIGKILL)",
                "it was not compiled: /bin/compiler ended with exit status: 1; it said: why",
            ]
        );
    }
}
