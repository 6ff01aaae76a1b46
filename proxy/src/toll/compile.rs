//! How long a filter's bytes take to become code as the proxy has them become code: in a process of its own, or out of a
//! folder in which code is kept.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tollgate_abi::{Engine, Module};

use crate::filter::compile::{CodeSource, CompileError, CompileSettings, Compiler};
use crate::filter::digest::Digest;
use crate::toll::filter::Filter;
use crate::toll::report::Turns;

/// Turns of compiling, and the time after which no other begins.
const COLD: usize = 7;
const COLD_TIME: Duration = Duration::from_secs(5);
/// Turns of loading.
const CACHED: usize = 9;

/// See the module.
pub(super) struct Compilers {
    fresh: Compiler,
    keeping: Compiler,
    _folder: Scratch,
}

/// A module, and what it took to make it for the first time.
pub(super) struct First {
    pub(super) module: Module,
    /// Nanoseconds.
    took: f64,
}

/// A module and a filter with the same callbacks that does nothing.
pub(super) struct Code {
    pub(super) module: Module,
    /// From bytes.
    pub(super) cold: Turns,
    /// From code that was kept.
    pub(super) cached: Option<Turns>,
    pub(super) nothing: Filter,
    pub(super) nothing_module: Module,
}

/// A folder of this process's own, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    /// Nothing is made before somebody writes there.
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("tollgate-toll-{}-{}", process::id(), NUMBER.fetch_add(1, Relaxed));
        Self(env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Where it was never made, or belongs to somebody else, there is nothing to remove.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Compilers {
    /// `program` compiles, as [`CompileSettings`] says.
    pub(super) fn new(engine: &Engine, program: Option<PathBuf>) -> Self {
        let folder = Scratch::new();
        let settings = CompileSettings { program, ..CompileSettings::default() };
        let keeping = CompileSettings { cache: Some(folder.0.clone()), ..settings.clone() };
        Self {
            fresh: Compiler::new(engine.clone(), settings),
            keeping: Compiler::new(engine.clone(), keeping),
            _folder: folder,
        }
    }

    /// A filter's code, within the bounds that its configuration sets.
    pub(super) fn first(&mut self, filter: &Filter) -> Result<First, CompileError> {
        let (time, memory) = filter.compiling;
        [&mut self.fresh, &mut self.keeping].into_iter().for_each(|compiler| compiler.bound(time, memory));
        let (module, took) = Source::of(filter).compile(&self.fresh)?;
        Ok(First { module, took })
    }

    /// The same in turns with `nothing`, the filter that does nothing.
    pub(super) fn code(&self, first: First, (filter, nothing): (&Filter, Filter)) -> Result<Code, CompileError> {
        let (began, First { module, took }) = (Instant::now(), first);
        let (own, noop) = (Source::of(filter), Source::of(&nothing));
        let (nothing_module, noop_took) = noop.compile(&self.fresh)?;
        let mut cold = vec![(took, noop_took)];
        while cold.len() < COLD && began.elapsed() < COLD_TIME {
            // What fails here did not fail before; it is no turn, and there is none after it.
            let (Ok((_, took)), Ok((_, noop))) = (own.compile(&self.fresh), noop.compile(&self.fresh)) else { break };
            cold.push((took, noop));
        }
        let cached = self.cached(&own, &noop);
        Ok(Code { module, cold: Turns::of(&cold), cached, nothing, nothing_module })
    }

    fn cached(&self, own: &Source<'_>, noop: &Source<'_>) -> Option<Turns> {
        own.compile(&self.keeping).ok()?;
        noop.compile(&self.keeping).ok()?;
        let turn = || Some((own.load(&self.keeping)?, noop.load(&self.keeping)?));
        let turns: Vec<_> = (0..CACHED).filter_map(|_| turn()).collect();
        (!turns.is_empty()).then(|| Turns::of(&turns))
    }
}

/// Bytes that are compiled again and again.
struct Source<'a> {
    filter: &'a Filter,
    digest: Digest,
}

impl<'a> Source<'a> {
    fn of(filter: &'a Filter) -> Self {
        Self { digest: Digest::of(&filter.module), filter }
    }

    /// The module, and the nanoseconds that it took.
    fn compile(&self, compiler: &Compiler) -> Result<(Module, f64), CompileError> {
        let compiled = compiler.module(self.digest, &self.filter.module, self.filter.abi)?;
        Ok((compiled.module, compiled.took.as_secs_f64() * 1e9))
    }

    /// Nanoseconds, where the code had been kept.
    fn load(&self, compiler: &Compiler) -> Option<f64> {
        let compiled = compiler.module(self.digest, &self.filter.module, self.filter.abi).ok()?;
        (compiled.source == CodeSource::Cache).then_some(compiled.took.as_secs_f64() * 1e9)
    }
}
