//! `tollgate compile`: the process beside the proxy that compiles one module and ends.
//!
//! It bounds itself before it reads a byte of the module. It takes a request from standard input and answers on standard
//! output; both are in `filter/compile/wire.rs`. It opens nothing, and starts no runtime and no VM.

use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, nice, set_parent_process_death_signal, setrlimit};
use tollgate_abi::{Engine, EngineSettings, Module};

use super::Failure;
use crate::app::AppError;
use crate::filter::compile::wire::{Answer, Request};

/// How far behind everything that serves it stands.
const NICENESS: i32 = 10;
/// The three pipes, and what the standard library reads to count cores.
const FILES: u64 = 16;
/// What a thread takes before it does anything: its stack and the beginning of its heap.
const THREAD: u64 = (2 << 20) + (256 << 10);

#[derive(Debug, Args)]
pub(super) struct CompileArguments {
    /// CPU time of all threads together
    #[arg(long)]
    seconds: u64,
    /// Bytes of memory, beside what threads take by being there
    #[arg(long)]
    memory: u64,
}

/// Compiles what is on standard input.
pub(super) fn compile(arguments: &CompileArguments) -> Result<(), Failure> {
    confine(arguments).map_err(Failure::Compiler)?;
    let request = Request::read(io::stdin().lock()).map_err(Failure::Compiler)?;
    let settings = EngineSettings {
        // Nothing runs here, so nothing waits for a tick.
        tick: Duration::from_secs(3600),
        // Threads that share one core only yield to each other. Yielding at another niceness than its neighbours' has Linux
        // 6.18 starve these for minutes (its commit 1319ea57529e mends that).
        parallel_compilation: cores() > 1,
        ..EngineSettings::default()
    };
    let engine = Engine::new(&settings).map_err(AppError::from).map_err(Failure::App)?;
    let outcome = Module::precompile(&engine, &request.module, &request.limits, request.abi);
    let answer = Answer::new(engine.fingerprint(), outcome);
    answer.write(io::stdout().lock()).map_err(Failure::Output)
}

fn confine(arguments: &CompileArguments) -> io::Result<()> {
    // Nobody waits for an answer once the proxy is gone.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    nice(NICENESS)?;
    lower(Resource::Core, 0, 0)?;
    lower(Resource::Fsize, 0, 0)?;
    lower(Resource::Nofile, FILES, FILES)?;
    // The first is told by SIGXCPU, which the proxy knows for what it is.
    lower(Resource::Cpu, arguments.seconds, arguments.seconds.saturating_add(1))?;
    // What can be written to. Address space is no measure: each thread reserves some for its heap that it never uses.
    let memory = arguments.memory.saturating_add(stacks());
    lower(Resource::Data, memory, memory)
}

/// What threads take: those that compile, the main one and the ticker. On top of the memory that is given, because how many
/// there are is for the machine to say.
fn stacks() -> u64 {
    THREAD.saturating_mul(u64::try_from(cores()).unwrap_or(u64::MAX).saturating_add(2))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Lowers a limit, and leaves one that is lower already.
fn lower(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let given = getrlimit(resource).maximum;
    let at_most = |wanted: u64| Some(given.map_or(wanted, |given| given.min(wanted)));
    Ok(setrlimit(resource, Rlimit { current: at_most(soft), maximum: at_most(hard) })?)
}
