//! On which core a thread runs, and before whom. A child inherits both from the thread that starts it.

use std::io;
use std::panic::resume_unwind;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_setaffinity};

/// The cores that a measurement uses: one for what is measured, another for everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// For load and origin.
    pub load: usize,
    /// For the target.
    pub target: usize,
}

impl Cores {
    /// The first two cores this process may use; `None` on a machine with one.
    pub fn available() -> io::Result<Option<Cores>> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        Ok(cores.next().zip(cores.next()).map(|(load, target)| Cores { load, target }))
    }
}

/// Keeps the calling thread, and what it starts from here on, on one core.
pub fn pin(core: usize) -> io::Result<()> {
    Ok(sched_setaffinity(None, &only(core))?)
}

/// Keeps one thread of any process on one core.
pub fn pin_thread(thread: Pid, core: usize) -> io::Result<()> {
    Ok(sched_setaffinity(Some(thread), &only(core))?)
}

/// Does this on a thread of its own that runs before all others on its core whenever it can, as do the threads it starts. Where
/// the system does not permit that (`CAP_SYS_NICE`) or has no `chrt`, it runs as others do, and is told so.
pub fn favoured<T: Send>(work: impl FnOnce(bool) -> T + Send) -> T {
    let outcome = thread::scope(|scope| scope.spawn(|| work(favour(gettid()).is_ok_and(|set| set.success()))).join());
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

/// The lowest real-time priority: a thread of the ordinary kind, however nice others are, waits for their slice to end.
fn favour(thread: Pid) -> io::Result<ExitStatus> {
    let mut chrt = Command::new("chrt");
    chrt.args(["--fifo", "--pid", "1", &thread.to_string()]).stderr(Stdio::null()).status()
}

fn only(core: usize) -> CpuSet {
    let mut only = CpuSet::new();
    only.set(core);
    only
}
