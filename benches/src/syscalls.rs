//! How many system calls a process makes, as strace(1) counts them.
//!
//! It slows down what it looks at, so nothing else may be measured meanwhile; and at a slow pace more calls wait, and more
//! often, than at a fast one.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::Signal;

use crate::cpu;
use crate::error::BenchError;
use crate::process::Process;

/// How long it may take until it looks.
const ATTACH: Duration = Duration::from_secs(10);
/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(20);

/// Calls of a process and its descendants, of whatever kind, while `work` is done; `Err` says why there is no number.
pub fn during<T>(
    program: &Path,
    process: u32,
    folder: &Path,
    work: impl FnOnce() -> Result<T, BenchError>,
) -> Result<(T, Result<u64, String>), BenchError> {
    let table = folder.join("strace.table");
    let words = [program.as_os_str(), "-f".as_ref(), "-c".as_ref(), "-o".as_ref(), table.as_ref()];
    let processes = cpu::tree(process).map_err(BenchError::while_doing("looking for children"))?;
    let each = processes.iter().flat_map(|process| ["-p".to_owned(), process.to_string()]);
    let words = words.into_iter().map(Into::into).chain(each.map(Into::into));
    let started = match found(program) {
        true => Process::start("strace", words, folder.join("strace.log")).map_err(|error| error.to_string()),
        false => Err(format!("no program {} here (Debian has it in strace)", program.display())),
    };
    let mut strace = match started.and_then(|mut strace| attached(&processes, &mut strace).map(|()| strace)) {
        Ok(strace) => strace,
        Err(why) => return Ok((work()?, Err(why))),
    };
    let outcome = work()?;
    let told = strace.signal(Signal::INT).map_err(|error| error.to_string());
    strace.end();
    let calls = told.and_then(|()| fs::read_to_string(&table).map_err(|error| error.to_string()));
    Ok((outcome, calls.and_then(|table| total(&table))))
}

fn found(program: &Path) -> bool {
    let mut command = Command::new(program);
    command.arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Waits until every thread of the processes is looked at.
fn attached(processes: &[u32], strace: &mut Process) -> Result<(), String> {
    let deadline = Instant::now() + ATTACH;
    while Instant::now() < deadline {
        let traced: io::Result<Vec<_>> = processes.iter().map(|process| is_traced(*process)).collect();
        if traced.map_err(|error| error.to_string())?.into_iter().all(|traced| traced) {
            return Ok(());
        }
        if strace.ended().map_err(|error| error.to_string())?.is_some() {
            return Err(format!("strace may not look: {}", strace.last_words().trim().replace('\n', "; ")));
        }
        thread::sleep(LOOK);
    }
    Err("strace does not begin".to_owned())
}

fn is_traced(process: u32) -> io::Result<bool> {
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let status = fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
        if status.lines().any(|line| line.split_whitespace().eq(["TracerPid:", "0"])) {
            return Ok(false);
        }
    }
    Ok(true)
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
