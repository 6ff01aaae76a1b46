//! A program that runs beside a measurement, as a process of its own with its output in a file.
//!
//! What the program does, and whether it does it well, is the caller's to find out.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::BenchError;

/// How long a program may take to end by itself.
const END: Duration = Duration::from_secs(10);
/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes of the output that an error shows.
const SHOWN: usize = 2000;

/// A child that never outlives its owner, unless the owner is killed.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Runs the first of these words with the others; `name` is for errors. The output goes to `log`.
    pub fn start(name: &str, words: impl IntoIterator<Item = OsString>, log: PathBuf) -> Result<Process, BenchError> {
        let mut words = words.into_iter();
        let program = words.next().unwrap_or_default();
        let unstartable =
            |source| BenchError::Unstartable { target: name.to_owned(), program: PathBuf::from(&program), source };
        let output = File::create(&log).map_err(unstartable)?;
        let mut command = Command::new(&program);
        command.args(words).stdin(Stdio::null());
        command.stdout(output.try_clone().map_err(unstartable)?).stderr(output);
        Ok(Process { child: command.spawn().map_err(unstartable)?, log })
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, once it has.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Tells it something.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it lives, and the last lines it wrote.
    pub fn fate(&mut self) -> String {
        let state = match self.child.try_wait() {
            Ok(None) => "it still runs".to_owned(),
            Ok(Some(status)) => format!("it ended: {status}"),
            Err(error) => format!("its state is unknown: {error}"),
        };
        format!("{state}; its output:\n{}", self.last_words())
    }

    /// The last lines it wrote.
    pub fn last_words(&self) -> String {
        let output = fs::read(&self.log).unwrap_or_default();
        let tail = output.len().saturating_sub(SHOWN);
        String::from_utf8_lossy(output.get(tail..).unwrap_or_default()).into_owned()
    }

    /// Asks it to end, and waits for that; `None` when it had to be killed.
    pub fn end(&mut self) -> Option<ExitStatus> {
        // The number of a process that has ended may be another's.
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(status);
        }
        // It may end at this moment, which the loop sees.
        let _ = self.signal(Signal::TERM);
        let deadline = Instant::now() + END;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(LOOK),
                Ok(status) => return status,
                Err(_) => return None,
            }
        }
        // What does not end is ended, and whatever becomes of that shows in its status.
        let _ = self.child.kill();
        let _ = self.child.wait();
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
