//! Panics of this process: one log line and one count for each, and loops that outlive them.
//!
//! A panic is a bug of the proxy's own. What it was busy with is lost: tokio ends that task and no other. What must go on as
//! long as the process does runs under [`outlive`].

use std::future::poll_fn;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use crate::telemetry::log::GuestText;

/// Before what panicked is tried again, so that a bug that strikes at once does not burn a core.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a panic's message that are shown.
const MESSAGE: usize = 1024;

/// The kind of thread that a panic happens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A worker.
    Worker,
    /// The control thread.
    Control,
    /// Any other: blocking threads, the writer of the access log, those of an embedder.
    Helper,
}

/// Panics since the process began, by place. They are the process's own, like the hook that counts them.
static COUNTS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

impl Place {
    /// Every place.
    pub const ALL: [Place; 3] = [Place::Worker, Place::Control, Place::Helper];

    /// As the label of `tollgate_panics_total` says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Place::Worker => "worker",
            Place::Control => "control",
            Place::Helper => "helper",
        }
    }

    /// Panics counted there.
    pub fn panics(self) -> u64 {
        COUNTS[self as usize].load(Relaxed)
    }

    /// What the name of a thread says.
    fn of_thread(name: &str) -> Place {
        match name {
            "control" => Place::Control,
            name if name.starts_with("worker-") => Place::Worker,
            _ => Place::Helper,
        }
    }
}

/// Has every panic of the process counted and written to the log as one line, in place of what Rust prints.
pub fn install() {
    panic::set_hook(Box::new(note));
}

fn note(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    COUNTS[Place::of_thread(name) as usize].fetch_add(1, Relaxed);
    let message = panic.payload_as_str().unwrap_or("no message");
    let message = GuestText { bytes: message.as_bytes(), limit: MESSAGE };
    match panic.location() {
        Some(location) => tracing::error!(thread = name, %location, "a bug: panicked: {message}"),
        None => tracing::error!(thread = name, "a bug: panicked: {message}"),
    }
}

/// Runs `work` until it returns. A panic ends one run of it, and the next begins after a pause with what is left of its state.
///
/// `work` owns nothing that one run uses up; what a run held is dropped. Dropping the future ends it for good.
pub async fn outlive(mut work: impl AsyncFnMut()) {
    while !contained(work()).await {}
}

/// One run of what [`outlive`] repeats, for those who repeat it themselves. True when it returned; false when it panicked,
/// after the pause.
pub async fn contained(run: impl Future<Output = ()>) -> bool {
    let mut run = pin!(run);
    let returned = poll_fn(|context| match panic::catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(context))) {
        Ok(poll) => poll.map(|()| true),
        // The hook has said what there is to say.
        Err(_) => Poll::Ready(false),
    });
    let returned = returned.await;
    if !returned {
        tokio::time::sleep(PAUSE).await;
    }
    returned
}

/// Bugs on command. Only the tests of this crate know it: no build that serves has it.
#[cfg(test)]
pub(crate) mod sabotage {
    use std::sync::Mutex;

    /// The place that panics next, and the places that were passed since it was chosen.
    static STATE: Mutex<(Option<&str>, Vec<&str>)> = Mutex::new((None, Vec::new()));

    /// Has the next pass of `place` panic, once.
    pub(crate) fn plant(place: &'static str) {
        *STATE.lock().unwrap() = (Some(place), Vec::new());
    }

    /// How often `place` was passed since something was planted, with the pass that panicked.
    pub(crate) fn passes(place: &str) -> usize {
        STATE.lock().unwrap().1.iter().filter(|passed| **passed == place).count()
    }

    /// Stands where the bug would be.
    pub(crate) fn pass(place: &'static str) {
        let mut state = STATE.lock().unwrap();
        state.1.push(place);
        let planted = state.0.take_if(|planted| *planted == place).is_some();
        drop(state);
        assert!(!planted, "a bug that a test planted in {place}");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::process::Command;

    use super::*;

    fn run(work: impl AsyncFnMut()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(outlive(work));
    }

    #[test]
    fn what_panics_runs_again_until_it_returns() {
        let runs = Cell::new(0);

        run(async || {
            runs.set(runs.get() + 1);
            tokio::task::yield_now().await;
            assert!(runs.get() > 2, "this panic belongs to the test");
        });

        assert_eq!(runs.get(), 3);
    }

    #[test]
    fn the_name_of_a_thread_says_where_a_panic_happened() {
        let places = ["worker-0", "control", "tokio-rt-worker", "unnamed"].map(|name| Place::of_thread(name).as_str());

        assert_eq!(places, ["worker", "control", "helper", "helper"]);
    }

    /// Runs in a process of its own, as the hook is the whole process's.
    #[test]
    fn a_panic_is_one_line_with_its_place_and_is_counted() {
        if std::env::var_os("TOLLGATE_TEST_PANIC").is_some() {
            crate::telemetry::log::init(crate::telemetry::log::LogFormat::Text);
            install();
            let thread = std::thread::Builder::new().name("worker-7".to_owned());
            let joined = thread.spawn(|| panic!("one line\nand another")).unwrap().join();
            assert!(joined.is_err());
            eprintln!("counted {}", Place::Worker.panics());
            return;
        }
        let name = "telemetry::panics::tests::a_panic_is_one_line_with_its_place_and_is_counted";

        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command.args([name, "--exact", "--nocapture"]).env("TOLLGATE_TEST_PANIC", "1").output().unwrap();

        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<_> = text.lines().filter(|line| line.contains("panicked")).collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert!(lines[0].contains("one line\\nand another"), "{text}");
        assert!(lines[0].contains("panics.rs:") && lines[0].contains("worker-7"), "{text}");
        assert!(text.contains("counted 1\n"), "{text}");
    }
}
