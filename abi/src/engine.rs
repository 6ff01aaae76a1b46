//! The compiler and its settings, and the thread whose ticks end overlong callbacks.
//!
//! It compiles nothing by itself; `module` does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::{Config, OptLevel, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::error::EngineError;
use crate::limits;
use crate::page_map::PageMap;

/// What all VMs of an engine have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// How often running guests are looked at. A deadline is noticed at most two ticks late.
    pub tick: Duration,
    /// True compiles the functions of one module on all cores.
    pub parallel_compilation: bool,
    /// Where instances live.
    pub instances: Instances,
    /// What compiled code is made of.
    pub instructions: Instructions,
}

/// Which instructions of a processor compiled code may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Instructions {
    /// All that the processor under this process has.
    #[default]
    Own,
    /// Those that every processor of its architecture has: the code is then the same on every machine, so that what it costs
    /// can be counted and compared. It is slower.
    Common,
}

/// Where the memory of instances comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Instances {
    /// Each instance maps its own, as large as its limits let it grow.
    #[default]
    OnDemand,
    /// From a pool of slots, for instances that live as long as one exchange: half the cost of making one on demand. An
    /// instance with no slot to go to fails with `Cause::Host`. A slot goes to the module that used it last, if it can.
    Pooled {
        /// Instances that live at one time, of all modules. Each reserves 4 GiB of addresses.
        slots: u32,
        /// Bytes that the memory of one instance may have, a multiple of 64 KiB. A module that begins with more does not
        /// compile; `Limits::memory` is cut to it.
        memory: usize,
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
        EngineSettings {
            tick: Duration::from_millis(1),
            parallel_compilation: true,
            instances: Instances::default(),
            instructions: Instructions::default(),
        }
    }
}

/// A handle on the compiler; clones share it. The ticker stops when the last handle, module and VM is gone.
#[derive(Clone)]
pub struct Engine {
    inner: wasmtime::Engine,
    ceiling: Ceiling,
    /// Held for its `Drop` alone.
    _ticker: Arc<Ticker>,
}

impl Engine {
    /// Makes a compiler for this machine and starts its ticker.
    pub fn new(settings: &EngineSettings) -> Result<Engine, EngineError> {
        let refused = |error: wasmtime::Error| EngineError::Settings(format!("{error:#}"));
        let mut config = config(settings);
        if settings.instructions == Instructions::Common {
            // Of a target that is named wasmtime assumes nothing beyond what all of its kind have.
            config.target(&format!("{}-unknown-linux-gnu", std::env::consts::ARCH)).map_err(refused)?;
        }
        let mut ceiling = Ceiling { memory: usize::MAX, table_elements: usize::MAX };
        if let Instances::Pooled { slots, memory } = settings.instances {
            ceiling = Ceiling { memory, table_elements: limits::SLOT_TABLE };
            config.allocation_strategy(pool(slots, ceiling));
        }
        let inner = wasmtime::Engine::new(&config).map_err(refused)?;
        let ticker = Ticker::start(inner.clone(), settings.tick).map_err(EngineError::Ticker)?;
        Ok(Engine { inner, ceiling, _ticker: Arc::new(ticker) })
    }

    /// True when a VM can be made as it was (`Vm::rewind`): when the kernel shows a process which of its pages were written.
    pub fn can_rewind(&self) -> bool {
        PageMap::own().is_some()
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

fn pool(slots: u32, ceiling: Ceiling) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(slots)
        .total_memories(slots)
        .total_tables(slots)
        .max_memory_size(ceiling.memory)
        .table_elements(ceiling.table_elements)
        .max_core_instance_size(limits::SLOT_INSTANCE)
        .max_unused_warm_slots(slots)
        .table_keep_resident(limits::SLOT_TABLE_RESIDENT);
    // `pagemap_scan` stays off, and memory is given back to the kernel whole. wasmtime 48.0.8 asks the scan for pages that
    // are *present* (`reset_with_pagemap` in `runtime/vm/sys/unix/pagemap.rs`). A dirty page that was swapped out is not,
    // and neither is one that the kernel is moving at that moment, which compaction does on any machine: it would be left
    // as it is, for the next instance in the slot to read. wasmtime pull request 14357, which is about this, is not in.
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
