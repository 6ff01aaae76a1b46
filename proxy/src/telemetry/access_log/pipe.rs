//! A bounded buffer of lines between those who must not wait and one thread that may.
//!
//! It knows nothing of what a line says. The lock is held for one copy of a line or one swap of buffers, never for a write.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::telemetry::metrics::AccessLogSeries;

/// How long lines gather before they are written together; the writer wakes at most this often.
const GATHER: Duration = Duration::from_millis(20);

/// The end that takes lines.
#[derive(Debug)]
pub(super) struct Pipe {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The writer waits here for lines and for the end.
    filled: Condvar,
    /// Whoever closes waits here for the writer's end.
    ended: Condvar,
    capacity: usize,
    series: Arc<AccessLogSeries>,
}

/// What both ends share; see the lock's rule in the file's head.
#[derive(Debug, Default)]
struct State {
    /// Whole lines, at most `capacity` bytes.
    waiting: Vec<u8>,
    closing: bool,
    ended: bool,
}

impl Pipe {
    /// Starts the thread that owns `target`. Without a thread every line is dropped.
    pub(super) fn new(target: impl Write + Send + 'static, capacity: usize, series: Arc<AccessLogSeries>) -> Pipe {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            filled: Condvar::new(),
            ended: Condvar::new(),
            capacity,
            series,
        });
        let theirs = Arc::clone(&shared);
        let writer = thread::Builder::new().name("tollgate-access".into()).spawn(move || write_all(&theirs, target));
        if let Err(error) = writer {
            tracing::error!(%error, "the access log has no thread, so its lines are dropped");
            let mut state = shared.lock();
            state.closing = true;
            state.ended = true;
        }
        Pipe { shared }
    }

    /// Takes a whole line, or drops and counts it when it does not fit.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.shared.lock();
        if state.closing || state.waiting.len().saturating_add(line.len()) > self.shared.capacity {
            drop(state);
            self.shared.series.dropped.inc();
            return;
        }
        let first = state.waiting.is_empty();
        state.waiting.extend_from_slice(line);
        drop(state);
        // The writer sleeps without a clock only while nothing waits.
        if first {
            self.shared.filled.notify_one();
        }
    }

    /// Refuses further lines and waits until the rest is written, at most `timeout`.
    pub(super) fn close(&self, timeout: Duration) {
        let mut state = self.shared.lock();
        state.closing = true;
        self.shared.filled.notify_one();
        let _ = self.shared.ended.wait_timeout_while(state, timeout, |state| !state.ended);
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.filled.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts what waits into `chunk`, which must be empty, once there is something. False at the end.
    fn take(&self, chunk: &mut Vec<u8>) -> bool {
        let idle = |state: &mut State| state.waiting.is_empty() && !state.closing;
        let state = self.filled.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let gathered = self.filled.wait_timeout_while(state, GATHER, |state| !state.closing);
        let (mut state, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.waiting, chunk);
        !chunk.is_empty()
    }
}

/// The writer's thread.
fn write_all(shared: &Shared, mut target: impl Write) {
    let mut chunk = Vec::new();
    let mut failing = false;
    while shared.take(&mut chunk) {
        let written = target.write_all(&chunk).and_then(|()| target.flush());
        if let Err(error) = &written {
            for _ in chunk.iter().filter(|byte| **byte == b'\n') {
                shared.series.dropped.inc();
            }
            // One line for a bad spell, not one per chunk.
            if !failing {
                tracing::error!(%error, "the access log cannot be written, so its lines are dropped");
            }
        }
        failing = written.is_err();
        chunk.clear();
    }
    shared.lock().ended = true;
    shared.ended.notify_all();
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;

    /// A target that says when it is entered and returns when it is told to.
    struct Stuck {
        entered: mpsc::Sender<()>,
        released: mpsc::Receiver<()>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.entered.send(());
            let _ = self.released.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stuck(capacity: usize) -> (Pipe, Arc<AccessLogSeries>, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (entered, entries) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let series = Arc::new(AccessLogSeries::default());
        let pipe = Pipe::new(Stuck { entered, released }, capacity, Arc::clone(&series));
        (pipe, series, entries, release)
    }

    #[test]
    fn a_full_buffer_drops_lines_and_counts_them_without_waiting() {
        let (pipe, series, entries, release) = stuck(8);
        pipe.push(b"first\n");
        entries.recv_timeout(Duration::from_secs(10)).unwrap();

        pipe.push(b"1234567\n");
        pipe.push(b"x\n");

        assert_eq!(series.dropped.get(), 1);
        drop(release);
    }

    #[test]
    fn closing_gives_up_on_a_target_that_hangs() {
        let (pipe, _, entries, release) = stuck(8);
        pipe.push(b"first\n");
        entries.recv_timeout(Duration::from_secs(10)).unwrap();

        let start = Instant::now();
        pipe.close(Duration::from_millis(50));

        assert!(start.elapsed() < Duration::from_secs(5));
        drop(release);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let series = Arc::new(AccessLogSeries::default());
        let pipe = Pipe::new(Broken, 64, Arc::clone(&series));

        pipe.push(b"a\n");
        pipe.push(b"b\n");
        pipe.close(Duration::from_secs(10));

        assert_eq!(series.dropped.get(), 2);
    }
}
