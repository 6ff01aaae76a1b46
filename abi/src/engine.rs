//! The compiler and its settings, and the thread whose ticks end overlong callbacks.
//!
//! It compiles nothing by itself; `module` does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::{Config, Enabled, OptLevel, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::error::EngineError;
use crate::limits;

mod reset;

pub use reset::Reset;

/// What all VMs of an engine have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// How often running guests are looked at. A deadline is noticed at most two ticks late.
    pub tick: Duration,
    /// True compiles the functions of one module on all cores.
    pub parallel_compilation: bool,
    /// Where instances live.
    pub instances: Instances,
}

/// Where the memory of instances comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Instances {
    /// Each instance maps its own, as large as its limits let it grow.
    #[default]
    OnDemand,
    /// From a pool of slots, for instances that live as long as one exchange. An instance with no slot to go to fails with
    /// `Cause::Host`. A slot is left to the module that used it last, if possible.
    Pooled {
        /// Instances that live at one time, of all modules. Each reserves 4 GiB of addresses.
        slots: u32,
        /// Bytes that the memory of one instance may have, a multiple of 64 KiB. A module that begins with more does not
        /// compile; `Limits::memory` is cut to it.
        memory: usize,
        /// Clean slots with `PAGEMAP_SCAN` where that is safe; `Engine::resets_by` tells.
        pagemap_scan: bool,
    },
}

/// What no instance of an engine can have more of, whatever its limits say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ceiling {
    pub(crate) memory: usize,
    pub(crate) table_elements: usize,
}

impl Default for EngineSettings {
    fn default() -> Self {
        EngineSettings { tick: Duration::from_millis(1), parallel_compilation: true, instances: Instances::OnDemand }
    }
}

/// A handle on the compiler; clones share it. The ticker stops when the last handle, module and VM is gone.
#[derive(Clone)]
pub struct Engine {
    inner: wasmtime::Engine,
    ceiling: Ceiling,
    reset: Reset,
    /// Held for its `Drop` alone.
    _ticker: Arc<Ticker>,
}

impl Engine {
    /// Makes a compiler for this machine and starts its ticker.
    pub fn new(settings: &EngineSettings) -> Result<Engine, EngineError> {
        let mut config = config(settings);
        let (mut ceiling, mut reset) = (Ceiling { memory: usize::MAX, table_elements: usize::MAX }, Reset::Unmap);
        if let Instances::Pooled { slots, memory, pagemap_scan } = settings.instances {
            ceiling = Ceiling { memory, table_elements: limits::SLOT_TABLE };
            reset = reset::choose(pagemap_scan);
            config.allocation_strategy(pool(slots, ceiling, reset));
        }
        let inner = wasmtime::Engine::new(&config).map_err(|error| EngineError::Settings(format!("{error:#}")))?;
        let ticker = Ticker::start(inner.clone(), settings.tick).map_err(EngineError::Ticker)?;
        Ok(Engine { inner, ceiling, reset, _ticker: Arc::new(ticker) })
    }

    /// How the memory of a dropped instance is made clean.
    pub fn resets_by(&self) -> Reset {
        self.reset
    }

    pub(crate) fn ceiling(&self) -> Ceiling {
        self.ceiling
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

fn pool(slots: u32, ceiling: Ceiling, reset: Reset) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(slots)
        .total_memories(slots)
        .total_tables(slots)
        .max_memory_size(ceiling.memory)
        .table_elements(ceiling.table_elements)
        .max_core_instance_size(limits::SLOT_INSTANCE)
        .max_unused_warm_slots(slots);
    if reset == Reset::PagemapScan {
        // Without the scan it would be the lowest pages that are kept, which are those that Rust guests use least.
        pool.linear_memory_keep_resident(limits::SLOT_RESIDENT)
            .table_keep_resident(limits::SLOT_RESIDENT)
            .pagemap_scan(Enabled::Yes);
    }
    pool
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
