//! How many system calls the threads make that serve requests, as strace(1) counts them. Those of others, such as one that
//! only lets time pass, are not of a request, and the slower a proxy is made by being looked at, the more of them there are.
//!
//! strace slows down what it looks at, so nothing else may be measured meanwhile; and at a slow pace more calls wait, and more
//! often, than at a fast one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::Signal;

use crate::error::BenchError;
use crate::process::Process;

/// How long it may take until it looks.
const ATTACH: Duration = Duration::from_secs(10);
/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(20);

/// Under this part of what all threads of a target did together, one did not serve.
const SERVES: f64 = 0.1;

/// The threads that served, by the CPU time of each before and afterwards.
pub fn serving(before: &BTreeMap<u32, Duration>, after: &BTreeMap<u32, Duration>) -> Vec<u32> {
    let used = |(thread, after): (&u32, &Duration)| {
        (*thread, after.saturating_sub(before.get(thread).copied().unwrap_or_default()))
    };
    let used: Vec<_> = after.iter().map(used).collect();
    let all: Duration = used.iter().map(|(_, used)| *used).sum();
    used.into_iter().filter(|(_, used)| *used > all.mul_f64(SERVES)).map(|(thread, _)| thread).collect()
}

/// What there is to say where this is no program that runs.
pub fn missing(program: &Path) -> Option<String> {
    let mut command = Command::new(program);
    let found = command.arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let runs = found.is_ok_and(|status| status.success());
    (!runs).then(|| format!("no program {} here (Debian has it in strace)", program.display()))
}

/// Calls of these threads, of whatever kind, while `work` is done; `Err` says why there is no number.
pub fn during<T>(
    program: &Path,
    threads: &[u32],
    folder: &Path,
    work: impl FnOnce() -> Result<T, BenchError>,
) -> Result<(T, Result<u64, String>), BenchError> {
    let table = folder.join("strace.table");
    let mut strace = match start(program, threads, folder, &table) {
        Ok(strace) => strace,
        Err(why) => return Ok((work()?, Err(why))),
    };
    let outcome = work()?;
    let told = strace.signal(Signal::INT).map_err(|error| error.to_string());
    strace.end();
    let calls = told.and_then(|()| fs::read_to_string(&table).map_err(|error| error.to_string()));
    Ok((outcome, calls.and_then(|table| total(&table))))
}

/// It looks when this returns.
fn start(program: &Path, threads: &[u32], folder: &Path, table: &Path) -> Result<Process, String> {
    let words = [program.as_os_str(), "-c".as_ref(), "-o".as_ref(), table.as_ref()].map(OsString::from);
    let each = threads.iter().flat_map(|thread| ["-p".into(), thread.to_string().into()]);
    let strace = Process::start("strace", words.into_iter().chain(each), folder.join("strace.log"));
    let mut strace = strace.map_err(|error| error.to_string())?;
    attached(threads, &mut strace).map(|()| strace)
}

/// Waits until every one of the threads is looked at.
fn attached(threads: &[u32], strace: &mut Process) -> Result<(), String> {
    let deadline = Instant::now() + ATTACH;
    while Instant::now() < deadline {
        if threads.iter().all(|thread| is_traced(*thread)) {
            return Ok(());
        }
        if strace.ended().map_err(|error| error.to_string())?.is_some() {
            return Err(format!("strace may not look: {}", strace.last_words().trim().replace('\n', "; ")));
        }
        thread::sleep(LOOK);
    }
    Err("strace does not begin".to_owned())
}

/// A thread has its number among the processes, too.
fn is_traced(thread: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("TracerPid:") && !line.split_whitespace().eq(["TracerPid:", "0"]))
}

/// The last line of its table: share, seconds, microseconds a call, calls, errors where there were any, and the word.
fn total(table: &str) -> Result<u64, String> {
    let line = table.lines().rev().find(|line| line.trim_end().ends_with("total"));
    let calls = line.and_then(|line| line.split_whitespace().nth(3)).and_then(|calls| calls.parse().ok());
    calls.ok_or_else(|| format!("strace counted nothing: {}", table.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_next_to_nothing_does_not_serve() {
        let used = |micros: [(u32, u64); 3]| {
            BTreeMap::from(micros.map(|(thread, micros)| (thread, Duration::from_micros(micros))))
        };

        // The first was busy once, and the last began meanwhile.
        let threads = serving(&used([(1, 9000), (2, 100), (3, 0)]), &used([(1, 9010), (2, 700), (4, 400)]));

        assert_eq!(threads, [2, 4]);
    }

    #[test]
    fn the_table_ends_with_all_calls() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n \
                     60.00    0.000300           3       100        10 read\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     100.00    0.000500           2       212        10 total\n";

        assert_eq!(total(table), Ok(212));
        assert!(total("").is_err());
    }
}
