//! CPU time, user and system together: of a process with all its descendants, and of the calling thread.
//! It comes from the scheduler, in nanoseconds, not from sampled ticks.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

use rustix::thread::Pid;
use rustix::time::{ClockId, clock_gettime};

/// How deep a tree of processes is followed.
const DEPTH: usize = 4;

/// CPU time that the living threads of a process and its descendants have used.
///
/// A thread that ends takes its time with it, so a difference of two readings is exact only while none ends.
pub fn of_tree(process: u32) -> io::Result<Duration> {
    Ok(of_threads(process)?.values().sum())
}

/// The same of each thread by its number, which no other thread of the machine has.
pub fn of_threads(process: u32) -> io::Result<BTreeMap<u32, Duration>> {
    let mut used = BTreeMap::new();
    for process in tree(process)? {
        // So may a child.
        for thread in fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten() {
            let thread = thread?;
            let number = thread.file_name().to_str().and_then(|number| number.parse().ok());
            // A thread may end between the listing and the reading.
            let schedstat = fs::read_to_string(thread.path().join("schedstat")).ok();
            if let Some((number, schedstat)) = number.zip(schedstat) {
                used.insert(number, on_core(&schedstat)?);
            }
        }
    }
    Ok(used)
}

/// The numbers of a process and its descendants, itself first.
pub fn tree(process: u32) -> io::Result<Vec<u32>> {
    let mut found = vec![process];
    descend(process, DEPTH, &mut found)?;
    Ok(found)
}

fn descend(process: u32, depth: usize, found: &mut Vec<u32>) -> io::Result<()> {
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let children = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
            found.push(child);
            if depth > 1 {
                // A child may have ended.
                descend(child, depth - 1, found).unwrap_or_default();
            }
        }
    }
    Ok(())
}

/// The first number of a schedstat line: nanoseconds on a core.
fn on_core(schedstat: &str) -> io::Result<Duration> {
    number(schedstat, 0)
}

fn number(schedstat: &str, place: usize) -> io::Result<Duration> {
    let nanoseconds = schedstat.split_whitespace().nth(place).and_then(|number| number.parse().ok());
    nanoseconds.map(Duration::from_nanos).ok_or_else(|| io::Error::other("schedstat holds no number"))
}

/// How long one thread of a process was ready to run and had no core.
pub fn waited_by(process: u32, thread: Pid) -> io::Result<Duration> {
    number(&fs::read_to_string(format!("/proc/{process}/task/{}/schedstat", thread.as_raw_nonzero()))?, 1)
}

/// The thread of this name in a process.
pub fn thread_named(process: u32, name: &str) -> io::Result<Pid> {
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let thread = thread?;
        let own = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        let id = thread.file_name().to_str().and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
        if let (Some(id), true) = (id, own.trim_end() == name) {
            return Ok(id);
        }
    }
    Err(io::Error::other(format!("process {process} has no thread {name:?}")))
}

/// CPU time that one thread of a process has used.
pub fn of_thread(process: u32, thread: Pid) -> io::Result<Duration> {
    on_core(&fs::read_to_string(format!("/proc/{process}/task/{}/schedstat", thread.as_raw_nonzero()))?)
}

/// CPU time that the calling thread has used.
pub fn of_this_thread() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(used.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(used.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn work_shows_in_the_time_of_the_thread_and_of_its_process() {
        let (thread, process) = (of_this_thread(), of_tree(std::process::id()).unwrap());

        let sum: u64 = black_box(0..2_000_000).map(black_box).sum();

        assert!(sum > 0 && of_this_thread() > thread);
        assert!(of_tree(std::process::id()).unwrap() > process);
    }

    #[test]
    fn the_first_number_of_schedstat_is_the_time() {
        assert_eq!(on_core("1500 7 2\n").unwrap(), Duration::from_nanos(1500));
        assert_eq!(number("1500 7 2\n", 1).unwrap(), Duration::from_nanos(7));
        assert!(on_core("").is_err());
    }
}
