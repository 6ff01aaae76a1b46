//! The lines that the proxy of this process writes to its own log.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static ONCE: Once = Once::new();

/// Keeps every line from here on, for all tests of the process.
pub(crate) fn keep() {
    ONCE.call_once(|| {
        let log = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::DEBUG);
        log.with_writer(|| Keeper).init();
    });
}

/// The lines so far that contain `part`.
pub(crate) fn lines_with(part: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(&lock()).into_owned();
    text.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
}

fn lock() -> MutexGuard<'static, Vec<u8>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Keeper;

impl Write for Keeper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
