//! The two counters: qemu for a program of Arm, callgrind for one of x86-64. Both tell what each thread executed.
//!
//! A count is refused where the program failed, and where it is nothing. What is run is the caller's.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::trace::Log;

/// The processor that qemu is: one that servers have. By itself it has everything that any has, for which the C library then
/// picks functions that few machines would run.
pub(super) const PROCESSOR: &str = "neoverse-n1";
/// Has qemu execute one instruction after the other, and say so.
const EVERY_INSTRUCTION: [&str; 5] = ["-cpu", PROCESSOR, "-one-insn-per-tb", "-d", "nochain,exec"];
/// Has valgrind count, code that is made at run time included, for each thread.
const CALLGRIND: [&str; 3] = ["--tool=callgrind", "--smc-check=all-non-file", "--separate-threads=yes"];
/// What callgrind writes: a file for each thread, by this name and its number.
const OUT: &str = "out";
/// Bytes that are read of a log at a time.
const PIECE: usize = 1 << 16;

/// Where a program runs, and who counts.
#[derive(Clone, Debug)]
pub(super) enum Machine {
    /// Arm, under this qemu.
    Arm(PathBuf),
    /// This machine, under this valgrind.
    X86 {
        valgrind: PathBuf,
        /// What its C library is told, so that it picks the functions that any processor has.
        tunables: OsString,
    },
}

/// Whether a program is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counting {
    On,
    /// It runs as fast as it can, for what is to be done before something is counted.
    Off,
}

/// A program that runs. Dropped, it is ended.
pub(super) struct Counted {
    program: PathBuf,
    child: Child,
    log: Log,
    /// Reads the log. None once it has.
    reader: Option<JoinHandle<io::Result<()>>>,
    counting: Counting,
    /// Where callgrind leaves what it counted, at the end only; qemu says it all along.
    folder: Option<TempDir>,
}

impl Machine {
    /// True where counts can be read while the program runs.
    pub(super) fn counts_all_along(&self) -> bool {
        matches!(self, Machine::Arm(_))
    }

    /// Runs a program with these words. Its environment is empty but for what the C library is told, so that a count does not
    /// depend on the caller's.
    pub(super) fn start(&self, program: &Path, words: &[OsString], counting: Counting) -> anyhow::Result<Counted> {
        let mut folder = None;
        let mut command = match (self, counting) {
            (Machine::Arm(qemu), Counting::On) => under(qemu, EVERY_INSTRUCTION, program),
            (Machine::Arm(qemu), Counting::Off) => under(qemu, ["-cpu", PROCESSOR], program),
            (Machine::X86 { .. }, Counting::Off) => Command::new(program),
            (Machine::X86 { valgrind, .. }, Counting::On) => {
                let mut out = OsString::from("--callgrind-out-file=");
                out.push(folder.insert(tempfile::tempdir()?).path().join(OUT));
                under(valgrind, CALLGRIND.map(OsString::from).into_iter().chain([out]), program)
            }
        };
        command.args(words).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        if let Machine::X86 { tunables, .. } = self {
            command.env("GLIBC_TUNABLES", tunables);
        }
        let mut child =
            command.spawn().with_context(|| format!("{} cannot be started", command.get_program().display()))?;
        let (said, log) = (child.stderr.take().context("a program without standard error")?, Log::new());
        let reading = log.clone();
        let reader = Some(thread::spawn(move || reading.read(BufReader::with_capacity(PIECE, said))));
        Ok(Counted { program: program.to_owned(), child, log, reader, counting, folder })
    }
}

/// A command that runs a program under another with these words.
fn under<W: AsRef<OsStr>>(runner: &Path, words: impl IntoIterator<Item = W>, program: &Path) -> Command {
    let mut command = Command::new(runner);
    command.args(words).arg(program);
    command
}

impl Counted {
    /// What its threads executed up to now, where [`Machine::counts_all_along`].
    pub(super) fn so_far(&self) -> Vec<u64> {
        self.log.threads()
    }

    /// The name of its file: where that lies is nobody's business in a report.
    fn name(&self) -> String {
        self.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The last lines that it said.
    pub(super) fn said(&self) -> String {
        self.log.others()
    }

    /// True once it is no more.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Tells it something, unless it is no more.
    pub(super) fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        if self.has_ended() {
            return Err(anyhow!(self.said()).context(format!("{} has ended by itself", self.name())));
        }
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits for its end. What each thread executed, that of the beginning first; nothing where it was not counted.
    pub(super) fn finish(mut self) -> anyhow::Result<Vec<u64>> {
        let program = self.name();
        let Some(Ok(read)) = self.reader.take().map(JoinHandle::join) else {
            bail!("nobody heard what {program} said")
        };
        read?;
        let status = self.child.wait()?;
        // What a program that fails has executed is not what was asked for.
        if !status.success() {
            return Err(anyhow!(self.said()).context(format!("{program} ended with {status}")));
        }
        let threads = match &self.folder {
            None => self.log.threads(),
            Some(folder) => collected(folder.path())?,
        };
        let counted = threads.first().is_some_and(|main| *main > 0);
        ensure!(counted || self.counting == Counting::Off, "{program} ran, yet no instruction was counted");
        Ok(threads)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // One that has ended and was waited for is left alone by both.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What callgrind wrote for each thread: files named `out-01` and so on, each with its total.
fn collected(folder: &Path) -> anyhow::Result<Vec<u64>> {
    let mut totals = Vec::new();
    for number in 1_usize.. {
        match fs::read(folder.join(format!("{OUT}-{number:02}"))) {
            Ok(file) => {
                totals.push(total(&file).with_context(|| format!("callgrind wrote no total for thread {number}"))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(totals)
}

/// The total of one file of callgrind's (its manual, "Callgrind Format Specification").
fn total(file: &[u8]) -> Option<u64> {
    let mut lines = file.rsplit(|byte| *byte == b'\n');
    let total = lines.find_map(|line| line.strip_prefix(b"totals:"))?;
    std::str::from_utf8(total).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Mutex;

    use super::*;

    /// Held while a script is written and started: a process that another test starts meanwhile has the file open for a moment, and
    /// nothing that is being written can be executed.
    static STARTING: Mutex<()> = Mutex::new(());

    /// What comes of a program under a stand-in for qemu, which is this script of the shell.
    fn count(script: &str, counting: Counting) -> anyhow::Result<Vec<u64>> {
        let folder = tempfile::tempdir().unwrap();
        let qemu = folder.path().join("qemu");
        let starting = STARTING.lock().unwrap();
        fs::write(&qemu, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
        let counted = Machine::Arm(qemu).start(Path::new("a-program"), &["word".into()], counting);
        drop(starting);
        counted?.finish()
    }

    #[test]
    fn a_program_is_counted_thread_by_thread() {
        let script = "echo 'Trace 0: 0x1' >&2; echo 'Trace 1: 0x1' >&2; echo 'Trace 0: 0x1' >&2";

        assert_eq!(count(script, Counting::On).unwrap()[..3], [2, 1, 0]);
    }

    #[test]
    fn every_instruction_is_asked_for_in_an_empty_environment() {
        let script = r#"[ "$*" = "-cpu neoverse-n1 -one-insn-per-tb -d nochain,exec a-program word" ] && [ -z "$HOME" ] && echo 'Trace 0: 0x1' >&2"#;

        assert_eq!(count(script, Counting::On).unwrap()[0], 1);
    }

    #[test]
    fn a_program_that_is_not_counted_just_runs() {
        assert!(count(r#"[ "$*" = "-cpu neoverse-n1 a-program word" ]"#, Counting::Off).is_ok());
        assert!(count("exit 3", Counting::Off).is_err());
    }

    #[test]
    fn a_program_that_fails_has_no_count() {
        let script = "echo 'Trace 0: 0x1' >&2; echo 'thread panicked at x' >&2; exit 101";

        let error = count(script, Counting::On).unwrap_err();

        assert_eq!(error.to_string(), "a-program ended with exit status: 101");
        assert_eq!(error.root_cause().to_string(), "thread panicked at x\n");
    }

    #[test]
    fn a_count_of_nothing_is_refused() {
        let error = count("exit 0", Counting::On).unwrap_err().to_string();

        assert_eq!(error, "a-program ran, yet no instruction was counted");
    }

    #[test]
    fn a_counter_that_is_not_there_is_named() {
        let machine = Machine::Arm("/nowhere/qemu".into());
        let _starting = STARTING.lock().unwrap();

        let error = machine.start(Path::new("a-program"), &[], Counting::On).err().unwrap();

        assert_eq!(error.to_string(), "/nowhere/qemu cannot be started");
    }

    #[test]
    fn the_totals_of_callgrind_are_read_in_the_order_of_threads() {
        let folder = tempfile::tempdir().unwrap();
        let file = |total| format!("version: 1\nevents: Ir\nfn=(1) totals\n1 5\n\ntotals: {total}\n");
        fs::write(folder.path().join("out-01"), file(12)).unwrap();
        fs::write(folder.path().join("out-02"), file(7)).unwrap();

        assert_eq!(collected(folder.path()).unwrap(), [12, 7]);
        fs::write(folder.path().join("out-02"), "version: 1\n").unwrap();
        assert!(collected(folder.path()).is_err());
    }
}
