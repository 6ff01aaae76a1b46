//! Executed instructions, counted from what qemu says with `-one-insn-per-tb -d nochain,exec`: a line for each of them.
//!
//! Nothing of it is kept but a number for each thread, and the last lines that are something else: what the program said.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What the line of an instruction begins with; the number of its thread follows, and a colon.
const MARK: &[u8] = b"Trace ";
/// Threads that are told apart. A program has its own, and one more for each that it ever began.
const THREADS: usize = 256;
/// Other lines that are kept.
const KEPT: usize = 20;
/// Bytes of one line; the rest of a longer one counts as the next.
const LINE: u64 = 4096;

/// What became of a log. Clones share it, so that one can be looked at while another still reads.
#[derive(Clone, Debug)]
pub(super) struct Log {
    counts: Arc<[AtomicU64; THREADS]>,
    /// The last lines that stand for no instruction.
    others: Arc<Mutex<VecDeque<String>>>,
}

impl Log {
    pub(super) fn new() -> Log {
        Log { counts: Arc::new([const { AtomicU64::new(0) }; THREADS]), others: Arc::default() }
    }

    /// How many instructions each thread executed, in the order in which threads began.
    pub(super) fn threads(&self) -> Vec<u64> {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// The last lines that stand for no instruction.
    pub(super) fn others(&self) -> String {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.iter().map(String::as_str).collect()
    }

    /// Reads to the end.
    pub(super) fn read(&self, mut log: impl BufRead) -> io::Result<()> {
        let mut line = Vec::with_capacity(128);
        loop {
            line.clear();
            if log.by_ref().take(LINE).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            match thread(&line).and_then(|thread| self.counts.get(thread)) {
                Some(count) => _ = count.fetch_add(1, Ordering::Relaxed),
                None => self.keep(&line),
            }
        }
    }

    fn keep(&self, line: &[u8]) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if others.len() == KEPT {
            others.pop_front();
        }
        others.push_back(String::from_utf8_lossy(line).into_owned());
    }
}

/// The thread that executed the instruction of this line, if it is the line of one.
fn thread(line: &[u8]) -> Option<usize> {
    let rest = line.strip_prefix(MARK)?;
    let end = rest.iter().position(|byte| *byte == b':')?;
    std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: impl AsRef<[u8]>) -> Log {
        let log = Log::new();
        log.read(bytes.as_ref()).unwrap();
        log
    }

    #[test]
    fn instructions_are_counted_for_each_thread() {
        let log = read(
            "Trace 0: 0x7f85cc000100 [81009331/00007f85d83cac40/00000001/00000201] \n\
             Trace 1: 0x7f85cc000200 [81009331/00007f85d83cac44/00000001/00000201] memcpy\n\
             Trace 0: 0x7f85cc000340 [81009331/00007f85d83cac48/00000001/00000201] \n",
        );

        assert_eq!(log.threads()[..3], [2, 1, 0]);
        assert_eq!(log.others(), "");
    }

    #[test]
    fn what_the_program_says_is_kept_and_not_counted() {
        let said = "thread panicked\nTrace of nothing: 1\nTrace 256: 0x1\nTrace -1: 0x1\n  Trace 0: 0x1";

        let log = read(format!("Trace 0: 0x1 [a/b/c/d] \n{said}"));

        assert_eq!(log.threads().iter().sum::<u64>(), 1);
        assert_eq!(log.others(), said);
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let log = read((0..100).map(|line| format!("line {line}\n")).collect::<String>());

        let others = log.others();

        assert!(others.starts_with("line 80\n") && others.ends_with("line 99\n"), "{others}");
    }

    #[test]
    fn bytes_that_are_no_text_do_no_harm() {
        let log = read(b"\xff\xfe\nTrace \xff: 0x1\nTrace 0: 0x1\n");

        assert_eq!(log.threads()[0], 1);
        assert_eq!(log.others().lines().count(), 2);
    }

    #[test]
    fn a_line_without_an_end_is_cut_and_not_gathered() {
        let log = read("x".repeat(1 << 20));

        assert_eq!(log.others().len(), KEPT * 4096);
    }
}
