//! The compiler and its settings, and the thread whose ticks end overlong callbacks.
//!
//! It compiles nothing by itself; `module` does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::{Config, OptLevel, WasmBacktraceDetails};

use crate::error::EngineError;
use crate::limits;

/// What all VMs of an engine have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// How often running guests are looked at. A deadline is noticed at most two ticks late.
    pub tick: Duration,
    /// True compiles the functions of one module on all cores.
    pub parallel_compilation: bool,
}

impl Default for EngineSettings {
    fn default() -> Self {
        EngineSettings { tick: Duration::from_millis(1), parallel_compilation: true }
    }
}

/// A handle on the compiler; clones share it. The ticker stops when the last handle, module and VM is gone.
#[derive(Clone)]
pub struct Engine {
    inner: wasmtime::Engine,
    /// Held for its `Drop` alone.
    _ticker: Arc<Ticker>,
}

impl Engine {
    /// Makes a compiler for this machine and starts its ticker.
    pub fn new(settings: &EngineSettings) -> Result<Engine, EngineError> {
        let inner =
            wasmtime::Engine::new(&config(settings)).map_err(|error| EngineError::Settings(format!("{error:#}")))?;
        let ticker = Ticker::start(inner.clone(), settings.tick).map_err(EngineError::Ticker)?;
        Ok(Engine { inner, _ticker: Arc::new(ticker) })
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

fn config(settings: &EngineSettings) -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        .parallel_compilation(settings.parallel_compilation)
        .epoch_interruption(true)
        .max_wasm_stack(limits::WASM_STACK)
        .signals_based_traps(true)
        .memory_init_cow(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable);
    // Only what LLVM, TinyGo and Go emit for a filter: every further proposal is more to attack and nothing to gain.
    config
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false);
    config
}

/// Advances the epoch every tick on its own thread, until dropped.
struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: wasmtime::Engine, tick: Duration) -> std::io::Result<Ticker> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let run = move || {
            while !stopped.load(Ordering::Relaxed) {
                thread::park_timeout(tick);
                engine.increment_epoch();
            }
        };
        let thread = thread::Builder::new().name("wasm-epoch".into()).spawn(run)?;
        Ok(Ticker { stop, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread only sleeps and counts, so it cannot have panicked in a way worth reporting.
            let _ = thread.join();
        }
    }
}
