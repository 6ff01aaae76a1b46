//! On which core a thread runs, and before whom. A child inherits the core from the thread that starts it.

use std::io;
use std::process::Command;

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

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

/// The cores that the calling thread may use, to allow them again later.
pub fn allowed() -> io::Result<CpuSet> {
    Ok(sched_getaffinity(None)?)
}

/// Allows the calling thread, and what it starts from here on, these cores.
pub fn allow(cores: &CpuSet) -> io::Result<()> {
    Ok(sched_setaffinity(None, cores)?)
}

/// Keeps one thread of any process on one core.
pub fn pin_thread(thread: Pid, core: usize) -> io::Result<()> {
    Ok(sched_setaffinity(Some(thread), &only(core))?)
}

/// Has a thread run before all ordinary ones of its core, as soon as it can, by chrt(1) of util-linux: what makes a load is to
/// find out how long others take, not how long it waits itself. Threads and processes that it starts are ordinary ones. Needs
/// root or CAP_SYS_NICE; the error says what is missing.
pub fn put_first(thread: Pid) -> io::Result<()> {
    let thread = thread.as_raw_nonzero().to_string();
    let outcome = Command::new("chrt").args(["--reset-on-fork", "--fifo", "--pid", "1", &thread]).output()?;
    if outcome.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&outcome.stderr).trim().to_owned()))
}

fn only(core: usize) -> CpuSet {
    let mut only = CpuSet::new();
    only.set(core);
    only
}
